/* Block-Sparse, prefill. MInference (Jiang et al., arXiv 2407.02490), as run by The Sparse Frontier.
 *
 * Queries and keys are averaged over blocks; a block of queries reads the `top_blocks` key blocks whose
 * average matches best. The first block, its own and the one before it are always in, inside the budget. One
 * selection per query head.
 *
 * Known quirks. The paper's text forces the first block and the diagonal; its code forces the block before
 * the diagonal too, so does this file. A ragged last block is averaged over the full size, zeros included,
 * which changes no ranking: as a key block it is visible only where it is forced. The code pads one extra
 * empty block when the prompt fills its last one; here there is none. */
#include "methods.h"
#include "registry.h"

#include <stdlib.h>

struct opts { int block_size, top_blocks; };

static const struct sac_param params[] = {
    P_INT(opts, block_size, 16, 8, 1024, false, "rows and keys of a block"),
    P_INT(opts, top_blocks, 64, 3, TOKENS_MAX, true, "key blocks each block of rows reads"),
};

/* Share of the causal blocks that are left out, as the paper counts. */
static double left_out(double n_blocks, double k)
{
    return 1 - (k * (k + 1) / 2 + (n_blocks - k) * k) / (n_blocks * (n_blocks + 1) / 2);
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    int blocks = (n + o->block_size - 1) / o->block_size, k = 3;
    while (k < blocks && fabs(left_out(blocks, k + 1) - sparsity) <= fabs(left_out(blocks, k) - sparsity))
        k++;
    o->top_blocks = k;
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    int blocks = (n + o->block_size - 1) / o->block_size;
    return blocks > 3 ? left_out(blocks, 3) : 0;
}

static bool forced(const void *opts, int n, int row, int key)
{
    int c = ((const struct opts *)opts)->block_size, own = row / c;
    (void)n;
    return key / c == 0 || key / c == own || key / c == own - 1;
}

/* Means of blocks of c rows, each divided by c; rows of `pad` floats. */
static float *means(const float *x, int dim, int pad, int n, int c, struct sac_arena *a)
{
    size_t blocks = (size_t)((n + c - 1) / c);
    float *out = sac_arena_alloc(a, sizeof *out * blocks * (size_t)pad);
    for (int b = 0; out && b * c < n; b++)
        pool_mean(x, dim, b * c, imin((b + 1) * c, n), c, out + (size_t)b * (size_t)pad);
    return out;
}

/* Keep the best blocks of block row m; score has m + 1 of them. */
static bool add_row(struct sac_plan *out, int m, int c, float *score, int *idx)
{
    int keep = out->blocks_per_tile, *list = out->blocks + (size_t)m * (size_t)keep;
    score[0] = score[m] = score[imax(m - 1, 0)] = INFINITY;
    int k = topk(score, m + 1, keep, idx);
    for (int i = 0; i < keep; i++) list[i] = i < k ? idx[i] : -1;
    for (int i = 0; i < k; i++)
        if (!sac_plan_add(out, idx[i] * c, (idx[i] + 1) * c)) return false;
    return sac_plan_next(out);
}

static bool pack_means(const struct sac_prefill_in *in, const void *opts, int kv_head, void *out,
                       struct sac_arena *a)
{
    int c = ((const struct opts *)opts)->block_size, dim = in->head_dim;
    float *km = means(in_key(in, kv_head, 0), dim, dim, in->n, c, a);
    return km && panels_pack(out, km, dim, (in->n + c - 1) / c, 1, a);
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    int c = o->block_size, dim = in->head_dim, n = in->n, blocks = (n + c - 1) / c;
    size_t nb = (size_t)blocks, ld = panels_width(blocks);
    const struct panels *keys =
        shared_get(in, head / in_group(in), SHARED_MEANS, sizeof *keys, pack_means, o, scratch);
    if (!keys) return false;
    float *qm = means(in_query(in, head, 0), dim, keys->pad, n, c, scratch);
    float *score = sac_arena_floats(scratch, PANEL_ROWS * ld),
          *packed = sac_arena_floats(scratch, panels_room(keys));
    int *idx = sac_arena_alloc(scratch, sizeof *idx * nb);
    if (!qm || !score || !packed || !idx || !sac_plan_init(out, c, n)) return false;
    out->blocks_per_tile = imin(o->top_blocks, blocks);
    out->blocks = malloc(sizeof *out->blocks * nb * (size_t)out->blocks_per_tile);
    bool ok = out->blocks != NULL;
    int per_block = panels_rows(keys);
    for (int m = 0; ok && m < blocks; m += per_block) {
        int rows = imin(per_block, blocks - m);
        panels_query(keys, qm + (size_t)m * (size_t)keys->pad, rows, packed);
        panels_score(keys, packed, rows, 0, m + rows, score, ld);
        for (int r = 0; ok && r < rows; r++) ok = add_row(out, m + r, c, score + (size_t)r * ld, idx);
    }
    if (!ok) sac_plan_free(out);
    return ok;
}

const struct sac_method method_block_sparse = {
    .name = "block_sparse",
    .title = "Block-Sparse",
    .summary = "key blocks whose average matches the average of a block of queries",
    .source = "MInference, arXiv 2407.02490; settings of arXiv 2504.17768",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .plan = plan,
};
