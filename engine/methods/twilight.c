/* Twilight: top-p after a generous selector. Lin et al., arXiv 2502.02770.
 *
 * Quest picks pages with a generous budget; the products of the query with their keys are then estimated from
 * 4-bit copies of the keys, and only the smallest set of tokens whose softmax reaches the share `p` is
 * attended to. The budget becomes a signal of each head and step: sharp heads read a handful, flat ones
 * thousands.
 *
 * The estimate is a product of integers: levels of 16 between the smallest and the largest value of a key,
 * and the query rounded to 8 bits of its largest value (the original keeps it in 16). Pages are ranked and
 * keys estimated for all query heads of a group together, so that what several heads look into is read once.
 *
 * Known quirks. What is lost is bounded by 2 (1 - p) max |v| only as far as the estimate is right. The first
 * two layers are dense in the original (dense_layers=0,1). One list per query head, as its accuracy code has
 * it; the reads counted are those of one head's pages, heads that look elsewhere read more. sparsity=S sets
 * the budget of the pages; what is read in the end is less, and the prompt's to say. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

#include <string.h>

enum { AT_ONCE = 8 };               /* query heads */
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
    int cap;                        /* tokens, whole groups of K_GROUP of them */
    char *k4;                       /* [layer][kv head][cap / K_GROUP] groups of 4-bit keys */
    int8_t *q8;                     /* [n_heads][pad] */
    int pad;                        /* head_dim up to a multiple of 8 */
    float *mass, *est;              /* [n_heads][cap]: of the head's candidates; of the groups looked into */
    int *idx, *page, *group, *at;   /* [n_heads][cap]; [kv heads][groups]: looked into, the place of each */
    int *n_pages;                   /* [n_heads] */
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

static char *group_at(const struct state *s, int layer, int kv_head, int group)
{
    const struct sac_shape *sh = &s->pages.shape;
    size_t head = (size_t)layer * (size_t)sh->n_kv_heads + (size_t)kv_head;
    return s->k4 + (head * (size_t)(s->cap / K_GROUP) + (size_t)group) * k_nibbles_bytes(sh->head_dim);
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    s->o = *(const struct opts *)opts;
    s->cap = (env->max_tokens + K_GROUP - 1) / K_GROUP * K_GROUP;
    if (!pages_create(&s->pages, env, s->o.page_size, PAGE_MINMAX, a)) return NULL;
    const struct sac_shape *sh = &env->shape;
    size_t heads = (size_t)sh->n_heads, kvs = (size_t)sh->n_kv_heads, n = heads * (size_t)s->cap,
           groups = (size_t)(s->cap / K_GROUP);
    s->pad = (sh->head_dim + 7) / 8 * 8;
    s->k4 = sac_arena_alloc(a, (size_t)sh->n_layers * kvs * groups * k_nibbles_bytes(sh->head_dim));
    s->q8 = sac_arena_alloc(a, heads * (size_t)s->pad);
    s->mass = sac_arena_floats(a, n);
    s->est = sac_arena_floats(a, n);
    s->idx = sac_arena_alloc(a, sizeof *s->idx * n);
    s->page = sac_arena_alloc(a, sizeof *s->page * n);
    s->group = sac_arena_alloc(a, sizeof *s->group * kvs * groups);
    s->at = sac_arena_alloc(a, sizeof *s->at * kvs * groups);
    s->n_pages = sac_arena_alloc(a, sizeof *s->n_pages * heads);
    bool ok = s->k4 && s->q8 && s->mass && s->est && s->idx && s->page && s->group && s->at && s->n_pages;
    return ok ? s : NULL;
}

static void append(void *state, int layer, int kv_head, int slot0, int n, const float *k)
{
    struct state *s = state;
    int dim = s->pages.shape.head_dim;
    pages_append(&s->pages, layer, kv_head, slot0, n, k);
    for (int i = 0; i < n; i++) {
        int slot = slot0 + i;
        k_nibbles_put(k + (size_t)i * (size_t)dim, dim, slot % K_GROUP,
                      group_at(s, layer, kv_head, slot / K_GROUP));
    }
}

/* A query as integers, with what turns their sums into scores. */
static struct k_nibble_query rounded(const struct state *s, const struct sac_decode_in *in, int head)
{
    const float *q = in->q + (size_t)head * (size_t)in->head_dim;
    int8_t *to = s->q8 + (size_t)head * (size_t)s->pad;
    float most = 0;
    int sum = 0;
    for (int d = 0; d < in->head_dim; d++) most = fabsf(q[d]) > most ? fabsf(q[d]) : most;
    float inv = most > 0 ? 127.0f / most : 0;
    for (int d = 0; d < in->head_dim; d++) {
        to[d] = (int8_t)(q[d] * inv + (q[d] < 0 ? -0.5f : 0.5f));
        sum += to[d];
    }
    float scale = in->scale * most / 127.0f;
    return (struct k_nibble_query){ to, scale, scale * (float)sum };
}

static int current_page(const struct state *s, int n) { return (n - 1) / s->o.page_size; }

/* First slot of entry i of a list of pages that the current one follows. */
static int page_of(const struct state *s, const int *page, int pages, int i, int current)
{
    return i < pages ? page[i] * s->o.page_size : current * s->o.page_size;
}

/* The pages of every head of the group, and the groups of keys that any of them touches. */
static int look(struct state *s, const struct sac_decode_in *in, int kv, int *group, int *at)
{
    int heads = in->n_heads / in->n_kv_heads, n = in->n[kv], size = s->o.page_size;
    int current = current_page(s, n);
    int keep = imax((s->o.token_budget ? s->o.token_budget : n / 4) / size, 1), count = 0;
    size_t first = (size_t)(kv * heads), cap = (size_t)s->cap;
    float *bound = s->mass + first * cap;
    pages_score(&s->pages, in->layer, kv, in->q + first * (size_t)in->head_dim, heads, false, current, bound,
                cap);
    memset(at, 0, sizeof *at * (cap / K_GROUP));
    for (int h = 0; h < heads; h++) {
        int *page = s->page + (first + (size_t)h) * cap;
        int pages = topk(bound + (size_t)h * cap, current, keep, page);
        s->n_pages[first + (size_t)h] = pages;
        for (int i = 0; i <= pages; i++) {
            int lo = page_of(s, page, pages, i, current), hi = imin(lo + size, n);
            for (int g = lo / K_GROUP; g * K_GROUP < hi; g++) at[g] = 1;
        }
    }
    for (int g = 0; g * K_GROUP < n; g++)
        if (at[g]) {
            at[g] = count;
            group[count++] = g;
        }
    return count;
}

static void prepare(void *state, const struct sac_decode_in *in, int kv_head)
{
    struct state *s = state;
    int heads = in->n_heads / in->n_kv_heads, n = in->n[kv_head], size = s->o.page_size;
    size_t first = (size_t)(kv_head * heads), cap = (size_t)s->cap, groups = cap / K_GROUP;
    int *group = s->group + (size_t)kv_head * groups, *at = s->at + (size_t)kv_head * groups;
    int count = look(s, in, kv_head, group, at);
    float *est = s->est + first * cap;
    struct k_nibble_query q[AT_ONCE];
    for (int h0 = 0; h0 < heads; h0 += AT_ONCE) {
        int m = imin(AT_ONCE, heads - h0);
        for (int h = 0; h < m; h++) q[h] = rounded(s, in, (int)first + h0 + h);
        k_ops()->nibbles(q, m, group_at(s, in->layer, kv_head, 0), group, count, in->head_dim,
                         est + (size_t)h0 * cap, cap);
    }
    for (int h = 0; h < heads; h++) {            /* each head's own candidates, one after the other */
        size_t head = first + (size_t)h;
        const int *page = s->page + head * cap;
        float *to = s->mass + head * cap;
        for (int i = 0; i <= s->n_pages[head]; i++) {
            int lo = page_of(s, page, s->n_pages[head], i, current_page(s, n)), m = imin(size, n - lo);
            int from = at[lo / K_GROUP] * K_GROUP + lo % K_GROUP;   /* a page's groups lie side by side */
            if (m == K_GROUP) memcpy(to, est + (size_t)h * cap + from, K_GROUP * sizeof *to); /* two moves */
            else memcpy(to, est + (size_t)h * cap + from, (size_t)m * sizeof *to);
            to += m;
        }
    }
}

static void select_slots(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out)
{
    struct state *s = state;
    const struct k_ops *ops = k_ops();
    int kv = head / (in->n_heads / in->n_kv_heads), size = s->o.page_size;
    int current = current_page(s, in->n[kv]);
    size_t base = (size_t)head * (size_t)s->cap;
    float *mass = s->mass + base;
    int *idx = s->idx + base, *page = s->page + base, pages = s->n_pages[head];
    int n = pages * size + in->n[kv] - current * size;
    if (in->softcap > 0) ops->softcap(mass, n, in->softcap);
    double sum = (double)ops->exp_sum(mass, n, ops->max(mass, n));
    int kept = topp(mass, n, s->o.p < 1 ? s->o.p * sum : HUGE_VAL, idx);
    for (int i = 0, p = 0; p <= pages; p++) {     /* both ascend */
        int shift = page_of(s, page, pages, p, current) - p * size, end = p < pages ? (p + 1) * size : n;
        for (; i < kept && idx[i] < end; i++) rows_add_slot(out, idx[i] + shift);
    }
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
    .prepare = prepare,
    .select = select_slots,
    .metadata = metadata,
};
