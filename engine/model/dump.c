/* Looking into a model file without running it: the list of its tensors, and one of them as f32. */
#include "base/cpu.h"
#include "file/model_files.h"

#include <saccade/model.h>

#include <stdlib.h>

enum sac_code sac_model_tensors(const char *path, void (*fn)(void *ctx, const struct sac_tensor_info *t),
                                void *ctx, struct sac_err *err)
{
    struct model_files f;
    enum sac_code rc = model_files_open(&f, path, false, err);
    if (rc) return rc;
    const struct tensor_dir *d = model_files_dir(&f);
    for (int i = 0; i < d->n; i++) {
        const struct tensor *t = &d->t[i];
        struct sac_tensor_info info = { t->name, t->type_name, t->n_dims, { 0 }, t->bytes };
        for (int k = 0; k < t->n_dims; k++) info.shape[k] = t->ne[t->n_dims - 1 - k];
        fn(ctx, &info);
    }
    model_files_close(&f);
    return SAC_OK;
}

static enum sac_code write_tensor(const struct tensor *t, const char *out_path, bool force,
                                  struct sac_err *err)
{
    int64_t count = tensor_count(t), rows = count / t->ne[0], shape[TENSOR_DIMS];
    const struct k_type_info *ti = &k_type_info[t->type];
    size_t row_bytes = (size_t)(t->ne[0] / ti->block) * (size_t)ti->bytes;
    if (t->ne[0] > INT32_MAX || count > INT64_MAX / 4)
        return sac_fail(err, SAC_ENOTSUP, "tensor '%s' has rows of %lld values, too long to write", t->name,
                        (long long)t->ne[0]);
    float *out = malloc((size_t)count * sizeof *out);
    if (!out) return sac_fail(err, SAC_ENOMEM, "out of memory for tensor '%s' as f32 (%.1f GB)", t->name,
                              (double)count * 4e-9);
    for (int64_t r = 0; r < rows; r++)
        k_ops()->dequant(t->type, t->data + (size_t)r * row_bytes, (int)t->ne[0], out + r * t->ne[0]);
    for (int k = 0; k < t->n_dims; k++) shape[k] = t->ne[t->n_dims - 1 - k];
    struct st_writer *w;
    enum sac_code rc = st_create(&w, out_path, force, err);
    if (!rc) {
        rc = st_add(w, t->name, ST_F32, t->n_dims, shape, out, err);
        if (rc) st_abandon(w);
        else rc = st_finish(w, err);
    }
    free(out);
    return rc;
}

enum sac_code sac_model_dump(const char *path, const char *tensor, const char *out_path, bool force,
                             struct sac_err *err)
{
    struct model_files f;
    enum sac_code rc = cpu_choose(err);
    if (!rc) rc = model_files_open(&f, path, false, err);
    if (rc) return rc;
    const struct tensor_dir *d = model_files_dir(&f);
    const struct tensor *t = dir_find(d, tensor);
    if (!t) {
        const char **names = malloc((size_t)(d->n ? d->n : 1) * sizeof *names);
        for (int i = 0; names && i < d->n; i++) names[i] = d->t[i].name;
        const char *near = names ? sac_nearest(tensor, names, d->n) : NULL;
        rc = sac_fail(err, SAC_EARG, "%s: has no tensor '%.120s'%s%.120s%s", path, tensor,
                      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        free(names);
    } else if (t->type == K_N_TYPES) {
        rc = sac_fail(err, SAC_ENOTSUP, "%s: tensor '%s' is of type %s, which cannot be read as numbers",
                      path, t->name, t->type_name);
    } else {
        rc = write_tensor(t, out_path, force, err);
    }
    model_files_close(&f);
    return rc;
}
