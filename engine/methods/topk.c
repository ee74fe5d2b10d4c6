/* The k largest of n, in linear time and with one answer: equal scores go by lower index.
 *
 * Floats are mapped to unsigned integers of the same order; each pass divides the range the k-th largest
 * lies in by 256 or 2048, so that two or three find it exactly, and one more collects indices in ascending
 * order. No input is slow, and two runs never differ, which quickselect promises neither of. Before that,
 * one pass of a vector kernel leaves what is above a value that surely is too low: where few of many are
 * wanted, little remains to be divided. */
#include "methods.h"

#include "kernels.h"

#include <assert.h>
#include <string.h>

/* Same order as the floats, -0 and 0 equal, NaN below everything; without branches. */
static inline uint32_t float_key(float f)
{
    uint32_t u;
    f += 0.0f;                                       /* -0 becomes 0 */
    memcpy(&u, &f, sizeof u);
    uint32_t key = u ^ ((uint32_t)-(int32_t)(u >> 31) | 0x80000000u);
    return (u & 0x7fffffffu) > 0x7f800000u ? 0 : key;
}

static const struct { int shift, bits; } digit[3] = { { 21, 11 }, { 10, 11 }, { 0, 10 } };

enum { PIECE = 1024 };

static int keys_of(const float *score, int n, uint32_t *key)
{
    int m = n < PIECE ? n : PIECE;
    for (int i = 0; i < m; i++) key[i] = float_key(score[i]);
    return m;
}

/* The range of the keys; a piece that is all of them stays in `key`. */
static void key_range(const float *score, int n, uint32_t *key, uint32_t *lo, uint32_t *hi)
{
    *lo = UINT32_MAX;
    *hi = 0;
    for (int i = 0; i < n; i += PIECE) {
        int m = keys_of(score + i, n - i, key);
        for (int j = 0; j < m; j++) {
            *lo = key[j] < *lo ? key[j] : *lo;
            *hi = key[j] > *hi ? key[j] : *hi;
        }
    }
}

static int select_best(const float *score, int n, int k, int *out)
{
    if (k >= n) {
        for (int i = 0; i < n; i++) out[i] = i;
        return n;
    }
    if (k <= 0) return 0;

    /* The k-th largest lies in lo .. hi; buckets narrow that until every entry in the range is taken, or the
     * range is one value. `left` entries of the range are still to be taken. */
    int count[1 << 11], bits = n > 8192 ? 11 : 8, left = k;
    uint32_t key[PIECE], lo, hi;
    key_range(score, n, key, &lo, &hi);
    for (int in_range = n; left < in_range && lo < hi;) {
        int shift = 0;
        while ((hi - lo) >> shift >> bits) shift++;
        int b = (int)((hi - lo) >> shift);
        uint32_t span = hi - lo;
        memset(count, 0, sizeof *count * (size_t)(b + 1));
        for (int i = 0; i < n; i += PIECE) {
            int m = n > PIECE ? keys_of(score + i, n - i, key) : n;
            for (int j = 0; j < m; j++)
                if (key[j] - lo <= span) count[(key[j] - lo) >> shift]++;
        }
        while (count[b] < left) left -= count[b--];
        in_range = count[b];
        uint32_t first = lo + ((uint32_t)b << shift), last = first + ((uint32_t)1 << shift) - 1;
        lo = first;
        if (last >= first && last < hi) hi = last;
    }

    int taken = 0;
    for (int i = 0; i < n && taken < k; i += PIECE) {
        int m = n > PIECE ? keys_of(score + i, n - i, key) : n;
        for (int j = 0; j < m && taken < k; j++)
            if (key[j] > hi || (key[j] >= lo && left-- > 0)) out[taken++] = i + j;
    }
    assert(taken == k);
    return k;
}

enum { FEW = 4096, SAMPLES = 256 };

/* Entries out[0 .. m-1] that are above a value which probably, not surely, fewer than k of the n exceed: a
 * rank among every n/S-th entry that leaves room for three standard deviations. */
static int above_sampled(const float *score, int n, int k, int *out)
{
    float x[SAMPLES], low = INFINITY;
    int idx[SAMPLES] = { 0 }, count = n < 16 * SAMPLES ? SAMPLES / 2 : SAMPLES, step = n / count;
    double rank = (double)k * count / n;
    for (int i = 0; i < count; i++) x[i] = score[i * step];
    int r = select_best(x, count, (int)(rank + 3 * sqrt(rank) + 2), idx);
    for (int i = 0; i < r; i++) low = x[idx[i]] < low ? x[idx[i]] : low;
    return k_ops()->above(score, n, low, out);
}

int topk(const float *score, int n, int k, int *out)
{
    float x[FEW];
    int idx[FEW];
    if (n < SAMPLES || k <= 0 || k > n / 3) return select_best(score, n, k, out);
    int m = above_sampled(score, n, k, out);
    if (m < k || m > FEW) return select_best(score, n, k, out);
    for (int i = 0; i < m; i++) x[i] = score[out[i]];
    select_best(x, m, k, idx);
    for (int i = 0; i < k; i++) out[i] = out[idx[i]];
    return k;
}

int least(const float *x, int n)
{
    enum { LANES = 16 };
    float m[LANES];
    int i = 0;
    for (int l = 0; l < LANES; l++) m[l] = x[0];
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) m[l] = x[i + l] < m[l] ? x[i + l] : m[l];
    for (; i < n; i++) m[0] = x[i] < m[0] ? x[i] : m[0];
    for (int l = 1; l < LANES; l++) m[0] = m[l] < m[0] ? m[l] : m[0];
    for (i = 0; i < n - 1 && x[i] > m[0];) i++;
    return i;
}

static double sum_of(const float *x, int n)
{
    enum { LANES = 8 };
    double sum[LANES] = { 0 }, all = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) sum[l] += (double)x[i + l];
    for (; i < n; i++) all += (double)x[i];
    for (int l = 0; l < LANES; l++) all += sum[l];
    return all;
}

/* As select_best, with buckets that hold sums: the one that reaches the mass is the next range of keys. */
static int select_mass(const float *x, int n, double mass, int *out)
{
    enum { BITS = 8 };
    double sum[1 << BITS], above = 0;
    uint32_t lo = UINT32_MAX, hi = 0;
    for (int i = 0; i < n; i++) {
        uint32_t key = float_key(x[i]);
        lo = key < lo ? key : lo;
        hi = key > hi ? key : hi;
    }
    while (lo < hi) {
        uint32_t span = hi - lo;
        int shift = 0;
        while (span >> shift >> BITS) shift++;
        int b = (int)(span >> shift);
        memset(sum, 0, sizeof *sum * (size_t)(b + 1));
        for (int i = 0; i < n; i++) {
            uint32_t at = float_key(x[i]) - lo;
            if (at <= span) sum[at >> shift] += (double)x[i];
        }
        while (b > 0 && above + sum[b] < mass) above += sum[b--];
        uint32_t first = lo + ((uint32_t)b << shift), last = first + ((uint32_t)1 << shift) - 1;
        lo = first;
        if (last >= first && last < hi) hi = last;
    }
    int kept = 0;
    for (int i = 0; i < n; i++) {
        uint32_t key = float_key(x[i]);
        if (key < lo || (key == lo && above >= mass && kept)) continue;
        if (key == lo) above += (double)x[i];
        out[kept++] = i;
    }
    return kept;
}

/* What the entries sum to beyond the mass, shared equally: entries no larger than that can all go. */
static float surely_spare(const float *x, int n, double mass)
{
    return (float)((sum_of(x, n) * (1 - 1e-9) - mass) / n * (1 - 1e-6));
}

int topp(const float *score, int n, double mass, int *out)
{
    float x[FEW], spare = surely_spare(score, n, mass);
    int idx[FEW], m = spare > 0 ? k_ops()->above(score, n, spare, out) : 0, left;
    if (!m || m > FEW) return select_mass(score, n, mass, out);
    for (int i = 0; i < m; i++) x[i] = score[out[i]];
    while ((spare = surely_spare(x, m, mass)) > 0) {
        left = k_ops()->above(x, m, spare, idx);
        if (!left || left >= m - m / 8) break;
        for (int i = 0; i < left; i++) x[i] = x[idx[i]], out[i] = out[idx[i]];
        m = left;
    }
    left = select_mass(x, m, mass, idx);
    for (int i = 0; i < left; i++) out[i] = out[idx[i]];
    return left;
}

void sort_descending(const float *score, int n, int *order, int *tmp)
{
    int start[1 << 11];
    for (int i = 0; i < n; i++) order[i] = i;
    for (int d = 2; d >= 0; d--) {       /* stable, least significant digit first */
        int shift = digit[d].shift, size = 1 << digit[d].bits;
        memset(start, 0, sizeof *start * (size_t)size);
        for (int i = 0; i < n; i++) start[(float_key(score[i]) >> shift) & (uint32_t)(size - 1)]++;
        for (int b = size - 1, at = 0; b >= 0; b--) {
            int count = start[b];
            start[b] = at;
            at += count;
        }
        for (int i = 0; i < n; i++) {
            int j = order[i];
            tmp[start[(float_key(score[j]) >> shift) & (uint32_t)(size - 1)]++] = j;
        }
        memcpy(order, tmp, sizeof *order * (size_t)n);
    }
}

int coverage(const float *score, int n, double alpha, struct sac_arena *a)
{
    struct sac_arena_mark mark = sac_arena_mark(a);
    int *order = sac_arena_alloc(a, sizeof *order * (size_t)n);
    int *tmp = sac_arena_alloc(a, sizeof *tmp * (size_t)n);
    int t = 0;
    if (order && tmp) {
        sort_descending(score, n, order, tmp);
        double sum = 0;
        while (t < n && (sum += (double)score[order[t]]) <= alpha) t++;
        t = imin(t + 1, n);
    }
    sac_arena_rewind(a, mark);
    return t;
}
