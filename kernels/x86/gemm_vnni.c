/* Integer products with packed weights, AVX-512 VNNI: vpdpbusd does four 8-bit multiply-adds a lane.
 *
 * It wants one unsigned operand. Weights are stored with 128 added, so activations stay signed and can be
 * read as a broadcast memory operand; the surplus is 128 times the sum of the block's activations, which is
 * known from their quantisation and taken off with the scale: y += dw * (dx * dot - 128 * sx). Panels lie as
 * [cols/4][16][4]. 12 integer and 12 float sums stay in registers, those of 12 rows of x with one panel or of
 * 3 with four: then seven loads, not thirteen, go with twelve products, and the scales of x are read once for
 * four panels. */
#include "attn512.h"
#include "levels.h"

#include <string.h>

typedef int v16si __attribute__((vector_size(64)));   /* see gemm_avx2.c: typed sums stay in registers */

static void quant_block(const float *x, int8_t *q, float *d, float *s)
{
    __m512 v0 = _mm512_loadu_ps(x), v1 = _mm512_loadu_ps(x + 16);
    float top = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(v0), _mm512_abs_ps(v1)));
    float inv = top > 0 ? 127.0f / top : 0.0f;
    __m512i i0 = _mm512_cvtps_epi32(_mm512_mul_ps(v0, _mm512_set1_ps(inv)));
    __m512i i1 = _mm512_cvtps_epi32(_mm512_mul_ps(v1, _mm512_set1_ps(inv)));
    *d = top / 127.0f;
    s[0] = *d * (float)_mm512_reduce_add_epi32(i0);
    s[1] = *d * (float)_mm512_reduce_add_epi32(i1);
    _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8(i0));
    _mm_storeu_si128((__m128i *)(q + 16), _mm512_cvtepi32_epi8(i1));
}

/* The largest of each of 16 vectors, as the lanes of one. */
INLINE __m512 tops_512(__m512 *s)
{
    UNROLL for (int i = 0; i < 8; i++)
        s[i] = _mm512_max_ps(_mm512_unpacklo_ps(s[2 * i], s[2 * i + 1]),
                             _mm512_unpackhi_ps(s[2 * i], s[2 * i + 1]));
    UNROLL for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(s[2 * i]), b = _mm512_castps_pd(s[2 * i + 1]);
        s[i] = _mm512_max_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                             _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    UNROLL for (int i = 0; i < 2; i++)
        s[i] = _mm512_max_ps(_mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0xdd));
    return _mm512_max_ps(_mm512_shuffle_f32x4(s[0], s[1], 0x88), _mm512_shuffle_f32x4(s[0], s[1], 0xdd));
}

/* 64 values as bytes, in order; each quarter of 16 in a quarter of the register. */
INLINE __m512i bytes_of(const float *x, __m512 inv0, __m512 inv1)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i i[4];
    UNROLL for (int k = 0; k < 4; k++)
        i[k] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * k), k < 2 ? inv0 : inv1));
    __m512i two[2] = { _mm512_packs_epi32(i[0], i[1]), _mm512_packs_epi32(i[2], i[3]) };
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(two[0], two[1]));
}

/* The sums of the quarters of four vectors, 16 in order, of vectors whose lanes are to be added. */
INLINE __m512i quarters(const __m512i *v)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    __m512i sum = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    return _mm512_permutexvar_epi32(order, sum);
}

/* 16 blocks: what has to be brought together of one block is brought together of all. */
static void quant_blocks(const float *x, int8_t *q, float *d, float *s)
{
    __m512 top[16];
    __m512i sum[8];
    float inv[16];
    UNROLL for (int b = 0; b < 16; b++)
        top[b] = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + 32 * b)),
                               _mm512_abs_ps(_mm512_loadu_ps(x + 32 * b + 16)));
    __m512 most = tops_512(top), each = _mm512_div_ps(most, _mm512_set1_ps(127.0f));
    __mmask16 some = _mm512_cmp_ps_mask(most, _mm512_setzero_ps(), _CMP_GT_OQ);
    _mm512_storeu_ps(inv, _mm512_maskz_div_ps(some, _mm512_set1_ps(127.0f), most));
    _mm512_storeu_ps(d, each);
    UNROLL for (int i = 0; i < 8; i++) {
        __m512i bytes = bytes_of(x + 64 * i, _mm512_set1_ps(inv[2 * i]), _mm512_set1_ps(inv[2 * i + 1]));
        _mm512_storeu_si512(q + 64 * i, bytes);
        sum[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), bytes);
    }
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    UNROLL for (int i = 0; i < 2; i++) {
        __m512 scale = _mm512_permutexvar_ps(_mm512_add_epi32(twice, _mm512_set1_epi32(8 * i)), each);
        _mm512_storeu_ps(s + 16 * i, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(quarters(sum + 4 * i))));
    }
}

static void quant_vnni(const float *x, int n, void *q, float *d, float *s)
{
    int8_t *out = q;
    int b = 0;
    for (; b + 512 <= n; b += 512) quant_blocks(x + b, out + b, d + b / 32, s + b / 16);
    for (; b < n; b += 32) quant_block(x + b, out + b, d + b / 32, s + b / 16);
}

/* 16 rows of four bytes become one vector; the top bit flipped is 128 added. */
void k_pack_int8_vnni(const int8_t *q, int n, int8_t *dst)
{
    for (int i = 0; i < n; i += 4) {
        uint32_t w[K_PANEL];
        for (int r = 0; r < K_PANEL; r++) {
            memcpy(&w[r], q + (size_t)r * (size_t)n + i, sizeof *w);
            w[r] ^= 0x80808080u;
        }
        memcpy(dst + (size_t)i * K_PANEL, w, sizeof w);
    }
}

INLINE __m512i four_of(const int8_t *x)
{
    int v;
    memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

INLINE void tile(const struct k_panel *w, int n, const struct k_xrow *x, int R, float *y, size_t ldy, int sub,
                 bool mins)
{
    const int8_t *q = w->q, *xq[K_INT_MR];
    __m512 f[K_INT_MR];
    UNROLL for (int r = 0; r < R; r++) {
        xq[r] = x[r].q;
        f[r] = _mm512_setzero_ps();
    }
    for (int b = 0; b < n / sub; b++) {
        v16si a[K_INT_MR];
        UNROLL for (int r = 0; r < R; r++) a[r] = (v16si){ 0 };
        _Pragma("GCC unroll 1") for (int i = 0; i < sub; i += 4, q += 4 * K_PANEL) {
            __m512i v = _mm512_loadu_si512(q);
            UNROLL for (int r = 0; r < R; r++)
                a[r] = (v16si)_mm512_dpbusd_epi32((__m512i)a[r], v, four_of(xq[r] + b * sub + i));
        }
        size_t at = (size_t)b * K_PANEL;
        __m512 d = w->d ? _mm512_loadu_ps(w->d + at)
                        : _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(w->d16 + at)));
        __m512 m = mins ? _mm512_loadu_ps(w->m + at) : _mm512_setzero_ps();
        UNROLL for (int r = 0; r < R; r++) {
            float sx = sub == 16 ? x[r].s[b] : x[r].s[2 * b] + x[r].s[2 * b + 1];
            __m512 t = _mm512_fmsub_ps(_mm512_cvtepi32_ps((__m512i)a[r]),
                                       _mm512_set1_ps(x[r].d[b * sub / 32]), _mm512_set1_ps(128.0f * sx));
            f[r] = _mm512_fmadd_ps(t, d, f[r]);
            if (mins) f[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(sx), f[r]);
        }
    }
    UNROLL for (int r = 0; r < R; r++) _mm512_storeu_ps(y + (size_t)r * ldy, f[r]);
}

INLINE void tile_kinds(const struct k_panel *w, int n, const struct k_xrow *x, int R, float *y, size_t ldy)
{
    if (w->sub == 32 && !w->m) tile(w, n, x, R, y, ldy, 32, false);
    else if (w->sub == 32) tile(w, n, x, R, y, ldy, 32, true);
    else if (!w->m) tile(w, n, x, R, y, ldy, 16, false);
    else tile(w, n, x, R, y, ldy, 16, true);
}

static void tile_vnni(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y, size_t ldy)
{
    if (rows == 12) {
        tile_kinds(w, n, x, 12, y, ldy);
        return;
    }
    if (rows >= 6) {
        tile_kinds(w, n, x, 6, y, ldy);
        rows -= 6, x += 6, y += 6 * ldy;
    }
    if (rows >= 3) {
        tile_kinds(w, n, x, 3, y, ldy);
        rows -= 3, x += 3, y += 3 * ldy;
    }
    for (; rows > 0; rows--, x++, y += ldy) tile_kinds(w, n, x, 1, y, ldy);
}

/* Scales and sums of up to 16 blocks of x from block b on, a lane each. */
INLINE void scales_of(const struct k_xrow *x, int b, int left, int sub, __m512 *d, __m512 *s)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i even = _mm512_slli_epi32(lane, 1);
    int n = sub == 32 ? left : (left + 1) / 2;
    *d = _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x->d + b * sub / 32);
    if (sub == 16) {
        *d = _mm512_permutexvar_ps(_mm512_srli_epi32(lane, 1), *d);
        *s = _mm512_maskz_loadu_ps((__mmask16)((1u << left) - 1), x->s + b);
        return;
    }
    /* sums come by 16: add neighbours */
    __mmask16 hi = (__mmask16)(left > 8 ? (1u << (2 * left - 16)) - 1 : 0);
    __mmask16 lo = (__mmask16)(left >= 8 ? 0xffff : (1u << (2 * left)) - 1);
    __m512 s0 = _mm512_maskz_loadu_ps(lo, x->s + 2 * b);
    __m512 s1 = hi ? _mm512_maskz_loadu_ps(hi, x->s + 2 * b + 16) : _mm512_setzero_ps();
    *s = _mm512_add_ps(_mm512_permutex2var_ps(s0, even, s1),
                       _mm512_permutex2var_ps(s0, _mm512_add_epi32(even, _mm512_set1_epi32(1)), s1));
}

/* ---- four panels at once ---- */

enum { SPAN = 1024, MOST_BLOCKS = SPAN / 16 };   /* inputs whose scales of x lie side by side */

/* Scales of x and 128 times its sums, by block: rows of equal length, so that one address finds them all. */
struct x_scales { float d[K_INT_MR][MOST_BLOCKS], s[K_INT_MR][MOST_BLOCKS]; };

INLINE void copy_scales(struct x_scales *z, const struct k_xrow *x, int rows, int b0, int blocks, int sub)
{
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < blocks; b += 16) {
            __m512 d, s;
            scales_of(x + r, b0 + b, blocks - b < 16 ? blocks - b : 16, sub, &d, &s);
            _mm512_storeu_ps(z->d[r] + b, d);
            _mm512_storeu_ps(z->s[r] + b, _mm512_mul_ps(s, _mm512_set1_ps(128.0f)));
        }
}

/* Inputs k0 .. k0+n-1 of rows r0 .. r0+R-1; the same operations in the same order as in `tile`. */
INLINE void part4(const struct k_panel *w, int k0, int n, const struct k_xrow *x, const struct x_scales *z,
                  int r0, int R, float *y, size_t ldy, int sub, bool mins, bool halves)
{
    const int8_t *q[K_NP], *xq[3];
    const char *wd[K_NP];                            /* scales of either kind */
    const size_t step = K_PANEL * (halves ? sizeof *w->d16 : sizeof *w->d), first = (size_t)(k0 / sub);
    __m512 f[3][K_NP];
    UNROLL for (int p = 0; p < K_NP; p++) {
        q[p] = w[p].q + (size_t)k0 * K_PANEL;
        wd[p] = (halves ? (const char *)w[p].d16 : (const char *)w[p].d) + first * step;
    }
    UNROLL for (int r = 0; r < R; r++) {
        xq[r] = (const int8_t *)x[r0 + r].q + k0;
        UNROLL for (int p = 0; p < K_NP; p++)
            f[r][p] = k0 ? _mm512_loadu_ps(y + (size_t)r * ldy + p * K_PANEL) : _mm512_setzero_ps();
    }
    for (int b = 0; b < n / sub; b++) {
        v16si a[3][K_NP];
        UNROLL for (int r = 0; r < R; r++)
            UNROLL for (int p = 0; p < K_NP; p++) a[r][p] = (v16si){ 0 };
        _Pragma("GCC unroll 2") for (int i = 0; i < sub; i += 4) {
            __m512i v[K_NP];
            UNROLL for (int p = 0; p < K_NP; p++, q[p - 1] += 4 * K_PANEL) v[p] = _mm512_loadu_si512(q[p]);
            UNROLL for (int r = 0; r < R; r++) {
                __m512i four = four_of(xq[r] + b * sub + i);
                __asm__("" : "+v"(four));           /* one load, not one in each product */
                UNROLL for (int p = 0; p < K_NP; p++)
                    a[r][p] = (v16si)_mm512_dpbusd_epi32((__m512i)a[r][p], v[p], four);
            }
        }
        __m512 d[K_NP], m[K_NP];
        UNROLL for (int p = 0; p < K_NP; p++, wd[p - 1] += step) {
            d[p] = halves ? _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)wd[p]))
                          : _mm512_loadu_ps(wd[p]);
            if (mins)
                m[p] = _mm512_mul_ps(_mm512_loadu_ps(w[p].m + (first + (size_t)b) * K_PANEL),
                                     _mm512_set1_ps(1.0f / 128));
        }
        UNROLL for (int r = 0; r < R; r++) {
            __m512 dx = _mm512_set1_ps(z->d[r0 + r][b]), sx = _mm512_set1_ps(z->s[r0 + r][b]);
            UNROLL for (int p = 0; p < K_NP; p++) {
                __m512 t = _mm512_fmsub_ps(_mm512_cvtepi32_ps((__m512i)a[r][p]), dx, sx);
                f[r][p] = _mm512_fmadd_ps(t, d[p], f[r][p]);
                if (mins) f[r][p] = _mm512_fmadd_ps(m[p], sx, f[r][p]);
            }
        }
    }
    UNROLL for (int r = 0; r < R; r++)
        UNROLL for (int p = 0; p < K_NP; p++) _mm512_storeu_ps(y + (size_t)r * ldy + p * K_PANEL, f[r][p]);
}

INLINE void tile4(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y, size_t ldy,
                  int sub, bool mins, bool halves)
{
    struct x_scales z;
    for (int k0 = 0; k0 < n; k0 += SPAN) {
        int r = 0, len = n - k0 < SPAN ? n - k0 : SPAN;
        copy_scales(&z, x, rows, k0 / sub, len / sub, sub);
        for (; r + 3 <= rows; r += 3)
            part4(w, k0, len, x, &z, r, 3, y + (size_t)r * ldy, ldy, sub, mins, halves);
        for (; r < rows; r++) part4(w, k0, len, x, &z, r, 1, y + (size_t)r * ldy, ldy, sub, mins, halves);
    }
}

static void tile4_vnni(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y, size_t ldy)
{
    if (w->sub == 32 && !w->m && !w->d) tile4(w, n, x, rows, y, ldy, 32, false, true);
    else if (w->sub == 32 && !w->m) tile4(w, n, x, rows, y, ldy, 32, false, false);
    else if (w->sub == 32) tile4(w, n, x, rows, y, ldy, 32, true, !w->d);
    else if (!w->m) tile4(w, n, x, rows, y, ldy, 16, false, !w->d);
    else tile4(w, n, x, rows, y, ldy, 16, true, !w->d);
}

/* One row of unpacked weights: 64 values a step, whose lanes belong to 2 blocks of 32 or 4 of 16. Scales of
 * 16 blocks are multiplied at once and dealt out by a permutation. */
INLINE float dot(const int8_t *q, const float *d, const float *m, int sub, int n, const struct k_xrow *x)
{
    const int8_t *xq = x->q;
    const int per = 64 / sub;                     /* blocks of a step */
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i block = sub == 32 ? _mm512_srli_epi32(lane, 3) : _mm512_srli_epi32(lane, 2);
    __m512 sum = _mm512_setzero_ps(), rest = _mm512_setzero_ps();
    for (int b = 0; b < n / sub; b += 16) {
        int left = n / sub - b < 16 ? n / sub - b : 16;
        __mmask16 k = (__mmask16)((1u << left) - 1);
        __m512 w = _mm512_maskz_loadu_ps(k, d + b), dx, sx;
        scales_of(x, b, left, sub, &dx, &sx);
        __m512 off = _mm512_mul_ps(w, _mm512_set1_ps(-128.0f)), scale = _mm512_mul_ps(w, dx);
        if (m) off = _mm512_add_ps(off, _mm512_maskz_loadu_ps(k, m + b));
        rest = _mm512_fmadd_ps(off, sx, rest);
        for (int j = 0; j < left; j += per) {
            int at = (b + j) * sub;
            __mmask64 in = n - at >= 64 ? ~0ull : ((1ull << (n - at)) - 1);
            __m512i u = _mm512_xor_si512(_mm512_maskz_loadu_epi8(in, q + at), _mm512_set1_epi8((char)0x80));
            __m512i a = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u, _mm512_maskz_loadu_epi8(in, xq + at));
            __m512 z = _mm512_permutexvar_ps(_mm512_add_epi32(block, _mm512_set1_epi32(j)), scale);
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), z, sum);
        }
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum, rest));
}

static float dot_vnni(const int8_t *q, const float *d, const float *m, int sub, int n, const struct k_xrow *x)
{
    return sub == 32 ? dot(q, d, m, 32, n, x) : dot(q, d, m, 16, n, x);
}

const struct k_int8 int8_vnni = {
    .name = "int8 vnni",
    .rows = K_INT_MR,
    .x_elem = 1,
    .x_max = 127,
    .quant = quant_vnni,
    .pack = k_pack_int8_vnni,
    .tile = tile_vnni,
    .tile4 = tile4_vnni,
    .dot = dot_vnni,
    .planes = &planes_vnni,
};
