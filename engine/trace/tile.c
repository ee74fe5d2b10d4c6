/* Map tiles: a window of rows and keys of one head, recomputed exactly and pooled to pixels.
 *
 * Rows are pooled over keys in blocks (pooled.c), then into the pixel rows that they belong to. A row's
 * log-sum-exp is computed once from its full causal row and remembered, so zooming inside a region costs only
 * the window. A tile of a long prompt is a hundred million pairs: pixel rows are shared among a few threads,
 * the long ones first. `cancel` is looked at between blocks. */
#include "trace/pooled.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_THREADS = 8, PAIRS_A_THREAD = 1 << 20 };

/* What the threads of a tile share. */
struct tile_job {
    const struct sac_trace *t;
    const struct layer_rec *r;
    struct sac_tile *tile;
    const atomic_bool *cancel;
    float *count;               /* [h][w] causal pairs */
    float *n_rows;              /* [h] */
    int unit, n_units;          /* pixel rows handed out at a time; how many such */
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

/* A row of the block at hand into pixel row y. */
static void add_row(struct tile_job *j, const struct pooled *p, int y, int row)
{
    struct sac_tile *tile = j->tile;
    int keys = tile->k1 - tile->k0, first = rec_first_key(j->t, tile->layer, row), i = row - p->row0;
    const float *sum = pooled_at(p, p->sum, row), *top = pooled_at(p, p->top, row);
    const float *kept = p->kept && (j->r->plans || row >= j->t->info.n_prompt) ? pooled_at(p, p->kept, row) : NULL;
    const float *miss = kept ? pooled_at(p, p->miss, row) : NULL;
    int least = tile->sinks == SAC_SINKS_SHOW ? 0 : 4;
    j->n_rows[y] += 1;
    for (int x = 0; x < tile->w; x++) {
        int lo = tile->k0 + pixel_lo(x, keys, tile->w), hi = tile->k0 + pixel_hi(x, keys, tile->w);
        int column = keys < tile->w ? lo - tile->k0 : x;
        if (lo > row) break;
        if (lo < least) lo = least;
        if (hi > row + 1) hi = row + 1;
        if (hi <= lo) continue;
        size_t at = (size_t)y * (size_t)tile->w + (size_t)x;
        float *v = &tile->value[at];
        if (tile->pool == SAC_POOL_MAX) *v = fmaxf(*v, top[column] * p->scale[i]);
        else *v += sum[column] * p->scale[i];
        j->count[at] += (float)(hi - lo);
        if (tile->kept) tile->kept[at] += kept ? kept[column] : (float)(hi - (lo > first ? lo : first));
        if (tile->missed && miss) tile->missed[at] += miss[column] * p->scale[i];
    }
}

static bool stopped(struct tile_job *j)
{
    if (!j->cancel || !atomic_load_explicit(j->cancel, memory_order_relaxed)) return false;
    atomic_store(&j->cancelled, true);
    return true;
}

/* Pixel rows y0 .. y1-1 of one head. */
static void head_unit(struct tile_job *j, struct pooled *p, int head, int y0, int y1)
{
    struct sac_tile *tile = j->tile;
    int rows = tile->q1 - tile->q0, end = pixel_hi(y1 - 1, rows, tile->h), y = y0;
    if (end > rows) end = rows;
    for (int q = pixel_lo(y0, rows, tile->h), n; q < end && !stopped(j); q += n) {
        n = pooled_block(p, tile->q0 + q, end - q);
        pooled_rows(p, head, tile->q0 + q, n);
        while (y < y1 - 1 && pixel_hi(y, rows, tile->h) <= q) y++;
        for (int z = y; z < y1 && pixel_lo(z, rows, tile->h) < q + n; z++)
            for (int row = q; row < q + n; row++)
                if (row >= pixel_lo(z, rows, tile->h) && row < pixel_hi(z, rows, tile->h))
                    add_row(j, p, z, tile->q0 + row);
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
                        .lost = tile->kept || tile->missed };
    if (!pooled_open(&p)) atomic_store(&j->failed, true);
    else
        for (int u; (u = atomic_fetch_add(&j->next, 1)) < j->n_units && !stopped(j);) {
            int y0 = (j->n_units - 1 - u) * j->unit, y1 = y0 + j->unit < tile->h ? y0 + j->unit : tile->h;
            for (int h = h0; h < h1; h++) head_unit(j, &p, h, y0, y1);
        }
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

/* The threads write to different pixel rows. */
static enum sac_code run_tile(struct tile_job *j, struct sac_err *err)
{
    pthread_t thread[MOST_THREADS];
    int rows = j->tile->q1 - j->tile->q0, h = j->tile->h, n = threads_for(j->tile), started = 0;
    j->unit = POOLED_ROWS * h / (rows > 0 ? rows : 1);      /* pixel rows that make a block */
    if (j->unit * n * 2 > h) j->unit = h / (n * 2);
    if (j->unit < 1) j->unit = 1;
    j->n_units = (h + j->unit - 1) / j->unit;
    while (started < n - 1 && !pthread_create(&thread[started], NULL, take_units, j)) started++;
    take_units(j);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    if (atomic_load(&j->cancelled)) return sac_fail(err, SAC_ECANCEL, "tile cancelled");
    return atomic_load(&j->failed) ? sac_fail(err, SAC_ENOMEM, "out of memory for a map tile") : SAC_OK;
}

static void finish_tile(struct tile_job *j, int heads)
{
    struct sac_tile *tile = j->tile;
    double pairs = 0;
    for (int y = 0; y < tile->h; y++)
        for (int x = 0; x < tile->w; x++) {
            size_t at = (size_t)y * (size_t)tile->w + (size_t)x;
            float c = j->count[at], rows = j->n_rows[y];
            if (c > 0) {
                if (tile->pool == SAC_POOL_MEAN) tile->value[at] /= c;
                if (tile->pool == SAC_POOL_MASS) tile->value[at] /= rows;
                if (tile->kept) tile->kept[at] /= c;
                if (tile->missed) tile->missed[at] /= rows;
                if ((double)c / heads > pairs) pairs = (double)c / heads;
            } else {
                tile->value[at] = NAN;
                if (tile->kept) tile->kept[at] = NAN;
                if (tile->missed) tile->missed[at] = NAN;
            }
        }
    tile->pairs_per_pixel = pairs;
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
    size_t cells = (size_t)tile->w * (size_t)tile->h;
    memset(tile->value, 0, cells * sizeof(float));
    if (tile->kept) memset(tile->kept, 0, cells * sizeof(float));
    if (tile->missed) memset(tile->missed, 0, cells * sizeof(float));
    struct tile_job j = { .t = t, .r = r, .tile = tile, .cancel = cancel };
    j.count = calloc(cells, sizeof(float));
    j.n_rows = calloc((size_t)tile->h, sizeof(float));
    enum sac_code rc = j.count && j.n_rows ? run_tile(&j, err)
                                           : sac_fail(err, SAC_ENOMEM, "out of memory for a map tile");
    const struct sac_shape *s = &t->info.shape;
    if (rc == SAC_OK) finish_tile(&j, tile->head >= 0 ? 1 : s->n_heads / s->n_kv_heads);
    free(j.count);
    free(j.n_rows);
    return rc;
}
