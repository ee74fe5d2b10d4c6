/* The k largest of n, in linear time and with one answer: equal scores go by lower index.
 *
 * Floats are mapped to unsigned integers of the same order; each pass divides the range the k-th largest lies
 * in by 256 or 2048, so that two or three find it exactly, and one more collects indices in ascending order.
 * No input is slow, and two runs never differ, which quickselect promises neither of. */
#include "methods.h"

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

int topk(const float *score, int n, int k, int *out)
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

static double sum_of(const float *score, const int *idx, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)score[idx[i]];
    return sum;
}

/* Bisect the number kept: sums of the k largest grow with k. */
static int bisect_mass(const float *score, int n, double mass, int *out)
{
    int lo = 1, hi = n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if (sum_of(score, out, topk(score, n, mid, out)) >= mass) hi = mid;
        else lo = mid + 1;
    }
    return topk(score, n, lo, out);
}

int topp(const float *score, int n, double mass, int *out)
{
    /* Few are kept as a rule: where the best FEW suffice, the search goes on among them. */
    enum { FEW = 512 };
    if (n <= FEW || sum_of(score, out, topk(score, n, FEW, out)) < mass)
        return bisect_mass(score, n, mass, out);
    float best[FEW];
    int idx[FEW];
    for (int i = 0; i < FEW; i++) best[i] = score[out[i]];
    int k = bisect_mass(best, FEW, mass, idx);
    for (int i = 0; i < k; i++) out[i] = out[idx[i]];
    return k;
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
