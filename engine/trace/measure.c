/* Measures of a selection, exact for every row they are taken on.
 *
 * A row of n weights is counted into buckets by the top bits of the float (exponent, 6 bits of mantissa):
 * order between buckets is order of weights, so the mass of the m largest, the members of the top m and the
 * keys needed for a given mass follow from the buckets' counts and sums and a sort inside a single one.
 * A bucket is one word: how many, and the sum of the bits that they do not share, from which their mass
 * follows exactly. Weights below 2^-40 share the first bucket. The smallest weights together cannot matter to
 * what is asked, and are not counted unless more keys are asked for than are left without them. */
#include "trace/trace_int.h"

#include "kernels.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MANTISSA = 6, SHARED = 23 - MANTISSA, SMALLEST = (127 - 40) << MANTISSA,
       BUCKETS = (127 << MANTISSA) - SMALLEST + 1, SINK = 4, LOCAL_ADJUST = 64, LOCAL = 128 };

/* Of a bucket's word: keys above the lowest 41 bits, which hold the sum of 17 bits of each. */
enum { SUM_BITS = 41 };
static const uint64_t SUM_MASK = ((uint64_t)1 << SUM_BITS) - 1;
static const double LEAST_MASS = 0.005;   /* of what is not counted; at most 0.99 of it all is asked for */

static int bucket_of(float w)
{
    uint32_t u;
    memcpy(&u, &w, sizeof u);
    int b = (int)(u >> SHARED) - SMALLEST;
    return b < 0 ? 0 : b < BUCKETS ? b : BUCKETS - 1;   /* rounding may push a weight a hair above one */
}

bool measure_scratch_init(struct measure_scratch *m, int n_keys)
{
    size_t n = (size_t)n_keys + 1;
    m->cap = n_keys;
    m->w = malloc(n * sizeof *m->w);
    m->w2 = malloc(n * sizeof *m->w2);
    m->rows = (struct sac_rows){ malloc((n / 2 + 2) * sizeof *m->rows.run), 0, (int)(n / 2 + 2) };
    m->bucket = malloc(BUCKETS * sizeof *m->bucket);
    m->index = malloc(n * sizeof *m->index);
    return m->w && m->w2 && m->rows.run && m->bucket && m->index;
}

void measure_scratch_free(struct measure_scratch *m)
{
    free(m->w);
    free(m->w2);
    free(m->rows.run);
    free(m->bucket);
    free(m->index);
    scored_free(&m->own);
    scored_free(&m->dense);
    memset(m, 0, sizeof *m);
}

/* The largest weight of all buckets below b. */
static float below_bucket(int b)
{
    uint32_t u = ((uint32_t)(b + SMALLEST) << SHARED) - 1;
    float w;
    memcpy(&w, &u, sizeof w);
    return w;
}

/* Weights of one row counted into buckets `least` .. `top`; `rest`: mass of the first, whose weights differ
 * in more than those bits. */
struct row { const float *w; int lo, n; const uint64_t *bucket; int least, top; double rest; };

static int bucket_n(const struct row *r, int b) { return (int)(r->bucket[b] >> SUM_BITS); }

static double bucket_mass(const struct row *r, int b)
{
    if (b == 0) return r->rest;
    const int one = 1 << MANTISSA, bits = b + SMALLEST;
    uint64_t shared = (uint64_t)(one | (bits & (one - 1))) << SHARED,
             all = (r->bucket[b] >> SUM_BITS) * shared + (r->bucket[b] & SUM_MASK);
    uint32_t unit = ((uint32_t)(bits >> MANTISSA) - 23) << 23;
    float ulp;
    memcpy(&ulp, &unit, sizeof ulp);
    return (double)all * (double)ulp;
}

static void row_add(struct row *r, uint64_t *bucket, float w)
{
    uint32_t u;
    int b = bucket_of(w);
    memcpy(&u, &w, sizeof u);
    bucket[b] += (uint64_t)1 << SUM_BITS | (u & ((1u << SHARED) - 1));
    if (b > r->top) r->top = b;
    if (b == 0) r->rest += (double)w;
}

/* Weights of keys lo .. n-1; at least the `asked` largest are counted. */
static struct row row_count(struct measure_scratch *m, const float *w, int lo, int n, int asked)
{
    struct row r = { .w = w, .lo = lo, .n = n, .bucket = m->bucket };
    int keys = n - lo, some = 0;
    r.least = bucket_of((float)(LEAST_MASS / keys));
    if (r.least > 0) some = k_ops()->above(w + lo, keys, below_bucket(r.least), m->index);
    if (some < asked) r.least = some = 0;
    memset(m->bucket + r.least, 0, (size_t)(BUCKETS - r.least) * sizeof *m->bucket);
    for (int i = 0; i < some; i++) row_add(&r, m->bucket, w[lo + m->index[i]]);
    for (int i = lo; i < n && !some; i++) row_add(&r, m->bucket, w[i]);
    return r;
}

static int by_weight(const void *a, const void *b, void *ctx)
{
    const float *w = ctx;
    int x = *(const int *)a, y = *(const int *)b;
    if (w[x] != w[y]) return w[x] < w[y] ? 1 : -1;
    return (x > y) - (x < y);
}

#ifdef __APPLE__
/* The BSDs have qsort_r too, with the arguments in another order. */
static int by_weight_bsd(void *ctx, const void *a, const void *b) { return by_weight(a, b, ctx); }
#endif

static void heaviest_first(int *index, int n, const float *w)
{
    void *ctx = (void *)(uintptr_t)w;
#ifdef __APPLE__
    qsort_r(index, (size_t)n, sizeof *index, ctx, by_weight_bsd);
#else
    qsort_r(index, (size_t)n, sizeof *index, by_weight, ctx);
#endif
}

/* The keys of one bucket, heaviest first (ties: lower key first). */
static int bucket_keys(const struct row *r, int b, int *index)
{
    int n = 0, above = k_ops()->above(r->w + r->lo, r->n - r->lo, b > 0 ? below_bucket(b) : -1.0f, index);
    float most = below_bucket(b + 1);
    for (int i = 0; i < above; i++) {
        int at = index[i] + r->lo;
        index[n] = at;
        n += r->w[at] <= most;
    }
    heaviest_first(index, n, r->w);
    return n;
}

/* The top m of a row, all of them counted: its mass, and how many of its keys are in `rows`. */
static void top_m(const struct row *r, int m, const struct sac_rows *rows, int *index, double *mass,
                  int *hits)
{
    int left = m, b = r->top;
    *mass = 0;
    *hits = 0;
    for (; b > 0 && b >= r->least && bucket_n(r, b) <= left; b--) {
        if (!r->bucket[b]) continue;
        left -= bucket_n(r, b);
        *mass += bucket_mass(r, b);
    }
    float below = below_bucket(b + 1);
    for (int j = 0; j < rows->n; j++)
        for (int i = rows->run[j].lo; i < rows->run[j].hi; i++) *hits += r->w[i] > below;
    if (left <= 0) return;
    int n = bucket_keys(r, b, index);
    for (int i = 0; i < n && i < left; i++) {
        *mass += (double)r->w[index[i]];
        *hits += sac_rows_has(rows, index[i]);
    }
}

/* Smallest number of keys that hold `mass` of the row, for three ascending targets. */
static void needed(const struct row *r, int *index, const double target[3], double out[3])
{
    int at = 0, count = 0;
    double have = 0;
    out[0] = out[1] = out[2] = r->n - r->lo;
    for (int b = r->top; b >= r->least && at < 3; b--) {
        if (!r->bucket[b]) continue;
        double mass = bucket_mass(r, b);
        if (have + mass < target[at]) {
            have += mass;
            count += bucket_n(r, b);
            continue;
        }
        int n = bucket_keys(r, b, index);
        for (int i = 0; i < n; i++) {
            have += (double)r->w[index[i]];
            count++;
            while (at < 3 && have >= target[at]) out[at++] = count;
        }
    }
}

static double mass_of(const float *w, const struct sac_rows *rows, int lo, int hi)
{
    double m = 0;
    for (int j = 0; j < rows->n; j++) {
        int a = rows->run[j].lo > lo ? rows->run[j].lo : lo, b = rows->run[j].hi < hi ? rows->run[j].hi : hi;
        for (int i = a; i < b; i++) m += (double)w[i];
    }
    return m;
}

static double span_mass(const float *w, int lo, int hi)
{
    double m[4] = { 0 };               /* four sums do not wait for each other */
    int i = lo;
    for (; i + 4 <= hi; i += 4)
        for (int k = 0; k < 4; k++) m[k] += (double)w[i + k];
    for (; i < hi; i++) m[0] += (double)w[i];
    return m[0] + m[1] + (m[2] + m[3]);
}

static void measure_evidence(const struct sac_trace *t, const float *w, int row, const struct sac_rows *rows,
                             struct sac_recall *out)
{
    int total = 0, kept = 0;
    double mass = 0, mass_kept = 0;
    for (int s = 0; s < t->info.n_spans; s++)
        for (int i = t->gold_span[s].lo; i < t->gold_span[s].hi && i <= row; i++) {
            bool has = sac_rows_has(rows, i);
            total++;
            kept += has;
            mass += (double)w[i];
            if (has) mass_kept += (double)w[i];
        }
    if (!total) return;
    out->evidence = (double)kept / total;
    out->evidence_mass = mass;
    out->evidence_mass_kept = mass_kept;
}

/* Generated values of the heads lie between each other. */
void add_values(const struct sac_trace *t, const struct layer_rec *r, int kv, const float *w, int at,
                       int n, float *out)
{
    int d = t->info.shape.head_dim, prompt = t->info.n_prompt;
    for (int some; n > 0; at += some, w += some, n -= some) {
        some = at >= prompt ? 1 : n < prompt - at ? n : prompt - at;
        k_ops()->values(K_F32, w, 0, 1, rec_k(t, r, kv, at, true), d, some, out);
    }
}

/* The output over `rows` alone. */
static void kept_output(const struct sac_trace *t, const struct layer_rec *r, int kv, int row, const float *w,
                        int first, const struct sac_rows *rows, float *kept)
{
    int d = t->info.shape.head_dim;
    memset(kept, 0, (size_t)d * sizeof *kept);
    for (int j = 0; j < rows->n; j++) {
        int lo = rows->run[j].lo > first ? rows->run[j].lo : first;
        int hi = rows->run[j].hi < row + 1 ? rows->run[j].hi : row + 1;
        add_values(t, r, kv, w + lo, lo, hi - lo, kept);
    }
    double mass = mass_of(w, rows, first, row + 1);
    float inv = mass > 0 ? (float)(1 / mass) : 0;
    for (int c = 0; c < d; c++) kept[c] *= inv;
}

void head_outputs(const struct sac_trace *t, const struct layer_rec *r, int head, int row, const float *w,
                  int first, const struct sac_rows *rows, float *out)
{
    const struct sac_shape *s = &t->info.shape;
    int d = s->head_dim, kv = head / (s->n_heads / s->n_kv_heads);
    memset(out, 0, (size_t)d * sizeof *out);
    add_values(t, r, kv, w + first, first, row + 1 - first, out);
    kept_output(t, r, kv, row, w, first, rows, out + d);
}

double relative_l2(const float *want, const float *got, size_t n)
{
    double num = 0, den = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)want[i] - (double)got[i];
        num += e * e;
        den += (double)want[i] * (double)want[i];
    }
    return den > 0 ? sqrt(num / den) : (double)NAN;
}

/* |O - O_S| / |O| of the head's output, both from the row's own q, k and v; at: the row among m->own, or -1:
 * it is not. */
static double output_error(const struct sac_trace *t, const struct layer_rec *r, int head, int row,
                           const float *w, int first, struct measure_scratch *m, int at)
{
    enum { DIM_MAX = 1024 };
    float out[2 * DIM_MAX];
    const struct sac_shape *s = &t->info.shape;
    int d = s->head_dim;
    if (!r->v || d > DIM_MAX) return (double)NAN;
    if (at < 0) {
        head_outputs(t, r, head, row, w, first, &m->rows, out);
    } else {
        if (!m->own.has_out) scored_outputs(&m->own, t);
        memcpy(out, m->own.out + (size_t)at * (size_t)d, (size_t)d * sizeof *out);
        kept_output(t, r, head / (s->n_heads / s->n_kv_heads), row, w, first, &m->rows, out + d);
    }
    if (m->outputs) memcpy(m->outputs, out, 2 * (size_t)d * sizeof *out);
    return relative_l2(out, out + d, (size_t)d);
}

/* Same tokens up to this row as the dense lane? Then the dense lane's weights are about the same text. */
static bool same_text(const struct sac_trace *t, int lane, int row)
{
    const struct lane_rec *a = trace_lane_rec(t, 0), *b = trace_lane_rec(t, lane);
    int n = row - t->info.n_prompt + 1;
    if (n <= 0) return true;
    if (atomic_load(&a->n_tokens) < n || atomic_load(&b->n_tokens) < n) return false;
    return memcmp(a->token, b->token, (size_t)n * sizeof *a->token) == 0;
}

/* Of the dense lane, scores of the rows from `row` on that m->own holds, which are asked for next. */
static void score_dense(const struct sac_trace *t, const struct layer_rec *dense, int layer, int head,
                        int row, struct measure_scratch *m)
{
    const struct scored *own = &m->own;
    int i = scored_at(own, own->r, head, row), rows = rec_rows(t, dense), n = i;
    if (i < 0) return;
    while (n < own->n && own->row[n] < rows) n++;
    scored_rows(&m->dense, t, dense, layer, head, own->row + i, n - i);
}

/* The mass that the dense lane gives to the keys in m->rows. */
static double dense_mass(const struct sac_trace *t, const struct layer_rec *dense, int layer, int head,
                         int row, int first, struct measure_scratch *m)
{
    int at = scored_at(&m->dense, dense, head, row);
    if (at < 0) score_dense(t, dense, layer, head, row, m), at = scored_at(&m->dense, dense, head, row);
    float *w = at < 0 ? m->w2 : scored_row(&m->dense, at);
    if (at < 0) rec_scores(t, dense, layer, head, row, first, row + 1, w + first);
    float max = k_ops()->max(w + first, row + 1 - first);
    double sum = (double)k_ops()->exp_sum(w + first, row + 1 - first, max);
    if (at >= 0) m->dense.row[at] = -1;            /* no scores any more */
    return mass_of(w, &m->rows, first, row + 1) / sum;
}

void recall_unknown(struct sac_recall *r)
{
    r->n_rows = 0;
    double *f[] = { &r->mass,
                    &r->mass_min,
                    &r->mass_p5,
                    &r->set,
                    &r->set10,
                    &r->set64,
                    &r->oracle,
                    &r->sink_adjusted,
                    &r->evidence,
                    &r->evidence_mass,
                    &r->evidence_mass_kept,
                    &r->mass_vs_dense,
                    &r->entropy,
                    &r->need90,
                    &r->need95,
                    &r->need99,
                    &r->sink,
                    &r->local,
                    &r->kept,
                    &r->out_err };
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) *f[i] = (double)NAN;
}

bool measure_row(const struct sac_trace *t, int lane, int layer, int head, int row, struct measure_scratch *m,
                 struct sac_recall *out)
{
    recall_unknown(out);
    return sac_trace_rows(t, lane, layer, head, row, &m->rows) &&
           measure_given(t, lane, layer, head, row, m, out);
}

bool measure_given(const struct sac_trace *t, int lane, int layer, int head, int row,
                   struct measure_scratch *m, struct sac_recall *out)
{
    const struct layer_rec *r = trace_layer_full(t, lane, layer);
    recall_unknown(out);
    if (!r || !r->q || !r->k || row >= rec_rows(t, r)) return false;
    int first = rec_first_key(t, layer, row), n = row + 1, at = scored_at(&m->own, r, head, row);
    float *w = at < 0 ? m->w : scored_row(&m->own, at), dot;
    double lse;
    if (at < 0) {
        memset(w, 0, (size_t)first * sizeof *w);
        rec_scores(t, r, layer, head, row, first, n, w + first);
        weigh(w + first, m->w2, n - first, &lse, &dot);
    } else {
        if (!m->own.weighed) scored_weigh(&m->own, m->w2);
        lse = m->own.lse[at];
        dot = m->own.dot[at];
    }
    out->n_rows = 1;
    out->entropy = fmax(0, (lse - (double)dot) / log(2.0));
    out->kept = sac_rows_count(&m->rows);
    out->sink = span_mass(w, 0, n < SINK ? n : SINK);
    out->local = span_mass(w, n > LOCAL ? n - LOCAL : 0, n);
    bool all = out->kept >= n - first;
    int asked = all || out->kept < 64 ? 64 : (int)out->kept;
    struct row rc = row_count(m, w, first, n, asked < n - first ? asked : n - first);
    static const double target[3] = { 0.9, 0.95, 0.99 };
    double need[3];
    needed(&rc, m->index, target, need);
    out->need90 = need[0], out->need95 = need[1], out->need99 = need[2];
    measure_evidence(t, w, row, &m->rows, out);
    if (all) {                        /* everything is read */
        out->mass = out->mass_min = out->mass_p5 = out->set = out->set10 = out->set64 = out->oracle = 1;
        if (n > SINK + LOCAL_ADJUST) out->sink_adjusted = 1; /* else nothing lies between them */
        out->mass_vs_dense = 1;
        out->out_err = 0;
        return true;
    }
    int hits;
    double top;
    out->mass = out->mass_min = out->mass_p5 = fmin(1, mass_of(w, &m->rows, 0, n));
    top_m(&rc, (int)out->kept, &m->rows, m->index, &top, &hits);
    out->oracle = fmin(1, top);
    out->set = out->kept > 0 ? hits / out->kept : 0;
    int k10 = n - first < 10 ? n - first : 10, k64 = n - first < 64 ? n - first : 64;
    top_m(&rc, k10, &m->rows, m->index, &top, &hits);
    out->set10 = (double)hits / k10;
    top_m(&rc, k64, &m->rows, m->index, &top, &hits);
    out->set64 = (double)hits / k64;
    int lo = SINK, hi = n - LOCAL_ADJUST;
    double middle = hi > lo ? span_mass(w, lo, hi) : 0;
    if (middle > 1e-6) out->sink_adjusted = fmin(1, mass_of(w, &m->rows, lo, hi) / middle);
    out->out_err = output_error(t, r, head, row, w, first, m, at);
    out->mass_vs_dense = out->mass;
    const struct layer_rec *dense = lane > 0 ? trace_layer_full(t, 0, layer) : r;
    if (dense != r) {
        out->mass_vs_dense = (double)NAN;
        if (dense && dense->q && row < rec_rows(t, dense) && same_text(t, lane, row)) {
            if (dense->q == r->q && row < t->info.n_prompt) out->mass_vs_dense = out->mass;
            else if (dense->k)
                out->mass_vs_dense = fmin(1, dense_mass(t, dense, layer, head, row, first, m));
        }
    }
    return true;
}

bool sac_trace_row_recall(const struct sac_trace *t, int lane, int layer, int head, int row,
                          struct sac_recall *out)
{
    struct measure_scratch m = { 0 };
    bool ok = measure_scratch_init(&m, row + 1) && measure_row(t, lane, layer, head, row, &m, out);
    measure_scratch_free(&m);
    return ok;
}
