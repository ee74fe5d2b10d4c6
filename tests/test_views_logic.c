/* The pure parts of the views: bins, scales, ranks, pooling, ticks, bars, plots, filters, text layout. */
#include "filter.h"
#include "heat.h"
#include "lines.h"
#include "textlay.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

/* Pixels cover every value exactly once when there are fewer pixels than values, and every pixel shows a
 * value when there are more. */
static void test_bins_cover(void **state)
{
    (void)state;
    for (int n = 1; n <= 70; n++)
        for (int p = 1; p <= 90; p++) {
            int at = 0;
            for (int i = 0; i < p; i++) {
                assert_true(ui_bin_lo(i, n, p) >= 0 && ui_bin_lo(i, n, p) < ui_bin_hi(i, n, p));
                assert_true(ui_bin_lo(i, n, p) < n);
                if (p > n) continue;
                assert_int_equal(ui_bin_lo(i, n, p), at);
                at = ui_bin_hi(i, n, p);
            }
            if (p <= n) assert_int_equal(at, n);
            for (int x = 0; x < n; x++) {
                int i = ui_bin_of(x, n, p);
                assert_true(i >= 0 && i < p && ui_bin_lo(i, n, p) <= x && x < ui_bin_hi(i, n, p));
            }
        }
    assert_int_equal(ui_bin_lo(100000, 2000000000, 200000), 1000000000);
}

static void test_scales(void **state)
{
    (void)state;
    static const struct { enum ui_scale s; double v, n, t;
    } row[] = {
        { UI_SCALE_LOG, 1, 100, 1 },         { UI_SCALE_LOG, 1e-5, 100, 0 },
        { UI_SCALE_LOG, 0, 100, 0 },         { UI_SCALE_LOG, .1, 100, .8 },
        { UI_SCALE_LIFT, .01, 100, .5 },     { UI_SCALE_LIFT, 1, 4096, 1 },
        { UI_SCALE_LIFT, 1.0 / 4096, 1, 0 }, { UI_SCALE_ROOT, .25, 9, .5 },
        { UI_SCALE_LINEAR, .25, 9, .25 },    { UI_SCALE_LINEAR, 7, 9, 1 },
        { UI_SCALE_RANK, .5, 9, .5 },
    };
    for (int i = 0; i < COUNT(row); i++) {
        struct ui_heat h = ui_heat_default(row[i].s);
        assert_true(fabs(ui_heat_t(&h, row[i].v, row[i].n) - row[i].t) < 1e-12);
        assert_true(isnan(ui_heat_t(&h, (double)NAN, row[i].n)));
    }
    assert_int_equal(ui_heat_level(0, 64), 0);
    assert_int_equal(ui_heat_level(1, 64), 63);
    assert_int_equal(ui_heat_level(.5, 5), 2);
    assert_int_equal(ui_heat_level((double)NAN, 5), -1);
    assert_true(ui_heat_diff_t(-2, 1) == -1 && ui_heat_diff_t(.25, .5) == .5);
}

static void test_ranks_and_percentile(void **state)
{
    (void)state;
    const float v[] = { .3f, NAN, .1f, .2f, .3f };
    float r[5];
    ui_heat_ranks(v, 1, 5, r);
    assert_true(isnan(r[1]));
    assert_true(r[2] == 0 && fabsf(r[3] - 1 / 3.0f) < 1e-6f && r[0] == r[4]);
    assert_true(fabs(ui_percentile(v, 5, 50) - .25) < 1e-7);
    assert_true(ui_percentile(v + 1, 1, 50) == 0);
    assert_true(ui_diff_range(v + 1, 1) == 1e-4);
}

static void test_resample(void **state)
{
    (void)state;
    const float v[16] = { 1, NAN, NAN, NAN, 2, 3, NAN, NAN, 4, 5, 6, NAN, 7, 8, 9, 10 };
    struct ui_grid g = { 4, 4, v };
    float o[16];
    ui_grid_resample(&g, 0, 1, 0, 1, SAC_POOL_MAX, o, 4, 4);
    for (int i = 0; i < 16; i++) assert_true(o[i] == v[i] || (isnan(o[i]) && isnan(v[i])));
    ui_grid_resample(&g, 0, 1, 0, 1, SAC_POOL_MAX, o, 2, 2);
    assert_true(o[0] == 3 && isnan(o[1]) && o[2] == 8 && o[3] == 10);
    ui_grid_resample(&g, 0, 1, 0, 1, SAC_POOL_MEAN, o, 2, 2);
    assert_true(o[0] == 2 && o[2] == 6);
    ui_grid_resample(&g, .5, 1, 0, .5, SAC_POOL_MAX, o, 2, 2);
    assert_true(o[0] == 4 && o[3] == 8);
}

static void test_ticks(void **state)
{
    (void)state;
    struct ui_tick t[16];
    int n = ui_ticks(0, 8051, 9, t);
    assert_int_equal(n, 9);
    assert_int_equal(t[1].at, 1000);
    assert_string_equal(t[8].label, "8k");
    n = ui_ticks(5113, 5140, 6, t);
    assert_true(n > 2 && n <= 6);
    assert_int_equal(t[0].at, 5115);
    assert_string_equal(t[0].label, "5115");
    assert_int_equal(ui_ticks(5, 5, 6, t), 0);
    n = ui_ticks(0, 1, 6, t);
    assert_int_equal(n, 1);
}

static void test_bars_and_plots(void **state)
{
    (void)state;
    char32_t c[32];
    ui_bar(.5, 4, false, c);
    assert_true(c[0] == 0x2588 && c[1] == 0x2588 && c[2] == U' ' && c[3] == U' ');
    ui_bar(1.5 / 4, 4, false, c);
    assert_true(c[1] == 0x258C);
    ui_bar(.5, 4, true, c);
    assert_true(c[1] == U'#' && c[2] == U'.');
    assert_true(ui_spark_glyph(0, false) == 0x2581 && ui_spark_glyph(1, false) == 0x2588);
    assert_true(ui_spark_glyph((double)NAN, true) == U' ' && ui_spark_glyph(1, true) == U'@');
    const float up[4] = { 0, 1, 2, 3 };
    ui_plot(up, 4, 0, 3, 2, 1, false, c);
    assert_true(c[0] == (0x2800 | 0x40 | 0x20 | 0x80) || c[0] == (0x2800 | 0x40 | 0x20));
    ui_plot(up, 4, 0, 3, 4, 4, true, c);
    assert_true(c[12] == U'*' && c[3] == U'*' && c[0] == U' ');
    assert_true(ui_quadrant(15) == 0x2588 && ui_quadrant(0) == U' ' && ui_quadrant(6) == 0x259E);
}

static void test_filter(void **state)
{
    (void)state;
    const struct ui_filter_name name[] = { { "recall", .6 }, { "layer", 7 }, { "gold", (double)NAN } };
    static const struct { const char *e; double v; } row[] = {
        { "recall<0.7 && layer>6", 1 }, { "recall<0.7&&layer>7", 0 }, { "!(layer==7) || recall>=.6", 1 },
        { "layer - 2*3 == 1", 1 },      { "(layer+1)/4", 2 },        { "gold<1", 0 },
        { "gold>=0", 0 },               { "gold != 1", 0 },          { "-layer < 0", 1 },
        { "layer = 7", 1 },             { "layer != 7 || recall != 1", 1 },
    };
    char err[200];
    for (int i = 0; i < COUNT(row); i++) {
        double v = ui_filter_eval(row[i].e, name, 3, err, sizeof err);
        assert_string_equal(err, "");
        assert_true(v == row[i].v);
    }
    static const char *bad[] = {
        "", "recal < 1", "recall <", "(recall", "recall 3", "&& 1", "recall < 0.7 )"
    };
    for (int i = 0; i < COUNT(bad); i++) {
        assert_true(isnan(ui_filter_eval(bad[i], name, 3, err, sizeof err)));
        assert_true(strncmp(err, "filter, column ", 15) == 0);
    }
    char deep[400];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    assert_true(isnan(ui_filter_eval(deep, name, 3, err, sizeof err)));
}

static void test_fold(void **state)
{
    (void)state;
    struct ui_tok tok[100] = { 0 };
    float lift[100] = { 0 };
    unsigned char folded[100];
    lift[0] = 50;
    tok[60].keep = true;
    assert_int_equal(ui_text_fold(tok, lift, 100, 20, 5, 10, folded), (55 - 6) + (100 - 66));
    assert_true(!folded[5] && folded[6] && folded[54] && !folded[55] && !folded[65] && folded[66] &&
                folded[99]);
    assert_int_equal(ui_text_fold(tok, lift, 100, 0, 5, 10, folded), 0);
    assert_int_equal(ui_text_fold(tok, lift, 100, 20, 5, 60, folded), 0);
    assert_int_equal(ui_text_fold(tok, NULL, 0, 20, 5, 60, folded), 0);
}

/* Lines hold every token once, in order, and none is wider than asked unless it is a single token. */
static void test_layout(void **state)
{
    (void)state;
    struct ui_tok tok[200];
    float lift[200] = { 0 };
    unsigned char folded[200] = { 0 };
    for (int i = 0; i < 200; i++)
        tok[i] =
            (struct ui_tok){ .cols = (unsigned char)(1 + i * 7 % 9), .word = i % 3 == 0, .newline = i == 50 };
    memset(folded + 80, 1, 40);
    lift[90] = 30;
    tok[150].cols = 60;
    for (int width = 1; width < 80; width += 13) {
        struct ui_text_lines l = { 0 };
        assert_true(ui_text_layout(tok, lift, 200, folded, width, true, 170, 20, &l));
        int at = 0, folds = 0, rules = 0;
        for (int i = 0; i < l.n; i++) {
            assert_int_equal(l.line[i].lo, at);
            at = l.line[i].hi;
            int cols = 0;
            for (int j = l.line[i].lo; j < l.line[i].hi; j++) cols += tok[j].cols;
            if (l.line[i].kind == UI_LINE_TEXT)
                assert_true(cols <= width || l.line[i].hi == l.line[i].lo + 1);
            if (l.line[i].kind == UI_LINE_FOLD) { folds++; assert_int_equal(l.line[i].notable, 1); }
            if (l.line[i].kind == UI_LINE_RULE) { rules++; assert_int_equal(at, 170); }
            if (l.line[i].hi == 51) assert_true(l.line[i].lo <= 50);
        }
        assert_int_equal(at, 200);
        assert_true(folds == 1 && rules == 1);
        for (int i = 0; i < 200; i += 11) {
            struct ui_text_line x = l.line[ui_text_line_of(&l, i)];
            assert_true(x.lo <= i && i < x.hi);
        }
        ui_text_lines_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bins_cover),  cmocka_unit_test(test_scales),
        cmocka_unit_test(test_ranks_and_percentile), cmocka_unit_test(test_resample),
        cmocka_unit_test(test_ticks),       cmocka_unit_test(test_bars_and_plots),
        cmocka_unit_test(test_filter),      cmocka_unit_test(test_fold),
        cmocka_unit_test(test_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
