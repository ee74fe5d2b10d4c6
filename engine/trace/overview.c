/* Overviews: every query head of a layer pooled to a grid, largest weight and mean mass of each cell.
 *
 * They stand in for map tiles until those are computed, and are the small maps of many heads at once. Made
 * after the run, from the recorded q and k, with the fastest products the CPU has: prefill pays nothing for
 * them. Weights are those the run computed with: over the keys read, where its prefill was sparse. */
#include "trace/pooled.h"

#include "kernels.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { GRID = 256, MOST_THREADS = 8, UNIT_ROWS = 8 * POOLED_ROWS };

struct overview_job {
    const struct sac_trace *t;
    const struct layer_rec *r;
    const uint16_t *coarse;
    int lane, layer, grid, unit, n_units;    /* grid rows handed out at a time; how many such a head has */
    float *max, *mass;                       /* [n_heads][grid][grid] */
    const atomic_bool *cancel;
    atomic_int next;
    atomic_bool failed;
};

static bool stopped(const struct overview_job *j)
{
    return j->cancel && atomic_load_explicit(j->cancel, memory_order_relaxed);
}

/* Rows a .. b-1 of the strip into the cells of a grid row. */
static void add_rows(const struct overview_job *j, const struct pooled *p, int a, int b, float *max, float *mass)
{
    for (int c = 0; c < j->grid && p->bound[c + 1] < p->row0 + b; c++) {
        mass[c] += k_ops()->dot(p->sum + pooled_at(c) + a, p->scale + a, b - a);
        max[c] = pooled_top(p, c, a, b, max[c]);
    }
}

static int row_at(const struct overview_job *j, int bin)
{
    return (int)((long long)bin * j->t->info.n_prompt / j->grid);
}

static void grid_rows(const struct overview_job *j, struct pooled *p, int head, int bin0, int bin1)
{
    size_t g = (size_t)j->grid, at = (size_t)head * g * g;
    int bin = bin0, end = row_at(j, bin1);
    for (int row = row_at(j, bin0), n; row < end && !stopped(j); row += n) {
        n = pooled_strip(p, head, row, end - row);
        pooled_rows(p, head, row, n);
        for (int r = row; r < row + n;) {
            while (row_at(j, bin + 1) <= r) bin++;
            int stop = row_at(j, bin + 1) < row + n ? row_at(j, bin + 1) : row + n;
            add_rows(j, p, r - row, stop - row, j->max + at + (size_t)bin * g, j->mass + at + (size_t)bin * g);
            r = stop;
        }
    }
    for (int b = bin0; b < bin1; b++)
        for (size_t c = 0; c < g; c++)
            j->mass[at + (size_t)b * g + c] /= (float)(row_at(j, b + 1) - row_at(j, b));
}

static void *take_units(void *ctx)
{
    struct overview_job *j = ctx;
    int n = j->t->info.n_prompt, units = j->t->info.shape.n_heads * j->n_units;
    struct pooled p = { .t = j->t, .r = j->r, .coarse = j->coarse, .lane = j->lane, .layer = j->layer, .k1 = n,
                        .columns = j->grid, .sparse = j->r->plans != NULL, .sums = true, .tops = true };
    if (!pooled_open(&p)) atomic_store(&j->failed, true);
    else
        for (int u; (u = atomic_fetch_add(&j->next, 1)) < units && !stopped(j);) {
            int b0 = (j->n_units - 1 - u % j->n_units) * j->unit, b1 = b0 + j->unit;
            grid_rows(j, &p, u / j->n_units, b0, b1 < j->grid ? b1 : j->grid);
        }
    pooled_close(&p);
    return NULL;
}

static const struct blob *overview_of(const struct sac_trace *t, int lane, int layer, int *grid)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    struct blob *b = r ? atomic_load_explicit(&r->overview, memory_order_acquire) : NULL;
    for (int i = 0; r && !b && r->q && i < lane; i++) {       /* another lane's, with the same rows and plans */
        const struct layer_rec *o = trace_layer(t, i, layer);
        if (!o || o->q != r->q || o->plans != r->plans) continue;
        b = atomic_load_explicit(&o->overview, memory_order_acquire);
        r = b ? o : r;
    }
    if (b) *grid = r->grid;
    return b;
}

bool overview_make(struct sac_trace *t, int lane, int layer, const atomic_bool *cancel)
{
    int grid, n = t->info.n_prompt, heads = t->info.shape.n_heads;
    const struct layer_rec *r = trace_layer_full(t, lane, layer);
    if (!r || overview_of(t, lane, layer, &grid)) return true;
    if (!r->q || !r->k) return false;
    grid = n < GRID ? n : GRID;
    size_t cells = (size_t)heads * (size_t)grid * (size_t)grid;
    float *both = calloc(2 * cells, sizeof *both);
    struct overview_job j = { .t = t, .r = r, .lane = lane, .layer = layer, .grid = grid,
                              .unit = UNIT_ROWS * grid / n, .max = both, .mass = both + cells,
                              .cancel = cancel };
    if (!both) return false;
    uint16_t *coarse = t->strict ? NULL : pooled_coarse(t, r);
    j.coarse = coarse;
    if (j.unit < 1) j.unit = 1;
    if (j.unit > grid) j.unit = grid;
    j.n_units = (grid + j.unit - 1) / j.unit;
    pthread_t thread[MOST_THREADS];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0, want = cores > MOST_THREADS ? MOST_THREADS : (int)cores;
    while (started < want - 1 && !pthread_create(&thread[started], NULL, take_units, &j)) started++;
    take_units(&j);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    free(coarse);
    if (atomic_load(&j.failed) || stopped(&j)) {
        free(both);
        return false;
    }
    struct layer_rec *to = &t->lane[lane]->layer[layer];
    struct blob *b = blob_take(both, 2 * cells * sizeof *both), *none = NULL;
    if (!b) return false;
    to->grid = grid;
    if (!atomic_compare_exchange_strong(&to->overview, &none, b)) blob_drop(b);
    return true;
}

bool sac_trace_overview(const struct sac_trace *t, int lane, int layer, int head, int *grid,
                        const float **max, const float **mass)
{
    const struct blob *b = overview_of(t, lane, layer, grid);
    if (!b) return false;
    size_t cells = (size_t)*grid * (size_t)*grid;
    *max = (const float *)b->data + (size_t)head * cells;
    *mass = *max + (size_t)t->info.shape.n_heads * cells;
    return true;
}
