/* Stored quantised rows against one row of x, AVX-512 VNNI: what decode does with weights that are not
 * repacked.
 *
 * A row is read once, as it lies in the file: a few shifts and masks make 64 unsigned weights of it, vpdpbusd
 * multiplies them with 64 signed activations, and the 16 sums meet the scales of their blocks in f32. Offsets
 * and minima meet the sums of x that its quantisation left: d*(q - o)*x = d*(q*x) - d*o*sum(x). At 10 to 20
 * instructions for 64 weights, the K types go at the speed of memory. The twin is unpack_c with dot_int8_c.
 */
#include "attn512.h"
#include "levels.h"

#include <string.h>

typedef const uint8_t *bytes;

struct sums {
    __m512 dot, rest;
}; /* products; d * offset or minimum times sums of x, to be subtracted */

INLINE float half_at(bytes b)
{
    uint16_t h;
    memcpy(&h, b, sizeof h);
    return _cvtsh_ss(h);
}

INLINE uint32_t word_at(bytes b)
{
    uint32_t w;
    memcpy(&w, b, sizeof w);
    return w;
}

INLINE __m512i both(bytes b) /* 32 bytes, twice */
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)b));
}

INLINE __m512i halves(int lo, int hi)
{
    return _mm512_inserti64x4(_mm512_set1_epi64(lo), _mm256_set1_epi64x(hi), 1);
}

INLINE __m512i bytes_of(int lo, int hi)
{
    return _mm512_inserti64x4(_mm512_set1_epi8((char)lo), _mm256_set1_epi8((char)hi), 1);
}

/* 64 weights of 256, part p: their 16 sums times the scales of their blocks, which are lanes of `scale`. */
INLINE void meet(struct sums *s, __m512i weights, const int8_t *x, __m512 scale, __m512i lane)
{
    __m512i a = _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, _mm512_loadu_si512(x));
    s->dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), _mm512_permutexvar_ps(lane, scale), s->dot);
}

/* Lanes of the scales of part p: blocks of 32 have eight sums each, blocks of 16 four. */
INLINE __m512i lanes32(int p)
{
    return _mm512_inserti64x4(_mm512_set1_epi32(2 * p), _mm256_set1_epi32(2 * p + 1), 1);
}
INLINE __m512i lanes16(int p)
{
    const __m512i four = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_add_epi32(four, _mm512_set1_epi32(4 * p));
}

/* Scales of 16 blocks of 16 as f32, and what they are with the scales of x. */
INLINE __m512 with_x(__m512 scale, const float *xd)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_mul_ps(scale, _mm512_permutexvar_ps(twice, _mm512_castps256_ps512(_mm256_loadu_ps(xd))));
}

/* ---- 256 weights ---- */

INLINE void q45_k(struct sums *s, bytes b, const int8_t *x, const float *xd, const float *xs, bool five)
{
    bytes qs = b + (five ? 48 : 16);
    uint32_t u0 = word_at(b + 4), u1 = word_at(b + 8), u2 = word_at(b + 12);
    uint64_t sc = (u0 & 0x3f3f3f3f) | (uint64_t)((u2 & 0x0f0f0f0f) | (u0 >> 2 & 0x30303030)) << 32;
    uint64_t mn = (u1 & 0x3f3f3f3f) | (uint64_t)((u2 >> 4 & 0x0f0f0f0f) | (u1 >> 2 & 0x30303030)) << 32;
    const __m128i twice = _mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    __m256 d = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)sc)));
    d = _mm256_mul_ps(_mm256_mul_ps(d, _mm256_set1_ps(half_at(b))), _mm256_loadu_ps(xd));
    __m512i m = _mm512_cvtepu8_epi32(_mm_shuffle_epi8(_mm_cvtsi64_si128((long long)mn), twice));
    __m512 min = _mm512_mul_ps(_mm512_cvtepi32_ps(m), _mm512_set1_ps(half_at(b + 2)));
    s->rest = _mm512_fmadd_ps(min, _mm512_loadu_ps(xs), s->rest);
    __m512 scale = _mm512_castps256_ps512(d);
    __m512i qh = five ? both(b + 16) : _mm512_setzero_si512();
    UNROLL for (int p = 0; p < 4; p++)
    {
        __m512i v =
            _mm512_and_si512(_mm512_srlv_epi64(both(qs + 32 * p), halves(0, 4)), _mm512_set1_epi8(15));
        if (five) {
            __mmask64 up = _mm512_test_epi8_mask(qh, bytes_of(1 << (2 * p), 2 << (2 * p)));
            v = _mm512_mask_add_epi8(v, up, v, _mm512_set1_epi8(16));
        }
        meet(s, v, x + 64 * p, scale, lanes32(p));
    }
}

INLINE void q6_k(struct sums *s, bytes b, const int8_t *x, const float *xd, const float *xs)
{
    __m512i sc = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(b + 192)));
    __m512 d = _mm512_mul_ps(_mm512_cvtepi32_ps(sc), _mm512_set1_ps(half_at(b + 208)));
    s->rest = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(32)), _mm512_loadu_ps(xs), s->rest);
    __m512 scale = with_x(d, xd);
    const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8(48);
    UNROLL for (int h = 0; h < 2; h++)
    {
        __m512i ql = _mm512_loadu_si512(b + 64 * h), qh = both(b + 128 + 32 * h);
        __m512i h01 = _mm512_and_si512(_mm512_sllv_epi64(qh, halves(4, 2)), high);
        __m512i h23 = _mm512_and_si512(_mm512_srlv_epi64(qh, halves(0, 2)), high);
        enum { A_AND_B_OR_C = 0xea };
        meet(s, _mm512_ternarylogic_epi64(ql, low, h01, A_AND_B_OR_C), x + 128 * h, scale, lanes16(2 * h));
        meet(s, _mm512_ternarylogic_epi64(_mm512_srli_epi16(ql, 4), low, h23, A_AND_B_OR_C), x + 128 * h + 64,
             scale, lanes16(2 * h + 1));
    }
}

/* Two bits of weight in qs, and for Q3_K a third in hm. */
INLINE void two_bits(struct sums *s, bytes qs, bytes hm, const int8_t *x, __m512 scale)
{
    __m512i up = hm ? both(hm) : _mm512_setzero_si512();
    UNROLL for (int p = 0; p < 4; p++)
    {
        int shift = p % 2 * 4;
        __m512i v = _mm512_and_si512(_mm512_srlv_epi64(both(qs + 32 * (p / 2)), halves(shift, shift + 2)),
                                     _mm512_set1_epi8(3));
        if (hm) {
            __mmask64 k = _mm512_test_epi8_mask(up, bytes_of(1 << (2 * p), 2 << (2 * p)));
            v = _mm512_mask_add_epi8(v, k, v, _mm512_set1_epi8(4));
        }
        meet(s, v, x + 64 * p, scale, lanes16(p));
    }
}

INLINE void q3_k(struct sums *s, bytes b, const int8_t *x, const float *xd, const float *xs)
{
    uint32_t a = word_at(b + 96), c = word_at(b + 100), u = word_at(b + 104);
    const int nib = 0x0f0f0f0f;
    __m128i lo = _mm_setr_epi32((int)a & nib, (int)c & nib, (int)(a >> 4) & nib, (int)(c >> 4) & nib);
    __m128i hi =
        _mm_and_si128(_mm_srlv_epi32(_mm_set1_epi32((int)u), _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    __m128i sc = _mm_sub_epi8(_mm_or_si128(lo, _mm_slli_epi16(hi, 4)), _mm_set1_epi8(32));
    __m512 d = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sc)), _mm512_set1_ps(half_at(b + 108)));
    s->rest = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(4)), _mm512_loadu_ps(xs), s->rest);
    two_bits(s, b + 32, b, x, with_x(d, xd));
}

INLINE void q2_k(struct sums *s, bytes b, const int8_t *x, const float *xd, const float *xs)
{
    __m512i sc = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)b));
    __m512i lo = _mm512_and_si512(sc, _mm512_set1_epi32(15)), hi = _mm512_srli_epi32(sc, 4);
    __m512 d = _mm512_mul_ps(_mm512_cvtepi32_ps(lo), _mm512_set1_ps(half_at(b + 80)));
    __m512 min = _mm512_mul_ps(_mm512_cvtepi32_ps(hi), _mm512_set1_ps(half_at(b + 82)));
    s->rest = _mm512_fmadd_ps(min, _mm512_loadu_ps(xs), s->rest);
    two_bits(s, b + 16, NULL, x, with_x(d, xd));
}

/* ---- two blocks of 32 weights; the second may be missing ---- */

INLINE __m512i nibbles(bytes a, bytes b)
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a));
    if (b)
        v = _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)b), 1);
    else
        v = _mm256_zextsi128_si256(_mm256_castsi256_si128(v));
    const __m512i twice = _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
                  shift = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    __m512i w = _mm512_permutexvar_epi64(twice, _mm512_castsi256_si512(v));
    return _mm512_and_si512(_mm512_srlv_epi64(w, shift), _mm512_set1_epi8(15));
}

INLINE __m128 two_halfs(bytes a, bytes b) /* a, a, b, b */
{
    uint16_t x, y = 0;
    memcpy(&x, a, sizeof x);
    if (b) memcpy(&y, b, sizeof y);
    __m128 f = _mm_cvtph_ps(_mm_cvtsi32_si128((int)((uint32_t)x | (uint32_t)y << 16)));
    return _mm_unpacklo_ps(f, f);
}

/* Q4_0 and Q5_0 have an offset, Q4_1 and Q5_1 a minimum; fives: where the fifth bits are, 0: none. */
INLINE void pair_32(struct sums *s, bytes a, bytes b, const int8_t *x, const float *xd, const float *xs,
                    int fives, int nibs, float offset)
{
    __m512i v = nibbles(a + nibs, b ? b + nibs : NULL);
    if (fives) {
        __mmask64 k = word_at(a + fives) | (b ? (uint64_t)word_at(b + fives) << 32 : 0);
        v = _mm512_mask_add_epi8(v, k, v, _mm512_set1_epi8(16));
    }
    __mmask64 in = b ? ~0ull : 0xffffffff;
    __mmask8 in4 = b ? 15 : 3;
    __m128 d = two_halfs(a, b), sx = _mm_maskz_loadu_ps(in4, xs);
    __m128 dx = _mm_maskz_loadu_ps(b ? 3 : 1, xd);
    __m128 rest = offset > 0 ? _mm_mul_ps(d, _mm_set1_ps(offset))
                             : _mm_sub_ps(_mm_setzero_ps(), two_halfs(a + 2, b ? b + 2 : NULL));
    s->rest = _mm512_mask3_fmadd_ps(_mm512_castps128_ps512(rest), _mm512_castps128_ps512(sx), s->rest, 15);
    const __m512i lane = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
    __m512 scale = _mm512_castps128_ps512(_mm_mul_ps(d, _mm_unpacklo_ps(dx, dx)));
    __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), v, _mm512_maskz_loadu_epi8(in, x));
    s->dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_permutexvar_ps(lane, scale), s->dot);
}

INLINE void one(enum k_type type, struct sums *s, bytes b, bytes next, const int8_t *x, const float *xd,
                const float *xs)
{
    switch (type) {
    case K_Q4_K: q45_k(s, b, x, xd, xs, false); break;
    case K_Q5_K: q45_k(s, b, x, xd, xs, true); break;
    case K_Q6_K: q6_k(s, b, x, xd, xs); break;
    case K_Q3_K: q3_k(s, b, x, xd, xs); break;
    case K_Q2_K: q2_k(s, b, x, xd, xs); break;
    case K_Q4_0: pair_32(s, b, next, x, xd, xs, 0, 2, 8); break;
    case K_Q4_1: pair_32(s, b, next, x, xd, xs, 0, 4, 0); break;
    case K_Q5_0: pair_32(s, b, next, x, xd, xs, 2, 6, 16); break;
    default: pair_32(s, b, next, x, xd, xs, 4, 8, 0); break;
    }
}

enum { AHEAD = 1024 }; /* bytes: rows follow each other, but pages need not */

INLINE float row(enum k_type type, int block, int size, bytes w, int n, const struct k_xrow *x)
{
    struct sums s[2] = { { _mm512_setzero_ps(), _mm512_setzero_ps() },
                         { _mm512_setzero_ps(), _mm512_setzero_ps() } };
    const int8_t *xq = x->q;
    int step = block == 256 ? 256 : 64, i = 0;
    for (int turn = 0; i + step <= n; i += step, turn ^= 1) {
        bytes b = w + (size_t)(i / block) * (size_t)size;
        _mm_prefetch((const char *)b + AHEAD, _MM_HINT_T0);
        if (size > 64) _mm_prefetch((const char *)b + AHEAD + 64, _MM_HINT_T0);
        one(type, &s[0], b, b + size, xq + i, x->d + i / 32, x->s + i / 16);
    }
    if (i < n)
        one(type, &s[1], w + (size_t)(i / block) * (size_t)size, NULL, xq + i, x->d + i / 32, x->s + i / 16);
    __m512 dot = _mm512_add_ps(s[0].dot, s[1].dot), rest = _mm512_add_ps(s[0].rest, s[1].rest);
    return _mm512_reduce_add_ps(_mm512_sub_ps(dot, rest));
}

#define ROWS(TYPE, BLOCK, SIZE)                                                                              \
    static void rows_##TYPE(bytes w, size_t stride, int count, int n, const struct k_xrow *x, float *y)      \
    {                                                                                                        \
        for (int r = 0; r < count; r++) y[r] = row(K_##TYPE, BLOCK, SIZE, w + (size_t)r * stride, n, x);     \
    }
ROWS(Q4_0, 32, 18)
ROWS(Q4_1, 32, 20)
ROWS(Q5_0, 32, 22)
ROWS(Q5_1, 32, 24)
ROWS(Q2_K, 256, 84)
ROWS(Q3_K, 256, 110)
ROWS(Q4_K, 256, 144)
ROWS(Q5_K, 256, 176)
ROWS(Q6_K, 256, 210)

bool k_stored_vnni(enum k_type type, const void *w, size_t stride, int count, int n, const struct k_xrow *x,
                   float *y)
{
    static void (*const of[K_N_TYPES])(bytes, size_t, int, int, const struct k_xrow *, float *) = {
        [K_Q4_0] = rows_Q4_0, [K_Q4_1] = rows_Q4_1, [K_Q5_0] = rows_Q5_0,
        [K_Q5_1] = rows_Q5_1, [K_Q2_K] = rows_Q2_K, [K_Q3_K] = rows_Q3_K,
        [K_Q4_K] = rows_Q4_K, [K_Q5_K] = rows_Q5_K, [K_Q6_K] = rows_Q6_K,
    };
    if (!of[type]) return false;
    of[type](w, stride, count, n, x, y);
    return true;
}
