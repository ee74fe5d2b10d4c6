/* Stored weights to integers or to f32, AVX2.
 *
 * The K types go through the loops of unpack.h, which the compiler vectorises with these flags; the types of
 * 32 values a block are written out, since it does not see through their short loops. */
#include "unpack.h"
#include "avx2.h"
#include "levels.h"

/* 32 nibbles of 16 bytes: the low ones first. */
INLINE __m256i nibbles(const uint8_t *qs)
{
    __m128i b = _mm_loadu_si128((const __m128i *)qs);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(b, 4), b), _mm256_set1_epi8(15));
}

/* 32 bits as 32 bytes of 0 or 16. */
INLINE __m256i fifths(const uint8_t *qh)
{
    int32_t h;
    memcpy(&h, qh, sizeof h);
    const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    __m256i v = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(h), spread), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), _mm256_set1_epi8(16));
}

INLINE void unpack_block(enum k_type type, const uint8_t *b, int8_t *q, float *d, float *m)
{
    __m256i v;
    *d = unpack_half(b);
    *m = 0.0f;
    switch (type) {
    case K_Q8_0: v = _mm256_loadu_si256((const __m256i *)(b + 2)); break;
    case K_Q4_0: v = _mm256_sub_epi8(nibbles(b + 2), _mm256_set1_epi8(8)); break;
    case K_Q4_1: v = nibbles(b + 4); break;
    case K_Q5_0:
        v = _mm256_sub_epi8(_mm256_or_si256(nibbles(b + 6), fifths(b + 2)), _mm256_set1_epi8(16));
        break;
    default: v = _mm256_or_si256(nibbles(b + 8), fifths(b + 4)); break;
    }
    if (type == K_Q4_1 || type == K_Q5_1) *m = unpack_half(b + 2);
    _mm256_storeu_si256((__m256i *)q, v);
}

INLINE int unpack_blocks(enum k_type type, const uint8_t *b, int n, int8_t *q, float *d, float *m)
{
    for (int i = 0; i < n / 32; i++, b += k_type_info[type].bytes)
        unpack_block(type, b, q + 32 * i, d + i, m + i);
    return 32;
}

int k_unpack_avx2(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m, bool *has_m)
{
    *has_m = type == K_Q4_1 || type == K_Q5_1;
    switch (type) {
    case K_Q8_0: return unpack_blocks(K_Q8_0, row, n, q, d, m);
    case K_Q4_0: return unpack_blocks(K_Q4_0, row, n, q, d, m);
    case K_Q4_1: return unpack_blocks(K_Q4_1, row, n, q, d, m);
    case K_Q5_0: return unpack_blocks(K_Q5_0, row, n, q, d, m);
    case K_Q5_1: return unpack_blocks(K_Q5_1, row, n, q, d, m);
    default: return unpack_row(type, row, n, q, d, m, has_m);
    }
}

/* Integers times scale, in pieces that fit the first-level cache. Products and sums are
 * rounded as in the twin. */
void k_dequant_avx2(enum k_type type, const void *row, int n, float *out)
{
    enum { PIECE = 256 };
    int8_t q[PIECE];
    float d[PIECE / 16], m[PIECE / 16];
    if (type == K_F16) k_from_f16_avx2(row, n, out);
    else if (type == K_BF16) k_from_bf16_avx2(row, n, out);
    else if (type == K_F32) memcpy(out, row, (size_t)n * sizeof *out);
    else
        for (int i = 0; i < n; i += PIECE) {
            bool has_m;
            int len = n - i < PIECE ? n - i : PIECE;
            const uint8_t *b = (const uint8_t *)row +
                               (size_t)(i / k_type_info[type].block) * (size_t)k_type_info[type].bytes;
            int sub = k_unpack_avx2(type, b, len, q, d, m, &has_m);
            for (int j = 0; j < len; j += 8) {
                __m256 v =
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(q + j))));
                v = _mm256_mul_ps(v, _mm256_set1_ps(d[j / sub]));
                if (has_m) v = _mm256_add_ps(v, _mm256_set1_ps(m[j / sub]));
                _mm256_storeu_ps(out + i + j, v);
            }
        }
}
