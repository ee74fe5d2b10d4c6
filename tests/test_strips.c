/* Attention of the last rows summed by key and by offset, at every level of the CPU, against the same in
 * double precision: lengths and windows that fill no block, head sizes that fill no tile, and rows whose
 * largest score lies far above those on the keys that were sampled for it.
 *
 * Tolerance: scores are within 4e-6 of the sum of their terms (test_methods), so probabilities within twice
 * that share of themselves; exponentials within 3e-6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "kernels.h"
#include "methods/methods.h"

#include <math.h>
#include <stdlib.h>

static float uniform(void) { return (float)rand() / (float)RAND_MAX * 2 - 1; }

/* Sums of probabilities of the last `window` rows; returns the largest sum of magnitudes behind a score. */
static double reference(const struct sac_prefill_in *in, int window, double *vertical, double *slash)
{
    double *p = malloc(sizeof *p * (size_t)in->n), most = 0;
    for (int j = 0; j < in->n; j++) vertical[j] = slash[j] = 0;
    for (int row = in->n - imin(window, in->n); row < in->n; row++) {
        double top = -HUGE_VAL, sum = 0;
        for (int j = 0; j <= row; j++) {
            double dot = 0, terms = 0;
            for (int d = 0; d < in->head_dim; d++) {
                double t = (double)in_query(in, 1, row)[d] * (double)in_key(in, 0, j)[d] * (double)in->scale;
                dot += t;
                terms += fabs(t);
            }
            p[j] = dot;
            top = fmax(top, dot);
            most = fmax(most, terms);
        }
        for (int j = 0; j <= row; j++) sum += p[j] = exp(p[j] - top);
        for (int j = 0; j <= row; j++) {
            vertical[j] += p[j] / sum;
            slash[row - j] += p[j] / sum;
        }
    }
    free(p);
    return most;
}

static void check(int n, int dim, int window, float loud)
{
    size_t len = (size_t)n * (size_t)dim;
    float *q = malloc(2 * len * sizeof *q), *k = malloc(len * sizeof *k);
    double *want[2] = { malloc((size_t)n * sizeof **want), malloc((size_t)n * sizeof **want) };
    for (size_t i = 0; i < 2 * len; i++) q[i] = uniform();
    for (size_t i = 0; i < len; i++) k[i] = uniform();
    for (int d = 0; d < dim; d++) k[(size_t)(n / 2) * (size_t)dim + (size_t)d] *= loud;
    struct sac_prefill_in in = { .n_layers = 1, .n = n, .n_heads = 2, .n_kv_heads = 1, .head_dim = dim,
                                 .scale = 0.4f, .q = q, .k = k, .v = k, .q_stride = len, .k_stride = len };
    double terms = reference(&in, window, want[0], want[1]);
    for (int level = K_SCALAR; level <= K_NEON; level++) {
        if ((int)k_cpu_init(level)->level != level) continue;
        struct sac_arena a = { 0 };
        struct vs_scores s;
        assert_true(vs_score(&in, 1, window, &s, &a));
        assert_int_equal(s.rows, imin(window, n));
        for (int i = 0; i < 2 * n; i++) {
            double got = (double)(i < n ? s.vertical[i] : s.slash[i - n]), w = want[i / n][i % n],
                   tol = w * (8e-6 * terms + 2e-5) + 1e-12;
            if (!(fabs(got - w) <= tol))
                fail_msg("%s, %d tokens of %d, window %d, %s %d: %g, expected %g +- %g", k_ops()->name, n,
                         dim, window, i < n ? "key" : "offset", i % n, got, w, tol);
        }
        sac_arena_free(&a);
    }
    free(q);
    free(k);
    free(want[0]);
    free(want[1]);
}

static void every_size(void **state)
{
    (void)state;
    srand(7);
    check(1, 64, 4, 1);
    check(13, 64, 64, 1);
    check(40, 33, 40, 1);
    check(333, 64, 65, 1);
    check(700, 128, 31, 1);
    check(2304, 64, 96, 1);
    check(2090, 96, 33, 1);
}

/* A key that many rows love: exponentials relative to a reference below it grow, or leave the range. */
static void far_above(void **state)
{
    (void)state;
    srand(8);
    check(300, 64, 70, 20);
    check(300, 64, 70, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_size), cmocka_unit_test(far_above) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
