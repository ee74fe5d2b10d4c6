/* Scalar twin of the attention tile: online softmax of rows over groups of keys, in f32.
 *
 * It defines packing, masks and the running maximum; fast versions differ only in the
 * order of sums and in the rounding of products. */
#include "twins.h"

#include <math.h>
#include <string.h>

void attn_pack_q_c(const float *q, int dim, int dim_pad, float scale, void *dst)
{
    float *out = dst;
    for (int d = 0; d < dim_pad; d++) out[d] = d < dim ? q[d] * scale : 0.0f;
}

void attn_pack_group_c(const float *const *k, const float *const *v, int n, int dim, int dim_pad, void *kdst,
                       void *vdst)
{
    float *kt = kdst, *vt = vdst;
    memset(kt, 0, (size_t)dim_pad * K_GROUP * sizeof *kt);
    memset(vt, 0, (size_t)dim_pad * K_GROUP * sizeof *vt);
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < dim; d++) kt[d * K_GROUP + i] = k[i][d];
        memcpy(vt + i * dim_pad, v[i], (size_t)dim * sizeof *vt);
    }
}

/* Score of a key that is read. */
static float score(const struct k_attn_tile *t, const struct k_attn_group *g, int r, int i)
{
    const float *q = (const float *)t->q + (size_t)r * (size_t)t->dim, *k = g->k;
    double sum = 0.0;
    for (int d = 0; d < t->dim; d++) sum += (double)q[d] * (double)k[d * K_GROUP + i];
    if (t->cap > 0) return (float)((double)t->cap * tanh(sum / (double)t->cap) * 1.4426950408889634);
    return (float)sum;
}

/* A bit for each key of the step that row r sees by position. */
static uint64_t seen(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups, int r)
{
    uint64_t see = 0;
    int row = t->row0 + r;
    for (int i = 0; i < n_groups * K_GROUP; i++) {
        const int32_t *pos = g[i / K_GROUP].pos;
        int at = pos ? pos[i % K_GROUP] : row;
        if (at <= row && (t->window <= 0 || at > row - t->window)) see |= (uint64_t)1 << i;
    }
    return see;
}

static void step_row(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups, int r,
                     uint64_t see)
{
    int n = n_groups * K_GROUP;
    float s[K_STEP_KEYS], mx = -INFINITY, *o = t->o + (size_t)r * (size_t)t->dim;
    for (int i = 0; i < n; i++) {
        s[i] = see >> i & 1 ? score(t, &g[i / K_GROUP], r, i % K_GROUP) : -INFINITY;
        mx = s[i] > mx ? s[i] : mx;
    }
    if (mx > t->m[r]) {
        float scale = exp2f(t->m[r] - mx);
        t->m[r] = mx;
        for (int d = 0; d < t->dim; d++) o[d] *= scale;
        for (int i = 0; i < K_GROUP; i++) t->l[r * K_GROUP + i] *= scale;
    }
    for (int i = 0; i < n; i++) {
        s[i] = exp2f(s[i] - t->m[r]);
        t->l[r * K_GROUP + i % K_GROUP] += s[i];
        float kept = s[i] * K_KEPT;
        if (t->p) to_f16_c(&kept, 1, &t->p[r * K_STEP_KEYS + i]);
        const float *v = (const float *)g[i / K_GROUP].v + (size_t)(i % K_GROUP) * (size_t)t->dim;
        for (int d = 0; d < t->dim; d++) o[d] += s[i] * v[d];
    }
}

void attn_step_c(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups)
{
    for (int r = t->first; r < t->rows; r++) step_row(t, g, n_groups, r, seen(t, g, n_groups, r));
}

void attn_step_rows_c(const struct k_attn_tile *t, const struct k_attn_rows *rows,
                      const struct k_attn_group *g, int n_groups)
{
    for (int i = 0; i < rows->n; i++)
        step_row(t, g, n_groups, rows->row[i], rows->see ? rows->see[i] : ~(uint64_t)0);
}

void attn_finish_c(const struct k_attn_tile *t, int dim, float *out, size_t ldo, float *lse2)
{
    for (int r = 0; r < t->rows; r++) {
        float sum = 0.0f;
        const float *l = t->l + r * K_GROUP, *o = t->o + (size_t)r * (size_t)t->dim;
        for (int i = 0; i < K_GROUP; i++) sum += l[i];
        float inv = sum > 0 ? 1.0f / sum : 0.0f;
        for (int d = 0; d < dim; d++) out[(size_t)r * ldo + (size_t)d] = o[d] * inv;
        if (lse2) lse2[r] = sum > 0 ? t->m[r] + log2f(sum) : -INFINITY;
    }
}

void fold_c(const uint16_t *p, const float *w, int rows, int n, float *out)
{
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int r = 0; r < rows; r++) {
            float x;
            from_f16_c(&p[r * K_STEP_KEYS + i], 1, &x);
            sum += (double)w[r] * (double)x;
        }
        out[i] = (float)(sum / (double)K_KEPT);
    }
}
