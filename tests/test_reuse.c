/* A run whose prompt begins like the one before takes the beginning over: what it records and what it answers
 * must be what a run from nothing gives, on a dense and on a sliding-window model, for lanes of every kind,
 * and nothing may be taken over that is not the same. And two runs at once on one model do not disturb each
 * other. */
#include <saccade/job.h>
#include <saccade/trace.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_SPEC = 3, MAX_NEW = 12 };

/* The sanitizers make the arithmetic twenty times slower; every other prefix shows them all there is. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EVERY = 2, TURNS = 1 };
#else
enum { EVERY = 1, TURNS = 3 };
#endif

static const char *const specs[N_SPEC] = { "block_sparse:block_size=16,top_blocks=8",
                                           "snapkv:capacity=160,window=32", "quest:token_budget=64" };

static struct sac_model *open_model(const char *name, bool strict)
{
    char path[400];
    struct sac_model *m = NULL;
    struct sac_err err = { 0 };
    struct sac_model_opts mo = { .threads = 2, .kv = SAC_KV_F32, .strict = strict };
    snprintf(path, sizeof path, "%s/%s", SOURCE_DIR, name);
    if (access(path, R_OK) != 0) return NULL;
    if (sac_model_open(&m, path, &mo, &err) != SAC_OK) fail_msg("%s", err.msg);
    return m;
}

static struct sac_job *begin(struct sac_model *m, const int *ids, int n, struct sac_trace *earlier)
{
    struct sac_err err = { 0 };
    struct sac_span *span = calloc((size_t)n, sizeof *span);
    int *copy = malloc((size_t)n * sizeof *copy);
    memcpy(copy, ids, (size_t)n * sizeof *copy);
    struct sac_tokens tok = { .n = n, .id = copy, .span = span };
    struct sac_job_opts jo = { .max_tokens = MAX_NEW, .earlier = earlier };
    struct sac_job *j = NULL;
    if (sac_job_new(&j, m, "", &tok, NULL, 0, &jo, &err) != SAC_OK) fail_msg("%s", err.msg);
    for (int i = 0; i < N_SPEC; i++)
        if (sac_job_add_lane(j, specs[i], &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(sac_job_start(j, &err), SAC_OK);
    free(span);
    free(copy);
    return j;
}

static struct sac_job *run(struct sac_model *m, const int *ids, int n, struct sac_trace *earlier)
{
    struct sac_job *j = begin(m, ids, n, earlier);
    sac_job_wait(j);
    return j;
}

static int *some_ids(struct sac_model *m, int n, unsigned seed)
{
    int *id = malloc((size_t)n * sizeof *id), vocab = sac_model_info(m)->shape.n_vocab;
    for (int i = 0; i < n; i++) id[i] = (int)((seed = seed * 1103515245u + 12345u) >> 8) % (vocab - 16);
    return id;
}

static void near_all(const float *a, const float *b, size_t n, double tol, const char *what)
{
    double worst = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)a[i]));
    }
    if (!(worst <= tol * (size + 1))) fail_msg("%s: off by %g of %g", what, worst, size);
}

/* Everything a view can see of the two runs. */
static void same_runs(struct sac_trace *a, struct sac_trace *b, double tol)
{
    struct sac_trace_info info;
    sac_trace_info(a, &info);
    const struct sac_shape *s = &info.shape;
    struct sac_lane *x = malloc(sizeof *x), *y = malloc(sizeof *y);
    float *wa = malloc(sizeof *wa * (size_t)(info.n_prompt + MAX_NEW)),
          *wb = malloc(sizeof *wb * (size_t)(info.n_prompt + MAX_NEW));
    for (int l = 0; l < sac_trace_n_lanes(a); l++) {
        int ta[MAX_NEW], tb[MAX_NEW];
        sac_trace_lane(a, l, x);
        sac_trace_lane(b, l, y);
        assert_int_equal(x->state, SAC_LANE_DONE);
        assert_int_equal(y->state, SAC_LANE_DONE);
        int n = sac_trace_answer(a, l, ta, MAX_NEW);
        assert_int_equal(sac_trace_answer(b, l, tb, MAX_NEW), n);
        assert_memory_equal(ta, tb, (size_t)n * sizeof *ta);
        for (int layer = 0; layer < s->n_layers; layer++) {
            float *p[3], *q[3];
            int na, nb;
            assert_true(sac_trace_qkv(a, l, layer, &p[0], &p[1], &p[2], &na));
            assert_true(sac_trace_qkv(b, l, layer, &q[0], &q[1], &q[2], &nb));
            assert_int_equal(na, nb);
            for (int i = 0; i < 3; i++) {
                size_t heads = (size_t)(i ? s->n_kv_heads : s->n_heads);
                near_all(p[i], q[i], heads * (size_t)na * (size_t)s->head_dim, tol, i ? "k or v" : "q");
                free(p[i]);
                free(q[i]);
            }
            for (int row = 0; row < info.n_prompt; row += 37) {
                float la = sac_trace_lse(a, l, layer, 0, row), lb = sac_trace_lse(b, l, layer, 0, row);
                near_all(&la, &lb, 1, tol, "log-sum-exp");
                assert_true(sac_trace_weights(a, l, layer, s->n_heads - 1, row, wa));
                assert_true(sac_trace_weights(b, l, layer, s->n_heads - 1, row, wb));
                near_all(wa, wb, (size_t)row + 1, tol, "weights");
            }
        }
    }
    free(wa);
    free(wb);
    free(x);
    free(y);
}

static int reused(struct sac_job *j)
{
    struct sac_lane *l = malloc(sizeof *l);
    sac_trace_lane(sac_job_trace(j), 0, l);
    int n = l->reused;
    free(l);
    return n;
}

static void check_model(const char *name, int n_old, int n_new, double tol)
{
    struct sac_model *m = open_model(name, true);
    if (!m) skip();
    int *ids = some_ids(m, n_old > n_new ? n_old : n_new, 7), *other = some_ids(m, n_new, 99);
    struct sac_job *old = run(m, ids, n_old, NULL);
    assert_int_equal(reused(old), 0);
    static const int common[] = { 300, 200, 97, 64, 63, 0 };
    for (size_t i = 0; i < sizeof common / sizeof *common; i += EVERY) {
        int c = common[i] < n_new ? common[i] : n_new;
        int *now = malloc((size_t)n_new * sizeof *now);
        for (int k = 0; k < n_new; k++) now[k] = k < c ? ids[k] : k == c ? ids[k] + 1 : other[k];
        struct sac_job *fresh = run(m, now, n_new, NULL), *with = run(m, now, n_new, sac_job_trace(old));
        assert_int_equal(reused(with), c < 64 ? 0 : c == n_new ? n_new - 1 : c);
        same_runs(sac_job_trace(fresh), sac_job_trace(with), tol);
        /* and once more from the run that itself took over */
        struct sac_job *again = run(m, now, n_new, sac_job_trace(with));
        assert_int_equal(reused(again), n_new - 1);
        same_runs(sac_job_trace(fresh), sac_job_trace(again), tol);
        sac_job_free(again);
        sac_job_free(with);
        sac_job_free(fresh);
        free(now);
    }
    sac_job_free(old);
    free(ids);
    free(other);
    sac_model_close(m);
}

static void test_bundled(void **state)
{
    (void)state;
    check_model("samples/models/saccade-sample-q8_0.gguf", 330, 310, 2e-3);
}

static void test_windowed(void **state)
{
    (void)state;
    check_model("tests/fixtures/arch/gemma3", 330, 310, 1e-4);
}

/* Another model's keys are never taken over, nor those of a run that did not come to its end. */
static void test_refused(void **state)
{
    (void)state;
    const char *name = "samples/models/saccade-sample-q8_0.gguf";
    struct sac_model *a = open_model(name, true), *b = open_model(name, true);
    if (!a || !b) skip();
    int *ids = some_ids(a, 200, 5);
    struct sac_job *old = run(a, ids, 200, NULL), *other = run(b, ids, 200, sac_job_trace(old));
    assert_int_equal(reused(other), 0);
    sac_job_free(other);
    struct sac_span span[200] = { { 0, 0 } };
    struct sac_tokens tok = { .n = 200, .id = ids, .span = span };
    struct sac_job_opts jo = { .max_tokens = 4 };
    struct sac_job *never = NULL;
    assert_int_equal(sac_job_new(&never, a, "", &tok, NULL, 0, &jo, NULL), SAC_OK);     /* never started */
    struct sac_job *next = run(a, ids, 200, sac_job_trace(never));
    assert_int_equal(reused(next), 0);
    sac_job_free(next);
    sac_job_free(never);
    sac_job_free(old);
    free(ids);
    sac_model_close(a);
    sac_model_close(b);
}

/* The scratch memory of the model's threads is one lane's at a time. */
static void test_turns(void **state)
{
    (void)state;
    struct sac_model *m = open_model("samples/models/saccade-sample-q8_0.gguf", true);
    if (!m) skip();
    int *a = some_ids(m, 310, 3), *b = some_ids(m, 290, 4);
    struct sac_job *alone[2] = { run(m, a, 310, NULL), run(m, b, 290, NULL) };
    for (int i = 0; i < TURNS; i++) {
        struct sac_job *both[2] = { begin(m, a, 310, NULL), begin(m, b, 290, NULL) };
        for (int k = 0; k < 2; k++) {
            sac_job_wait(both[k]);
            same_runs(sac_job_trace(alone[k]), sac_job_trace(both[k]), 0);
        }
        for (int k = 0; k < 2; k++) sac_job_free(both[k]);
    }
    for (int k = 0; k < 2; k++) sac_job_free(alone[k]);
    free(a);
    free(b);
    sac_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bundled), cmocka_unit_test(test_windowed),
                                        cmocka_unit_test(test_refused), cmocka_unit_test(test_turns) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
