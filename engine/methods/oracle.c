/* Oracle: the best choice at a budget, made from the exact attention probabilities.
 *
 * unit=token ranks keys for each query head, unit=group ranks them by the sum over the heads of a group (one
 * set per KV head), unit=page ranks pages by their mass for the group, unit=block for each query head.
 * Comparing them with a real method separates what its scores lose from what its units lose. top_p > 0 keeps
 * the smallest set with that mass instead of a fixed number: the least a threshold method could need.
 *
 * Known quirks. Most mass is not least output error. In prefill, rows of a tile of `rows` share a set, chosen
 * by their summed mass, and always read the keys of their own tile; rows=1 is the exact per-row oracle, at
 * the price of a large plan. In decode, pages come besides the page of the current token, as in Quest. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

#include <string.h>

enum { TOKEN, GROUP, PAGE, BLOCK };
struct opts { int unit, token_budget, prefill_budget, page_size, rows; double top_p; };

static const char *const units[] = { "token", "group", "page", "block", NULL };
static const struct sac_param params[] = {
    P_CHOICE(opts, unit, TOKEN, 4, units, "what is ranked, and for whom"),
    P_INT(opts, token_budget, 1024, 1, TOKENS_MAX, true, "keys a row reads"),
    P_INT(opts, prefill_budget, 0, 0, TOKENS_MAX, true, "keys a prefill row reads; 0: token_budget"),
    P_INT(opts, page_size, 16, 1, 4096, false, "keys of a page or block"),
    P_INT(opts, rows, 16, 1, 1024, false, "prefill rows that share a set"),
    P_FLOAT(opts, top_p, 0, 0, 1, false, "keep this mass instead of a number of keys; 0: off"),
};

struct state { struct opts o; int cap; float *p; int *idx; };   /* [n_heads][cap] each */

static bool shared(const struct opts *o) { return o->unit == GROUP || o->unit == PAGE; }
static int unit_size(const struct opts *o) { return o->unit >= PAGE ? o->page_size : 1; }
static enum sac_scope scope(const void *opts) { return shared(opts) ? SAC_PER_KV_HEAD : SAC_PER_QUERY_HEAD; }

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->token_budget = share_of(n, sparsity, 1);
    o->prefill_budget = causal_budget(n, sparsity);
    return SAC_OK;
}

/* The best of m units: a number of them, or (top_p) the fewest that with what is read anyway, a mass of
 * `have`, reach the share top_p of `all`. */
static int choose(const struct opts *o, const float *score, int m, int keep, double have, double all,
                  int *idx)
{
    if (o->top_p <= 0) return topk(score, m, keep, idx);
    double left = o->top_p < 1 ? o->top_p * all - have : HUGE_VAL;
    return left > 0 && m > 0 ? topp(score, m, left, idx) : 0;
}

static void add_row(void *ctx, int row, const float *p)
{
    float *sum = ctx;
    for (int j = 0; j <= row; j++) sum[j] += p[j];
}

static bool plan_tile(const struct sac_prefill_in *in, const struct opts *o, int head, int r0, int r1,
                      float *sum, int *idx, const struct panels *panels, struct sac_plan *out,
                      struct sac_arena *scratch)
{
    int group = in_group(in), first = shared(o) ? head / group * group : head, n = shared(o) ? group : 1;
    memset(sum, 0, sizeof *sum * (size_t)r1);
    for (int h = first; h < first + n; h++)
        if (!scores_each_row(in, h, r0, r1 - r0, NULL, panels, add_row, sum, scratch)) return false;
    int size = unit_size(o), m = units_sum(sum, r1, size), own = r1 - r0 > 1 ? r0 / size : m;
    int keep = imax((o->prefill_budget ? o->prefill_budget : o->token_budget) / size, 1);
    /* Units own .. m-1 hold the tile's rows and are read in any case, inside the budget. */
    int k = choose(o, sum, own, keep - (m - own), range_sum(sum, own, m), n * (r1 - r0), idx);
    for (int i = 0; i < k; i++)
        if (!sac_plan_add(out, idx[i] * size, imin((idx[i] + 1) * size, r1))) return false;
    if (!sac_plan_add(out, imin(own * size, r1), r1)) return false;
    return sac_plan_next(out);
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    size_t n = (size_t)in->n;
    int rows = o->unit == BLOCK ? o->page_size : o->rows;
    float *sum = sac_arena_floats(scratch, n);
    int *idx = sac_arena_alloc(scratch, sizeof *idx * n);
    struct panels panels;
    if (!sum || !idx || !scores_pack(in, head / in_group(in), in->n, &panels, scratch) ||
        !sac_plan_init(out, rows, in->n))
        return false;
    for (int r = 0; r < in->n; r += rows)
        if (!plan_tile(in, o, head, r, imin(r + rows, in->n), sum, idx, &panels, out, scratch)) {
            sac_plan_free(out);
            return false;
        }
    return true;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    s->o = *(const struct opts *)opts;
    s->cap = env->max_tokens;
    size_t n = (size_t)env->shape.n_heads * (size_t)s->cap;
    s->p = sac_arena_floats(a, n);
    s->idx = sac_arena_alloc(a, sizeof *s->idx * n);
    return s->p && s->idx ? s : NULL;
}

/* Probabilities of the group's heads; their sums in the first one's place where they share a set. */
static void prepare(void *state, const struct sac_decode_in *in, int kv_head)
{
    struct state *s = state;
    int group = in->n_heads / in->n_kv_heads, n = in->n[kv_head];
    size_t cap = (size_t)s->cap;
    float *p = s->p + (size_t)(kv_head * group) * cap;
    scores_decode(in, kv_head, n, p, cap);
    for (int h = 1; shared(&s->o) && h < group; h++) k_ops()->add(p, p + (size_t)h * cap, n);
}

static void select_slots(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out)
{
    struct state *s = state;
    const struct opts *o = &s->o;
    int group = in->n_heads / in->n_kv_heads, n = in->n[head / group], heads = shared(o) ? group : 1;
    int size = unit_size(o), keep = imax(o->token_budget / size, 1),
        tail = size > 1 ? (n - 1) / size * size : n;
    size_t at = (size_t)head * (size_t)s->cap;
    float *p = s->p + at;
    double have = range_sum(p, tail, n);
    int m = units_sum(p, tail, size), *idx = s->idx + at, k = choose(o, p, m, keep, have, heads, idx);
    pages_rows(out, idx, k, size, tail, n);
}

const struct sac_method method_oracle = {
    .name = "oracle",
    .title = "Oracle",
    .summary = "the keys of largest exact attention: the best at a budget",
    .source = "upper bound; as in Twilight, arXiv 2502.02770, and MagicPIG, arXiv 2410.16179",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .oracle = true,
    .scope = scope,
    .budget = budget,
    .plan = plan,
    .create = create,
    .prepare = prepare,
    .select = select_slots,
};
