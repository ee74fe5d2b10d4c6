/* Exact attention probabilities of some rows, in f32: what estimating methods look at.
 *
 * Many rows go through the matrix kernels: keys are packed once, rows are taken in groups whose scores fit
 * the second-level cache. Nothing of size rows x keys is kept: a row's probabilities are handed on as soon as
 * they are known. A few scattered rows skip the packing. */
#include "methods.h"

#include "kernels.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

int in_last_rows(const struct sac_prefill_in *in, int w)
{
    return imin(w, in->n - in->q_row0);
}

/* ---- products with many rows ---- */

size_t panels_width(int n) { return ((size_t)n + K_PANEL - 1) / K_PANEL * K_PANEL; }

/* Rows whose scores of all keys fit the second-level cache; tiles of AMX take 32. */
int panels_rows(const struct panels *p) { return p->split ? PANEL_ROWS : 12; }

static void pack_words(const struct panels *p, const float *from, size_t ld, int panel, int16_t *rows)
{
    size_t pad = (size_t)p->pad, first = (size_t)panel * K_PANEL;
    for (size_t r = 0; r < K_PANEL; r++)
        p->scale[first + r] = k_ops()->words.row(from + r * ld, p->pad, rows + r * pad);
    k_ops()->words.pack(rows, p->pad, (int16_t *)p->data + first * pad);
}

/* room: for a panel of words. */
static void pack_panel(const struct panels *p, const float *from, size_t ld, int panel, int16_t *room)
{
    size_t pad = (size_t)p->pad, at = (size_t)panel * K_PANEL * pad;
    if (p->split) {
        uint16_t *hi = (uint16_t *)p->data + 2 * at;
        k_ops()->wide.split(from, ld, p->pad, hi, hi + K_PANEL * pad);
    } else if (p->words) {
        pack_words(p, from, ld, panel, room);
    } else {
        k_ops()->f32.pack(from, ld, p->pad, (float *)p->data + at);
    }
}

/* Into *p, whose form is known. */
static bool pack_panels(struct panels *p, const float *rows, int step, struct sac_arena *a)
{
    size_t pad = (size_t)p->pad, d = (size_t)p->dim;
    int set = K_PANEL * step, panels = (p->n + set - 1) / set * step;
    float *edge = sac_arena_floats(a, K_PANEL * pad);
    int16_t *room = sac_arena_alloc(a, p->words ? sizeof *room * K_PANEL * pad : 1);
    p->scale = sac_arena_floats(a, p->words ? (size_t)panels * K_PANEL : 1);
    /* Two bf16 take the room of a float, a word half of it. */
    p->data = sac_arena_floats(a, (size_t)panels * K_PANEL * pad / (p->words ? 2 : 1));
    if (!edge || !room || !p->scale || !p->data) return false;
    for (int i = 0; i < panels; i++) {
        int first = i / step * set + i % step;
        int count = imin(imax((p->n - first + step - 1) / step, 0), K_PANEL);
        const float *from = rows + (size_t)first * d;
        size_t ld = d * (size_t)step;
        if (count < K_PANEL || p->pad != p->dim) { /* rows are missing, or an odd size: a padded copy */
            memset(edge, 0, sizeof *edge * K_PANEL * pad);
            for (int r = 0; r < count; r++)
                memcpy(edge + (size_t)r * pad, from + (size_t)r * ld, sizeof *edge * d);
            from = edge;
            ld = pad;
        }
        pack_panel(p, from, ld, i, room);
    }
    return true;
}

bool panels_pack(struct panels *p, const float *rows, int dim, int n, int step, struct sac_arena *a)
{
    bool split = k_ops()->wide.name != NULL && dim >= 32;
    *p = (struct panels){ .dim = dim, .n = n, .split = split };
    p->pad = split ? (dim + 31) / 32 * 32 : (dim + 1) / 2 * 2;
    return pack_panels(p, rows, step, a);
}

bool panels_pack_long(struct panels *p, const float *rows, int dim, int n, int step, struct sac_arena *a)
{
    enum { LONG = 2 * K_WORD_PART };
    if (k_ops()->wide.name || !k_ops()->words.name || dim < LONG)
        return panels_pack(p, rows, dim, n, step, a);
    *p = (struct panels){ .dim = dim, .n = n, .words = true };
    p->pad = (dim + K_WORD_PART - 1) / K_WORD_PART * K_WORD_PART;
    return pack_panels(p, rows, step, a);
}

size_t panels_room(const struct panels *p) { return (size_t)PANEL_ROWS * ((size_t)p->pad + 1); }

/* Rows of words are followed by their scales. */
static size_t scales_at(const struct panels *p) { return (size_t)PANEL_ROWS * (size_t)p->pad; }

void panels_query(const struct panels *p, const float *x, int m, void *packed)
{
    size_t pad = (size_t)p->pad;
    if (p->split) k_ops()->wide.strip_pack(x, m, p->pad, packed);
    else if (!p->words) memcpy(packed, x, sizeof *x * (size_t)m * pad);
    else
        for (int r = 0; r < m; r++)
            ((float *)packed)[scales_at(p) + (size_t)r] =
                k_ops()->words.row(x + (size_t)r * pad, p->pad, (int16_t *)packed + (size_t)r * pad);
}

void panels_score(const struct panels *p, const void *packed, int m, int first, int n, float *out, size_t ld)
{
    size_t pad = (size_t)p->pad;
    int from = first / K_PANEL, panels = (n - first + K_PANEL - 1) / K_PANEL;
    const float *w = (const float *)p->data + (size_t)from * K_PANEL * pad; /* two bf16 are as long */
    if (p->split) {
        k_ops()->wide.strip_score(w, panels * K_PANEL, p->pad, packed, out, ld);
        return;
    }
    if (p->words) {
        k_ops()->words.tile((const int16_t *)p->data + (size_t)from * K_PANEL * pad, p->scale + from * K_PANEL,
                            panels, p->pad, packed, (const float *)packed + scales_at(p), m, out, ld);
        return;
    }
    for (int j = 0; j < panels; j += K_NP)
        for (int r = 0; r < m; r += K_MR) {
            const void *rows[K_MR];
            int count = imin(K_MR, m - r);
            for (int i = 0; i < count; i++) rows[i] = (const float *)packed + (size_t)(r + i) * pad;
            k_ops()->f32.tile(w + (size_t)j * K_PANEL * pad, K_PANEL * pad, imin(K_NP, panels - j), p->pad,
                              rows, count, out + (size_t)r * ld + (size_t)j * K_PANEL, ld, false);
        }
}

/* ---- rows of attention ---- */

/* Memory of a group that is done waits in `spare` for the next one, of this layer or a later one: its pages
 * are there already. One block of it holds what a group needs. */
struct memory { struct sac_arena arena; size_t room; };
struct sac_shared {
    int n, group, done, n_spare;
    pthread_mutex_t lock;           /* of done and spare */
    struct memory *spare;           /* [n + 1] */
    struct share {
        pthread_mutex_t lock;
        void *slot[SHARED_SLOTS];
        struct memory mem;
        int done;
    } kv[]; /* [n], and one of the layer */
};

struct sac_shared *shared_new(const struct sac_prefill_in *in)
{
    struct sac_shared *s = calloc(1, sizeof *s + ((size_t)in->n_kv_heads + 1) * sizeof s->kv[0]);
    if (!s) return NULL;
    s->n = in->n_kv_heads;
    s->group = in_group(in);
    s->spare = calloc((size_t)s->n + 1, sizeof *s->spare);
    if (!s->spare) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i <= s->n; i++) pthread_mutex_init(&s->kv[i].lock, NULL);
    return s;
}

/* Nobody looks at what k made any more. */
static void put_back(struct sac_shared *s, struct share *k)
{
    memset(k->slot, 0, sizeof k->slot);
    k->done = 0;
    size_t used = k->mem.arena.used;
    if (used > k->mem.room) {       /* several blocks: one that holds all of it */
        sac_arena_free(&k->mem.arena);
        k->mem.room = sac_arena_floats(&k->mem.arena, used / sizeof(float) + 1) ? used : 0;
    }
    if (!used) return;
    sac_arena_rewind(&k->mem.arena, (struct sac_arena_mark){ NULL, 0, 0 });
    s->spare[s->n_spare++] = k->mem;
    k->mem = (struct memory){ 0 };
}

void shared_done(struct sac_shared *s, int kv_head)
{
    if (!s) return;
    struct share *k = &s->kv[kv_head];
    pthread_mutex_lock(&s->lock);
    if (++k->done == s->group) put_back(s, k);
    if (++s->done == s->n * s->group) {
        s->done = 0;
        put_back(s, &s->kv[s->n]);
    }
    pthread_mutex_unlock(&s->lock);
}

int shared_turn(const struct sac_prefill_in *in, int threads, int i)
{
    int group = in_group(in), first = i / (threads * group) * threads, rest = i % (threads * group);
    int turns = imin(threads, in->n_kv_heads - first);
    return (first + rest % turns) * group + rest / turns;
}

void shared_free(struct sac_shared *s)
{
    if (!s) return;
    for (int i = 0; i <= s->n; i++) {
        sac_arena_free(&s->kv[i].mem.arena);
        pthread_mutex_destroy(&s->kv[i].lock);
    }
    for (int i = 0; i < s->n_spare; i++) sac_arena_free(&s->spare[i].arena);
    pthread_mutex_destroy(&s->lock);
    free(s->spare);
    free(s);
}

static void take_memory(struct sac_shared *s, struct share *k)
{
    pthread_mutex_lock(&s->lock);
    if (!k->mem.arena.block && s->n_spare > 0) k->mem = s->spare[--s->n_spare];
    pthread_mutex_unlock(&s->lock);
}

static void *make_slot(const struct sac_prefill_in *in, int kv_head, size_t bytes, shared_make_fn *make,
                       const void *opts, struct sac_arena *a)
{
    void *out = sac_arena_alloc(a, bytes);
    return out && make(in, opts, kv_head, out, a) ? out : NULL;
}

const void *shared_get(const struct sac_prefill_in *in, int kv_head, enum shared_slot slot, size_t bytes,
                       shared_make_fn *make, const void *opts, struct sac_arena *scratch)
{
    if (!in->shared) return make_slot(in, kv_head, bytes, make, opts, scratch);
    struct share *k = &in->shared->kv[kv_head < 0 ? in->shared->n : kv_head];
    pthread_mutex_lock(&k->lock);
    if (!k->slot[slot]) {
        take_memory(in->shared, k);
        k->slot[slot] = make_slot(in, kv_head, bytes, make, opts, &k->mem.arena);
    }
    const void *made = k->slot[slot];
    pthread_mutex_unlock(&k->lock);
    return made;
}

static bool pack_keys(const struct sac_prefill_in *in, const void *opts, int kv_head, void *out,
                      struct sac_arena *a)
{
    (void)opts;
    return panels_pack(out, in_key(in, kv_head, 0), in->head_dim, in->n, 1, a);
}

bool scores_pack(const struct sac_prefill_in *in, int kv_head, int rows, struct panels *out,
                 struct sac_arena *a)
{
    enum { FEW = 12 };
    *out = (struct panels){ 0 };
    if (rows < FEW) return true;
    const struct panels *p = shared_get(in, kv_head, SHARED_KEYS, sizeof *p, pack_keys, NULL, a);
    if (p) *out = *p;
    return p != NULL;
}

static float exponentials(float *x, int n)
{
    const struct k_ops *ops = k_ops();
    return 1.0f / ops->exp_sum(x, n, ops->max(x, n));
}

/* Scores of one row into exponentials over the keys it sees; the others get 0. Returns 1 / their sum. */
static float finish_row(const struct sac_prefill_in *in, int row, float *score)
{
    int first = in->window > 0 ? imax(row + 1 - in->window, 0) : 0;
    memset(score, 0, sizeof *score * (size_t)first);
    for (int j = first; in->softcap > 0 && j <= row; j++)
        score[j] = in->softcap * tanhf(score[j] / in->softcap);
    return exponentials(score + first, row + 1 - first);
}

/* Room for a block of scaled queries, the same packed, and their scores. */
struct block {
    float *x, *packed, *score;
    size_t ld;
};

static bool block_room(const struct sac_prefill_in *in, const struct panels *panels, int rows,
                       struct block *b, struct sac_arena *a)
{
    size_t pad = (size_t)(panels ? panels->pad : in->head_dim),
           most = panels ? PANEL_ROWS : (size_t)imax(rows, 1);
    b->ld = panels_width(in->n);
    b->score = sac_arena_floats(a, most * b->ld);
    b->x = sac_arena_alloc(a, sizeof(float) * most * pad);
    b->packed = sac_arena_floats(a, panels ? panels_room(panels) : 1);
    return b->score && b->x && b->packed;
}

static void block_rows(const struct sac_prefill_in *in, int head, const int *rows, int first, int m,
                       const struct panels *panels, const struct block *b)
{
    size_t pad = (size_t)panels->pad, dim = (size_t)in->head_dim;
    for (int r = 0; r < m; r++) {
        const float *q = in_query(in, head, rows ? rows[r] : first + r);
        for (size_t d = 0; d < dim; d++) b->x[(size_t)r * pad + d] = in->scale * q[d];
    }
    panels_query(panels, b->x, m, b->packed);
}

/* Scores of m rows, ascending, against the keys up to the last of them. */
static void block_score(const struct sac_prefill_in *in, int head, const int *rows, int first, int m,
                        const struct panels *panels, const struct block *b)
{
    block_rows(in, head, rows, first, m, panels, b);
    panels_score(panels, b->packed, m, 0, (rows ? rows[m - 1] : first + m - 1) + 1, b->score, b->ld);
}

/* Some new scores of a row into exponentials, relative to *ref: a score of the row, raised (and what the row
 * has so far, x[0 .. lo-1], with it) only where a new one is far above. */
static void raise_row(float *x, int lo, int hi, float *ref, float *sum)
{
    const float slack = 8;
    float top = k_ops()->max(x + lo, hi - lo);
    if (top > *ref + slack) {
        float z = lo > 0 ? expf(*ref - top) : 0;
        for (int j = 0; j < lo; j++) x[j] *= z;
        *sum *= z;
        *ref = top;
    }
    *sum += k_ops()->exp_sum(x + lo, hi - lo, *ref);
}

/* The same as block_score and finish_row for plain scores, a stretch of keys at a time while they are near.
 */
static void block_exponentials(const struct sac_prefill_in *in, int head, int row0, int m,
                               const struct panels *panels, const struct block *b, float *inv)
{
    enum { STRETCH = 512 };
    float ref[PANEL_ROWS], sum[PANEL_ROWS];
    for (int r = 0; r < m; r++) ref[r] = -INFINITY, sum[r] = 0;
    block_rows(in, head, NULL, row0, m, panels, b);
    for (int lo = 0; lo < row0 + m; lo += STRETCH) {
        int end = imin(lo + STRETCH, row0 + m);
        panels_score(panels, b->packed, m, lo, end, b->score + lo, b->ld);
        for (int r = 0; r < m; r++) {
            int hi = imin(end, row0 + r + 1);
            if (lo < hi) raise_row(b->score + (size_t)r * b->ld, lo, hi, &ref[r], &sum[r]);
        }
    }
    for (int r = 0; r < m; r++) inv[r] = 1.0f / sum[r];
}

bool scores_each_block(const struct sac_prefill_in *in, int head, int first, int count,
                       const struct panels *panels, scores_block_fn *fn, void *ctx, struct sac_arena *a)
{
    struct sac_arena_mark mark = sac_arena_mark(a);
    bool packed = panels && panels->data, plain = packed && in->softcap <= 0 && in->window <= 0;
    struct block b;
    float inv[PANEL_ROWS];
    int kv = head / in_group(in), most = packed ? panels_rows(panels) : 1;
    if (!block_room(in, packed ? panels : NULL, most, &b, a)) return false;
    for (int i = 0; i < count; i += most) {
        int row0 = first + i, m = imin(most, count - i);
        if (plain)
            block_exponentials(in, head, row0, m, panels, &b, inv);
        else if (packed)
            block_score(in, head, NULL, row0, m, panels, &b);
        else
            k_ops()->score_f32(in_query(in, head, row0), in_key(in, kv, 0), in->head_dim, row0 + 1, in->scale,
                               b.score);
        for (int r = 0; r < m; r++) {
            float *score = b.score + (size_t)r * b.ld;
            if (!plain) inv[r] = finish_row(in, row0 + r, score);
            memset(score + row0 + r + 1, 0, sizeof *score * (size_t)(m - 1 - r));
        }
        fn(ctx, row0, m, b.score, b.ld, inv);
    }
    sac_arena_rewind(a, mark);
    return true;
}

/* The same against keys as they lie, which are read once for all of the rows. */
static void unpacked_score(const struct sac_prefill_in *in, int head, const int *rows, int first, int m,
                           const struct block *b)
{
    size_t dim = (size_t)in->head_dim;
    for (int r = 0; r < m; r++)
        memcpy(b->x + (size_t)r * dim, in_query(in, head, rows ? rows[r] : first + r), dim * sizeof *b->x);
    k_ops()->scores(K_F32, b->x, m, in_key(in, head / in_group(in), 0), in->head_dim,
                    (rows ? rows[m - 1] : first + m - 1) + 1, in->scale, b->score, b->ld);
}

bool scores_each_row(const struct sac_prefill_in *in, int head, int first, int count, const int *rows,
                     const struct panels *panels, scores_row_fn *fn, void *ctx, struct sac_arena *a)
{
    enum { UNPACKED = 8 };
    struct sac_arena_mark mark = sac_arena_mark(a);
    bool packed = panels && panels->data;
    struct block b;
    int most = packed ? panels_rows(panels) : imin(UNPACKED, count);
    if (!block_room(in, packed ? panels : NULL, most, &b, a)) return false;
    for (int i = 0; i < count; i += most) {
        int m = imin(most, count - i);
        if (packed) block_score(in, head, rows ? rows + i : NULL, first + i, m, panels, &b);
        else unpacked_score(in, head, rows ? rows + i : NULL, first + i, m, &b);
        for (int r = 0; r < m; r++) {
            int row = rows ? rows[i + r] : first + i + r;
            float *p = b.score + (size_t)r * b.ld, inv = finish_row(in, row, p);
            for (int j = 0; j <= row; j++) p[j] *= inv;
            fn(ctx, row, p);
        }
    }
    sac_arena_rewind(a, mark);
    return true;
}

void scores_decode(const struct sac_decode_in *in, int kv_head, int n, float *p, size_t stride)
{
    int group = in->n_heads / in->n_kv_heads;
    if (in->scores) in->scores(in, kv_head, 0, n, p, stride);
    for (int i = 0; i < group; i++) {
        float *row = p + (size_t)i * stride;
        if (!in->scores) in->score(in, kv_head * group + i, 0, n, row);
        float inv = exponentials(row, n);
        for (int j = 0; j < n; j++) row[j] *= inv;
    }
}

void pool_mean(const float *rows, int dim, int lo, int hi, int over, float *out)
{
    enum { PIECE = 32 };            /* sums that stay in registers */
    float inv = 1.0f / (float)over;
    int d = 0;
    for (; d + PIECE <= dim; d += PIECE) {
        float sum[PIECE] = { 0 };
        for (int r = lo; r < hi; r++) {
            const float *x = rows + (size_t)r * (size_t)dim + d;
            for (int i = 0; i < PIECE; i++) sum[i] += x[i];
        }
        for (int i = 0; i < PIECE; i++) out[d + i] = sum[i] * inv;
    }
    for (; d < dim; d++) {
        float sum = 0;
        for (int r = lo; r < hi; r++) sum += rows[(size_t)r * (size_t)dim + (size_t)d];
        out[d] = sum * inv;
    }
}

void pool_average(const float *x, int n, int width, float *out)
{
    /* Every window is summed anew: a running sum would leave behind, in windows of small values, the rounding
     * of large ones that went through it, and sharp heads are ranked among small values. */
    enum { PIECE = 512 };
    int half = width / 2;
    for (int at = 0; at < n; at += PIECE) {
        double sum[PIECE] = { 0 };
        int end = imin(at + PIECE, n);
        for (int t = -half; t <= half; t++)
            for (int j = imax(at, -t); j < imin(end, n - t); j++) sum[j - at] += (double)x[j + t];
        for (int j = at; j < end; j++) out[j] = (float)(sum[j - at] / width);
    }
}

void force_ends(float *score, int n, int sink, int local)
{
    for (int j = 0; j < imin(sink, n); j++) score[j] = INFINITY;
    for (int j = imax(n - local, 0); j < n; j++) score[j] = INFINITY;
}
