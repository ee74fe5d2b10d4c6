/* Panels of planes against one row of x, AVX-512 VNNI: decode with weights of less than 8 bits.
 *
 * The sixteen lanes are sixteen rows of weights from beginning to end: a mask, perhaps a shift, makes 64
 * unsigned weights of a vector of the plane, vpdpbusd multiplies them with four activations that all rows
 * share (a broadcast from memory costs nothing), and sums of a block meet its scales lane by lane. High
 * nibbles are not shifted at all: their sums are, once for a block. Offsets and minima meet the sums of x
 * that its quantisation left. Some 30 instructions for 512 weights, so that memory decides; coming lines are
 * asked for ahead, since each page of the weights is new. */
#include "planes.h"
#include "attn512.h"
#include "levels.h"

DEFINE_PLANES(uint8_t)
DEFINE_PLANES_PACK(uint8_t, k_unpack_avx2, k_pack_int8_vnni, (int8_t)-128)

enum { AHEAD = 2048 }; /* bytes */

INLINE __m512i four_of(const int8_t *x)
{
    int v;
    memcpy(&v, x, sizeof v);
    return _mm512_set1_epi32(v);
}

/* Field f of the bytes of v, `bits` wide, moved to bit `to`. */
INLINE __m512i field(__m512i v, int bits, int f, int to)
{
    int by = bits * f - to;
    if (by > 0) v = _mm512_srli_epi16(v, (unsigned)by);
    if (by < 0) v = _mm512_slli_epi16(v, (unsigned)-by);
    return _mm512_and_si512(v, _mm512_set1_epi8((char)(((1 << bits) - 1) << to)));
}

/* Sums of the two halves of a block: inputs 0-15 and 16-31. */
INLINE void block_sums(const struct planes k, const uint8_t *p, const int8_t *x, __m512i *a)
{
    __m512i low[4], high[2];
    a[0] = a[1] = _mm512_setzero_si512();
    UNROLL for (int v = 0; v < k.low; v++) low[v] = _mm512_loadu_si512(p + PLANES_VEC * v);
    if (k.low == 4 && !k.high) {
        UNROLL for (int v = 0; v < 4; v++)
        {
            a[0] = _mm512_dpbusd_epi32(a[0], field(low[v], 4, 0, 0), four_of(x + 4 * v));
            a[1] = _mm512_dpbusd_epi32(a[1], _mm512_and_si512(low[v], _mm512_set1_epi8((char)0xf0)),
                                       four_of(x + 16 + 4 * v));
        }
        a[1] = _mm512_srai_epi32(a[1], 4);
        return;
    }
    UNROLL for (int v = 0; v < k.high; v++) high[v] = _mm512_loadu_si512(p + PLANES_VEC * (k.low + v));
    UNROLL for (int g = 0; g < 8; g++)
    {
        __m512i w = field(low[g % k.low], k.low, g / k.low, 0);
        if (k.high == 1) {
            __mmask64 on = _mm512_test_epi8_mask(high[0], _mm512_set1_epi8((char)(1 << g)));
            w = _mm512_mask_add_epi8(w, on, w, _mm512_set1_epi8((char)(1 << k.low)));
        } else if (k.high == 2) {
            w = _mm512_or_si512(w, field(high[g % 2], 2, g / 2, k.low));
        }
        a[g / 4] = _mm512_dpbusd_epi32(a[g / 4], w, four_of(x + 4 * g));
    }
}

INLINE __m512 halves_at(const uint8_t *s) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)s)); }
INLINE __m512 bytes_at(const uint8_t *s)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)s)));
}
INLINE __m512 signed_at(const uint8_t *s)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)s)));
}

/* Sums a times the scale of x, less the offset's share: sx[0 .. n_sx-1] are sums of x. */
INLINE __m512 in_x(const struct planes k, __m512i a, float dx, const float *sx, int n_sx)
{
    __m512 t = _mm512_mul_ps(_mm512_cvtepi32_ps(a), _mm512_set1_ps(dx));
    for (int i = 0; i < n_sx && k.offset; i++)
        t = _mm512_fnmadd_ps(_mm512_set1_ps((float)k.offset), _mm512_set1_ps(sx[i]), t);
    return t;
}

/* One block of a K type: f += s * sums, g += t * sums of x, with the integer scales at s. */
INLINE void super_block(const struct planes k, const __m512i *a, const uint8_t *s, float dx, const float *sx,
                        __m512 *f, __m512 *g)
{
    if (k.sub == 32) {
        *f = _mm512_fmadd_ps(in_x(k, _mm512_add_epi32(a[0], a[1]), dx, sx, 2), bytes_at(s), *f);
        __m512 t = bytes_at(s + 16);
        *g = _mm512_fmadd_ps(t, _mm512_set1_ps(sx[0]), *g);
        *g = _mm512_fmadd_ps(t, _mm512_set1_ps(sx[1]), *g);
        return;
    }
    UNROLL for (int h = 0; h < 2; h++)
    {
        __m512 sum = in_x(k, a[h], dx, sx + h, 1);
        if (!k.min) {
            *f = _mm512_fmadd_ps(sum, signed_at(s + 16 * h), *f);
            continue;
        }
        __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(s + 16 * h)));
        __m512 lo = _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15)));
        __m512 hi = _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4));
        *f = _mm512_fmadd_ps(sum, lo, *f);
        *g = _mm512_fmadd_ps(hi, _mm512_set1_ps(sx[h]), *g);
    }
}

INLINE void fetch(const uint8_t *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

INLINE void dot(const struct planes k, const uint8_t *p, int n, const struct k_xrow *x, float *y)
{
    const int8_t *xq = x->q;
    const float *xd = x->d, *xs = x->s;
    const int blocks = n / 32, per = k.super ? 8 : 1, block = PLANES_VEC * (k.low + k.high);
    const uint8_t *s = p + planes_first_scales(&k, n);
    __m512 sum = _mm512_setzero_ps();
    for (int b = 0; b < blocks; b += per, p += k.super ? PLANES_SCALES(k) : 0, s += PLANES_SCALES_STEP(k)) {
        __m512 f = _mm512_setzero_ps(), g = _mm512_setzero_ps();
        if (k.super)
            fetch(s + AHEAD, PLANES_SCALES(k));
        else
            fetch(s + blocks * (block + PLANES_SCALES(k)), PLANES_SCALES(k)); /* of the next panel */
        const uint8_t *ints = s + (k.min ? 64 : 32);
        _Pragma("GCC unroll 1") for (int j = 0; j < per; j++, p += block, xq += 32, xd++, xs += 2)
        {
            __m512i a[2];
            fetch(p + AHEAD, block);
            block_sums(k, p, xq, a);
            if (k.super)
                super_block(k, a, ints + 32 * j, *xd, xs, &f, &g);
            else
                f = in_x(k, _mm512_add_epi32(a[0], a[1]), *xd, xs, 2);
        }
        sum = _mm512_fmadd_ps(f, halves_at(s), sum);
        if (!k.min) continue;
        __m512 m = halves_at(s + 32);
        if (k.super)
            sum = _mm512_fnmadd_ps(g, m, sum);
        else
            UNROLL for (int i = 0; i < 2; i++) sum = _mm512_fmadd_ps(m, _mm512_set1_ps(xs[i - 2]), sum);
    }
    _mm512_storeu_ps(y, sum);
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

const struct k_planes planes_vnni = {
    .bytes = planes_bytes,
    .pack = planes_pack,
    .dot = planes_dot,
    .open = planes_open,
};
