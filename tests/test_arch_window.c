/* Sliding-window layers keep their window under every method: no row of such a layer reads a key outside it,
 * in the prompt or in the answer, and rows of the other layers do reach further. The cost model counts those
 * cells and no others. */
#include "file/tensors.h"

#include <saccade/job.h>
#include <saccade/logits.h>
#include <saccade/measures.h>
#include <saccade/trace.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER TEST_DIR "/fixtures/arch/gemma3"
enum { WINDOW = 32, MAX_NEW = 8 };   /* of the fixture: layers 0 to 4 and 6 of 7 */

static void check_near(const char *what, const char *part, double got, double want)
{
    if (!(fabs(got - want) <= 1e-6 * want)) fail_msg("%s: %s of %.9g, expected %.9g", what, part, got, want);
}

/* cells: keys that the prompt's rows read, all layers and heads together. */
static void check_cost(struct sac_trace *t, int lane, const char *what, const struct sac_shape *s, int n, double cells)
{
    struct sac_lane_cost c;
    struct sac_lane l;
    sac_trace_lane(t, lane, &l);
    sac_measures_cost(t, lane, 1, &c);
    check_near(what, "a core", c.prefill[SAC_COST_EXACT].core, cells * (4 * s->head_dim + 3));
    if (strcmp(what, "dense") != 0) return;
    double keys = (s->n_layers - 1) * WINDOW + n + l.n_steps;
    check_near(what, "a cache", c.decode[SAC_COST_EXACT].kv, 2 * keys * s->n_kv_heads * s->head_dim);
    check_near(what, "a speed-up", c.model[SAC_COST_EXACT].prefill * c.model[SAC_COST_PAPER].decode, 1);
}

static void check_rows(struct sac_trace *t, int lane, const char *what, const struct sac_shape *s, int n)
{
    struct sac_rows rows = { .run = calloc((size_t)n + MAX_NEW, sizeof *rows.run), .cap = n + MAX_NEW };
    int seen = 0;
    double cells = 0;
    assert_non_null(rows.run);
    for (int layer = 0; layer < s->n_layers; layer++) {
        int window = 0, reach = 0;
        bool windowed = sac_trace_layer_windowed(t, layer, &window);
        assert_int_equal(windowed, layer != 5);
        for (int head = 0; head < s->n_heads; head++)
            for (int row = 0; row < sac_trace_n_rows(t, lane, layer); row++) {
                rows.n = 0;
                if (!sac_trace_rows(t, lane, layer, head, row, &rows)) continue;
                if (rows.n < 1) fail_msg("%s: layer %d head %d row %d reads nothing", what, layer, head, row);
                int first = rows.run[0].lo, last = rows.run[rows.n - 1].hi - 1;
                if (last > row || (windowed && first <= row - WINDOW))
                    fail_msg("%s: layer %d head %d row %d reads keys %d to %d", what, layer, head, row, first,
                             last);
                if (row - first > reach) reach = row - first;
                if (row < n) cells += sac_rows_count(&rows);
                seen++;
            }
        if (!windowed && !strcmp(what, "dense")) assert_true(reach >= n - 1);
    }
    assert_true(seen > 0);
    check_cost(t, lane, what, s, n, cells);
    free(rows.run);
}

static void test_every_method(void **state)
{
    (void)state;
    struct sac_err err = { SAC_OK, "" };
    struct sac_model_opts o = { .threads = 2 };
    struct sac_model *m;
    struct sac_tokens tok = { 0 };
    if (sac_model_open(&m, FOLDER, &o, &err) ||
        sac_ids_read(FOLDER "/ref.safetensors", &tok.id, &tok.n, &err)) fail_msg("%s", err.msg);
    tok.span = calloc((size_t)tok.n, sizeof *tok.span);
    int n_methods, lanes = 0;
    const struct sac_method *const *methods = sac_methods(&n_methods);
    for (int i = 0; i < n_methods; i++) {
        char spec[100];
        struct sac_job *j;
        struct sac_job_opts jo = { .max_tokens = MAX_NEW, .seed = 3, .no_kl = true };
        bool dense = !strcmp(methods[i]->name, "dense");
        /* Half of the keys; a method that cannot say so at this length runs with what it has by default. */
        snprintf(spec, sizeof spec, "%s:sparsity=0.5", methods[i]->name);
        if (sac_job_new(&j, m, "", &tok, NULL, 0, &jo, &err)) fail_msg("%s", err.msg);
        struct sac_err lane_err = { SAC_OK, "" };
        int lane = dense ? 0 : sac_job_add_lane(j, spec, &lane_err);
        if (lane < 0) lane = sac_job_add_lane(j, methods[i]->name, &err);
        if (lane < 0) fail_msg("%s: %s", methods[i]->name, err.msg);
        if (sac_job_start(j, &err)) fail_msg("%s", err.msg);
        sac_job_wait(j);
        struct sac_lane l;
        sac_trace_lane(sac_job_trace(j), lane, &l);
        if (l.state != SAC_LANE_DONE)
            fail_msg("%s ended in state %d: %s", methods[i]->name, (int)l.state, l.error);
        check_rows(sac_job_trace(j), lane, methods[i]->name, &sac_model_info(m)->shape, tok.n);
        lanes++;
        sac_job_free(j);
    }
    assert_int_equal(lanes, n_methods);
    sac_tokens_free(&tok);
    sac_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_method) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
