/* PyramidKV: SnapKV's scores with capacities that shrink with depth. Cai et al., arXiv 2406.02069.
 *
 * Lower layers attend widely and keep more, higher layers narrowly and keep less; the mean over layers is
 * `capacity`. Besides the last `window` tokens, layer l of L keeps hi - l (hi - lo) / (L - 1) scored ones,
 * with lo = (capacity - window) / beta and hi so that the mean is right.
 *
 * Known quirks. Helps mainly at very small caches; reported slightly worse than SnapKV at 1024. The original
 * selects per query head; here, as in SnapKV, votes are averaged over the group. */
#include "methods.h"
#include "registry.h"

struct opts { int capacity, window, kernel; double beta; };

static const struct sac_param params[] = {
    P_INT(opts, capacity, 1024, 1, TOKENS_MAX, true, "tokens each KV head keeps, mean over layers"),
    P_INT(opts, window, 64, 1, TOKENS_MAX, false, "last queries that vote; their tokens are kept"),
    P_INT(opts, kernel, 5, 1, 1023, false, "neighbours averaged, an odd number"),
    P_FLOAT(opts, beta, 20, 1, 1000, false, "how steep: the last layer's share is 1 / beta"),
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    (void)s;
    (void)n;
    if (o->kernel % 2 == 0)
        return sac_fail(err, SAC_EARG,
                        "pyramidkv: kernel=%d is even, which would shift the window: use kernel=%d",
                        o->kernel, o->kernel + 1);
    if (o->capacity <= o->window)
        return sac_fail(err, SAC_EARG,
                        "pyramidkv: capacity=%d must be above window=%d, tokens that are always kept: use "
                        "capacity=%d",
                        o->capacity, o->window, o->window + 1);
    return SAC_OK;
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->capacity = share_of(n, sparsity, o->window + 1);
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, o->window + 1);
}

static bool forced(const void *opts, int n, int row, int key)
{
    (void)row;
    return key >= n - ((const struct opts *)opts)->window;
}

/* Scored tokens that a layer keeps besides the window. */
static int layer_share(const struct opts *o, int layer, int n_layers, int n)
{
    double base = o->capacity - o->window, lo = base / o->beta, hi = 2 * base - lo, most = n - o->window;
    if (hi > most) {
        hi = most;
        lo = 2 * base - hi;
    }
    double t = n_layers > 1 ? (double)layer / (n_layers - 1) : 0.5;
    return imax((int)(hi - t * (hi - lo) + 0.5), 1);
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
        if (in->n <= o->capacity) {
            if (!evict_keep_all(&kept[kv], in->n, scratch)) return false;
            continue;
        }
        evict_group(in, kv, GROUP_MEAN_SUM, weight, vote);
        pool_average(vote, in->n, o->kernel, smooth);
        force_ends(smooth, in->n, 0, o->window);
        int cap = o->window + layer_share(o, in->layer, in->n_layers, in->n);
        if (!evict_keep(&kept[kv], smooth, in->n, cap, scratch)) return false;
    }
    return true;
}

const struct sac_method method_pyramidkv = {
    .name = "pyramidkv",
    .title = "PyramidKV",
    .summary = "SnapKV with large caches in lower layers and small ones in higher layers",
    .source = "arXiv 2406.02069",
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
