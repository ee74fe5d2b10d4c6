/* FlexPrefill, prefill. Lai et al., arXiv 2502.20766, in the form run by The Sparse Frontier.
 *
 * Vertical-Slash whose two sizes are chosen per head: as many columns, and as many diagonals, as it takes to
 * cover the share `alpha` of the last queries' attention, but at least min_budget of each.
 *
 * Known quirks. Coverage is counted before sinks and nearest offsets are forced in. Sinks hold so much of the
 * mass that few columns suffice, which is why it rarely beats uniform sizes; min_budget guards against that.
 * alpha=0 is Vertical-Slash with min_budget of both. The original works on blocks of 128, and may switch a
 * head to a query-aware pattern; the paper runs it without. The reference fails for prompts below its window;
 * here the window shrinks. sparsity=S picks the alpha that reaches S in each head. */
#include "methods.h"
#include "registry.h"

struct opts { double alpha; int window, min_budget, sink, local, tile; double target; };

static const struct sac_param params[] = {
    P_FLOAT(opts, alpha, 0.65, 0, 1, true, "share of the window's attention to cover"),
    P_INT(opts, window, 512, 1, TOKENS_MAX, false, "last queries that estimate the pattern"),
    P_INT(opts, min_budget, 512, 1, TOKENS_MAX, true, "least columns, and least diagonals"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first columns, always read"),
    P_INT(opts, local, 64, 1, TOKENS_MAX, false, "nearest offsets, always read"),
    P_INT(opts, tile, 64, 1, 1024, false, "rows and keys of a kernel tile"),
};

static enum sac_code check(const void *opts, const struct sac_shape *s, int n, struct sac_err *err)
{
    const struct opts *o = opts;
    int least = imax(o->sink, o->local);
    (void)s;
    (void)n;
    if (o->min_budget && o->min_budget < least)
        return sac_fail(err, SAC_EARG,
                        "flexprefill: min_budget=%d is below %s=%d, members that are always read: use "
                        "min_budget=%d",
                        o->min_budget, o->local >= o->sink ? "local" : "sink", least, least);
    return SAC_OK;
}

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    struct opts *o = opts;
    (void)s;
    (void)n;
    (void)err;
    o->alpha = -1;
    o->min_budget = 0;
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
    struct vs_rule r = { 0, 0, o->sink, o->local, o->tile };
    struct vs_ranks ranks;
    if (!o->min_budget)
        return vs_rank(&sc, &r, true, &ranks, scratch) &&
               vs_select_target(&ranks, o->target, VS_COVERAGE, out, scratch);
    /* Sums over the rows: alpha of each row's mass is alpha * rows of theirs. */
    r.nv = coverage(sc.vertical, sc.n, o->alpha * sc.rows, scratch);
    r.ns = coverage(sc.slash, sc.n, o->alpha * sc.rows, scratch);
    if (!r.nv || !r.ns) return false;
    r.nv = imax(r.nv, o->min_budget);
    r.ns = imax(r.ns, o->min_budget);
    return vs_select(&sc, &r, out, scratch);
}

const struct sac_method method_flexprefill = {
    .name = "flexprefill",
    .title = "FlexPrefill",
    .summary = "columns and diagonals, as many as cover a share of the attention",
    .source = "arXiv 2502.20766; settings of arXiv 2504.17768",
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
