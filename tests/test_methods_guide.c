/* The worked example of docs/adding-a-method.md: it is the file the page shows, and it keeps the promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "example_strided.c"
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s", path);
    char *text = calloc(1, 1 << 16);
    size_t n = fread(text, 1, (1 << 16) - 1, f);
    assert_true(n > 0);
    fclose(f);
    return text;
}

static void the_page_shows_the_file(void **state)
{
    (void)state;
    char *page = read_text(SOURCE_DIR "/docs/adding-a-method.md"),
         *code = read_text(TEST_DIR "/example_strided.c");
    assert_non_null(strstr(page, code));
    int lines = 0;
    for (const char *c = code; *c; c++) lines += *c == '\n';
    assert_true(lines < 150);
    free(page);
    free(code);
}

static void rows_are_as_described(void **state)
{
    (void)state;
    static const int lengths[] = { 1, 63, 64, 300 };
    for (size_t z = 0; z < sizeof lengths / sizeof *lengths; z++) {
        int n = lengths[z];
        struct opts o = { 20, 7 };
        struct sac_prefill_in in = { .n = n, .n_heads = 1, .n_kv_heads = 1 };
        struct sac_arena a = { 0 };
        struct sac_plan p;
        struct sac_run store[200];
        struct sac_rows rows = { store, 0, 200 };
        assert_true(method_strided.plan(&in, &o, 0, &p, &a));
        for (int row = 0; row < n; row++) {
            sac_plan_row(&p, row, 0, &rows);
            assert_true(sac_rows_valid(&rows, row + 1));
            for (int key = 0; key <= row; key++)
                if (row - key < 20 || (key < row / 64 * 64 - 19 && key % 7 == 0))
                    assert_true(sac_rows_has(&rows, key));
        }
        sac_plan_free(&p);

        struct sac_env env = { .max_tokens = n };
        void *s = method_strided.create(&env, &o, &a);
        struct sac_decode_in step = { .n_heads = 1, .n_kv_heads = 1, .n = &n };
        rows.n = 0;
        method_strided.select(s, &step, 0, &rows);
        assert_true(sac_rows_valid(&rows, n));
        for (int key = 0; key < n; key++)
            assert_int_equal(sac_rows_has(&rows, key), n - key <= 20 || key % 7 == 0);
        sac_arena_free(&a);
    }
}

static void sparsity_sets_the_stride(void **state)
{
    (void)state;
    struct opts o = { 100, 8 };
    assert_int_equal(method_strided.budget(&o, NULL, 1000, 0.8, NULL), SAC_OK);
    assert_int_equal(o.stride, 9);      /* 100 near and 900 / 9 far ones are 200 of 1000 */
    assert_int_equal(method_strided.budget(&o, NULL, 50, 0.8, NULL), SAC_OK);
    assert_true(o.stride >= 1);
    assert_true(fabs(method_strided.reach(&o, NULL, 1000) - 0.899) < 1e-9);
    assert_true(method_strided.reach(&o, NULL, 101) == 0);
}

int main(void)
{
    k_cpu_init(k_level_find(getenv("SACCADE_CPU")));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_shows_the_file),
        cmocka_unit_test(rows_are_as_described),
        cmocka_unit_test(sparsity_sets_the_stride),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
