/* Decode attention: one query row per head over the cache slots it reads. */
#include "model/attend.h"

#include "kernels.h"

#include <math.h>
#include <string.h>

struct step { struct sac_pool *p; const struct attend_decode *a; };

static const struct sac_run *head_runs(const struct attend_decode *a, int head, struct sac_run *all, int *n)
{
    int g = head / (a->n_heads / a->n_kv_heads);
    if (!a->rows) {
        *all = (struct sac_run){ 0, a->kv[g].n };
        *n = 1;
        return all;
    }
    const struct sac_rows *r = &a->rows[a->rows_per_head ? head : g];
    *n = r->n;
    return r->run;
}

static void score_run(const struct attend_decode *a, const struct attend_cache *c, const float *q, struct sac_run r,
                      float *s)
{
    int dim = a->head_dim, n = r.hi - r.lo;
    size_t at = (size_t)r.lo * (size_t)dim;
    if (c->type == SAC_KV_F32) k_ops()->score_f32(q, (const float *)c->k + at, dim, n, a->scale, s);
    else if (c->type == SAC_KV_F16) k_ops()->score_f16(q, (const uint16_t *)c->k + at, dim, n, a->scale, s);
    else k_ops()->score_bf16(q, (const uint16_t *)c->k + at, dim, n, a->scale, s);
    for (int i = 0; a->softcap > 0 && i < n; i++) s[i] = a->softcap * tanhf(s[i] / a->softcap);
}

static void add_value(const struct attend_cache *c, int slot, int dim, float w, float *row, float *out)
{
    size_t at = (size_t)slot * (size_t)dim;
    if (c->type == SAC_KV_F32) memcpy(row, (const float *)c->v + at, (size_t)dim * sizeof *row);
    else if (c->type == SAC_KV_F16) k_ops()->from_f16((const uint16_t *)c->v + at, dim, row);
    else k_ops()->from_bf16((const uint16_t *)c->v + at, dim, row);
    for (int d = 0; d < dim; d++) out[d] += w * row[d];
}

static void one_head(const struct attend_decode *a, int head, float *s, float *row)
{
    const struct attend_cache *c = &a->kv[head / (a->n_heads / a->n_kv_heads)];
    struct sac_run all;
    int n_run, n = 0, dim = a->head_dim;
    const struct sac_run *run = head_runs(a, head, &all, &n_run);
    float *out = a->out + (size_t)head * (size_t)dim;
    for (int i = 0; i < n_run; i++) {
        score_run(a, c, a->q + (size_t)head * (size_t)dim, run[i], s + n);
        n += run[i].hi - run[i].lo;
    }
    float max = k_ops()->max(s, n), sum = n ? k_ops()->exp_sum(s, n, max) : 0.0f;
    memset(out, 0, (size_t)dim * sizeof *out);
    if (a->lse) a->lse[head] = n ? max + logf(sum) : -INFINITY;
    for (int i = 0; i < n; i++) s[i] /= sum;
    const float *w = s;
    for (int i = 0; i < n_run; i++)
        for (int slot = run[i].lo; slot < run[i].hi; slot++) add_value(c, slot, dim, *w++, row, out);
    if (a->weight && n) memcpy(a->weight[head], s, (size_t)n * sizeof *s);
}

static void heads_unit(void *ctx, int lo, int hi, int thread)
{
    struct step *c = ctx;
    for (int head = lo; head < hi; head++) {
        size_t slots = (size_t)c->a->kv[head / (c->a->n_heads / c->a->n_kv_heads)].n, dim = (size_t)c->a->head_dim;
        float *s = pool_scratch(c->p, thread, (slots + dim) * sizeof *s);
        if (s) one_head(c->a, head, s + dim, s);
    }
}

void attend_decode(struct sac_pool *p, const struct attend_decode *a)
{
    struct step c = { p, a };
    pool_run(p, a->n_heads, 1, heads_unit, &c);
}
