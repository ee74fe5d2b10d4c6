/* Expected attention, eviction without a question. Devoto et al., NVIDIA/kvpress.
 *
 * How much will queries that are yet to come attend to a key? Unrotated queries of the prompt are summarised
 * by mean and covariance, rotated to the average of the next `horizon` positions, and the expected
 * exponential of the score of a Gaussian query has a closed form: z = s k.mu + s^2/2 k'C k with the scale s.
 * Keys rank by softmax(z), averaged over the group, times the length of their value; `capacity` of them stay,
 * the sinks always.
 *
 * Both sums over rows, of products of queries and of keys with covariances, are products of matrices: some
 * rows at a time are laid out by channel, where undoing the rotation is the same for all of them.
 *
 * Known quirks. Costs dim^2 per key. Without rotation tables (tensors from a file) rotated queries are
 * summarised as they are. The nearest tokens are not protected: only their score keeps them. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

#include <string.h>

struct opts { int capacity, sink, horizon; };

static const struct sac_param params[] = {
    P_INT(opts, capacity, 1024, 1, TOKENS_MAX, true, "tokens each KV head keeps"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first tokens, always kept, and left out of the summary"),
    P_INT(opts, horizon, 512, 1, 65536, false, "positions ahead whose rotation is averaged"),
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    (void)s;
    (void)n;
    if (o->capacity >= o->sink) return SAC_OK;
    return sac_fail(err, SAC_EARG,
                    "expected_attention: capacity=%d is below sink=%d, tokens that are always kept: use "
                    "capacity=%d",
                    o->capacity, o->sink, o->sink);
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->capacity = share_of(n, sparsity, o->sink + 1);
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, o->sink + 1);
}

static bool forced(const void *opts, int n, int row, int key)
{
    return (void)n, (void)row, key < ((const struct opts *)opts)->sink;
}

enum { ROWS = 128 };

/* Room for the queries of all heads, ROWS of them at a time, and what they come to. */
struct moments {
    int dim;
    float *mean, *cov;              /* [n_heads][dim], [n_heads][dim][dim]: sums at first */
    float *u;                       /* [dim][ROWS]: unrotated queries of one head by channel */
    float *c, *s;                   /* [rope_dim / 2][ROWS]: what undoes the rotation */
    float *product;                 /* [PANEL_ROWS][heads of a group][dim] */
    float *one;                     /* [ROWS] */
};

static bool room(const struct sac_prefill_in *in, struct moments *m, struct sac_arena *a)
{
    size_t d = (size_t)in->head_dim, heads = (size_t)in->n_heads, half = (size_t)in->rope_dim / 2 + 1;
    *m = (struct moments){ in->head_dim,
                           sac_arena_floats(a, heads * d),
                           sac_arena_floats(a, heads * d * d),
                           sac_arena_floats(a, d * ROWS),
                           sac_arena_floats(a, half * ROWS),
                           sac_arena_floats(a, half * ROWS),
                           sac_arena_floats(a, PANEL_ROWS * panels_width(in_group(in) * in->head_dim)),
                           sac_arena_floats(a, ROWS) };
    if (!m->mean || !m->cov || !m->u || !m->c || !m->s || !m->product || !m->one) return false;
    memset(m->mean, 0, sizeof *m->mean * heads * d);
    memset(m->cov, 0, sizeof *m->cov * heads * d * d);
    for (int r = 0; r < ROWS; r++) m->one[r] = 1;
    return true;
}

/* By the transpose of the rotation, divided by its squared length (scaled tables). */
static void rotations(const struct sac_prefill_in *in, int row0, int rows, const struct moments *m)
{
    int half = in->rope_dim / 2;
    for (int r = 0; r < rows; r++) {
        const float *rc = in->rope_cos + (size_t)(row0 + r) * (size_t)half,
                    *rs = in->rope_sin + (size_t)(row0 + r) * (size_t)half;
        for (int i = 0; i < half; i++) {
            float len = rc[i] * rc[i] + rs[i] * rs[i];
            m->c[i * ROWS + r] = rc[i] / len;
            m->s[i * ROWS + r] = -rs[i] / len;
        }
    }
}

static void unrotate(const struct sac_prefill_in *in, int rows, const struct moments *m)
{
    int half = in->rope_dim / 2;
    for (int i = 0; i < half; i++) {
        float *a = m->u + (in->rope_adjacent ? 2 * i : i) * ROWS;
        float *b = m->u + (in->rope_adjacent ? 2 * i + 1 : i + half) * ROWS;
        const float *c = m->c + i * ROWS, *s = m->s + i * ROWS;
        for (int r = 0; r < rows; r++) {
            float a0 = a[r], b0 = b[r];
            a[r] = a0 * c[r] - b0 * s[r];
            b[r] = a0 * s[r] + b0 * c[r];
        }
    }
}

/* The rows of one head, zeros behind them, and their sums and products added up. */
static bool add_rows(const struct sac_prefill_in *in, int head, int row0, int rows, const struct moments *m,
                     struct sac_arena *a)
{
    const struct k_ops *ops = k_ops();
    int d = m->dim;
    float *mean = m->mean + (size_t)head * (size_t)d, *cov = m->cov + (size_t)head * (size_t)d * (size_t)d;
    const float *q = in_query(in, head, row0);
    if (rows < ROWS) memset(m->u, 0, sizeof *m->u * (size_t)d * ROWS);
    for (int i = 0; i < d; i++)
        for (int r = 0; r < rows; r++) m->u[i * ROWS + r] = q[r * d + i];
    if (in->rope_cos) unrotate(in, rows, m);
    struct panels p;
    struct sac_arena_mark mark = sac_arena_mark(a);
    if (!panels_pack(&p, m->u, ROWS, d, 1, a)) return false;
    size_t ld = panels_width(d);
    float *packed = sac_arena_floats(a, panels_room(&p));
    if (!packed) return false;
    for (int i = 0, n; i < d; i += n) {
        n = imin(panels_rows(&p), d - i);
        panels_query(&p, m->u + i * ROWS, n, packed);
        panels_score(&p, packed, n, 0, d, m->product, ld);
        for (int j = 0; j < n; j++)
            ops->add(cov + (size_t)(i + j) * (size_t)d, m->product + (size_t)j * ld, d);
    }
    for (int i = 0; i < d; i++) mean[i] += ops->dot(m->u + i * ROWS, m->one, ROWS);
    sac_arena_rewind(a, mark);
    return true;
}

static void average_rotation(const struct sac_prefill_in *in, int horizon, float *c, float *s)
{
    int half = in->rope_dim / 2, from = imin(in->n, in->rope_positions - 1),
        to = imin(from + horizon, in->rope_positions);
    memset(c, 0, sizeof *c * (size_t)half);
    memset(s, 0, sizeof *s * (size_t)half);
    for (int t = from; t < to; t++)
        for (int i = 0; i < half; i++) {
            c[i] += in->rope_cos[(size_t)t * (size_t)half + (size_t)i] / (float)(to - from);
            s[i] += in->rope_sin[(size_t)t * (size_t)half + (size_t)i] / (float)(to - from);
        }
}

/* Means and covariances of all heads, rotated to what is to come. */
static bool summarise(const struct sac_prefill_in *in, const struct opts *o, const struct moments *m,
                      struct sac_arena *a)
{
    size_t d = (size_t)m->dim;
    int first = imax(o->sink, in->q_row0);
    if (first >= in->n) first = in->q_row0;
    for (int row = first; row < in->n; row += ROWS) {
        int rows = imin(ROWS, in->n - row);
        if (in->rope_cos) rotations(in, row, rows, m);
        for (int h = 0; h < in->n_heads; h++)
            if (!add_rows(in, h, row, rows, m, a)) return false;
    }
    float inv = 1.0f / (float)(in->n - first);
    if (in->rope_cos) average_rotation(in, o->horizon, m->c, m->s);
    for (int h = 0; h < in->n_heads; h++) {
        float *mean = m->mean + (size_t)h * d, *cov = m->cov + (size_t)h * d * d;
        for (size_t i = 0; i < d; i++) mean[i] *= inv;
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) cov[i * d + j] = inv * cov[i * d + j] - mean[i] * mean[j];
        if (!in->rope_cos) continue;
        rotate_pairs(in, mean, 1, m->c, m->s);
        for (size_t i = 0; i < d; i++) rotate_pairs(in, cov + i, d, m->c, m->s);      /* columns: R C */
        for (size_t i = 0; i < d; i++) rotate_pairs(in, cov + i * d, 1, m->c, m->s);  /* rows: (R C) R' */
    }
    return true;
}

/* z[g][j] for the heads of a group: keys meet all their covariances at once. */
static bool exponents(const struct sac_prefill_in *in, int kv, const struct moments *m, float *z,
                      struct sac_arena *a)
{
    const struct k_ops *ops = k_ops();
    int d = m->dim, group = in_group(in), n;
    size_t first = (size_t)(kv * group) * (size_t)d, ld = panels_width(group * d);
    struct sac_arena_mark mark = sac_arena_mark(a);
    struct panels p;
    if (!panels_pack(&p, m->cov + first * (size_t)d, d, group * d, 1, a)) return false;
    float *x = sac_arena_floats(a, PANEL_ROWS * (size_t)p.pad),
          *packed = sac_arena_floats(a, panels_room(&p));
    if (!x || !packed) return false;
    memset(x, 0, sizeof *x * PANEL_ROWS * (size_t)p.pad);
    for (int g = 0; g < group; g++)
        ops->score_f32(m->mean + first + (size_t)(g * d), in_key(in, kv, 0), d, in->n, in->scale,
                       z + (size_t)g * (size_t)in->n);
    for (int j = 0; j < in->n; j += n) {
        n = imin(panels_rows(&p), in->n - j);
        for (int r = 0; r < n; r++) memcpy(x + r * p.pad, in_key(in, kv, j + r), sizeof *x * (size_t)d);
        panels_query(&p, x, n, packed);
        panels_score(&p, packed, n, 0, group * d, m->product, ld);
        for (int r = 0; r < n; r++)
            for (int g = 0; g < group; g++)
                z[(size_t)g * (size_t)in->n + (size_t)(j + r)] +=
                    0.5f * in->scale * in->scale *
                    ops->dot(in_key(in, kv, j + r), m->product + (size_t)r * ld + (size_t)(g * d), d);
    }
    sac_arena_rewind(a, mark);
    return true;
}

static bool evict(const struct sac_prefill_in *in, const void *opts, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    const struct k_ops *ops = k_ops();
    size_t n = (size_t)in->n;
    int group = in_group(in);
    struct moments m;
    float *z = sac_arena_floats(scratch, n * (size_t)group), *sum = sac_arena_floats(scratch, n);
    if (!z || !sum || !room(in, &m, scratch) || !summarise(in, o, &m, scratch)) return false;
    for (int kv = 0; kv < in->n_kv_heads; kv++) {
        memset(sum, 0, sizeof *sum * n);
        if (!exponents(in, kv, &m, z, scratch)) return false;
        for (int g = 0; g < group; g++) {           /* softmax over keys */
            float *x = z + (size_t)g * n, inv = 1.0f / ops->exp_sum(x, in->n, ops->max(x, in->n));
            ops->add_rows(sum, x, 0, &inv, 1, in->n);
        }
        for (int j = 0; j < in->n; j++)
            sum[j] *= sqrtf(ops->dot(in_value(in, kv, j), in_value(in, kv, j), in->head_dim));
        force_ends(sum, in->n, o->sink, 0);
        if (!evict_keep(&kept[kv], sum, in->n, o->capacity, scratch)) return false;
    }
    return true;
}

const struct sac_method method_expected_attention = {
    .name = "expected_attention",
    .title = "Expected attention",
    .summary = "keeps the keys that queries still to come are expected to read",
    .source = "NVIDIA/kvpress",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .needs_all_q = true,
    .scope = scope_kv_head,
    .check = check,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .evict = evict,
};
