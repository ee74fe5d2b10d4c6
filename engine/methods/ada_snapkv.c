/* Ada-SnapKV, adaptive eviction after prefill. Feng et al., arXiv 2407.11550, as run by The Sparse Frontier.
 *
 * SnapKV whose KV heads of a layer share one pool of capacity x heads slots. Each head first keeps its own
 * best `floor` share of the capacity (at least what is forced); the remaining slots go to the highest scores
 * of the layer, whatever head they are in. Heads end with caches of different lengths; layers all have equal
 * sums.
 *
 * Known quirks. Scores are maxima over the window and over the group, not sums: reported to help only the
 * adaptive variant. A head with many high scores takes its slots from heads whose attention is spread out.
 * The original blends each head's share with the uniform one instead of a floor. */
#include "methods.h"
#include "registry.h"

#include <string.h>

struct opts { int capacity, window, kernel, local, sink; double floor; };

static const struct sac_param params[] = {
    P_INT(opts, capacity, 1024, 1, TOKENS_MAX, true, "tokens kept, mean over the KV heads of a layer"),
    P_INT(opts, window, 256, 1, TOKENS_MAX, false, "last queries that vote"),
    P_INT(opts, kernel, 21, 1, 1023, false, "neighbours averaged, an odd number"),
    P_INT(opts, local, 128, 0, TOKENS_MAX, false, "last tokens, always kept"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first tokens, always kept"),
    P_FLOAT(opts, floor, 0.2, 0, 1, false, "share of the capacity every head keeps"),
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    (void)s;
    (void)n;
    if (o->kernel % 2 == 0)
        return sac_fail(err, SAC_EARG,
                        "ada_snapkv: kernel=%d is even, which would shift the window: use kernel=%d",
                        o->kernel, o->kernel + 1);
    if (o->capacity < imax(o->local + o->sink, 1))
        return sac_fail(err, SAC_EARG,
                        "ada_snapkv: capacity=%d is below sink+local=%d, tokens that are always kept: "
                        "use capacity=%d",
                        o->capacity, o->local + o->sink, o->local + o->sink);
    return SAC_OK;
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->capacity = share_of(n, sparsity, imax(o->local + o->sink, 1));
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, imax(o->local + o->sink, 1));
}

static bool forced(const void *opts, int n, int row, int key)
{
    const struct opts *o = opts;
    (void)row;
    return key < o->sink || key >= n - o->local;
}

static bool weigh(const struct sac_prefill_in *in, const void *opts, int head, float *out,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    return in->n <= o->capacity || evict_votes(in, head, o->window, GROUP_MAX_MAX, out, scratch);
}

static bool evict(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    int n = in->n, heads = in->n_kv_heads;
    if (n <= o->capacity) {
        for (int kv = 0; kv < heads; kv++)
            if (!evict_keep_all(&kept[kv], n, scratch)) return false;
        return true;
    }
    size_t all = (size_t)n * (size_t)heads;
    float *score = sac_arena_floats(scratch, all), *vote = sac_arena_floats(scratch, (size_t)n);
    if (!score || !vote) return false;
    for (int kv = 0; kv < heads; kv++) {
        float *smooth = score + (size_t)kv * (size_t)n;
        evict_group(in, kv, GROUP_MAX_MAX, weight, vote);
        pool_average(vote, n, o->kernel, smooth);
        force_ends(smooth, n, o->sink, o->local);
    }
    return ada_allocate(score, n, heads, o->capacity, imax((int)(o->floor * o->capacity), o->local + o->sink),
                        kept, scratch);
}

const struct sac_method method_ada_snapkv = {
    .name = "ada_snapkv",
    .title = "Ada-SnapKV",
    .summary = "SnapKV whose heads share one pool of slots per layer",
    .source = "arXiv 2407.11550; settings of arXiv 2504.17768",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_kv_head,
    .check = check,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .weigh = weigh,
    .evict = evict,
};
