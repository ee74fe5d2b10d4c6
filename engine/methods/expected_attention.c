/* Expected attention, eviction without a question. Devoto et al., NVIDIA/kvpress.
 *
 * How much will queries that are yet to come attend to a key? Unrotated queries of the prompt are summarised
 * by mean and covariance, rotated to the average of the next `horizon` positions, and the expected
 * exponential of the score of a Gaussian query has a closed form: z = s k.mu + s^2/2 k'C k with the scale s.
 * Keys rank by softmax(z), averaged over the group, times the length of their value; `capacity` of them stay,
 * the sinks always.
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

struct moments { int dim; float *q, *mean, *cov, *tmp; };   /* [dim], [dim], [dim][dim], [dim][dim] */

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

static void summarise(const struct sac_prefill_in *in, const struct opts *o, int head, struct moments *m,
                      float *c, float *s)
{
    size_t d = (size_t)m->dim;
    int first = imax(o->sink, in->q_row0);
    if (first >= in->n) first = in->q_row0;
    float inv = 1.0f / (float)(in->n - first);
    memset(m->mean, 0, sizeof *m->mean * d);
    memset(m->cov, 0, sizeof *m->cov * d * d);
    for (int r = first; r < in->n; r++) {
        memcpy(m->q, in_query(in, head, r), sizeof *m->q * d);
        if (in->rope_cos) unrotate_row(in, m->q, r, c, s);
        for (size_t i = 0; i < d; i++) {
            m->mean[i] += inv * m->q[i];
            float qi = inv * m->q[i], *row = m->cov + i * d;
            for (size_t j = 0; j < d; j++) row[j] += qi * m->q[j];
        }
    }
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) m->cov[i * d + j] -= m->mean[i] * m->mean[j];
    if (!in->rope_cos) return;
    int half = in->rope_dim / 2, from = imin(in->n, in->rope_positions - 1),
        to = imin(from + o->horizon, in->rope_positions);
    memset(c, 0, sizeof *c * (size_t)half);
    memset(s, 0, sizeof *s * (size_t)half);
    for (int t = from; t < to; t++)
        for (int i = 0; i < half; i++) {
            c[i] += in->rope_cos[(size_t)t * (size_t)half + (size_t)i] / (float)(to - from);
            s[i] += in->rope_sin[(size_t)t * (size_t)half + (size_t)i] / (float)(to - from);
        }
    rotate_pairs(in, m->mean, 1, c, s);
    for (size_t i = 0; i < d; i++) rotate_pairs(in, m->cov + i, d, c, s);      /* columns: R C */
    for (size_t i = 0; i < d; i++) rotate_pairs(in, m->cov + i * d, 1, c, s);  /* rows: (R C) R' */
}

/* Add softmax over keys of z to sum. */
static void expect(const struct sac_prefill_in *in, int kv, const struct moments *m, float *z, float *sum)
{
    const struct k_ops *ops = k_ops();
    int d = m->dim;
    for (int j = 0; j < in->n; j++) {
        const float *k = in_key(in, kv, j);
        ops->score_f32(k, m->cov, d, d, 1.0f, m->tmp);
        z[j] = in->scale * ops->dot(k, m->mean, d) + 0.5f * in->scale * in->scale * ops->dot(k, m->tmp, d);
    }
    float inv = 1.0f / ops->exp_sum(z, in->n, ops->max(z, in->n));
    for (int j = 0; j < in->n; j++) sum[j] += inv * z[j];
}

static bool evict(const struct sac_prefill_in *in, const void *opts, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    size_t n = (size_t)in->n, d = (size_t)in->head_dim;
    struct moments m = { in->head_dim, sac_arena_floats(scratch, d), sac_arena_floats(scratch, d),
                         sac_arena_floats(scratch, d * d), sac_arena_floats(scratch, d) };
    float *z = sac_arena_floats(scratch, n), *sum = sac_arena_floats(scratch, n);
    float *c = sac_arena_floats(scratch, d), *s = sac_arena_floats(scratch, d);
    if (!m.q || !m.mean || !m.cov || !m.tmp || !z || !sum || !c || !s) return false;
    for (int kv = 0; kv < in->n_kv_heads; kv++) {
        memset(sum, 0, sizeof *sum * n);
        for (int g = 0; g < in_group(in); g++) {
            summarise(in, o, kv * in_group(in) + g, &m, c, s);
            expect(in, kv, &m, z, sum);
        }
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
    .evict = evict,
};
