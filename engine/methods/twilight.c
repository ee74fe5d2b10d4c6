/* Twilight: top-p after a generous selector. Lin et al., arXiv 2502.02770.
 *
 * Quest picks pages with a generous budget; the products of the query with their keys are then estimated from
 * 4-bit copies of the keys, and only the smallest set of tokens whose softmax reaches the share `p` is
 * attended to. The budget becomes a signal of each head and step: sharp heads read a handful, flat ones
 * thousands.
 *
 * Known quirks. What is lost is bounded by 2 (1 - p) max |v| only as far as the estimate is right. The first
 * two layers are dense in the original (dense_layers=0,1). One list per query head, as its accuracy code has
 * it. sparsity=S sets the budget of the pages; what is read in the end is less, and the prompt's to say. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

struct opts { int token_budget, page_size; double p; };

static const struct sac_param params[] = {
    P_INT(opts, token_budget, 0, 0, TOKENS_MAX, true,
          "tokens of the pages looked into; 0: a quarter of the cache"),
    P_INT(opts, page_size, 16, 1, 4096, false, "tokens of a page"),
    P_FLOAT(opts, p, 0.85, 0, 1, false, "share of the estimated attention to keep"),
};

struct state {
    struct opts o;
    struct pages pages;
    int cap;                        /* tokens */
    float *k4;                      /* [layer][kv head][cap][dim]: keys rounded to 16 levels */
    float *score; int *idx, *slot;  /* [n_heads][cap] */
};

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->token_budget = imax((share_of(n, sparsity, 1) + o->page_size / 2) / o->page_size, 1) * o->page_size;
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, o->page_size);
}

static float *rounded(const struct state *s, int layer, int kv_head, int slot)
{
    const struct sac_shape *sh = &s->pages.shape;
    size_t head = (size_t)layer * (size_t)sh->n_kv_heads + (size_t)kv_head;
    return s->k4 + (head * (size_t)s->cap + (size_t)slot) * (size_t)sh->head_dim;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    s->o = *(const struct opts *)opts;
    s->cap = env->max_tokens;
    if (!pages_create(&s->pages, env, s->o.page_size, PAGE_MINMAX, a)) return NULL;
    const struct sac_shape *sh = &env->shape;
    size_t n = (size_t)sh->n_heads * (size_t)s->cap,
           keys = (size_t)sh->n_layers * (size_t)sh->n_kv_heads * (size_t)s->cap;
    s->k4 = sac_arena_floats(a, keys * (size_t)sh->head_dim);
    s->score = sac_arena_floats(a, n);
    s->slot = sac_arena_alloc(a, sizeof *s->slot * n);
    s->idx = sac_arena_alloc(a, sizeof *s->idx * n);
    return s->k4 && s->score && s->slot && s->idx ? s : NULL;
}

static void append(void *state, int layer, int kv_head, int slot0, int n, const float *k)
{
    struct state *s = state;
    size_t dim = (size_t)s->pages.shape.head_dim;
    pages_append(&s->pages, layer, kv_head, slot0, n, k);
    for (int i = 0; i < n; i++) {
        const float *x = k + (size_t)i * dim;
        float *y = rounded(s, layer, kv_head, slot0 + i), lo = x[0], hi = x[0];
        for (size_t d = 1; d < dim; d++) {
            lo = x[d] < lo ? x[d] : lo;
            hi = x[d] > hi ? x[d] : hi;
        }
        float step = (hi - lo) / 15.0f;
        for (size_t d = 0; d < dim; d++) y[d] = step > 0 ? lo + step * floorf((x[d] - lo) / step + 0.5f) : lo;
    }
}

/* Slots of the pages to look into, ascending; returns how many. */
static int candidates(struct state *s, const struct sac_decode_in *in, int head, int kv, float *score,
                      int *page, int *slot)
{
    int n = in->n[kv], size = s->o.page_size, current = (n - 1) / size, count = 0;
    int keep = imax((s->o.token_budget ? s->o.token_budget : n / 4) / size, 1);
    pages_score(&s->pages, in->layer, kv, in->q + (size_t)head * (size_t)in->head_dim, current, score);
    int pages = topk(score, current, keep, page);
    for (int i = 0; i < pages; i++)
        for (int j = 0; j < size; j++) slot[count++] = page[i] * size + j;
    for (int j = current * size; j < n; j++) slot[count++] = j;
    return count;
}

static void select_slots(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out)
{
    struct state *s = state;
    const struct k_ops *ops = k_ops();
    int kv = head / (in->n_heads / in->n_kv_heads);
    size_t at = (size_t)head * (size_t)s->cap;
    float *mass = s->score + at;
    int *idx = s->idx + at, *slot = s->slot + at, n = candidates(s, in, head, kv, mass, idx, slot);
    const float *q = in->q + (size_t)head * (size_t)in->head_dim;
    for (int i = 0, run; i < n; i += run) {          /* slots of a page follow each other */
        for (run = 1; i + run < n && slot[i + run] == slot[i] + run;) run++;
        ops->score_f32(q, rounded(s, in->layer, kv, slot[i]), in->head_dim, run, in->scale, mass + i);
    }
    for (int i = 0; in->softcap > 0 && i < n; i++) mass[i] = in->softcap * tanhf(mass[i] / in->softcap);
    double sum = (double)ops->exp_sum(mass, n, ops->max(mass, n));
    int kept = topp(mass, n, s->o.p < 1 ? s->o.p * sum : HUGE_VAL, idx);
    for (int i = 0; i < kept; i++) sac_rows_add(out, slot[idx[i]], slot[idx[i]] + 1);
}

static double metadata(const void *opts, int n_slots, int head_dim)
{
    const struct opts *o = opts;
    double looked = o->token_budget ? o->token_budget : n_slots / 4; /* 4 bits of 16 for each key's channel */
    return 2.0 * ((n_slots - 1) / o->page_size) * head_dim + 0.25 * fmin(looked, n_slots) * head_dim;
}

const struct sac_method method_twilight = {
    .name = "twilight",
    .title = "Twilight",
    .summary = "the fewest tokens that hold a share of the attention, out of Quest's pages",
    .source = "arXiv 2502.02770",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .budget = budget,
    .reach = reach,
    .create = create,
    .append = append,
    .select = select_slots,
    .metadata = metadata,
};
