/* Quest, page selection in decode. Tang et al., arXiv 2406.10774, as run by The Sparse Frontier.
 *
 * The full cache stays. Keys are grouped in pages of consecutive tokens with the smallest and largest value
 * of each channel, which bounds any key's product with the query from above. Each step reads the pages with
 * the highest bounds, token_budget / page_size of them, and always the page of the current token.
 *
 * Known quirks. One list per KV head (bounds summed over the group) with share_pages, the paper's later
 * setting; without it one list per query head, up to G times the reads. The budget does not count the current
 * page. One extreme token widens its page's bound for all queries; scorer=meanstd uses mean + deviation
 * instead, scorer=mean the mean alone, as MoBA does. The original keeps layers 0 and 1 dense
 * (dense_layers=0,1). Page bounds are reads too: 1/page_size of the cache. */
#include "methods.h"
#include "registry.h"

struct opts { int token_budget, page_size, share_pages, scorer; };

static const char *const scorers[] = { "minmax", "meanstd", "mean", NULL };
static const struct sac_param params[] = {
    P_INT(opts, token_budget, 1024, 1, TOKENS_MAX, true, "tokens read each step, a multiple of page_size"),
    P_INT(opts, page_size, 16, 1, 4096, false, "tokens of a page"),
    P_BOOL(opts, share_pages, 1, "one list for all query heads of a group"),
    P_CHOICE(opts, scorer, PAGE_MINMAX, 3, scorers,
             "minmax: upper bound; meanstd: mean plus deviation; mean"),
};

struct state {
    struct opts o;
    struct pages pages;
    float *score;          /* [n_heads][cap] */
    int *idx;              /* [n_heads][cap] */
};

static enum sac_scope scope(const void *opts)
{
    return ((const struct opts *)opts)->share_pages ? SAC_PER_KV_HEAD : SAC_PER_QUERY_HEAD;
}

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    (void)s;
    (void)n;
    if (o->token_budget % o->page_size)
        return sac_fail(err, SAC_EARG, "quest: token_budget=%d is not a multiple of page_size=%d: use "
                        "token_budget=%d", o->token_budget, o->page_size,
                        imax((o->token_budget + o->page_size / 2) / o->page_size, 1) * o->page_size);
    return SAC_OK;
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    int pages = (share_of(n, sparsity, 1) + o->page_size / 2) / o->page_size;
    o->token_budget = imax(pages, 1) * o->page_size;
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, o->page_size);
}

static bool forced(const void *opts, int n, int row, int key)
{
    const struct opts *o = opts;
    return row >= n && key / o->page_size == row / o->page_size;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    s->o = *(const struct opts *)opts;
    if (!pages_create(&s->pages, env, s->o.page_size, (enum page_scorer)s->o.scorer, a)) return NULL;
    size_t n = (size_t)env->shape.n_heads * (size_t)s->pages.cap;
    s->score = sac_arena_floats(a, n);
    s->idx = sac_arena_alloc(a, sizeof *s->idx * n);
    return s->score && s->idx ? s : NULL;
}

static void append(void *state, int layer, int kv_head, int slot0, int n, const float *k)
{
    pages_append(&((struct state *)state)->pages, layer, kv_head, slot0, n, k);
}

/* Whole pages before the current one; 0 where all of them are read. */
static int ranked(const struct state *s, int n)
{
    int current = (n - 1) / s->o.page_size;
    return current <= s->o.token_budget / s->o.page_size ? 0 : current;
}

/* Bounds for all query heads of the group, or their sums: the boxes are read once. */
static void prepare(void *state, const struct sac_decode_in *in, int kv_head)
{
    struct state *s = state;
    int group = in->n_heads / in->n_kv_heads, head = kv_head * group, pages = ranked(s, in->n[kv_head]);
    size_t cap = (size_t)s->pages.cap;
    if (pages)
        pages_score(&s->pages, in->layer, kv_head, in->q + (size_t)head * (size_t)in->head_dim, group,
                    s->o.share_pages, pages, s->score + (size_t)head * cap, cap);
}

static void select_slots(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out)
{
    struct state *s = state;
    int n = in->n[head / (in->n_heads / in->n_kv_heads)], pages = ranked(s, n), size = s->o.page_size;
    size_t at = (size_t)head * (size_t)s->pages.cap;
    if (!pages) {
        sac_rows_add(out, 0, n);
        return;
    }
    int *idx = s->idx + at, kept = topk(s->score + at, pages, s->o.token_budget / size, idx);
    pages_rows(out, idx, kept, size, pages * size, n);
}

static double metadata(const void *opts, int n_slots, int head_dim)
{
    const struct opts *o = opts;
    double corners = o->scorer == PAGE_MEAN ? 1 : 2;
    return corners * ((n_slots - 1) / o->page_size) * head_dim;
}

const struct sac_method method_quest = {
    .name = "quest",
    .title = "Quest",
    .summary = "reads the pages whose keys could match the query best",
    .source = "arXiv 2406.10774; settings of arXiv 2504.17768",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope,
    .check = check,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .create = create,
    .append = append,
    .prepare = prepare,
    .select = select_slots,
    .metadata = metadata,
};
