/* q, k and v as multiples of a step, one for each column of a head: what a score feels, no more.
 *
 * A query's entry is multiplied with keys and a key's with queries, so an entry may be off by as much as what
 * it meets is small: the step of a column of q is error * sqrt(12 / D) / (scale * spread of that column of
 * k), and the other way round. Then scores are off by `error` (root mean square) through q and as much
 * through k, and so are weights, relatively. A constant added to a column of k moves all scores of a row
 * alike and no weight: keys count by their spread, queries by their size. Columns of v are off by a share of
 * their own size.
 *
 * A method's prompt differs from dense attention's by a few percent, so its arrays are stored as differences
 * to what is stored of lane 0: the same error for a third of the bytes. Layout after lane, layer and
 * TF_STEPS:
 *
 *   from(u32: lane 0, or ~0) rows(u32) error(f32)
 *   for each column: step(f32) offset(i32) shift(u8)
 *   for each column: rows bytes, the multiple less offset, shifted right; -128: see below
 *   for each column with a shift: the bits shifted out, lowest first, filled up to a byte
 *   column(u32) row(u32) multiple less offset(i32): those that a byte does not hold
 */
#include "trace/trace_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_HEAD = 9, ESCAPE = -128, MOST_SHIFT = 24 };

static const float *column(const float *v, const struct tf_array *a, int c)
{
    return v + (size_t)(c / a->dim) * (size_t)a->rows * (size_t)a->dim + (size_t)(c % a->dim);
}

/* The nearest multiple of a step, below 2^31 away; inverse: 1 / step. */
static inline int32_t multiple(float v, double inverse)
{
    double x = (double)v * inverse + 0x1.8p52;
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (int32_t)bits;
}

/* What is stored of v in steps of `step`: the same floats that unpacking gives. */
static inline float stored(float v, float step, double inverse) { return (float)multiple(v, inverse) * step; }

struct sums {
    double sum, square, off, off_square;
    float most;
};

static void sum_rows(const float *v, const float *base, const float *step, const double *inverse, size_t rows,
                     size_t dim, struct sums *s)
{
    for (size_t r = 0; r < rows; r++, v += dim) {
        for (size_t d = 0; d < dim; d++) {
            double x = (double)v[d];
            s[d].sum += x;
            s[d].square += x * x;
            s[d].most = fabsf(v[d]) > s[d].most ? fabsf(v[d]) : s[d].most;
        }
        for (size_t d = 0; base && d < dim; d++) {
            float off = v[d] - stored(base[d], step[d], inverse[d]);
            s[d].off += (double)off;
            s[d].off_square += (double)off * (double)off;
            s[d].most = fabsf(off) > s[d].most ? fabsf(off) : s[d].most;
        }
        if (base) base += dim;
    }
}

bool tf_moments(const float *v, const struct tf_array *a, const float *base, const float *base_step,
                struct tf_moments *m)
{
    size_t dim = (size_t)a->dim, block = (size_t)a->rows * dim;
    struct sums *s = malloc(dim * sizeof *s);
    double *inverse = malloc(dim * sizeof *inverse), n = a->rows;
    bool ok = s && inverse;
    for (size_t h = 0; ok && h < (size_t)a->heads; h++, m += dim) {
        const float *step = base ? base_step + h * dim : NULL;
        memset(s, 0, dim * sizeof *s);
        for (size_t d = 0; base && d < dim; d++) inverse[d] = 1 / (double)step[d];
        sum_rows(v + h * block, base ? base + h * block : NULL, step, inverse, (size_t)a->rows, dim, s);
        for (size_t d = 0; d < dim && ok; d++) {
            double mean = s[d].sum / n, size = s[d].square / n, off = s[d].off / n, far = s[d].off_square / n;
            double spread = sqrt(fmax(size - mean * mean, 0)), rest = sqrt(fmax(far - off * off, 0));
            ok = isfinite(size) && isfinite(far);
            m[d] = (struct tf_moments){ base ? off : mean, sqrt(size), spread, base ? rest : spread,
                                        (double)s[d].most };
        }
    }
    free(s);
    free(inverse);
    return ok;
}

/* Steps are kept where a multiple fits an integer and says at least a tenth of the column's size. */
static float bounded(double step, const struct tf_moments *m)
{
    double least = fmax(m->most / 0x1p28, 1e-30), most = fmax(0.1 * sqrt(12.0) * m->size, least);
    return (float)(step < least ? least : step > most ? most : step);
}

void tf_steps_scores(const struct tf_array *a, const struct tf_moments *m, const struct tf_array *met,
                     const struct tf_moments *other, bool keys, double scale, double error, float *step)
{
    for (int c = 0; c < a->heads * a->dim; c++) {
        int head = c / a->dim, d = c % a->dim;
        int per = keys ? met->heads / a->heads : 1, h0 = keys ? head * per : head / (a->heads / met->heads);
        double square = 0;
        for (int h = h0; h < h0 + per; h++) {
            const struct tf_moments *o = &other[h * met->dim + d];
            double meets = keys ? o->size : fmax(o->spread, 0.1 * o->size);
            square += meets * meets / per;
        }
        double felt = fabs(scale) * sqrt(square);
        step[c] = bounded(felt > 0 ? error * sqrt(12.0 / a->dim) / felt : (double)INFINITY, &m[c]);
    }
}

void tf_steps_values(const struct tf_array *a, const struct tf_moments *m, double error, float *step)
{
    for (int c = 0; c < a->heads * a->dim; c++) step[c] = bounded(error * sqrt(12.0) * m[c].size, &m[c]);
}

/* Entropy of a normal column in steps, and what prefix codes cannot go below. */
double tf_steps_bytes(const struct tf_array *a, const struct tf_moments *m, const float *step)
{
    double bits = 0;
    for (int c = 0; c < a->heads * a->dim; c++) {
        double x = m[c].coded / (double)step[c], h = 0.5 * log2(1 + 17.08 * x * x);
        bits += h < 0.02 ? h : fmax(h, 1.02);
    }
    return bits / 8 * a->rows + a->heads * a->dim * (double)COLUMN_HEAD;
}

/* ---- packing ---- */

static void put_float(struct tf_out *o, float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    tf_u32(o, u);
}

static float get_float(struct tf_in *in)
{
    uint32_t u = tf_get32(in);
    float v;
    memcpy(&v, &u, sizeof v);
    return v;
}

/* The multiples of a column, less offset. */
static void column_multiples(const float *v, const struct tf_array *a, const float *base,
                             const float *base_step, float step, int c, int32_t offset, int32_t *out)
{
    const float *p = column(v, a, c), *b = base ? column(base, a, c) : NULL, from_step = b ? base_step[c] : 1;
    double inverse = 1 / (double)step, from_inverse = 1 / (double)from_step;
    for (size_t r = 0, at = 0; r < (size_t)a->rows; r++, at += (size_t)a->dim) {
        float from = b ? stored(b[at], from_step, from_inverse) : 0;
        out[r] = multiple(p[at] - from, inverse) - offset;
    }
}

static int shift_of(const struct tf_moments *m, float step)
{
    int s = 0;
    for (double x = m->coded / (double)step; x > 24 && s < MOST_SHIFT; x /= 2) s++;
    return s;
}

static void put_low_bits(struct tf_out *o, const int32_t *m, int n, int shift, unsigned char *bytes)
{
    uint64_t held = 0;
    int have = 0;
    size_t at = 0;
    for (int r = 0; r < n; r++) {
        held |= (uint64_t)((uint32_t)m[r] & ((1u << shift) - 1)) << have;
        for (have += shift; have >= 8; have -= 8, held >>= 8) bytes[at++] = (unsigned char)held;
    }
    if (have) bytes[at++] = (unsigned char)held;
    tf_put(o, bytes, at);
}

/* The offset keeps a column about zero. */
static int32_t offset_of(const struct tf_moments *m, float step)
{
    return multiple((float)m->mean, 1 / (double)step);
}

void tf_steps_pack(struct tf_out *o, const float *v, const struct tf_array *a, const struct tf_moments *m,
                   const float *step, double error, const float *base, const float *base_step)
{
    int cols = a->heads * a->dim;
    struct tf_out low = { NULL, 0, 0, false }, far = { NULL, 0, 0, false };
    int32_t *mult = malloc(((size_t)a->rows + 1) * sizeof *mult);
    signed char *top = malloc((size_t)a->rows + 1);
    unsigned char *bytes = malloc((size_t)a->rows * 3 + 8);
    o->failed = o->failed || !mult || !top || !bytes;
    tf_u32(o, base ? 0 : UINT32_MAX);
    tf_u32(o, (uint32_t)a->rows);
    put_float(o, (float)error);
    for (int c = 0; c < cols; c++) {
        unsigned char shift = (unsigned char)shift_of(&m[c], step[c]);
        put_float(o, step[c]);
        tf_u32(o, (uint32_t)offset_of(&m[c], step[c]));
        tf_put(o, &shift, 1);
    }
    for (int c = 0; c < cols && !o->failed; c++) {
        int shift = shift_of(&m[c], step[c]);
        column_multiples(v, a, base, base_step, step[c], c, offset_of(&m[c], step[c]), mult);
        for (int r = 0; r < a->rows; r++) {
            int32_t t = mult[r] >> shift;
            bool fits = t > ESCAPE && t < 128;
            top[r] = (signed char)(fits ? t : ESCAPE);
            if (fits) continue;
            tf_u32(&far, (uint32_t)c);
            tf_u32(&far, (uint32_t)r);
            tf_u32(&far, (uint32_t)mult[r]);
            mult[r] = 0;
        }
        tf_put(o, top, (size_t)a->rows);
        if (shift) put_low_bits(&low, mult, a->rows, shift, bytes);
    }
    tf_put(o, low.p, low.n);
    tf_put(o, far.p, far.n);
    o->failed = o->failed || low.failed || far.failed;
    free(low.p);
    free(far.p);
    free(mult);
    free(top);
    free(bytes);
}

/* ---- unpacking ---- */

static void get_low_bits(const unsigned char *p, int n, int shift, int32_t *m)
{
    uint64_t held = 0;
    int have = 0;
    for (int r = 0; r < n; r++) {
        for (; have < shift; have += 8) held |= (uint64_t)*p++ << have;
        m[r] = (int32_t)(((uint32_t)m[r] << shift) | ((uint32_t)held & ((1u << shift) - 1)));
        held >>= shift;
        have -= shift;
    }
}

static void put_column(const int32_t *m, const struct tf_array *a, int c, float step, int32_t offset,
                       const float *base, float *v)
{
    const float *b = base ? column(base, a, c) : NULL;
    float *to = v + (column(v, a, c) - v);
    for (size_t r = 0, at = 0; r < (size_t)a->rows; r++, at += (size_t)a->dim)
        to[at] = (float)(int32_t)((uint32_t)m[r] + (uint32_t)offset) * step + (b ? b[at] : 0);
}

/* Where a value that no byte holds goes; what is left of `in` are those. */
static bool put_far(struct tf_in *in, const struct tf_array *a, const unsigned char *head, const float *base,
                    float *v)
{
    while (in->p < in->end) {
        uint32_t c = tf_get32(in), r = tf_get32(in), far = tf_get32(in);
        if (in->bad || c >= (uint32_t)(a->heads * a->dim) || r >= (uint32_t)a->rows) return false;
        struct tf_in one = { head + (size_t)c * COLUMN_HEAD, head + (size_t)(c + 1) * COLUMN_HEAD, false };
        float step = get_float(&one);
        int32_t m = (int32_t)(far + tf_get32(&one));
        if (!v) continue;
        size_t at = (size_t)(column(v, a, (int)c) - v) + (size_t)r * (size_t)a->dim;
        v[at] = (float)m * step + (base ? base[at] : 0);
    }
    return true;
}

bool tf_steps_unpack(struct tf_in *in, const struct tf_array *a, const float *base, float *v)
{
    int cols = a->heads * a->dim;
    bool differs = tf_get32(in) != UINT32_MAX, ok = (int)tf_get32(in) == a->rows;
    (void)get_float(in);
    const unsigned char *head = tf_take(in, (size_t)cols * COLUMN_HEAD);
    const signed char *top = tf_take(in, (size_t)cols * (size_t)a->rows);
    int32_t *mult = malloc(((size_t)a->rows + 1) * sizeof *mult);
    ok = ok && (!v || differs == (base != NULL)) && !in->bad && head && top && mult;
    for (int c = 0; ok && c < cols; c++) {
        struct tf_in one = { head + (size_t)c * COLUMN_HEAD, head + (size_t)(c + 1) * COLUMN_HEAD, false };
        float step = get_float(&one);
        int32_t offset = (int32_t)tf_get32(&one);
        int shift = *one.p;
        const signed char *t = top + (size_t)c * (size_t)a->rows;
        const unsigned char *low = shift ? tf_take(in, ((size_t)a->rows * (size_t)shift + 7) / 8) : head;
        ok = shift <= MOST_SHIFT && isfinite(step) && !in->bad && low;
        if (!ok || !v) continue;
        for (int r = 0; r < a->rows; r++) mult[r] = t[r];
        if (shift) get_low_bits(low, a->rows, shift, mult);
        put_column(mult, a, c, step, offset, base, v);
    }
    ok = ok && put_far(in, a, head, base, v);
    free(mult);
    return ok;
}
