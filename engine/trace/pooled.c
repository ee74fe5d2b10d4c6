/* Scores of a block of rows against stretches of keys, pooled while they are in the nearest cache. */
#include "trace/pooled.h"

#include "kernels.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SUB = 24 };   /* rows scored at a time: with a stretch of keys, half of the nearest cache */

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

/* ---- memory ---- */

static bool wide(const struct pooled *p)
{
    return p->coarse && k_ops()->wide.name && p->t->info.shape.head_dim % 32 == 0;
}

bool pooled_open(struct pooled *p)
{
    size_t dim = (size_t)p->t->info.shape.head_dim, keys = (size_t)p->k1 - (size_t)p->k0;
    size_t long_row = (size_t)rec_rows(p->t, p->r) + 1, stretch = POOLED_STRETCH + 16;
    if ((size_t)p->columns > keys) p->columns = (int)keys;
    p->slots = p->columns + 3;
    size_t cells = (size_t)POOLED_ROWS * (size_t)p->slots;
    p->bound = malloc((size_t)p->slots * sizeof *p->bound);
    p->scale = malloc(3 * POOLED_ROWS * sizeof *p->scale);
    p->sum = malloc(2 * cells * sizeof *p->sum);
    p->miss = p->lost ? malloc(2 * cells * sizeof *p->miss) : NULL;
    p->q = malloc(POOLED_ROWS * dim * sizeof(float));
    p->panel = aligned_alloc(64, stretch * dim * sizeof(float));
    p->tail = malloc(K_PANEL * dim * sizeof(float));
    if (long_row < SUB * POOLED_STRETCH) long_row = SUB * POOLED_STRETCH;
    p->score = aligned_alloc(64, (long_row * sizeof(float) + 63) / 64 * 64);
    p->skip = malloc(2 * long_row * sizeof *p->skip);
    p->one.cap = (int)(long_row / 2 + 2);
    p->one.run = malloc((size_t)p->one.cap * sizeof *p->one.run);
    if (!p->bound || !p->scale || !p->sum || (p->lost && !p->miss) || !p->q || !p->panel || !p->tail ||
        !p->score || !p->skip || !p->one.run)
        return false;
    p->shift = p->scale + POOLED_ROWS;
    p->mass = p->shift + POOLED_ROWS;
    p->top = p->sum + cells;
    p->kept = p->lost ? p->miss + cells : NULL;
    p->reads = (int *)(void *)(p->skip + long_row);
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
    free(p->q);
    free(p->panel);
    free(p->tail);
    free(p->score);
    free(p->skip);
    free(p->one.run);
}

int pooled_block(const struct pooled *p, int row0, int rows)
{
    int prompt = p->t->info.n_prompt;
    if (row0 >= prompt) return 1;
    return min_int(min_int(rows, POOLED_ROWS), prompt - row0);
}

/* ---- which keys are not read ---- */

static bool lists_tiles(const struct pooled *p, int row) { return p->r->plans && row < p->t->info.n_prompt; }

static bool lists_keys(const struct pooled *p, int row)
{
    return p->r->plans || row >= p->t->info.n_prompt;
}

/* skip and reads of keys s0 .. s1-1 are gathered run by run. */
static void mark_begin(struct pooled *p, int s0, int s1)
{
    for (int i = 0; i < s1 - s0; i++) p->skip[i] = 1.0f;
}

static void mark_run(struct pooled *p, struct sac_run run, int s0, int s1)
{
    for (int k = max_int(run.lo, s0); k < run.hi && k < s1; k++) p->skip[k - s0] = 0.0f;
}

static void mark_end(struct pooled *p, int s0, int s1)
{
    p->reads[0] = 0;
    for (int i = 0; i < s1 - s0; i++) p->reads[i + 1] = p->reads[i] + (p->skip[i] == 0.0f);
}

static void mark_row(struct pooled *p, int head, int row, int s0, int s1)
{
    if (lists_tiles(p, row)) {
        const struct sac_plan *plan = &p->r->plans->plan[head];
        int tile = row / plan->tile;
        if (tile == p->skip_tile && s0 == p->skip_at) return;
        p->skip_tile = tile;
        p->skip_at = s0;
        mark_begin(p, s0, s1);
        struct sac_tile_runs it = sac_plan_tile(plan, tile, s0);
        for (struct sac_run run; sac_tile_next(&it, &run) && run.lo < s1;) mark_run(p, run, s0, s1);
    } else {
        sac_trace_rows(p->t, p->lane, p->layer, head, row, &p->one);
        mark_begin(p, s0, s1);
        for (int i = 0; i < p->one.n && p->one.run[i].lo < s1; i++) mark_run(p, p->one.run[i], s0, s1);
    }
    mark_end(p, s0, s1);
}

/* ---- one row over one stretch ---- */

static int slot_of(const struct pooled *p, int key)   /* the first slot that ends after the key */
{
    int lo = 0, hi = p->slots - 1;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (p->bound[mid] <= key) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

/* Slots that keys s0 .. s1-1 fall into: the first, and where each ends in the stretch. */
struct pieces { int first, n, end[POOLED_STRETCH + 4]; };

static void cut(const struct pooled *p, int s0, int s1, struct pieces *c)
{
    c->first = slot_of(p, s0);
    c->n = 0;
    for (int s = c->first; s < p->slots && c->n < POOLED_STRETCH + 4; s++) {
        c->end[c->n++] = min_int(p->bound[s], s1) - s0;
        if (p->bound[s] >= s1) break;
    }
}

static void rescale(struct pooled *p, int i, int slots, float max)
{
    float f = p->shift[i] > -INFINITY ? expf(p->shift[i] - max) : 0.0f;
    size_t at = (size_t)i * (size_t)p->slots;
    for (int s = 0; s < slots; s++) {
        p->sum[at + (size_t)s] *= f;
        p->top[at + (size_t)s] *= f;
        if (p->miss) p->miss[at + (size_t)s] *= f;
    }
    p->shift[i] = max;
}

/* Scores x of keys s0 .. s1-1 of row i of the block into its slots. `fixed`: the shift is given. */
static void pool_row(struct pooled *p, int head, int i, float *x, int s0, int s1, const struct pieces *c,
                     bool fixed)
{
    int row = p->row0 + i, first = rec_first_key(p->t, p->layer, row), keys = s1 - s0;
    int from = min_int(max_int(first - s0, 0), keys), to = min_int(row + 1 - s0, keys);
    bool listed = (p->lost || p->sparse) && lists_keys(p, row);
    size_t at = (size_t)i * (size_t)p->slots + (size_t)c->first;
    for (int k = 0; k < from; k++) x[k] = -INFINITY;
    for (int k = to; k < keys; k++) x[k] = -INFINITY;
    if (listed) mark_row(p, head, row, s0, s1);
    if (listed && p->sparse)
        for (int k = from; k < to; k++) x[k] = p->skip[k] != 0.0f ? -INFINITY : x[k];
    if (listed && p->kept)
        for (int s = 0, a = 0; s < c->n; a = c->end[s++]) {
            int lo = max_int(a, from), hi = min_int(c->end[s], to);
            if (hi > lo) p->kept[at + (size_t)s] += (float)(p->reads[hi] - p->reads[lo]);
        }
    if (!fixed) {
        float max = k_ops()->max(x, keys);
        if (!(max > -INFINITY)) return;
        if (max > p->shift[i]) rescale(p, i, c->first + c->n, max);
    }
    bool skips = listed && p->miss && !p->sparse;
    k_ops()->exp_pool(x, p->shift[i], c->end, c->n, skips ? p->skip : NULL, p->sum + at, p->top + at,
                      skips ? p->miss + at : NULL);
}

/* ---- a block ---- */

static void pack_queries(struct pooled *p, int head)
{
    size_t n = (size_t)p->rows * (size_t)p->t->info.shape.head_dim;
    const float *q = rec_q(p->t, p->r, head, p->row0);
    float scale = (float)p->t->scale[p->layer], *out = p->q;
    if (wide(p)) {
        /* Through the scores' memory: queries are scaled before they are rounded. */
        for (size_t i = 0; i < n; i += SUB * POOLED_STRETCH) {
            size_t m = n - i < SUB * POOLED_STRETCH ? n - i : SUB * POOLED_STRETCH;
            for (size_t k = 0; k < m; k++) p->score[k] = scale * q[i + k];
            k_ops()->to_bf16(p->score, (int)m, (uint16_t *)p->q + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) out[i] = scale * q[i];
}

/* Keys s0 .. s1-1 of a KV head in panels; a last panel that is not full is padded with zeros. */
static void pack_keys(struct pooled *p, int kv, int s0, int s1)
{
    size_t dim = (size_t)p->t->info.shape.head_dim, panel = K_PANEL * dim;
    bool bf16 = wide(p);
    for (int k = s0, i = 0; k < s1; k += K_PANEL, i++) {
        const float *from = rec_k(p->t, p->r, kv, k, false);
        if (s1 - k < K_PANEL) {
            memcpy(p->tail, from, (size_t)(s1 - k) * dim * sizeof(float));
            memset((float *)p->tail + (size_t)(s1 - k) * dim, 0,
                   (size_t)(K_PANEL - (s1 - k)) * dim * sizeof(float));
            from = p->tail;
        }
        if (bf16) k_ops()->wide.pack(from, dim, (int)dim, (uint16_t *)p->panel + (size_t)i * panel);
        else k_ops()->f32.pack(from, dim, (int)dim, (float *)p->panel + (size_t)i * panel);
    }
}

/* Scores of rows i .. i+n-1 of the block against the packed stretch. */
static void score_rows(struct pooled *p, int i, int n, int keys)
{
    int dim = p->t->info.shape.head_dim, panels = (keys + K_PANEL - 1) / K_PANEL;
    size_t d = (size_t)dim, panel = K_PANEL * d;
    if (wide(p)) {
        k_ops()->wide.matmul(p->panel, panel, panels * K_PANEL, dim, (uint16_t *)p->q + (size_t)i * d, d, n,
                             p->score, POOLED_STRETCH, false);
        return;
    }
    for (int m = 0; m < n; m += K_MR) {
        const void *x[K_MR];
        int rows = min_int(K_MR, n - m);
        for (int r = 0; r < rows; r++) x[r] = (const float *)p->q + (size_t)(i + m + r) * d;
        k_ops()->f32.tile(p->panel, panel, panels, dim, x, rows, p->score + (size_t)m * POOLED_STRETCH,
                          POOLED_STRETCH, false);
    }
}

static void pool_stretch(struct pooled *p, int head, int s0, int s1, bool fixed)
{
    const struct sac_shape *s = &p->t->info.shape;
    float cap = (float)p->t->softcap[p->layer];
    struct pieces c;
    cut(p, s0, s1, &c);
    pack_keys(p, head / (s->n_heads / s->n_kv_heads), s0, s1);
    for (int i = max_int(s0 - p->row0, 0); i < p->rows; i += SUB) {
        int n = min_int(SUB, p->rows - i);
        score_rows(p, i, n, s1 - s0);
        for (int r = 0; r < n; r++) {
            float *x = p->score + (size_t)r * POOLED_STRETCH;
            if (cap > 0) k_ops()->softcap(x, s1 - s0, cap);
            pool_row(p, head, i + r, x, s0, s1, &c, fixed);
        }
    }
}

/* A generated row: its keys do not lie in one piece, and there are few such rows. */
static void pool_generated(struct pooled *p, int head)
{
    struct pieces c;
    int row = p->row0, first = rec_first_key(p->t, p->layer, row);
    rec_scores(p->t, p->r, p->layer, head, row, first, row + 1, p->score);
    p->shift[0] = k_ops()->max(p->score, row + 1 - first);
    if (p->sparse || p->lost) mark_row(p, head, row, first, row + 1);
    float *skip = p->skip;
    int *reads = p->reads;
    for (int s0 = first, s1; s0 <= row; s0 = s1) {
        s1 = min_int(row + 1, s0 + POOLED_STRETCH);
        cut(p, s0, s1, &c);
        p->skip = skip + (s0 - first);
        p->reads = reads + (s0 - first);
        size_t at = (size_t)c.first;
        if (p->sparse) {
            for (int k = s0; k < s1; k++)
                if (p->skip[k - s0] != 0.0f) p->score[k - first] = -INFINITY;
        }
        for (int s = 0, a = 0; p->kept && s < c.n; a = c.end[s++])
            p->kept[at + (size_t)s] += (float)(p->reads[c.end[s]] - p->reads[a]);
        bool skips = p->miss && !p->sparse;
        k_ops()->exp_pool(p->score + (s0 - first), p->shift[0], c.end, c.n, skips ? p->skip : NULL, p->sum + at,
                          p->top + at, skips ? p->miss + at : NULL);
    }
    p->skip = skip;
    p->reads = reads;
}

/* What the rows' weights sum to is known now. */
static void finish_rows(struct pooled *p, int head, bool known)
{
    float lse[POOLED_ROWS];
    for (int i = 0; i < p->rows; i++) {
        const float *sum = p->sum + (size_t)i * (size_t)p->slots;
        double mass = known ? 1.0 : 0.0;
        for (int s = 0; !known && s < p->slots; s++) mass += (double)sum[s];
        lse[i] = p->shift[i] + (float)log(mass);
        p->scale[i] = mass > 0 ? (float)(1.0 / mass) : 0.0f;
        if (p->sinks == SAC_SINKS_RENORM) {          /* divide by what is left without the first four keys */
            float left = 1.0f - sum[0] * p->scale[i];
            p->scale[i] = left > 1e-6f ? p->scale[i] / left : 0.0f;
        }
    }
    bool exact = !wide(p) && !p->sparse && p->row0 < p->t->info.n_prompt;
    if (exact && !known)
        remember_lse((struct layer_rec *)(uintptr_t)p->r, head, p->row0, p->rows, lse);
}

void pooled_rows(struct pooled *p, int head, int row0, int rows)
{
    struct layer_rec *r = (struct layer_rec *)(uintptr_t)p->r;
    int prompt = p->t->info.n_prompt, first = rec_first_key(p->t, p->layer, row0);
    size_t cells = (size_t)rows * (size_t)p->slots;
    p->row0 = row0;
    p->rows = rows;
    p->skip_tile = p->skip_at = -1;
    memset(p->sum, 0, cells * sizeof *p->sum);
    memset(p->top, 0, cells * sizeof *p->top);
    if (p->miss) memset(p->miss, 0, cells * sizeof *p->miss);
    if (p->kept) memset(p->kept, 0, cells * sizeof *p->kept);
    if (row0 >= prompt) {
        pool_generated(p, head);
        finish_rows(p, head, false);
        return;
    }
    bool known = !p->sparse && !p->coarse, fixed = false;
    if (known) known_lse(r, prompt, head, row0, rows, p->shift);
    for (int i = 0; known && i < rows; i++) known = !isnan(p->shift[i]);
    if (known) fixed = true;
    else if (r->lse && (!r->plans || p->sparse)) {   /* the run's own: near enough to shift by */
        memcpy(p->shift, (const float *)r->lse->data + (size_t)head * (size_t)prompt + (size_t)row0,
               (size_t)rows * sizeof(float));
        fixed = true;
        for (int i = 0; i < rows; i++) fixed = fixed && isfinite(p->shift[i]);
    }
    for (int i = 0; !fixed && i < rows; i++) p->shift[i] = -INFINITY;
    int lo = first, hi = row0 + rows;
    pack_queries(p, head);
    if (known) {                                     /* the window alone, and the sinks where they count */
        lo = max_int(first, p->k0);
        hi = min_int(hi, p->k1);
        if (p->sinks == SAC_SINKS_RENORM && lo > 4 && first < 4) pool_stretch(p, head, first, 4, true);
        else if (p->sinks == SAC_SINKS_RENORM) lo = first;
    }
    for (int s0 = lo, s1; s0 < hi; s0 = s1) {
        s1 = min_int(hi, s0 + POOLED_STRETCH);
        pool_stretch(p, head, s0, s1, fixed);
    }
    finish_rows(p, head, known);
}
