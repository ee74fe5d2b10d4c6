/* Token ids from a safetensors file: what reference outputs are asked for. */
#include "file/tensors.h"

#include <saccade/logits.h>

#include <stdlib.h>
#include <string.h>

static const char *const dtype_name[] = { "f32", "f16", "bf16", "i32", "i64", "u8", "bool", "f64", "other" };

enum sac_code sac_ids_read(const char *path, int **ids, int *n, struct sac_err *err)
{
    struct st_file f;
    enum sac_code rc = st_open(&f, path, err);
    if (rc) return rc;
    const struct st_tensor *t = st_find(&f, "ids");
    int64_t count = 1;
    for (int i = 0; t && i < t->n_dims; i++) count *= t->shape[i];
    *ids = NULL;
    if (!t) {
        rc = sac_fail(err, SAC_EFORMAT,
                      "%s: holds no tensor `ids`; one of token ids, i32 [tokens], is expected", path);
    } else if (t->dtype != ST_I32 && t->dtype != ST_I64) {
        rc =
            sac_fail(err, SAC_EFORMAT, "%s: `ids` is %s; i32 or i64 is expected", path, dtype_name[t->dtype]);
    } else if (count < 1 || count > 1 << 24 || (t->n_dims > 1 && t->shape[t->n_dims - 1] != count)) {
        rc = sac_fail(err, SAC_EFORMAT, "%s: `ids` must be one row of at least one token", path);
    } else if (!(*ids = malloc((size_t)count * sizeof **ids))) {
        rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    } else {
        const char *data = t->data;
        for (int64_t i = 0; i < count; i++) {
            int64_t wide = 0;
            int32_t narrow = 0;
            if (t->dtype == ST_I64) memcpy(&wide, data + i * 8, 8);
            else memcpy(&narrow, data + i * 4, 4), wide = narrow;
            (*ids)[i] =
                wide < 0 || wide > INT32_MAX ? -1 : (int)wide; /* refused by who knows the vocabulary */
        }
        *n = (int)count;
    }
    st_close(&f);
    return rc;
}
