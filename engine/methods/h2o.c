/* H2O, heavy hitters. Zhang et al., arXiv 2306.14048.
 *
 * Every key accumulates the attention it receives from every query, the prompt's included. The cache holds
 * `recent` last tokens and the `heavy` ones of largest sum; each step evicts the least of the others, whose
 * sum is forgotten.
 *
 * Known quirks. It needs all rows of the prompt's attention: dense attention sums them as it goes where the
 * processor's kernels can (all but NEON's), otherwise they are computed again, at the cost of dense scores.
 * Early keys are seen by more queries and so favoured; normalize=1 divides by that number. The original predates
 * grouped heads; here sums are means over the group, one cache per KV head. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

#include <string.h>

struct opts { int heavy, recent, normalize; };

static const struct sac_param params[] = {
    P_INT(opts, heavy, 512, 0, TOKENS_MAX, true, "tokens kept for their accumulated attention"),
    P_INT(opts, recent, 512, 1, TOKENS_MAX, true, "last tokens, always kept"),
    P_BOOL(opts, normalize, 0, "divide sums by the number of queries that saw the key"),
};

/* sum[layer][kv head][cap], of which the first used[layer][kv head] are of keys in the cache */
struct state { struct opts o; struct sac_shape shape; int cap; float *sum; int *used; };

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    int total = share_of(n, sparsity, 2);
    o->heavy = total / 2;
    o->recent = total - o->heavy;
    return SAC_OK;
}

static bool weigh(const struct sac_prefill_in *in, const void *opts, int head, float *out,
                  struct sac_arena *scratch)
{
    (void)opts;
    return in->mass || evict_votes(in, head, in->n - in->q_row0, GROUP_MEAN_SUM, out, scratch);
}

static bool evict(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    int n = in->n, rows = n - in->q_row0;
    float *rank = sac_arena_floats(scratch, (size_t)n), *sum = sac_arena_floats(scratch, (size_t)n);
    if (!rank || !sum) return false;
    for (int kv = 0; kv < in->n_kv_heads; kv++) {
        const float *mass = in->mass ? in->mass + (size_t)kv * (size_t)n : NULL;
        if (!mass) evict_group(in, kv, GROUP_MEAN_SUM, weight, sum);
        for (int j = 0; mass && j < n; j++) sum[j] = mass[j] / (float)in_group(in);
        for (int j = 0; o->normalize && j < n; j++) sum[j] /= (float)imin(n - j, rows);
        memcpy(rank, sum, sizeof *rank * (size_t)n);
        force_ends(rank, n, 0, o->recent);
        if (!evict_keep(&kept[kv], rank, n, o->heavy + o->recent, scratch)) return false;
        kept[kv].score = sac_arena_floats(scratch, (size_t)imax(kept[kv].n, 1));
        if (!kept[kv].score) return false;
        for (int i = 0; i < kept[kv].n; i++) kept[kv].score[i] = sum[kept[kv].pos[i]];
    }
    return true;
}

static size_t cache_of(const struct state *s, int layer, int kv_head)
{
    return (size_t)layer * (size_t)s->shape.n_kv_heads + (size_t)kv_head;
}

static float *sums(const struct state *s, int layer, int kv_head)
{
    return s->sum + cache_of(s, layer, kv_head) * (size_t)s->cap;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    *s = (struct state){ .o = *(const struct opts *)opts, .shape = env->shape, .cap = env->max_tokens };
    size_t caches = (size_t)env->shape.n_layers * (size_t)env->shape.n_kv_heads;
    s->sum = sac_arena_alloc(a, sizeof *s->sum * caches * (size_t)s->cap);
    s->used = sac_arena_alloc(a, sizeof *s->used * caches);
    return s->sum && s->used ? s : NULL;
}

static void append(void *state, int layer, int kv_head, int slot0, int n, const float *k)
{
    struct state *s = state;
    (void)k;
    memset(sums(s, layer, kv_head) + slot0, 0, sizeof(float) * (size_t)n);
    s->used[cache_of(s, layer, kv_head)] = slot0 + n;
}

static void seed(void *state, int layer, int kv_head, int n, const float *score)
{
    memcpy(sums(state, layer, kv_head), score, sizeof *score * (size_t)n);
}

static void observe(void *state, const struct sac_decode_in *in, int head, const struct sac_rows *rows,
                    const float *weight)
{
    int group = in->n_heads / in->n_kv_heads;
    float *sum = sums(state, in->layer, head / group), share = 1.0f / (float)group;
    for (int i = 0, at = 0; i < rows->n; i++) {
        int n = rows->run[i].hi - rows->run[i].lo;
        k_ops()->add_rows(sum + rows->run[i].lo, weight + at, 0, &share, 1, n);
        at += n;
    }
}

static int drop(void *state, const struct sac_decode_in *in, int kv_head)
{
    const struct state *s = state;
    const float *sum = sums(s, in->layer, kv_head);
    int n = in->n[kv_head];
    return n <= s->o.heavy + s->o.recent ? -1 : least(sum, n - s->o.recent);
}

static void dropped(void *state, int layer, int kv_head, int slot)
{
    struct state *s = state;
    float *sum = sums(s, layer, kv_head);
    int left = --s->used[cache_of(s, layer, kv_head)];
    memmove(sum + slot, sum + slot + 1, sizeof *sum * (size_t)(left - slot));
}

const struct sac_method method_h2o = {
    .name = "h2o",
    .title = "H2O",
    .summary = "keeps the keys with the most attention so far, and the last ones",
    .source = "arXiv 2306.14048",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .needs_all_q = true,
    .wants_mass = true,
    .scope = scope_kv_head,
    .budget = budget,
    .weigh = weigh,
    .evict = evict,
    .create = create,
    .append = append,
    .seed = seed,
    .observe = observe,
    .drop = drop,
    .dropped = dropped,
};
