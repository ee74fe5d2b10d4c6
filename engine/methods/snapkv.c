/* SnapKV, eviction after prefill. Li et al., arXiv 2404.14469, as run by The Sparse Frontier.
 *
 * Prefill is dense. The last `window` queries vote for the keys they attend to; votes are averaged over the
 * heads of a group, summed over the window, smoothed over `kernel` neighbours so that whole phrases survive,
 * and each KV head keeps its `capacity` best tokens, the sink and the last `local` always among them. What
 * is generated later is never evicted.
 *
 * Known quirks. The votes include the window itself and the sinks. Smoothing counts zeros beyond the ends.
 * Scores are tied to the question at the end of the prompt: for a second question the cache would have to be
 * rebuilt. The original repeats K and V and selects per query head, excludes the window from scoring and
 * keeps it whole (window 64, kernel 5 or 7). */
#include "methods.h"
#include "registry.h"

struct opts { int capacity, window, kernel, local, sink; };

static const struct sac_param params[] = {
    P_INT(opts, capacity, 1024, 1, TOKENS_MAX, true, "tokens each KV head keeps"),
    P_INT(opts, window, 256, 1, TOKENS_MAX, false, "last queries that vote"),
    P_INT(opts, kernel, 21, 1, 1023, false, "neighbours averaged, an odd number"),
    P_INT(opts, local, 128, 0, TOKENS_MAX, false, "last tokens, always kept"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first tokens, always kept"),
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    (void)s;
    (void)n;
    if (o->kernel % 2 == 0)
        return sac_fail(err, SAC_EARG,
                        "snapkv: kernel=%d is even, which would shift the window: use kernel=%d", o->kernel,
                        o->kernel + 1);
    if (o->capacity <= o->local + o->sink)
        return sac_fail(err, SAC_EARG,
                        "snapkv: capacity=%d must be above sink+local=%d, tokens that are always "
                        "kept: use capacity=%d",
                        o->capacity, o->local + o->sink, o->local + o->sink + 1);
    return SAC_OK;
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->capacity = share_of(n, sparsity, o->local + o->sink + 1);
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, o->local + o->sink + 1);
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
    return in->n <= o->capacity || evict_votes(in, head, o->window, GROUP_MEAN_SUM, out, scratch);
}

static bool evict(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    size_t n = (size_t)in->n;
    float *vote = sac_arena_floats(scratch, n), *smooth = sac_arena_floats(scratch, n);
    if (!vote || !smooth) return false;
    for (int kv = 0; kv < in->n_kv_heads; kv++) {
        if (in->n > o->capacity) {
            evict_group(in, kv, GROUP_MEAN_SUM, weight, vote);
            pool_average(vote, in->n, o->kernel, smooth);
            force_ends(smooth, in->n, o->sink, o->local);
            if (!evict_keep(&kept[kv], smooth, in->n, o->capacity, scratch)) return false;
        } else if (!evict_keep_all(&kept[kv], in->n, scratch)) {
            return false;
        }
    }
    return true;
}

const struct sac_method method_snapkv = {
    .name = "snapkv",
    .title = "SnapKV",
    .summary = "keeps the tokens the last queries attend to, evicts the rest",
    .source = "arXiv 2404.14469; settings of arXiv 2504.17768",
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
