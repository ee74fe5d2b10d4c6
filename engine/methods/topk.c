/* The k largest of n, or the fewest that reach a sum, in linear time and with one answer: equal scores go by
 * lower index.
 *
 * What is looked for is one value, the last that is taken. A vector kernel parts the entries at one that
 * should be near it, by a few of them at fixed places, and goes on with the side that holds it: three or four
 * such passes, each over a small part of what the last one saw, leave a handful to sort. One more collects
 * indices. Where many are equal, numbers are no numbers or there is no end, floats are mapped to unsigned
 * integers of the same order and each pass divides the range the value lies in by 256 or 2048: no input is
 * slow, and two runs never differ. */
#include "methods.h"

#include "kernels.h"

#include <assert.h>
#include <float.h>
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

/* ---- by parting ---- */

enum { FEW = 8192, PICK = 8, TURNS = 40 };

/* Where the entries that are taken end: at value t, of which `take` are taken; all: that is, every one. */
struct end {
    float t;
    int take;
    bool all;
};

/* Descending; what is missing up to PICK must be -inf. The inner loops are vectors. */
static void sort_few(const float *x, int n, float *out)
{
    int rank[PICK] = { 0 };
    for (int j = 0; j < PICK; j++)
        for (int i = 0; i < PICK; i++) rank[i] += (x[j] > x[i]) | ((x[j] == x[i]) & (j < i));
    for (int i = 0; i < n; i++) out[rank[i]] = x[i];
}

/* Of every n/PICK-th entry, the one down to which they make up need / all of the whole; all 0: not known. */
static float pick(const float *x, int n, double need, double all, bool sums)
{
    float s[PICK], down_to[PICK] = { 0 }, whole = 0;
    for (int i = 0; i < PICK; i++) {
        s[i] = x[(int64_t)i * n / PICK];
        whole += sums ? s[i] : 1.0f;
    }
    for (int j = 0; j < PICK; j++) {
        float each = sums ? s[j] : 1.0f;
        for (int i = 0; i < PICK; i++) down_to[i] += s[j] >= s[i] ? each : 0.0f;
    }
    float goal = (float)(all > 0 ? need / all * (double)whole : need / n * PICK);
    float best = -INFINITY, low = s[0];
    for (int i = 0; i < PICK; i++) {
        best = down_to[i] >= goal && s[i] > best ? s[i] : best;
        low = s[i] < low ? s[i] : low;
    }
    return best > -INFINITY ? best : low;
}

/* The number next below t is one too, and is not what a processor may take for 0. */
static bool plain(float t) { return fabsf(t) > 2 * FLT_MIN && t > -INFINITY; }

/* Looks for the end among n entries, which sums: are to sum to `need`, otherwise to number as many. room: for
 * n entries each. False: not found, or not a plain number. */
static bool part_to_end(const float *x, int n, double need, bool sums, float (*room)[FEW], struct end *end)
{
    double all = sums ? 0 : n, sum = 0;
    int at = -1, k;                  /* the room that x is */
    for (int turn = 0; n > PICK; turn++) {
        float t = pick(x, n, need, all, sums);
        if (turn == TURNS || !plain(t)) return false;
        k = k_ops()->part(x, n, t, room[at == 0], room[at != 0], sums ? &sum : NULL);
        if (k == 0) {                /* the largest there is: part those equal to it from the rest */
            at = at != 0;
            x = room[at];
            k = k_ops()->part(x, n, nextafterf(t, -INFINITY), room[at == 0], room[at != 0],
                              sums ? &sum : NULL);
            if (k == n) {
                double each = sums ? (double)t : 1;
                end->t = t;
                end->take = need >= n * each ? n : imax((int)ceil(need / each), 1);
                end->all = end->take == n;
                return true;
            }
        }
        double more = sums ? sum : k;
        if (more >= need) {
            at = at == 0;
            n = k;
            all = more;
        } else {
            at = at != 0;
            n -= k;
            need -= more;
            all = all > more ? all - more : 0;
        }
        x = room[at];
    }
    float left[PICK], s[PICK] = { 0 };
    for (int i = 0; i < PICK; i++) left[i] = i < n ? x[i] : -INFINITY;
    for (int i = 0; i < PICK; i++)
        if (left[i] != left[i]) return false;
    sort_few(left, n, s);
    int i = 0, last;
    while (i < n - 1 && (need -= sums ? (double)s[i] : 1) > 0) i++;
    for (last = i; last + 1 < n && s[last + 1] == s[i];) last++;
    *end = (struct end){ s[i], 1, last == i };
    while (end->take <= i && s[i - end->take] == s[i]) end->take++;
    return plain(end->t);
}

/* Indices of what is taken of n. */
static int take_to_end(const float *x, int n, const struct end *end, int *out)
{
    int m = k_ops()->above(x, n, nextafterf(end->t, -INFINITY), out), kept = 0, left = end->take;
    if (end->all) return m;
    for (int i = 0; i < m; i++)
        if (x[out[i]] != end->t || left-- > 0) out[kept++] = out[i];
    return kept;
}

static bool part_best(const float *x, int n, double need, bool sums, int *out, int *taken)
{
    float room[2][FEW];
    struct end end;
    if (n > FEW || !part_to_end(x, n, need, sums, room, &end)) return false;
    *taken = take_to_end(x, n, &end, out);
    return true;
}

enum { SAMPLES = 256 };

/* Entries out[0 .. m-1] that are above a value which probably, not surely, fewer than k of the n exceed: a
 * rank among every n/S-th entry that leaves room for three standard deviations. */
static int above_sampled(const float *score, int n, int k, int *out)
{
    float x[SAMPLES], low = INFINITY;
    int idx[SAMPLES] = { 0 }, count = SAMPLES, step = n / count;
    double rank = (double)k * count / n;
    for (int i = 0; i < count; i++) x[i] = score[i * step];
    int r = select_best(x, count, (int)(rank + 3 * sqrt(rank) + 2), idx);
    for (int i = 0; i < r; i++) low = x[idx[i]] < low ? x[idx[i]] : low;
    return k_ops()->above(score, n, low, out);
}

static int best_of_few(const float *x, int n, int k, int *out)
{
    int taken;
    if (k <= 0 || k >= n || !part_best(x, n, k, false, out, &taken)) return select_best(x, n, k, out);
    assert(taken == k);
    return k;
}

int topk(const float *score, int n, int k, int *out)
{
    float x[FEW];
    int idx[FEW];
    int done = k_ops()->best && n <= FEW ? k_ops()->best(score, n, k, out) : -1;
    if (done >= 0) return done;
    if (n <= FEW || k <= 0 || k > n / 3) return best_of_few(score, n, k, out);
    int m = above_sampled(score, n, k, out);
    if (m < k || m > FEW) return select_best(score, n, k, out);
    for (int i = 0; i < m; i++) x[i] = score[out[i]];
    best_of_few(x, m, k, idx);
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

static int mass_of_few(const float *x, int n, double mass, int *out)
{
    int taken;
    return part_best(x, n, mass, true, out, &taken) ? taken : select_mass(x, n, mass, out);
}

int topp(const float *score, int n, double mass, int *out)
{
    float x[FEW], spare;
    int idx[FEW], m, left;
    if (n <= FEW) return mass_of_few(score, n, mass, out);
    spare = surely_spare(score, n, mass);
    m = spare > 0 ? k_ops()->above(score, n, spare, out) : 0;
    if (!m || m > FEW) return select_mass(score, n, mass, out);
    for (int i = 0; i < m; i++) x[i] = score[out[i]];
    left = mass_of_few(x, m, mass, idx);
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
