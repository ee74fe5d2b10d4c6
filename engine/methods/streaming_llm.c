/* StreamingLLM: sinks and a window. Xiao et al., arXiv 2309.17453; in prefill known as the A-shape.
 *
 * A row reads the first `sink` keys and the `window` nearest ones, itself included. In decode the others are
 * evicted, so the cache never grows. The same for all heads and layers; selection costs nothing.
 *
 * Known quirks. The published method stores keys before rotation and rotates them by their place in the
 * cache, so that distances never exceed its size; here keys keep their positions, which is the same while
 * the text is within the trained length. In prefill a tile of rows reads the union of its rows' windows. */
#include "methods.h"
#include "registry.h"

struct opts { int window, sink, tile; };

static const struct sac_param params[] = {
    P_INT(opts, window, 1020, 1, TOKENS_MAX, true, "nearest keys, the row's own included"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first keys, always read"),
    P_INT(opts, tile, 64, 1, 1024, false, "rows of a tile in prefill"),
};

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity, struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->window = imax(share_of(n, sparsity, 1) - o->sink, 1);
    return SAC_OK;
}

static bool forced(const void *opts, int n, int row, int key)
{
    const struct opts *o = opts;
    (void)n;
    return key < o->sink || row - key < o->window;
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    (void)head;
    (void)scratch;
    if (!sac_plan_init(out, o->tile, in->n)) return false;
    double cells = 0;
    for (int i = 0; i < in->n; i++) {
        int near = imax(i + 1 - o->window, 0);
        cells += i + 1 - near + imin(o->sink, near);
    }
    out->pattern_cells = cells;
    for (int r = 0; r < in->n; r += o->tile) {
        int near = imax(r + 1 - o->window, 0), end = imin(r + o->tile, in->n);
        if (!sac_plan_add(out, 0, imin(o->sink, near)) || !sac_plan_add(out, near, end) || !sac_plan_next(out)) {
            sac_plan_free(out);
            return false;
        }
    }
    return true;
}

/* The next row reads its own key too: window - 1 stay. */
static bool evict(const struct sac_prefill_in *in, const void *opts, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    int near = imax(in->n - (o->window - 1), 0), sink = imin(o->sink, near);
    for (int kv = 0; kv < in->n_kv_heads; kv++) {
        if (!evict_keep_all(&kept[kv], in->n, scratch)) return false;
        kept[kv].n = sink;
        for (int j = near; j < in->n; j++) kept[kv].pos[kept[kv].n++] = j;
    }
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
    .forced = forced,
    .plan = plan,
    .evict = evict,
    .create = create,
    .drop = drop,
};
