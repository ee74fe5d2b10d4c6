/* Map tiles: a window of rows and keys of one head, recomputed exactly and pooled to pixels.
 *
 * A row's log-sum-exp is computed once from its full causal row and remembered, so zooming inside a region
 * costs only the window. A tile of a long prompt is a hundred million pairs: rows are scored in blocks
 * against stretches of keys that stay in the cache, what is kept is walked by runs, and the pixel rows of a
 * large tile are shared among a few threads. `cancel` is looked at between rows. */
#include "trace/trace_int.h"

#include "kernels.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

enum { BLOCK = 48, STRETCH = K_NP * K_PANEL }; /* rows scored together; keys packed at a time */

struct tile_job {
    const struct sac_trace *t;
    const struct layer_rec *r;
    struct sac_tile *tile;
    float *weight, *tmp; /* [n] each */
    float *q, *panel;    /* [BLOCK][head_dim] scaled queries; a stretch of packed keys */
    float *block;        /* [BLOCK][n] scores of rows block_row .. block_row+block_n-1, keys block_lo .. */
    int block_row, block_n, block_head, block_lo;
    struct sac_rows rows;
    float *count;  /* [h][w] causal pairs */
    float *n_rows; /* [h] */
};

/* Pixel i of P over N covers floor(i*N/P) .. floor((i+1)*N/P)-1; an item may cover several when P > N. */
static int pixel_lo(int i, int n, int p) { return (int)((long long)i * n / p); }

/* Scores of the block's rows against keys lo .. hi-1, as products with packed panels of keys. */
static void score_block(struct tile_job *j, int head, int row, int lo, int hi)
{
    const struct sac_shape *s = &j->t->info.shape;
    int n = j->t->info.n_prompt, dim = s->head_dim, kv = head / (s->n_heads / s->n_kv_heads);
    float scale = (float)j->t->scale[j->tile->layer];
    const void *x[BLOCK];
    const float *q = rec_q(j->t, j->r, head, row);
    for (int i = 0; i < j->block_n * dim; i++) j->q[i] = scale * q[i];
    for (int i = 0; i < j->block_n; i++) x[i] = j->q + (size_t)i * (size_t)dim;
    for (int k = lo; k < hi; k += STRETCH) {
        const float *key = rec_k(j->t, j->r, kv, k, false);
        int keys = hi - k < STRETCH ? hi - k : STRETCH, panels = keys / K_PANEL, rest = keys % K_PANEL;
        size_t panel = (size_t)K_PANEL * (size_t)dim;
        for (int p = 0; p < panels; p++)
            k_ops()->f32.pack(key + (size_t)p * panel, (size_t)dim, dim, j->panel + (size_t)p * panel);
        for (int i = 0; i < j->block_n; i += K_MR) {
            int rows = j->block_n - i < K_MR ? j->block_n - i : K_MR;
            if (row + i + rows <= k) continue; /* above the diagonal */
            float *out = j->block + (size_t)i * (size_t)n + (size_t)(k - lo);
            if (panels) k_ops()->f32.tile(j->panel, panel, panels, dim, x + i, rows, out, (size_t)n, false);
            for (int m = 0; rest && m < rows; m++)
                k_ops()->score_f32(j->q + (size_t)(i + m) * (size_t)dim, key + (size_t)panels * panel, dim,
                                   rest, 1, out + (size_t)m * (size_t)n + panels * K_PANEL);
        }
    }
}

/* Scores of the next rows at once. Rows whose log-sum-exp is not known need all their keys, others the
 * window. */
static void fill_block(struct tile_job *j, int head, int row)
{
    const struct sac_tile *tile = j->tile;
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
    score_block(j, head, row, lo, hi);
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

/* Sum of n values, and their maximum; in lanes that do not wait for each other. */
static float sum_of(const float *w, int n, float *max)
{
    enum { LANES = 16 };
    float sum[LANES] = { 0 }, top[LANES] = { 0 }, total = 0, most = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            sum[l] += w[i + l];
            top[l] = w[i + l] > top[l] ? w[i + l] : top[l];
        }
    for (int l = 0; i < n; i++, l++) {
        sum[l] += w[i];
        top[l] = w[i] > top[l] ? w[i] : top[l];
    }
    for (int l = 0; l < LANES; l++) {
        total += sum[l];
        most = top[l] > most ? top[l] : most;
    }
    *max = most;
    return total;
}

/* Weights w of keys lo .. hi-1 into a pixel; returns their sum. */
static float pool_pixel(struct tile_job *j, size_t at, const float *w, int n)
{
    struct sac_tile *tile = j->tile;
    float *v = &tile->value[at], max, sum = sum_of(w, n, &max);
    if (j->count[at] == 0) *v = 0;
    if (tile->pool == SAC_POOL_MAX)
        *v = max > *v ? max : *v;
    else
        *v += sum;
    j->count[at] += (float)n;
    return sum;
}

/* What of keys lo .. hi-1 is read, with the weights of key `base` on and the pixel's sum; *run: the first run
 * that may reach lo, moved on. */
static void pool_kept(struct tile_job *j, size_t at, int lo, int hi, int base, float sum, int *run)
{
    const struct sac_rows *r = &j->rows;
    int kept = 0, next = lo; /* next: where the gap before the next run begins */
    float missed = 0, max;
    while (*run < r->n && r->run[*run].hi <= lo) ++*run;
    for (int i = *run; i < r->n && r->run[i].lo < hi; i++) {
        int a = r->run[i].lo > lo ? r->run[i].lo : lo, b = r->run[i].hi < hi ? r->run[i].hi : hi;
        if (a > next) missed += sum_of(j->weight + (next - base), a - next, &max);
        kept += b - a;
        next = b;
    }
    if (!kept)
        missed = sum;
    else if (next < hi)
        missed += sum_of(j->weight + (next - base), hi - next, &max);
    if (j->tile->kept) j->tile->kept[at] += (float)kept;
    if (j->tile->missed) j->tile->missed[at] += missed;
}

/* One row into pixel row y. */
static void pool_row(struct tile_job *j, int y, int head, int row)
{
    struct sac_tile *tile = j->tile;
    int n = row_weights(j, head, row), keys = tile->k1 - tile->k0, run = 0;
    if (tile->sparse && n > 0) apply_sparse(j, head, row, n);
    bool want = tile->kept || tile->missed;
    if (want) sac_trace_rows(j->t, tile->lane, tile->layer, head, row, &j->rows);
    j->n_rows[y] += 1;
    for (int x = 0; x < tile->w; x++) {
        int lo = pixel_lo(x, keys, tile->w), hi = pixel_lo(x + 1, keys, tile->w);
        if (lo >= n) break;
        if (hi == lo) hi = lo + 1;
        if (hi > n) hi = n;
        if (tile->sinks != SAC_SINKS_SHOW && tile->k0 + lo < 4) lo = 4 - tile->k0;
        if (hi <= lo) continue;
        size_t at = (size_t)y * (size_t)tile->w + (size_t)x;
        float sum = pool_pixel(j, at, j->weight + lo, hi - lo);
        if (want) pool_kept(j, at, tile->k0 + lo, tile->k0 + hi, tile->k0, sum, &run);
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

/* Pixel rows first, first + step ... of a tile; false: cancelled. */
static bool pixel_rows(struct tile_job *j, int first, int step, const atomic_bool *cancel)
{
    struct sac_tile *tile = j->tile;
    const struct sac_shape *s = &j->t->info.shape;
    int group = s->n_heads / s->n_kv_heads, rows = tile->q1 - tile->q0;
    int h0 = tile->head >= 0 ? tile->head : (-1 - tile->head) * group;
    int h1 = tile->head >= 0 ? h0 + 1 : h0 + group;
    for (int y = first; y < tile->h; y += step) {
        int lo = pixel_lo(y, rows, tile->h), hi = pixel_lo(y + 1, rows, tile->h);
        if (hi == lo) hi = lo + 1;
        for (int h = h0; h < h1; h++)
            for (int q = lo; q < hi && q < rows; q++) {
                if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) return false;
                pool_row(j, y, h, tile->q0 + q);
            }
    }
    return true;
}

static bool job_open(struct tile_job *j, int n)
{
    j->block_head = -1;
    j->weight = malloc(((size_t)n + 1) * sizeof(float));
    j->tmp = malloc(((size_t)n + 1) * sizeof(float));
    j->block = malloc((size_t)BLOCK * ((size_t)j->t->info.n_prompt + 1) * sizeof(float));
    size_t dim = (size_t)j->t->info.shape.head_dim;
    j->q = malloc(BLOCK * dim * sizeof(float));
    j->panel = malloc(STRETCH * dim * sizeof(float));
    j->rows.cap = n / 2 + 2;
    j->rows.run = malloc((size_t)j->rows.cap * sizeof *j->rows.run);
    return j->weight && j->tmp && j->block && j->q && j->panel && j->rows.run;
}

static void job_close(struct tile_job *j)
{
    free(j->weight);
    free(j->tmp);
    free(j->block);
    free(j->q);
    free(j->panel);
    free(j->rows.run);
}

enum { MOST_THREADS = 4, PAIRS_A_THREAD = 4 << 20 };

struct part {
    struct tile_job job;
    pthread_t thread;
    int first, step;
    const atomic_bool *cancel;
    bool started, ok;
};

static void *part_main(void *ctx)
{
    struct part *p = ctx;
    p->ok = pixel_rows(&p->job, p->first, p->step, p->cancel);
    return NULL;
}

static int threads_for(const struct sac_tile *tile)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    double pairs = (double)(tile->q1 - tile->q0) * (tile->k1 - tile->k0) / 2;
    int n = (int)(pairs / PAIRS_A_THREAD) + 1;
    if (n > cores) n = (int)cores;
    if (n > tile->h) n = tile->h;
    return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : n;
}

/* The parts write to different pixel rows; a part that could not start is done by the calling thread. */
static enum sac_code run_tile(const struct tile_job *shared, int n, const atomic_bool *cancel,
                              struct sac_err *err)
{
    struct part part[MOST_THREADS];
    int threads = threads_for(shared->tile);
    bool memory = true, ok = true;
    for (int i = 0; i < threads; i++) {
        part[i] = (struct part){ .job = *shared, .first = i, .step = threads, .cancel = cancel };
        memory = job_open(&part[i].job, n) && memory;
    }
    for (int i = 1; memory && i < threads; i++)
        part[i].started = !pthread_create(&part[i].thread, NULL, part_main, &part[i]);
    for (int i = 0; memory && i < threads; i++)
        if (!part[i].started) part_main(&part[i]);
    for (int i = 0; i < threads; i++) {
        if (part[i].started) pthread_join(part[i].thread, NULL);
        ok = ok && part[i].ok;
        job_close(&part[i].job);
    }
    if (!memory) return sac_fail(err, SAC_ENOMEM, "out of memory for a map tile");
    return ok ? SAC_OK : sac_fail(err, SAC_ECANCEL, "tile cancelled");
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
    struct tile_job j = { .t = t, .r = r, .tile = tile };
    j.count = calloc(cells, sizeof(float));
    j.n_rows = calloc((size_t)tile->h, sizeof(float));
    enum sac_code rc = j.count && j.n_rows ? run_tile(&j, n, cancel, err)
                                           : sac_fail(err, SAC_ENOMEM, "out of memory for a map tile");
    const struct sac_shape *s = &t->info.shape;
    if (rc == SAC_OK) finish_tile(&j, tile->head >= 0 ? 1 : s->n_heads / s->n_kv_heads);
    free(j.count);
    free(j.n_rows);
    return rc;
}
