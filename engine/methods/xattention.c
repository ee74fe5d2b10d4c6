/* XAttention, prefill: blocks scored by their antidiagonals. Xu et al., arXiv 2503.16428.
 *
 * Products along the antidiagonals of stride x stride tiles see every query and every key of a block once,
 * and cut every vertical and every diagonal. Concatenating `stride` keys, and `stride` queries in reverse,
 * makes such a sum one dot product; its softmax on the coarse grid, summed over a block, is the block's
 * score. Each block row keeps its best blocks until the share `threshold` of its mass is reached, the first
 * and the diagonal block first.
 *
 * Known quirks. The reference's keep_sink marks the first block row instead of the first column, and masks
 * whole rows when there is no padding; neither is copied. Selection costs 1/stride of the scores of dense
 * attention. The published thresholds were tuned per head; here one holds for all. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

#include <string.h>

enum { BLOCK_MIN = 8, BLOCK_MAX = 1024 };
struct opts { int block_size, stride; double threshold, target; };

static const struct sac_param params[] = {
    P_INT(opts, block_size, 128, BLOCK_MIN, BLOCK_MAX, false,
          "rows and keys of a block, a multiple of stride"),
    P_INT(opts, stride, 8, 1, 64, false, "side of the tiles whose antidiagonals are summed"),
    P_FLOAT(opts, threshold, 0.9, 0, 1, true, "share of a row's estimated mass to keep"),
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    (void)s;
    (void)n;
    int near = imax((o->block_size + o->stride / 2) / o->stride, 1) * o->stride;
    if (near > BLOCK_MAX) near -= o->stride;
    if (near < BLOCK_MIN) near += (BLOCK_MIN - near + o->stride - 1) / o->stride * o->stride;
    if (o->block_size % o->stride)
        return sac_fail(err, SAC_EARG,
                        "xattention: block_size=%d is not a multiple of stride=%d: use block_size=%d",
                        o->block_size, o->stride, near);
    return SAC_OK;
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)n;
    (void)err;
    o->threshold = -1;
    o->target = 1.0 - sparsity;
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    double blocks = (n + o->block_size - 1) / o->block_size;     /* the first column and the diagonal */
    return 1 - (2 * blocks - 1) / (blocks * (blocks + 1) / 2);
}

/* `stride` queries in reverse as one row, scaled; rows beyond the prompt are zero. */
static void coarse_query(const struct sac_prefill_in *in, const struct opts *o, int head, int m, float *out)
{
    int s = o->stride, dim = in->head_dim;
    float scale = in->scale / (float)s;
    memset(out, 0, sizeof *out * (size_t)s * (size_t)dim);
    for (int r = 0; r < s && m * s + r < in->n; r++) {
        const float *q = in_query(in, head, m * s + r);
        float *x = out + (size_t)(s - 1 - r) * (size_t)dim;
        for (int d = 0; d < dim; d++) x[d] = scale * q[d];
    }
}

/* `stride` keys in a row are one coarse key as they stand; only the last, ragged one needs zeros after it. */
static bool pack_coarse(const struct sac_prefill_in *in, const struct opts *o, int kv, struct panels *p,
                        struct sac_arena *a)
{
    int s = o->stride, wide = s * in->head_dim, grid = (in->n + s - 1) / s;
    const float *k = in_key(in, kv, 0);
    if (in->n % s) {
        float *whole = sac_arena_alloc(a, sizeof *whole * (size_t)grid * (size_t)wide);
        if (!whole) return false;
        memcpy(whole, k, sizeof *whole * (size_t)in->n * (size_t)in->head_dim);
        k = whole;
    }
    return panels_pack(p, k, wide, grid, a);
}

static float sum_floats(const float *x, int n)
{
    float sum[4] = { 0, 0, 0, 0 }; /* four chains of additions instead of one */
    int i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) sum[k] += x[i + k];
    for (; i < n; i++) sum[0] += x[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Coarse rows of the whole prompt into block scores. False: out of memory. */
static bool score_blocks(const struct sac_prefill_in *in, const struct opts *o, int head, struct blocks *b,
                         struct sac_arena *a)
{
    const struct k_ops *ops = k_ops();
    int grid = (in->n + o->stride - 1) / o->stride, per = o->block_size / o->stride;
    size_t ld = panels_width(grid);
    struct panels keys;
    if (!pack_coarse(in, o, head / in_group(in), &keys, a)) return false;
    float *x = sac_arena_alloc(a, sizeof *x * PANEL_ROWS * (size_t)keys.pad),
          *p = sac_arena_floats(a, PANEL_ROWS * ld);
    int per_block = panels_rows(&keys);
    if (!x || !p) return false;
    for (int m = 0; m < grid; m += per_block) {
        int rows = imin(per_block, grid - m);
        for (int r = 0; r < rows; r++) coarse_query(in, o, head, m + r, x + (size_t)r * (size_t)keys.pad);
        panels_score(&keys, x, rows, m + rows, p, ld);
        for (int r = 0; r < rows; r++) {
            float *s = p + (size_t)r * ld, inv = 1.0f / ops->exp_sum(s, m + r + 1, ops->max(s, m + r + 1));
            float *row = blocks_row(b, (m + r) / per);
            for (int j = 0; j * per <= m + r; j++)
                row[j] += inv * sum_floats(s + j * per, imin(per, m + r + 1 - j * per));
        }
    }
    return true;
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    struct blocks b;
    if (!blocks_create(&b, in->n, o->block_size, o->block_size, scratch)) return false;
    if (!score_blocks(in, o, head, &b, scratch)) return false;
    for (int i = 0; i < b.nq; i++) blocks_force(&b, i, 0);
    blocks_rank(&b);
    double tau = o->threshold >= 0 ? o->threshold : blocks_reaching(&b, o->target, true, scratch);
    return blocks_cover(&b, tau, true, out, scratch);
}

const struct sac_method method_xattention = {
    .name = "xattention",
    .title = "XAttention",
    .summary = "blocks whose antidiagonals promise the most attention",
    .source = "arXiv 2503.16428",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .check = check,
    .budget = budget,
    .reach = reach,
    .plan = plan,
};
