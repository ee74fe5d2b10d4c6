/* Linear layers against double-precision products of the dequantised weights: every storage type, strict and
 * fast, repacked and not, one row of x and many, odd row counts, at every level of the CPU; and the integer
 * kernels against their scalar twins.
 *
 * Tolerances: f32 sums err by at most cols * eps * sum|x w|. Integer paths round x to 1/32767 or 1/127 of the
 * largest of its block of 32: half a step of that times sum|w|, block by block. bf16 rounds x and w to 2^-9.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "twins.h"
#include "model/linear.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 1442695040888963407u;
static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}
static float uniform(void) { return (float)(next() >> 40) / 8388608.0f - 1.0f; }

static struct sac_pool *pool;
static int best_level;

/* Random bytes make valid quantised weights but for the f16 scales, which are set to modest numbers. */
static void random_row(enum k_type type, uint8_t *row, int cols)
{
    static const int scale_at[K_N_TYPES][2] = {
        [K_Q8_0] = { 0, -1 }, [K_Q4_0] = { 0, -1 },  [K_Q4_1] = { 0, 2 },    [K_Q5_0] = { 0, -1 },
        [K_Q5_1] = { 0, 2 },  [K_Q2_K] = { 80, 82 }, [K_Q3_K] = { 108, -1 }, [K_Q4_K] = { 0, 2 },
        [K_Q5_K] = { 0, 2 },  [K_Q6_K] = { 208, -1 }
    };
    if (type == K_F32)
        for (int i = 0; i < cols; i++) {
            float x = uniform();
            memcpy(row + 4 * i, &x, 4);
        }
    else if (type == K_F16 || type == K_BF16)
        for (int i = 0; i < cols; i++) {
            float x = uniform();
            uint16_t h;
            if (type == K_F16) k_ops()->to_f16(&x, 1, &h);
            else k_ops()->to_bf16(&x, 1, &h);
            memcpy(row + 2 * i, &h, 2);
        }
    else
        for (int b = 0; b < cols / k_type_info[type].block; b++, row += k_type_info[type].bytes) {
            for (int i = 0; i < k_type_info[type].bytes; i++) row[i] = (uint8_t)next();
            for (int s = 0; s < 2; s++) {
                float x = 0.01f * uniform();
                uint16_t h;
                k_ops()->to_f16(&x, 1, &h);
                if (scale_at[type][s] >= 0) memcpy(row + scale_at[type][s], &h, 2);
            }
        }
}

struct problem { struct k_mat w; float *wf, *x, *y, *bias; int m; size_t ldx, ldy; };

static void make(struct problem *p, enum k_type type, int rows, int cols, int m)
{
    size_t bytes = (size_t)cols / (size_t)k_type_info[type].block * (size_t)k_type_info[type].bytes;
    uint8_t *data = malloc(bytes * (size_t)rows);
    p->wf = malloc((size_t)rows * (size_t)cols * sizeof *p->wf);
    for (int r = 0; r < rows; r++) {
        random_row(type, data + (size_t)r * bytes, cols);
        k_ops()->dequant(type, data + (size_t)r * bytes, cols, p->wf + (size_t)r * (size_t)cols);
    }
    p->w = (struct k_mat){ .type = type, .rows = rows, .cols = cols, .row_bytes = bytes, .data = data };
    p->m = m;
    p->ldx = (size_t)cols + 3;
    p->ldy = (size_t)rows + 5;
    p->x = malloc(((size_t)(m - 1) * p->ldx + (size_t)cols) * sizeof *p->x);
    p->y = malloc(((size_t)(m - 1) * p->ldy + (size_t)rows) * sizeof *p->y);
    p->bias = malloc((size_t)rows * sizeof *p->bias);
    for (size_t i = 0; i < (size_t)(m - 1) * p->ldx + (size_t)cols; i++) p->x[i] = uniform();
    for (int i = 0; i < rows; i++) p->bias[i] = uniform();
}

static void drop(struct problem *p)
{
    linear_release(&p->w);
    free((void *)(uintptr_t)p->w.data);
    free(p->wf);
    free(p->x);
    free(p->y);
    free(p->bias);
}

/* Largest error the path may make: rounding of x by block, of both operands, or of the sum alone. */
static double tolerance(const struct problem *p, int r, int c, bool strict)
{
    const float *x = p->x + (size_t)r * p->ldx, *w = p->wf + (size_t)c * (size_t)p->w.cols;
    double terms = 0, blocks = 0;
    for (int i = 0; i < p->w.cols; i++) terms += fabs((double)x[i] * (double)w[i]);
    for (int b = 0; b + 32 <= p->w.cols; b += 32) {
        double top = 0, sum = 0;
        for (int i = b; i < b + 32; i++) {
            top = fmax(top, fabs((double)x[i]));
            sum += fabs((double)w[i]);
        }
        blocks += top * sum;
    }
    /* minima and integers cancel: their terms are up to 64 times those of the weights they make */
    double tol = p->w.cols * (double)FLT_EPSILON * (terms + 1);
    bool ints = !strict && p->w.type > K_BF16 && k_ops()->int8.name;
    if (ints) tol = blocks * (0.5 / k_ops()->int8.x_max + 1e-6) + tol;
    if (!strict && (p->w.type == K_F16 || p->w.type == K_BF16) && k_ops()->bf16.name) tol += terms * 0x1p-7;
    return tol;
}

static void check(struct problem *p, bool strict, bool prepare)
{
    linear_release(&p->w);
    if (prepare || strict) assert_true(linear_prepare(pool, &p->w, 1, strict));
    memset(p->y, 0xff, ((size_t)(p->m - 1) * p->ldy + (size_t)p->w.rows) * sizeof *p->y);
    linear(pool, &p->w, p->x, p->ldx, p->m, p->y, p->ldy, p->bias);
    for (int r = 0; r < p->m; r += 1 + (int)(next() % 3))
        for (int c = 0; c < p->w.rows; c++) {
            double want = (double)p->bias[c], got = (double)p->y[(size_t)r * p->ldy + (size_t)c];
            for (int i = 0; i < p->w.cols; i++)
                want += (double)p->x[(size_t)r * p->ldx + (size_t)i] *
                        (double)p->wf[(size_t)c * (size_t)p->w.cols + (size_t)i];
            if (!(fabs(got - want) <= tolerance(p, r, c, strict)))
                fail_msg("%s %s %d x %d, m %d, strict %d: y[%d][%d] = %g, expected %g +- %g", k_ops()->name,
                         k_type_info[p->w.type].name, p->w.rows, p->w.cols, p->m, strict, r, c, got, want,
                         tolerance(p, r, c, strict));
        }
}

static void test_types(void **state)
{
    (void)state;
    static const int m[] = { 1, 2, 3, 4, 5, 6, 7, 13, 25 }, rows[] = { 1, 15, 16, 33, 70, 130 };
    for (int level = K_SCALAR; level <= best_level; level++) {
        k_cpu_init(level);
        for (int type = 0; type < K_N_TYPES; type++)
            for (int i = 0; i < 9; i++) {
                struct problem p;
                make(&p, (enum k_type)type, rows[(i + type) % 6], type == K_F32 && i % 2 ? 302 : 512, m[i]);
                check(&p, true, true);
                check(&p, false, false);
                check(&p, false, true);
                drop(&p);
            }
    }
    k_cpu_init(-1);
}

static void test_long(void **state)   /* more inputs than a block of the f32 path, more rows than a chunk */
{
    (void)state;
    struct problem p;
    make(&p, K_F16, 20, 2304, 5);
    check(&p, true, true);
    drop(&p);
    make(&p, K_Q8_0, 9, 64, 1030);
    check(&p, false, true);
    drop(&p);
}

static void test_many(void **state)
{
    (void)state;
    struct problem a, b;
    make(&a, K_Q8_0, 40, 256, 9);
    make(&b, K_F32, 24, 256, 9);
    float *y = malloc(9 * 64 * sizeof *y), *z = malloc(9 * 64 * sizeof *z);
    assert_true(linear_prepare(pool, &a.w, 1, false));
    linear(pool, &a.w, a.x, a.ldx, 9, y, 64, a.bias);
    linear(pool, &b.w, a.x, a.ldx, 9, z, 64, NULL);
    linear_many(pool, (struct linear_job[]){ { &a.w, a.y, a.ldy, a.bias }, { &b.w, b.y, b.ldy, NULL } }, 2,
                a.x, a.ldx, 9);
    for (int r = 0; r < 9; r++) {
        assert_memory_equal(y + r * 64, a.y + (size_t)r * a.ldy, 40 * sizeof *y);
        assert_memory_equal(z + r * 64, b.y + (size_t)r * b.ldy, 24 * sizeof *z);
    }
    free(y);
    free(z);
    drop(&a);
    drop(&b);
}

static void test_unpack(void **state)   /* d*q + m is what the dequantiser says */
{
    (void)state;
    for (int level = K_SCALAR; level <= best_level; level++) {
        k_cpu_init(level);
        for (int type = K_Q8_0; type < K_N_TYPES; type++) {
            enum { N = 1024 };
            uint8_t row[N * 2];
            int8_t q[N];
            float d[N / 16], m[N / 16], want[N];
            bool has_m;
            random_row((enum k_type)type, row, N);
            int sub = k_ops()->unpack((enum k_type)type, row, N, q, d, m, &has_m);
            k_ops()->dequant((enum k_type)type, row, N, want);
            for (int i = 0; i < N; i++) {
                double got = (double)d[i / sub] * q[i] + (has_m ? (double)m[i / sub] : 0.0);
                assert_true(fabs(got - (double)want[i]) <=
                            4 * (double)FLT_EPSILON * (fabs((double)d[i / sub] * q[i]) + 0.7));
            }
        }
    }
    k_cpu_init(-1);
}

/* Planes against one row of x: what unpacking the rows and the scalar product of integers give, but for the
 * order of the sums; and opened again, from any block on, they are the integers and scales of those rows. Odd
 * numbers of blocks, and fewer rows than a panel has. */
static void check_planes(const struct k_int8 *ops, enum k_type type, int n, int rows)
{
    size_t stride = (size_t)(n / k_type_info[type].block) * (size_t)k_type_info[type].bytes,
           count = (size_t)n;
    uint8_t *w = malloc(stride * (size_t)rows);
    void *panel = aligned_alloc(64, ops->planes->bytes(type, n));
    float *x = malloc(count * sizeof *x), *xd = malloc(count / 8), *xs = malloc(count / 4), y[K_PANEL];
    float *d = malloc(count / 4), *m = malloc(count / 4), *pd = malloc(count * 4), *pm = malloc(count * 4);
    int16_t *xq = malloc(count * 2), *wide = malloc(count * 2);
    int8_t *q = malloc(count * K_PANEL), *packed = malloc(count * K_PANEL), *opened = malloc(count * K_PANEL);
    bool has_m, opened_m;
    for (int i = 0; i < n; i++) x[i] = uniform() * (float)(1 + i / 32 % 3);
    for (int r = 0; r < rows; r++) random_row(type, w + (size_t)r * stride, n);
    ops->quant(x, n, xq, xd, xs);
    for (int i = 0; i < n; i++) wide[i] = ops->x_elem == 2 ? xq[i] : ((const int8_t *)xq)[i];
    struct k_xrow as_is = { xq, xd, xs }, widened = { wide, xd, xs };
    ops->planes->pack(type, w, stride, rows, n, panel);
    ops->planes->dot(type, panel, n, &as_is, y);
    int unit = k_type_info[type].block, k0 = n > unit ? unit : 0, left = n - k0;
    int sub = ops->planes->open(type, panel, n, k0, left, opened, pd, pm, &opened_m);
    for (int r = 0; r < K_PANEL; r++) {
        int row = r < rows ? r : rows - 1;
        int8_t *qr = q + (size_t)r * (size_t)left;
        assert_int_equal(unpack_c(type, w + (size_t)row * stride, n, packed, d, m, &has_m), sub);
        memcpy(qr, packed + k0, (size_t)left);
        double want = (double)dot_int8_c(packed, d, has_m ? m : NULL, sub, n, &widened), terms = 0;
        for (int i = 0; i < n; i++)
            terms += (double)xd[i / 32] * abs(wide[i]) *
                     (fabs((double)d[i / sub]) * 64 + (has_m ? fabs((double)m[i / sub]) : 0));
        if (!(fabs((double)y[r] - want) <= 4 * (double)FLT_EPSILON * terms))
            fail_msg("%s %s, %d values, row %d: %g, expected %g", k_ops()->name, k_type_info[type].name, n, r,
                     (double)y[r], want);
        assert_int_equal(has_m, opened_m);
        for (int b = 0; b < left / sub; b++) {
            assert_true(pd[b * K_PANEL + r] == d[k0 / sub + b]);
            assert_true(!has_m || pm[b * K_PANEL + r] == m[k0 / sub + b]);
        }
    }
    ops->pack(q, left, packed);
    assert_memory_equal(opened, packed, (size_t)left * K_PANEL);
    void *all[] = { w, panel, x, xd, xs, d, m, pd, pm, xq, wide, q, packed, opened };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void test_planes(void **state)
{
    (void)state;
    static const int small[] = { 32, 64, 96, 256, 1056 }, large[] = { 256, 512, 768, 1024, 2304 };
    for (int level = K_SCALAR; level <= best_level; level++) {
        const struct k_int8 *ops = &k_cpu_init(level)->int8;
        for (int type = K_F32; type < K_N_TYPES && ops->planes; type++)
            for (int k = 0; k < 5; k++) {
                int n = k_type_info[type].block == 256 ? large[k] : small[k];
                if (type > K_Q8_0)
                    check_planes(ops, (enum k_type)type, n, k % 2 ? K_PANEL : 1 + 3 * k);
                else
                    assert_int_equal(ops->planes->bytes((enum k_type)type, n), 0);
            }
        if (ops->planes) assert_int_equal(ops->planes->bytes(K_Q4_K, 288), 0);
    }
    k_cpu_init(-1);
}

/* Rows of words: as the twin rounds them but for one step where that is a near tie, with parts whose length
 * leaves their sums in 32 bits; packed and multiplied exactly but for sums of parts in floats. */
static void check_words(const struct k_words *ops, int n, int rows, int panels, float loud)
{
    int cols = panels * K_PANEL, ldy = cols + 5;
    size_t len = (size_t)n, all = len * (size_t)(rows + cols);
    float *x = malloc(all * sizeof *x), *s = malloc((size_t)(rows + cols) * sizeof *s);
    float *y = malloc((size_t)(rows * ldy) * sizeof *y), *want = malloc((size_t)(rows * ldy) * sizeof *want);
    int16_t *q = malloc(all * sizeof *q), *twin = malloc(len * sizeof *twin);
    int16_t *w = malloc(len * (size_t)cols * sizeof *w), *panel = malloc(len * K_PANEL * sizeof *panel);
    for (size_t i = 0; i < all; i++) x[i] = uniform() * (i % 7 ? 1 : loud);
    for (size_t i = 0; i < len; i++) x[i] = 0;
    for (int r = 0; r < rows + cols; r++) {
        const float *xr = x + (size_t)r * len;
        int16_t *qr = q + (size_t)r * len;
        s[r] = ops->row(xr, n, qr);
        assert_true(fabs((double)s[r] - (double)words_row_c(xr, n, twin)) <= 1e-5 * (double)s[r]);
        for (int i = 0; i < n; i++) {
            assert_true(abs(qr[i] - twin[i]) <= 1);
            assert_true(fabs((double)s[r] * qr[i] - (double)xr[i]) <= 0.51 * (double)s[r]);
        }
        for (int b = 0; b < n; b += K_WORD_PART) {
            int64_t sum = 0;
            for (int i = b; i < b + K_WORD_PART; i++) sum += qr[i] * qr[i];
            assert_true(sum <= INT32_MAX);
        }
    }
    for (int p = 0; p < panels; p++) {
        const int16_t *from = q + (size_t)(rows + p * K_PANEL) * len;
        ops->pack(from, n, w + (size_t)(p * K_PANEL) * len);
        words_pack_c(from, n, panel);
        assert_memory_equal(w + (size_t)(p * K_PANEL) * len, panel, len * K_PANEL * sizeof *panel);
    }
    ops->tile(w, s + rows, panels, n, q, s, rows, y, (size_t)ldy);
    tile_words_c(w, s + rows, panels, n, q, s, rows, want, (size_t)ldy);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            double part = (double)s[r] * (double)s[rows + c] * 0x1p31, parts = n / K_WORD_PART;
            assert_true(fabs((double)y[r * ldy + c] - (double)want[r * ldy + c]) <=
                        parts * (parts + 2) * (double)FLT_EPSILON * part);
        }
    void *mem[] = { x, s, y, want, q, twin, w, panel };
    for (size_t i = 0; i < sizeof mem / sizeof *mem; i++) free(mem[i]);
}

static void test_words(void **state)
{
    (void)state;
    for (int level = K_SCALAR; level <= best_level; level++) {
        const struct k_words *ops = &k_cpu_init(level)->words;
        for (int k = 1; k <= 12 && ops->name; k++) {
            check_words(ops, k * K_WORD_PART, 2 * k - 1, 1 + k % 6, 1);
            check_words(ops, k * K_WORD_PART, k, k % 3 + 3, 1000);
        }
    }
    k_cpu_init(-1);
}

/* Four panels at once give what each gives alone, bit for bit. */
static void check_tile4(const struct k_int8 *ops, int n, int sub, bool minima, bool halves)
{
    enum { ROWS = K_INT_MR, WIDE = K_NP * K_PANEL };
    size_t scales = (size_t)(n / sub) * K_PANEL;
    float *x = malloc((size_t)n * sizeof *x), *d = malloc(K_NP * scales * sizeof *d);
    float *m = malloc(K_NP * scales * sizeof *m), *xd = malloc(ROWS * (size_t)n / 32 * sizeof *xd);
    float *xs = malloc(ROWS * (size_t)n / 16 * sizeof *xs), y[2][ROWS * WIDE];
    uint16_t *d16 = malloc(K_NP * scales * sizeof *d16);
    int8_t *q = malloc((size_t)K_PANEL * (size_t)n), *packed = aligned_alloc(64, (size_t)WIDE * (size_t)n);
    char *xq = malloc(ROWS * (size_t)n * (size_t)ops->x_elem);
    struct k_xrow row[ROWS];
    struct k_panel w[K_NP];
    for (size_t i = 0; i < K_NP * scales; i++) d[i] = uniform(), m[i] = uniform();
    k_ops()->to_f16(d, (int)(K_NP * scales), d16);
    for (int p = 0; p < K_NP; p++) {
        for (int i = 0; i < K_PANEL * n; i++) q[i] = (int8_t)(uniform() * 127);
        ops->pack(q, n, packed + (size_t)p * K_PANEL * (size_t)n);
        w[p] = (struct k_panel){ .q = packed + (size_t)p * K_PANEL * (size_t)n, .sub = sub,
                                 .d = halves ? NULL : d + (size_t)p * scales,
                                 .d16 = halves ? d16 + (size_t)p * scales : NULL,
                                 .m = minima ? m + (size_t)p * scales : NULL };
    }
    for (size_t r = 0; r < ROWS; r++) {
        size_t len = (size_t)n;
        for (int i = 0; i < n; i++) x[i] = uniform();
        row[r] = (struct k_xrow){ xq + r * len * (size_t)ops->x_elem, xd + r * len / 32, xs + r * len / 16 };
        ops->quant(x, n, xq + r * len * (size_t)ops->x_elem, xd + r * len / 32, xs + r * len / 16);
    }
    for (int rows = 1; rows <= ops->rows; rows++) {
        for (int p = 0; p < K_NP; p++) ops->tile(w + p, n, row, rows, y[0] + p * K_PANEL, WIDE);
        ops->tile4(w, n, row, rows, y[1], WIDE);
        assert_memory_equal(y[0], y[1], (size_t)rows * WIDE * sizeof(float));
    }
    free(x), free(d), free(m), free(xd), free(xs), free(d16), free(q), free(packed), free(xq);
}

static void test_tile4(void **state)
{
    static const int n[] = { 32, 96, 1024, 1056, 2592 };
    (void)state;
    for (int level = K_SCALAR; level <= best_level; level++) {
        const struct k_int8 *ops = &k_cpu_init(level)->int8;
        for (size_t i = 0; ops->tile4 && i < sizeof n / sizeof *n; i++)
            for (int kind = 0; kind < 8; kind++)
                check_tile4(ops, n[i], kind & 1 ? 16 : 32, kind & 2, kind & 4);
    }
    k_cpu_init(-1);
}

/* Rounded inputs do not depend on how many blocks are rounded together. */
static void test_quant(void **state)
{
    enum { N = 2 * 512 + 96 };
    (void)state;
    float x[N], d[N / 32], s[N / 16], one_d, one_s[2];
    int16_t q[N], one[32];
    for (int i = 0; i < N; i++) x[i] = i / 32 == 7 ? 0 : uniform() * (float)(1 + i / 32 % 5);
    for (int level = K_SCALAR; level <= best_level; level++) {
        const struct k_int8 *ops = &k_cpu_init(level)->int8;
        ops->quant(x, N, q, d, s);
        for (int b = 0; b < N / 32; b++) {
            ops->quant(x + 32 * b, 32, one, &one_d, one_s);
            assert_memory_equal((const char *)q + (size_t)(32 * b * ops->x_elem), one,
                                (size_t)(32 * ops->x_elem));
            assert_true(d[b] == one_d && s[2 * b] == one_s[0] && s[2 * b + 1] == one_s[1]);
        }
    }
    k_cpu_init(-1);
}

int main(void)
{
    best_level = (int)k_cpu_init(-1)->level;
    pool = pool_new(3, 0);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_types), cmocka_unit_test(test_long),
                                        cmocka_unit_test(test_many), cmocka_unit_test(test_unpack),
                                        cmocka_unit_test(test_planes), cmocka_unit_test(test_words),
                                        cmocka_unit_test(test_tile4), cmocka_unit_test(test_quant) };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return rc;
}
