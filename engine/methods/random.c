/* Random: a uniform draw of keys at a budget, with the sink and the nearest keys always in.
 *
 * The control experiment: what it still gets right was carried by sinks and nearby tokens, not by selection.
 * Every tile of rows and every decode step of a head draws anew; the same seed draws the same. A draw takes
 * as many numbers as it draws keys, or leaves out, whatever is fewer (Floyd's sampling, Bentley and Floyd,
 * CACM 30(9), 1987), and marks them in a set of bits.
 *
 * Known quirks. sink=0,local=1 is the draw without forced members. The budget counts the forced ones. */
#include "methods.h"
#include "registry.h"

#include <string.h>

struct opts { int token_budget, prefill_budget, sink, local, rows; };

static const struct sac_param params[] = {
    P_INT(opts, token_budget, 1024, 1, TOKENS_MAX, true, "keys a row reads"),
    P_INT(opts, prefill_budget, 0, 0, TOKENS_MAX, true, "keys a prefill row reads; 0: token_budget"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first keys, always read"),
    P_INT(opts, local, 64, 1, TOKENS_MAX, false, "nearest keys, always read"),
    P_INT(opts, rows, 128, 1, 1024, false, "prefill rows that share a draw"),
};

struct state {
    struct opts o;
    uint64_t seed;
    int cap;                        /* tokens, a multiple of 64 */
    uint64_t *set;                  /* [n_heads][cap / 64] */
    int *idx;                       /* [n_heads][cap] */
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    int least = o->sink + o->local;
    (void)s;
    (void)n;
    bool decode = o->token_budget < least;
    if (!decode && (!o->prefill_budget || o->prefill_budget >= least)) return SAC_OK;
    const char *name = decode ? "token_budget" : "prefill_budget";
    return sac_fail(err, SAC_EARG,
                    "random: %s=%d is below sink+local=%d, keys that are always read: use %s=%d", name,
                    decode ? o->token_budget : o->prefill_budget, least, name, least);
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->token_budget = share_of(n, sparsity, o->sink + o->local);
    o->prefill_budget = imax(causal_budget(n, sparsity), o->sink + o->local);
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return window_reach(n, o->sink, o->local, o->rows);
}

static bool forced(const void *opts, int n, int row, int key)
{
    const struct opts *o = opts;
    (void)n;
    return key < o->sink || row - key < o->local;
}

static bool has(const uint64_t *set, int i) { return set[i / 64] >> i % 64 & 1; }
static void put(uint64_t *set, int i) { set[i / 64] |= (uint64_t)1 << i % 64; }

/* k of 0 .. m-1, every set of them as likely. */
static void sample(uint64_t seed, int m, int k, uint64_t *set)
{
    memset(set, 0, sizeof *set * (size_t)((m + 63) / 64));
    for (int j = m - k; j < m; j++) {
        int t = mix_below(seed + (uint64_t)j * 0x9e3779b97f4a7c15u, j + 1);
        put(set, has(set, t) ? j : t);
    }
}

/* Indices below `near` drawn so that with the near ones `count` are read; returns how many. */
static int draw(const struct opts *o, uint64_t seed, int near, int count, uint64_t *set, int *idx)
{
    int sink = imin(o->sink, near), m = near - sink, k = imin(imax(count - sink, 0), m), n = 0;
    bool leaves = k > m / 2;
    sample(seed, m, leaves ? m - k : k, set);
    for (int j = 0; j < sink; j++) idx[n++] = j;
    for (int i = 0; i < m; i += 64) {
        uint64_t word = leaves ? ~set[i / 64] : set[i / 64];
        if (m - i < 64) word &= ((uint64_t)1 << (m - i)) - 1;
        for (; word; word &= word - 1) idx[n++] = sink + i + __builtin_ctzll(word);
    }
    return n;
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    uint64_t *set = sac_arena_alloc(scratch, sizeof *set * (size_t)(in->n / 64 + 1));
    int *idx = sac_arena_alloc(scratch, sizeof *idx * (size_t)in->n);
    if (!set || !idx || !sac_plan_init(out, o->rows, in->n)) return false;
    int count = o->prefill_budget ? o->prefill_budget : o->token_budget;
    for (int r = 0; r < in->n; r += o->rows) {
        int end = imin(r + o->rows, in->n), near = imax(r + 1 - o->local, 0);
        uint64_t seed = mix_seed(in->seed, (uint64_t)in->layer, (uint64_t)head, (uint64_t)r);
        int seen = r + 1 - near + (end - r) / 2;     /* of the near keys, by the tile's middle row */
        int k = draw(o, seed, near, count - seen, set, idx);
        for (int i = 0; i < k; i++)
            if (!sac_plan_add(out, idx[i], idx[i] + 1)) goto fail;
        if (!sac_plan_add(out, near, end) || !sac_plan_next(out)) goto fail;
    }
    return true;

fail:
    sac_plan_free(out);
    return false;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    *s = (struct state){ .o = *(const struct opts *)opts,
                         .seed = env->seed,
                         .cap = (env->max_tokens + 63) / 64 * 64 };
    size_t n = (size_t)env->shape.n_heads * (size_t)s->cap;
    s->set = sac_arena_alloc(a, n / 64 * sizeof *s->set);
    s->idx = sac_arena_alloc(a, sizeof *s->idx * n);
    return s->set && s->idx ? s : NULL;
}

static void select_slots(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out)
{
    struct state *s = state;
    int n = in->n[head / (in->n_heads / in->n_kv_heads)], near = imax(n - s->o.local, 0);
    size_t at = (size_t)head * (size_t)s->cap;
    uint64_t seed = mix_seed(s->seed, (uint64_t)in->layer, (uint64_t)head, (uint64_t)in->pos);
    int k = draw(&s->o, seed, near, s->o.token_budget - (n - near), s->set + at / 64,
                 s->idx + at);
    pages_rows(out, s->idx + at, k, 1, near, n);
}

const struct sac_method method_random = {
    .name = "random",
    .title = "Random",
    .summary = "keys drawn at random, besides the first and the nearest",
    .source = "control baseline",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .check = check,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .plan = plan,
    .create = create,
    .select = select_slots,
};
