/* The six methods of the paper against its released code: every head and setting of the fixtures. Columns,
 * offsets, blocks, kept tokens and pages must be the same sets, but for members whose scores are equal to
 * rounding; the tile accounting must give the same sparsity, and outputs agree with its half-precision
 * kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "file/tensors.h"
#include "kernels.h"
#include "methods/methods.h"
#include <saccade/select.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fixture[1024];

static int open_file(void **state)
{
    struct st_file *f = calloc(1, sizeof *f);
    struct sac_err err = { 0 };
    if (st_open(f, fixture, &err)) fail_msg("%s", err.msg);
    *state = f;
    return 0;
}

static int close_file(void **state)
{
    st_close(*state);
    free(*state);
    return 0;
}

/* Run a SPEC on the fixture; the result is open in *got and its file already unlinked. */
static void run(const char *spec, int steps, struct st_file *got)
{
    char path[] = "/tmp/saccade-select-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct sac_select_args a = {
        .qkv = fixture, .spec = spec, .out = path, .decode_last = steps, .threads = 2, .force = true
    };
    struct sac_select_result r;
    struct sac_err err = { 0 };
    if (sac_select_run(&a, &r, &err) || st_open(got, path, &err)) fail_msg("%s: %s", spec, err.msg);
    sac_select_free(&r);
    unlink(path);
}

static const struct st_tensor *need(const struct st_file *f, const char *name)
{
    const struct st_tensor *t = st_find(f, name);
    if (!t) fail_msg("no tensor %s", name);
    return t;
}

static int compare_int(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Members of one list and not of the other; -1 is padding. Both are read as sets. */
static int differ(const int *a, int na, const int *b, int nb)
{
    int *x = malloc(sizeof *x * (size_t)(na + 1)), *y = malloc(sizeof *y * (size_t)(nb + 1)), n = 0, i = 0,
        j = 0;
    memcpy(x, a, sizeof *x * (size_t)na);
    memcpy(y, b, sizeof *y * (size_t)nb);
    qsort(x, (size_t)na, sizeof *x, compare_int);
    qsort(y, (size_t)nb, sizeof *y, compare_int);
    while (i < na && x[i] < 0) i++;
    while (j < nb && y[j] < 0) j++;
    while (i < na || j < nb) {
        if (i < na && j < nb && x[i] == y[j]) i++, j++;
        else if (j == nb || (i < na && x[i] < y[j])) i++, n++;
        else j++, n++;
    }
    free(x);
    free(y);
    return n;
}

static void check_lists(const struct st_file *want, const struct st_file *got, const char *base,
                        const char *mine, int head, const char *which)
{
    char a[96], b[96];
    snprintf(a, sizeof a, "%s.h%d.%s", base, head, which);
    snprintf(b, sizeof b, "%s.h%d.%s", mine, head, which);
    const struct st_tensor *x = need(want, a), *y = need(got, b);
    assert_int_equal(x->shape[0], y->shape[0]);
    /* A pair of scores that rounding orders differently exchanges one member. */
    int n = differ(x->data, (int)x->shape[0], y->data, (int)y->shape[0]);
    if (n > 2) fail_msg("%s: %d members differ", a, n);
}

static void check_output(const struct st_file *want, const struct st_file *got, const char *base, int head)
{
    char name[96], mine[64];
    snprintf(name, sizeof name, "%s.h%d.out", base, head);
    const struct st_tensor *x = st_find(want, name);
    if (!x) return;
    snprintf(mine, sizeof mine, "vertical_slash.out.h%d", head);
    const struct st_tensor *y = need(got, mine);
    int n = (int)(x->shape[0] * x->shape[1]);
    float *f = malloc(sizeof *f * (size_t)n);
    k_ops()->from_f16(x->data, n, f);
    for (int i = 0; i < n; i++) {
        float mine_i = ((const float *)y->data)[i];
        if (fabsf(f[i] - mine_i) > 2e-2f)
            fail_msg("%s: element %d is %g, expected %g", name, i, (double)mine_i, (double)f[i]);
    }
    free(f);
}

static void check_columns(const struct st_file *want, const char *base, const char *method, const char *spec)
{
    struct st_file got = { 0 };
    run(spec, 0, &got);
    char name[96];
    int heads = (int)need(want, "q")->shape[0];
    snprintf(name, sizeof name, "%s.density", method);
    const float *density = need(&got, name)->data;
    for (int h = 0; h < heads; h++) {
        check_lists(want, &got, base, method, h, "vertical");
        check_lists(want, &got, base, method, h, "slash");
        snprintf(name, sizeof name, "%s.h%d.sparsity", base, h);
        float s = *(const float *)need(want, name)->data;
        if (fabsf(s - (1 - density[4 * h + 2])) > 1e-3f)
            fail_msg("%s: 1 - work is %g, expected %g", name, (double)(1 - density[4 * h + 2]), (double)s);
        check_output(want, &got, base, h);
    }
    st_close(&got);
}

static void columns_and_diagonals(void **state)
{
    const struct st_file *f = *state;
    char spec[160], base[96];
    int settings = 0;
    for (int i = 0; i < f->n; i++) {
        int v, s, w, end = 0;
        char alpha[16];
        if (sscanf(f->tensor[i].name, "vertical_slash.v%d.s%d.w%d.h0.vertical%n", &v, &s, &w, &end) == 3 &&
            end) {
            snprintf(base, sizeof base, "vertical_slash.v%d.s%d.w%d", v, s, w);
            snprintf(spec, sizeof spec, "vertical_slash:vertical_size=%d,slash_size=%d,window=%d", v, s, w);
            check_columns(f, base, "vertical_slash", spec);
            settings++;
        }
        /* "a0.65.w256": the number ends at the last dot before w. */
        if (!strncmp(f->tensor[i].name, "flexprefill.a", 13) && strstr(f->tensor[i].name, ".h0.vertical")) {
            const char *at = strstr(f->tensor[i].name, ".w");
            snprintf(alpha, sizeof alpha, "%.*s", (int)(at - f->tensor[i].name - 13), f->tensor[i].name + 13);
            assert_int_equal(sscanf(at, ".w%d.m%d", &w, &s), 2);
            snprintf(base, sizeof base, "flexprefill.a%s.w%d.m%d", alpha, w, s);
            snprintf(spec, sizeof spec, "flexprefill:alpha=%s,window=%d,min_budget=%d", alpha, w, s);
            check_columns(f, base, "flexprefill", spec);
            settings++;
        }
    }
    assert_true(settings >= 5);
}

static void blocks(void **state)
{
    const struct st_file *f = *state;
    int settings = 0;
    for (int i = 0; i < f->n; i++) {
        int c, top, end = 0;
        if (sscanf(f->tensor[i].name, "block_sparse.b%d.top%d.blocks%n", &c, &top, &end) != 2 || !end)
            continue;
        char spec[96], name[64];
        snprintf(spec, sizeof spec, "block_sparse:block_size=%d,top_blocks=%d", c, top);
        struct st_file got = { 0 };
        run(spec, 0, &got);
        const struct st_tensor *x = &f->tensor[i];
        int n = (int)need(f, "q")->shape[1], tiles = (n + c - 1) / c, theirs = (int)x->shape[1];
        for (int h = 0; h < (int)x->shape[0]; h++) {
            snprintf(name, sizeof name, "block_sparse.h%d.blocks", h);
            const struct st_tensor *y = need(&got, name);
            assert_int_equal(y->shape[0], tiles);
            assert_int_equal(y->shape[1], top);
            for (int m = 0; m < tiles; m++) {
                int *causal = malloc(sizeof *causal * (size_t)top);
                memcpy(causal, (const int *)x->data + ((size_t)h * (size_t)theirs + (size_t)m) * (size_t)top,
                       sizeof *causal * (size_t)top);
                for (int j = 0; j < top; j++)
                    if (causal[j] > m) causal[j] = -1;
                int d = differ(causal, top, (const int *)y->data + (size_t)m * (size_t)top, top);
                if (d > 2) fail_msg("%s head %d row %d: %d blocks differ", spec, h, m, d);
                free(causal);
            }
        }
        double k = top, s = 1 - (k * (k + 1) / 2 + (tiles - k) * k) / (tiles * (tiles + 1) / 2.0);
        snprintf(name, sizeof name, "block_sparse.b%d.top%d.sparsity", c, top);
        assert_true(fabs(s - (double)*(const float *)need(f, name)->data) < 1e-6);
        st_close(&got);
        settings++;
    }
    assert_int_equal(settings, 2);
}

static void kept_tokens(void **state)
{
    const struct st_file *f = *state;
    int settings = 0, n = (int)need(f, "q")->shape[1];
    for (int i = 0; i < f->n; i++) {
        const struct st_tensor *x = &f->tensor[i];
        bool ada = !strncmp(x->name, "ada_", 4);
        int c, w, k, l, p, end = 0;
        const char *at = x->name + (ada ? 4 : 0);
        if (sscanf(at, "snapkv.c%d.w%d.k%d.l%d.p%d%n", &c, &w, &k, &l, &p, &end) != 5 || !end) continue;
        char spec[160];
        int len = snprintf(spec, sizeof spec, "%s:capacity=%d,window=%d,kernel=%d,local=%d,sink=%d",
                           ada ? "ada_snapkv" : "snapkv", c, w, k, l, p);
        if (ada) snprintf(spec + len, sizeof spec - (size_t)len, ",floor=%s", at + end + 2);
        struct st_file got = { 0 };
        run(spec, 0, &got);
        const struct st_tensor *y = need(&got, ada ? "ada_snapkv.kept" : "snapkv.kept");
        for (int h = 0; h < (int)x->shape[0]; h++) {
            char *want = calloc((size_t)n, 1);
            for (int j = 0; j < (int)x->shape[1]; j++) {
                if (ada) want[j] = ((const char *)x->data)[h * n + j] != 0;
                else want[((const int *)x->data)[h * (int)x->shape[1] + j]] = 1;
            }
            int d = 0;
            for (int j = 0; j < n; j++) d += want[j] != ((const char *)y->data)[h * n + j];
            if (d > 2) fail_msg("%s: KV head %d: %d tokens differ", spec, h, d);
            free(want);
        }
        st_close(&got);
        settings++;
    }
    assert_int_equal(settings, 6);
}

static void quest_pages(void **state)
{
    const struct st_file *f = *state;
    int settings = 0;
    for (int i = 0; i < f->n; i++) {
        const struct st_tensor *x = &f->tensor[i];
        int b, p, end = 0;
        if (sscanf(x->name, "quest.b%d.p%d.%n", &b, &p, &end) != 2 || !end) continue;
        char spec[96];
        snprintf(spec, sizeof spec, "quest:token_budget=%d,page_size=%d,share_pages=%d", b, p,
                 !strcmp(x->name + end, "shared"));
        struct st_file got = { 0 };
        run(spec, (int)x->shape[0], &got);
        const struct st_tensor *y = need(&got, "quest.pages");
        assert_int_equal(y->shape[2], x->shape[2]);
        int w = (int)x->shape[2];
        for (int r = 0; r < (int)(x->shape[0] * x->shape[1]); r++)
            if (differ((const int *)x->data + r * w, w, (const int *)y->data + r * w, w))
                fail_msg("%s: step %d, head %d", x->name, r / (int)x->shape[1], r % (int)x->shape[1]);
        st_close(&got);
        settings++;
    }
    assert_int_equal(settings, 6);
}

static int run_fixture(void)
{
    printf("fixture: %s\n", fixture);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_and_diagonals),
        cmocka_unit_test(blocks),
        cmocka_unit_test(kept_tokens),
        cmocka_unit_test(quest_pages),
    };
    return cmocka_run_group_tests(tests, open_file, close_file);
}

int main(void)
{
    k_cpu_init(k_level_find(getenv("SACCADE_CPU")));
    snprintf(fixture, sizeof fixture, "%s/fixtures/select/story.l5.safetensors", TEST_DIR);
    int failed = run_fixture();
    const char *dir = getenv("SACCADE_FIXTURES");
    if (!dir) {
        printf("full fixtures skipped: SACCADE_FIXTURES is not set\n");
        return failed;
    }
    char path[300];
    snprintf(path, sizeof path, "%s/select", dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len < 12 || strcmp(e->d_name + len - 12, ".safetensors") != 0) continue;
        snprintf(fixture, sizeof fixture, "%s/%s", path, e->d_name);
        failed += run_fixture();
    }
    if (d) closedir(d);
    return failed;
}
