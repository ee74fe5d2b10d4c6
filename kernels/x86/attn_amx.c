/* Attention tiles with bf16 products on AMX: 16 rows x 64 keys a block, one instruction for 16 x 16 x 32.
 *
 * Packing is that of attn_bf16.c: 16 keys of K are a tile whose rows are pairs of the head dimension, 32 keys
 * of V a tile whose rows are pairs of keys. Scores leave the tiles for the softmax of rows, which takes about
 * as long as the tiles do. The scores of the next block are ordered before the softmax of this one. */
#include "amx.h"
#include "attn512.h"
#include "levels.h"

enum { BLOCK = 16 };

/* 2^x for x <= 0, relative error 8e-5, which is far below the rounding of probabilities to bf16. */
INLINE __m512 exp2_bf16(__m512 x)
{
    __m512 n = _mm512_roundscale_ps(x, 8), f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(5.517166907e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.426111222e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.932609855e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.999280735e-1f));
    return _mm512_scalef_ps(p, n);
}

/* One row: scores s[64] become bf16 probabilities p[64]; m, l and o of the row follow the maximum. `masked`:
 * some group carries positions. */
INLINE void softmax_row(const struct k_attn_tile *t, const struct k_attn_group *g, int r, const float *s,
                        uint16_t *p, int G, bool masked)
{
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
    __m512 mx = v[0];
    UNROLL for (int c = 1; c < G; c++) mx = _mm512_max_ps(mx, v[c]);
    __m512 m = _mm512_set1_ps(t->m[r]);
    float *l = t->l + r * K_GROUP;
    __m512 sum = _mm512_loadu_ps(l);
    if (_mm512_cmp_ps_mask(mx, _mm512_add_ps(m, _mm512_set1_ps(K_SLACK)), _CMP_GT_OQ)) {
        float top = _mm512_reduce_max_ps(mx), *o = t->o + (size_t)r * (size_t)t->dim;
        if (t->m[r] > K_M0) { /* before the first keys there is nothing to rescale */
            __m512 z = exp2_512(_mm512_set1_ps(t->m[r] - top));
            sum = _mm512_mul_ps(sum, z);
            for (int d = 0; d < t->dim; d += 16)
                _mm512_storeu_ps(o + d, _mm512_mul_ps(z, _mm512_loadu_ps(o + d)));
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
        __m512 a = c < G ? v[c] : _mm512_setzero_ps(), b = c + 1 < G ? v[c + 1] : _mm512_setzero_ps();
        if (c < G) _mm512_store_si512(p + c * K_GROUP, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
}

/* Tiles 0-3: sums. 4: rows of q or p. 5-7: keys or values. */
static void shapes(struct tile_shape *s, int rows)
{
    memset(s, 0, sizeof *s);
    s->palette = 1;
    for (int i = 0; i < 5; i++) tile_set(s, i, rows, 64);
    for (int i = 5; i < 8; i++) tile_set(s, i, 16, 64);
}

/* s[16][64] = q . k */
INLINE void scores(const struct k_attn_tile *t, const struct k_attn_group *g, int r0, float *s, int G)
{
    const uint16_t *q = (const uint16_t *)t->q + (size_t)r0 * (size_t)t->dim;
    long qs = 2L * t->dim;
    TILE_ZERO(0);
    if (G > 1) TILE_ZERO(1);
    if (G > 2) TILE_ZERO(2);
    if (G > 3) TILE_ZERO(3);
    for (int d = 0; d < t->dim; d += 32) {
        size_t at = (size_t)d * K_GROUP;
        TILE_LOAD(4, q + d, qs);
        TILE_LOAD(5, (const uint16_t *)g[0].k + at, 64);
        TILE_DOT(0, 4, 5);
        if (G > 1) { TILE_LOAD(6, (const uint16_t *)g[1].k + at, 64); TILE_DOT(1, 4, 6); }
        if (G > 2) { TILE_LOAD(7, (const uint16_t *)g[2].k + at, 64); TILE_DOT(2, 4, 7); }
        if (G > 3) { TILE_LOAD(5, (const uint16_t *)g[3].k + at, 64); TILE_DOT(3, 4, 5); }
    }
    TILE_STORE(0, s, 4 * K_STEP_KEYS);
    if (G > 1) TILE_STORE(1, s + 16, 4 * K_STEP_KEYS);
    if (G > 2) TILE_STORE(2, s + 32, 4 * K_STEP_KEYS);
    if (G > 3) TILE_STORE(3, s + 48, 4 * K_STEP_KEYS);
}

/* o[16][columns col .. col + 16 * NC - 1] += p . v; v[i]: 32 keys as a tile */
INLINE void values(const struct k_attn_tile *t, const uint32_t *const *v, int r0, const uint16_t *p, int G,
                   int col, int NC)
{
    float *o = t->o + (size_t)r0 * (size_t)t->dim + col;
    long os = 4L * t->dim;
    TILE_LOAD(0, o, os);
    TILE_LOAD(1, o + 16, os);
    if (NC > 2) { TILE_LOAD(2, o + 32, os); TILE_LOAD(3, o + 48, os); }
    for (int c = 0; c < G; c += 2) {
        const uint32_t *at = v[c / 2] + col;
        TILE_LOAD(4, p + c * K_GROUP, 2 * K_STEP_KEYS);
        TILE_LOAD(5, at, os);
        TILE_DOT(0, 4, 5);
        TILE_LOAD(6, at + 16, os);
        TILE_DOT(1, 4, 6);
        if (NC > 2) {
            TILE_LOAD(7, at + 32, os);
            TILE_DOT(2, 4, 7);
            TILE_LOAD(5, at + 48, os);
            TILE_DOT(3, 4, 5);
        }
    }
    TILE_STORE(0, o, os);
    TILE_STORE(1, o + 16, os);
    if (NC > 2) { TILE_STORE(2, o + 32, os); TILE_STORE(3, o + 48, os); }
}

enum { MAX_DIM = 256 };

/* Values of two groups as one tile: where they lie, if one follows the other, or copied together. */
INLINE void pair_values(const struct k_attn_tile *t, const struct k_attn_group *g, int G,
                        uint32_t (*own)[16 * MAX_DIM], const uint32_t **v)
{
    size_t words = (size_t)t->dim * K_GROUP / 2;
    UNROLL for (int c = 0; c < G; c += 2) {
        const uint32_t *a = g[c].v, *b = c + 1 < G ? (const uint32_t *)g[c + 1].v : NULL;
        v[c / 2] = a;
        if (b == a + words) continue;
        memcpy(own[c / 2], a, words * sizeof *a);
        if (b) memcpy(own[c / 2] + words, b, words * sizeof *b);
        else memset(own[c / 2] + words, 0, words * sizeof *a);
        v[c / 2] = own[c / 2];
    }
}

INLINE void step(const struct k_attn_tile *t, const struct k_attn_group *g, int G)
{
    float s[2][BLOCK * K_STEP_KEYS] __attribute__((aligned(64)));
    uint16_t p[BLOCK * K_STEP_KEYS] __attribute__((aligned(64)));
    uint32_t own[2][16 * MAX_DIM] __attribute__((aligned(64)));
    const uint32_t *v[2];
    struct tile_shape shape;
    bool masked = false;
    for (int c = 0; c < G; c++) masked |= g[c].pos != NULL;
    pair_values(t, g, G, own, v);
    int first = t->first / BLOCK * BLOCK, rows = t->rows - first < BLOCK ? t->rows - first : BLOCK;
    shapes(&shape, rows);
    tile_config(&shape);
    scores(t, g, first, s[0], G);
    for (int r0 = first, i = 0; r0 < t->rows; r0 += BLOCK, i ^= 1) {
        int next = t->rows - r0 - BLOCK;             /* rows after this block */
        if (next >= BLOCK) scores(t, g, r0 + BLOCK, s[i ^ 1], G);
        for (int r = 0; r < rows; r++) {
            if (r0 + r < t->first) {
                memset(p + r * K_STEP_KEYS, 0, K_STEP_KEYS * sizeof *p);
            } else if (masked) {
                softmax_row(t, g, r0 + r, s[i] + r * K_STEP_KEYS, p + r * K_STEP_KEYS, G, true);
            } else {
                softmax_row(t, g, r0 + r, s[i] + r * K_STEP_KEYS, p + r * K_STEP_KEYS, G, false);
            }
        }
        int col = 0;
        for (; col + 64 <= t->dim; col += 64) values(t, v, r0, p, G, col, 4);
        if (col < t->dim) values(t, v, r0, p, G, col, 2);
        if (next > 0 && next < BLOCK) {              /* the last block is a short one: other shapes */
            rows = next;
            shapes(&shape, rows);
            tile_config(&shape);
            scores(t, g, r0 + BLOCK, s[i ^ 1], G);
        }
    }
    TILE_RELEASE();
}

static __attribute__((noinline)) void step_1(const struct k_attn_tile *t, const struct k_attn_group *g)
{
    step(t, g, 1);
}
static __attribute__((noinline)) void step_2(const struct k_attn_tile *t, const struct k_attn_group *g)
{
    step(t, g, 2);
}
static __attribute__((noinline)) void step_3(const struct k_attn_tile *t, const struct k_attn_group *g)
{
    step(t, g, 3);
}
static __attribute__((noinline)) void step_4(const struct k_attn_tile *t, const struct k_attn_group *g)
{
    step(t, g, 4);
}

static void attn_step_amx(const struct k_attn_tile *t, const struct k_attn_group *g, int n_groups)
{
    static void (*const by_groups[])(const struct k_attn_tile *, const struct k_attn_group *) = {
        step_1, step_2, step_3, step_4
    };
    if (t->dim % 32 || t->dim > MAX_DIM) attn_bf16.step(t, g, n_groups);
    else {
        /* A weight too small for a float is 0 at once: made as a denormal number it would cost 200 cycles. */
        unsigned csr = _mm_getcsr();
        _mm_setcsr(csr | 0x8000);
        by_groups[n_groups - 1](t, g);
        _mm_setcsr(csr);
    }
}

void k_attn_amx(struct k_attn *a)
{
    *a = attn_bf16;
    a->name = "bf16 amx";
    a->step = attn_step_amx;
}
