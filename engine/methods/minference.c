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

/* ranks: of columns and diagonals, the same for every candidate made of them. */
static bool candidate(const struct sac_prefill_in *in, const struct opts *o, int head, int which,
                      const struct vs_ranks *ranks, struct sac_plan *out, struct sac_arena *a)
{
    static const enum vs_sizes how[N_VS] = { VS_EQUAL, VS_COVERAGE, VS_MORE_VERTICAL, VS_MORE_SLASH };
    if (which < N_VS) return vs_select_target(ranks, o->density, how[which], out, a);
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

/* Every candidate is judged on a row while its probabilities are there. */
struct trial {
    struct judge judge;
    struct sac_plan plan[N_CANDIDATES];
    double loss[N_CANDIDATES];
};

static void try_row(void *ctx, int row, const float *p)
{
    struct trial *t = ctx;
    for (int i = 0; i < N_CANDIDATES; i++) {
        t->judge.plan = &t->plan[i];
        t->judge.loss = 0;
        judge_row(&t->judge, row, p);
        t->loss[i] += t->judge.loss;
    }
}

/* Rows of the second half, the last one among them. */
static bool judge_all(const struct sac_prefill_in *in, const struct opts *o, int head, struct trial *t,
                      const struct panels *keys, struct sac_arena *a)
{
    int half = in->n - in->n / 2, count = imin(o->samples, half), cap = in->n / 2 + 1;
    size_t dim = (size_t)in->head_dim;
    t->judge = (struct judge){ .in = in, .by_output = o->criterion == OUTPUT, .kv = head / in_group(in) };
    t->judge.rows = (struct sac_rows){ sac_arena_alloc(a, sizeof(struct sac_run) * (size_t)cap), 0, cap };
    t->judge.dense = sac_arena_floats(a, dim);
    t->judge.sparse = sac_arena_floats(a, dim);
    int *rows = sac_arena_alloc(a, sizeof *rows * (size_t)count);
    if (!t->judge.rows.run || !t->judge.dense || !t->judge.sparse || !rows) return false;
    for (int i = 0; i < count; i++) rows[i] = in->n / 2 + (int)((i + 1LL) * half / count) - 1;
    return scores_each_row(in, head, 0, count, rows, keys, try_row, t, a);
}

static bool plan(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch)
{
    const struct opts *o = opts;
    struct trial t = { .loss = { 0 } };
    struct vs_scores scores;
    struct vs_ranks ranks;
    struct vs_rule rule = { 0, 0, o->sink, o->local, o->tile };
    struct panels keys;
    if (!vs_score(in, head, o->window, &scores, scratch) || !vs_rank(&scores, &rule, true, &ranks, scratch) ||
        !scores_pack(in, head / in_group(in), o->samples, &keys, scratch))
        return false;
    int made = 0;
    for (bool ok = true; ok && made < N_CANDIDATES; made += ok) {
        struct sac_arena_mark mark = sac_arena_mark(scratch);
        ok = candidate(in, o, head, made, &ranks, &t.plan[made], scratch);
        sac_arena_rewind(scratch, mark);
    }
    int best = -1;
    double over[N_CANDIDATES];
    if (made == N_CANDIDATES && judge_all(in, o, head, &t, &keys, scratch))
        for (int i = 0; i < N_CANDIDATES; i++) {
            /* Candidates whose forced members read more than was asked for compete by how much they read. */
            double kernel = sac_plan_density(&t.plan[i]).kernel;
            over[i] = kernel > 1.25 * o->density ? kernel : 0;
            bool same = i > 0 && over[i] == over[best];
            if (i == 0 || over[i] < over[best] || (same && t.loss[i] < t.loss[best])) best = i;
        }
    for (int i = 0; i < made; i++)
        if (i != best) sac_plan_free(&t.plan[i]);
    if (best >= 0) *out = t.plan[best];
    return best >= 0;
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
