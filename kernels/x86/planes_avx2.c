/* Panels of planes against one row of x, AVX2: decode with weights of less than 8 bits.
 *
 * As planes_vnni.c, with lanes of 16-bit words: a word holds a row's weights of every fourth (or eighth, or
 * sixteenth) input pair, so that a shift and a mask make 16-bit weights without widening, and vpmaddwd
 * multiplies them with the 16-bit activations of this level. Rows come eight at a time. */
#include "planes.h"
#include "avx2.h"
#include "levels.h"

DEFINE_PLANES(uint16_t)
DEFINE_PLANES_PACK(uint16_t, k_unpack_avx2, k_pack_int8_avx2, 0)

enum { AHEAD = 8192 }; /* bytes; with 2048 the K types wait for memory between their blocks */

INLINE __m256i pair_of(const int16_t *x)
{
    int v;
    memcpy(&v, x, sizeof v);
    return _mm256_set1_epi32(v);
}

/* Field f of the words of v, `bits` wide, moved to bit `to`. */
INLINE __m256i field(__m256i v, int bits, int f, int to)
{
    int by = bits * f - to;
    if (by > 0) v = _mm256_srli_epi16(v, by);
    if (by < 0) v = _mm256_slli_epi16(v, -by);
    if (bits * (f + 1) == 16 && by >= 0 && !to) return v;
    return _mm256_and_si256(v, _mm256_set1_epi16((short)(((1 << bits) - 1) << to)));
}

/* Sums of the two halves of a block (inputs 0-15 and 16-31), for eight rows: p stands at their lanes. */
INLINE void block_sums(const struct planes k, const uint8_t *p, const int16_t *x, __m256i *a)
{
    __m256i low[4], high[2];
    a[0] = a[1] = _mm256_setzero_si256();
    UNROLL for (int v = 0; v < k.low; v++) low[v] = _mm256_loadu_si256((const __m256i *)(p + PLANES_VEC * v));
    UNROLL for (int v = 0; v < k.high; v++) high[v] =
        _mm256_loadu_si256((const __m256i *)(p + PLANES_VEC * (k.low + v)));
    _Pragma("GCC unroll 16") for (int g = 0; g < 16; g++)
    {
        __m256i w = field(low[g % k.low], k.low, g / k.low, 0);
        if (k.high) w = _mm256_or_si256(w, field(high[g % k.high], k.high, g / k.high, k.low));
        a[g / 8] = _mm256_add_epi32(a[g / 8], _mm256_madd_epi16(w, pair_of(x + 2 * g)));
    }
}

INLINE __m256 halves_at(const uint8_t *s) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)s)); }
INLINE __m256i widened(const uint8_t *s) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)s)); }
INLINE __m256 bytes_at(const uint8_t *s) { return _mm256_cvtepi32_ps(widened(s)); }
INLINE __m256 signed_at(const uint8_t *s)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)s)));
}

/* Sums a times the scale of x, less the offset's share of the sum of x. */
INLINE __m256 in_x(const struct planes k, __m256i a, float dx, float sx)
{
    __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(a), _mm256_set1_ps(dx));
    return k.offset ? _mm256_sub_ps(t, _mm256_set1_ps((float)k.offset * sx)) : t;
}

/* One block of a K type: f += s * sums, g += t * sums of x, with the integer scales at s. */
INLINE void super_block(const struct planes k, const __m256i *a, const uint8_t *s, float dx, const float *sx,
                        __m256 *f, __m256 *g)
{
    if (k.sub == 32) {
        *f = _mm256_fmadd_ps(in_x(k, _mm256_add_epi32(a[0], a[1]), dx, 0), bytes_at(s), *f);
        *g = _mm256_fmadd_ps(bytes_at(s + 16), _mm256_set1_ps(sx[0] + sx[1]), *g);
        return;
    }
    UNROLL for (int h = 0; h < 2; h++)
    {
        __m256 sum = in_x(k, a[h], dx, sx[h]);
        if (!k.min) {
            *f = _mm256_fmadd_ps(sum, signed_at(s + 16 * h), *f);
            continue;
        }
        __m256i both = widened(s + 16 * h);
        __m256 lo = _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15)));
        *f = _mm256_fmadd_ps(sum, lo, *f);
        *g = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(both, 4)), _mm256_set1_ps(sx[h]), *g);
    }
}

INLINE void fetch(const uint8_t *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

INLINE void dot(const struct planes k, const uint8_t *p, int n, const struct k_xrow *x, float *y)
{
    const int16_t *xq = x->q;
    const float *xd = x->d, *xs = x->s;
    const int blocks = n / 32, per = k.super ? 8 : 1, block = PLANES_VEC * (k.low + k.high);
    const uint8_t *s = p + planes_first_scales(&k, n);
    __m256 sum[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    for (int b = 0; b < blocks; b += per, p += k.super ? PLANES_SCALES(k) : 0, s += PLANES_SCALES_STEP(k)) {
        __m256 f[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
        __m256 g[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
        if (k.super)
            fetch(s + AHEAD, PLANES_SCALES(k));
        else
            fetch(s + blocks * (block + PLANES_SCALES(k)), PLANES_SCALES(k)); /* of the next panel */
        const uint8_t *ints = s + (k.min ? 64 : 32);
        _Pragma("GCC unroll 1") for (int j = 0; j < per; j++, p += block, xq += 32, xd++, xs += 2)
        {
            fetch(p + AHEAD, block);
            UNROLL for (int r = 0; r < 2; r++)
            { /* rows 0-7, rows 8-15 */
                __m256i a[2];
                block_sums(k, p + 32 * r, xq, a);
                if (k.super)
                    super_block(k, a, ints + 32 * j + 8 * r, *xd, xs, &f[r], &g[r]);
                else
                    f[r] = in_x(k, _mm256_add_epi32(a[0], a[1]), *xd, xs[0] + xs[1]);
            }
        }
        UNROLL for (int r = 0; r < 2; r++)
        {
            sum[r] = _mm256_fmadd_ps(f[r], halves_at(s + 16 * r), sum[r]);
            if (!k.min) continue;
            __m256 m = halves_at(s + 32 + 16 * r);
            if (k.super)
                sum[r] = _mm256_fnmadd_ps(g[r], m, sum[r]);
            else
                sum[r] = _mm256_fmadd_ps(m, _mm256_set1_ps(xs[-2] + xs[-1]), sum[r]);
        }
    }
    _mm256_storeu_ps(y, sum[0]);
    _mm256_storeu_ps(y + 8, sum[1]);
}

/* The table's entries as constants, so that each type is code of its own. */
#define DOT(TYPE, ...)                                                                                       \
    static void dot_##TYPE(const uint8_t *p, int n, const struct k_xrow *x, float *y)                        \
    {                                                                                                        \
        const struct planes k = { __VA_ARGS__ };                                                             \
        dot(k, p, n, x, y);                                                                                  \
    }
PLANES_TYPES(DOT)

static void planes_dot(enum k_type type, const void *panel, int n, const struct k_xrow *x, float *y)
{
#define ENTRY(TYPE, ...) [K_##TYPE] = dot_##TYPE,
    static void (*const of[K_N_TYPES])(const uint8_t *, int, const struct k_xrow *,
                                       float *) = { PLANES_TYPES(ENTRY) };
    of[type](panel, n, x, y);
}

const struct k_planes planes_avx2 = {
    .bytes = planes_bytes,
    .pack = planes_pack,
    .dot = planes_dot,
    .open = planes_open,
};
