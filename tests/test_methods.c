/* Golden vectors and exact identities of the reference (methods.md 6.2 and 8), and the parts that methods
 * share, against definitions written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "kernels.h"
#include "methods/methods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float uniform(void) { return (float)rand() / (float)RAND_MAX; }

static void near_list(const char *what, const float *got, const double *want, int n, double tol)
{
    for (int i = 0; i < n; i++)
        if (fabs((double)got[i] - want[i]) > tol)
            fail_msg("%s[%d] is %g, expected %g", what, i, (double)got[i], want[i]);
}

/* ---- top-k ---- */

static const float *sorted_by;

static int by_score(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    if (sorted_by[x] != sorted_by[y]) return sorted_by[x] < sorted_by[y] ? 1 : -1;
    return x - y;
}

static int by_index(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void topk_is_a_sort(void **state)
{
    (void)state;
    srand(1);
    enum { MAX = 700 };
    float x[MAX];
    int want[MAX], got[MAX], tmp[MAX];
    for (int round = 0; round < 400; round++) {
        int n = 1 + rand() % MAX, k = rand() % (n + 2), levels = 1 + rand() % 40;
        for (int i = 0; i < n; i++) {
            x[i] = round % 2 ? uniform() - 0.5f : (float)(rand() % levels) - 3;    /* with many ties */
            if (rand() % 20 == 0) x[i] = rand() % 2 ? INFINITY : -INFINITY;
            if (rand() % 20 == 0) x[i] = rand() % 2 ? 0.0f : -0.0f;
            want[i] = i;
        }
        sorted_by = x;
        qsort(want, (size_t)n, sizeof *want, by_score);
        sort_descending(x, n, got, tmp);
        assert_memory_equal(got, want, sizeof *got * (size_t)n);
        int m = k < n ? k : n;
        qsort(want, (size_t)m, sizeof *want, by_index);
        assert_int_equal(topk(x, n, k, got), m);
        assert_memory_equal(got, want, sizeof *got * (size_t)m);
    }
}

static void topp_is_the_fewest(void **state)
{
    (void)state;
    const float x[] = { .05f, .5f, .1f, .15f, .2f };
    int idx[5];
    static const struct {
        double mass;
        int n;
    } row[] = { { 0, 1 }, { .45, 1 }, { .6, 2 }, { .75, 3 }, { .9, 4 }, { .97, 5 } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(topp(x, 5, row[i].mass, idx), row[i].n);
    assert_int_equal(topp(x, 5, .6, idx), 2);
    assert_true(idx[0] == 1 && idx[1] == 4);

    /* Many entries, where few or most of them are needed, with ties. */
    enum { MANY = 3000 };
    float many[MANY];
    int got[MANY], want[MANY], tmp[MANY];
    for (int round = 0; round < 60; round++) {
        double all = 0, sum = 0, mass;
        for (int i = 0; i < MANY; i++) {
            many[i] = round % 3 == 0 ? 1.0f : powf(uniform(), (float)(1 + round % 30));
            if (round % 3 == 1) many[i] = floorf(many[i] * 16) / 16;
            all += (double)many[i];
        }
        mass = all * (round % 7) / 7;
        sort_descending(many, MANY, want, tmp);
        int n = 0;
        while (n < MANY && (n == 0 || sum < mass)) sum += (double)many[want[n++]];
        int have = topp(many, MANY, mass, got);
        if (fabs(sum - mass) > 1e-9 * all) assert_int_equal(have, n);
        sorted_by = many;
        qsort(want, (size_t)have, sizeof *want, by_index);
        assert_memory_equal(got, want, sizeof *got * (size_t)have);
    }
}

/* ---- golden vectors of section 8 ---- */

static void coverage_8_5(void **state)
{
    (void)state;
    struct sac_arena a = { 0 };
    const float x[] = { .5f, .2f, .15f, .1f, .05f };
    static const struct {
        double alpha;
        int n;
    } row[] = { { 0, 1 }, { .45, 1 }, { .6, 2 }, { .75, 3 }, { .9, 4 }, { .97, 5 } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(coverage(x, 5, row[i].alpha, &a), row[i].n);
    sac_arena_free(&a);
}

static void pooling_8_6(void **state)
{
    (void)state;
    const float x[] = { .3f, 0, 0, .6f, .1f };
    const double want[] = { .1, .1, .2, .7 / 3, .7 / 3 };
    float y[5];
    pool_average(x, 5, 3, y);
    near_list("pooled", y, want, 5, 1e-7);
    pool_average(x, 5, 9, y);                                  /* wider than the row: all of it, over nine */
    near_list("pooled wide", y, (const double[]){ 1.0 / 9, 1.0 / 9, 1.0 / 9, 1.0 / 9, 1.0 / 9 }, 5, 1e-7);
}

/* A sharp head ranks keys among weights far below the largest: pooling must not lose them beside it. */
static void pooling_keeps_small_values(void **state)
{
    (void)state;
    float x[1300] = { 0 }, y[1300];
    for (int j = 0; j < 1300; j++) x[j] = j % 97 == 5 ? 0.7f : (float)(1 + j % 13) * 1e-22f;
    for (int width = 1; width <= 101; width += 20) {
        pool_average(x, 1300, width, y);
        for (int j = 0; j < 1300; j++) {
            double sum = 0;
            for (int t = imax(j - width / 2, 0); t <= imin(j + width / 2, 1299); t++) sum += (double)x[t];
            if (fabs((double)y[j] - sum / width) > 1e-6 * sum / width)
                fail_msg("width %d, key %d: %g instead of %g", width, j, (double)y[j], sum / width);
        }
    }
}

/* One head of dimension 4 whose keys are unit vectors: q = log of the wanted probabilities. */
static void diagonal_sums_8_1(void **state)
{
    (void)state;
    static const double p[2][4] = { { .1, .6, .3, 0 }, { .2, .1, .3, .4 } };
    float q[16] = { 0 }, k[16] = { 0 };
    for (int j = 0; j < 4; j++) k[5 * j] = 1;
    for (int r = 0; r < 2; r++)
        for (int j = 0; j < 4; j++) q[(2 + r) * 4 + j] = p[r][j] > 0 ? (float)log(p[r][j]) : -100;
    struct sac_prefill_in in = { .n = 4,
                                 .n_heads = 1,
                                 .n_kv_heads = 1,
                                 .head_dim = 4,
                                 .n_layers = 1,
                                 .scale = 1,
                                 .q = q,
                                 .k = k,
                                 .v = k,
                                 .q_stride = 16,
                                 .k_stride = 16 };
    struct sac_arena a = { 0 };
    struct vs_scores s;
    assert_true(vs_score(&in, 0, 2, &s, &a));
    near_list("slash", s.slash, (const double[]){ .7, .9, .2, .2 }, 4, 1e-6);
    near_list("vertical", s.vertical, (const double[]){ .3, .7, .6, .4 }, 4, 1e-6);
    sac_arena_free(&a);
}

static void conversion_8_2(void **state)
{
    (void)state;
    int v[] = { 0, 1, 2, 3, 70, 100 }, s[67];
    for (int i = 0; i < 64; i++) s[i] = i;
    s[64] = 100, s[65] = 101, s[66] = 150;
    struct sac_plan p;
    assert_true(vs_plan(&p, 256, 64, v, 6, s, 67));
    /* Tiles that touch are one run. Row block 2: tiles 0, 64, 128; block 3: 42, 106, 170, 234 and four
     * columns. */
    static const struct sac_run want[] = { { 0, 64 }, { 0, 128 }, { 0, 192 }, { 0, 4 }, { 42, 298 } };
    assert_int_equal(p.n_run, 5);
    assert_memory_equal(p.run, want, sizeof want);
    struct sac_density d = sac_plan_density(&p);
    assert_true(fabs(d.pattern * 32896 - 15743) < 1e-6);
    assert_true(fabs(d.kernel * 32896 - 30464) < 1e-6);
    assert_true(fabs(d.work * 32896 - 41216) < 1e-6);
    assert_true(fabs(1 - d.work - -0.2529) < 5e-5);
    sac_plan_free(&p);
}

static void block_accounting_8_3(void **state)
{
    (void)state;
    /* sparsity=S finds these block counts at 16384 tokens. */
    static const struct { double s; int k; } row[] = { { .950, 26 }, { .933, 35 }, { .899, 53 }, { .866, 71 },
                                                       { .800, 108 }, { .667, 188 }, { .500, 300 } };
    struct sac_shape sh = {
        .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 64, .n_embd = 64, .max_ctx = 16384
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[64];
        struct sac_spec spec;
        snprintf(text, sizeof text, "block_sparse:sparsity=%.3f", row[i].s);
        assert_int_equal(sac_spec_parse(&spec, text, NULL), SAC_OK);
        assert_int_equal(sac_spec_resolve(&spec, &sh, 16384, NULL), SAC_OK);
        double got = sac_part_get(&spec.part[0], "top_blocks");
        if (fabs(got - row[i].k) > 1) fail_msg("%s: %g blocks, expected %d", text, got, row[i].k);
    }
}

static void page_bounds_8_4(void **state)
{
    (void)state;
    const float keys[] = { 1, 1, 3, -1, 0, 0, 2, 2 }, q[] = { 1, -2 };
    struct sac_arena a = { 0 };
    struct pages p;
    struct sac_env env = { .shape = { .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2 },
                           .max_tokens = 5 };
    assert_true(pages_create(&p, &env, 2, PAGE_MINMAX, &a));
    pages_append(&p, 0, 0, 0, 3, keys);
    pages_append(&p, 0, 0, 3, 1, keys + 6);
    float score[2];
    pages_score(&p, 0, 0, q, 1, false, 2, score, 2);
    near_list("bound", score, (const double[]){ 5, 2 }, 2, 1e-6);
    sac_arena_free(&a);
}

static void mean_and_deviation(void **state)
{
    (void)state;
    srand(3);
    enum { DIM = 8, N = 24, SIZE = 12 };
    float k[N * DIM], q[DIM], score[2], mean_score[2];
    for (int i = 0; i < N * DIM; i++) k[i] = uniform() - 0.3f;
    for (int i = 0; i < DIM; i++) q[i] = uniform() - 0.5f;
    struct sac_arena a = { 0 };
    struct pages p, m;
    struct sac_env env = { .shape = { .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = DIM },
                           .max_tokens = N };
    assert_true(pages_create(&p, &env, SIZE, PAGE_MEANSTD, &a) &&
                pages_create(&m, &env, SIZE, PAGE_MEAN, &a));
    for (int i = 0; i < N; i++) {
        pages_append(&p, 0, 0, i, 1, k + i * DIM);
        pages_append(&m, 0, 0, i, 1, k + i * DIM);
    }
    pages_score(&p, 0, 0, q, 1, false, 2, score, 2);
    pages_score(&m, 0, 0, q, 1, false, 2, mean_score, 2);
    for (int page = 0; page < 2; page++) {
        double want = 0, plain = 0;
        for (int d = 0; d < DIM; d++) {
            double sum = 0, sum2 = 0;
            for (int i = page * SIZE; i < (page + 1) * SIZE; i++) {
                double x = (double)k[i * DIM + d];
                sum += x;
                sum2 += x * x;
            }
            double mean = sum / SIZE, dev = sqrt(sum2 / SIZE - mean * mean);
            want += (double)q[d] * mean + fabs((double)q[d]) * dev;
            plain += (double)q[d] * mean;
        }
        assert_true(fabs((double)score[page] - want) < 1e-5);
        assert_true(fabs((double)mean_score[page] - plain) < 1e-5);
    }
    sac_arena_free(&a);
}

static void shared_pool_8_7(void **state)
{
    (void)state;
    float score[] = { .9f, .8f, .7f, .6f, .2f, .1f, .05f, .01f };
    struct sac_kept kept[2];
    struct sac_arena a = { 0 };
    assert_true(ada_allocate(score, 4, 2, 3, 1, kept, &a));
    assert_int_equal(kept[0].n, 4);
    assert_int_equal(kept[1].n, 2);
    for (int i = 0; i < 4; i++) assert_int_equal(kept[0].pos[i], i);
    assert_true(kept[1].pos[0] == 0 && kept[1].pos[1] == 1);
    sac_arena_free(&a);
}

/* ---- identities of 6.2 ---- */

static void error_identities(void **state)
{
    (void)state;
    srand(5);
    for (int round = 0; round < 200; round++) {
        enum { N = 30 };
        double a[N], v[N], z = 0, o = 0, tau = 0, s = 0, r = 0, o_s = 0, tv = 0, kl = 0;
        int in[N], count = 0;
        for (int i = 0; i < N; i++) {
            a[i] = exp(4 * (double)uniform());
            z += a[i];
            v[i] = (double)uniform() * 2 - 1;
            count += in[i] = rand() % 2;
        }
        if (count == 0 || count == N) continue;
        for (int i = 0; i < N; i++) {
            a[i] /= z;
            o += a[i] * v[i];
            if (!in[i]) tau += a[i];
            *(in[i] ? &s : &r) += a[i] * v[i];
        }
        double mu_s = s / (1 - tau), mu_r = r / tau;
        for (int i = 0; i < N; i++) {
            double sparse = in[i] ? a[i] / (1 - tau) : 0;
            o_s += sparse * v[i];
            tv += fabs(sparse - a[i]) / 2;
            if (in[i]) kl += sparse * log(sparse / a[i]);
        }
        assert_true(fabs(o - o_s - tau * (mu_s * -1 + mu_r)) < 1e-12);
        assert_true(fabs(tv - tau) < 1e-12);
        assert_true(fabs(kl + log(1 - tau)) < 1e-12);
        double without = (o - a[3] * v[3]) / (1 - a[3]);
        assert_true(fabs(without - o - a[3] / (1 - a[3]) * (o - v[3])) < 1e-12);
    }
    /* 8.9: A = [.5,.3,.2], V = [1,2,4], S = {0,1} */
    double o_s = (.5 * 1 + .3 * 2) / .8;
    assert_true(fabs(1.9 - o_s - .2 * (4 - o_s)) < 1e-12 && fabs(.2 * (4 - o_s) - .525) < 1e-12);
}

/* ---- tiles of columns and diagonals: every cell once, none lost ---- */

static void tiles_cover_the_pattern(void **state)
{
    (void)state;
    srand(9);
    for (int round = 0; round < 300; round++) {
        int n = 1 + rand() % 300, tile = 1 << rand() % 7, nv = 0, ns = 0;
        int *v = malloc(sizeof *v * (size_t)n), *s = malloc(sizeof *s * (size_t)n);
        for (int i = 0; i < n; i++) {
            if (rand() % 20 == 0) v[nv++] = i;
            if (i == 0 || rand() % 15 == 0) s[ns++] = i;
        }
        struct sac_plan p;
        assert_true(vs_plan(&p, n, tile, v, nv, s, ns));
        struct sac_run *store = malloc(sizeof *store * (size_t)(n + 2));
        struct sac_rows rows = { store, 0, n + 2 };
        double cells = 0;
        for (int i = 0; i < n; i++) {
            sac_plan_row(&p, i, 0, &rows);
            assert_true(sac_rows_valid(&rows, i + 1));
            for (int j = 0; j <= i; j++) {
                bool want = bsearch(&j, v, (size_t)nv, sizeof *v, by_index) != NULL;
                int o = i - j;
                want |= bsearch(&o, s, (size_t)ns, sizeof *s, by_index) != NULL;
                cells += want;
                if (want && !sac_rows_has(&rows, j))
                    fail_msg("n %d tile %d: cell %d,%d is lost", n, tile, i, j);
            }
        }
        assert_true(fabs(cells - vs_pattern_cells(n, v, nv, s, ns)) < 0.5);
        sac_plan_free(&p);
        free(store);
        free(v);
        free(s);
    }
}

/* Probabilities of a row against the definition, with a sliding window and a soft cap. */
struct row_check { const struct sac_prefill_in *in; int head, rows; };

static void check_row(void *ctx, int row, const float *p)
{
    struct row_check *c = ctx;
    const struct sac_prefill_in *in = c->in;
    double s[64], z = 0;
    for (int j = 0; j <= row; j++) {
        double dot = 0;
        for (int d = 0; d < in->head_dim; d++)
            dot += (double)in_query(in, c->head, row)[d] * (double)in_key(in, c->head / in_group(in), j)[d];
        s[j] = (double)in->softcap * tanh((double)in->scale * dot / (double)in->softcap);
        s[j] = in->window > 0 && row - j >= in->window ? 0 : exp(s[j]);
        z += s[j];
    }
    for (int j = 0; j <= row; j++) assert_true(fabs((double)p[j] - s[j] / z) < 1e-5);
    c->rows++;
}

/* Products of packed rows, against double, at every level: halves of bf16 come as near as floats do; words
 * are rounded by half a step of 1/46340 of the longest part of a row. */
static void packed_products(void **state)
{
    (void)state;
    static const int dims[] = { 7, 32, 40, 64, 1100, 130, 512, 1100 };
    int best = (int)k_cpu_init(-1)->level;
    for (int level = 0; level <= best; level++) {
        k_cpu_init(level);
        for (size_t c = 0; c < sizeof dims / sizeof *dims; c++) {
            struct sac_arena a = { 0 };
            int dim = dims[c], n = 131, m = 29;
            float *rows = sac_arena_floats(&a, (size_t)(n * dim));
            for (int i = 0; i < n * dim; i++) rows[i] = 4 * uniform() - 2;
            struct panels p;
            if (c < 5) assert_true(panels_pack(&p, rows, dim, n, 1, &a));
            else assert_true(panels_pack_long(&p, rows, dim, n, 1, &a));
            float *x = sac_arena_alloc(&a, sizeof *x * (size_t)(m * p.pad)),
                  *y = sac_arena_floats(&a, 32 * 144), *packed = sac_arena_floats(&a, panels_room(&p));
            for (int r = 0; r < m; r++)
                for (int d = 0; d < dim; d++) x[r * p.pad + d] = 4 * uniform() - 2;
            for (int r = 0; r < m; r += panels_rows(&p)) {
                int some = imin(panels_rows(&p), m - r);
                panels_query(&p, x + r * p.pad, some, packed);
                panels_score(&p, packed, some, 0, n, y, 144);
                float *from = sac_arena_floats(&a, 32 * 144);
                panels_score(&p, packed, some, 48, n - 7, from, 144);
                for (int i = 0; i < some; i++)
                    assert_memory_equal(from + i * 144, y + i * 144 + 48, sizeof *y * (size_t)(n - 7 - 48));
                for (int i = 0; i < some; i++)
                    for (int j = 0; j < n; j++) {
                        double want = 0, terms = 0;
                        for (int d = 0; d < dim; d++) {
                            double t = (double)x[(r + i) * p.pad + d] * (double)rows[j * dim + d];
                            want += t;
                            terms += fabs(t);
                        }
                        assert_true(fabs((double)y[i * 144 + j] - want) <= (p.words ? 6e-5 / sqrt(dim / 64.0) : 4e-6) * terms);
                    }
            }
            sac_arena_free(&a);
        }
    }
    k_cpu_init(k_level_find(getenv("SACCADE_CPU")));
}

static void probabilities(void **state)
{
    (void)state;
    enum { N = 40, D = 7, HQ = 6, HKV = 2 };   /* an odd size */
    float q[HQ * N * D], k[HKV * N * D];
    srand(11);
    for (int i = 0; i < HQ * N * D; i++) q[i] = 4 * uniform() - 2;
    for (int i = 0; i < HKV * N * D; i++) k[i] = 4 * uniform() - 2;
    struct sac_prefill_in in = { .n = N,
                                 .n_heads = HQ,
                                 .n_kv_heads = HKV,
                                 .head_dim = D,
                                 .n_layers = 1,
                                 .scale = 0.4f,
                                 .softcap = 3,
                                 .window = 13,
                                 .q = q,
                                 .k = k,
                                 .v = k,
                                 .q_stride = N * D,
                                 .k_stride = N * D };
    struct sac_arena a = { 0 };
    for (int h = 0; h < HQ; h++) {
        struct row_check c = { &in, h, 0 };
        struct panels packed, none;
        assert_true(scores_pack(&in, h / 3, N, &packed, &a) && scores_pack(&in, h / 3, 3, &none, &a));
        assert_true(packed.data && !none.data);
        assert_true(scores_each_row(&in, h, N - 11, 11, NULL, NULL, check_row, &c, &a));
        assert_true(scores_each_row(&in, h, N - 11, 11, NULL, &none, check_row, &c, &a));
        assert_true(scores_each_row(&in, h, N - 31, 31, NULL, &packed, check_row, &c, &a));
        assert_int_equal(c.rows, 53);
        assert_true(scores_each_row(&in, h, 0, 3, (const int[]){ 0, 5, 39 }, &packed, check_row, &c, &a));
        assert_int_equal(c.rows, 56);
    }
    sac_arena_free(&a);
}

int main(void)
{
    k_cpu_init(k_level_find(getenv("SACCADE_CPU")));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topk_is_a_sort),       cmocka_unit_test(topp_is_the_fewest),
        cmocka_unit_test(coverage_8_5),         cmocka_unit_test(pooling_8_6), cmocka_unit_test(pooling_keeps_small_values),
        cmocka_unit_test(diagonal_sums_8_1),    cmocka_unit_test(conversion_8_2),
        cmocka_unit_test(block_accounting_8_3), cmocka_unit_test(page_bounds_8_4),
        cmocka_unit_test(mean_and_deviation),   cmocka_unit_test(shared_pool_8_7),
        cmocka_unit_test(error_identities),     cmocka_unit_test(tiles_cover_the_pattern),
        cmocka_unit_test(packed_products),      cmocka_unit_test(probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
