/* Map tiles: a window of rows and keys of one head, recomputed exactly and pooled to pixels.
 *
 * Rows are pooled over keys in strips (pooled.c), then into the pixel rows that they belong to. A row's
 * log-sum-exp is computed once from its full causal row and remembered, so zooming inside a region costs
 * only the window. A tile of a long prompt is a hundred million pairs: rows are shared among a few threads,
 * the long ones first, in units that begin where whole strips do. So a pixel row may belong to two units or
 * more: each has its own part of it, and in the end they are added up in order, whoever made them. `cancel`
 * is looked at between strips. */
#include "trace/pooled.h"

#include "kernels.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 8, PAIRS_A_THREAD = 1 << 20, UNIT_ROWS = 8 * POOLED_ROWS };

/* What the threads of a tile share. */
struct tile_job {
    const struct sac_trace *t;
    const struct layer_rec *r;
    struct sac_tile *tile;
    const atomic_bool *cancel;
    int columns;                /* as in struct pooled; a pixel shows one, several may show the same */
    float *value, *kept, *missed, *count;   /* [h + n_units - 1][columns]; count: causal pairs */
    float *n_rows;              /* [h + n_units - 1]; unit u has pixel row y in row y + u */
    int row0, unit, n_units;    /* unit u: rows row0 + unit * u .., those in the tile; how many units */
    atomic_int next;
    atomic_bool failed, cancelled;
};

/* Pixel i of P over N covers floor(i*N/P) .. floor((i+1)*N/P)-1; an item may cover several when P > N. */
static int pixel_lo(int i, int n, int p) { return (int)((long long)i * n / p); }

static int pixel_hi(int i, int n, int p)
{
    int lo = pixel_lo(i, n, p), hi = pixel_lo(i + 1, n, p);
    return hi > lo ? hi : lo + 1;
}

/* Pairs of rows r0 .. r1-1 with the keys lo .. hi-1 that they see, or that lie in their window. */
static double pairs(const struct tile_job *j, int r0, int r1, int lo, int hi, bool window)
{
    double n = 0;
    if (r0 + 1 >= hi && (!window || rec_first_key(j->t, j->tile->layer, r1 - 1) <= lo))
        return (double)(r1 - r0) * (hi > lo ? hi - lo : 0);
    for (int row = r0; row < r1; row++) {
        int first = window ? rec_first_key(j->t, j->tile->layer, row) : 0;
        int a = lo > first ? lo : first, b = hi < row + 1 ? hi : row + 1;
        if (b > a) n += b - a;
    }
    return n;
}

/* Rows a .. b-1 of the strip at hand into row y of the sums. */
static void add_rows(struct tile_job *j, const struct pooled *p, int y, int a, int b)
{
    struct sac_tile *tile = j->tile;
    int least = tile->sinks == SAC_SINKS_SHOW ? 0 : 4;
    j->n_rows[y] += (float)(b - a);
    for (int c = 0; c < j->columns; c++) {
        int lo = p->bound[c + 1], hi = p->bound[c + 2];
        if (lo < least) lo = least;
        if (lo > p->row0 + b - 1) break;
        size_t cell = (size_t)y * (size_t)j->columns + (size_t)c, at = pooled_at(c) + (size_t)a;
        double seen = pairs(j, p->row0 + a, p->row0 + b, lo, hi, false);
        if (!(seen > 0)) continue;
        j->count[cell] += (float)seen;
        if (tile->pool == SAC_POOL_MAX) j->value[cell] = pooled_top(p, c, a, b, j->value[cell]);
        else j->value[cell] += k_ops()->dot(p->sum + at, p->scale + a, b - a);
        if (!p->lost) continue;
        if (!p->listed) {
            j->kept[cell] += (float)pairs(j, p->row0 + a, p->row0 + b, lo, hi, true);
            continue;
        }
        float kept = (float)p->kept_all[c + 2] * (float)(b - a);
        for (int r = 0; r < b - a; r++) kept += p->kept[at + (size_t)r];
        j->kept[cell] += kept;
        j->missed[cell] += k_ops()->dot(p->miss + at, p->scale + a, b - a);
    }
}

static bool stopped(struct tile_job *j)
{
    if (!j->cancel || !atomic_load_explicit(j->cancel, memory_order_relaxed)) return false;
    atomic_store(&j->cancelled, true);
    return true;
}

/* Rows of a unit, counted from the tile's first. */
static int unit_begin(const struct tile_job *j, int u)
{
    int row = j->row0 + j->unit * u - j->tile->q0;
    return row < 0 ? 0 : row;
}

static int unit_end(const struct tile_job *j, int u)
{
    int row = j->row0 + j->unit * (u + 1) - j->tile->q0, rows = j->tile->q1 - j->tile->q0;
    return row < rows ? row : rows;
}

/* The pixel row that a row, counted from the tile's first, begins to show in. */
static int first_pixel(const struct tile_job *j, int row)
{
    int rows = j->tile->q1 - j->tile->q0, y = (int)((long long)row * j->tile->h / rows);
    while (y > 0 && pixel_hi(y - 1, rows, j->tile->h) > row) y--;
    while (pixel_hi(y, rows, j->tile->h) <= row) y++;
    return y;
}

/* One head's rows of a unit. */
static void head_unit(struct tile_job *j, struct pooled *p, int head, int u)
{
    struct sac_tile *tile = j->tile;
    int rows = tile->q1 - tile->q0, begin = unit_begin(j, u), end = unit_end(j, u), y = first_pixel(j, begin);
    for (int q = begin, n; q < end && !stopped(j); q += n) {
        n = pooled_strip(p, head, tile->q0 + q, end - q);
        pooled_rows(p, head, tile->q0 + q, n);
        while (pixel_hi(y, rows, tile->h) <= q) y++;
        for (int z = y; z < tile->h && pixel_lo(z, rows, tile->h) < q + n; z++) {
            int a = pixel_lo(z, rows, tile->h) - q, b = pixel_hi(z, rows, tile->h) - q;
            if (a < 0) a = 0;
            if (b > n) b = n;
            if (b > a) add_rows(j, p, z + u, a, b);
        }
    }
}

static void *take_units(void *ctx)
{
    struct tile_job *j = ctx;
    struct sac_tile *tile = j->tile;
    const struct sac_shape *s = &j->t->info.shape;
    int group = s->n_heads / s->n_kv_heads;
    int h0 = tile->head >= 0 ? tile->head : (-1 - tile->head) * group;
    int h1 = tile->head >= 0 ? h0 + 1 : h0 + group;
    struct pooled p = { .t = j->t, .r = j->r, .lane = tile->lane, .layer = tile->layer, .k0 = tile->k0,
                        .k1 = tile->k1, .columns = tile->w, .sinks = tile->sinks, .sparse = tile->sparse,
                        .lost = tile->kept || tile->missed,
                        .sums = tile->pool != SAC_POOL_MAX, .tops = tile->pool == SAC_POOL_MAX };
    if (!pooled_open(&p)) atomic_store(&j->failed, true);
    else
        for (int u; (u = atomic_fetch_add(&j->next, 1)) < j->n_units && !stopped(j);)
            for (int h = h0; h < h1; h++) head_unit(j, &p, h, j->n_units - 1 - u);
    pooled_close(&p);
    return NULL;
}

static int threads_for(const struct sac_tile *tile)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    double pairs = (double)(tile->q1 - tile->q0) * (tile->k1 - tile->k0) / 2;
    int n = (int)(pairs / PAIRS_A_THREAD) + 1;
    if (n > cores) n = (int)cores;
    return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : n;
}

static void share_rows(struct tile_job *j)
{
    struct sac_tile *tile = j->tile;
    int least = 4 * threads_for(tile);
    for (j->unit = UNIT_ROWS;; j->unit /= 2) {
        j->row0 = tile->q0 / j->unit * j->unit;
        j->n_units = (tile->q1 - j->row0 + j->unit - 1) / j->unit;
        if (j->n_units >= least || j->unit <= POOLED_ROWS) return;
    }
}

/* The parts of pixel rows that units made become whole. Row y + u goes to y, which was read before. */
static void join_units(struct tile_job *j)
{
    size_t n = (size_t)j->columns;
    int rows = j->tile->q1 - j->tile->q0, done = -1;
    bool max = j->tile->pool == SAC_POOL_MAX;
    for (int u = 0; u < j->n_units; u++) {
        int y = first_pixel(j, unit_begin(j, u));
        for (; y < j->tile->h && pixel_lo(y, rows, j->tile->h) < unit_end(j, u); y++) {
            size_t to = (size_t)y * n, from = (size_t)(y + u) * n;
            float keep = y > done ? 0.0f : 1.0f;
            for (size_t c = 0; c < n; c++) {
                float before = keep * j->value[to + c], here = j->value[from + c];
                j->value[to + c] = !max ? before + here : before > here ? before : here;
                j->kept[to + c] = keep * j->kept[to + c] + j->kept[from + c];
                j->missed[to + c] = keep * j->missed[to + c] + j->missed[from + c];
                j->count[to + c] = keep * j->count[to + c] + j->count[from + c];
            }
            j->n_rows[y] = keep * j->n_rows[y] + j->n_rows[y + u];
            done = y;
        }
    }
}

static enum sac_code run_tile(struct tile_job *j, struct sac_err *err)
{
    pthread_t thread[MOST_THREADS];
    int n = threads_for(j->tile), started = 0;
    while (started < n - 1 && !pthread_create(&thread[started], NULL, take_units, j)) started++;
    take_units(j);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    if (atomic_load(&j->cancelled)) return sac_fail(err, SAC_ECANCEL, "tile cancelled");
    return atomic_load(&j->failed) ? sac_fail(err, SAC_ENOMEM, "out of memory for a map tile") : SAC_OK;
}

/* From sums of columns to pixels. */
static void finish_tile(struct tile_job *j, int heads)
{
    struct sac_tile *tile = j->tile;
    int keys = tile->k1 - tile->k0;
    double most = 0;
    for (int y = 0; y < tile->h; y++)
        for (int x = 0; x < tile->w; x++) {
            int column = keys < tile->w ? pixel_lo(x, keys, tile->w) : x;
            size_t at = (size_t)y * (size_t)tile->w + (size_t)x;
            size_t from = (size_t)y * (size_t)j->columns + (size_t)column;
            float c = j->count[from], rows = j->n_rows[y];
            float by = tile->pool == SAC_POOL_MEAN ? c : tile->pool == SAC_POOL_MASS ? rows : 1.0f;
            bool any = c > 0;
            tile->value[at] = any ? j->value[from] / by : NAN;
            if (tile->kept) tile->kept[at] = any ? j->kept[from] / c : NAN;
            if (tile->missed) tile->missed[at] = any ? j->missed[from] / rows : NAN;
            if ((double)c / heads > most) most = (double)c / heads;
        }
    tile->pairs_per_pixel = most;
}

enum sac_code sac_trace_tile(const struct sac_trace *t, struct sac_tile *tile, const atomic_bool *cancel,
                             struct sac_err *err)
{
    const struct layer_rec *r = trace_layer_full(t, tile->lane, tile->layer);
    if (!r || !r->q) return sac_fail(err, SAC_EARG, "layer %d of this lane is not recorded yet", tile->layer);
    int n = rec_rows(t, r);
    if (tile->q1 > n) tile->q1 = n;
    if (tile->k1 > n) tile->k1 = n;
    if (tile->q0 < 0 || tile->k0 < 0 || tile->q1 <= tile->q0 || tile->k1 <= tile->k0 || tile->w < 1 ||
        tile->h < 1)
        return sac_fail(err, SAC_EARG, "an empty tile: rows %d..%d, keys %d..%d", tile->q0, tile->q1,
                        tile->k0, tile->k1);
    const struct sac_shape *s = &t->info.shape;
    struct tile_job j = { .t = t, .r = r, .tile = tile, .cancel = cancel };
    j.columns = tile->k1 - tile->k0 < tile->w ? tile->k1 - tile->k0 : tile->w;
    share_rows(&j);
    size_t parts = (size_t)tile->h + (size_t)j.n_units - 1, cells = (size_t)j.columns * parts;
    j.value = calloc(4 * cells + parts, sizeof(float));
    if (!j.value) return sac_fail(err, SAC_ENOMEM, "out of memory for a map tile");
    j.kept = j.value + cells;
    j.missed = j.kept + cells;
    j.count = j.missed + cells;
    j.n_rows = j.count + cells;
    enum sac_code rc = run_tile(&j, err);
    if (rc == SAC_OK) join_units(&j);
    if (rc == SAC_OK) finish_tile(&j, tile->head >= 0 ? 1 : s->n_heads / s->n_kv_heads);
    free(j.value);
    return rc;
}
