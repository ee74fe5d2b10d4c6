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
static bool pack_coarse(const struct sac_prefill_in *in, const void *opts, int kv, void *out,
                        struct sac_arena *a)
{
    int s = ((const struct opts *)opts)->stride, wide = s * in->head_dim, grid = (in->n + s - 1) / s;
    const float *k = in_key(in, kv, 0);
    if (in->n % s) {
        float *whole = sac_arena_alloc(a, sizeof *whole * (size_t)grid * (size_t)wide);
        if (!whole) return false;
        memcpy(whole, k, sizeof *whole * (size_t)in->n * (size_t)in->head_dim);
        k = whole;
    }
    return panels_pack(out, k, wide, grid, a);
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

/* Some more of the softmax of a coarse row, summed by blocks of `per` keys from block `at` on, relative to
 * *ref: a score of the row, raised (and what was summed with it) only where a new one is far above. */
static void add_scores(float *x, int n, int per, float *ref, float *sum, int at)
{
    const struct k_ops *ops = k_ops();
    const float slack = 8;
    float top = ops->max(x, n);
    if (top > *ref + slack) {
        float z = expf(*ref - top);
        for (int b = 0; b < at; b++) sum[b] *= z;
        *ref = top;
    }
    ops->exp_sum(x, n, *ref);
    for (int j = 0; j < n; j += per) sum[at + j / per] += sum_floats(x + j, imin(per, n - j));
}

/* Some coarse keys that fill whole blocks and whole panels, and stay in the second-level cache. */
static int stretch_of(int pad, int per)
{
    enum { FLOATS = 1 << 17 };
    int unit = per;
    while (unit % PANEL_ROWS) unit += per;
    return imax(FLOATS / pad / unit, 1) * unit;
}

/* Coarse rows first .. first+count-1 while they are scored; x: packed by blocks of `most`. */
enum { COUNT = 2048 };
struct coarse {
    const struct panels *keys;
    int first, count, most, per;
    float *x, *p, *sum, *ref;       /* sum: [COUNT][nk] */
    size_t room, nk;
};

static bool coarse_room(struct coarse *c, int grid, struct sac_arena *a)
{
    size_t rows = (size_t)imin(grid, COUNT), blocks = (rows + (size_t)c->most - 1) / (size_t)c->most;
    c->room = panels_room(c->keys);
    c->x = sac_arena_floats(a, blocks * c->room);
    c->p = sac_arena_floats(a, PANEL_ROWS * panels_width(imin(grid, stretch_of(c->keys->pad, c->per))));
    c->sum = sac_arena_floats(a, rows * c->nk);
    c->ref = sac_arena_floats(a, rows);
    return c->x && c->p && c->sum && c->ref;
}

static void coarse_rows(const struct sac_prefill_in *in, const struct opts *o, int head, struct coarse *c,
                        float *plain)
{
    for (int m = 0; m < c->count; m += c->most) {
        int rows = imin(c->most, c->count - m);
        for (int r = 0; r < rows; r++)
            coarse_query(in, o, head, c->first + m + r, plain + (size_t)r * (size_t)c->keys->pad);
        panels_query(c->keys, plain, rows, c->x + (size_t)(m / c->most) * c->room);
    }
    memset(c->sum, 0, sizeof *c->sum * (size_t)c->count * c->nk);
    for (int m = 0; m < c->count; m++) c->ref[m] = -INFINITY;
}

/* A stretch of keys meets all of the rows before the next one does. */
static void coarse_scores(const struct coarse *c)
{
    int grid = c->first + c->count, stretch = stretch_of(c->keys->pad, c->per);
    size_t ld = panels_width(imin(grid, stretch));
    for (int j = 0; j < grid; j += stretch)
        for (int m = imax(j - c->first, 0) / c->most * c->most; m < c->count; m += c->most) {
            int row = c->first + m, rows = imin(c->most, c->count - m), end = imin(j + stretch, row + rows);
            panels_score(c->keys, c->x + (size_t)(m / c->most) * c->room, rows, j, end, c->p, ld);
            for (int r = imax(j - row, 0); r < rows; r++)
                add_scores(c->p + (size_t)r * ld, imin(end, row + r + 1) - j, c->per, &c->ref[m + r],
                           c->sum + (size_t)(m + r) * c->nk, j / c->per);
        }
}

/* Coarse rows of the whole prompt into block scores. False: out of memory. */
static bool score_blocks(const struct sac_prefill_in *in, const struct opts *o, int head, struct blocks *b,
                         struct sac_arena *a)
{
    int grid = (in->n + o->stride - 1) / o->stride;
    struct coarse c = { .per = o->block_size / o->stride, .nk = (size_t)b->nk };
    c.keys = shared_get(in, head / in_group(in), SHARED_KEYS, sizeof *c.keys, pack_coarse, o, a);
    if (!c.keys) return false;
    c.most = panels_rows(c.keys);
    float *plain = sac_arena_alloc(a, sizeof *plain * PANEL_ROWS * (size_t)c.keys->pad);
    if (!plain || !coarse_room(&c, grid, a)) return false;
    for (c.first = 0; c.first < grid; c.first += COUNT) {
        c.count = imin(COUNT, grid - c.first);
        coarse_rows(in, o, head, &c, plain);
        coarse_scores(&c);
        for (int m = 0; m < c.count; m++) {
            int own = (c.first + m) / c.per;
            const float *s = c.sum + (size_t)m * c.nk;
            float *row = blocks_row(b, own), inv = 1.0f / sum_floats(s, own + 1);
            for (int i = 0; i <= own; i++) row[i] += inv * s[i];
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
