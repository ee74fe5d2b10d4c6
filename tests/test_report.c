/* Reports on results made by hand, where every number can be said in advance. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <saccade/report.h>

static char path[64];
static FILE *file;

static void begin(void)
{
    snprintf(path, sizeof path, "/tmp/saccade-report-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    file = fdopen(fd, "w");
}

static void result(const char *model, double params, const char *task, int length, int sample,
                   const char *method, double score, double prefill, double decode)
{
    fprintf(
        file,
        "{\"model\":\"%s\",\"model_key\":\"%s#1\",\"shape\":{\"layers\":2,\"heads\":4,\"kv_heads\":2,\"head_"
        "dim\":16,"
        "\"embd\":64,\"ff\":128,\"vocab\":100,\"params\":%.0f},\"task\":\"%s\",\"style\":\"compact\","
        "\"method\":\"%s\","
        "\"length\":%d,\"sample\":%d,\"seed\":43,\"score\":%.17g,\"parsed\":%s,\"density\":{\"prefill\":{"
        "\"kernel\":%g},"
        "\"decode\":{\"kernel\":%g,\"read\":%g}},\"recall\":{\"mass\":0.75,\"evidence\":null},\"kl\":null}\n",
        model, model, params, task, method, length, sample, score, score > 0 ? "true" : "false", prefill,
        decode, decode);
}

static struct sac_report *finish(void)
{
    fclose(file);
    struct sac_report *r = NULL;
    struct sac_err err = { 0 };
    const char *list[] = { path, path }; /* twice: every result counts once */
    if (sac_report_read(&r, list, 2, &err)) fail_msg("%s", err.msg);
    unlink(path);
    return r;
}

static struct sac_table table(const struct sac_report *r, const char *name)
{
    struct sac_table t = { 0 };
    struct sac_err err = { 0 };
    int i = 0;
    while (strcmp(sac_report_table_name(i), name)) i++;
    assert_int_equal(sac_report_table(r, i, &t, &err), SAC_OK);
    return t;
}

static int column(const struct sac_table *t, const char *name)
{
    for (int c = 0; c < t->n_cols; c++)
        if (!strcmp(t->col[c], name)) return c;
    fail_msg("no column %s", name);
    return -1;
}

/* The value in column `want` of the row that has these texts in these columns. */
static const struct sac_entry *at(const struct sac_table *t, const char *col1, const char *v1,
                                  const char *col2, const char *v2, const char *want)
{
    int a = column(t, col1), b = column(t, col2), w = column(t, want);
    for (int i = 0; i < t->n_rows; i++) {
        const struct sac_entry *e = t->cell + i * t->n_cols;
        char buf[2][64];
        const int c[] = { a, b };
        for (int k = 0; k < 2; k++) {
            if (e[c[k]].text)
                snprintf(buf[k], sizeof buf[k], "%s", e[c[k]].text);
            else
                snprintf(buf[k], sizeof buf[k], "%g", e[c[k]].value);
        }
        if (!strcmp(buf[0], v1) && !strcmp(buf[1], v2)) return &e[w];
    }
    fail_msg("no row %s=%s %s=%s", col1, v1, col2, v2);
    return NULL;
}

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)

static void test_scores_and_tolerance(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 16; i++) {
        result("m", 1e6, "niah", 1024, i, "dense", 1, 1, 1);
        result("m", 1e6, "niah", 1024, i, "quest:sparsity=0.5", 1, 1, 0.5);
        result("m", 1e6, "niah", 1024, i, "quest:sparsity=0.8", i % 4 ? 1 : 0, 1, 0.2); /* 12 of 16 */
        result("m", 1e6, "niah", 1024, i, "quest:sparsity=0.9", 1, 1, 0.15);            /* as good again */
        result("m", 1e6, "vt", 1024, i, "dense", 0, 1, 1);
        result("m", 1e6, "vt", 1024, i, "quest:sparsity=0.5", 0, 1, 0.5);
        result("m", 1e6, "niah", 1024, i, "snapkv:capacity=300", 1, 1, 0.3);
    }
    result("m", 1e6, "niah", 1024, 99, "quest:sparsity=0.5", 0, 1, 0.5); /* a sample dense has not */
    fputs("{\"model\": \"torn", file);
    struct sac_report *r = finish();
    assert_int_equal(sac_report_rows(r), 16 * 7 + 1);

    struct sac_table t = table(r, "scores");
    assert_int_equal(t.n_rows, 7);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.8", "score")->value, 0.75);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.8", "change")->value, -0.25);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.8", "parsed")->value, 0.75);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.8", "mass")->value, 0.75);
    assert_true(isnan(at(&t, "task", "niah", "method", "quest:sparsity=0.8", "evidence")->value));
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.8", "sign p")->value, 1.0 / 16);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.9", "measured")->value, 0.85);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.5", "welch p")->value, 1);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.5", "score")->value, 16.0 / 17);
    NEAR(at(&t, "task", "niah", "method", "quest:sparsity=0.5", "change")->value, 0);      /* pairs only */
    NEAR(at(&t, "task", "niah", "method", "snapkv:capacity=300", "sparsity")->value, 0.7); /* measured */
    sac_table_free(&t);

    t = table(r, "tolerable"); /* 0.8 is degraded, so 0.9 does not count, good as it is */
    NEAR(at(&t, "task", "niah", "method", "quest", "welch")->value, 0.5);
    NEAR(at(&t, "task", "niah", "method", "quest", "paired")->value, 0.5);
    NEAR(at(&t, "task", "niah", "method", "snapkv", "paired")->value, 0.7);
    assert_string_equal(at(&t, "task", "vt", "method", "quest", "welch")->text, "not done densely");
    sac_table_free(&t);

    t = table(r, "length"); /* vt cannot be done densely and is left out */
    NEAR(at(&t, "method", "quest", "sparsity", "0.8", "1024")->value, 0.25);
    sac_table_free(&t);

    struct sac_plots p;
    struct sac_err err = { 0 };
    assert_int_equal(sac_report_plots(r, &p, &err), SAC_OK);
    bool found = false;
    for (int i = 0; i < p.n; i++) {
        if (strcmp(p.plot[i].name, "score-niah-1024")) continue;
        found = true;
        assert_int_equal(p.plot[i].n_series, 3); /* dense, and two methods that start from it */
        assert_string_equal(p.plot[i].series[0].name, "dense");
        assert_int_equal(p.plot[i].series[1].n, 4);
        NEAR(p.plot[i].series[1].x[0], 0);
        NEAR(p.plot[i].series[1].y[2], 0.75);
        assert_true(p.plot[i].series[1].lo[2] < 0.75 && p.plot[i].series[1].hi[2] > 0.75);
    }
    assert_true(found);
    sac_plots_free(&p);
    sac_report_free(r);
}

static void test_frontier(void **state)
{
    (void)state;
    begin();
    static const struct {
        const char *method;
        double score, decode;
    } row[] = {
        { "dense", 1.0, 1.0 },
        { "quest:sparsity=0.5", 1.0, 0.5 },
        { "quest:sparsity=0.8", 0.5, 0.2 },
        { "snapkv:sparsity=0.8", 0.75, 0.2 },
        { "snapkv:sparsity=0.9", 0.25, 0.1 },
    };
    for (int i = 0; i < 4; i++)
        for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
            result("m", 1e6, "niah", 2048, i, row[k].method, row[k].score, 1, row[k].decode);
            if (k < 2)
                result("m", 1e6, "cwe", 2048, i, row[k].method, 0, 1,
                       row[k].decode); /* not under all methods */
        }
    struct sac_report *r = finish();
    struct sac_table t = table(r, "cost");
    assert_int_equal(t.n_rows, 5);
    NEAR(at(&t, "method", "quest", "sparsity", "0.5", "score")->value, 1); /* cwe is not averaged in */
    assert_string_equal(at(&t, "method", "quest", "sparsity", "0.5", "best decode reads")->text, "yes");
    assert_string_equal(at(&t, "method", "snapkv", "sparsity", "0.8", "best decode reads")->text, "yes");
    assert_string_equal(at(&t, "method", "snapkv", "sparsity", "0.9", "best decode reads")->text, "yes");
    assert_null(at(&t, "method", "quest", "sparsity", "0.8", "best decode reads")->text);
    assert_null(at(&t, "method", "dense", "sparsity", "0", "best decode reads")->text);
    assert_null(at(&t, "method", "quest", "sparsity", "0.5", "best prefill")->text); /* acts in decode alone */
    /* halving what is read halves the caches: 2 layers x 2 x 2 heads x 16 x 2048 elements, 64 sequences */
    double full = at(&t, "method", "dense", "sparsity", "0", "reads M, batch 64")->value;
    double half = at(&t, "method", "quest", "sparsity", "0.5", "reads M, batch 64")->value;
    NEAR(full - half, 0.5 * 64 * 2 * 2 * 2 * 16 * 2048 / 1e6);
    sac_table_free(&t);
    sac_report_free(r);
}

/* Scores made by the law give its coefficients back, and predict what was held out. */
static void test_law(void **state)
{
    (void)state;
    begin();
    static const char *const tasks[] = { "niah", "cwe" };
    static const int lengths[] = { 1024, 2048, 4096, 8192 };
    static const double params[] = { 1e6, 4e6, 16e6 }, levels[] = { 0.5, 0.75, 0.875 };
    for (int t = 0; t < 2; t++)
        for (int m = 0; m < 3; m++)
            for (int l = 0; l < 4; l++)
                for (int s = -1; s < 3; s++)
                    for (int i = 0; i < 20; i++) {
                        double c = s < 0 ? 0 : -log(1 - levels[s]);
                        double z = -1.5 - 0.75 * t + 0.4 * log(params[m]) - 0.6 * log(lengths[l]) - 0.5 * c;
                        char name[16], method[40] = "dense";
                        snprintf(name, sizeof name, "m%d", m);
                        if (s >= 0) snprintf(method, sizeof method, "quest:sparsity=%g", levels[s]);
                        /* twenty equal samples: away from the scores that have no logit */
                        result(name, params[m], tasks[t], lengths[l], i, method, 1 / (1 + exp(-z)), 1,
                               s < 0 ? 1 : 1 - levels[s]);
                    }
    struct sac_report *r = finish();
    struct sac_table t = table(r, "law");
    assert_int_equal(t.n_rows, 3);
    static const char *const axes[] = { "size", "length", "compression" };
    for (int a = 0; a < 3; a++) {
        assert_true(fabs(at(&t, "method", "quest", "held out", axes[a], "eps")->value + 1.5) < 1e-6);
        assert_true(fabs(at(&t, "method", "quest", "held out", axes[a], "alpha (size)")->value - 0.4) < 1e-6);
        assert_true(fabs(at(&t, "method", "quest", "held out", axes[a], "beta (length)")->value + 0.6) <
                    1e-6);
        assert_true(fabs(at(&t, "method", "quest", "held out", axes[a], "gamma (compression)")->value + 0.5) <
                    1e-6);
        assert_true(fabs(at(&t, "method", "quest", "held out", axes[a], "cwe")->value + 0.75) < 1e-6);
        assert_true(at(&t, "method", "quest", "held out", axes[a], "held-out error")->value < 1e-6);
        assert_true(at(&t, "method", "quest", "held out", axes[a], "R2")->value > 1 - 1e-9);
    }
    sac_table_free(&t);
    sac_report_free(r);
}

static void test_bad_files(void **state)
{
    (void)state;
    struct sac_report *r = NULL;
    struct sac_err err = { 0 };
    const char *none[] = { "/nonexistent/results" };
    assert_int_equal(sac_report_read(&r, none, 1, &err), SAC_EFORMAT);
    begin();
    fputs("{\"a\": 1}\n", file);
    fclose(file);
    const char *list[] = { path };
    err = (struct sac_err){ 0 };
    assert_int_equal(sac_report_read(&r, list, 1, &err), SAC_EFORMAT);
    assert_non_null(strstr(err.msg, "line 1"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_scores_and_tolerance),
                                        cmocka_unit_test(test_frontier), cmocka_unit_test(test_law),
                                        cmocka_unit_test(test_bad_files) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
