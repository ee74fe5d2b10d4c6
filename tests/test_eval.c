/* Results of a study: grids, shards and a file that survives being killed at any moment. */
#include "slurp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include <saccade/eval.h>

static const char *const tasks[] = { "niah", "vt:hops=2", "cwe" };
static const int lengths[] = { 1024, 4096 };
static const char *const methods[] = { "dense", "quest:sparsity=0.9", "snapkv:capacity=64" };
static const struct sac_grid grid = { tasks, lengths, 3, 2, 5, 7, 1, 1 };
enum { N_UNITS = 3 * 2 * 7, N_METHODS = 3 };

static char path[64];

static void fresh_path(void)
{
    snprintf(path, sizeof path, "/tmp/saccade-eval-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static void test_grid(void **state)
{
    (void)state;
    assert_int_equal(sac_grid_units(&grid), N_UNITS);
    for (int n = 1; n <= 50; n += 7) { /* shards are disjoint and cover everything */
        int seen[3][2][7] = { { { 0 } } }, total = 0;
        for (int s = 1; s <= n; s++) {
            struct sac_grid g = grid;
            g.shard = s;
            g.n_shards = n;
            int units = sac_grid_units(&g);
            assert_true(units >= N_UNITS / n && units <= N_UNITS / n + 1);
            for (int i = 0; i < units; i++) {
                struct sac_unit u = sac_grid_unit(&g, i);
                int t = 0;
                while (u.task != tasks[t]) t++;
                assert_in_range(u.sample, 5, 11);
                seen[t][u.length == 4096][u.sample - 5]++;
                total++;
            }
        }
        assert_int_equal(total, N_UNITS);
        for (int t = 0; t < 3; t++)
            for (int l = 0; l < 2; l++)
                for (int s = 0; s < 7; s++) assert_int_equal(seen[t][l][s], 1);
    }
}

static struct sac_result_key key_of(const struct sac_unit *u, int method)
{
    return (
        struct sac_result_key){ "model#1", u->task, "compact", methods[method], u->length, u->sample, 43, NULL };
}

static void line_of(const struct sac_unit *u, int method, char *out, size_t cap)
{
    int pad = (u->sample * 7919 + method * 104729) % 4000; /* long lines make torn ones likely */
    int n = snprintf(
        out, cap,
        "{\"model_key\":\"model#1\",\"task\":\"%s\",\"style\":\"compact\",\"method\":\"%s\",\"length\":%d,"
        "\"sample\":%d,\"seed\":43,\"answer\":\"",
        u->task, methods[method], u->length, u->sample);
    memset(out + n, 'x', (size_t)pad);
    snprintf(out + n + pad, cap - (size_t)(n + pad), "\"}");
}

/* A study as saccade eval runs it, without the model. */
static int study(const struct sac_grid *g, const char *file)
{
    struct sac_results *r = NULL;
    struct sac_err err = { 0 };
    if (sac_results_open(&r, file, &err)) return 1;
    int rc = 0;
    for (int i = 0; !rc && i < sac_grid_units(g); i++) {
        struct sac_unit u = sac_grid_unit(g, i);
        char line[8192];
        for (int m = 0; m < N_METHODS; m++) {
            struct sac_result_key k = key_of(&u, m);
            if (sac_results_has(r, &k)) continue;
            line_of(&u, m, line, sizeof line);
            if (sac_results_add(r, &k, line, &err)) rc = 1;
        }
        if (sac_results_sync(r, &err)) rc = 1;
    }
    sac_results_close(r);
    return rc;
}

/* Every line once, each as it was written. */
static void check_complete(const char *file, int n)
{
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    char *line = NULL, want[8192];
    size_t cap = 0;
    int seen[N_UNITS][N_METHODS] = { { 0 } }, total = 0;
    while (getline(&line, &cap, f) > 0) {
        bool found = false;
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < N_UNITS && !found; i++)
            for (int m = 0; m < N_METHODS && !found; m++) {
                struct sac_unit u = sac_grid_unit(&grid, i);
                line_of(&u, m, want, sizeof want);
                if ((found = !strcmp(line, want))) assert_int_equal(seen[i][m]++, 0);
            }
        assert_true(found);
        total++;
    }
    free(line);
    fclose(f);
    assert_int_equal(total, n);
}

static void nap_us(long us) { nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL); }

/* Kill the study at random moments until it gets through; 40 studies. */
static void test_killed_any_time(void **state)
{
    (void)state;
    unsigned seed = 12345;
    int kills = 0, torn = 0;
    for (int round = 0; round < 40; round++) {
        fresh_path();
        for (int tries = 0;; tries++) {
            assert_true(tries < 2000);
            pid_t pid = fork();
            assert_true(pid >= 0);
            if (!pid) _exit(study(&grid, path));
            seed = seed * 1103515245u + 12345u;
            nap_us((long)(seed >> 16) % (tries < 20 ? 3000 : 100000));
            kill(pid, SIGKILL);
            int status;
            waitpid(pid, &status, 0);
            if (WIFEXITED(status)) {
                assert_int_equal(WEXITSTATUS(status), 0);
                break;
            }
            kills++;
            /* What a power cut can leave behind: a line of which only a part reached the disk. */
            struct stat st;
            if (stat(path, &st) == 0 && st.st_size > 2 && seed >> 8 & 1) {
                assert_int_equal(
                    truncate(path,
                             st.st_size - 1 -
                                 (off_t)((seed >> 10) % (unsigned)(st.st_size < 900 ? st.st_size - 1 : 900))),
                    0);
                torn++;
            }
        }
        check_complete(path, N_UNITS * N_METHODS);
        unlink(path);
    }
    assert_true(kills > 0 && torn > 0);
}

static void test_torn_and_damaged(void **state)
{
    (void)state;
    fresh_path();
    assert_int_equal(study(&grid, path), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    struct sac_results *r;
    struct sac_err err = { 0 };
    for (int cut = 1; cut < 700; cut += 37) { /* any cut: at most the cut lines are missing */
        assert_int_equal(truncate(path, st.st_size - cut), 0);
        assert_int_equal(sac_results_open(&r, path, &err), SAC_OK);
        assert_true(sac_results_cut(r) > 0 || cut > 1);
        assert_true(sac_results_count(r) >= N_UNITS * N_METHODS - 6 &&
                    sac_results_count(r) < N_UNITS * N_METHODS);
        sac_results_close(r);
        assert_int_equal(study(&grid, path), 0);
        check_complete(path, N_UNITS * N_METHODS);
        assert_int_equal(stat(path, &st), 0);
    }
    FILE *f = fopen(path, "r+");
    fputs("{damaged", f);
    fclose(f);
    assert_int_equal(sac_results_open(&r, path, &err), SAC_EFORMAT);
    assert_non_null(strstr(err.msg, "line 1"));
    unlink(path);
}

static void test_one_writer(void **state)
{
    (void)state;
    fresh_path();
    struct sac_results *r, *second;
    struct sac_err err = { 0 };
    assert_int_equal(sac_results_open(&r, path, &err), SAC_OK);
    assert_int_equal(sac_results_open(&second, path, &err), SAC_EIO);
    assert_non_null(strstr(err.msg, "another"));
    sac_results_close(r);
    unlink(path);
}

static void test_merge(void **state)
{
    (void)state;
    char part[3][80], all[80];
    const char *list[3];
    for (int s = 0; s < 3; s++) {
        snprintf(part[s], sizeof part[s], "/tmp/saccade-part-%d-%d", (int)getpid(), s);
        list[s] = part[s];
        struct sac_grid g = grid;
        g.shard = s + 1;
        g.n_shards = 3;
        unlink(part[s]);
        assert_int_equal(study(&g, part[s]), 0);
    }
    snprintf(all, sizeof all, "/tmp/saccade-all-%d", (int)getpid());
    int n_new, n_same;
    struct sac_err err = { 0 };
    assert_int_equal(sac_results_merge(all, list, 2, &n_new, &n_same, &err), SAC_OK);
    assert_int_equal(n_new, 2 * 14 * N_METHODS);
    assert_int_equal(sac_results_merge(all, list, 3, &n_new, &n_same, &err), SAC_OK);
    assert_int_equal(n_new, 14 * N_METHODS);
    assert_int_equal(n_same, 2 * 14 * N_METHODS);
    check_complete(all, N_UNITS * N_METHODS);
    for (int s = 0; s < 3; s++) unlink(part[s]);
    unlink(all);
}

static void spill(const char *to, const void *bytes, size_t n)
{
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A packed file merges like a plain one, in one frame or in two; cut short or damaged it is refused; and it is
 * never appended to, nor is any other file that does not hold results cut or written to. */
static void test_packed(void **state)
{
    (void)state;
    fresh_path();
    assert_int_equal(study(&grid, path), 0);
    char packed[80], all[80];
    snprintf(packed, sizeof packed, "%s.zst", path);
    snprintf(all, sizeof all, "%s.all", path);
    size_t n;
    char *plain = slurp(path, &n);
    assert_non_null(plain);
    size_t half = n / 2, cap = ZSTD_compressBound(n) + 512;
    unsigned char *z = malloc(cap);
    size_t one = ZSTD_compress(z, cap, plain, n, 9);
    const char *list[] = { packed };
    int n_new, n_same;
    struct sac_err err = { 0 };
    spill(packed, z, one);
    assert_int_equal(sac_results_merge(all, list, 1, &n_new, &n_same, &err), SAC_OK);
    assert_int_equal(n_new, N_UNITS * N_METHODS);
    check_complete(all, N_UNITS * N_METHODS);
    unlink(all);
    struct sac_results *r;
    assert_int_equal(sac_results_open(&r, packed, &err), SAC_EFORMAT);
    assert_non_null(strstr(err.msg, "zstd -d"));
    for (size_t cut = 1; cut < one; cut += one / 23 + 1) {
        spill(packed, z, one - cut);
        assert_int_not_equal(sac_results_merge(all, list, 1, &n_new, &n_same, &err), SAC_OK);
        unlink(all);
    }
    size_t a = ZSTD_compress(z, cap, plain, half, 9);
    size_t b = ZSTD_compress(z + a, cap - a, plain + half, n - half, 9);
    assert_false(ZSTD_isError(a) || ZSTD_isError(b));
    spill(packed, z, a + b);
    assert_int_equal(sac_results_merge(all, list, 1, &n_new, &n_same, &err), SAC_OK);
    check_complete(all, N_UNITS * N_METHODS);
    static const char foreign[] = "\x01\x02 a file without a single line";
    spill(packed, foreign, sizeof foreign);
    assert_int_equal(sac_results_open(&r, packed, &err), SAC_EFORMAT);
    char *back = slurp(packed, &n);
    assert_non_null(back);
    assert_int_equal(n, sizeof foreign);
    assert_memory_equal(back, foreign, sizeof foreign);
    free(back);
    free(plain);
    free(z);
    unlink(packed);
    unlink(all);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_killed_any_time),
        cmocka_unit_test(test_torn_and_damaged),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_one_writer),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
