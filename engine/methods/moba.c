/* MoBA, mixture of block attention. Lu et al., arXiv 2502.13189.
 *
 * Each query reads the `top_k` blocks whose mean key has the largest product with it: its own block, which
 * counts and in which it sees only the past, and the best of the earlier ones. The same rule in prefill and
 * in decode; no parameters are added to a model.
 *
 * Known quirks. Meant for models trained with it; on others it is mean-pooled selection, an instructive
 * contrast to Quest's bounds. Published with blocks of 4096 and top_k of 12 at long context; defaults here
 * suit 1K to 16K. Rows of a block do not share their lists: prefill plans have one tile per row, whose
 * rows the executor brings together again (model/attend_rows.c).
 * sparsity=S leaves out the share S of each phase, by fewer blocks in prefill, where early rows have little
 * to leave out. */
#include "methods.h"
#include "registry.h"

#include <string.h>

struct opts { int block_size, top_k, prefill_top_k; };

static const struct sac_param params[] = {
    P_INT(opts, block_size, 64, 1, 65536, false, "keys of a block"),
    P_INT(opts, top_k, 8, 1, TOKENS_MAX, true, "blocks a query reads, its own included"),
    P_INT(opts, prefill_top_k, 0, 0, TOKENS_MAX, true, "the same for prefill rows; 0: top_k"),
};

struct state { struct opts o; struct pages pages; float *score; int *idx; };   /* [n_heads][pages] */

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    o->top_k = imax((share_of(n, sparsity, 1) + o->block_size / 2) / o->block_size, 1);
    /* A row reads half of its own block on average. */
    o->prefill_top_k = imax((causal_budget(n, sparsity) + o->block_size) / o->block_size, 1);
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return reach_of(n, o->block_size);
}

static bool forced(const void *opts, int n, int row, int key)
{
    int c = ((const struct opts *)opts)->block_size;
    (void)n;
    return key / c == row / c;
}

/* Means of the whole blocks. */
static bool pack_means(const struct sac_prefill_in *in, const void *opts, int kv_head, void *out,
                       struct sac_arena *a)
{
    int c = ((const struct opts *)opts)->block_size, blocks = in->n / c, dim = in->head_dim;
    float *mean = sac_arena_floats(a, (size_t)imax(blocks, 1) * (size_t)dim);
    for (int b = 0; mean && b < blocks; b++)
        pool_mean(in_key(in, kv_head, 0), dim, b * c, (b + 1) * c, c, mean + (size_t)b * (size_t)dim);
    return mean && panels_pack(out, mean, dim, blocks, 1, a);
}

static bool add_row(struct sac_plan *out, const struct opts *o, int row, const float *score, int *idx)
{
    int c = o->block_size, own = row / c, most = o->prefill_top_k ? o->prefill_top_k : o->top_k,
        k = topk(score, own, most - 1, idx);
    for (int i = 0; i < k; i++)
        if (!sac_plan_add(out, idx[i] * c, (idx[i] + 1) * c)) return false;
    return sac_plan_add(out, own * c, row + 1) && sac_plan_next(out);
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    int n = in->n, blocks = (n + o->block_size - 1) / o->block_size;
    const struct panels *means =
        shared_get(in, head / in_group(in), SHARED_MEANS, sizeof *means, pack_means, o, scratch);
    if (!means) return false;
    size_t pad = (size_t)means->pad, dim = (size_t)in->head_dim, ld = panels_width(blocks);
    float *x = sac_arena_alloc(scratch, sizeof *x * PANEL_ROWS * pad),
          *packed = sac_arena_floats(scratch, panels_room(means)),
          *score = sac_arena_floats(scratch, PANEL_ROWS * ld);
    int *idx = sac_arena_alloc(scratch, sizeof *idx * (size_t)blocks), most = panels_rows(means);
    if (!x || !packed || !score || !idx || !sac_plan_init(out, 1, n)) return false;
    bool ok = true;
    for (int row0 = 0; ok && row0 < n; row0 += most) {
        int rows = imin(most, n - row0), earlier = (row0 + rows - 1) / o->block_size;
        for (int r = 0; pad != dim && r < rows; r++)
            memcpy(x + (size_t)r * pad, in_query(in, head, row0 + r), dim * sizeof *x);
        panels_query(means, pad == dim ? in_query(in, head, row0) : x, rows, packed);
        if (earlier > 0) panels_score(means, packed, rows, 0, earlier, score, ld);
        for (int r = 0; ok && r < rows; r++) ok = add_row(out, o, row0 + r, score + (size_t)r * ld, idx);
    }
    if (!ok) sac_plan_free(out);
    return ok;
}

static void *create(const struct sac_env *env, const void *opts, struct sac_arena *a)
{
    struct state *s = sac_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    s->o = *(const struct opts *)opts;
    if (!pages_create(&s->pages, env, s->o.block_size, PAGE_MEAN, a)) return NULL;
    size_t n = (size_t)env->shape.n_heads * (size_t)s->pages.cap;
    s->score = sac_arena_floats(a, n);
    s->idx = sac_arena_alloc(a, sizeof *s->idx * n);
    return s->score && s->idx ? s : NULL;
}

static void append(void *state, int layer, int kv_head, int slot0, int n, const float *k)
{
    pages_append(&((struct state *)state)->pages, layer, kv_head, slot0, n, k);
}

static void prepare(void *state, const struct sac_decode_in *in, int kv_head)
{
    struct state *s = state;
    int group = in->n_heads / in->n_kv_heads, head = kv_head * group;
    size_t cap = (size_t)s->pages.cap;
    pages_score(&s->pages, in->layer, kv_head, in->q + (size_t)head * (size_t)in->head_dim, group, false,
                (in->n[kv_head] - 1) / s->o.block_size, s->score + (size_t)head * cap, cap);
}

static void select_slots(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out)
{
    struct state *s = state;
    int n = in->n[head / (in->n_heads / in->n_kv_heads)], own = (n - 1) / s->o.block_size;
    const float *score = s->score + (size_t)head * (size_t)s->pages.cap;
    int *idx = s->idx + (size_t)head * (size_t)s->pages.cap;
    pages_rows(out, idx, topk(score, own, s->o.top_k - 1, idx), s->o.block_size, own * s->o.block_size, n);
}

static double metadata(const void *opts, int n_slots, int head_dim)
{
    return (double)((n_slots - 1) / ((const struct opts *)opts)->block_size) * head_dim;
}

const struct sac_method method_moba = {
    .name = "moba",
    .title = "MoBA",
    .summary = "each query reads the blocks whose mean key matches it best",
    .source = "arXiv 2502.13189",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .plan = plan,
    .create = create,
    .append = append,
    .prepare = prepare,
    .select = select_slots,
    .metadata = metadata,
};
