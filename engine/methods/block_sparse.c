/* Block-Sparse, prefill. MInference (Jiang et al., arXiv 2407.02490), as run by The Sparse Frontier.
 *
 * Queries and keys are averaged over blocks; a block of queries reads the `top_blocks` key blocks whose
 * average matches best. The first block, its own and the one before it are always in, inside the budget. One
 * selection per query head.
 *
 * Known quirks. The paper's text forces the first block and the diagonal; its code forces the block before the
 * diagonal too, so does this file. A ragged last block is averaged over the full size, zeros included, which
 * changes no ranking: as a key block it is visible only where it is forced. The code pads one extra empty block
 * when the prompt fills its last one; here there is none. */
#include "methods.h"
#include "registry.h"

#include "kernels.h"

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

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity, struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)err;
    int blocks = (n + o->block_size - 1) / o->block_size, k = 3;
    while (k < blocks && fabs(left_out(blocks, k + 1) - sparsity) <= fabs(left_out(blocks, k) - sparsity)) k++;
    o->top_blocks = k;
    return SAC_OK;
}

static bool forced(const void *opts, int n, int row, int key)
{
    int c = ((const struct opts *)opts)->block_size, own = row / c;
    (void)n;
    return key / c == 0 || key / c == own || key / c == own - 1;
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    int c = o->block_size, dim = in->head_dim, n = in->n, blocks = (n + c - 1) / c, kv = head / in_group(in);
    int keep = imin(o->top_blocks, blocks);
    size_t nb = (size_t)blocks, d = (size_t)dim;
    float *km = sac_arena_floats(scratch, nb * d), *qm = sac_arena_floats(scratch, d);
    float *score = sac_arena_floats(scratch, nb);
    int *idx = sac_arena_alloc(scratch, sizeof *idx * nb);
    if (!km || !qm || !score || !idx || !sac_plan_init(out, c, n)) return false;
    out->blocks_per_tile = keep;
    out->blocks = malloc(sizeof *out->blocks * nb * (size_t)keep);
    if (!out->blocks) goto fail;

    for (int b = 0; b < blocks; b++)
        pool_mean(in_key(in, kv, 0), dim, b * c, imin((b + 1) * c, n), c, km + (size_t)b * d);
    for (int m = 0; m < blocks; m++) {
        pool_mean(in_query(in, head, 0), dim, m * c, imin((m + 1) * c, n), c, qm);
        k_ops()->score_f32(qm, km, dim, m + 1, 1.0f, score);
        score[0] = score[m] = score[imax(m - 1, 0)] = INFINITY;
        int k = topk(score, m + 1, keep, idx), *list = out->blocks + (size_t)m * (size_t)keep;
        for (int i = 0; i < keep; i++) list[i] = i < k ? idx[i] : -1;
        for (int i = 0; i < k; i++)
            if (!sac_plan_add(out, idx[i] * c, (idx[i] + 1) * c)) goto fail;
        if (!sac_plan_next(out)) goto fail;
    }
    return true;

fail:
    sac_plan_free(out);
    return false;
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
    .forced = forced,
    .plan = plan,
};
