/* Every vector operation at every level of the CPU against its scalar twin.
 *
 * Lengths are odd as often as even, pointers unaligned, and inputs are heap blocks of the exact size, so that
 * a sanitizer sees any access past the end. Tolerances: adding n terms in another order moves a sum by at
 * most n eps times the sum of their magnitudes; exp, tanh and their like are polynomials of relative error
 * 3e-7, and an exponent x that is off by eps moves e^x by |x| eps; conversions are exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels.h"
#include "twins.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 2862933555777941757u;
static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}
static float uniform(void) { return (float)(next() >> 40) / 8388608.0f - 1.0f; }
static int upto(int n) { return (int)(next() % (uint64_t)(n + 1)); }

/* n floats that start `off` floats into their block and end with it. */
struct block { float *base, *x; };
static struct block floats(int n, float scale)
{
    int off = upto(3);
    struct block b = { malloc((size_t)(n + off + (n + off == 0)) * sizeof(float)), NULL };
    b.x = b.base + off;
    for (int i = 0; i < n; i++) b.x[i] = scale * uniform();
    return b;
}

static const struct k_ops *ops;
static const double EPS = (double)FLT_EPSILON;

static void near(float got, float want, double tol)
{
    if (!(fabs((double)got - (double)want) <= tol))
        fail_msg("%s: %.9g, expected %.9g +- %g", ops->name, (double)got, (double)want, tol);
}

static void sums(void)
{
    for (int round = 0; round < 300; round++) {
        int n = upto(150);
        struct block a = floats(n, 1), b = floats(n, 1), y = floats(n, 1), z = floats(n, 1);
        double terms = 0;
        for (int i = 0; i < n; i++) terms += fabs((double)a.x[i] * (double)b.x[i]);
        near(ops->dot(a.x, b.x, n), dot_c(a.x, b.x, n), (n + 1) * EPS * terms);
        if (n) {
            float m = ops->max(a.x, n);
            assert_true(m == max_c(a.x, n));
            rms_norm_c(a.x, b.x, n, 1e-5f, y.x);
            ops->rms_norm(a.x, b.x, n, 1e-5f, z.x);
            for (int i = 0; i < n; i++) near(z.x[i], y.x[i], (n + 8) * EPS * fabs((double)y.x[i]));
        }
        memcpy(y.x, a.x, (size_t)n * sizeof(float));
        ops->add(y.x, b.x, n);
        for (int i = 0; i < n; i++) assert_true(y.x[i] == a.x[i] + b.x[i]);
        int half = n / 3; /* of angles a and b; turned values may lose a rounding to a fused one */
        memcpy(y.x, a.x, (size_t)n * sizeof(float));
        memcpy(z.x, a.x, (size_t)n * sizeof(float));
        rotate_c(b.x, b.x + half, half, y.x);
        ops->rotate(b.x, b.x + half, half, z.x);
        for (int i = 0; i < n; i++) near(z.x[i], y.x[i], i < 2 * half ? 2 * EPS : 0);
        enum { ROWS = 7 };
        struct block rows = floats(ROWS * (n + 3), 1), weight = floats(ROWS, 1);
        memcpy(y.x, a.x, (size_t)n * sizeof(float));
        memcpy(z.x, a.x, (size_t)n * sizeof(float));
        add_rows_c(y.x, rows.x, (size_t)n + 3, weight.x, ROWS, n);
        ops->add_rows(z.x, rows.x, (size_t)n + 3, weight.x, ROWS, n);
        for (int i = 0; i < n; i++) near(z.x[i], y.x[i], (ROWS + 1) * EPS * (ROWS + fabs((double)a.x[i])));
        free(rows.base);
        free(weight.base);
        free(a.base);
        free(b.base);
        free(y.base);
        free(z.base);
    }
}

static void curves(void)
{
    for (int round = 0; round < 300; round++) {
        int n = upto(70);
        float wide = round % 3 == 0 ? 200.0f : round % 3 == 1 ? 4.0f : 0.05f;
        struct block g = floats(n, wide), u = floats(n, 1), y = floats(n, 1), z = floats(n, 1);
        silu_mul_c(g.x, u.x, n, y.x);
        ops->silu_mul(g.x, u.x, n, z.x);
        for (int i = 0; i < n; i++)
            near(z.x[i], y.x[i], (4e-7 + EPS * fabs((double)g.x[i])) * fabs((double)y.x[i]) + 1e-30);
        gelu_mul_c(g.x, u.x, n, y.x);
        memcpy(z.x, g.x, (size_t)n * sizeof(float));
        ops->gelu_mul(z.x, u.x, n, z.x);     /* in place */
        for (int i = 0; i < n; i++) near(z.x[i], y.x[i], 1e-6 * fabs((double)g.x[i] * (double)u.x[i]));
        memcpy(y.x, g.x, (size_t)n * sizeof(float));
        memcpy(z.x, g.x, (size_t)n * sizeof(float));
        softcap_c(y.x, n, 30.0f);
        ops->softcap(z.x, n, 30.0f);
        for (int i = 0; i < n; i++) near(z.x[i], y.x[i], 1e-6 * fabs((double)y.x[i]));
        if (n) {
            float top = max_c(g.x, n);
            if (n > 2) g.x[n / 2] = -INFINITY;   /* a masked score */
            memcpy(y.x, g.x, (size_t)n * sizeof(float));
            memcpy(z.x, g.x, (size_t)n * sizeof(float));
            float want = exp_sum_c(y.x, n, top), got = ops->exp_sum(z.x, n, top);
            near(got, want, (n + 4) * 2 * EPS * (double)want + 1e-30);
            /* the rounding of (x - max) log2 e costs another eps of the exponent */
            for (int i = 0; i < n; i++) near(z.x[i], y.x[i], (4e-7 + EPS * 600) * (double)y.x[i] + 1e-37);
            if (n > 2) assert_true(z.x[n / 2] == 0.0f);
        }
        free(g.base);
        free(u.base);
        free(y.base);
        free(z.base);
    }
}

/* Rows in columns of vectors; sums and maxima go on from what is there. */
static void columns(void)
{
    for (int round = 0; round < 300; round++) {
        int n = 16 * (1 + upto(5)), keys = upto(40), ld = n + upto(9);
        struct block x = floats(keys * ld, round % 2 ? 30.0f : 3.0f), shift = floats(n, 10), a[2], b[2];
        for (int k = 0; k < 2; k++) {
            a[k] = floats(n, 0);
            b[k] = floats(n, 0);
            for (int r = 0; r < n; r++) a[k].x[r] = b[k].x[r] = k ? 0.25f : 2.0f;
        }
        for (int i = 0; i < keys * ld; i += 7) x.x[i] = round % 3 ? -INFINITY : -200.0f;
        cols_max_c(x.x, (size_t)ld, keys, n, a[0].x);
        ops->cols_max(x.x, (size_t)ld, keys, n, b[0].x);
        cols_exp2_c(x.x, (size_t)ld, keys, n, shift.x, a[1].x);
        ops->cols_exp2(x.x, (size_t)ld, keys, n, shift.x, b[1].x);
        for (int r = 0; r < n; r++) {
            near(b[0].x[r], a[0].x[r], 0);
            near(b[1].x[r], a[1].x[r], (keys + 8) * 2 * EPS * (double)a[1].x[r]);
        }
        free(x.base);
        free(shift.base);
        for (int k = 0; k < 2; k++) {
            free(a[k].base);
            free(b[k].base);
        }
    }
}

/* Scores pooled in registers: all numbers of keys and panels, with and without what is not wanted; keys that
 * all rows, some and none of them miss. */
static void pooled(void)
{
    for (int round = 0; round < 400; round++) {
        int panels = 1 + upto(K_NP - 1), dim = 2 * (1 + upto(40)), n = upto(20), rows = panels * K_PANEL;
        size_t part = K_PANEL * (size_t)dim;
        struct block q = floats(rows * dim, 1), key = floats(n * dim, 1);
        struct block shift = floats(rows, round % 4 ? 5 : 90);
        struct block w = floats(rows * dim, 0), a[3], b[3];
        uint64_t lost[32], seen[32], *see = round % 5 < 2 ? seen : NULL;
        for (int j = 0; j < panels; j++)
            ops->f32.pack(q.x + (size_t)j * part, (size_t)dim, dim, w.x + (size_t)j * part);
        for (int i = 0; i < n; i++) {
            seen[i] = upto(2) ? ~(uint64_t)0 << upto(63) : (uint64_t)upto(1);
            lost[i] = round % 3 == 0 ? 0 : upto(2) ? ~(uint64_t)0 : round % 2 ? 0 : next();
        }
        for (int k = 0; k < 3; k++) {
            a[k] = floats(rows, 0);
            b[k] = floats(rows, 0);
            for (int r = 0; r < rows; r++) a[k].x[r] = b[k].x[r] = k == 0 ? -1.0f : round % 2 ? 0.25f : 0;
        }
        bool want[3];
        for (int k = 0; k < 3; k++) want[k] = upto(3) > 0;
        struct k_pool p = { .panel = w.x, .pstride = part, .panels = panels, .dim = dim, .shift = shift.x,
                            .top = want[0] ? a[0].x : NULL, .sum = want[1] ? a[1].x : NULL,
                            .miss = want[2] ? a[2].x : NULL };
        pool_c(&p, key.x, n, want[2] ? lost : NULL, see);
        p.top = want[0] ? b[0].x : NULL;
        p.sum = want[1] ? b[1].x : NULL;
        p.miss = want[2] ? b[2].x : NULL;
        if (ops->pool) ops->pool(&p, key.x, n, want[2] ? lost : NULL, see);
        for (int k = 0; ops->pool && k < 3; k++)
            for (int r = 0; r < rows; r++)
                near(b[k].x[r], a[k].x[r], k ? 1e-5 * (double)a[k].x[r] : dim * EPS * 2);
        for (int k = 0; k < 3; k++) {
            free(a[k].base);
            free(b[k].base);
        }
        free(q.base);
        free(key.base);
        free(shift.base);
        free(w.base);
    }
}

static void above(void)
{
    for (int round = 0; round < 300; round++) {
        int n = upto(150), *a = malloc((size_t)(n + !n) * sizeof *a);
        int *b = malloc((size_t)(n + !n) * sizeof *b);
        struct block x = floats(n, 1);
        float t = round % 3 ? uniform() : n ? x.x[upto(n - 1)] : 0;
        if (n && round % 5 == 0) x.x[upto(n - 1)] = NAN;
        int m = above_c(x.x, n, t, a);
        assert_int_equal(ops->above(x.x, n, t, b), m);
        assert_memory_equal(a, b, (size_t)m * sizeof *a);
        free(a);
        free(b);
        free(x.base);
    }
}

static void readers(void)
{
    for (int round = 0; round < 300; round++) {
        int n = upto(150), most = upto(3);
        uint8_t *reader = calloc((size_t)n + 1, 1), *want = malloc((size_t)n + 1);
        uint8_t *kept = malloc((size_t)n + 1);
        int *a = malloc((size_t)(n + !n) * sizeof *a), *b = malloc((size_t)(n + !n) * sizeof *b);
        for (int i = 0; i < n; i++)
            if (upto(3) <= most) reader[i] = (uint8_t)upto(255);
        int m = readers_c(reader, n, a, want);
        kept[n] = 77;
        assert_int_equal(ops->readers(reader, n, b, kept), m);
        assert_memory_equal(a, b, (size_t)m * sizeof *a);
        assert_memory_equal(want, kept, (size_t)m);
        assert_int_equal(kept[n], 77);
        free(reader);
        free(want);
        free(kept);
        free(a);
        free(b);
    }
}

static void keeps(void)
{
    for (int round = 0; round < 100; round++) {
        int n = upto(70);
        struct block x = floats(n, 1), y = floats(n, 1);
        uint8_t *reader = malloc((size_t)(n + !n));
        for (int i = 0; i < n; i++) reader[i] = (uint8_t)upto(255);
        memcpy(y.x, x.x, (size_t)n * sizeof *y.x);
        keep_c(x.x, n, reader, 1u << round % 8);
        ops->keep(y.x, n, reader, 1u << round % 8);
        assert_memory_equal(x.x, y.x, (size_t)n * sizeof *x.x);
        free(reader);
        free(x.base);
        free(y.base);
    }
}

/* The same two lists, with one of them where the entries were, and their sum but for its rounding. */
static void parts(void)
{
    for (int round = 0; round < 300; round++) {
        int n = upto(150);
        struct block x = floats(n, 1), more = floats(n, 1), rest = floats(n, 1), a = floats(n, 1);
        float t = round % 3 ? uniform() : n ? x.x[upto(n - 1)] : 0;
        if (n && round % 5 == 0) x.x[upto(n - 1)] = NAN;
        double want = 0, sum = 0, size = 0;
        int m = part_c(x.x, n, t, more.x, rest.x, &want);
        for (int i = 0; i < m; i++) size += fabs((double)more.x[i]);
        bool first = round % 2;
        int k = round % 4 < 2 ? ops->part(x.x, n, t, first ? x.x : a.x, first ? a.x : x.x, &sum)
                              : ops->part(x.x, n, t, first ? x.x : a.x, first ? a.x : x.x, NULL);
        assert_int_equal(k, m);
        assert_memory_equal(first ? x.x : a.x, more.x, (size_t)m * sizeof(float));
        assert_memory_equal(first ? a.x : x.x, rest.x, (size_t)(n - m) * sizeof(float));
        if (round % 4 < 2) assert_true(fabs(sum - want) <= n * DBL_EPSILON * size);
        free(x.base);
        free(more.base);
        free(rest.base);
        free(a.base);
    }
}

static void best(void)
{
    for (int round = 0, done = 0; ops->best && round < 400; round++) {
        int n = 1 + upto(600), k = upto(n < 100 ? n : 100), *a = malloc((size_t)n * sizeof *a);
        int *b = malloc((size_t)(k + !k) * sizeof *b);
        struct block x = floats(n, 1);
        for (int i = 0; round % 4 == 0 && i < n; i++) x.x[i] = (float)upto(12);
        for (int i = round % 3; i < n && round % 5 == 0; i += 9) x.x[i] = round % 2 ? NAN : INFINITY;
        int m = ops->best(x.x, n, k, b);
        if (m >= 0) {
            assert_int_equal(best_c(x.x, n, k, a), m);
            assert_memory_equal(a, b, (size_t)m * sizeof *a);
        }
        done += m >= 0;
        if (round == 399) assert_true(done > 100);
        free(a);
        free(b);
        free(x.base);
    }
}

/* Integers exactly, the two products behind them to their rounding; groups in any order. */
static void nibbles(void)
{
    for (int round = 0; round < 150; round++) {
        int dim = 1 + upto(139), pad = (dim + 7) / 8 * 8, all = 1 + upto(5), n = upto(7), at[7];
        int heads = 1 + upto(8);
        size_t bytes = k_nibbles_bytes(dim), stride = (size_t)(n * K_GROUP + upto(3));
        char *groups = calloc((size_t)all, bytes);
        int8_t *q = calloc((size_t)heads, (size_t)pad);
        struct k_nibble_query query[9];
        for (int i = 0; i < all * K_GROUP; i++) {
            struct block key = floats(dim, 3);
            k_nibbles_put(key.x, dim, i % K_GROUP, groups + (size_t)(i / K_GROUP) * bytes);
            free(key.base);
        }
        for (int h = 0; h < heads; h++) {
            for (int d = 0; d < dim; d++) q[h * pad + d] = (int8_t)(round % 4 ? upto(254) - 127 : 127);
            query[h] = (struct k_nibble_query){ q + h * pad, uniform() / 100, uniform() };
        }
        for (int i = 0; i < n; i++) at[i] = upto(all - 1);
        struct block y = floats((int)stride * heads, 1), z = floats((int)stride * heads, 1);
        nibbles_c(query, heads, groups, at, n, dim, y.x, stride);
        ops->nibbles(query, heads, groups, at, n, dim, z.x, stride);
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < n * K_GROUP; i++) {
                double most = fabs((double)query[h].scale) * 0.4 * 15 * 127 * dim + 3;
                near(z.x[(size_t)h * stride + (size_t)i], y.x[(size_t)h * stride + (size_t)i], 4 * EPS * most);
            }
        free(groups);
        free(q);
        free(y.base);
        free(z.base);
    }
}

static void halves(void)
{
    static const float special[] = { 0.0f,     -0.0f,      65504.0f,       65519.99f,      65520.0f,
                                     1e30f,    -1e30f,     6.1e-5f,        5.9e-8f,        2.9e-8f,
                                     2.99e-8f, 1.0f,       1.00048828125f, 1.00146484375f, 3.3895314e38f,
                                     1e-40f,   1.00390625f };
    enum { N_SPECIAL = sizeof special / sizeof *special };
    for (int round = 0; round < 200; round++) {
        int n = upto(60) + (round == 0) * N_SPECIAL;
        struct block x = floats(n, round % 2 ? 1e-4f : 100.0f), y = floats(n, 1), z = floats(n, 1);
        uint16_t *a = malloc((size_t)n * 2 + 2), *b = malloc((size_t)n * 2 + 2);
        if (round == 0) {
            memcpy(x.x, special, sizeof special);
            x.x[N_SPECIAL - 1] = INFINITY;
        }
        to_f16_c(x.x, n, a);
        ops->to_f16(x.x, n, b);
        assert_memory_equal(a, b, (size_t)n * 2);
        from_f16_c(a, n, y.x);
        ops->from_f16(a, n, z.x);
        assert_memory_equal(y.x, z.x, (size_t)n * 4);
        to_bf16_c(x.x, n, a);
        ops->to_bf16(x.x, n, b);
        assert_memory_equal(a, b, (size_t)n * 2);
        from_bf16_c(a, n, y.x);
        ops->from_bf16(a, n, z.x);
        assert_memory_equal(y.x, z.x, (size_t)n * 4);
        free(x.base);
        free(y.base);
        free(z.base);
        free(a);
        free(b);
    }
    float nan = NAN, back;
    uint16_t h[8];
    for (int i = 0; i < 8; i++) {
        ops->to_bf16(&nan, 1, h);
        ops->from_bf16(h, 1, &back);
        assert_true(isnan(back));
        ops->to_f16(&nan, 1, h);
        ops->from_f16(h, 1, &back);
        assert_true(isnan(back));
    }
}

static void scores(void)
{
    for (int round = 0; round < 200; round++) {
        int dim = round % 4 ? 8 * (1 + upto(16)) : 1 + upto(50), n = upto(20), heads = 1 + upto(8);
        size_t stride = (size_t)n + 3, cells = (size_t)heads * stride;
        struct block q = floats(heads * dim, 1), k = floats(n * dim, 1), w = floats((int)cells, 1);
        float *y = calloc(cells, sizeof *y), *z = calloc(cells, sizeof *z);
        float *o = calloc((size_t)(heads * dim), sizeof *o), *p = calloc((size_t)(heads * dim), sizeof *p);
        uint16_t *h = malloc((size_t)(n * dim) * 2 + 2);
        for (int type = K_F32; type <= K_BF16; type++) {
            const void *key = type == K_F32 ? (const void *)k.x : h;
            if (type == K_F16) to_f16_c(k.x, n * dim, h);
            if (type == K_BF16) to_bf16_c(k.x, n * dim, h);
            scores_c((enum k_type)type, q.x, heads, key, dim, n, 0.3f, y, stride);
            ops->scores((enum k_type)type, q.x, heads, key, dim, n, 0.3f, z, stride);
            for (int i = 0; i < heads; i++)
                for (int j = 0; j < n; j++)
                    near(z[(size_t)i * stride + (size_t)j], y[(size_t)i * stride + (size_t)j],
                         0.3 * dim * EPS * dim);
            if (type == K_F32) ops->score_f32(q.x, k.x, dim, n, 0.3f, z);
            if (type == K_F16) ops->score_f16(q.x, h, dim, n, 0.3f, z);
            if (type == K_BF16) ops->score_bf16(q.x, h, dim, n, 0.3f, z);
            for (int j = 0; j < n; j++) near(z[j], y[j], 0.3 * dim * EPS * dim);
            memset(o, 0, (size_t)(heads * dim) * sizeof *o);
            memset(p, 0, (size_t)(heads * dim) * sizeof *p);
            values_c((enum k_type)type, w.x, stride, heads, key, dim, n, o);
            ops->values((enum k_type)type, w.x, stride, heads, key, dim, n, p);
            for (int i = 0; i < heads * dim; i++) near(p[i], o[i], 2.0 * n * EPS * n);
        }
        free(q.base);
        free(k.base);
        free(w.base);
        free(y);
        free(z);
        free(o);
        free(p);
        free(h);
    }
}

static void at_levels(void (*f)(void))
{
    int best = (int)k_cpu_init(-1)->level;
    for (int level = K_SCALAR; level <= best; level++) {
        ops = k_cpu_init(level);
        f();
    }
    k_cpu_init(-1);
}
static void test_sums(void **state) { (void)state; at_levels(sums); }
static void test_curves(void **state) { (void)state; at_levels(curves); }
static void test_columns(void **state) { (void)state; at_levels(columns); }
static void test_pooled(void **state) { (void)state; at_levels(pooled); }
static void test_above(void **state) { (void)state; at_levels(above); }
static void test_readers(void **state) { (void)state; at_levels(readers); }
static void test_keeps(void **state) { (void)state; at_levels(keeps); }
static void test_parts(void **state) { (void)state; at_levels(parts); }
static void test_best(void **state) { (void)state; at_levels(best); }
static void test_nibbles(void **state) { (void)state; at_levels(nibbles); }
static void test_halves(void **state) { (void)state; at_levels(halves); }
static void test_scores(void **state) { (void)state; at_levels(scores); }

static void
test_every_half(void **state) /* all 65536: to f32 and back is the identity, but for NaN payloads */
{
    (void)state;
    for (int level = K_SCALAR; level <= (int)k_cpu_init(-1)->level; level++) {
        const struct k_ops *o = k_cpu_init(level);
        for (int i = 0; i < 65536; i++) {
            uint16_t h = (uint16_t)i, back[2];
            float x;
            o->from_f16(&h, 1, &x);
            o->to_f16(&x, 1, back);
            assert_true(isnan(x) || back[0] == h);
            o->from_bf16(&h, 1, &x);
            o->to_bf16(&x, 1, back);
            assert_true(isnan(x) || back[0] == h);
        }
        k_cpu_init(-1);
    }
}

static void test_levels(void **state)
{
    (void)state;
    assert_int_equal(k_level_find("scalar"), K_SCALAR);
    assert_int_equal(k_level_find("avx2"), K_AVX2);
    assert_int_equal(k_level_find("amx"), K_AMX);
    assert_int_equal(k_level_find("neon"), K_NEON);
    assert_int_equal(k_level_find("sse9"), -1);
    assert_int_equal(k_level_find(NULL), -1);
    assert_int_equal(k_cpu_init(K_SCALAR)->level, K_SCALAR);
    const struct k_ops *o = k_cpu_init(-1);
    assert_true(o->dequant && o->dot && o->attn.step && o->attn_fast.step && o->f32.tile && o->unpack);
    assert_true(o == k_ops());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums), cmocka_unit_test(test_curves), cmocka_unit_test(test_columns),
        cmocka_unit_test(test_above), cmocka_unit_test(test_pooled), cmocka_unit_test(test_readers),
        cmocka_unit_test(test_keeps),
        cmocka_unit_test(test_parts), cmocka_unit_test(test_best),
        cmocka_unit_test(test_nibbles),
        cmocka_unit_test(test_halves), cmocka_unit_test(test_scores),
        cmocka_unit_test(test_every_half), cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
