/* Which keys are read: the one thing a sparse attention method decides.
 *
 * A set of keys is a list of half-open runs, sorted, disjoint, never touching; scattered columns are runs
 * of length one. A plan gives such a list for every tile of query rows of one query head (prefill); a
 * decode step has one list for its single row. Attention, metrics and views all read these lists, so
 * that every number on screen speaks of the keys that were really read.
 *
 * Causality: a plan may list keys beyond a row (a tile that crosses the diagonal, or that runs past the
 * end of the prompt, as the paper's kernels emit them); readers apply key <= row and key < n_rows. */
#ifndef SAC_PLAN_H
#define SAC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sac_run { int lo, hi; };  /* keys lo .. hi-1 */

/* Storage is the caller's and never grows. n_keys / 2 + 1 runs hold any set. */
struct sac_rows { struct sac_run *run; int n, cap; };

/* Append keys lo .. hi-1. Calls come in ascending order of lo; a run that touches or overlaps the last
 * one extends it, an empty run is ignored. */
void sac_rows_add(struct sac_rows *r, int lo, int hi);
bool sac_rows_valid(const struct sac_rows *r, int n_keys);
bool sac_rows_has(const struct sac_rows *r, int key);
int sac_rows_count(const struct sac_rows *r);

/* Prefill plan of one query head. run[at[t] .. at[t+1]) are the keys of rows t*tile .. t*tile+tile-1.
 * Grown with malloc by sac_plan_add; freed by sac_plan_free. A dense head is one run per tile. */
struct sac_plan {
    int tile, n_rows, n_tiles;
    size_t *at;                /* [n_tiles + 1] */
    struct sac_run *run;
    size_t n_run, cap_run;
    /* What the rule asked for, where it differs from what the tiles read (NULL and 0 otherwise):
     * sorted columns and sorted diagonal offsets (Vertical-Slash, FlexPrefill), blocks padded with -1. */
    int *vertical, n_vertical, *slash, n_slash;
    int *blocks, blocks_per_tile;
    double pattern_cells;      /* token-exact cells of the rule; < 0: the same as the cells read */
    bool folded;               /* run leaves out what `vertical` says already (sac_plan_fold) */
};

/* Prepare an empty plan; false when out of memory. Tiles are then filled in order: every sac_plan_add
 * extends the current tile, sac_plan_next closes it. Within a tile, runs come sorted. */
bool sac_plan_init(struct sac_plan *p, int tile, int n_rows);
bool sac_plan_add(struct sac_plan *p, int lo, int hi);
bool sac_plan_next(struct sac_plan *p);
void sac_plan_free(struct sac_plan *p);
/* The plan that covers every causal key: tile rows at a time, one run each. */
bool sac_plan_dense(struct sac_plan *p, int n_rows);
/* A plan that is kept: scattered columns that every tile repeats stay in `vertical` alone, and no room is
 * spare. Nothing that a reader sees changes: readers of single runs go through sac_tile_next. The runs of a
 * Vertical-Slash plan at 16384 tokens and a sparsity of 0.9 fall to 28 % of their bytes, and no longer grow
 * with tiles times columns. */
void sac_plan_fold(struct sac_plan *p);

/* The runs of tile t, in order, from the one on that reaches key `from` (its start may be cut to `from`). */
struct sac_tile_runs {
    const struct sac_run *run, *end;
    const int *column, *column_end;
};
struct sac_tile_runs sac_plan_tile(const struct sac_plan *p, int t, int from);
bool sac_tile_next(struct sac_tile_runs *it, struct sac_run *out);

/* The keys row `row` reads, clipped to key <= row and, where window > 0, to key > row - window. */
void sac_plan_row(const struct sac_plan *p, int row, int window, struct sac_rows *out);

/* The four densities of a plan or a step; each is a share of the causal cells (prefill) or of the cache
 * (decode). NAN where it does not apply. See reference: pattern <= kernel <= work. */
struct sac_density {
    double pattern;  /* cells the rule selects, token-exact */
    double kernel;   /* causal cells really evaluated */
    double work;     /* evaluated cells counting full tiles, masked cells too; may exceed 1 */
    double read;     /* decode: K and V elements read per step, selection metadata included / full cache */
};
struct sac_density sac_plan_density(const struct sac_plan *p);
#endif
