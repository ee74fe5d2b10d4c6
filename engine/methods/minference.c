/* MInference, prefill: every head gets the pattern that serves it best. Jiang et al., arXiv 2407.02490.
 *
 * Candidates of about equal work are tried on the loaded prompt, head by head: a window with sinks (A-shape),
 * columns and diagonals in four proportions, and blocks. criterion=recall keeps the one that covers most of
 * the dense attention of sampled rows; criterion=output the one whose output is nearest to the dense one.
 *
 * Known quirks. The original searches offline, once, on a 30K key-value prompt, and what it ships is
 * Vertical-Slash with sizes per head: A-shape winners are stored as such and blocks are replaced. Searching
 * on the prompt itself needs dense rows that a deployed method would not have; the rows are few (`samples`,
 * from the second half). The original's second criterion counts the output's elements that differ by more
 * than 5e-3; here it is the squared error. On short prompts forced members may need more than `density`: then
 * the candidate that reads least is taken. */
#include "methods.h"
#include "registry.h"

enum { RECALL, OUTPUT };
enum { N_VS = 4, A_SHAPE = N_VS, BLOCKS, N_CANDIDATES };
struct opts { int criterion, samples, window, sink, local, tile, block_size; double density; };

static const char *const criteria[] = { "recall", "output", NULL };
static const struct sac_param params[] = {
    P_FLOAT(opts, density, 0.25, 0.001, 1, true, "share of the causal cells each candidate may read"),
    P_CHOICE(opts, criterion, RECALL, 2, criteria, "recall of attention, or error of the output"),
    P_INT(opts, samples, 16, 1, 4096, false, "rows the candidates are judged on"),
    P_INT(opts, window, 256, 1, TOKENS_MAX, false, "last queries that estimate columns and diagonals"),
    P_INT(opts, sink, 4, 0, TOKENS_MAX, false, "first keys, always read"),
    P_INT(opts, local, 64, 1, TOKENS_MAX, false, "nearest keys, always read"),
    P_INT(opts, tile, 64, 1, 1024, false, "rows and keys of a tile"),
    P_INT(opts, block_size, 64, 8, 1024, false, "rows and keys of a block"),
};

static enum sac_code budget(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err)
{
    (void)s;
    (void)n;
    (void)err;
    ((struct opts *)opts)->density = fmax(1 - sparsity, 0.001);
    return SAC_OK;
}

static double reach(const void *opts, const struct sac_shape *s, int n)
{
    const struct opts *o = opts;
    (void)s;
    return fmax(vs_reach(n, o->sink, o->local, o->tile), window_reach(n, o->sink, o->local, o->tile));
}

/* scores: of columns and diagonals, the same for every candidate made of them. */
static bool candidate(const struct sac_prefill_in *in, const struct opts *o, int head, int which,
                      const struct vs_scores *scores, struct sac_plan *out, struct sac_arena *a)
{
    static const enum vs_sizes how[N_VS] = { VS_EQUAL, VS_COVERAGE, VS_MORE_VERTICAL, VS_MORE_SLASH };
    if (which < N_VS) {
        struct vs_rule r = { 0, 0, o->sink, o->local, o->tile };
        struct vs_scores sc;
        return vs_copy(scores, &sc, a) && vs_select_target(&sc, &r, o->density, how[which], out, a);
    }
    if (which == A_SHAPE)
        return window_plan(out, in->n, o->sink,
                           imax(causal_budget(in->n, 1 - o->density) - o->sink - o->tile / 2, o->local),
                           o->tile);
    const struct sac_method *m = &method_block_sparse;
    double opts[SAC_OPTS_MAX / sizeof(double)];
    opts_defaults(m, opts);
    opts_put(m, opts, "block_size", o->block_size);
    return !m->budget(opts, NULL, in->n, 1 - o->density, NULL) && m->plan(in, opts, head, out, a);
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    int half = in->n - in->n / 2, count = imin(o->samples, half), cap = in->n / 2 + 1;
    size_t dim = (size_t)in->head_dim;
    struct judge j = { .in = in, .by_output = o->criterion == OUTPUT, .kv = head / in_group(in) };
    j.rows = (struct sac_rows){ sac_arena_alloc(scratch, sizeof(struct sac_run) * (size_t)cap), 0, cap };
    j.dense = sac_arena_floats(scratch, dim);
    j.sparse = sac_arena_floats(scratch, dim);
    int *rows = sac_arena_alloc(scratch, sizeof *rows * (size_t)count);
    struct vs_scores scores;
    if (!j.rows.run || !j.dense || !j.sparse || !rows) return false;
    if (!vs_score(in, head, o->window, &scores, scratch)) return false;
    for (int i = 0; i < count; i++) rows[i] = in->n / 2 + (int)((i + 1LL) * half / count) - 1;
    double best[2] = { HUGE_VAL, HUGE_VAL };
    for (int which = 0; which < N_CANDIDATES; which++) {
        struct sac_arena_mark mark = sac_arena_mark(scratch);
        struct sac_plan p;
        bool ok = candidate(in, o, head, which, &scores, &p, scratch);
        j.plan = &p;
        j.loss = 0;
        if (ok && !scores_each_row(in, head, 0, count, rows, NULL, judge_row, &j, scratch))
            sac_plan_free(&p), ok = false;
        sac_arena_rewind(scratch, mark);
        if (!ok) {
            if (which > 0) sac_plan_free(out);
            return false;
        }
        /* Candidates whose forced members read more than was asked for compete by how much they read. */
        double kernel = sac_plan_density(&p).kernel, over = kernel > 1.25 * o->density ? kernel : 0;
        bool better = which == 0 || over < best[0] || (over == best[0] && j.loss < best[1]);
        if (which > 0) sac_plan_free(better ? out : &p);
        if (better) *out = p, best[0] = over, best[1] = j.loss;
    }
    return true;
}

const struct sac_method method_minference = {
    .name = "minference",
    .title = "MInference search",
    .summary = "tries windows, columns with diagonals, and blocks for every head, keeps the best",
    .source = "arXiv 2407.02490",
    .params = params,
    .n_params = SAC_COUNT(params),
    .opts_size = sizeof(struct opts),
    .scope = scope_query_head,
    .budget = budget,
    .reach = reach,
    .plan = plan,
};
