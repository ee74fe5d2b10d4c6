/* Sets of keys as sorted runs, and plans made of them. */
#include <saccade/plan.h>

#include <assert.h>
#include <math.h>
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

void sac_plan_row(const struct sac_plan *p, int row, int window, struct sac_rows *out)
{
    assert(row >= 0 && row < p->n_rows);
    size_t t = (size_t)(row / p->tile);
    int first = window > 0 && row - window + 1 > 0 ? row - window + 1 : 0;
    out->n = 0;
    for (size_t i = p->at[t]; i < p->at[t + 1]; i++) {
        int lo = p->run[i].lo > first ? p->run[i].lo : first;
        int hi = p->run[i].hi < row + 1 ? p->run[i].hi : row + 1;
        sac_rows_add(out, lo, hi);
    }
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
        for (size_t i = p->at[t]; i < p->at[t + 1]; i++) {
            struct sac_run run = p->run[i];
            kernel += causal_cells(r0, r1, run.lo, run.hi);
            work += (double)p->tile * (run.hi - run.lo);
        }
    }
    const double none = (double)NAN;
    if (total <= 0) return (struct sac_density){ none, none, none, none };
    double pattern = p->pattern_cells >= 0 ? p->pattern_cells : kernel;
    return (struct sac_density){ pattern / total, kernel / total, work / total, none };
}
