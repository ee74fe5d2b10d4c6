/* Attention over plans against a double-precision reference: dense, windows, softcap, groups, head sizes,
 * ragged ends, plans of all shapes, and decode against prefill, at every level of the CPU.
 *
 * Tolerances: f32 sums of n terms are off by at most n eps times the terms; with |q.k| scaled to a few units
 * and |v| <= 1 that is under 2e-5 here. bf16 rounds q, k, v and the probabilities to 8 bits: scores move by
 * up to 2 * 2^-9 * sum|q k| scale, outputs by 2 * 2^-9 besides; both are bounded row by row below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels.h"
#include "model/attend.h"
#include "twins.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252u;
static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}
static float uniform(void) { return (float)(next() >> 40) / 8388608.0f - 1.0f; }   /* -1 .. 1 */
static int upto(int n) { return (int)(next() % (uint64_t)(n + 1)); }

static struct sac_pool *pool;
static int best_level;

struct problem {
    struct attend_prefill a;
    float *q, *k, *v, *out, *lse;
    size_t n_q, n_k;
};

static float *random_floats(size_t n, float scale)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = uniform() * scale;
    return x;
}

static void make(struct problem *p, int heads, int kvs, int dim, int n)
{
    p->n_q = (size_t)heads * (size_t)n * (size_t)dim;
    p->n_k = (size_t)kvs * (size_t)n * (size_t)dim;
    p->q = random_floats(p->n_q, 2.0f);
    p->k = random_floats(p->n_k, 2.0f);
    p->v = random_floats(p->n_k, 1.0f);
    p->out = malloc(p->n_q * sizeof(float));
    p->lse = malloc((size_t)heads * (size_t)n * sizeof(float));
    p->a = (struct attend_prefill){
        .n_heads = heads,
        .n_kv_heads = kvs,
        .head_dim = dim,
        .n = n,
        .scale = 1.0f / sqrtf((float)dim),
        .q = p->q,
        .k = p->k,
        .v = p->v,
        .q_stride = (size_t)n * (size_t)dim,
        .k_stride = (size_t)n * (size_t)dim,
        .out = p->out,
        .ldo = (size_t)heads * (size_t)dim,
        .lse = p->lse,
        .strict = true,
    };
}

static void drop(struct problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->out);
    free(p->lse);
}

static bool reads(const struct attend_prefill *a, int head, int row, int key)
{
    if (key > row || (a->window > 0 && key <= row - a->window)) return false;
    if (!a->plan) return true;
    const struct sac_plan *p = &a->plan[head];
    for (size_t i = p->at[row / p->tile]; i < p->at[row / p->tile + 1]; i++)
        if (key >= p->run[i].lo && key < p->run[i].hi) return true;
    return false;
}

/* Probabilities of a row in double; *terms: the largest sum of |q k| scale over its keys. */
static double reference_row(const struct attend_prefill *a, int head, int row, double *w, double *terms)
{
    size_t kv = (size_t)(head / (a->n_heads / a->n_kv_heads)) * a->k_stride, dim = (size_t)a->head_dim;
    const float *q = a->q + (size_t)head * a->q_stride + (size_t)row * dim;
    double max = -(double)INFINITY, sum = 0;
    *terms = 0;
    for (int j = 0; j <= row; j++) {
        double s = 0, t = 0;
        const float *k = a->k + kv + (size_t)j * dim;
        for (size_t d = 0; d < dim; d++) {
            s += (double)q[d] * (double)k[d];
            t += fabs((double)q[d] * (double)k[d]);
        }
        s *= (double)a->scale;
        if (a->softcap > 0) s = (double)a->softcap * tanh(s / (double)a->softcap);
        w[j] = reads(a, head, row, j) ? s : -HUGE_VAL;
        if (w[j] > max) max = w[j];
        if (t * (double)a->scale > *terms) *terms = t * (double)a->scale;
    }
    for (int j = 0; j <= row; j++) sum += w[j] = isfinite(w[j]) ? exp(w[j] - max) : 0;
    for (int j = 0; j <= row; j++) w[j] /= sum > 0 ? sum : 1;
    return sum > 0 ? max + log(sum) : -HUGE_VAL;
}

static void check_row(const struct attend_prefill *a, int head, int row, double *w)
{
    double terms, lse = reference_row(a, head, row, w, &terms);
    size_t kv = (size_t)(head / (a->n_heads / a->n_kv_heads)) * a->k_stride, dim = (size_t)a->head_dim;
    const float *out = a->out + (size_t)row * a->ldo + (size_t)head * dim;
    double eps = a->strict ? (double)FLT_EPSILON * 8 : 0x1p-8;   /* of a product */
    double tol = a->strict ? 2e-5 : 2 * eps * terms / sqrt((double)dim) * 4 + 4 * eps;
    float got = a->lse[(size_t)head * (size_t)a->n + (size_t)row];
    if (!isfinite(lse)) {
        assert_true(got == -INFINITY);
        for (size_t d = 0; d < dim; d++) assert_true(out[d] == 0.0f);
        return;
    }
    assert_true(fabs((double)got - lse) <= eps * (terms + 20));
    for (size_t d = 0; d < dim; d++) {
        double y = 0;
        for (int j = 0; j <= row; j++) y += w[j] * (double)a->v[kv + (size_t)j * dim + d];
        if (fabs((double)out[d] - y) > tol)
            fail_msg("head %d row %d: %g, expected %g", head, row, (double)out[d], y);
    }
}

static void check(struct problem *p)
{
    struct attend_prefill *a = &p->a;
    double *w = malloc((size_t)a->n * sizeof *w);
    for (int strict = 0; strict < 2; strict++) {
        a->strict = strict;
        memset(p->out, 0xff, p->n_q * sizeof(float));
        assert_true(attend_prefill(pool, a));
        for (int h = 0; h < a->n_heads; h++)
            for (int r = 0; r < a->n; r += a->n > 200 ? 1 + upto(12) : 1) check_row(a, h, r, w);
    }
    free(w);
}

/* What keys receive from all rows: exponentials are kept as f16, and not at all below 2^-21, or as bf16, whose
 * scores have the error of such products. */
static void check_mass(struct problem *p)
{
    struct attend_prefill *a = &p->a;
    size_t n = (size_t)a->n, all = (size_t)a->n_kv_heads * n;
    double *w = malloc(n * sizeof *w), terms, eps = 0x1p-8;
    float *mass = a->mass = malloc(all * sizeof *mass), *again = malloc(all * sizeof *again);
    for (int strict = 0; strict < 2; strict++) {
        double *want = calloc(all, sizeof *want), *far = calloc(all, sizeof *far);
        int group = a->n_heads / a->n_kv_heads;
        a->strict = strict;
        assert_true(attend_prefill(pool, a));
        assert_true(a->has_mass || k_ops()->level == K_NEON);
        memcpy(again, mass, all * sizeof *again);
        assert_true(attend_prefill(pool, a));
        assert_true(!a->has_mass || !memcmp(mass, again, all * sizeof *again));
        for (int h = 0; h < a->n_heads && a->has_mass; h++)
            for (int r = 0; r < a->n; r++) {
                reference_row(a, h, r, w, &terms);
                double most = strict ? 0 : 8 * eps * (terms / sqrt((double)a->head_dim) + 1);
                for (int j = 0; j <= r; j++) {
                    want[(size_t)(h / group) * n + (size_t)j] += w[j];
                    far[(size_t)(h / group) * n + (size_t)j] += w[j] * most;
                }
            }
        for (size_t j = 0; j < all && a->has_mass; j++) {
            double tol = far[j] + 5e-4 * want[j] + 5e-7 * (double)(a->n * group) + 1e-6;
            if (!(fabs((double)mass[j] - want[j]) <= tol))
                fail_msg("%s: key %d gets %g, expected %g", k_ops()->name, (int)j, (double)mass[j], want[j]);
        }
        for (int h = 0; h < a->n_heads; h++) check_row(a, h, a->n - 1, w);
        free(want);
        free(far);
    }
    a->mass = NULL;
    free(w);
    free(mass);
    free(again);
}

static void at_levels(void (*f)(void))
{
    for (int level = K_SCALAR; level <= best_level; level++) {
        k_cpu_init(level);
        f();
    }
    k_cpu_init(-1);
}

static void dense_cases(void)
{
    static const struct { int heads, kvs, dim, n, window; float cap;
    } row[] = {
        { 1, 1, 64, 1, 0, 0 },    { 4, 1, 64, 17, 0, 0 },    { 8, 2, 64, 131, 0, 0 },
        { 7, 1, 128, 70, 0, 0 },  { 8, 1, 32, 65, 0, 0 },    { 2, 2, 96, 100, 0, 0 },
        { 2, 1, 256, 40, 0, 0 },  { 3, 1, 8, 33, 0, 0 },     { 2, 1, 20, 50, 0, 0 },
        { 4, 2, 64, 200, 37, 0 }, { 2, 1, 64, 90, 1, 0 },    { 2, 1, 64, 128, 64, 0 },
        { 4, 2, 64, 150, 0, 5 },  { 2, 1, 128, 99, 48, 30 }, { 1, 1, 64, 311, 100, 0 },
        { 1, 1, 48, 97, 0, 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct problem p;
        make(&p, row[i].heads, row[i].kvs, row[i].dim, row[i].n);
        p.a.window = row[i].window;
        p.a.softcap = row[i].cap;
        check(&p);
        check_mass(&p);
        drop(&p);
    }
}
static void test_dense(void **state) { (void)state; at_levels(dense_cases); }

/* Random runs; kind 0: anything, 1: whole blocks, 2: single columns, 3: nothing in some tiles, 4: everything.
 */
static void random_plan(struct sac_plan *p, int n, int tile, int kind)
{
    assert_true(sac_plan_init(p, tile, n));
    for (int t = 0; t * tile < n; t++) {
        int end = n + 20;
        if (kind == 4) assert_true(sac_plan_add(p, 0, end));
        for (int at = kind == 1 ? 0 : upto(20); at < end && kind != 4 && !(kind == 3 && t % 2);) {
            int len = kind == 1 ? 16 : kind == 2 ? 1 : 1 + upto(kind == 3 ? 3 : 90);
            if (kind != 1 || upto(2) == 0) assert_true(sac_plan_add(p, at, at + len));
            at += len + (kind == 1 ? 0 : 1 + upto(30));
        }
        assert_true(sac_plan_next(p));
    }
}

static void plan_cases(void)
{
    static const int tile[] = { 64, 16, 1, 96, 128, 200, 40 };
    for (size_t i = 0; i < sizeof tile / sizeof *tile; i++)
        for (int kind = 0; kind < 5; kind++) {
            struct problem p;
            make(&p, 4, 2, kind == 3 ? 128 : 64, 150 + upto(80));
            struct sac_plan plan[4];
            for (int h = 0; h < 4; h++) random_plan(&plan[h], p.a.n, tile[i], kind);
            p.a.plan = plan;
            p.a.window = upto(3) ? 0 : 70;
            check(&p);
            for (int h = 0; h < 4; h++) sac_plan_free(&plan[h]);
            drop(&p);
        }
}
static void test_plans(void **state) { (void)state; at_levels(plan_cases); }

/* Rows with lists of their own over more keys than are noted together, with steps of each width. */
static void own_lists(void)
{
    enum { N = 1100 };
    static const int length[] = { 64, 32, 16, 5, 1 };
    struct problem p;
    make(&p, 2, 1, 64, N);
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        struct sac_plan plan[2];
        for (int h = 0; h < 2; h++) {
            assert_true(sac_plan_init(&plan[h], h ? 1 : 16, N));
            for (int t = 0; t * plan[h].tile < N; t++) {
                for (int at = 0; at < N + 30; at += length[i])
                    if (upto(9) < 3) assert_true(sac_plan_add(&plan[h], at, at + length[i]));
                assert_true(sac_plan_next(&plan[h]));
            }
        }
        p.a.plan = plan;
        p.a.window = i % 2 ? 300 : 0;
        p.a.softcap = i == 2 ? 20.0f : 0.0f;
        check(&p);
        for (int h = 0; h < 2; h++) sac_plan_free(&plan[h]);
    }
    drop(&p);
}
static void test_own_lists(void **state) { (void)state; at_levels(own_lists); }

/* Rows of both ways through the same steps: o, l and m of rows that take part twice. */
struct listed {
    int dim;
    float *x;                       /* [LISTED_ROWS] queries, [K_STEP_KEYS] keys, as many values */
    void *q;                        /* queries, packed */
    struct k_attn_group g[K_STEP];
    char *keys;                     /* what the groups point to */
    float *m, *l, *o, *out, *lse;
};

enum { LISTED_ROWS = 220, LISTED_MOST = 70 };

static void listed_make(struct listed *s, const struct k_attn *k, float *x, int dim)
{
    size_t group = K_GROUP * (size_t)dim * k->elem, n = LISTED_ROWS;
    *s = (struct listed){ .dim = dim, .x = x, .q = aligned_alloc(64, n * (size_t)dim * sizeof(float)) };
    s->keys = aligned_alloc(64, 2 * K_STEP * group);
    s->m = malloc(n * sizeof(float));
    s->l = malloc(n * K_GROUP * sizeof(float));
    s->o = malloc(n * (size_t)dim * sizeof(float));
    s->out = malloc(n * (size_t)dim * sizeof(float));
    s->lse = malloc(n * sizeof(float));
    for (int r = 0; r < LISTED_ROWS; r++)
        k->pack_q(x + r * dim, dim, dim, 4.0f, (char *)s->q + (size_t)(r * dim) * k->elem);
    for (int c = 0; c < K_STEP; c++) {
        const float *key[K_GROUP], *value[K_GROUP];
        for (int i = 0; i < K_GROUP; i++) {
            key[i] = x + (LISTED_ROWS + c * K_GROUP + i) * dim;
            value[i] = key[i] + K_STEP_KEYS * dim;
        }
        char *at = s->keys + 2 * (size_t)c * group;
        s->g[c] = (struct k_attn_group){ at, at + group, NULL };
        k->pack_group(key, value, K_GROUP, dim, dim, at, at + group);
    }
}

static void listed_free(struct listed *s)
{
    void *all[] = { s->q, s->keys, s->m, s->l, s->o, s->out, s->lse };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Two steps; scores of the second may be far above those of the first. */
static void listed_run(struct listed *s, const struct k_attn *k, const struct k_attn_rows *list, int width)
{
    struct k_attn_tile t = { .rows = LISTED_ROWS, .dim = s->dim, .q = s->q, .m = s->m, .l = s->l, .o = s->o };
    for (int r = 0; r < LISTED_ROWS; r++) s->m[r] = K_M0;
    memset(s->l, 0, sizeof(float) * LISTED_ROWS * K_GROUP);
    memset(s->o, 0, sizeof(float) * LISTED_ROWS * (size_t)s->dim);
    for (int twice = 0; twice < 2; twice++) k->step_rows(&t, list, s->g + twice * (K_STEP - width), width);
    attn_finish_c(&t, s->dim, s->out, (size_t)s->dim, s->lse);
}

/* Listed rows against the scalar twin, on numbers that bf16 holds: every length of a list, every width of a
 * step. tol: of outputs, which are means of values below 1. */
static void listed_with(const struct k_attn *k, int dim, float tol)
{
    static const int width[] = { 1, 2, 4 };
    static const struct k_attn twin = { .elem = sizeof(float), .pack_q = attn_pack_q_c,
                                        .pack_group = attn_pack_group_c, .step_rows = attn_step_rows_c };
    size_t n_x = (size_t)(LISTED_ROWS + 2 * K_STEP_KEYS) * (size_t)dim;
    float *x = random_floats(n_x, 1.0f);
    for (size_t i = 0; i < n_x; i++) x[i] = truncf(x[i] * 128) / 128;
    struct listed want, got;
    listed_make(&want, &twin, x, dim);
    listed_make(&got, k, x, dim);
    for (int n = 1; n <= LISTED_MOST; n += n < 18 ? 1 : 13)
        for (int w = 0; w < 3; w++) {
            uint16_t row[LISTED_MOST];
            uint64_t see[LISTED_MOST];
            for (int i = 0, at = 0; i < n; i++, at++) {
                at += upto(2);
                row[i] = (uint16_t)at;
                see[i] = next() | 1;
            }
            struct k_attn_rows list = { row, n % 2 ? see : NULL, n };
            listed_run(&want, &twin, &list, width[w]);
            listed_run(&got, k, &list, width[w]);
            for (int r = 0; r < LISTED_ROWS; r++) {
                assert_true(want.lse[r] == got.lse[r] || fabsf(want.lse[r] - got.lse[r]) < 4e-4f);
                for (int d = 0; d < dim; d++)
                    if (!(fabsf(want.out[r * dim + d] - got.out[r * dim + d]) < tol))
                        fail_msg("%s, size %d, %d rows, row %d: %g, expected %g", k->name, dim, n, r,
                                 (double)got.out[r * dim + d], (double)want.out[r * dim + d]);
            }
        }
    listed_free(&want);
    listed_free(&got);
    free(x);
}

static void listed_rows(void)
{
    static const int dim[] = { 64, 80, 128 };
    const struct k_attn *k = &k_ops()->attn, *fast = &k_ops()->attn_fast;
    for (int i = 0; i < 3; i++) {
        if (k->step_rows) listed_with(k, dim[i], 5e-5f);
        /* probabilities are rounded to 8 bits, their sum is not */
        if (fast->step_rows && fast->elem == sizeof(uint16_t)) listed_with(fast, dim[i], 0x1p-8f);
    }
}
/* Keys gathered from narrow rows make the group that their floats make, to the bit. */
static void narrow_with(const struct k_attn *k, int dim, int n)
{
    int pad = (dim + K_GROUP - 1) / K_GROUP * K_GROUP;
    size_t row = 2 * (size_t)pad * k->elem, group = (size_t)pad * K_GROUP * k->elem;
    float *x = random_floats(2 * K_GROUP * (size_t)dim, 3.0f);
    char *rows = aligned_alloc(64, K_GROUP * row), *want = aligned_alloc(64, 2 * group),
         *got = aligned_alloc(64, 2 * group);
    const float *key[K_GROUP], *value[K_GROUP];
    const void *kv[K_GROUP];
    for (int i = 0; i < K_GROUP; i++) {
        int from = (i * 7 + 3) % K_GROUP;           /* in another order than they lie */
        key[i] = x + 2 * from * dim;
        value[i] = key[i] + dim;
        kv[i] = rows + (size_t)from * row;
        k->narrow(key[i], value[i], dim, pad, rows + (size_t)from * row);
    }
    memset(want, 1, 2 * group);
    memset(got, 2, 2 * group);
    k->pack_group(key, value, n, dim, pad, want, want + group);
    k->pack_narrow(kv, n, pad, got, got + group);
    assert_memory_equal(want, got, 2 * group);
    free(x);
    free(rows);
    free(want);
    free(got);
}

static void narrow_keys(void)
{
    static const int dim[] = { 1, 16, 33, 48, 64, 80, 128, 256 };
    const struct k_attn *k = &k_ops()->attn_fast;
    for (size_t i = 0; k->narrow && i < sizeof dim / sizeof *dim; i++)
        for (int n = 1; n <= K_GROUP; n++) narrow_with(k, dim[i], n);
}
static void test_narrow_keys(void **state) { (void)state; at_levels(narrow_keys); }

static void test_listed_rows(void **state) { (void)state; at_levels(listed_rows); }

static void mixed_tiles(void)
{
    struct problem p;
    make(&p, 2, 1, 64, 300);
    struct sac_plan plan[2];
    random_plan(&plan[0], 300, 64, 0);
    random_plan(&plan[1], 300, 48, 2);
    p.a.plan = plan;
    check(&p);
    sac_plan_free(&plan[0]);
    sac_plan_free(&plan[1]);
    drop(&p);
}
static void test_mixed_tiles(void **state) { (void)state; at_levels(mixed_tiles); }

static void test_threads_agree(void **state)
{
    (void)state;
    struct problem p;
    make(&p, 4, 2, 64, 260);
    struct sac_pool *one = pool_new(1, 0);
    assert_true(attend_prefill(one, &p.a));
    float *out = malloc(p.n_q * sizeof *out);
    memcpy(out, p.out, p.n_q * sizeof *out);
    assert_true(attend_prefill(pool, &p.a));
    assert_memory_equal(out, p.out, p.n_q * sizeof *out);
    pool_free(one);
    free(out);
    drop(&p);
}

static void test_cancel(void **state)
{
    (void)state;
    struct problem p;
    make(&p, 2, 1, 64, 100);
    atomic_bool stop = true;
    p.a.cancel = &stop;
    assert_false(attend_prefill(pool, &p.a));
    stop = false;
    assert_true(attend_prefill(pool, &p.a));
    assert_true(p.a.flops > 4.0 * 64 * 2 * 100 * 101 / 2);
    drop(&p);
}

/* ---- decode ---- */

/* Head h of a decode step against row n-1 of the problem. */
static void check_decoded(const struct problem *p, const struct attend_decode *a, int h, double *w)
{
    int n = p->a.n, dim = a->head_dim, group = a->n_heads / a->n_kv_heads;
    const float *v = p->v + (size_t)(h / group) * (size_t)n * (size_t)dim, *out = a->out + h * dim;
    double terms, want = reference_row(&p->a, h, n - 1, w, &terms), sum = 0;
    if (!isfinite(want)) {
        assert_true(a->lse[h] == -INFINITY);
        for (int d = 0; d < dim; d++) assert_true(out[d] == 0);
        return;
    }
    assert_true(fabs((double)a->lse[h] - want) < 2e-5);
    for (int j = 0, at = 0; j < n && a->weight; j++)
        if (reads(&p->a, h, n - 1, j)) {
            sum += (double)a->weight[h][at];
            assert_true(fabs((double)a->weight[h][at++] - w[j]) < 2e-5);
        }
    if (a->weight) assert_true(fabs(sum - 1) < 1e-4);
    for (int d = 0; d < dim; d++) {
        double y = 0;
        for (int j = 0; j < n; j++) y += w[j] * (double)v[(size_t)j * (size_t)dim + (size_t)d];
        assert_true(fabs((double)out[d] - y) < 2e-5);
    }
}

static void decode_case(int heads, int kvs, int dim, int n, enum sac_kv_type type, int kind, bool per_head,
                        float cap)
{
    struct problem p;
    make(&p, heads, kvs, dim, n);
    p.a.softcap = cap;
    int units = per_head ? heads : kvs, group = heads / kvs;
    size_t per = (size_t)n * (size_t)dim, size = type == SAC_KV_F32 ? 4 : 2;
    char *ck = malloc((size_t)kvs * per * size), *cv = malloc((size_t)kvs * per * size);
    for (size_t i = 0; i < (size_t)kvs; i++) {   /* the reference reads what the cache can hold */
        float *src[2] = { p.k + i * per, p.v + i * per };
        char *dst[2] = { ck + i * per * size, cv + i * per * size };
        for (int j = 0; j < 2; j++) {
            if (type == SAC_KV_F32) memcpy(dst[j], src[j], per * 4);
            if (type == SAC_KV_F16) k_ops()->to_f16(src[j], (int)per, (uint16_t *)dst[j]);
            if (type == SAC_KV_F16) k_ops()->from_f16((uint16_t *)dst[j], (int)per, src[j]);
            if (type == SAC_KV_BF16) k_ops()->to_bf16(src[j], (int)per, (uint16_t *)dst[j]);
            if (type == SAC_KV_BF16) k_ops()->from_bf16((uint16_t *)dst[j], (int)per, src[j]);
        }
    }
    struct sac_plan *plan = calloc((size_t)heads, sizeof *plan);
    struct sac_run *runs = malloc((size_t)units * (size_t)(n / 2 + 1) * sizeof *runs);
    struct sac_rows *rows = calloc((size_t)units, sizeof *rows);
    float *q = malloc((size_t)heads * (size_t)dim * sizeof *q),
          *out = malloc((size_t)heads * (size_t)dim * sizeof *out);
    float *lse = malloc((size_t)heads * sizeof *lse), **weight = calloc((size_t)heads, sizeof *weight);
    struct attend_cache *kv = calloc((size_t)kvs, sizeof *kv);
    for (int u = 0; u < units; u++) {
        rows[u] = (struct sac_rows){ runs + (size_t)u * (size_t)(n / 2 + 1), 0, n / 2 + 1 };
        struct sac_plan *one = &plan[per_head ? u : u * group];
        random_plan(one, n, n, kind);
        sac_plan_row(one, n - 1, 0, &rows[u]);
        for (int h = 1; h < group && !per_head; h++) {
            assert_true(sac_plan_init(&plan[u * group + h], n, n));
            for (int i = 0; i < rows[u].n; i++)
                sac_plan_add(&plan[u * group + h], rows[u].run[i].lo, rows[u].run[i].hi);
            sac_plan_next(&plan[u * group + h]);
        }
    }
    for (int h = 0; h < heads; h++) {
        memcpy(q + h * dim, p.q + (size_t)h * per + (size_t)(n - 1) * (size_t)dim, (size_t)dim * sizeof *q);
        weight[h] = malloc((size_t)n * sizeof **weight);
    }
    for (size_t i = 0; i < (size_t)kvs; i++)
        kv[i] = (struct attend_cache){ type, ck + i * per * size, cv + i * per * size, n };
    struct attend_decode a = { .n_heads = heads,
                               .n_kv_heads = kvs,
                               .head_dim = dim,
                               .scale = p.a.scale,
                               .softcap = cap,
                               .q = q,
                               .kv = kv,
                               .rows = kind < 0 ? NULL : rows,
                               .rows_per_head = per_head,
                               .out = out,
                               .lse = lse,
                               .weight = weight };
    if (kind < 0)
        for (int h = 0; h < heads; h++) sac_plan_free(&plan[h]);
    p.a.plan = kind < 0 ? NULL : plan;
    double *w = malloc((size_t)n * sizeof *w);
    for (int weights = 0; weights < 2; weights++) {   /* without them heads that have lists go together */
        a.weight = weights ? weight : NULL;
        memset(out, 0xff, (size_t)heads * (size_t)dim * sizeof *out);
        attend_decode(pool, &a);
        for (int h = 0; h < heads; h++) check_decoded(&p, &a, h, w);
    }
    for (int h = 0; h < heads; h++) {
        sac_plan_free(&plan[h]);
        free(weight[h]);
    }
    free(plan);
    free(runs);
    free(rows);
    free(q);
    free(out);
    free(lse);
    free(weight);
    free(kv);
    free(ck);
    free(cv);
    free(w);
    drop(&p);
}

static void decode_cases(void)
{
    static const int shape[][4] = {
        { 8, 2, 64, 301 }, { 4, 4, 64, 1 }, { 7, 1, 128, 77 }, { 8, 1, 64, 130 },
        { 2, 1, 20, 40 },  { 3, 1, 8, 19 }, { 4, 2, 96, 65 },  { 2, 1, 256, 33 }
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int type = SAC_KV_F32; type <= SAC_KV_BF16; type++)
            for (int kind = -1; kind < 4; kind++)
                decode_case(shape[i][0], shape[i][1], shape[i][2], shape[i][3], (enum sac_kv_type)type, kind,
                            kind >= 0 && i % 2, i == 3 ? 20.0f : 0.0f);
    for (int group = 1; group <= 8; group++) /* all ways to take heads together, all widths of values */
        decode_case(2 * group, 2, 32 * group, 37 + group, (enum sac_kv_type)(group % 3), -1, false, 0);
    decode_case(6, 2, 80, 45, SAC_KV_F16, 1, false, 0);
    decode_case(3, 1, 112, 50, SAC_KV_BF16, 2, true, 15.0f);
    decode_case(8, 2, 64, 1700, SAC_KV_F16, -1, false, 0);
    for (int kind = 0; kind < 4; kind++) {  /* longer than a chunk; more heads than go together */
        decode_case(8, 2, 64, 2700, (enum sac_kv_type)(kind % 3), kind, kind > 0, kind == 2 ? 15.0f : 0);
        decode_case(9, 1, 32, 70, SAC_KV_F16, kind, true, 0);
    }
}
static void test_decode(void **state) { (void)state; at_levels(decode_cases); }

int main(void)
{
    best_level = (int)k_cpu_init(-1)->level;
    pool = pool_new(3, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense), cmocka_unit_test(test_plans), cmocka_unit_test(test_mixed_tiles),
        cmocka_unit_test(test_own_lists), cmocka_unit_test(test_narrow_keys),
        cmocka_unit_test(test_listed_rows),
        cmocka_unit_test(test_threads_agree), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_decode),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return rc;
}
