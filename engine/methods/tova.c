/* TOVA, token omission via attention. Oren et al., arXiv 2401.06104.
 *
 * The cache of a layer holds `capacity` tokens, the same for all its heads. Each step the newest query's
 * attention, averaged over all heads of the layer, is looked at and the token with the least of it is
 * dropped. After the prompt the capacity best by its last query stay.
 *
 * Known quirks. Nothing is forced: sinks stay only because they score high, and the newest token may go at
 * once; protect_last=1 keeps it. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

#include <string.h>

struct opts { int capacity, protect_last; };

static const struct sac_param params[] = {
    P_INT(opts, capacity, 1024, 1, TOKENS_MAX, true, "tokens the cache of a layer holds"),
    P_BOOL(opts, protect_last, 0, "never drop the newest token"),
};

struct state {
    struct opts o;
    int cap, victim;
    float *mean;
}; /* mean[cap] over heads, of this step and layer */

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    (void)s;
    (void)err;
    ((struct opts *)opts)->capacity = share_of(n, sparsity, 1);
    return SAC_OK;
}

static void copy_row(void *ctx, int row, const float *p) { memcpy(ctx, p, sizeof *p * ((size_t)row + 1)); }

static bool weigh(const struct sac_prefill_in *in, const void *opts, int head, float *out,
                  struct sac_arena *scratch)
{
    (void)opts;
    return scores_each_row(in, head, in->n - 1, 1, NULL, NULL, copy_row, out, scratch);
}

static bool evict(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    for (int h = 1; h < in->n_heads; h++) k_ops()->add(weight, weight + (size_t)h * (size_t)in->n, in->n);
    if (o->protect_last) weight[in->n - 1] = INFINITY;
    for (int kv = 0; kv < in->n_kv_heads; kv++)
        if (!evict_keep(&kept[kv], weight, in->n, o->capacity, scratch)) return false;
    return true;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    *s = (struct state){ .o = *(const struct opts *)opts, .cap = env->max_tokens, .victim = -1 };
    s->mean = sac_arena_alloc(a, sizeof *s->mean * (size_t)s->cap);
    return s->mean ? s : NULL;
}

static void observe(void *state, const struct sac_decode_in *in, int head, const struct sac_rows *rows,
                    const float *weight)
{
    struct state *s = state;
    if (head == 0) memset(s->mean, 0, sizeof *s->mean * (size_t)s->cap);
    float share = 1.0f / (float)in->n_heads;
    for (int i = 0, at = 0; i < rows->n; i++) {
        int n = rows->run[i].hi - rows->run[i].lo;
        k_ops()->add_rows(s->mean + rows->run[i].lo, weight + at, 0, &share, 1, n);
        at += n;
    }
}

/* All KV heads of a layer drop the same slot: the first one asked decides. */
static int drop(void *state, const struct sac_decode_in *in, int kv_head)
{
    struct state *s = state;
    if (kv_head > 0) return s->victim;
    int n = in->n[0] - (s->o.protect_last ? 1 : 0);
    s->victim = -1;
    if (in->n[0] <= s->o.capacity || n < 1) return -1;
    return s->victim = least(s->mean, n);
}

const struct sac_method method_tova = {
    .name = "tova",
    .title = "TOVA",
    .summary = "drops the token the newest query attends to least",
    .source = "arXiv 2401.06104",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_layer,
    .budget = budget,
    .weigh = weigh,
    .evict = evict,
    .create = create,
    .observe = observe,
    .drop = drop,
};
