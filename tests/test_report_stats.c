/* Tail probabilities against published tables, tests against worked examples, fits against known
 * coefficients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "study/stats.h"

#define NEAR(a, b, tol) assert_true(fabs((a) - (b)) <= (tol))

static void test_t_tail(void **state)
{
    (void)state;
    /* Upper critical values of Student's t as printed to three decimals. */
    static const struct {
        double df, p, t;
    } row[] = {
        { 1, 0.05, 6.314 },   { 1, 0.025, 12.706 }, { 2, 0.05, 2.920 },
        { 5, 0.01, 3.365 },   { 10, 0.025, 2.228 }, { 19, 0.05, 1.729 },
        { 30, 0.005, 2.750 }, { 120, 0.05, 1.658 }, { 120, 0.001, 3.160 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        NEAR(stats_t_tail(row[i].t, row[i].df), row[i].p, row[i].p * 2e-3);
        NEAR(stats_t_tail(-row[i].t, row[i].df), 1 - row[i].p, row[i].p * 2e-3);
    }
    NEAR(stats_t_tail(0, 7), 0.5, 1e-14);
    NEAR(stats_t_tail(1, 1), 0.25, 1e-13);                                    /* df 1: 1/2 - atan(t)/pi */
    NEAR(stats_t_tail(1.5, 2), 0.5 - 1.5 / (2 * sqrt(2 + 1.5 * 1.5)), 1e-13); /* df 2, closed form */
}

static void test_differences(void **state)
{
    (void)state;
    /* Worked by hand: means 3 and 2, variances 2.5 and 1: t = 1 / sqrt(0.5 + 0.2), df = 0.49 / (0.0625 +
     * 0.01). */
    double x[] = { 1, 2, 3, 4, 5 }, y[] = { 1, 1, 2, 3, 3 };
    struct moments mx = stats_moments(x, 5), my = stats_moments(y, 5);
    NEAR(mx.mean, 3, 1e-15);
    NEAR(mx.var, 2.5, 1e-15);
    NEAR(stats_welch(&mx, &my), stats_t_tail(1 / sqrt(0.7), 0.49 / 0.0725), 1e-12);
    double d[] = { 0, 1, 1, 1, 2 }; /* mean 1, variance 0.5: t = 1 / sqrt(0.1) */
    NEAR(stats_paired(d, 5), stats_t_tail(1 / sqrt(0.1), 4), 1e-12);
    assert_true(stats_paired(d, 5) < stats_welch(&mx, &my));
    NEAR(stats_sign(d, 5), 1.0 / 16, 1e-14);

    double same[] = { 1, 1, 1 }, lower[] = { 0.5, 0.5, 0.5 }, zero[] = { 0, 0, 0 },
           drop[] = { 0.5, 0.5, 0.5 };
    struct moments ms = stats_moments(same, 3), ml = stats_moments(lower, 3);
    NEAR(stats_welch(&ms, &ms), 1, 0);
    NEAR(stats_welch(&ms, &ml), 0, 0);
    NEAR(stats_paired(zero, 3), 1, 0);
    NEAR(stats_paired(drop, 3), 0, 0);
    NEAR(stats_sign(zero, 3), 1, 0);
    double ones[20];
    for (int i = 0; i < 20; i++) ones[i] = 1;
    struct moments m20 = stats_moments(ones, 20);
    NEAR(stats_welch(&m20, &m20), 1, 0);
    struct moments one = stats_moments(same, 1);
    assert_true(isnan(stats_welch(&one, &ms)));
}

static void test_wilson(void **state)
{
    (void)state;
    double lo, hi;
    stats_wilson(0.5, 10, &lo, &hi); /* 5 of 10: the textbook interval 0.2366 to 0.7634 */
    NEAR(lo, 0.2366, 5e-5);
    NEAR(hi, 0.7634, 5e-5);
    stats_wilson(1, 20, &lo, &hi);
    NEAR(hi, 1, 1e-12);
    NEAR(lo, 20 / (20 + 1.959963984540054 * 1.959963984540054), 1e-12);
}

static void test_least_squares(void **state)
{
    (void)state;
    double x[60 * 3], y[60], b[3];
    unsigned s = 1;
    for (int i = 0; i < 60; i++) {
        s = s * 1103515245u + 12345u;
        double u = (double)(s >> 16) / 65536, v = i / 7.0;
        x[i * 3] = 1;
        x[i * 3 + 1] = u;
        x[i * 3 + 2] = v;
        y[i] = -3 + 2 * u - 0.25 * v;
    }
    assert_true(stats_least_squares(x, y, 60, 3, b));
    NEAR(b[0], -3, 1e-12);
    NEAR(b[1], 2, 1e-12);
    NEAR(b[2], -0.25, 1e-12);

    /* Four points off a line, worked by hand: slope 3.8 / 5. */
    double x2[] = { 1, 0, 1, 1, 1, 2, 1, 3 }, y2[] = { 1, 2, 3, 3.2 }, b2[2];
    assert_true(stats_least_squares(x2, y2, 4, 2, b2));
    NEAR(b2[1], 0.76, 1e-12);
    NEAR(b2[0], 2.3 - 1.5 * 0.76, 1e-12);

    double x3[] = { 1, 2, 1, 2, 1, 2 }, y3[] = { 1, 2, 3 }, b3[2]; /* second column is twice the first */
    assert_false(stats_least_squares(x3, y3, 3, 2, b3));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_t_tail), cmocka_unit_test(test_differences),
                                        cmocka_unit_test(test_wilson), cmocka_unit_test(test_least_squares) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
