/* Scores pooled over keys, AVX2: 6 keys times 16 rows keep 12 sums in registers, where they become
 * exponentials. As in pool_avx512.c, with 8 steps of a power of two in the table and one term more. What
 * becomes of exponentials is chosen before the products: chosen after them, what all choices begin with was
 * stored and loaded again. */
#include "avx2.h"
#include "levels.h"

#include <math.h>

/* 2^(i/8) less i << 20: what the bits of a sum that rounds to 8ths bring along */
static const uint32_t powers[8] = {
    0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7, 0x3f7504f3, 0x3f75672a, 0x3f7744fd, 0x3f7ac0c7,
};

/* 2^x is *p times the result, relative error 2e-7. */
INLINE __m256 exponential(__m256 x, __m256 *p)
{
    const __m256 round = _mm256_set1_ps(0x1.8p20f);
    x = _mm256_max_ps(x, _mm256_set1_ps(-100.0f));
    __m256 t = _mm256_add_ps(x, round), f = _mm256_sub_ps(x, _mm256_sub_ps(t, round));
    __m256i bits = _mm256_castps_si256(t);
    __m256i table = _mm256_loadu_si256((const __m256i *)(const void *)powers);
    __m256 y = _mm256_fmadd_ps(_mm256_set1_ps(0.05549622178f), f, _mm256_set1_ps(0.2402576298f));
    y = _mm256_fmadd_ps(y, f, _mm256_set1_ps(0.6931472143f));
    *p = _mm256_fmadd_ps(y, f, _mm256_set1_ps(1.0f));
    table = _mm256_permutevar8x32_epi32(table, bits);
    return _mm256_castsi256_ps(_mm256_add_epi32(table, _mm256_slli_epi32(bits, 20)));
}

/* Lanes whose bit of `on` is set. */
INLINE __m256 chosen(unsigned on)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)on), bit), bit));
}

/* What becomes of the exponentials of a block: all are added to `to`, unless that is NULL; all rows miss
 * some of the keys and none the others; masks tell. */
enum kind { ALIKE, BY_KEY, BY_ROW };

/* R keys against the 16 rows of a panel. */
INLINE void block(const struct k_pool *p, const float *key, const uint64_t *lost, const uint64_t *seen,
                  float *to, int panel, int R, enum kind kind)
{
    __m256 a[6][2];
    const float *w = p->panel + (size_t)panel * p->pstride;
    UNROLL for (int r = 0; r < R; r++) a[r][0] = a[r][1] = _mm256_setzero_ps();
    for (int i = 0; i < p->dim; i++, w += K_PANEL) {
        __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);
        UNROLL for (int r = 0; r < R; r++) {
            __m256 v = _mm256_broadcast_ss(key + r * p->dim + i);
            a[r][0] = _mm256_fmadd_ps(v, w0, a[r][0]);
            a[r][1] = _mm256_fmadd_ps(v, w1, a[r][1]);
        }
    }
    UNROLL for (int j = 0; j < 2; j++) {
        size_t at = (size_t)panel * K_PANEL + 8 * (size_t)j;
        __m256 d = _mm256_loadu_ps(p->shift + at), f;
        if (seen)
            UNROLL for (int r = 0; r < R; r++)
                a[r][j] = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), a[r][j],
                                           chosen((unsigned)(seen[r] >> at) & 255));
        if (p->top) {
            __m256 m = _mm256_loadu_ps(p->top + at);
            UNROLL for (int r = 0; r < R; r++) m = _mm256_max_ps(m, a[r][j]);
            _mm256_storeu_ps(p->top + at, m);
        }
        if (kind == ALIKE) {
            if (!to) continue;
            __m256 s = _mm256_loadu_ps(to + at);
            UNROLL for (int r = 0; r < R; r++) {
                __m256 e = exponential(_mm256_sub_ps(a[r][j], d), &f);
                s = _mm256_fmadd_ps(e, f, s);
            }
            _mm256_storeu_ps(to + at, s);
            continue;
        }
        __m256 s = p->sum ? _mm256_loadu_ps(p->sum + at) : d, n = p->miss ? _mm256_loadu_ps(p->miss + at) : d;
        UNROLL for (int r = 0; r < R; r++) {
            __m256 e = exponential(_mm256_sub_ps(a[r][j], d), &f);
            __m256 off = kind == BY_KEY ? _mm256_castsi256_ps(_mm256_set1_epi64x((long long)lost[r]))
                                        : chosen(p->miss ? (unsigned)(lost[r] >> at) & 255 : 0);
            e = _mm256_mul_ps(e, f);
            if (seen) e = _mm256_and_ps(e, chosen((unsigned)(seen[r] >> at) & 255));
            s = _mm256_add_ps(s, _mm256_andnot_ps(off, e));
            n = _mm256_add_ps(n, _mm256_and_ps(off, e));
        }
        if (p->sum) _mm256_storeu_ps(p->sum + at, s);
        if (p->miss) _mm256_storeu_ps(p->miss + at, n);
    }
}

#define KEYS(R)                                                                                              \
    static __attribute__((noinline)) void keys_##R(const struct k_pool *p, const float *key,                 \
                                                   const uint64_t *lost)                                     \
    {                                                                                                        \
        uint64_t some = 0, all = ~(uint64_t)0, rows = 0;                                                     \
        for (int r = 0; p->miss && r < R; r++) {                                                             \
            some |= lost[r], all &= lost[r];                                                                 \
            rows |= lost[r] ^ (0 - (lost[r] & 1));                                                           \
        }                                                                                                    \
        bool alike = some == 0 || ~all == 0;                                                                 \
        float *to = some ? p->miss : p->sum;                                                                 \
        for (int j = 0; j < p->panels; j++)                                                                  \
            if (alike) block(p, key, lost, NULL, to, j, R, ALIKE);                                           \
            else if (rows) block(p, key, lost, NULL, to, j, R, BY_ROW);                                      \
            else block(p, key, lost, NULL, to, j, R, BY_KEY);                                                \
    }
KEYS(6)
KEYS(4)
KEYS(2)
KEYS(1)

INLINE void see_panel(const struct k_pool *p, const float *key, const uint64_t *lost, const uint64_t *seen, int j,
                      int R)
{
    block(p, key, lost, seen, NULL, j, R, BY_ROW);
}

#include "pool_keys.h"

void k_pool_avx2(const struct k_pool *p, const float *key, int n, const uint64_t *lost, const uint64_t *seen)
{
    pool_keys(p, key, n, lost, seen);
}
