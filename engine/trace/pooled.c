/* Scores of a strip of rows against stretches of keys, pooled while they are in the nearest cache. */
#include "trace/pooled.h"

#include "kernels.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOG2E 1.44269504f
#define LN2 0.69314718f
#define FAR 30.0f                /* how far above the shift a score may be, in units of log2 */

enum kind { READ, MISSED, MIXED };

static int min_int(int a, int b) { return a < b ? a : b; }
static int max_int(int a, int b) { return a > b ? a : b; }

/* ---- exact log-sum-exp of rows, remembered per head; NAN where not known yet ---- */

static void known_lse(struct layer_rec *r, int n, int head, int row0, int rows, float *out)
{
    pthread_mutex_lock(&r->lock);
    float *cache = r->dense_lse[head];
    if (!cache && (cache = malloc((size_t)n * sizeof *cache))) {
        for (int i = 0; i < n; i++) cache[i] = NAN;
        r->dense_lse[head] = cache;
    }
    for (int i = 0; i < rows; i++) out[i] = cache ? cache[row0 + i] : NAN;
    pthread_mutex_unlock(&r->lock);
}

static void remember_lse(struct layer_rec *r, int head, int row0, int rows, const float *lse)
{
    pthread_mutex_lock(&r->lock);
    if (r->dense_lse[head]) memcpy(r->dense_lse[head] + row0, lse, (size_t)rows * sizeof *lse);
    pthread_mutex_unlock(&r->lock);
}

/* ---- keys for products on whole tiles ---- */

uint16_t *pooled_coarse(const struct sac_trace *t, const struct layer_rec *r)
{
    const struct sac_shape *s = &t->info.shape;
    if (!k_ops()->wide.name || s->head_dim % 32 != 0) return NULL;
    size_t n = (size_t)s->n_kv_heads * (size_t)t->info.n_prompt, dim = (size_t)s->head_dim;
    uint16_t *to = malloc(n * dim * sizeof *to);
    for (size_t i = 0; to && i < n; i++)
        k_ops()->to_bf16((const float *)r->k->data + i * dim, (int)dim, to + i * dim);
    return to;
}

static const uint16_t *coarse_key(const struct pooled *p, int kv, int key)
{
    size_t at = (size_t)kv * (size_t)p->t->info.n_prompt + (size_t)key;
    return p->coarse + at * (size_t)p->t->info.shape.head_dim;
}

/* ---- memory ---- */

bool pooled_open(struct pooled *p)
{
    size_t dim = (size_t)p->t->info.shape.head_dim, keys = (size_t)p->k1 - (size_t)p->k0;
    size_t all = (size_t)rec_rows(p->t, p->r) + 1;
    if ((size_t)p->columns > keys) p->columns = (int)keys;
    p->slots = p->columns + 3;
    size_t cells = (size_t)p->slots * POOLED_ROWS;
    bool lists = p->lost || p->sparse;
    p->bound = malloc(2 * (size_t)p->slots * sizeof *p->bound);
    p->scale = malloc(2 * POOLED_ROWS * sizeof *p->scale);
    p->sum = malloc(2 * cells * sizeof *p->sum);
    p->miss = p->lost ? malloc(2 * cells * sizeof *p->miss) : NULL;
    p->panel = aligned_alloc(64, POOLED_ROWS * dim * sizeof(float));
    p->gather = p->coarse ? aligned_alloc(64, POOLED_STRETCH * dim * sizeof *p->gather) : NULL;
    p->few = malloc(K_PANEL * dim * sizeof(float));
    p->score = aligned_alloc(64, POOLED_STRETCH * POOLED_ROWS * sizeof *p->score);
    p->see = lists ? malloc(all * sizeof *p->see) : NULL;
    p->one.cap = (int)(all / 2 + 2);
    p->one.run = lists ? malloc((size_t)p->one.cap * sizeof *p->one.run) : NULL;
    if (!p->bound || !p->scale || !p->sum || (p->lost && !p->miss) || !p->panel || !p->few || !p->score ||
        (p->coarse && !p->gather) || (lists && (!p->see || !p->one.run)))
        return false;
    p->kept_all = p->bound + p->slots;
    p->shift = p->scale + POOLED_ROWS;
    p->top = p->sum + cells;
    p->kept = p->lost ? p->miss + cells : NULL;
    p->bound[0] = p->sinks == SAC_SINKS_SHOW ? 0 : 4;
    p->bound[1] = max_int(p->bound[0], p->k0);
    for (int c = 0; c < p->columns; c++)
        p->bound[c + 2] = max_int(p->bound[c + 1],
                                  p->k0 + (int)((long long)(c + 1) * (p->k1 - p->k0) / p->columns));
    p->bound[p->columns + 2] = INT_MAX;
    return true;
}

void pooled_close(struct pooled *p)
{
    free(p->bound);
    free(p->scale);
    free(p->sum);
    free(p->miss);
    free(p->panel);
    free(p->gather);
    free(p->few);
    free(p->score);
    free(p->see);
    free(p->one.run);
}

/* Strips do not cross tiles of a plan, whose rows share a list, unless those are small. */
int pooled_strip(const struct pooled *p, int head, int row0, int rows)
{
    int prompt = p->t->info.n_prompt, tile = POOLED_ROWS;
    if (row0 >= prompt) return min_int(rows, POOLED_ROWS);
    if (p->r->plans && (p->lost || p->sparse)) tile = p->r->plans->plan[head].tile;
    if (tile < POOLED_ROWS / 2) tile = POOLED_ROWS;
    int begin = row0 / tile * tile, end = begin + ((row0 - begin) / POOLED_ROWS + 1) * POOLED_ROWS;
    return min_int(min_int(rows, min_int(end, begin + tile) - row0), prompt - row0);
}

/* ---- which keys are read ---- */

static uint64_t first_rows(int n) { return n >= 64 ? ~(uint64_t)0 : n > 0 ? ((uint64_t)1 << n) - 1 : 0; }

static void mark_run(struct pooled *p, struct sac_run run, int lo, int hi, uint64_t rows)
{
    for (int k = max_int(run.lo, lo); k < run.hi && k < hi; k++) p->see[k - lo] |= rows;
}

/* Bits of keys lo .. hi-1, where rows have lists. */
static void mark_rows(struct pooled *p, int head, int lo, int hi)
{
    p->see0 = lo;
    memset(p->see, 0, (size_t)(hi - lo) * sizeof *p->see);
    if (p->row0 >= p->t->info.n_prompt) {
        for (int i = 0; i < p->rows; i++) {
            sac_trace_rows(p->t, p->lane, p->layer, head, p->row0 + i, &p->one);
            for (int j = 0; j < p->one.n && p->one.run[j].lo < hi; j++)
                mark_run(p, p->one.run[j], lo, hi, (uint64_t)1 << i);
        }
        return;
    }
    const struct sac_plan *plan = &p->r->plans->plan[head];
    for (int i = 0, end; i < p->rows; i = end) {
        int tile = (p->row0 + i) / plan->tile;
        end = min_int((tile + 1) * plan->tile - p->row0, p->rows);
        struct sac_tile_runs it = sac_plan_tile(plan, tile, lo);
        uint64_t rows = first_rows(end) & ~first_rows(i);
        for (struct sac_run run; sac_tile_next(&it, &run) && run.lo < hi;) mark_run(p, run, lo, hi, rows);
    }
}

/* The rows that see a key by its position. */
static uint64_t seen(const struct pooled *p, int key)
{
    int window = p->t->window[p->layer];
    uint64_t rows = first_rows(p->rows) & ~first_rows(key - p->row0);
    return window > 0 ? rows & first_rows(key + window - p->row0) : rows;
}

/* ---- scores ---- */

static void pack_queries(struct pooled *p, int head)
{
    int dim = p->t->info.shape.head_dim;
    size_t part = K_PANEL * (size_t)dim;
    float scale = (float)p->t->scale[p->layer] * (p->t->softcap[p->layer] > 0 ? 1.0f : LOG2E);
    for (int r0 = 0; r0 < p->lanes; r0 += K_PANEL) {
        memset(p->few, 0, part * sizeof *p->few);
        for (int r = r0; r < min_int(r0 + K_PANEL, p->rows); r++) {
            const float *q = rec_q(p->t, p->r, head, p->row0 + r);
            for (int d = 0; d < dim; d++) p->few[(r - r0) * dim + d] = scale * q[d];
        }
        size_t to = (size_t)(r0 / K_PANEL) * part;
        if (p->coarse) k_ops()->wide.pack(p->few, (size_t)dim, dim, (uint16_t *)p->panel + to);
        else k_ops()->f32.pack(p->few, (size_t)dim, dim, (float *)p->panel + to);
    }
}

/* Scores of n keys, ascending, in units of log2. */
static void score_keys(struct pooled *p, int kv, const int *key, int n)
{
    int dim = p->t->info.shape.head_dim;
    float cap = (float)p->t->softcap[p->layer];
    size_t row = (size_t)dim;
    if (p->coarse) {
        const uint16_t *x = coarse_key(p, kv, key[0]);
        if (key[n - 1] - key[0] != n - 1) {
            for (int i = 0; i < n; i++)
                memcpy(p->gather + (size_t)i * row, coarse_key(p, kv, key[i]), row * sizeof *x);
            x = p->gather;
        }
        k_ops()->wide.matmul(p->panel, K_PANEL * row, p->lanes, dim, x, row, n, p->score, POOLED_ROWS, false);
    } else {
        const void *x[POOLED_STRETCH];
        const float *prompt = rec_k(p->t, p->r, kv, 0, false);
        for (int i = 0; i < n; i++)
            x[i] = key[i] < p->t->info.n_prompt ? prompt + (size_t)key[i] * row
                                                : rec_k(p->t, p->r, kv, key[i], false);
        for (int i = 0; i < n; i += K_MR)
            k_ops()->f32.tile(p->panel, K_PANEL * row, p->lanes / K_PANEL, dim, x + i,
                              min_int(K_MR, n - i), p->score + (size_t)i * POOLED_ROWS, POOLED_ROWS, false);
    }
    if (cap > 0)
        for (int i = 0; i < n; i++) {
            float *x = p->score + (size_t)i * POOLED_ROWS;
            k_ops()->softcap(x, p->lanes, cap);
            for (int r = 0; r < p->lanes; r++) x[r] *= LOG2E;
        }
}

/* ---- pooling ---- */

/* A shift far below what comes loses nothing as long as sums stay in range; moving it (true) is rare. */
static bool raise_shift(struct pooled *p, const float *top)
{
    int above = 0;
    for (int r = 0; r < p->rows; r++) above |= top[r] > p->shift[r] + FAR;
    if (!above) return false;
    for (int r = 0; r < p->rows; r++) {
        if (top[r] <= p->shift[r] + FAR) continue;
        float f = exp2f(p->shift[r] - top[r]);
        for (int s = 0; s < p->used; s++) {
            size_t at = (size_t)s * POOLED_ROWS + (size_t)r;
            p->sum[at] *= f;
            if (p->miss) p->miss[at] *= f;
        }
        p->shift[r] = top[r];
    }
    return true;
}

/* Keys that some rows read and others miss: twice over all rows, where those of the other kind have a shift that
 * nothing reaches. */
static void pool_mixed(struct pooled *p, float *sum, float *miss, const float *x, int n, const uint64_t *in,
                       const uint64_t *kept)
{
    float shift[2][POOLED_ROWS];
    for (int i = 0, e; i < n; i = e) {
        for (e = i + 1; e < n && kept[e] == kept[i] && in[e] == in[i]; e++) {}
        for (int r = 0; r < p->lanes; r++) {
            bool on = kept[i] >> r & 1;
            shift[0][r] = on ? p->shift[r] : INFINITY;
            shift[1][r] = on ? INFINITY : p->shift[r];
        }
        const float *at = x + (size_t)i * POOLED_ROWS;
        k_ops()->cols_exp2(at, POOLED_ROWS, e - i, p->lanes, shift[0], sum);
        k_ops()->cols_exp2(at, POOLED_ROWS, e - i, p->lanes, shift[1], miss);
    }
}

/* Counts keys that rows read. */
static void count_kept(struct pooled *p, int slot, const uint64_t *kept, int n)
{
    uint64_t all = first_rows(p->rows);
    for (int i = 0, e; i < n; i = e) {
        for (e = i + 1; e < n && kept[e] == kept[i]; e++) {}
        if (kept[i] == all) {
            p->kept_all[slot] += e - i;
            continue;
        }
        for (uint64_t on = kept[i]; on; on &= on - 1)
            p->kept[(size_t)slot * POOLED_ROWS + (size_t)__builtin_ctzll(on)] += (float)(e - i);
    }
}

/* Keys of one kind in one slot. */
static void pool_keys(struct pooled *p, int slot, enum kind kind, const float *x, int n, const uint64_t *in,
                      const uint64_t *kept)
{
    size_t at = (size_t)slot * POOLED_ROWS;
    if (!p->fixed) {
        float top[POOLED_ROWS];
        for (int r = 0; r < p->lanes; r++) top[r] = -INFINITY;
        k_ops()->cols_max(x, POOLED_ROWS, n, p->lanes, top);
        raise_shift(p, top);
        if (p->tops) k_ops()->cols_max(top, POOLED_ROWS, 1, p->lanes, p->top + at);
    } else if (p->tops) {
        k_ops()->cols_max(x, POOLED_ROWS, n, p->lanes, p->top + at);
    }
    float *sum = p->sum + at, *miss = p->lost && p->listed ? p->miss + at : sum;
    if (kind == MIXED) pool_mixed(p, sum, miss, x, n, in, kept);
    else if (kind == MISSED) k_ops()->cols_exp2(x, POOLED_ROWS, n, p->lanes, p->shift, miss);
    else if (!p->known || p->sums || slot == 0)
        k_ops()->cols_exp2(x, POOLED_ROWS, n, p->lanes, p->shift, sum);
    if (p->lost && p->listed && kind != MISSED) count_kept(p, slot, kept, n);
}

/* The first slot that ends after the key. */
static int slot_of(const struct pooled *p, int key)
{
    int lo = 0, hi = p->slots - 1;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (p->bound[mid] > key) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

static void pool_stretch(struct pooled *p, int head, const int *key, int n)
{
    const struct sac_shape *s = &p->t->info.shape;
    uint64_t in[POOLED_STRETCH], kept[POOLED_STRETCH], all = first_rows(p->rows);
    enum kind kind[POOLED_STRETCH];
    int slot = slot_of(p, key[0]);
    score_keys(p, head / (s->n_heads / s->n_kv_heads), key, n);
    bool past = key[n - 1] <= p->row0 && p->t->window[p->layer] <= 0;   /* seen by every row */
    for (int i = 0, e; past && !p->listed && i < n; i = e) {
        while (p->bound[slot] <= key[i]) slot++;
        e = min_int(n, p->bound[slot] - key[0]);             /* without lists no key is left out */
        pool_keys(p, slot, READ, p->score + (size_t)i * POOLED_ROWS, e - i, NULL, NULL);
    }
    if (past && !p->listed) return;
    for (int i = 0; i < n; i++) {
        in[i] = past ? all : seen(p, key[i]);
        kept[i] = p->listed ? in[i] & p->see[key[i] - p->see0] : in[i];
        if (p->sparse) in[i] = kept[i];
        kind[i] = !p->lost || kept[i] == in[i] ? READ : kept[i] ? MIXED : MISSED;
        if (in[i] == all) continue;
        float *x = p->score + (size_t)i * POOLED_ROWS;
        for (int r = 0; r < p->rows; r++) x[r] = in[i] >> r & 1 ? x[r] : -INFINITY;
    }
    for (int i = 0, e; i < n; i = e) {
        while (p->bound[slot] <= key[i]) slot++;
        for (e = i + 1; e < n && key[e] < p->bound[slot] && kind[e] == kind[i]; e++) {}
        pool_keys(p, slot, kind[i], p->score + (size_t)i * POOLED_ROWS, e - i, in + i, kept + i);
    }
}

/* ---- keys that lie together ---- */

/* Keys of one slot. A score far above the shift says that sums are worth nothing: once more, with another. */
static void pool_slot(struct pooled *p, int slot, const float *key, int n, const uint64_t *lost,
                      const uint64_t *in)
{
    size_t at = (size_t)slot * POOLED_ROWS;
    bool sums = !p->known || p->sums || slot == 0, missed = p->lost && p->listed;
    int dim = p->t->info.shape.head_dim;
    struct k_pool to = { .panel = p->panel, .pstride = K_PANEL * (size_t)dim, .panels = p->lanes / K_PANEL,
                         .dim = dim, .shift = p->shift, .top = p->tops ? p->top + at : NULL,
                         .sum = sums ? p->sum + at : NULL, .miss = missed ? p->miss + at : NULL };
    if (p->fixed) {
        k_ops()->pool(&to, key, n, lost, in);
        return;
    }
    float top[POOLED_ROWS], sum[POOLED_ROWS], miss[POOLED_ROWS];
    to.top = top;
    to.sum = sum;
    if (missed) to.miss = miss;
    for (bool again = true; again;) {
        for (int r = 0; r < p->lanes; r++) top[r] = -INFINITY, sum[r] = miss[r] = 0;
        k_ops()->pool(&to, key, n, lost, in);
        again = raise_shift(p, top);
    }
    if (p->tops) k_ops()->cols_max(top, POOLED_ROWS, 1, p->lanes, p->top + at);
    k_ops()->add(p->sum + at, sum, p->lanes);
    if (missed) k_ops()->add(p->miss + at, miss, p->lanes);
}

/* Keys lo .. hi-1 of the prompt, whose scores need not be stored. */
static void pool_together(struct pooled *p, int head, int lo, int hi)
{
    const struct sac_shape *s = &p->t->info.shape;
    size_t dim = (size_t)s->head_dim;
    const float *keys = rec_k(p->t, p->r, head / (s->n_heads / s->n_kv_heads), 0, false);
    uint64_t all = first_rows(p->rows), in[POOLED_STRETCH], kept[POOLED_STRETCH], lost[POOLED_STRETCH];
    int all0 = rec_first_key(p->t, p->layer, p->row0 + p->rows - 1), all1 = p->row0 + 1;   /* all rows see */
    for (int k = lo, slot = slot_of(p, lo), n; k < hi; k += n) {
        while (p->bound[slot] <= k) slot++;
        n = min_int(min_int(hi, p->bound[slot]) - k, POOLED_STRETCH);
        bool edge = k < all0 || k >= all1;
        if (!edge && k + n > all1) n = all1 - k;
        else if (k < all0 && k + n > all0) n = all0 - k;
        for (int i = 0; edge && i < n; i++) in[i] = seen(p, k + i);
        for (int i = 0; p->listed && i < n; i++) {
            kept[i] = p->see[k + i - p->see0] & (edge ? in[i] : all);
            lost[i] = kept[i] == all ? 0 : ~kept[i];
        }
        if (p->listed) count_kept(p, slot, kept, n);
        pool_slot(p, slot, keys + (size_t)k * dim, n, lost, edge ? in : NULL);
    }
}

static void pool_some(struct pooled *p, int head, int lo, int hi)
{
    int key[POOLED_STRETCH], n = 0;
    bool some = p->listed && p->sparse;
    for (int k = lo; k < hi; k++) {
        if (some && !p->see[k - p->see0]) continue;
        key[n++] = k;
        if (n == POOLED_STRETCH) pool_stretch(p, head, key, n), n = 0;
    }
    if (n > 0) pool_stretch(p, head, key, n);
}

static void pool_range(struct pooled *p, int head, int lo, int hi)
{
    int end = min_int(hi, p->t->info.n_prompt);
    bool narrow = (p->k1 - p->k0) / p->columns < K_MR, some = p->listed && p->sparse;
    bool together = k_ops()->pool && !p->coarse && p->t->softcap[p->layer] <= 0 && !some && !narrow;
    if (!together || end < lo) end = lo;
    pool_together(p, head, lo, end);
    pool_some(p, head, end, hi);
}

/* ---- a strip ---- */

/* Shifts of the rows: their log-sum-exp, the run's where that is near enough, else none yet. */
static void first_shift(struct pooled *p, int head)
{
    int prompt = p->t->info.n_prompt;
    float lse[POOLED_ROWS];
    p->known = p->fixed = false;
    for (int i = 0; i < p->lanes; i++) p->shift[i] = i < p->rows ? K_M0 : 0.0f;
    if (p->row0 >= prompt) return;
    p->known = !p->sparse && !p->coarse;
    if (p->known) known_lse((struct layer_rec *)(uintptr_t)p->r, prompt, head, p->row0, p->rows, lse);
    for (int i = 0; p->known && i < p->rows; i++) p->known = !isnan(lse[i]);
    p->fixed = p->known;
    if (!p->known && p->r->lse && (!p->r->plans || p->sparse)) {
        memcpy(lse, (const float *)p->r->lse->data + (size_t)head * (size_t)prompt + (size_t)p->row0,
               (size_t)p->rows * sizeof *lse);
        p->fixed = true;
        for (int i = 0; i < p->rows; i++) p->fixed = p->fixed && isfinite(lse[i]);
        p->known = p->fixed && p->t->f32_lse && !p->sparse && !p->coarse;
    }
    for (int i = 0; p->fixed && i < p->rows; i++) p->shift[i] = lse[i] * LOG2E;
}

static void clear(struct pooled *p, int hi)
{
    p->used = 1;
    while (p->used < p->slots && p->bound[p->used - 1] < hi) p->used++;
    size_t cells = (size_t)p->used * POOLED_ROWS;
    memset(p->sum, 0, cells * sizeof *p->sum);
    for (size_t i = 0; i < cells; i++) p->top[i] = -INFINITY;
    if (p->miss) memset(p->miss, 0, cells * sizeof *p->miss);
    if (p->kept) memset(p->kept, 0, cells * sizeof *p->kept);
    memset(p->kept_all, 0, (size_t)p->slots * sizeof *p->kept_all);
}

/* What the rows' weights sum to is known now, and the largest become weights. */
static void finish_rows(struct pooled *p, int head)
{
    float lse[POOLED_ROWS];
    double mass[POOLED_ROWS];
    if (p->miss && p->listed) k_ops()->add(p->sum, p->miss, p->used * POOLED_ROWS);
    for (int i = 0; i < POOLED_ROWS; i++) mass[i] = p->known ? 1.0 : 0.0;
    for (int s = 0; !p->known && s < p->used; s++)
        for (int i = 0; i < POOLED_ROWS; i++) mass[i] += (double)p->sum[s * POOLED_ROWS + i];
    for (int i = 0; i < p->rows; i++) {
        lse[i] = p->shift[i] * LN2 + (float)log(mass[i]);
        p->scale[i] = mass[i] > 0 ? (float)(1.0 / mass[i]) : 0.0f;
        if (p->sinks == SAC_SINKS_RENORM) {          /* divide by what is left without the first four keys */
            float left = 1.0f - p->sum[i] * p->scale[i];
            p->scale[i] = left > 1e-6f ? p->scale[i] / left : 0.0f;
        }
    }
    if (p->tops) {
        float top[POOLED_ROWS];
        for (int s = 0; s < p->used; s++) {
            memset(top, 0, sizeof top);
            k_ops()->cols_exp2(p->top + (size_t)s * POOLED_ROWS, POOLED_ROWS, 1, p->lanes, p->shift, top);
            for (int i = 0; i < p->rows; i++) p->top[s * POOLED_ROWS + i] = top[i] * p->scale[i];
        }
    }
    if (!p->known && !p->coarse && !p->sparse && p->row0 < p->t->info.n_prompt)
        remember_lse((struct layer_rec *)(uintptr_t)p->r, head, p->row0, p->rows, lse);
}

void pooled_rows(struct pooled *p, int head, int row0, int rows)
{
    int lo = rec_first_key(p->t, p->layer, row0), hi = row0 + rows;
    p->row0 = row0;
    p->rows = rows;
    p->lanes = (rows + K_PANEL - 1) / K_PANEL * K_PANEL;
    p->listed = (p->lost || p->sparse) && (p->r->plans || row0 >= p->t->info.n_prompt);
    first_shift(p, head);
    clear(p, hi);
    pack_queries(p, head);
    if (p->listed) mark_rows(p, head, lo, hi);
    if (p->known) {                                  /* the window alone, and the sinks where they count */
        int from = max_int(lo, p->k0);
        hi = min_int(hi, p->k1);
        if (p->sinks == SAC_SINKS_RENORM && lo < 4) {
            pool_range(p, head, lo, min_int(hi, 4));
            from = max_int(from, 4);
        }
        lo = from;
    }
    pool_range(p, head, lo, hi);
    finish_rows(p, head);
}
