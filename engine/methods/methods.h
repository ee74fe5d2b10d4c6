/* What the files of this folder share: scores, pooling, top-k, tiles of diagonals, pages. A method is a
 * scorer, a selector and a scope put together from these. */
#ifndef METHODS_METHODS_H
#define METHODS_METHODS_H

#include <saccade/method.h>

#include <math.h>
#include <stddef.h>

#define SAC_COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static inline int imin(int a, int b) { return a < b ? a : b; }
static inline int imax(int a, int b) { return a > b ? a : b; }

/* ---- scores.c ---- */

static inline int in_group(const struct sac_prefill_in *in) { return in->n_heads / in->n_kv_heads; }
static inline const float *in_query(const struct sac_prefill_in *in, int head, int row)
{
    return in->q + (size_t)head * in->q_stride + (size_t)(row - in->q_row0) * (size_t)in->head_dim;
}
static inline const float *in_key(const struct sac_prefill_in *in, int kv_head, int row)
{
    return in->k + (size_t)kv_head * in->k_stride + (size_t)row * (size_t)in->head_dim;
}
static inline const float *in_value(const struct sac_prefill_in *in, int kv_head, int row)
{
    return in->v + (size_t)kv_head * in->k_stride + (size_t)row * (size_t)in->head_dim;
}
/* The last w rows that exist: min(w, n, rows of q given). */
int in_last_rows(const struct sac_prefill_in *in, int w);

/* Rows to multiply many others with, packed for the matrix kernels: floats, or (split) two bf16 that sum to
 * them, which tiles of AMX multiply three times as fast and as exactly as a test can tell, or (words) integers
 * of 16 bits (k_words). */
struct panels {
    int dim, pad, n;
    bool split, words;
    float *scale;      /* of words, one for each row */
    void *data;
}; /* pad: dim rounded up to even, 32 or K_WORD_PART */
/* step 1: rows in order. Else a panel holds 16 rows that lie `step` apart, and the next one the rows after
 * them: panel i those from (i / step) * 16 * step + i % step on; missing ones are zeros. */
bool panels_pack(struct panels *p, const float *rows, int dim, int n, int step, struct sac_arena *a);
/* The same for rows of hundreds of floats, as words where the level has them and no tiles. */
bool panels_pack_long(struct panels *p, const float *rows, int dim, int n, int step, struct sac_arena *a);
/* Room in floats for m <= PANEL_ROWS rows x [m][pad] (zeros from dim on) as the products want them. */
enum { PANEL_ROWS = 32 };
size_t panels_room(const struct panels *p);
void panels_query(const struct panels *p, const float *x, int m, void *packed);
/* out[i][j - first] = x[i] . row j for first <= j < n; first is a multiple of 16, ld at least n - first
 * rounded up to 16, and out has PANEL_ROWS rows. */
void panels_score(const struct panels *p, const void *packed, int m, int first, int n, float *out, size_t ld);
size_t panels_width(int n);        /* n rounded up */
int panels_rows(const struct panels *p); /* a good m */
/* The keys of a KV head; not needed (and left empty) where few rows will be scored. */
bool scores_pack(const struct sac_prefill_in *in, int kv_head, int rows, struct panels *out,
                 struct sac_arena *a);
/* What the heads of a group (or all heads of a layer) need not make twice while their plans are made
 * (in->shared): the first that wants it makes it, it goes when all of them are done. One for all layers. */
struct sac_shared *shared_new(const struct sac_prefill_in *in); /* NULL: out of memory, nothing is shared */
void shared_done(struct sac_shared *s, int kv_head); /* one head of the group is done; s may be NULL */
/* The i-th head to look at: as many groups as there are threads take turns, so that no thread waits for what
 * another one makes for its group, and few groups have such things at once. */
int shared_turn(const struct sac_prefill_in *in, int threads, int i);
enum shared_slot { SHARED_KEYS, SHARED_MEANS, SHARED_SLOTS };
/* out: `bytes` of zeros to fill, with what it points to from `a`. False: out of memory. */
typedef bool shared_make_fn(const struct sac_prefill_in *in, const void *opts, int kv_head, void *out,
                            struct sac_arena *a);
/* The slot of a group (kv_head) or of the layer (-1); NULL: out of memory. Within a pass over the heads of a
 * layer make, opts and bytes of a slot are the same. */
const void *shared_get(const struct sac_prefill_in *in, int kv_head, enum shared_slot slot, size_t bytes,
                       shared_make_fn *make, const void *opts, struct sac_arena *scratch);
void shared_free(struct sac_shared *s);

/* Hands fn the dense probabilities p[0 .. row] of each of `rows` (ascending) or, where rows is NULL, of
 * rows first .. first+count-1. panels: from scores_pack, or NULL to do without. False: out of memory. */
typedef void scores_row_fn(void *ctx, int row, const float *p);
bool scores_each_row(const struct sac_prefill_in *in, int head, int first, int count, const int *rows,
                     const struct panels *panels, scores_row_fn *fn, void *ctx, struct sac_arena *a);
/* The same for rows first .. first+count-1 a block at a time, not divided by their sums: e[r*ld + j] * inv[r]
 * is the probability of row row0 + r on key j, 0 beyond what the row sees; j < row0 + m. */
typedef void scores_block_fn(void *ctx, int row0, int m, const float *e, size_t ld, const float *inv);
bool scores_each_block(const struct sac_prefill_in *in, int head, int first, int count,
                       const struct panels *panels, scores_block_fn *fn, void *ctx, struct sac_arena *a);
/* strips.c: the same rows summed by key (vertical[n]) and by row - key (slash[n]), where strips_fit says that
 * it can be done. *in_range false: nothing was summed, scores differ too much. False: out of memory. */
bool strips_fit(const struct sac_prefill_in *in, const struct panels *panels);
bool strips_add(const struct sac_prefill_in *in, int head, int first, int count, const struct panels *panels,
                float *vertical, float *slash, bool *in_range, struct sac_arena *a);
/* Probabilities of the current token over its n slots, for all query heads of a KV head: p[i][stride]. */
void scores_decode(const struct sac_decode_in *in, int kv_head, int n, float *p, size_t stride);
/* Mean of rows lo .. hi-1 of dim elements, divided by `over` (hi - lo, or a padded count). */
void pool_mean(const float *rows, int dim, int lo, int hi, int over, float *out);
/* Average or max pool of odd width over x[n], zeros outside counted; stride 1. */
void pool_average(const float *x, int n, int width, float *out);
/* Snap every value to +inf for keys of the sink and of the last `local` keys. */
void force_ends(float *score, int n, int sink, int local);

/* Adds one slot behind what a list has, with nothing called: for lists of thousands. */
static inline void rows_add_slot(struct sac_rows *r, int slot)
{
    if (r->n > 0 && r->run[r->n - 1].hi == slot) r->run[r->n - 1].hi++;
    else r->run[r->n++] = (struct sac_run){ slot, slot + 1 };
}

/* ---- topk.c ---- */

/* Indices of the k largest scores in ascending order; equal scores: lower index first; NaN last. Returns
 * min(k, n). Radix selection, linear in n. */
int topk(const float *score, int n, int k, int *out);
/* Index of the smallest of n >= 1 numbers, the first of equal ones. */
int least(const float *x, int n);
/* Indices, ascending, of the fewest largest scores that sum to at least `mass`; at least one. */
int topp(const float *score, int n, double mass, int *out);
/* order[n]: indices by descending score, equal scores by index. tmp: n entries. */
void sort_descending(const float *score, int n, int *order, int *tmp);
/* 1 + how many of the largest entries sum to at most alpha (methods.md 8.5); at most n. */
int coverage(const float *score, int n, double alpha, struct sac_arena *a);   /* 0: out of memory */

/* ---- vs.c: columns and diagonals ---- */

struct vs_scores { int n, rows; float *vertical, *slash; };   /* sums over the window rows */
bool vs_score(const struct sac_prefill_in *in, int head, int window, struct vs_scores *out,
              struct sac_arena *a);
/* Token-exact causal cells of {j in v or i - j in s}; both sorted ascending. */
double vs_pattern_cells(int n, const int *v, int nv, const int *s, int ns);
/* Plan of tiles of `tile` rows; adds the lists to the plan. */
bool vs_plan(struct sac_plan *out, int n, int tile, const int *v, int nv, const int *s, int ns);
/* Force sinks and local offsets, keep the nv and ns best, plan. */
struct vs_rule { int nv, ns, sink, local, tile; };
bool vs_select(struct vs_scores *sc, const struct vs_rule *r, struct sac_plan *out, struct sac_arena *a);
/* Columns and offsets by score, forced ones first, for any number of selections. coverage: with what
 * VS_COVERAGE needs. Forces members into the scores. */
struct vs_ranks { int n; struct vs_rule rule; int *rank[2]; float *sum[2]; };
bool vs_rank(struct vs_scores *sc, const struct vs_rule *r, bool coverage, struct vs_ranks *out,
             struct sac_arena *a);
/* As vs_select with the sizes for which the causal cells read come nearest below `target` of all: equal
 * sizes, sizes that cover equal shares of the window's attention, or eight times more of one kind. */
enum vs_sizes { VS_EQUAL, VS_COVERAGE, VS_MORE_VERTICAL, VS_MORE_SLASH };
bool vs_select_target(const struct vs_ranks *ranks, double target, enum vs_sizes how, struct sac_plan *out,
                      struct sac_arena *a);

/* Sparsity of the forced members alone. */
double vs_reach(int n, int sink, int local, int tile);

/* ---- blocks.c: plans chosen from a matrix of block scores ---- */

struct blocks {
    int n, bq, bk, nq, nk;        /* rows; rows and keys of a block; blocks of each */
    float *score;                 /* [nq][nk] */
    unsigned char *forced;        /* [nq][nk]; the tile's own rows are forced at creation */
    double *total;                /* [nq] sums of visible scores, by blocks_rank */
    int *order, *idx;             /* [nq][nk] by descending score; [nk] scratch */
};
bool blocks_create(struct blocks *b, int n, int bq, int bk, struct sac_arena *a);
int blocks_visible(const struct blocks *b, int i);    /* key blocks row block i can see */
float *blocks_row(const struct blocks *b, int i);
void blocks_force(struct blocks *b, int i, int j);
void blocks_rank(struct blocks *b);                   /* after the scores, before the functions below */
/* Keep forced blocks and the best others until their sum reaches tau of the row's total (crossing: forced
 * ones count and the block that crosses is kept; otherwise the sum stays within, at least one block). */
bool blocks_cover(const struct blocks *b, double tau, bool crossing, struct sac_plan *out,
                  struct sac_arena *a);
/* Keep forced blocks and the `count` best. */
bool blocks_top(const struct blocks *b, int count, struct sac_plan *out, struct sac_arena *a);
/* The tau for which the share of visible blocks kept comes nearest below `target`. */
double blocks_reaching(const struct blocks *b, double target, bool crossing, struct sac_arena *a);

/* ---- units.c: scores of keys into scores of pages or blocks ---- */

/* Sum x[n] over units of `size` in place; returns how many. */
int units_sum(float *x, int n, int size);
double range_sum(const float *x, int lo, int hi);

/* ---- rotation.c ---- */

/* x = the rotation by (c, s) of each pair, in place; stride between elements of x. */
void rotate_pairs(const struct sac_prefill_in *in, float *x, size_t stride, const float *c, const float *s);

/* ---- judge.c: a plan against dense rows ---- */

struct judge {
    const struct sac_prefill_in *in;
    const struct sac_plan *plan;
    bool by_output;
    int kv;
    struct sac_rows rows;        /* scratch for any row */
    float *dense, *sparse;       /* [head_dim] scratch */
    double loss;                 /* sum over the rows given: mass left out, or squared error of the output */
};
void judge_row(void *judge, int row, const float *p);   /* a scores_row_fn */

/* ---- window.c: sinks and a window ---- */

/* Rows read keys below sink and the `window` nearest. */
bool window_plan(struct sac_plan *out, int n, int sink, int window, int tile);
/* 1 - the share of the causal cells that such a plan reads. */
double window_reach(int n, int sink, int window, int tile);
/* Keep what the next row will read of it: the sink and the last window - 1. */
bool window_keep(struct sac_kept *kept, int n, int sink, int window, struct sac_arena *a);

/* ---- evict.c ---- */

/* What the KV heads of a layer keep by the method of `part`: query heads are weighed in parallel on the pool
 * (NULL: one after the other), then all is chosen. The same on any number of threads. kept[kv].pos comes from
 * `scratch`. False: out of memory. */
struct sac_pool;
bool evict_layer(struct sac_pool *pool, const struct sac_prefill_in *in, const struct sac_part *part,
                 struct sac_kept *kept, struct sac_arena *scratch);
/* vote[n]: sums (or maxima) of a head's probabilities over the last `window` rows, not pooled. */
enum group_reduce { GROUP_MEAN_SUM, GROUP_MAX_MAX };
bool evict_votes(const struct sac_prefill_in *in, int head, int window, enum group_reduce how, float *vote,
                 struct sac_arena *a);
/* The same of a group, from weight[head][n]: means of sums, maxima of maxima. */
void evict_group(const struct sac_prefill_in *in, int kv_head, enum group_reduce how, const float *weight,
                 float *vote);
/* Keep the `cap` best of score. */
bool evict_keep(struct sac_kept *kept, const float *score, int n, int cap, struct sac_arena *a);
bool evict_keep_all(struct sac_kept *kept, int n, struct sac_arena *a);
/* score[heads][n] (overwritten): every head keeps its `floor` best, the rest of capacity x heads slots go to
 * the largest scores left. */
bool ada_allocate(float *score, int n, int heads, int capacity, int floor, struct sac_kept *kept,
                  struct sac_arena *a);

/* ---- pages.c: pages of consecutive slots with a box around their keys ---- */

enum page_scorer { PAGE_MINMAX, PAGE_MEANSTD, PAGE_MEAN };
struct pages {
    struct sac_shape shape;
    int size, cap;                /* keys per page, pages per KV head */
    enum page_scorer scorer;
    bool f16;
    void *box;                    /* [layer][kv head][cap] rows: hi then lo, floats or f16; mean: one point */
    float *q;                     /* [n_heads][2][dim]: queries as such rows */
    double *sum, *sum2;           /* [layer][kv head][dim] of the page being filled (not minmax) */
};
bool pages_create(struct pages *p, const struct sac_env *env, int size, enum page_scorer scorer,
                  struct sac_arena *a);
void pages_append(struct pages *p, int layer, int kv_head, int slot0, int n, const float *k);
/* Scores of pages 0 .. n-1 for `heads` queries of a group, unscaled: out[h][stride], or (sum) their sums in
 * out[0]. */
void pages_score(const struct pages *p, int layer, int kv_head, const float *q, int heads, bool sum, int n,
                 float *out, size_t stride);
/* Add the pages of idx (ascending), then slots tail .. n-1. */
void pages_rows(struct sac_rows *out, const int *idx, int n_idx, int size, int tail, int n);

/* ---- params.c ---- */

/* A table row for option `field` of `struct type`. */
#define P_INT(type, field, def, lo, hi, budget, help) \
    { #field, help, SAC_INT, offsetof(struct type, field), def, lo, hi, NULL, budget }
#define P_FLOAT(type, field, def, lo, hi, budget, help) \
    { #field, help, SAC_FLOAT, offsetof(struct type, field), def, lo, hi, NULL, budget }
#define P_BOOL(type, field, def, help)                                                                       \
    {                                                                                                        \
#field, help, SAC_BOOL, offsetof(struct type, field), def, 0, 1, NULL, false                         \
    }
#define P_CHOICE(type, field, def, n, names, help) \
    { #field, help, SAC_CHOICE, offsetof(struct type, field), def, 0, (n) - 1, names, false }

enum { TOKENS_MAX = 16777216 };

void opts_defaults(const struct sac_method *m, void *opts);
double opts_get(const struct sac_method *m, const void *opts, const char *name);   /* NAN: none */
bool opts_put(const struct sac_method *m, void *opts, const char *name, double value);

/* Scopes and checks that many methods share. */
enum sac_scope scope_query_head(const void *opts);
enum sac_scope scope_kv_head(const void *opts);
enum sac_scope scope_layer(const void *opts);
/* (1 - s) * n tokens, at least `least`. */
int share_of(int n, double sparsity, int least);
/* The k for which rows that read min(k, row + 1) keys leave out a share s of the causal cells. */
int causal_budget(int n, double sparsity);

/* The sparsity of keeping `least` of n tokens. */
double reach_of(int n, int least);

/* A number that depends on all four and nothing else, for draws that repeat. */
uint64_t mix_seed(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);
float mix_uniform(uint64_t seed);    /* in [0, 1) */
int mix_below(uint64_t seed, int n); /* in 0 .. n-1 */

/* ---- presets.c: the budget grid of the paper ---- */

enum sac_code preset_apply(struct sac_part *p, int n, struct sac_err *err);

#endif
