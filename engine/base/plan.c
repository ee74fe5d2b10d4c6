/* Sets of keys as sorted runs, and plans made of them. */
#include <saccade/plan.h>

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void sac_rows_add(struct sac_rows *r, int lo, int hi)
{
    if (lo >= hi) return;
    if (r->n > 0) {
        struct sac_run *last = &r->run[r->n - 1];
        assert(lo >= last->lo);
        if (lo <= last->hi) {
            if (hi > last->hi) last->hi = hi;
            return;
        }
    }
    assert(r->n < r->cap);
    r->run[r->n++] = (struct sac_run){ lo, hi };
}

bool sac_rows_valid(const struct sac_rows *r, int n_keys)
{
    if (r->n <= 0) return false;
    for (int i = 0; i < r->n; i++) {
        if (r->run[i].lo < 0 || r->run[i].hi > n_keys || r->run[i].lo >= r->run[i].hi) return false;
        if (i > 0 && r->run[i].lo <= r->run[i - 1].hi) return false;
    }
    return true;
}

bool sac_rows_has(const struct sac_rows *r, int key)
{
    int lo = 0, hi = r->n;   /* the first run that ends after key */
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (r->run[mid].hi <= key) lo = mid + 1;
        else hi = mid;
    }
    return lo < r->n && r->run[lo].lo <= key;
}

int sac_rows_count(const struct sac_rows *r)
{
    int n = 0;
    for (int i = 0; i < r->n; i++) n += r->run[i].hi - r->run[i].lo;
    return n;
}

bool sac_plan_init(struct sac_plan *p, int tile, int n_rows)
{
    assert(tile > 0 && n_rows >= 0);
    memset(p, 0, sizeof *p);
    p->tile = tile;
    p->n_rows = n_rows;
    p->pattern_cells = -1.0;
    size_t tiles = ((size_t)n_rows + (size_t)tile - 1) / (size_t)tile;
    p->at = calloc(tiles + 1, sizeof *p->at);
    return p->at != NULL;
}

bool sac_plan_add(struct sac_plan *p, int lo, int hi)
{
    if (lo >= hi) return true;
    if (p->n_run > p->at[p->n_tiles]) {
        struct sac_run *last = &p->run[p->n_run - 1];
        assert(lo >= last->lo);
        if (lo <= last->hi) {
            if (hi > last->hi) last->hi = hi;
            return true;
        }
    }
    if (p->n_run == p->cap_run) {
        size_t cap = p->cap_run ? p->cap_run * 2 : 64;
        struct sac_run *run = realloc(p->run, cap * sizeof *run);
        if (!run) return false;
        p->run = run;
        p->cap_run = cap;
    }
    p->run[p->n_run++] = (struct sac_run){ lo, hi };
    return true;
}

bool sac_plan_next(struct sac_plan *p)
{
    assert((size_t)p->n_tiles * (size_t)p->tile < (size_t)p->n_rows);
    p->n_tiles++;
    p->at[p->n_tiles] = p->n_run;
    return true;
}

void sac_plan_free(struct sac_plan *p)
{
    free(p->at);
    free(p->run);
    free(p->vertical);
    free(p->slash);
    free(p->blocks);
    memset(p, 0, sizeof *p);
}

bool sac_plan_dense(struct sac_plan *p, int n_rows)
{
    enum { TILE = 64 };
    if (!sac_plan_init(p, TILE, n_rows)) return false;
    for (int r = 0; r < n_rows; r += TILE) {
        int end = r + TILE < n_rows ? r + TILE : n_rows;
        if (!sac_plan_add(p, 0, end) || !sac_plan_next(p)) return false;
    }
    return true;
}

/* ---- folded plans ---- */

static int first_above(const int *list, int n, int key)   /* the first entry that is not below key */
{
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (list[mid] < key) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* Walks a tile: every column before the end of its last run must be read. Runs of nothing but columns are
 * left out where `out` is given, but for the last, which says how far columns go. Returns how many stay,
 * SIZE_MAX: a column is not read. */
static size_t fold_tile(const struct sac_plan *p, int t, struct sac_run *out)
{
    size_t stay = 0;
    int c = 0;
    for (size_t i = p->at[t]; i < p->at[t + 1]; i++) {
        struct sac_run run = p->run[i];
        if (c < p->n_vertical && p->vertical[c] < run.lo) return SIZE_MAX;
        int inside = c;
        while (c < p->n_vertical && p->vertical[c] < run.hi) c++;
        if (c - inside == run.hi - run.lo && i + 1 < p->at[t + 1]) continue;
        if (out) out[stay] = run;
        stay++;
    }
    return stay;
}

static void trim(struct sac_plan *p)
{
    struct sac_run *run = p->n_run && p->n_run < p->cap_run ? realloc(p->run, p->n_run * sizeof *run) : NULL;
    if (!run) return;
    p->run = run;
    p->cap_run = p->n_run;
}

void sac_plan_fold(struct sac_plan *p)
{
    bool fold = !p->folded && p->n_vertical > 0 && p->n_run > 0;
    for (int t = 0; fold && t < p->n_tiles; t++) fold = fold_tile(p, t, NULL) != SIZE_MAX;
    if (fold) {
        size_t n = 0;
        for (int t = 0; t < p->n_tiles; t++) {
            size_t stay = fold_tile(p, t, p->run + n);   /* never past what it reads */
            p->at[t] = n;
            n += stay;
        }
        p->at[p->n_tiles] = n;
        p->n_run = n;
        p->folded = true;
    }
    trim(p);
}

struct sac_tile_runs sac_plan_tile(const struct sac_plan *p, int t, int from)
{
    if (p->at[t] == p->at[t + 1]) return (struct sac_tile_runs){ NULL, NULL, NULL, NULL };
    const struct sac_run *run = p->run + p->at[t], *end = p->run + p->at[t + 1];
    struct sac_tile_runs it = { run, end, NULL, NULL };
    if (p->folded) {
        it.column = p->vertical + first_above(p->vertical, p->n_vertical, from);
        it.column_end = p->vertical + first_above(p->vertical, p->n_vertical, end[-1].hi);
        if (it.column > it.column_end) it.column = it.column_end;
    }
    size_t lo = 0, hi = (size_t)(end - run);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (run[mid].hi <= from) lo = mid + 1;
        else hi = mid;
    }
    it.run += lo;
    return it;
}

bool sac_tile_next(struct sac_tile_runs *it, struct sac_run *out)
{
    bool columns = it->column < it->column_end;
    if (it->run == it->end && !columns) return false;
    if (!columns || (it->run < it->end && it->run->lo <= *it->column)) *out = *it->run++;
    else out->lo = *it->column++, out->hi = out->lo + 1;
    for (;;) {                                            /* what touches it belongs to it */
        while (it->column < it->column_end && *it->column < out->hi) it->column++;
        if (it->column < it->column_end && *it->column == out->hi) out->hi++;
        else if (it->run < it->end && it->run->lo <= out->hi) out->hi = it->run++->hi;
        else return true;
    }
}

void sac_plan_row(const struct sac_plan *p, int row, int window, struct sac_rows *out)
{
    assert(row >= 0 && row < p->n_rows);
    int first = window > 0 && row - window + 1 > 0 ? row - window + 1 : 0;
    struct sac_tile_runs it = sac_plan_tile(p, row / p->tile, first);
    out->n = 0;
    for (struct sac_run run; sac_tile_next(&it, &run) && run.lo <= row;)
        sac_rows_add(out, run.lo > first ? run.lo : first, run.hi < row + 1 ? run.hi : row + 1);
}

/* Causal cells of rows r0 .. r1-1 with keys lo .. hi-1. */
static double causal_cells(int r0, int r1, int lo, int hi)
{
    /* Rows from lo on see a part of the run, row hi - 1 and later all of it. */
    int some = r0 > lo ? r0 : lo, all = hi - 1 > some ? hi - 1 : some;
    if (all > r1) all = r1;
    double cells = all < r1 ? (double)(r1 - all) * (hi - lo) : 0;
    if (all > some) cells += (double)(all - some) * ((double)(some + 1 - lo) + (all - lo)) / 2;
    return cells;
}

struct sac_density sac_plan_density(const struct sac_plan *p)
{
    double n = p->n_rows, total = n * (n + 1) / 2, kernel = 0, work = 0;
    for (int t = 0; t < p->n_tiles; t++) {
        int r0 = t * p->tile, r1 = r0 + p->tile < p->n_rows ? r0 + p->tile : p->n_rows;
        struct sac_tile_runs it = sac_plan_tile(p, t, 0);
        for (struct sac_run run; sac_tile_next(&it, &run);) {
            kernel += causal_cells(r0, r1, run.lo, run.hi);
            work += (double)p->tile * (run.hi - run.lo);
        }
    }
    const double none = (double)NAN;
    if (total <= 0) return (struct sac_density){ none, none, none, none };
    double pattern = p->pattern_cells >= 0 ? p->pattern_cells : kernel;
    return (struct sac_density){ pattern / total, kernel / total, work / total, none };
}
