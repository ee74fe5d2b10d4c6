/* Expected attention, eviction without a question. Devoto et al., NVIDIA/kvpress.
 *
 * How much will queries that are yet to come attend to a key? Unrotated queries of the prompt are summarised
 * by mean and covariance, rotated to the average of the next `horizon` positions, and the expected
 * exponential of the score of a Gaussian query has a closed form: z = s k.mu + s^2/2 k'C k with the scale s.
 * Keys rank by softmax(z), averaged over the group, times the length of their value; `capacity` of them stay,
 * the sinks always.
 *
 * Both sums over rows, of products of queries and of keys with the covariance, are products of matrices: of
 * queries some rows at a time, laid out by channel.
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

/* Room for the queries of one head, ROWS of them at a time, and what they come to. */
struct moments {
    int dim;
    float *mean, *cov;              /* [dim], [dim][dim]: sums at first */
    float *x, *u;                   /* [dim], [dim][ROWS]: an unrotated query; ROWS of them by channel */
    float *c, *s;                   /* [rope_dim / 2]: the average rotation */
    float *product;                 /* [PANEL_ROWS][dim] */
    float *one;                     /* [ROWS] */
};

static bool room(const struct sac_prefill_in *in, struct moments *m, struct sac_arena *a)
{
    size_t d = (size_t)in->head_dim, half = (size_t)in->rope_dim / 2 + 1;
    *m = (struct moments){ in->head_dim,
                           sac_arena_alloc(a, sizeof(float) * d),
                           sac_arena_alloc(a, sizeof(float) * d * d),
                           sac_arena_floats(a, d),
                           sac_arena_floats(a, d * ROWS),
                           sac_arena_alloc(a, sizeof(float) * half),
                           sac_arena_alloc(a, sizeof(float) * half),
                           sac_arena_floats(a, PANEL_ROWS * panels_width(in->head_dim)),
                           sac_arena_floats(a, ROWS) };
    if (!m->mean || !m->cov || !m->x || !m->u || !m->c || !m->s || !m->product || !m->one) return false;
    for (int r = 0; r < ROWS; r++) m->one[r] = 1;
    return true;
}

/* By the transpose of the rotation, divided by its squared length (scaled tables). */
static void unrotate(const struct sac_prefill_in *in, int row, const float *restrict q, float *restrict x)
{
    int half = in->rope_dim / 2;
    bool adjacent = in->rope_adjacent;
    const float *c = in->rope_cos + (size_t)row * (size_t)half, *s = in->rope_sin + (size_t)row * (size_t)half;
    memcpy(x, q, sizeof *x * (size_t)in->head_dim);
    for (int i = 0; i < half; i++) {
        int a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + half;
        float inv = 1 / (c[i] * c[i] + s[i] * s[i]);
        x[a] = (q[a] * c[i] + q[b] * s[i]) * inv;
        x[b] = (q[b] * c[i] - q[a] * s[i]) * inv;
    }
}

/* Some rows of the head, zeros behind them, and their sums and products added up. */
static bool add_rows(const struct sac_prefill_in *in, int head, int row0, int rows, const struct moments *m,
                     struct sac_arena *a)
{
    const struct k_ops *ops = k_ops();
    int d = m->dim;
    if (rows < ROWS) memset(m->u, 0, sizeof *m->u * (size_t)d * ROWS);
    for (int r = 0; r < rows; r++) {
        const float *q = in_query(in, head, row0 + r), *x = in->rope_cos ? m->x : q;
        if (in->rope_cos) unrotate(in, row0 + r, q, m->x);
        for (int i = 0; i < d; i++) m->u[i * ROWS + r] = x[i];
    }
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
            ops->add(m->cov + (size_t)(i + j) * (size_t)d, m->product + (size_t)j * ld, d);
    }
    for (int i = 0; i < d; i++) m->mean[i] += ops->dot(m->u + i * ROWS, m->one, ROWS);
    sac_arena_rewind(a, mark);
    return true;
}

/* c and s, zeros at first: the mean over the next `horizon` positions. */
static void average_rotation(const struct sac_prefill_in *in, int horizon, float *c, float *s)
{
    int half = in->rope_dim / 2, from = imin(in->n, in->rope_positions - 1),
        to = imin(from + horizon, in->rope_positions);
    for (int t = from; t < to; t++)
        for (int i = 0; i < half; i++) {
            c[i] += in->rope_cos[(size_t)t * (size_t)half + (size_t)i] / (float)(to - from);
            s[i] += in->rope_sin[(size_t)t * (size_t)half + (size_t)i] / (float)(to - from);
        }
}

/* Mean and covariance of a head, rotated to what is to come. */
static bool summarise(const struct sac_prefill_in *in, const struct opts *o, int head,
                      const struct moments *m, struct sac_arena *a)
{
    size_t d = (size_t)m->dim;
    int first = imax(o->sink, in->q_row0);
    if (first >= in->n) first = in->q_row0;
    for (int row = first; row < in->n; row += ROWS)
        if (!add_rows(in, head, row, imin(ROWS, in->n - row), m, a)) return false;
    float inv = 1.0f / (float)(in->n - first), *mean = m->mean, *cov = m->cov;
    for (size_t i = 0; i < d; i++) mean[i] *= inv;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) cov[i * d + j] = inv * cov[i * d + j] - mean[i] * mean[j];
    if (!in->rope_cos) return true;
    average_rotation(in, o->horizon, m->c, m->s);
    rotate_pairs(in, mean, 1, m->c, m->s);
    for (size_t i = 0; i < d; i++) rotate_pairs(in, cov + i, d, m->c, m->s);      /* columns: R C */
    for (size_t i = 0; i < d; i++) rotate_pairs(in, cov + i * d, 1, m->c, m->s);  /* rows: (R C) R' */
    return true;
}

/* z[j] of every key. */
static bool exponents(const struct sac_prefill_in *in, int kv, const struct moments *m, float *z,
                      struct sac_arena *a)
{
    const struct k_ops *ops = k_ops();
    int d = m->dim, n;
    size_t ld = panels_width(d);
    struct panels p;
    if (!panels_pack(&p, m->cov, d, d, 1, a)) return false;
    float *x = sac_arena_alloc(a, sizeof *x * PANEL_ROWS * (size_t)p.pad),
          *packed = sac_arena_floats(a, panels_room(&p));
    if (!x || !packed) return false;
    ops->score_f32(m->mean, in_key(in, kv, 0), d, in->n, in->scale, z);
    for (int j = 0; j < in->n; j += n) {
        n = imin(panels_rows(&p), in->n - j);
        for (int r = 0; r < n; r++) memcpy(x + r * p.pad, in_key(in, kv, j + r), sizeof *x * (size_t)d);
        panels_query(&p, x, n, packed);
        panels_score(&p, packed, n, 0, d, m->product, ld);
        for (int r = 0; r < n; r++)
            z[j + r] += 0.5f * in->scale * in->scale *
                        ops->dot(in_key(in, kv, j + r), m->product + (size_t)r * ld, d);
    }
    return true;
}

static bool weigh(const struct sac_prefill_in *in, const void *opts, int head, float *out,
                  struct sac_arena *scratch)
{
    const struct k_ops *ops = k_ops();
    struct moments m;
    if (!room(in, &m, scratch) || !summarise(in, opts, head, &m, scratch) ||
        !exponents(in, head / in_group(in), &m, out, scratch))
        return false;
    float inv = 1.0f / ops->exp_sum(out, in->n, ops->max(out, in->n)); /* softmax over keys */
    for (int j = 0; j < in->n; j++) out[j] *= inv;
    return true;
}

static bool evict(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    float *sum = sac_arena_floats(scratch, (size_t)in->n);
    if (!sum) return false;
    for (int kv = 0; kv < in->n_kv_heads; kv++) {
        evict_group(in, kv, GROUP_MEAN_SUM, weight, sum);
        for (int j = 0; j < in->n; j++)
            sum[j] *= sqrtf(k_ops()->dot(in_value(in, kv, j), in_value(in, kv, j), in->head_dim));
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
    .weigh = weigh,
    .evict = evict,
};
