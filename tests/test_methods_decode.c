/* What decode methods read at each step, against their definitions written out in double: exact oracles in
 * all their units, Twilight's estimate, MoBA's means, Quest's scorers. The last tokens of a file play the
 * steps, as in `saccade select --decode-last`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "file/tensors.h"
#include "kernels.h"
#include <saccade/method.h>
#include <saccade/select.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { T = 150, STEPS = 6, HQ = 6, HKV = 2, G = HQ / HKV, D = 16 };
static float q[HQ][T][D], k[HKV][T][D], v[HKV][T][D];
static char path[] = "/tmp/saccade-decode-XXXXXX";

static int make(void **state)
{
    (void)state;
    srand(5);
    float *all[] = { &q[0][0][0], &k[0][0][0], &v[0][0][0] };
    size_t count[] = { sizeof q / sizeof(float), sizeof k / sizeof(float), sizeof v / sizeof(float) };
    for (int t = 0; t < 3; t++)
        for (size_t i = 0; i < count[t]; i++) all[t][i] = 4 * (float)rand() / (float)RAND_MAX - 2;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct st_writer *w;
    struct sac_err err = { 0 };
    int64_t wide[3] = { HQ, T, D }, narrow[3] = { HKV, T, D };
    if (st_create(&w, path, true, &err) || st_add(w, "q", ST_F32, 3, wide, q, &err) ||
        st_add(w, "k", ST_F32, 3, narrow, k, &err) || st_add(w, "v", ST_F32, 3, narrow, v, &err) ||
        st_finish(w, &err))
        fail_msg("%s", err.msg);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* ---- definitions ---- */

struct ask { int n, head, kv; double opt[3]; };
typedef void definition(const struct ask *a, bool *read);

static double dot(const float *a, const float *b)
{
    double s = 0;
    for (int d = 0; d < D; d++) s += (double)a[d] * (double)b[d];
    return s;
}

static void softmax(double *x, int n)
{
    double max = -1e300, sum = 0;
    for (int i = 0; i < n; i++) max = fmax(max, x[i]);
    for (int i = 0; i < n; i++) sum += x[i] = exp(x[i] - max);
    for (int i = 0; i < n; i++) x[i] /= sum;
}

static void weights(int head, int n, double *p)
{
    for (int j = 0; j < n; j++) p[j] = dot(q[head][n - 1], k[head / G][j]) / sqrt(D);
    softmax(p, n);
}

/* Mark the best entries one by one: `count` of them, or until their sum reaches `mass`. */
static void best(const double *x, int n, int count, double mass, bool *in)
{
    double sum = 0;
    memset(in, 0, sizeof *in * T);
    for (int c = 0; c < n && c < count && sum < mass; c++) {
        int at = -1;
        for (int i = 0; i < n; i++)
            if (!in[i] && (at < 0 || x[i] > x[at])) at = i;
        in[at] = true;
        sum += x[at];
    }
}

static void read_page(bool *read, int page, int size, int n)
{
    for (int j = page * size; j < (page + 1) * size && j < n; j++) read[j] = true;
}

/* opt: budget, top_p, unit size; `group` sums over the heads of the group. */
static void oracle(const struct ask *a, bool group, bool *read)
{
    double p[T], sum[T] = { 0 }, unit[T] = { 0 }, tail = 0;
    int size = (int)a->opt[2], first = group ? a->kv * G : a->head, heads = group ? G : 1;
    bool in[T];
    for (int h = first; h < first + heads; h++) {
        weights(h, a->n, p);
        for (int j = 0; j < a->n; j++) sum[j] += p[j];
    }
    int units = size > 1 ? (a->n - 1) / size : a->n;    /* the current page is always read */
    for (int j = 0; j < a->n; j++) {
        if (j / size < units) unit[j / size] += sum[j];
        else tail += sum[j], read[j] = true;
    }
    double mass = a->opt[1] > 0 ? a->opt[1] * heads - tail : HUGE_VAL;
    best(unit, units, a->opt[1] > 0 ? units : (int)a->opt[0] / size, mass, in);
    for (int u = 0; u < units; u++)
        if (in[u]) read_page(read, u, size, a->n);
}
static void oracle_head(const struct ask *a, bool *read) { oracle(a, false, read); }
static void oracle_group(const struct ask *a, bool *read) { oracle(a, true, read); }

enum scorer { MINMAX, MEANSTD, MEAN };

static double page_score(enum scorer how, int head, int kv, int t, int page, int size)
{
    double score = 0;
    for (int d = 0; d < D; d++) {
        double lo = 1e9, hi = -1e9, sum = 0, sum2 = 0, x = (double)q[head][t][d];
        for (int j = page * size; j < (page + 1) * size; j++) {
            double y = (double)k[kv][j][d];
            lo = fmin(lo, y), hi = fmax(hi, y), sum += y, sum2 += y * y;
        }
        double mean = sum / size, dev = sqrt(fmax(sum2 / size - mean * mean, 0));
        score += how == MINMAX ? fmax(x * lo, x * hi) : how == MEAN ? x * mean : x * mean + fabs(x) * dev;
    }
    return score;
}

/* opt: pages, page size, scorer. */
static void pages(const struct ask *a, bool shared, bool *read)
{
    double score[T] = { 0 };
    bool in[T];
    int size = (int)a->opt[1], cur = (a->n - 1) / size;
    for (int u = 0; u < cur; u++) {
        score[u] = 0;
        for (int h = shared ? a->kv * G : a->head; h < (shared ? (a->kv + 1) * G : a->head + 1); h++)
            score[u] += page_score((enum scorer)a->opt[2], h, a->kv, a->n - 1, u, size);
    }
    best(score, cur, (int)a->opt[0], HUGE_VAL, in);
    for (int u = 0; u < cur; u++)
        if (in[u]) read_page(read, u, size, a->n);
    read_page(read, cur, size, a->n);
}
static void pages_head(const struct ask *a, bool *read) { pages(a, false, read); }
static void pages_group(const struct ask *a, bool *read) { pages(a, true, read); }

/* opt: pages, page size, p. Estimates from keys rounded to 16 levels between their extremes and queries to 127
 * of their largest value. */
static void twilight(const struct ask *a, bool *read)
{
    struct ask base = { a->n, a->head, a->kv, { a->opt[0], a->opt[1], MINMAX } };
    bool look[T] = { 0 }, in[T];
    double est[T], most = 0;
    const float *x = q[a->head][a->n - 1];
    int at[T], n = 0;
    pages(&base, false, look);
    for (int d = 0; d < D; d++) most = fmax(most, fabs((double)x[d]));
    for (int j = 0; j < a->n; j++) {
        if (!look[j]) continue;
        double lo = 1e9, hi = -1e9, s = 0;
        for (int d = 0; d < D; d++) {
            lo = fmin(lo, (double)k[a->kv][j][d]);
            hi = fmax(hi, (double)k[a->kv][j][d]);
        }
        for (int d = 0; d < D; d++) {
            double level = round(((double)k[a->kv][j][d] - lo) / (hi - lo) * 15);
            s += round((double)x[d] / most * 127) / 127 * most * (lo + level * (hi - lo) / 15);
        }
        est[n] = s / sqrt(D);
        at[n++] = j;
    }
    softmax(est, n);
    best(est, n, n, a->opt[2], in);
    for (int i = 0; i < n; i++) read[at[i]] = in[i];
}

/* ---- the comparison ---- */

static const struct { const char *spec; definition *rule; double opt[3];
} row[] = {
    { "oracle:token_budget=20", oracle_head, { 20, 0, 1 } },
    { "oracle:unit=group,token_budget=20", oracle_group, { 20, 0, 1 } },
    { "oracle:unit=page,token_budget=40,page_size=8", oracle_group, { 40, 0, 8 } },
    { "oracle:unit=block,token_budget=40,page_size=8", oracle_head, { 40, 0, 8 } },
    { "oracle:top_p=0.9", oracle_head, { 0, .9, 1 } },
    { "oracle:unit=group,top_p=0.8", oracle_group, { 0, .8, 1 } },
    { "oracle:unit=page,page_size=8,top_p=0.6", oracle_group, { 0, .6, 8 } },
    { "oracle:unit=block,page_size=8,top_p=0.95", oracle_head, { 0, .95, 8 } },
    { "oracle:unit=block,page_size=8,top_p=0.01", oracle_head, { 0, .01, 8 } },
    { "quest:token_budget=48,page_size=8", pages_group, { 6, 8, MINMAX } },
    { "quest:token_budget=48,page_size=8,share_pages=0", pages_head, { 6, 8, MINMAX } },
    { "quest:token_budget=48,page_size=16,scorer=meanstd", pages_group, { 3, 16, MEANSTD } },
    { "quest:token_budget=15,page_size=5,scorer=mean,share_pages=0", pages_head, { 3, 5, MEAN } },
    { "moba:block_size=8,top_k=5,phase=decode", pages_head, { 4, 8, MEAN } },
    { "moba:block_size=150,top_k=1,phase=decode", pages_head, { 0, 150, MEAN } },
    { "twilight:token_budget=64,page_size=8,p=0.85", twilight, { 8, 8, .85 } },
    { "twilight:token_budget=16,page_size=16,p=0.5", twilight, { 1, 16, .5 } },
};

static void reads_as_defined(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char out[] = "/tmp/saccade-decode-out-XXXXXX", name[64];
        int fd = mkstemp(out);
        assert_true(fd >= 0);
        close(fd);
        struct sac_select_args args = {
            .qkv = path, .spec = row[i].spec, .out = out, .decode_last = STEPS, .threads = 1, .force = true
        };
        struct sac_select_result r;
        struct sac_err err = { 0 };
        struct st_file f = { 0 };
        if (sac_select_run(&args, &r, &err) || st_open(&f, out, &err)) fail_msg("%s", err.msg);
        unlink(out);
        snprintf(name, sizeof name, "%s.rows", r.method);
        const struct st_tensor *rows = st_find(&f, name);
        assert_non_null(rows);
        static bool got[STEPS][HQ][T];
        memset(got, 0, sizeof got);
        const int *run = rows->data;
        for (int j = 0; j < (int)rows->shape[0]; j++)
            for (int key = run[4 * j + 2]; key < run[4 * j + 3]; key++)
                got[run[4 * j]][run[4 * j + 1]][key] = true;
        for (int s = 0; s < STEPS; s++)
            for (int h = 0; h < HQ; h++) {
                struct ask a = { T - STEPS + s + 1, h, h / G, { 0 } };
                bool want[T] = { 0 };
                memcpy(a.opt, row[i].opt, sizeof a.opt);
                row[i].rule(&a, want);
                for (int j = 0; j < T; j++)
                    if (want[j] != got[s][h][j])
                        fail_msg("%s: step %d head %d key %d is%s read", row[i].spec, s, h, j,
                                 got[s][h][j] ? "" : " not");
            }
        st_close(&f);
        sac_select_free(&r);
    }
}

int main(void)
{
    k_cpu_init(k_level_find(getenv("SACCADE_CPU")));
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_as_defined) };
    return cmocka_run_group_tests(tests, make, drop);
}
