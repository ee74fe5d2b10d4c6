/* DuoAttention: some heads stream, the others stay dense. Xiao et al., arXiv 2410.10819.
 *
 * A share of the KV heads of every layer reads only `sink` first and `recent` last tokens, in prefill as in
 * decode, where their caches are evicted to that; the rest keep everything. Streaming heads are those that
 * would lose least: the ones with the least dense attention outside sink and window, measured on sampled last
 * rows of the prompt.
 *
 * Known quirks. The original trains one gate per KV head on passkey texts and ranks heads over the whole
 * model; measuring on the loaded prompt, layer by layer, stands in for that. Training used sink 128 and
 * recent 256. sparsity=S is the share of the cache that decode leaves out, to the nearest whole number of
 * heads of a layer; prefill, whose early rows lie within the window, leaves out less. */
#include "methods.h"
#include "registry.h"

#include <string.h>

enum { SAMPLE_SPAN = 512, TILE = 64 };
struct opts { double streaming; int sink, recent, samples; };

static const struct sac_param params[] = {
    P_FLOAT(opts, streaming, 0.5, 0, 1, true, "share of the KV heads of a layer that stream"),
    P_INT(opts, sink, 64, 0, TOKENS_MAX, false, "first tokens streaming heads read"),
    P_INT(opts, recent, 256, 1, TOKENS_MAX, false, "last tokens streaming heads read"),
    P_INT(opts, samples, 8, 1, 512, false, "rows measured, among the last 512"),
};

struct state { struct opts o; struct sac_shape shape; unsigned char *streams; };   /* [layer][kv head] */

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    double streaming = 1 - fmin((double)(o->sink + o->recent) / n, 1); /* what a streaming head leaves out */
    o->streaming = streaming > 0 ? fmin(sparsity / streaming, 1) : 1;
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, o->sink + o->recent);
}

struct outside { const struct opts *o; double mass; };

static void add_row(void *ctx, int row, const float *p)
{
    struct outside *s = ctx;
    s->mass += range_sum(p, s->o->sink, row - s->o->recent + 1);
}

/* streams[kv head]: is it among those with least attention outside its sink and window? */
static bool classify(const struct sac_prefill_in *in, const void *opts, int unused, void *out,
                     struct sac_arena *a)
{
    const struct opts *o = opts;
    bool *streams = out;
    int heads = in->n_kv_heads, group = in_group(in), span = in_last_rows(in, SAMPLE_SPAN),
        count = imin(o->samples, span);
    float *keep = sac_arena_floats(a, (size_t)heads);
    int *rows = sac_arena_alloc(a, sizeof *rows * (size_t)count),
        *order = sac_arena_alloc(a, 2 * sizeof *order * (size_t)heads);
    (void)unused;
    if (!keep || !rows || !order) return false;
    for (int i = 0; i < count; i++) rows[i] = in->n - span + (int)((i + 1LL) * span / count) - 1;
    for (int kv = 0; kv < heads; kv++) {
        struct outside s = { o, 0 };
        for (int g = 0; g < group; g++)
            if (!scores_each_row(in, kv * group + g, 0, count, rows, NULL, add_row, &s, a)) return false;
        keep[kv] = (float)-s.mass;               /* sorted descending: least mass outside first */
    }
    sort_descending(keep, heads, order, order + heads);
    int n = (int)(o->streaming * heads + 0.5);
    for (int i = 0; i < heads; i++) streams[order[i]] = i < n;
    return true;
}

static const bool *streaming(const struct sac_prefill_in *in, const void *opts, struct sac_arena *scratch)
{
    return shared_get(in, -1, SHARED_KEYS, sizeof(bool) * (size_t)in->n_kv_heads, classify, opts, scratch);
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    const bool *streams = streaming(in, opts, scratch);
    if (!streams) return false;
    if (streams[head / in_group(in)]) return window_plan(out, in->n, o->sink, o->recent, TILE);
    return sac_plan_dense(out, in->n);
}

static bool evict(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch)
{
    const struct opts *o = opts;
    (void)weight;
    const bool *streams = streaming(in, opts, scratch);
    if (!streams) return false;
    for (int kv = 0; kv < in->n_kv_heads; kv++) {
        if (!streams[kv]) {
            if (!evict_keep_all(&kept[kv], in->n, scratch)) return false;
            continue;
        }
        if (!window_keep(&kept[kv], in->n, o->sink, o->recent, scratch)) return false;
        /* Scores of any value tell the decode hooks that this head streams. */
        kept[kv].score = sac_arena_alloc(scratch, sizeof(float) * (size_t)imax(kept[kv].n, 1));
        if (!kept[kv].score) return false;
    }
    return true;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    *s = (struct state){ .o = *(const struct opts *)opts, .shape = env->shape };
    s->streams = sac_arena_alloc(a, (size_t)env->shape.n_layers * (size_t)env->shape.n_kv_heads);
    return s->streams ? s : NULL;
}

static void seed(void *state, int layer, int kv_head, int n, const float *score)
{
    struct state *s = state;
    (void)n;
    (void)score;
    s->streams[layer * s->shape.n_kv_heads + kv_head] = 1;
}

static int drop(void *state, const struct sac_decode_in *in, int kv_head)
{
    const struct state *s = state;
    if (!s->streams[in->layer * s->shape.n_kv_heads + kv_head]) return -1;
    return in->n[kv_head] >= s->o.sink + s->o.recent ? imin(s->o.sink, in->n[kv_head] - 1) : -1;
}

const struct sac_method method_duo = {
    .name = "duo",
    .title = "DuoAttention",
    .summary = "some KV heads read only sinks and a window, the others everything",
    .source = "arXiv 2410.10819; heads measured on the prompt instead of trained gates",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_kv_head,
    .budget = budget,
    .reach = reach,
    .plan = plan,
    .evict = evict,
    .create = create,
    .seed = seed,
    .drop = drop,
};
