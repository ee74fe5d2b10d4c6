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
static void coarse_query(const struct sac_prefill_in *in, const struct opts *o, int head, int m, float unit,
                         float *out)
{
    int s = o->stride, dim = in->head_dim;
    float scale = in->scale / (float)s * unit;
    int rows = imin(s, in->n - m * s);
    if (rows < s) memset(out, 0, sizeof *out * (size_t)s * (size_t)dim);
    for (int r = 0; r < rows; r++) {
        const float *q = in_query(in, head, m * s + r);
        float *x = out + (size_t)(s - 1 - r) * (size_t)dim;
        for (int d = 0; d < dim; d++) x[d] = scale * q[d];
    }
}

/* `stride` keys in a row are one coarse key as they stand; only the last, ragged one needs zeros after it.
 * For tiles, a panel holds one key of each of 16 blocks: what is added up over the panels of these blocks are
 * sums of blocks, side by side. Elsewhere keys lie in order, so that those after a row can be left out. */
static bool pack_coarse(const struct sac_prefill_in *in, const void *opts, int kv, void *out,
                        struct sac_arena *a)
{
    const struct opts *o = opts;
    int s = o->stride, wide = s * in->head_dim, grid = (in->n + s - 1) / s;
    const float *k = in_key(in, kv, 0);
    if (in->n % s) {
        float *whole = sac_arena_alloc(a, sizeof *whole * (size_t)grid * (size_t)wide);
        if (!whole) return false;
        memcpy(whole, k, sizeof *whole * (size_t)in->n * (size_t)in->head_dim);
        k = whole;
    }
    bool tiles = k_ops()->wide.name && wide >= 32;          /* what panels_pack splits */
    return panels_pack_long(out, k, wide, grid, tiles ? o->block_size / s : 1, a);
}

/* Coarse rows first .. first+count-1 while they are scored, in pieces packed together: `most` of them,
 * or what is left of the `set` of rows that belong to 16 blocks. */
enum { SIDE = K_PANEL, COUNT = 2048 };
#define LOG2E 1.44269504f
struct coarse {
    const struct panels *keys;
    int first, count, most, per, set;
    bool strips;                    /* keys lie apart, scores are in units of log2, for wide.strip_sum */
    float *x, *p, *sum, *ref;       /* packed; scores of a piece; sums of [count][blocks]; [count] */
    size_t room, blocks;
};

static float *coarse_x(const struct coarse *c, int m)
{
    int pieces = (c->set + c->most - 1) / c->most;
    return c->x + (size_t)(m / c->set * pieces + m % c->set / c->most) * c->room;
}

static int coarse_piece(const struct coarse *c, int m)
{
    return imin(imin(c->most, c->set - m % c->set), c->count - m);
}

static bool coarse_room(struct coarse *c, int grid, struct sac_arena *a)
{
    int most = imax(COUNT / c->set, 1) * c->set, pieces = (c->set + c->most - 1) / c->most;
    size_t rows = (size_t)imin(most, grid);
    c->count = most;
    c->room = panels_room(c->keys);
    c->x = sac_arena_floats(a, (rows + (size_t)c->set - 1) / (size_t)c->set * (size_t)pieces * c->room);
    c->p = sac_arena_floats(a, PANEL_ROWS * (size_t)c->set);
    c->sum = sac_arena_floats(a, rows * c->blocks);
    c->ref = sac_arena_floats(a, rows);
    return c->x && c->p && c->sum && c->ref;
}

static void coarse_rows(const struct sac_prefill_in *in, const struct opts *o, int head, struct coarse *c,
                        float *plain)
{
    for (int m = 0, rows; m < c->count; m += rows) {
        rows = coarse_piece(c, m);
        for (int r = 0; r < rows; r++)
            coarse_query(in, o, head, c->first + m + r, c->strips ? LOG2E : 1,
                         plain + (size_t)r * (size_t)c->keys->pad);
        panels_query(c->keys, plain, rows, coarse_x(c, m));
    }
    memset(c->sum, 0, sizeof *c->sum * (size_t)c->count * c->blocks);
    for (int m = 0; m < c->count; m++) c->ref[m] = -INFINITY;
}

/* n scores into exponentials relative to a score of the row that is raised (and what was summed with it) only
 * where a new one is far above. */
static void exponentials(const struct coarse *c, int m, float *x, int n)
{
    const float slack = 8;
    float *sum = c->sum + (size_t)m * c->blocks, top = k_ops()->max(x, n);
    if (top > c->ref[m] + slack) {
        float z = expf(c->ref[m] - top);
        for (size_t b = 0; b < c->blocks; b++) sum[b] *= z;
        c->ref[m] = top;
    }
    k_ops()->exp_sum(x, n, c->ref[m]);
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

/* The scores of a row on the first n keys of some blocks, in order. */
static void add_in_order(const struct coarse *c, int m, int block, float *x, int n)
{
    float *sum = c->sum + (size_t)m * c->blocks;
    if (n <= 0) return;
    exponentials(c, m, x, n);
    for (int j = 0; j < n; j += c->per) sum[block + j / c->per] += sum_floats(x + j, imin(c->per, n - j));
}

/* The scores of a row on 16 blocks that lie side by side. */
static void add_scores(const struct coarse *c, int m, int block, float *x)
{
    int row = c->first + m, own = row / c->per - block;     /* blocks after it, keys after the row: unseen */
    float *sum = c->sum + (size_t)m * c->blocks;
    for (int i = 0; own < SIDE && i < c->per; i++)
        for (int b = i > row % c->per ? own : own + 1; b < SIDE; b++) x[i * SIDE + b] = -1e30f;
    for (int j = 0; j < c->set; j++) x[j] *= 1 / LOG2E;
    exponentials(c, m, x, c->set);
    for (int j = 0; j < c->set; j += SIDE)
        for (int b = 0; b < SIDE; b++) sum[block + b] += x[j + b];
}

static void add_piece(const struct coarse *c, int m, int rows, int block)
{
    int from = block / SIDE * c->set, row = c->first + m,
        end = c->strips ? from + c->set : imin(from + c->set, row + rows);
    panels_score(c->keys, coarse_x(c, m), rows, from, end, c->p, (size_t)c->set);
    for (int r = 0; r < rows; r++) {
        float *x = c->p + (size_t)r * (size_t)c->set;
        if (c->strips) add_scores(c, m + r, block, x);
        else add_in_order(c, m + r, block, x, imin(end, row + r + 1) - from);
    }
}

/* The same where all rows see all of the blocks, on tiles; false: exponentials leave the range. */
static bool add_strip(const struct coarse *c, int m, int rows, int block)
{
    float ref[K_STRIP_ROWS], sum[K_STRIP_ROWS * SIDE] = { 0 };
    for (int r = 0; r < K_STRIP_ROWS; r++) ref[r] = r < rows ? c->ref[m + r] * LOG2E : 0;
    struct k_strip s = {
        .k = (const float *)c->keys->data + (size_t)(block / SIDE * c->set) * (size_t)c->keys->pad,
        .q = (const uint16_t *)coarse_x(c, m), .ref = ref,
        .dim = c->keys->pad, .keys = c->set, .seen = c->set,
    };
    k_ops()->wide.strip_sum(&s, sum);
    for (int i = 0; i < rows * SIDE; i++)
        if (!(sum[i] < 1e30f)) return false;
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < SIDE; b++)
            c->sum[(size_t)(m + r) * c->blocks + (size_t)(block + b)] += sum[r * SIDE + b];
    return true;
}

/* First the blocks around a row's own, which also give its reference; then 16 blocks, which stay in the
 * second-level cache, meet all rows that see them before the next ones do. */
static void coarse_scores(const struct coarse *c)
{
    for (int m = 0, rows; m < c->count; m += rows) {
        rows = coarse_piece(c, m);
        add_piece(c, m, rows, (c->first + m) / c->set * SIDE);
    }
    for (int block = 0; block / SIDE * c->set < c->first + c->count; block += SIDE)
        for (int m = imax(block / SIDE * c->set + c->set - c->first, 0), rows; m < c->count; m += rows) {
            rows = coarse_piece(c, m);
            if (!c->strips || !add_strip(c, m, rows, block)) add_piece(c, m, rows, block);
        }
}

/* Coarse rows of the whole prompt into block scores. False: out of memory. */
static bool score_blocks(const struct sac_prefill_in *in, const struct opts *o, int head, struct blocks *b,
                         struct sac_arena *a)
{
    int grid = (in->n + o->stride - 1) / o->stride, per = o->block_size / o->stride;
    struct coarse c = { .per = per, .set = SIDE * per, .blocks = panels_width(b->nk) };
    c.keys = shared_get(in, head / in_group(in), SHARED_KEYS, sizeof *c.keys, pack_coarse, o, a);
    if (!c.keys) return false;
    c.strips = c.keys->split;
    c.most = panels_rows(c.keys);
    float *plain = sac_arena_alloc(a, sizeof *plain * PANEL_ROWS * (size_t)c.keys->pad);
    if (!plain || !coarse_room(&c, grid, a)) return false;
    for (int most = c.count; c.first < grid; c.first += most) {
        c.count = imin(most, grid - c.first);
        coarse_rows(in, o, head, &c, plain);
        coarse_scores(&c);
        for (int m = 0; m < c.count; m++) {
            int own = (c.first + m) / per;
            const float *s = c.sum + (size_t)m * c.blocks;
            float *row = blocks_row(b, own), inv = 1.0f / (float)range_sum(s, 0, own + 1);
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
