/* Sets of keys as runs, plans of tiles, and the densities made of them, against counting cell by cell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <saccade/plan.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void runs_merge(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct sac_run in[3];
        int n_in;
        struct sac_run want[3];
        int n;
    } row[] = {
        { "empty run ignored", { { 4, 4 } }, 1, { { 0, 0 } }, 0 },
        { "touching runs join", { { 0, 2 }, { 2, 5 } }, 2, { { 0, 5 } }, 1 },
        { "overlap joins", { { 0, 4 }, { 3, 6 } }, 2, { { 0, 6 } }, 1 },
        { "inside changes nothing", { { 0, 9 }, { 3, 6 } }, 2, { { 0, 9 } }, 1 },
        { "gap stays", { { 0, 2 }, { 3, 5 } }, 2, { { 0, 2 }, { 3, 5 } }, 2 },
        { "same start", { { 2, 3 }, { 2, 7 } }, 2, { { 2, 7 } }, 1 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct sac_run store[4];
        struct sac_rows r = { store, 0, 4 };
        for (int j = 0; j < row[i].n_in; j++) sac_rows_add(&r, row[i].in[j].lo, row[i].in[j].hi);
        if (r.n != row[i].n || memcmp(store, row[i].want, sizeof *store * (size_t)r.n) != 0)
            fail_msg("%s", row[i].what);
    }
}

static void validity(void **state)
{
    (void)state;
    struct sac_run good[] = { { 0, 2 }, { 3, 5 } }, touch[] = { { 0, 2 }, { 2, 5 } },
                   back[] = { { 3, 5 }, { 0, 2 } };
    struct sac_run empty[] = { { 1, 1 } }, under[] = { { -1, 2 } };
    assert_true(sac_rows_valid(&(struct sac_rows){ good, 2, 2 }, 5));
    assert_false(sac_rows_valid(&(struct sac_rows){ good, 2, 2 }, 4));
    assert_false(sac_rows_valid(&(struct sac_rows){ touch, 2, 2 }, 9));
    assert_false(sac_rows_valid(&(struct sac_rows){ back, 2, 2 }, 9));
    assert_false(sac_rows_valid(&(struct sac_rows){ empty, 1, 1 }, 9));
    assert_false(sac_rows_valid(&(struct sac_rows){ under, 1, 1 }, 9));
    assert_false(sac_rows_valid(&(struct sac_rows){ good, 0, 2 }, 9));
}

static void membership(void **state)
{
    (void)state;
    struct sac_run run[] = { { 0, 1 }, { 4, 7 }, { 9, 10 } };
    struct sac_rows r = { run, 3, 3 };
    const char *want = "X...XXX..X..";
    int count = 0;
    for (int k = 0; k < 12; k++) {
        assert_int_equal(sac_rows_has(&r, k), want[k] == 'X');
        count += want[k] == 'X';
    }
    assert_int_equal(sac_rows_count(&r), count);
}

static void dense_is_everything(void **state)
{
    (void)state;
    static const int sizes[] = { 1, 63, 64, 65, 200 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int n = sizes[i];
        struct sac_plan p;
        struct sac_run store[4];
        struct sac_rows r = { store, 0, 4 };
        assert_true(sac_plan_dense(&p, n));
        for (int row = 0; row < n; row++) {
            sac_plan_row(&p, row, 0, &r);
            assert_true(r.n == 1 && store[0].lo == 0 && store[0].hi == row + 1);
        }
        sac_plan_row(&p, n - 1, 10, &r);                   /* a sliding window of ten keys */
        assert_true(r.n == 1 && store[0].lo == (n > 10 ? n - 10 : 0) && store[0].hi == n);
        assert_true(fabs(sac_plan_density(&p).kernel - 1) < 1e-12);
        sac_plan_free(&p);
    }
}

/* Random plans, counted cell by cell. */
static void densities(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 60; round++) {
        int n = 1 + rand() % 150, tile = 1 + rand() % 40;
        struct sac_plan p;
        assert_true(sac_plan_init(&p, tile, n));
        char *keep = malloc((size_t)(n + 64));
        double kernel = 0, work = 0, total = (double)n * (n + 1) / 2;
        for (int r0 = 0; r0 < n; r0 += tile) {
            int r1 = r0 + tile < n ? r0 + tile : n;
            for (int k = 0; k < n + 64; k++) keep[k] = rand() % 3 == 0;    /* beyond the end too */
            for (int k = 0; k < n + 64; k++) {
                if (!keep[k]) continue;
                assert_true(sac_plan_add(&p, k, k + 1));
                work += tile;
                for (int r = r0; r < r1; r++) kernel += k <= r;
            }
            assert_true(sac_plan_next(&p));
        }
        struct sac_density d = sac_plan_density(&p);
        assert_true(fabs(d.kernel - kernel / total) < 1e-9);
        assert_true(fabs(d.work - work / total) < 1e-9);
        assert_true(fabs(d.pattern - d.kernel) < 1e-12 && isnan(d.read));
        p.pattern_cells = 1;
        assert_true(fabs(sac_plan_density(&p).pattern - 1 / total) < 1e-12);
        sac_plan_free(&p);
        free(keep);
    }
}

/* As a damaged file may hold: tiles that read nothing, columns all the same. */
static void nothing_is_read(void **state)
{
    (void)state;
    struct sac_plan p;
    struct sac_run run;
    int columns[] = { 0, 3 };
    assert_true(sac_plan_init(&p, 4, 10));
    for (int t = 0; t < 3; t++) assert_true(sac_plan_next(&p));
    p.vertical = columns;
    p.n_vertical = 2;
    sac_plan_fold(&p);
    assert_false(p.folded);
    for (int t = 0; t < 3; t++) {
        struct sac_tile_runs it = sac_plan_tile(&p, t, 0);
        assert_false(sac_tile_next(&it, &run));
    }
    struct sac_rows r = { &run, 1, 1 };
    sac_plan_row(&p, 9, 0, &r);
    assert_int_equal(r.n, 0);
    assert_true(sac_plan_density(&p).kernel == 0);
    p.vertical = NULL;
    sac_plan_free(&p);
}

/* A plan of columns and ranges, sometimes with columns that a tile does not read: whatever is folded, every
 * tile, row and density stays as it was, from any key on. */
static void folding_changes_nothing(void **state)
{
    (void)state;
    srand(11);
    int folded = 0;
    for (int round = 0; round < 200; round++) {
        int n = 1 + rand() % 150, tile = 1 + rand() % 40, every = 1 + rand() % 4;
        bool odd = round % 4 == 3, bare = round % 5 == 4;
        struct sac_plan p;
        assert_true(sac_plan_init(&p, tile, n));
        p.vertical = malloc(sizeof *p.vertical * (size_t)n);
        for (int k = 0; k < n; k++)
            if (rand() % every == 0) p.vertical[p.n_vertical++] = k;
        char *keep = malloc((size_t)n + 40);
        for (int r0 = 0; r0 < n; r0 += tile) {
            int end = r0 + tile;
            memset(keep, 0, (size_t)n + 40);
            for (int i = 0; i < p.n_vertical && p.vertical[i] < end; i++)
                keep[p.vertical[i]] = !odd || rand() % 9 > 0;
            for (int k = 0; !bare && k < end; k += 1 + rand() % 30)
                for (int j = rand() % 12; j >= 0 && k < end; j--) keep[k++] = 1;
            for (int k = bare ? end : r0; k < end; k++) keep[k] = 1;
            for (int k = 0; k < n + 40; k++)
                if (keep[k]) assert_true(sac_plan_add(&p, k, k + 1));
            assert_true(sac_plan_next(&p));
        }
        free(keep);
        struct sac_plan q = p;
        q.at = malloc(sizeof *q.at * ((size_t)p.n_tiles + 1));
        memcpy(q.at, p.at, sizeof *q.at * ((size_t)p.n_tiles + 1));
        q.run = malloc(sizeof *q.run * (p.cap_run + 1));
        if (p.n_run) memcpy(q.run, p.run, sizeof *q.run * p.n_run);
        sac_plan_fold(&q);
        folded += q.folded;
        assert_true(q.n_run <= p.n_run);
        for (int t = 0; t < p.n_tiles; t++) {
            struct sac_tile_runs it = sac_plan_tile(&q, t, 0);
            struct sac_run run;
            size_t i = p.at[t];
            for (; sac_tile_next(&it, &run); i++)
                assert_true(i < p.at[t + 1] && run.lo == p.run[i].lo && run.hi == p.run[i].hi);
            assert_true(i == p.at[t + 1]);
        }
        struct sac_run a[100], b[100];
        for (int row = 0; row < n; row++) {
            struct sac_rows x = { a, 0, 100 }, y = { b, 0, 100 };
            int window = rand() % 3 ? 0 : 1 + rand() % n;
            sac_plan_row(&p, row, window, &x);
            sac_plan_row(&q, row, window, &y);
            assert_true(x.n == y.n && (!x.n || !memcmp(a, b, sizeof *a * (size_t)x.n)));
        }
        struct sac_density dp = sac_plan_density(&p), dq = sac_plan_density(&q);
        assert_true(dp.kernel == dq.kernel && dp.work == dq.work);
        q.vertical = NULL;
        sac_plan_free(&q);
        sac_plan_free(&p);
    }
    assert_true(folded > 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_merge), cmocka_unit_test(validity), cmocka_unit_test(membership),
        cmocka_unit_test(dense_is_everything), cmocka_unit_test(densities),
        cmocka_unit_test(folding_changes_nothing), cmocka_unit_test(nothing_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
