/* The k largest of n, in linear time and with one answer: equal scores go by lower index.
 *
 * Floats are mapped to unsigned integers of the same order; three histogram passes over 11, 11 and 10 bits
 * find the k-th largest value exactly, one more pass collects indices in ascending order. No input is slow,
 * and two runs never differ, which quickselect promises neither of. */
#include "methods.h"

#include <assert.h>
#include <string.h>

static uint32_t float_key(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return 0;   /* NaN: below everything */
    if (u == 0x80000000u) u = 0;                     /* -0 ties with 0 */
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static const struct { int shift, bits; } digit[3] = { { 21, 11 }, { 10, 11 }, { 0, 10 } };

int topk(const float *score, int n, int k, int *out)
{
    if (k >= n) {
        for (int i = 0; i < n; i++) out[i] = i;
        return n;
    }
    if (k <= 0) return 0;

    int hist[1 << 11], left = k;         /* entries still to be found among those with the prefix */
    uint32_t prefix = 0, mask = 0;
    bool all = false;                    /* everything with the prefix is taken */
    for (int d = 0; d < 3 && !all; d++) {
        int shift = digit[d].shift, size = 1 << digit[d].bits;
        memset(hist, 0, sizeof *hist * (size_t)size);
        for (int i = 0; i < n; i++) {
            uint32_t key = float_key(score[i]);
            if ((key & mask) == prefix) hist[(key >> shift) & (uint32_t)(size - 1)]++;
        }
        int b = size - 1;
        while (hist[b] < left) left -= hist[b--];
        all = hist[b] == left;
        prefix |= (uint32_t)b << shift;
        mask |= (uint32_t)(size - 1) << shift;
    }

    int m = 0;
    for (int i = 0; i < n && m < k; i++) {
        uint32_t key = float_key(score[i]) & mask;
        if (key > prefix || (key == prefix && left-- > 0)) out[m++] = i;
    }
    assert(m == k);
    return k;
}

int topp(const float *score, int n, double mass, int *out)
{
    /* Bisect the number kept: sums of the k largest grow with k. */
    int lo = 1, hi = n;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, m = topk(score, n, mid, out);
        double sum = 0;
        for (int i = 0; i < m; i++) sum += (double)score[out[i]];
        if (sum >= mass) hi = mid;
        else lo = mid + 1;
    }
    return topk(score, n, lo, out);
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
