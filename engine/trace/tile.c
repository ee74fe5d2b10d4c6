/* Map tiles: a window of rows and keys of one head, recomputed exactly and pooled to pixels.
 *
 * A row's log-sum-exp is computed once from its full causal row and remembered, so zooming inside a region
 * costs only the window. Everything runs in the calling thread; `cancel` is looked at between rows. */
#include "trace/trace_int.h"

#include "kernels.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Exact dense log-sum-exp of prompt rows, remembered per head; NAN where not known yet. */
static float known_lse(struct layer_rec *r, int n, int head, int row)
{
    pthread_mutex_lock(&r->lock);
    float *cache = r->dense_lse[head];
    if (!cache && (cache = malloc((size_t)n * sizeof *cache))) {
        for (int i = 0; i < n; i++) cache[i] = NAN;
        r->dense_lse[head] = cache;
    }
    float known = cache ? cache[row] : NAN;
    pthread_mutex_unlock(&r->lock);
    return known;
}

static void remember_lse(struct layer_rec *r, int head, int row, float lse)
{
    pthread_mutex_lock(&r->lock);
    if (r->dense_lse[head]) r->dense_lse[head][row] = lse;
    pthread_mutex_unlock(&r->lock);
}

/* Of scores in place: they become exp(s - max). */
static float lse_of(float *score, int n)
{
    float max = k_ops()->max(score, n);
    return max + logf(k_ops()->exp_sum(score, n, max));
}

enum { BLOCK = 8 };   /* rows scored in one pass over the keys */

struct tile_job {
    const struct sac_trace *t;
    const struct layer_rec *r;
    struct sac_tile *tile;
    float *weight, *tmp;          /* [n] each */
    float *block; /* [BLOCK][n] scores of rows block_row .. block_row+block_n-1, keys block_lo .. */
    int block_row, block_n, block_head, block_lo;
    struct sac_rows rows;
    float *count;                 /* [h][w] causal pairs */
    float *n_rows;                /* [h] */
};

/* Pixel i of P over N covers floor(i*N/P) .. floor((i+1)*N/P)-1; an item may cover several when P > N. */
static int pixel_lo(int i, int n, int p) { return (int)((long long)i * n / p); }

/* Scores of the next rows at once. Rows whose log-sum-exp is not known need all their keys, others the
 * window. */
static void fill_block(struct tile_job *j, int head, int row)
{
    const struct sac_tile *tile = j->tile;
    const struct sac_shape *s = &j->t->info.shape;
    struct layer_rec *r = (struct layer_rec *)(uintptr_t)j->r;
    int n = j->t->info.n_prompt, end = tile->q1 < n ? tile->q1 : n, lo = tile->k0, hi = tile->k1;
    j->block_n = end - row < BLOCK ? end - row : BLOCK;
    if (hi > row + j->block_n) hi = row + j->block_n;
    for (int i = 0; i < j->block_n; i++)
        if (isnan(known_lse(r, n, head, row + i))) lo = 0, hi = row + j->block_n;
    if (lo >= hi) lo = hi > 0 ? hi - 1 : 0;
    j->block_row = row;
    j->block_head = head;
    j->block_lo = lo;
    k_ops()->scores(K_F32, rec_q(j->t, j->r, head, row), j->block_n,
                    rec_k(j->t, j->r, head / (s->n_heads / s->n_kv_heads), lo, false), s->head_dim, hi - lo,
                    (float)j->t->scale[tile->layer], j->block, (size_t)n);
    float cap = (float)j->t->softcap[tile->layer];
    for (int i = 0; cap > 0 && i < j->block_n; i++)
        for (int k = 0; k < hi - lo; k++) {
            float *x = &j->block[(size_t)i * (size_t)n + (size_t)k];
            *x = cap * tanhf(*x / cap);
        }
}

/* Scores of keys lo .. hi-1 of a row into out; returns its log-sum-exp over all its keys. */
static float row_scores(struct tile_job *j, int head, int row, int first, int lo, int hi, float *out)
{
    struct layer_rec *r = (struct layer_rec *)(uintptr_t)j->r;
    int n = j->t->info.n_prompt;
    if (row >= n) {
        rec_scores(j->t, j->r, j->tile->layer, head, row, first, row + 1, j->tmp);
        if (hi > lo) memcpy(out, j->tmp + (lo - first), (size_t)(hi - lo) * sizeof *out);
        return lse_of(j->tmp, row + 1 - first);
    }
    if (head != j->block_head || row < j->block_row || row >= j->block_row + j->block_n)
        fill_block(j, head, row);
    float *score = j->block + (size_t)(row - j->block_row) * (size_t)n - j->block_lo;
    if (hi > lo) memcpy(out, score + lo, (size_t)(hi - lo) * sizeof *out);
    float lse = known_lse(r, n, head, row);
    if (isnan(lse)) {
        /* On a copy: the block stays scores, for a row may fill several pixel rows. */
        memcpy(j->tmp, score + first, (size_t)(row + 1 - first) * sizeof *j->tmp);
        lse = lse_of(j->tmp, row + 1 - first);
        remember_lse(r, head, row, lse);
    }
    return lse;
}

/* Weights of keys k0 .. min(k1, row+1)-1 of one row as the tile wants them; returns how many. */
static int row_weights(struct tile_job *j, int head, int row)
{
    const struct sac_tile *tile = j->tile;
    int first = rec_first_key(j->t, tile->layer, row);
    int lo = tile->k0, hi = tile->k1 < row + 1 ? tile->k1 : row + 1;
    if (hi <= lo) return 0;
    float *w = j->weight;
    int from = lo > first ? lo : first;
    if (from > hi) from = hi;
    for (int i = lo; i < from; i++) w[i - lo] = 0;
    float lse = row_scores(j, head, row, first, from, hi, w + (from - lo));
    if (from < hi) k_ops()->exp_sum(w + (from - lo), hi - from, lse);
    if (tile->sinks == SAC_SINKS_RENORM) {
        /* Divide by what is left without the first four keys. */
        float sink[4] = { 0 };
        int ns = row + 1 < 4 ? row + 1 : 4;
        if (first == 0) rec_scores(j->t, j->r, tile->layer, head, row, 0, ns, sink);
        float mass = first == 0 ? k_ops()->exp_sum(sink, ns, lse) : 0;
        float inv = mass < 1.0f - 1e-6f ? 1.0f / (1.0f - mass) : 0;
        for (int i = lo; i < hi; i++) w[i - lo] *= inv;
    }
    return hi - lo;
}

/* In a sparse view, keys that are not read weigh nothing and the rest sums to one again. */
static void apply_sparse(struct tile_job *j, int head, int row, int n)
{
    const struct sac_tile *tile = j->tile;
    float *all = j->tmp;
    sac_trace_rows(j->t, tile->lane, tile->layer, head, row, &j->rows);
    if (!sac_trace_weights(j->t, tile->lane, tile->layer, head, row, all)) return;
    double mass = 0;
    for (int i = 0; i < j->rows.n; i++)
        for (int k = j->rows.run[i].lo; k < j->rows.run[i].hi; k++) mass += (double)all[k];
    float inv = mass > 0 ? (float)(1.0 / mass) : 0;
    int at = 0;
    for (int k = 0; k < n; k++) {
        int key = tile->k0 + k;
        while (at < j->rows.n && j->rows.run[at].hi <= key) at++;
        bool kept = at < j->rows.n && j->rows.run[at].lo <= key;
        j->weight[k] = kept ? j->weight[k] * inv : 0;
    }
}

static void pool_pixel(struct tile_job *j, int y, int x, const float *w, int n)
{
    struct sac_tile *tile = j->tile;
    float *v = &tile->value[(size_t)y * (size_t)tile->w + (size_t)x];
    float max = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        sum += w[i];
        if (w[i] > max) max = w[i];
    }
    float *c = &j->count[(size_t)y * (size_t)tile->w + (size_t)x];
    if (*c == 0) *v = 0;
    if (tile->pool == SAC_POOL_MAX) *v = max > *v ? max : *v;
    else *v += sum;
    *c += (float)n;
}

/* One row into pixel row y. */
static void pool_row(struct tile_job *j, int y, int head, int row)
{
    struct sac_tile *tile = j->tile;
    int n = row_weights(j, head, row), keys = tile->k1 - tile->k0;
    if (tile->sparse && n > 0) apply_sparse(j, head, row, n);
    bool want = tile->kept || tile->missed;
    if (want) sac_trace_rows(j->t, tile->lane, tile->layer, head, row, &j->rows);
    j->n_rows[y] += 1;
    for (int x = 0; x < tile->w; x++) {
        int lo = pixel_lo(x, keys, tile->w), hi = pixel_lo(x + 1, keys, tile->w);
        if (hi == lo) hi = lo + 1;
        if (hi > n) hi = n;
        if (tile->sinks != SAC_SINKS_SHOW && tile->k0 + lo < 4) lo = 4 - tile->k0;
        if (hi <= lo) continue;
        pool_pixel(j, y, x, j->weight + lo, hi - lo);
        if (!want) continue;
        size_t at = (size_t)y * (size_t)tile->w + (size_t)x;
        int kept = 0;
        float missed = 0;
        for (int k = lo; k < hi; k++) {
            if (sac_rows_has(&j->rows, tile->k0 + k)) kept++;
            else missed += j->weight[k];
        }
        if (tile->kept) tile->kept[at] += (float)kept;
        if (tile->missed) tile->missed[at] += missed;
    }
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

static enum sac_code run_tile(struct tile_job *j, const atomic_bool *cancel, struct sac_err *err)
{
    struct sac_tile *tile = j->tile;
    const struct sac_shape *s = &j->t->info.shape;
    int group = s->n_heads / s->n_kv_heads, rows = tile->q1 - tile->q0;
    int h0 = tile->head >= 0 ? tile->head : (-1 - tile->head) * group;
    int h1 = tile->head >= 0 ? h0 + 1 : h0 + group;
    for (int y = 0; y < tile->h; y++) {
        int lo = pixel_lo(y, rows, tile->h), hi = pixel_lo(y + 1, rows, tile->h);
        if (hi == lo) hi = lo + 1;
        for (int h = h0; h < h1; h++)
            for (int q = lo; q < hi && q < rows; q++) {
                if (cancel && atomic_load_explicit(cancel, memory_order_relaxed))
                    return sac_fail(err, SAC_ECANCEL, "tile cancelled");
                pool_row(j, y, h, tile->q0 + q);
            }
    }
    finish_tile(j, h1 - h0);
    return SAC_OK;
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
    struct tile_job j = { .t = t, .r = r, .tile = tile, .block_head = -1 };
    j.weight = malloc(((size_t)n + 1) * sizeof(float));
    j.tmp = malloc(((size_t)n + 1) * sizeof(float));
    j.block = malloc((size_t)BLOCK * ((size_t)t->info.n_prompt + 1) * sizeof(float));
    j.count = calloc(cells, sizeof(float));
    j.n_rows = calloc((size_t)tile->h, sizeof(float));
    j.rows.cap = n / 2 + 2;
    j.rows.run = malloc((size_t)j.rows.cap * sizeof *j.rows.run);
    enum sac_code rc = j.weight && j.tmp && j.block && j.count && j.n_rows && j.rows.run
                           ? run_tile(&j, cancel, err)
                           : sac_fail(err, SAC_ENOMEM, "out of memory for a map tile");
    free(j.weight);
    free(j.tmp);
    free(j.block);
    free(j.count);
    free(j.n_rows);
    free(j.rows.run);
    return rc;
}
