/* Attention tiles with bf16 products on AMX: 16 rows x 64 keys a block, one instruction for 16 x 16 x 32.
 *
 * Packing is that of attn_bf16.c: 16 keys of K are a tile whose rows are pairs of the head dimension, 32 keys
 * of V a tile whose rows are pairs of keys. Scores leave the tiles for the softmax of rows, which takes about
 * as long as the tiles do. Both run at once only when their instructions lie side by side: the processor
 * looks some 500 steps ahead, and a row of the softmax is 70, a block of tiles 500. So blocks go through in
 * three stages, and between the rows of one lie the scores of the block after it and the values of the one
 * before it. No stage waits for a store of its own: tiles are not loaded from what is still on its way to
 * memory. Rows also carry the fetches of what is read next, a few lines each, since a processor waits for
 * fetches when a dozen are out. */
#include "amx.h"
#include "attn512.h"
#include "levels.h"

enum { BLOCK = 16, UNIT = 256, MOST_UNITS = 2 };

/* One block on its way: rows r0 .. r0+15 of the tile, of which lo .. hi-1 take part, against a step. */
struct block {
    const struct k_attn_step *step;
    const uint32_t *const *v;            /* pairs of groups */
    float *s;                            /* [16][64] scores */
    uint16_t *p;                         /* [16][64] probabilities */
    int r0, lo, hi;
    bool apart;                          /* o is to hold what this block adds, whatever m says */
    bool fresh;                          /* nothing was added to o of these rows yet */
    unsigned up;                         /* rows whose o is to be rescaled first, by z */
    float z[BLOCK];
};

/* What is fetched while a step runs. */
struct asking {
    const char *at;
    size_t stride;
    int left, per_row, n;
    const struct k_attn_ask *piece;
    struct k_attn_ask of[2 * K_STEP + 2];
};

static void next_piece(struct asking *a)
{
    if (!a->n) {
        a->per_row = 0;
        return;
    }
    a->n--;
    a->at = a->piece->at;
    a->stride = a->piece->stride;
    a->left = a->piece++->n;
}

INLINE void ask(struct asking *a)
{
    for (int i = a->per_row; i > 0; i--) {
        _mm_prefetch(a->at, _MM_HINT_T1);
        _mm_prefetch(a->at + 64, _MM_HINT_T1);
        _mm_prefetch(a->at + 128, _MM_HINT_T1);
        _mm_prefetch(a->at + 192, _MM_HINT_T1);
        a->at += a->stride;
        if (--a->left == 0) next_piece(a);
    }
}

static void ask_begin(struct asking *a, int dim, const struct k_attn_step *s, const struct k_attn_step *next)
{
    int units = 0, bytes = 2 * dim * K_GROUP, rows = (s->rows - s->first / BLOCK * BLOCK + BLOCK - 1) / BLOCK;
    a->n = 0;
    a->piece = a->of;
    for (int c = 0; next && c < next->n; c++)
        if (next->cold >> c & 1) {
            a->of[a->n++] = (struct k_attn_ask){ next->group[c].k, UNIT, bytes / UNIT };
            a->of[a->n++] = (struct k_attn_ask){ next->group[c].v, UNIT, bytes / UNIT };
        }
    for (int i = 0; i < 2; i++)
        if (s->ask[i].n) a->of[a->n++] = s->ask[i];
    for (int i = 0; i < a->n; i++) units += a->of[i].n;
    a->per_row = (units + BLOCK * rows - 1) / (BLOCK * rows);
    if (a->per_row > MOST_UNITS) a->per_row = MOST_UNITS; /* more only wait for each other */
    next_piece(a);
}

/* 2^x, relative error 8e-5, which is far below the rounding of probabilities to bf16. Beside tiles only one
 * of two units multiplies, so each instruction counts: the fraction is one, and the scaling rounds x down
 * itself. */
INLINE __m512 exp2_bf16(__m512 x)
{
    __m512 f = _mm512_reduce_ps(x, 9);       /* x - floor(x) */
    __m512 p = _mm512_set1_ps(7.802452266e-02f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.260671554e-01f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.958335406e-01f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.999252185e-01f));
    return _mm512_scalef_ps(p, x);
}

/* One row: scores s[64] become bf16 probabilities p[64]; m and l of the row follow the maximum, o is left for
 * later. `masked`: some group carries positions. */
INLINE void softmax_row(const struct k_attn_tile *t, struct block *b, int i, int G, bool masked)
{
    const struct k_attn_group *g = b->step->group;
    const float *s = b->s + i * K_STEP_KEYS;
    uint16_t *p = b->p + i * K_STEP_KEYS;
    int r = b->r0 + i;
    __m512 v[K_STEP];
    __mmask16 ok[K_STEP];
    UNROLL for (int c = 0; c < G; c++) {
        v[c] = _mm512_load_ps(s + c * K_GROUP);
        ok[c] = 0xffff;
    }
    if (t->cap > 0) UNROLL for (int c = 0; c < G; c++) v[c] = softcap_512(v[c], t->cap);
    if (masked) UNROLL for (int c = 0; c < G; c++)
        if (g[c].pos) {
            __m512i at = _mm512_loadu_si512(g[c].pos);
            ok[c] = _mm512_cmple_epi32_mask(at, _mm512_set1_epi32(t->row0 + r));
            if (t->window > 0)
                ok[c] &= _mm512_cmpgt_epi32_mask(at, _mm512_set1_epi32(t->row0 + r - t->window));
            v[c] = _mm512_mask_mov_ps(_mm512_set1_ps(2 * K_M0), ok[c], v[c]);
        }
    if (masked && b->step->see) UNROLL for (int c = 0; c < G; c++) {
        ok[c] &= (__mmask16)(b->step->see[r] >> c * K_GROUP);
        v[c] = _mm512_mask_mov_ps(_mm512_set1_ps(2 * K_M0), ok[c], v[c]);
    }
    __m512 mx = v[0];
    UNROLL for (int c = 1; c < G; c++) mx = _mm512_max_ps(mx, v[c]);
    __m512 m = _mm512_set1_ps(t->m[r]);
    float *l = t->l + r * K_GROUP;
    __m512 sum = _mm512_loadu_ps(l);
    if (_mm512_cmp_ps_mask(mx, _mm512_add_ps(m, _mm512_set1_ps(K_SLACK)), _CMP_GT_OQ)) {
        float top = _mm512_reduce_max_ps(mx);
        if (t->m[r] > K_M0) { /* before the first keys there is nothing to rescale */
            __m512 z = exp2_512(_mm512_set1_ps(t->m[r] - top));
            sum = _mm512_mul_ps(sum, z);
            b->z[i] = _mm512_cvtss_f32(z);
            b->up |= 1u << i;
        }
        t->m[r] = top;
        m = _mm512_set1_ps(top);
    }
    UNROLL for (int c = 0; c < G; c++) v[c] = exp2_bf16(_mm512_sub_ps(v[c], m));
    if (masked) UNROLL for (int c = 0; c < G; c++) v[c] = _mm512_maskz_mov_ps(ok[c], v[c]);
    __m512 add = v[0];
    UNROLL for (int c = 1; c < G; c++) add = _mm512_add_ps(add, v[c]);
    _mm512_storeu_ps(l, _mm512_add_ps(sum, add));
    UNROLL for (int c = 0; c < K_STEP; c += 2) {
        __m512 x = c < G ? v[c] : _mm512_setzero_ps(), y = c + 1 < G ? v[c + 1] : _mm512_setzero_ps();
        if (c < G) _mm512_store_si512(p + c * K_GROUP, (__m512i)_mm512_cvtne2ps_pbh(y, x));
    }
}

INLINE void no_row(struct block *b, int i)
{
    _mm512_store_si512(b->p + i * K_STEP_KEYS, _mm512_setzero_si512());
    _mm512_store_si512(b->p + i * K_STEP_KEYS + 32, _mm512_setzero_si512());
}

/* ---- tiles: 0-3 sums, 4 and 6 rows of q or p, 5 and 7 keys or values ---- */

/* Scores of group c, inputs d .. d+31 of the head */
INLINE void score(const struct k_attn_tile *t, const struct block *b, int c, int d, bool load_q)
{
    if (load_q)
        TILE_LOAD(4, (const uint16_t *)t->q + (size_t)b->r0 * (size_t)t->dim + d, 2L * t->dim);
    if (c >= b->step->n) return;
    const uint16_t *k = (const uint16_t *)b->step->group[c].k + d * K_GROUP;
    bool first = d == 0, last = d + 32 == t->dim;
    float *s = b->s + c * K_GROUP;
    if (c == 0) {
        if (first) TILE_ZERO(0);
        TILE_LOAD(5, k, 64);
        TILE_DOT(0, 4, 5);
        if (last) TILE_STORE(0, s, 4 * K_STEP_KEYS);
    } else if (c == 1) {
        if (first) TILE_ZERO(1);
        TILE_LOAD(7, k, 64);
        TILE_DOT(1, 4, 7);
        if (last) TILE_STORE(1, s, 4 * K_STEP_KEYS);
    } else if (c == 2) {
        if (first) TILE_ZERO(2);
        TILE_LOAD(5, k, 64);
        TILE_DOT(2, 4, 5);
        if (last) TILE_STORE(2, s, 4 * K_STEP_KEYS);
    } else {
        if (first) TILE_ZERO(3);
        TILE_LOAD(7, k, 64);
        TILE_DOT(3, 4, 7);
        if (last) TILE_STORE(3, s, 4 * K_STEP_KEYS);
    }
}

/* The share of scores between rows j, 4 + j: half of the inputs each */
INLINE void score_slot(const struct k_attn_tile *t, const struct block *b, int half, int j, int dim)
{
    if (dim == 64) score(t, b, j, 32 * half, j == 0);
    else {
        int n = dim / 32, from = half * n / 2, to = (half + 1) * n / 2;
        for (int d = from; d < to; d++) score(t, b, j, 32 * d, true);
    }
}

#define COLUMN(ACC)                                                                                          \
    do {                                                                                                     \
        if (b->fresh) TILE_ZERO(ACC);                                                                        \
        else TILE_LOAD(ACC, o, os);                                                                          \
        TILE_LOAD(5, b->v[0] + col, os);                                                                     \
        TILE_DOT(ACC, 4, 5);                                                                                 \
        if (b->step->n > 2) {                                                                                \
            TILE_LOAD(7, b->v[1] + col, os);                                                                 \
            TILE_DOT(ACC, 6, 7);                                                                             \
        }                                                                                                    \
        TILE_STORE(ACC, o, os);                                                                              \
    } while (0)

/* o[16][columns col .. col+15] += p . v, in sums j */
INLINE void column(const struct k_attn_tile *t, const struct block *b, int col, int j)
{
    float *o = t->o + (size_t)b->r0 * (size_t)t->dim + col;
    long os = 4L * t->dim;
    if (j == 0) COLUMN(0);
    else if (j == 1) COLUMN(1);
    else if (j == 2) COLUMN(2);
    else COLUMN(3);
}

static __attribute__((noinline)) void rescale(const struct k_attn_tile *t, const struct block *b)
{
    for (unsigned up = b->up; up; up &= up - 1) {
        int i = __builtin_ctz(up);
        float *o = t->o + (size_t)(b->r0 + i) * (size_t)t->dim;
        __m512 z = _mm512_set1_ps(b->z[i]);
        for (int d = 0; d < t->dim; d += 16)
            _mm512_storeu_ps(o + d, _mm512_mul_ps(z, _mm512_loadu_ps(o + d)));
    }
}

INLINE void value_slot(const struct k_attn_tile *t, const struct block *b, int half, int j, int dim)
{
    if (half == 0 && j == 0) {
        if (b->up && !b->fresh) rescale(t, b);
        TILE_LOAD(4, b->p, 2 * K_STEP_KEYS);
        if (b->step->n > 2) TILE_LOAD(6, b->p + 32, 2 * K_STEP_KEYS);
    }
    if (dim == 64) {
        if (j % 2) column(t, b, 32 * half + 16 * (j / 2), half ? 2 + j / 2 : j / 2);
    } else {
        int n = dim / 16, slot = 4 * half + j;
        for (int i = slot * n / 8; i < (slot + 1) * n / 8; i++) column(t, b, 16 * i, j);
    }
}

INLINE void rows(const struct k_attn_tile *t, struct block *b, const struct block *before,
                 const struct block *after, struct asking *a, int G, bool masked, int dim)
{
    __m512 m0 = _mm512_set1_ps(K_M0);
    b->fresh = b->apart || _mm512_cmp_ps_mask(_mm512_loadu_ps(t->m + b->r0), m0, _CMP_EQ_OQ) == 0xffff;
    b->up = 0;
    for (int q = 0; q < 4; q++)
        UNROLL for (int j = 0; j < 4; j++) {
            int r = 4 * q + j;
            if (q < 2) {
                if (after) score_slot(t, after, q, j, dim);
            } else if (before) value_slot(t, before, q - 2, j, dim);
            if (masked && (r < b->lo || r >= b->hi)) no_row(b, r);
            else softmax_row(t, b, r, G, masked);
            ask(a);
        }
}

typedef void (*rows_fn)(const struct k_attn_tile *, struct block *, const struct block *, const struct block *,
                        struct asking *);
#define DEFINE_ROWS(NAME, G, MASKED, DIM)                                                                    \
    static __attribute__((noinline)) void NAME(const struct k_attn_tile *t, struct block *b,                 \
                                               const struct block *before, const struct block *after,        \
                                               struct asking *a)                                             \
    {                                                                                                        \
        rows(t, b, before, after, a, G, MASKED, DIM);                                                        \
    }
#define DEFINE_ALL(NAME, DIM)                                                                                \
    DEFINE_ROWS(NAME##_1, 1, false, DIM)                                                                     \
    DEFINE_ROWS(NAME##_2, 2, false, DIM)                                                                     \
    DEFINE_ROWS(NAME##_3, 3, false, DIM)                                                                     \
    DEFINE_ROWS(NAME##_4, 4, false, DIM)                                                                     \
    DEFINE_ROWS(NAME##_m1, 1, true, DIM)                                                                     \
    DEFINE_ROWS(NAME##_m2, 2, true, DIM)                                                                     \
    DEFINE_ROWS(NAME##_m3, 3, true, DIM)                                                                     \
    DEFINE_ROWS(NAME##_m4, 4, true, DIM)                                                                     \
    static const rows_fn NAME[2][K_STEP] = { { NAME##_1, NAME##_2, NAME##_3, NAME##_4 },                     \
                                             { NAME##_m1, NAME##_m2, NAME##_m3, NAME##_m4 } };
DEFINE_ALL(rows_64, 64)
DEFINE_ALL(rows_any, t->dim)

/* ---- steps ---- */

/* Values of two groups as one tile: where they lie, if one follows the other, or copied together. */
static void pair_values(int dim, const struct k_attn_step *s, uint32_t (*own)[16 * K_STEPS_DIM],
                        const uint32_t **v)
{
    int words = dim * K_GROUP / 2;
    for (int c = 0; c < s->n; c += 2) {
        const uint32_t *a = s->group[c].v, *b = c + 1 < s->n ? (const uint32_t *)s->group[c + 1].v : NULL;
        uint32_t *to = own[c / 2];
        v[c / 2] = a;
        if (b == a + words) continue;
        v[c / 2] = to;
        for (int i = 0; i < words; i += 16) {
            __m512i y = b ? _mm512_loadu_si512(b + i) : _mm512_setzero_si512();
            _mm512_store_si512(to + i, _mm512_loadu_si512(a + i));
            _mm512_store_si512(to + words + i, y);
        }
    }
}

/* Where the next block comes from. */
struct walk {
    const struct k_attn_tile *t;
    const struct k_attn_step *const *s;
    int n, at, r0, used;
    const struct k_attn_step *last;
    const uint32_t *(*v)[2];                    /* [3]: of the steps that blocks on their way belong to */
    uint32_t (*own)[2][16 * K_STEPS_DIM];           /* [3] */
};

static bool walk_next(struct walk *w, struct block *b)
{
    while (w->at < w->n && w->r0 >= w->s[w->at]->rows) {
        if (++w->at < w->n) w->r0 = w->s[w->at]->first / BLOCK * BLOCK;
    }
    if (w->at >= w->n) return false;
    const struct k_attn_step *s = w->s[w->at];
    bool first = s != w->last;
    if (first) w->used++;
    int i = w->used % 3;
    if (first) pair_values(w->t->dim, s, w->own[i], w->v[i]);
    w->last = s;
    b->step = s;
    b->v = w->v[i];
    b->r0 = w->r0;
    b->lo = s->first - w->r0;
    b->hi = s->rows - w->r0;
    w->r0 += BLOCK;
    return true;
}

/* Some of the rows take no part, or do not see some of the keys. */
static bool is_masked(const struct block *b)
{
    bool masked = b->lo > 0 || b->hi < BLOCK || b->step->see;
    for (int c = 0; c < b->step->n; c++) masked |= b->step->group[c].pos != NULL;
    return masked;
}

static void run_steps(const struct k_attn_tile *t, const struct k_attn_step *const *s, int n,
                      const struct k_attn_step *next, bool apart)
{
    float score_mem[2][BLOCK * K_STEP_KEYS] __attribute__((aligned(64)));
    uint16_t p_mem[2][BLOCK * K_STEP_KEYS] __attribute__((aligned(64)));
    uint32_t own[3][2][16 * K_STEPS_DIM] __attribute__((aligned(64)));
    const uint32_t *v[3][2];
    struct block b[3];
    struct asking a = { .per_row = 0 };
    struct walk w = { .t = t, .s = s, .n = n, .r0 = s[0]->first / BLOCK * BLOCK, .v = v, .own = own };
    const rows_fn(*fn)[K_STEP] = t->dim == 64 ? rows_64 : rows_any;
    struct tile_shape shape = { .palette = 1 };
    for (int i = 0; i < 8; i++) tile_set(&shape, i, 16, 64);
    for (int i = 0; i < 3; i++) b[i] = (struct block){ .apart = apart };
    if (!walk_next(&w, &b[0])) return;
    tile_config(&shape);
    b[0].s = score_mem[0];
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 4; j++) score_slot(t, &b[0], half, j, t->dim);
    const struct k_attn_step *running = NULL;
    int at = 0;
    for (int i = 0;; i++) {
        struct block *now = &b[i % 3], *after = &b[(i + 1) % 3], *before = &b[(i + 2) % 3];
        now->p = t->p ? t->p + (size_t)now->r0 * K_STEP_KEYS : p_mem[i % 2];
        after->s = score_mem[(i + 1) % 2];
        if (now->step != running) {
            running = now->step;
            while (s[at] != running) at++;
            ask_begin(&a, t->dim, running, at + 1 < n ? s[at + 1] : next);
        }
        bool more = walk_next(&w, after);
        fn[is_masked(now)][running->n - 1](t, now, i ? before : NULL, more ? after : NULL, &a);
        if (more) continue;
        for (int half = 0; half < 2; half++)
            for (int j = 0; j < 4; j++) value_slot(t, now, half, j, t->dim);
        break;
    }
    TILE_RELEASE();
}

/* A weight too small for a float is 0 at once: made as a denormal number it would cost 200 cycles. */
static unsigned no_denormals(void)
{
    unsigned csr = _mm_getcsr();
    _mm_setcsr(csr | 0x8000);
    return csr;
}

static void attn_steps_amx(const struct k_attn_tile *t, const struct k_attn_step *const *s, int n,
                           const struct k_attn_step *next)
{
    unsigned csr = no_denormals();
    run_steps(t, s, n, next, false);
    _mm_setcsr(csr);
}

/* Rows that lie apart are brought together, and what a step adds to their outputs is taken back to them. */
enum { LISTED = 64 };

static void together(const struct k_attn_tile *t, const uint16_t *row, int n, uint16_t *q, float *m, float *l)
{
    for (int i = 0; i < n; i++) {
        memcpy(q + i * t->dim, (const uint16_t *)t->q + (size_t)row[i] * (size_t)t->dim, (size_t)t->dim * 2);
        m[i] = t->m[row[i]];
        memcpy(l + i * K_GROUP, t->l + row[i] * K_GROUP, K_GROUP * sizeof *l);
    }
}

static void apart(const struct k_attn_tile *t, const uint16_t *row, int n, const float *m, const float *l,
                  const float *add)
{
    for (int i = 0; i < n; i++, add += t->dim) {
        float *o = t->o + (size_t)row[i] * (size_t)t->dim, *at = &t->m[row[i]];
        __m512 z = _mm512_set1_ps(1.0f);
        if (m[i] != *at) z = exp2_512(_mm512_set1_ps(*at - m[i]));
        *at = m[i];
        memcpy(t->l + row[i] * K_GROUP, l + i * K_GROUP, K_GROUP * sizeof *l);
        for (int d = 0; d < t->dim; d += 16)
            _mm512_storeu_ps(o + d, _mm512_fmadd_ps(z, _mm512_loadu_ps(o + d), _mm512_loadu_ps(add + d)));
    }
}

static void attn_step_rows_amx(const struct k_attn_tile *t, const struct k_attn_rows *list,
                               const struct k_attn_group *g, int n_groups)
{
    if (t->dim % 32 || t->dim > K_STEPS_DIM) {
        attn_bf16.step_rows(t, list, g, n_groups);
        return;
    }
    uint16_t q[LISTED * K_STEPS_DIM] __attribute__((aligned(64)));
    float o[LISTED * K_STEPS_DIM] __attribute__((aligned(64))), l[LISTED * K_GROUP], m[LISTED];
    struct k_attn_tile part = *t;
    part.p = NULL;
    part.q = q;
    part.m = m;
    part.l = l;
    part.o = o;
    unsigned csr = no_denormals();
    for (int i = 0; i < list->n; i += LISTED) {
        int n = list->n - i < LISTED ? list->n - i : LISTED;
        struct k_attn_step s = { .n = n_groups, .rows = n, .see = list->see ? list->see + i : NULL };
        const struct k_attn_step *one = &s;
        memcpy(s.group, g, (size_t)n_groups * sizeof *g);
        together(t, list->row + i, n, q, m, l);
        run_steps(&part, &one, 1, NULL, true);
        apart(t, list->row + i, n, m, l, o);
    }
    _mm_setcsr(csr);
}

void k_attn_amx(struct k_attn *a)
{
    *a = attn_bf16;
    a->name = "bf16 amx";
    a->steps = attn_steps_amx;
    a->step_rows = attn_step_rows_amx;
}
