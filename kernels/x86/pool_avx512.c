/* Scores pooled over keys, AVX-512: 6 keys times 64 rows keep 24 sums in registers, where they become
 * exponentials.
 *
 * The units for products are what is short, so exponentials take few of their instructions: 32 steps of a
 * power of two come from a table, which is a shuffle, and two terms are left; the last product also adds. */
#include "attn512.h"
#include "levels.h"

/* 2^(i/32) less i << 18: what the bits of a sum that rounds to 32nds bring along (see exponential) */
static const uint32_t powers[32] = {
    0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a, 0x3f79c3d3, 0x3f78f4f0,
    0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043, 0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6,
    0x3f7504f3, 0x3f74fbaf, 0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be, 0x3f76248c, 0x3f76a81e,
    0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907, 0x3f7ac0c7, 0x3f7be4ba, 0x3f7d257d, 0x3f7e83b3,
};

/* 2^x is *p times the result, relative error 2e-7. */
INLINE __m512 exponential(__m512 x, __m512 *p)
{
    const __m512 round = _mm512_set1_ps(0x1.8p18f), one = _mm512_set1_ps(1.0f);
    x = _mm512_max_ps(x, _mm512_set1_ps(-100.0f));
    __m512 t = _mm512_add_ps(x, round), f = _mm512_sub_ps(x, _mm512_sub_ps(t, round));
    __m512i bits = _mm512_castps_si512(t);
    __m512i lo = _mm512_loadu_si512(powers), hi = _mm512_loadu_si512(powers + 16);
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(0.2402266011f), f, _mm512_set1_ps(0.6931573314f));
    __m512i table = _mm512_permutex2var_epi32(lo, bits, hi);
    *p = _mm512_fmadd_ps(y, f, one);
    return _mm512_castsi512_ps(_mm512_add_epi32(table, _mm512_slli_epi32(bits, 18)));
}

/* R keys against the rows of P panels, the first of which is panel `first` of p. */
INLINE void block(const struct k_pool *p, const float *key, const uint64_t *lost, const uint64_t *seen,
                  int first, int R, int P)
{
    __m512 a[6][4];
    const float *w = p->panel + (size_t)first * p->pstride;
    UNROLL for (int r = 0; r < R; r++) UNROLL for (int j = 0; j < P; j++) a[r][j] = _mm512_setzero_ps();
    for (int i = 0; i < p->dim; i++, w += K_PANEL) {
        __m512 b[4];
        UNROLL for (int j = 0; j < P; j++) b[j] = _mm512_loadu_ps(w + (size_t)j * p->pstride);
        UNROLL for (int r = 0; r < R; r++) {
            __m512 v = _mm512_set1_ps(key[r * p->dim + i]);
            UNROLL for (int j = 0; j < P; j++) a[r][j] = _mm512_fmadd_ps(v, b[j], a[r][j]);
        }
    }
    uint64_t some = 0, all = ~(uint64_t)0;
    if (p->miss) UNROLL for (int r = 0; r < R; r++) some |= lost[r], all &= lost[r];
    bool alike = !seen && (some == 0 || ~all == 0);    /* all exponentials go to the same sums */
    float *to = some ? p->miss : p->sum;
    UNROLL for (int j = 0; j < P; j++) {
        size_t at = (size_t)(first + j) * K_PANEL;
        if (p->top) {
            __m512 m = _mm512_loadu_ps(p->top + at);
            UNROLL for (int r = 0; r < R; r++)
                m = _mm512_mask_max_ps(m, seen ? (__mmask16)(seen[r] >> at) : (__mmask16)0xffff, m, a[r][j]);
            _mm512_storeu_ps(p->top + at, m);
        }
        __m512 d = _mm512_loadu_ps(p->shift + at), f;
        if (alike && !to) continue;
        if (alike) {
            __m512 s = _mm512_loadu_ps(to + at);
            UNROLL for (int r = 0; r < R; r++) {
                __m512 e = exponential(_mm512_sub_ps(a[r][j], d), &f);
                s = _mm512_fmadd_ps(e, f, s);
            }
            _mm512_storeu_ps(to + at, s);
            continue;
        }
        __m512 s = p->sum ? _mm512_loadu_ps(p->sum + at) : d, n = p->miss ? _mm512_loadu_ps(p->miss + at) : d;
        UNROLL for (int r = 0; r < R; r++) {
            __m512 e = exponential(_mm512_sub_ps(a[r][j], d), &f);
            __mmask16 on = seen ? (__mmask16)(seen[r] >> at) : (__mmask16)0xffff;
            __mmask16 off = p->miss ? (__mmask16)(lost[r] >> at) : (__mmask16)0;
            s = _mm512_mask3_fmadd_ps(e, f, s, (__mmask16)(on & ~off));
            n = _mm512_mask3_fmadd_ps(e, f, n, (__mmask16)(on & off));
        }
        if (p->sum) _mm512_storeu_ps(p->sum + at, s);
        if (p->miss) _mm512_storeu_ps(p->miss + at, n);
    }
}

#define KEYS(R)                                                                                              \
    static __attribute__((noinline)) void keys_##R(const struct k_pool *p, const float *key,                 \
                                                   const uint64_t *lost)                                     \
    {                                                                                                        \
        int at = 0;                                                                                          \
        if (p->panels == 4) {                                                                                \
            block(p, key, lost, NULL, 0, R, 4);                                                              \
            return;                                                                                          \
        }                                                                                                    \
        for (; at + 2 <= p->panels; at += 2) block(p, key, lost, NULL, at, R, 2);                            \
        if (at < p->panels) block(p, key, lost, NULL, at, R, 1);                                             \
    }
KEYS(6)
KEYS(4)
KEYS(2)
KEYS(1)

INLINE void see_panel(const struct k_pool *p, const float *key, const uint64_t *lost, const uint64_t *seen, int j,
                      int R)
{
    block(p, key, lost, seen, j, R, 1);
}

#include "pool_keys.h"

void k_pool_avx512(const struct k_pool *p, const float *key, int n, const uint64_t *lost,
                   const uint64_t *seen)
{
    pool_keys(p, key, n, lost, seen);
}
