/* StreamingLLM: sinks and a window. Xiao et al., arXiv 2309.17453; in prefill known as the A-shape.
 *
 * A row reads the first `sink` keys and the `window` nearest ones, itself included. In decode the others are
 * evicted, so the cache never grows. The same for all heads and layers; selection costs nothing.
 *
 * Known quirks. The published method stores keys before rotation and rotates them by their place in the
 * cache, so that distances never exceed its size; here keys keep their positions, which is the same while
 * the text is within the trained length. In prefill a tile of rows reads the union of its rows' windows.
 * sparsity=S leaves out the share S of each phase: a wide window in decode, a narrower one in prefill, where
 * early rows have little to leave out. */
#include "methods.h"
#include "registry.h"

struct opts { int window, prefill_window, sink, tile; };

static const struct sac_param params[] = {
    P_INT(opts, window, 1020, 1, TOKENS_MAX, true, "nearest keys, the row's own included"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first keys, always read"),
    P_INT(opts, tile, 64, 1, 1024, false, "rows of a tile in prefill"),
    P_INT(opts, prefill_window, 0, 0, TOKENS_MAX, true, "nearest keys of prefill rows; 0: window"),
};

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->window = imax(share_of(n, sparsity, 1) - o->sink, 1);
    o->prefill_window = imax(causal_budget(n, sparsity) - o->sink - o->tile / 2, 1);
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return window_reach(n, o->sink, 1, o->tile);
}

static bool forced(const void *opts, int n, int row, int key)
{
    const struct opts *o = opts;
    return key < o->sink || row - key < (row < n && o->prefill_window ? o->prefill_window : o->window);
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    (void)head;
    (void)scratch;
    return window_plan(out, in->n, o->sink, o->prefill_window ? o->prefill_window : o->window, o->tile);
}

static bool evict(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    (void)weight;
    for (int kv = 0; kv < in->n_kv_heads; kv++)
        if (!window_keep(&kept[kv], in->n, o->sink, o->window, scratch)) return false;
    return true;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct opts *s = sac_arena_alloc(a, sizeof *s);
    (void)env;
    if (s) *s = *(const struct opts *)opts;
    return s;
}

static int drop(void *state, const struct sac_decode_in *in, int kv_head)
{
    const struct opts *o = state;
    return in->n[kv_head] >= o->sink + o->window ? imin(o->sink, in->n[kv_head] - 1) : -1;
}

const struct sac_method method_streaming_llm = {
    .name = "streaming_llm",
    .title = "StreamingLLM",
    .summary = "the first tokens and the nearest ones, nothing else",
    .source = "arXiv 2309.17453",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_kv_head,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .plan = plan,
    .evict = evict,
    .create = create,
    .drop = drop,
};
