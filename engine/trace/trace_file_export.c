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
    size_t n = 0;
    struct sac_run run;
    for (int t = 0; t < p->n_tiles; t++)
        for (struct sac_tile_runs it = sac_plan_tile(p, t, 0); sac_tile_next(&it, &run);) n++;
    int32_t *v = malloc((n * 3 + 3) * sizeof *v);
    if (!v) return sac_fail(err, SAC_ENOMEM, "out of memory while exporting a plan");
    n = 0;
    for (int t = 0; t < p->n_tiles; t++)
        for (struct sac_tile_runs it = sac_plan_tile(p, t, 0); sac_tile_next(&it, &run);) {
            v[n++] = t;
            v[n++] = run.lo;
            v[n++] = run.hi < p->n_rows ? run.hi : p->n_rows;      /* the last tile is not full */
        }
    snprintf(name, sizeof name, "plan.h%d.runs", head);
    const int64_t shape[2] = { (int64_t)(n / 3), 3 };
    enum sac_code rc = st_add(w, name, ST_I32, 2, shape, v, err);
    free(v);
    return rc;
}

static enum sac_code add_kept(struct st_writer *w, const struct layer_rec *r, int n_kv, int rows,
                              struct sac_err *err)
{
    unsigned char *v = calloc((size_t)n_kv * (size_t)rows + 1, 1);
    if (!v) return sac_fail(err, SAC_ENOMEM, "out of memory while exporting the kept keys");
    for (int g = 0; g < n_kv; g++) {
        unsigned char *row = v + (size_t)g * (size_t)rows;
        for (int i = 0; i < r->kept_n[g]; i++)
            if (r->kept[g][i] < rows) row[r->kept[g][i]] = 1;
    }
    const int64_t shape[2] = { n_kv, rows };
    enum sac_code rc = st_add(w, "kept", ST_U8, 2, shape, v, err);
    free(v);
    return rc;
}

/* The pages each query head read at each answer row, as select writes them: [N, Hq, most], padded with -1.
 * The first answer row is the prompt's last. */
static enum sac_code add_pages(struct st_writer *w, const struct sac_trace *t, int lane, int layer, int page,
                               int n, struct sac_err *err)
{
    int heads = t->info.shape.n_heads, first = t->info.n_prompt, steps = n - first,
        most = (n + page - 1) / page;
    if (steps < 1) return SAC_OK;
    size_t cells = (size_t)steps * (size_t)heads * (size_t)most;
    int32_t *v = malloc(cells * sizeof *v);
    struct sac_run *run = malloc(((size_t)n / 2 + 2) * sizeof *run);
    bool ok = v && run;
    int used = 1;
    for (size_t i = 0; ok && i < cells; i++) v[i] = -1;
    for (int s = 0; ok && s < steps; s++)
        for (int h = 0; h < heads; h++) {
            struct sac_rows rows = { .run = run, .cap = (first + s) / 2 + 1 };
            int32_t *out = v + ((size_t)s * (size_t)heads + (size_t)h) * (size_t)most;
            int m = 0;
            if (!sac_trace_rows(t, lane, layer, h, first + s, &rows)) continue;
            for (int i = 0; i < rows.n; i++)
                for (int g = rows.run[i].lo / page; g <= (rows.run[i].hi - 1) / page && g < most; g++)
                    if (!m || out[m - 1] != g) out[m++] = g;
            if (m > used) used = m;
        }
    for (size_t i = 1; ok && i < (size_t)steps * (size_t)heads; i++)      /* as wide as the widest */
        memmove(v + i * (size_t)used, v + i * (size_t)most, (size_t)used * sizeof *v);
    const int64_t shape[3] = { steps, heads, used };
    enum sac_code rc = ok ? st_add(w, "pages", ST_I32, 3, shape, v, err)
                          : sac_fail(err, SAC_ENOMEM, "out of memory while exporting pages");
    free(v);
    free(run);
    return rc;
}

/* [heads][n][dim] as name with rows from..to-1 of each head. */
static enum sac_code add_rows(struct st_writer *w, const char *name, const float *v, int heads, int n,
                              int dim, int from, int to, struct sac_err *err)
{
    size_t rows = (size_t)(to - from), d = (size_t)dim;
    float *part = malloc((rows * d * (size_t)heads + 1) * sizeof *part);
    if (!part) return sac_fail(err, SAC_ENOMEM, "out of memory while exporting %s", name);
    for (int h = 0; h < heads; h++)
        memcpy(part + (size_t)h * rows * d, v + ((size_t)h * (size_t)n + (size_t)from) * d,
               rows * d * sizeof *v);
    const int64_t shape[3] = { heads, to - from, dim };
    enum sac_code rc = st_add(w, name, ST_F32, 3, shape, part, err);
    free(part);
    return rc;
}

enum sac_code sac_trace_export_layer(const struct sac_trace *t, int lane, int layer, const char *path,
                                     bool force, struct sac_err *err)
{
    const struct sac_shape *s = &t->info.shape;
    float *v[3];
    int n;
    if (layer < 0 || layer >= s->n_layers)
        return sac_fail(err, SAC_EARG, "layer %d: the model has layers 0 to %d", layer, s->n_layers - 1);
    if (!sac_trace_qkv(t, lane, layer, &v[0], &v[1], &v[2], &n))
        return sac_fail(err, SAC_EARG,
                        "layer %d of lane %d: q, k and v were not all recorded (a trace made with "
                        "--no-values has no v)",
                        layer, lane);
    static const char *const name[3] = { "q", "k", "v" }, *const later[3] = { "q_decode", "k_decode",
                                                                              "v_decode" };
    const int heads[3] = { s->n_heads, s->n_kv_heads, s->n_kv_heads };
    const struct layer_rec *r = trace_layer(t, lane, layer);
    int page = sac_trace_page_size(t, lane), prompt = t->info.n_prompt < n ? t->info.n_prompt : n;
    bool decode = page > 1 && !r->plans;             /* what select plays with --decode-last */
    struct st_writer *w;
    enum sac_code rc = st_create(&w, path, force, err);
    if (!rc) {
        for (int i = 0; i < 3 && !rc; i++)
            rc = add_rows(w, name[i], v[i], heads[i], n, s->head_dim, 0, decode ? n : prompt, err);
        for (int i = 0; i < 3 && !rc && !decode && n > prompt; i++)
            rc = add_rows(w, later[i], v[i], heads[i], n, s->head_dim, prompt, n, err);
        for (int h = 0; !rc && r->plans && h < r->plans->n; h++) rc = add_plan(w, &r->plans->plan[h], h, err);
        if (!rc && r->kept) rc = add_kept(w, r, s->n_kv_heads, prompt, err);
        if (!rc && page > 1) rc = add_pages(w, t, lane, layer, page, n, err);
        enum sac_code end = st_finish(w, err);
        if (!rc) rc = end;
    }
    for (int i = 0; i < 3; i++) free(v[i]);
    return rc;
}
