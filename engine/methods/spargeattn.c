/* SpargeAttn, prefill: pooled blocks, trusted only where a block is uniform. Zhang et al., arXiv 2502.18137.
 *
 * Queries and keys (less the mean key) are averaged over blocks. A block whose vectors point the same way,
 * mean pairwise cosine above `theta`, is well described by its mean; pairs of such blocks compete by the
 * softmax of their pooled score, and the best up to the cumulative share `tau` are kept (mode=cdf), or a
 * fixed share `keep` of all key blocks (mode=ratio). Blocks that are not uniform are kept by everyone, and
 * keep everything.
 *
 * Known quirks. In ratio mode early rows keep everything, because the share is of all key blocks, not of the
 * causal ones; published settings for it are theta=-0.1, keep=0.5. sparsity=S turns the uniformity test off:
 * blocks kept for failing it would decide the density alone. The blocks of a row's own tile are always kept
 * here. The second stage inside the original kernel, which skips values of negligible weight, and its int8
 * scores are left out: they change speed, not what is attended to. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

#include <string.h>

enum { CDF, RATIO };
struct opts { int mode, block_q, block_k, keep_first; double theta, tau, keep, target; };

static const char *const modes[] = { "cdf", "ratio", NULL };
static const struct sac_param params[] = {
    P_CHOICE(opts, mode, CDF, 2, modes, "keep up to a cumulative share, or a fixed share"),
    P_FLOAT(opts, theta, 0.6, -1, 1, false, "mean cosine above which a block is uniform"),
    P_FLOAT(opts, tau, 0.98, 0, 1, true, "cumulative share to keep (mode=cdf)"),
    P_FLOAT(opts, keep, 0.5, 0, 1, false, "share of all key blocks to keep (mode=ratio)"),
    P_INT(opts, block_q, 128, 8, 1024, false, "rows of a block"),
    P_INT(opts, block_k, 64, 8, 1024, false, "keys of a block"),
    P_BOOL(opts, keep_first, 0, "always keep the first key block"),
};

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)n;
    (void)err;
    o->mode = CDF;
    o->theta = -1;
    o->tau = -1;
    o->target = 1.0 - sparsity;
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return window_reach(n, 0, 1, o->block_q);
}

/* Mean over valid rows (less `minus`), and whether the rows are alike: |sum of unit vectors|^2 / count^2. */
static bool pool_block(const float *x, int dim, int count, const float *minus, double theta, float *mean,
                       float *unit)
{
    const struct k_ops *ops = k_ops();
    size_t d = (size_t)dim;
    memset(mean, 0, sizeof *mean * d);
    memset(unit, 0, sizeof *unit * d);
    for (int r = 0; r < count; r++) {
        const float *v = x + (size_t)r * d;
        float norm = 0;
        for (size_t e = 0; e < d; e++) norm += (v[e] - minus[e]) * (v[e] - minus[e]);
        float inv = norm > 0 ? 1.0f / sqrtf(norm) : 0;
        for (size_t e = 0; e < d; e++) {
            mean[e] += (v[e] - minus[e]) / (float)count;
            unit[e] += (v[e] - minus[e]) * inv;
        }
    }
    return (double)ops->dot(unit, unit, dim) / ((double)count * count) > theta;
}

struct pooled { float *mean; bool *alike; };   /* [blocks][dim], [blocks] */

static bool pool_all(const float *x, int n, int dim, int size, const float *minus, double theta,
                     struct pooled *p, struct sac_arena *a)
{
    size_t blocks = (size_t)((n + size - 1) / size), d = (size_t)dim;
    float *unit = sac_arena_floats(a, d);
    p->mean = sac_arena_floats(a, blocks * d);
    p->alike = sac_arena_alloc(a, sizeof *p->alike * blocks);
    if (!unit || !p->mean || !p->alike) return false;
    for (int b = 0; b * size < n; b++)
        p->alike[b] = pool_block(x + (size_t)b * (size_t)size * d, dim, imin(size, n - b * size), minus,
                                 theta, p->mean + (size_t)b * d, unit);
    return true;
}

static void score_row(const struct sac_prefill_in *in, struct blocks *b, const struct pooled *q,
                      const struct pooled *k, int i)
{
    const struct k_ops *ops = k_ops();
    int m = blocks_visible(b, i);
    float *row = blocks_row(b, i);
    ops->score_f32(q->mean + (size_t)i * (size_t)in->head_dim, k->mean, in->head_dim, m, in->scale, row);
    float top = -INFINITY, sum = 0;
    for (int j = 0; j < m; j++) {
        if (!k->alike[j] || !q->alike[i]) blocks_force(b, i, j);
        if (k->alike[j] && row[j] > top) top = row[j];
    }
    for (int j = 0; j < m; j++) sum += row[j] = k->alike[j] ? expf(row[j] - top) : 0;
    for (int j = 0; j < m && sum > 0; j++) row[j] /= sum;
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    struct blocks b;
    struct pooled q, k;
    size_t d = (size_t)in->head_dim;
    int kv = head / in_group(in);
    float *mean = sac_arena_floats(scratch, d), *zero = sac_arena_alloc(scratch, sizeof *zero * d);
    if (!mean || !zero || !blocks_create(&b, in->n, o->block_q, o->block_k, scratch)) return false;
    pool_mean(in_key(in, kv, 0), in->head_dim, 0, in->n, in->n, mean);
    if (!pool_all(in_query(in, head, 0), in->n, in->head_dim, o->block_q, zero, o->theta, &q, scratch) ||
        !pool_all(in_key(in, kv, 0), in->n, in->head_dim, o->block_k, mean, o->theta, &k, scratch))
        return false;
    for (int i = 0; i < b.nq; i++) {
        score_row(in, &b, &q, &k, i);
        if (o->keep_first) blocks_force(&b, i, 0);
    }
    blocks_rank(&b);
    if (o->mode == RATIO) return blocks_top(&b, imax((int)(o->keep * b.nk), 1), out, scratch);
    double tau = o->tau >= 0 ? o->tau : blocks_reaching(&b, o->target, false, scratch);
    return blocks_cover(&b, tau, false, out, scratch);
}

const struct sac_method method_spargeattn = {
    .name = "spargeattn",
    .title = "SpargeAttn",
    .summary = "pooled blocks that cover a share of the attention; mixed blocks are kept",
    .source = "ICML 2025, arXiv 2502.18137",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .budget = budget,
    .reach = reach,
    .plan = plan,
};
