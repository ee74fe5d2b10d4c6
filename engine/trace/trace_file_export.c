/* q, k, v of a layer and what was read of it, as safetensors: what `saccade select` reads, and other tools.
 */
#include "trace/trace_file.h"

#include "file/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum sac_code add_plan(struct st_writer *w, const struct sac_plan *p, int head, struct sac_err *err)
{
    char name[64];
    int32_t *v = malloc((p->n_run * 3 + 3) * sizeof *v);
    if (!v) return sac_fail(err, SAC_ENOMEM, "out of memory while exporting a plan");
    size_t n = 0;
    for (int t = 0; t < p->n_tiles; t++)
        for (size_t i = p->at[t]; i < p->at[t + 1]; i++) {
            v[n++] = t;
            v[n++] = p->run[i].lo;
            v[n++] = p->run[i].hi;
        }
    snprintf(name, sizeof name, "plan.h%d.runs", head);
    const int64_t shape[2] = { (int64_t)(n / 3), 3 };
    enum sac_code rc = st_add(w, name, ST_I32, 2, shape, v, err);
    free(v);
    return rc;
}

static enum sac_code add_kept(struct st_writer *w, const struct layer_rec *r, int n_kv, int rows,
                              int n_prompt, struct sac_err *err)
{
    unsigned char *v = calloc((size_t)n_kv * (size_t)rows + 1, 1);
    if (!v) return sac_fail(err, SAC_ENOMEM, "out of memory while exporting the kept keys");
    for (int g = 0; g < n_kv; g++) {
        unsigned char *row = v + (size_t)g * (size_t)rows;
        for (int i = 0; i < r->kept_n[g]; i++) row[r->kept[g][i]] = 1;
        memset(row + n_prompt, 1, (size_t)(rows - n_prompt));
    }
    const int64_t shape[2] = { n_kv, rows };
    enum sac_code rc = st_add(w, "kept", ST_U8, 2, shape, v, err);
    free(v);
    return rc;
}

enum sac_code sac_trace_export_layer(const struct sac_trace *t, int lane, int layer, const char *path,
                                     bool force, struct sac_err *err)
{
    const struct sac_shape *s = &t->info.shape;
    float *q, *k, *v;
    int n;
    if (layer < 0 || layer >= s->n_layers)
        return sac_fail(err, SAC_EARG, "layer %d: the model has layers 0 to %d", layer, s->n_layers - 1);
    if (!sac_trace_qkv(t, lane, layer, &q, &k, &v, &n))
        return sac_fail(err, SAC_EARG,
                        "layer %d of lane %d: q, k and v were not all recorded (a trace made with "
                        "--no-values has no v)",
                        layer, lane);
    struct st_writer *w;
    enum sac_code rc = st_create(&w, path, force, err);
    const int64_t qs[3] = { s->n_heads, n, s->head_dim }, ks[3] = { s->n_kv_heads, n, s->head_dim };
    if (!rc) {
        const struct layer_rec *r = trace_layer(t, lane, layer);
        rc = st_add(w, "q", ST_F32, 3, qs, q, err);
        if (!rc) rc = st_add(w, "k", ST_F32, 3, ks, k, err);
        if (!rc) rc = st_add(w, "v", ST_F32, 3, ks, v, err);
        for (int h = 0; !rc && r->plans && h < r->plans->n; h++) rc = add_plan(w, &r->plans->plan[h], h, err);
        if (!rc && r->kept) rc = add_kept(w, r, s->n_kv_heads, n, t->info.n_prompt, err);
        enum sac_code end = st_finish(w, err);
        if (!rc) rc = end;
    }
    free(q);
    free(k);
    free(v);
    return rc;
}
