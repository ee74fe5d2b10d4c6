/* Vertical-Slash, prefill. MInference (Jiang et al., arXiv 2407.02490), as run by The Sparse Frontier.
 *
 * The attention of the last `window` queries tells which columns (keys that every row wants) and which
 * diagonals (distances that every row wants) carry a head; the same columns and diagonals are then read by
 * all rows. Sinks and the nearest offsets are always in. One selection per query head, uniform budget.
 *
 * Known quirks. Its sparsity is an outcome: diagonals that cluster share tiles, so equal sizes give different
 * densities. Offsets above n - window are seen by fewer rows and score low; the paper does not correct this.
 * The original forces 30 columns and 100 offsets and looks at 64 rows. MInference as shipped gives every head
 * its own sizes; here they are uniform, unless sparsity=S asks for the sizes that reach S in each head. */
#include "methods.h"
#include "registry.h"

struct opts { int vertical_size, slash_size, window, sink, local, tile; double target; };

static const struct sac_param params[] = {
    P_INT(opts, vertical_size, 512, 1, TOKENS_MAX, true, "columns read by every row"),
    P_INT(opts, slash_size, 512, 1, TOKENS_MAX, true, "diagonals read by every row"),
    P_INT(opts, window, 256, 1, TOKENS_MAX, false, "last queries that estimate the pattern"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first columns, always read"),
    P_INT(opts, local, 64, 1, TOKENS_MAX, false, "nearest offsets, always read"),
    P_INT(opts, tile, 64, 1, 1024, false, "rows and keys of a kernel tile"),
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    (void)s;
    (void)n;
    if (o->vertical_size && o->vertical_size < o->sink)
        return sac_fail(err, SAC_EARG,
                        "vertical_slash: vertical_size=%d is below sink=%d, columns that are always "
                        "read: use vertical_size=%d",
                        o->vertical_size, o->sink, o->sink);
    if (o->slash_size && o->slash_size < o->local)
        return sac_fail(err, SAC_EARG,
                        "vertical_slash: slash_size=%d is below local=%d, offsets that are always "
                        "read: use slash_size=%d",
                        o->slash_size, o->local, o->local);
    return SAC_OK;
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)n;
    (void)err;
    o->vertical_size = o->slash_size = 0;
    o->target = 1.0 - sparsity;
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return vs_reach(n, o->sink, o->local, o->tile);
}

static bool forced(const void *opts, int n, int row, int key)
{
    const struct opts *o = opts;
    (void)n;
    return key < o->sink || row - key < o->local;
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    struct vs_scores sc;
    if (!vs_score(in, head, o->window, &sc, scratch)) return false;
    struct vs_rule r = { o->vertical_size, o->slash_size, o->sink, o->local, o->tile };
    if (o->vertical_size) return vs_select(&sc, &r, out, scratch);
    struct vs_ranks ranks;
    return vs_rank(&sc, &r, false, &ranks, scratch) &&
           vs_select_target(&ranks, o->target, VS_EQUAL, out, scratch);
}

const struct sac_method method_vertical_slash = {
    .name = "vertical_slash",
    .title = "Vertical-Slash",
    .summary = "columns and diagonals that the last queries attend to",
    .source = "MInference, arXiv 2407.02490; settings of arXiv 2504.17768",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .check = check,
    .budget = budget,
    .reach = reach,
    .forced = forced,
    .plan = plan,
};
