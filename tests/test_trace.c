/* The complete path on the bundled model: a real needle task through several lanes, and what must hold of the
 * record: rows sum to one, tiles equal rows, a budget that covers everything equals dense, a run twice gives
 * the same trace, decode equals prefill, stopping keeps results, forced keys are read. */
#include "model/model_int.h"
#include "model/session.h"
#include "trace/trace_int.h"
#include <math.h>
#include <saccade/job.h>
#include <saccade/trace.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MODEL SOURCE_DIR "/samples/models/saccade-sample-q8_0.gguf"
enum { LENGTH = 640, MAX_NEW = 80 };

struct fixture {
    struct sac_model *m;
    struct sac_sample s;
    struct sac_tokens tok;
    char *text;
    size_t at;
    struct sac_job *j;
    struct sac_trace *t;
};

static const char *const LANES[] = {
    "vertical_slash:vertical_size=48,slash_size=96,window=64", "snapkv:capacity=192,window=64",
    "quest:token_budget=128",          "streaming_llm", "oracle",
    "snapkv:capacity=100000",          "quest:token_budget=100000",
};
enum { VS = 1, SNAP, QUEST, STREAM, ORACLE, SNAP_ALL, QUEST_ALL, N_LANES };

static void check_err(enum sac_code rc, const struct sac_err *e)
{
    if (rc != SAC_OK) fail_msg("%s", e->msg);
}

static struct sac_job *run_job(struct fixture *f, const char *const *lane, int n)
{
    struct sac_err e = { 0 };
    struct sac_job_opts o = { .max_tokens = MAX_NEW, .seed = 7 };
    struct sac_job *j;
    check_err(sac_job_new(&j, f->m, f->text, &f->tok, &f->s, f->at, &o, &e), &e);
    for (int i = 0; i < n; i++)
        if (sac_job_add_lane(j, lane[i], &e) < 0) fail_msg("%s: %s", lane[i], e.msg);
    check_err(sac_job_start(j, &e), &e);
    sac_job_wait(j);
    return j;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sac_err e = { 0 };
    struct sac_model_opts o = { .threads = 2, .strict = true };
    check_err(sac_model_open(&f->m, MODEL, &o, &e), &e);
    check_err(sac_sample_make(&f->s, f->m, "niah", SAC_STYLE_AUTO, LENGTH, 43, 1, NULL, &e), &e);
    check_err(sac_chat_tokenize(f->m, NULL, f->s.prompt, &f->tok, &f->text, &f->at, &e), &e);
    f->j = run_job(f, LANES, N_LANES - 1);
    f->t = sac_job_trace(f->j);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sac_job_free(f->j);
    sac_tokens_free(&f->tok);
    free(f->text);
    sac_sample_free(&f->s);
    sac_model_close(f->m);
    free(f);
    return 0;
}

static void lanes_finish_and_dense_is_right(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sac_trace_n_lanes(f->t), N_LANES);
    for (int i = 0; i < N_LANES; i++) {
        struct sac_lane p;
        sac_trace_lane(f->t, i, &p);
        if (p.state != SAC_LANE_DONE) fail_msg("lane %d (%s): state %d, %s", i, p.spec, p.state, p.error);
        assert_true(p.n_steps > 0);
    }
    struct sac_lane dense;
    sac_trace_lane(f->t, 0, &dense);
    assert_string_equal(dense.answer, f->s.gold);
    assert_true(dense.score == 1.0);
    assert_true(dense.nll_gold >= 0 && dense.nll_gold < 0.5);
}

static void rows_sum_to_one(void **state)
{
    struct fixture *f = *state;
    for (int lane = 0; lane < N_LANES; lane++)
        for (int layer = 0; layer < 10; layer += 3) {
            int n = sac_trace_n_rows(f->t, lane, layer);
            assert_true(n > f->tok.n);
            float *w = malloc((size_t)n * sizeof *w);
            for (int row = 0; row < n; row += 37) {
                double sum = 0;
                assert_true(sac_trace_weights(f->t, lane, layer, (row + layer) % 8, row, w));
                for (int i = 0; i <= row; i++) sum += (double)w[i];
                assert_true(fabs(sum - 1) < 1e-5);   /* n terms of f32 rounding */
            }
            free(w);
        }
}

/* Pool a window by hand from whole rows, and compare with the tile. */
static void tiles_equal_rows(void **state)
{
    struct fixture *f = *state;
    struct {
        int q0, q1, k0, k1, w, h;
    } win[] = { { 0, LENGTH, 0, LENGTH, 32, 32 },
                { 100, 133, 20, 91, 71, 33 },
                { 300, 340, 280, 330, 120, 7 },
                { 420, 430, 400, 431, 40, 25 },
                { 600, 650, 0, 650, 50, 10 } };
    for (size_t i = 0; i < sizeof win / sizeof *win; i++)
        for (int pool = 0; pool < SAC_N_POOLS; pool++) {
            float value[32 * 71 + 120 * 33], kept[32 * 71 + 120 * 33];
            struct sac_tile tile = { .lane = VS, .layer = 4, .head = 3, .q0 = win[i].q0, .q1 = win[i].q1,
                                     .k0 = win[i].k0, .k1 = win[i].k1, .w = win[i].w, .h = win[i].h,
                                     .pool = (enum sac_pooling)pool, .value = value, .kept = kept };
            struct sac_err e = { 0 };
            check_err(sac_trace_tile(f->t, &tile, NULL, &e), &e);
            int rows = tile.q1 - tile.q0, keys = tile.k1 - tile.k0;
            float *w = malloc((size_t)tile.q1 * sizeof *w);
            for (int y = 0; y < tile.h; y++)
                for (int x = 0; x < tile.w; x++) {
                    int q0 = y * rows / tile.h, q1 = (y + 1) * rows / tile.h;
                    int k0 = x * keys / tile.w, k1 = (x + 1) * keys / tile.w, n = 0;
                    double max = 0, sum = 0;
                    if (q1 == q0) q1++;
                    if (k1 == k0) k1++;
                    for (int q = tile.q0 + q0; q < tile.q0 + q1; q++) {
                        sac_trace_weights(f->t, VS, 4, 3, q, w);
                        for (int k = tile.k0 + k0; k < tile.k0 + k1 && k <= q; k++, n++) {
                            sum += (double)w[k];
                            if ((double)w[k] > max) max = (double)w[k];
                        }
                    }
                    double want = pool == SAC_POOL_MAX    ? max
                                  : pool == SAC_POOL_MASS ? sum / (q1 - q0)
                                                          : sum / n;
                    double got = (double)value[y * tile.w + x];
                    if (n == 0) assert_true(isnan(got));
                    else if (!(fabs(got - want) <= 1e-6 + 2e-5 * want))
                        fail_msg("pool %d pixel %d,%d: %g, by hand %g", pool, x, y, got, want);
                }
            free(w);
        }
}

/* The same by hand for what a method reads: kept and missed shares, weights over the keys read alone, sinks
 * hidden or taken out of the sum, rows of the answer. */
static void tiles_show_what_is_read(void **state)
{
    struct fixture *f = *state;
    static const struct { int lane, q0, q1, k0, k1, w, h; } win[] = {
        { VS, 0, LENGTH, 0, LENGTH, 40, 30 }, { VS, 500, 560, 2, 411, 60, 20 }, { 0, 200, 300, 0, 300, 50, 50 },
        { QUEST, LENGTH - 100, LENGTH + 4, 0, LENGTH + 4, 37, 11 }, { VS, LENGTH - 9, LENGTH + 3, 0, 7, 9, 15 } };
    for (int i = 0; i < 5 * 3 * 2 + 3; i++) {   /* windows, sinks, dense and sparse; a layer that slides */
        float value[2500], kept[2500], missed[2500];
        int at = i % 5, layer = i < 30 ? 4 : 2;
        bool exact_lse = f->t->f32_lse;
        if (i >= 30) f->t->f32_lse = false, f->t->window[layer] = 150;   /* what was recorded did not slide */
        struct sac_tile tile = { .lane = win[at].lane, .layer = layer, .head = 5, .q0 = win[at].q0,
                                 .q1 = win[at].q1, .k0 = win[at].k0, .k1 = win[at].k1, .w = win[at].w,
                                 .h = win[at].h, .pool = SAC_POOL_MASS, .sparse = i >= 15 && i < 30,
                                 .sinks = (enum sac_sinks)(i / 5 % 3), .value = value, .kept = kept, .missed = missed };
        struct sac_err e = { 0 };
        check_err(sac_trace_tile(f->t, &tile, NULL, &e), &e);
        int rows = tile.q1 - tile.q0, keys = tile.k1 - tile.k0;
        float *w = malloc(((size_t)tile.q1 + 1) * sizeof *w);
        struct sac_run *run = malloc(((size_t)tile.q1 + 2) * sizeof *run);
        for (int y = 0; y < tile.h; y++)
            for (int x = 0; x < tile.w; x++) {
                int q0 = y * rows / tile.h, q1 = (y + 1) * rows / tile.h, n = 0, read = 0;
                int k0 = x * keys / tile.w, k1 = (x + 1) * keys / tile.w;
                double sum = 0, lost = 0;
                if (q1 == q0) q1++;
                if (k1 == k0) k1++;
                for (int q = tile.q0 + q0; q < tile.q0 + q1; q++) {
                    struct sac_rows r = { run, 0, tile.q1 + 2 };
                    sac_trace_weights(f->t, tile.lane, layer, 5, q, w);
                    sac_trace_rows(f->t, tile.lane, layer, 5, q, &r);
                    double mass = 0, sink = 0;
                    for (int k = 0; k <= q; k++) {
                        bool has = sac_rows_has(&r, k);
                        if (tile.sparse && !has) w[k] = 0;
                        mass += (double)w[k];
                        if (k < 4) sink += (double)w[k];
                    }
                    double scale = tile.sparse ? 1 / mass : 1;
                    if (tile.sinks == SAC_SINKS_RENORM) scale /= 1 - sink * scale;
                    for (int k = tile.k0 + k0; k < tile.k0 + k1 && k <= q; k++) {
                        bool has = sac_rows_has(&r, k);
                        if (tile.sinks != SAC_SINKS_SHOW && k < 4) continue;
                        n++;
                        read += has;
                        sum += (double)w[k] * scale;
                        if (!has) lost += (double)w[k] * scale;
                    }
                }
                int px = y * tile.w + x;
                if (n == 0) {
                    assert_true(isnan(value[px]) && isnan(kept[px]) && isnan(missed[px]));
                    continue;
                }
                /* Where the sinks have nearly all, what is left is a difference of near numbers. */
                double tol = tile.sinks == SAC_SINKS_RENORM ? 2e-3 : 2e-5;
                sum /= q1 - q0;
                lost /= q1 - q0;
                if (!(fabs((double)value[px] - sum) <= 1e-6 + tol * sum) ||
                    !(fabs((double)missed[px] - lost) <= 1e-6 + tol * lost) ||
                    !(fabs((double)kept[px] - (double)read / n) <= 1e-6))
                    fail_msg("case %d pixel %d,%d: %g %g %g, by hand %g %g %g", i, x, y, (double)value[px],
                             (double)missed[px], (double)kept[px], sum, lost, (double)read / n);
            }
        free(w);
        free(run);
        f->t->window[layer] = 0;
        f->t->f32_lse = exact_lse;
    }
}

/* Overviews are tiles of the whole prompt: exactly those under strict arithmetic, near them in bf16. */
static void overviews_equal_tiles(void **state)
{
    struct fixture *f = *state;
    int n = f->tok.n, grid;
    float *value = malloc(256 * 256 * sizeof *value);
    for (int i = 0; i < 6; i++) {
        static const int lane[] = { 0, VS, SNAP };
        int layer = 3 + i / 3, at = lane[i % 3], head = 2 + i;
        const float *pool[2];
        bool strict = f->t->strict;
        if (i >= 3) f->t->strict = false;
        assert_true(overview_make(f->t, at, layer, NULL));
        f->t->strict = strict;
        assert_true(sac_trace_overview(f->t, at, layer, head, &grid, &pool[0], &pool[1]));
        assert_int_equal(grid, n < 256 ? n : 256);
        for (int k = 0; k < 2; k++) {
            struct sac_tile tile = { .lane = at, .layer = layer, .head = head, .q1 = n, .k1 = n, .w = grid,
                                     .h = grid, .pool = k ? SAC_POOL_MASS : SAC_POOL_MAX, .sparse = at == VS,
                                     .value = value };
            struct sac_err e = { 0 };
            check_err(sac_trace_tile(f->t, &tile, NULL, &e), &e);
            double tol = i < 3 ? 2e-5 : 6e-2;
            for (int p = 0; p < grid * grid; p++) {
                double got = (double)pool[k][p], want = isnan(value[p]) ? 0 : (double)value[p];
                if (!(fabs(got - want) <= 1e-6 + tol * want + (i < 3 ? 0 : 1e-4)))
                    fail_msg("lane %d layer %d pool %d cell %d: %g, tile %g", at, layer, k, p, got, want);
            }
        }
    }
    /* SnapKV took over the dense prefill: the same overviews, made once. */
    assert_null(atomic_load(&f->t->lane[SNAP]->layer[3].overview));
    free(value);
}

static bool same_tokens(const struct sac_trace *t, int a, const struct sac_trace *u, int b)
{
    const struct lane_rec *x = trace_lane_rec(t, a), *y = trace_lane_rec(u, b);
    int n = atomic_load(&x->n_tokens);
    return n == atomic_load(&y->n_tokens) && !memcmp(x->token, y->token, (size_t)n * sizeof *x->token);
}

static void covering_budget_equals_dense(void **state)
{
    struct fixture *f = *state;
    static const int lanes[] = { SNAP_ALL, QUEST_ALL };
    for (int i = 0; i < 2; i++) {
        struct sac_lane p;
        sac_trace_lane(f->t, lanes[i], &p);
        assert_true(same_tokens(f->t, 0, f->t, lanes[i]));
        assert_int_equal(p.first_diff, -1);
        assert_true(p.kl < 1e-6);
        assert_true(p.top1 == 1.0 && p.top1_free == 1.0 && p.kl_free < 1e-6);
        assert_true(p.recall_decode.mass == 1.0);
        assert_true(fabs(p.decode.kernel - 1) < 1e-12);
    }
}

/* Mass recall is exp(lse over the kept keys - lse over all), by the definition of softmax; set recall and the
 * oracle against a plain sort. */
static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static void measures_equal_their_definition(void **state)
{
    struct fixture *f = *state;
    for (int lane = VS; lane <= ORACLE; lane++)
        for (int trial = 0; trial < 12; trial++) {
            int layer = trial % 10, head = (trial * 3) % 8, n = sac_trace_n_rows(f->t, lane, layer);
            int row = lane == VS ? 200 + trial * 30 : n - 1 - trial * 2;
            if (lane == VS && trial == 11) row = 40;
            float *w = malloc((size_t)n * sizeof *w), *sorted = malloc((size_t)n * sizeof *w);
            struct sac_run *run = malloc((size_t)n * sizeof *run);
            struct sac_rows rows = { run, 0, n };
            struct sac_recall r;
            assert_true(sac_trace_rows(f->t, lane, layer, head, row, &rows));
            assert_true(sac_rows_valid(&rows, row + 1));
            assert_true(sac_trace_weights(f->t, lane, layer, head, row, w));
            assert_true(sac_trace_row_recall(f->t, lane, layer, head, row, &r));
            memcpy(sorted, w, (size_t)(row + 1) * sizeof *w);
            qsort(sorted, (size_t)row + 1, sizeof *sorted, descending);
            int m = sac_rows_count(&rows), hits = 0;
            double mass = 0, oracle = 0, entropy = 0, cum = 0, need = 0, between = 0, found = 0;
            for (int i = 0; i <= row; i++) {
                if (i >= 4 && i <= row - 64) {
                    between += (double)w[i];
                    if (sac_rows_has(&rows, i)) found += (double)w[i];
                }
                if (sac_rows_has(&rows, i)) mass += (double)w[i], hits += w[i] >= sorted[m - 1];
                if (i < m) oracle += (double)sorted[i];
                if (w[i] > 0) entropy -= (double)w[i] * log2((double)w[i]);
                if (cum < 0.9) need++;
                cum += (double)sorted[i];
            }
            assert_true(fabs(r.mass - mass) < 1e-5 && fabs(r.oracle - oracle) < 1e-5);
            assert_true(r.mass <= r.oracle + 1e-6);
            if (row < 68) assert_true(isnan(r.sink_adjusted));
            else assert_true(fabs(r.sink_adjusted * between - found) < 1e-5);
            assert_true(fabs(r.set - (double)hits / m) <= 2.0 / m); /* ties at the cut may fall either way */
            assert_true(fabs(r.entropy - entropy) < 1e-3);
            assert_true(fabs(r.need90 - need) <= 1);
            assert_true((int)r.kept == m);
            free(w);
            free(sorted);
            free(run);
        }
}

static void oracle_is_the_best_of_its_size(void **state)
{
    struct fixture *f = *state;
    struct sac_lane p;
    sac_trace_lane(f->t, ORACLE, &p);
    double regret = p.recall.oracle - p.recall.mass;
    assert_true(p.recall.n_rows > 0);
    assert_true(regret < 1e-4 && p.recall.set > 0.999);
}

static void a_run_twice_gives_the_same_trace(void **state)
{
    struct fixture *f = *state;
    struct sac_job *again = run_job(f, LANES, QUEST);
    struct sac_trace *u = sac_job_trace(again);
    for (int lane = 0; lane <= QUEST; lane++) {
        assert_true(same_tokens(f->t, lane, u, lane));
        for (int layer = 0; layer < 10; layer++)
            for (int head = 0; head < 8; head++)
                for (int row = 50; row < sac_trace_n_rows(f->t, lane, layer); row += 61) {
                    struct sac_run a[LENGTH], b[LENGTH];
                    struct sac_rows x = { a, 0, LENGTH }, y = { b, 0, LENGTH };
                    assert_true(sac_trace_rows(f->t, lane, layer, head, row, &x));
                    assert_true(sac_trace_rows(u, lane, layer, head, row, &y));
                    assert_int_equal(x.n, y.n);
                    assert_memory_equal(a, b, (size_t)x.n * sizeof *a);
                }
    }
    sac_job_free(again);
}

/* Prefill of prompt + answer against prefill of the prompt and decode of the answer: the same logits. The
 * sums run in another order, so they agree to f32 rounding through ten layers, not bit by bit. */
static void decode_equals_prefill(void **state)
{
    struct fixture *f = *state;
    struct sac_err e = { 0 };
    const struct lane_rec *dense = trace_lane_rec(f->t, 0);
    int n = f->tok.n, more = 12, v = sac_model_info(f->m)->shape.n_vocab;
    int *ids = malloc((size_t)(n + more) * sizeof *ids);
    memcpy(ids, f->tok.id, (size_t)n * sizeof *ids);
    memcpy(ids + n, dense->token, (size_t)more * sizeof *ids);
    struct session *a = session_new(f->m, n + more, SAC_KV_F32, &e),
                   *b = session_new(f->m, n + more, SAC_KV_F32, &e);
    struct prefill_args whole = { .ids = ids, .n = n + more }, part = { .ids = ids, .n = n };
    check_err(session_prefill(a, &whole, &e), &e);
    check_err(session_prefill(b, &part, &e), &e);
    for (int i = 0; i < more; i++) check_err(session_decode(b, ids[n + i], NULL, &e), &e);
    double num = 0, den = 0;
    for (int i = 0; i < v; i++) {
        double d = (double)session_logits(a)[i] - (double)session_logits(b)[i];
        num += d * d;
        den += (double)session_logits(a)[i] * (double)session_logits(a)[i];
    }
    assert_true(sqrt(num / den) < 1e-4);
    session_free(a);
    session_free(b);
    free(ids);
}

static void eviction_frees_memory(void **state)
{
    struct fixture *f = *state;
    struct sac_lane dense, snap;
    sac_trace_lane(f->t, 0, &dense);
    sac_trace_lane(f->t, SNAP, &snap);
    assert_true(snap.kv_bytes < dense.kv_bytes / 2);
    for (int layer = 0; layer < 10; layer++)
        for (int g = 0; g < 2; g++) assert_int_equal(sac_trace_kept(f->t, SNAP, layer, g), 192);
}

/* Not only the cache that decodes is smaller: the prefill's is gone while it does. Without a recording, and
 * with one, from which a later lane gets the prefill back as it was. */
struct decoding { struct sac_trace *t; int lane; size_t most; };

static void note_reserved(void *ctx)
{
    struct decoding *d = ctx;
    if (!d->t || d->lane >= sac_trace_n_lanes(d->t)) return;
    const struct sac_lane *now = &d->t->lane[d->lane]->pub;     /* read in the thread that writes it */
    size_t bytes = session_kv_reserved();
    if (now->state == SAC_LANE_DECODE && now->n_steps > 1 && bytes > d->most) d->most = bytes;
}

/* A recording in a mapped file is the same recording. */
static void a_recording_may_lie_in_a_file(void **state)
{
    struct fixture *f = *state;
    struct sac_job_opts o = { .max_tokens = MAX_NEW, .seed = 7, .spill = true };
    struct sac_err e = { 0 };
    struct sac_job *j;
    check_err(sac_job_new(&j, f->m, f->text, &f->tok, &f->s, f->at, &o, &e), &e);
    if (sac_job_add_lane(j, LANES[VS - 1], &e) < 0) fail_msg("%s", e.msg);
    check_err(sac_job_start(j, &e), &e);
    sac_job_wait(j);
    const struct sac_trace *t = sac_job_trace(j);
    size_t n = (size_t)f->tok.n * 64 * sizeof(float);
    for (int lane = 0; lane < 2; lane++)
        for (int layer = 0; layer < 10; layer++) {
            const struct layer_rec *a = trace_layer(f->t, lane, layer), *b = trace_layer(t, lane, layer);
            assert_memory_equal(a->q->data, b->q->data, 8 * n);
            assert_memory_equal(a->k->data, b->k->data, 2 * n);
            assert_memory_equal(a->v->data, b->v->data, 2 * n);
            assert_memory_equal(a->lse->data, b->lse->data, 8 * (size_t)f->tok.n * sizeof(float));
        }
    assert_true(same_tokens(t, VS, f->t, VS));
    sac_job_free(j);
}

static void eviction_frees_the_prefill(void **state)
{
    struct fixture *f = *state;
    size_t before = session_kv_reserved(), token = sac_model_info(f->m)->kv_bytes_per_token;
    for (int record = 0; record < 2; record++) {
        struct decoding d = { NULL, 0, 0 };
        struct sac_job_opts o = { .max_tokens = MAX_NEW, .seed = 7, .no_reference = true, .no_kl = true,
                                  .no_trace = !record, .notify = note_reserved, .notify_ctx = &d };
        struct sac_err e = { 0 };
        struct sac_job *j;
        struct sac_lane first, again;
        check_err(sac_job_new(&j, f->m, f->text, &f->tok, &f->s, f->at, &o, &e), &e);
        assert_int_equal(sac_job_add_lane(j, LANES[SNAP - 1], &e), 0);
        d.t = sac_job_trace(j);
        check_err(sac_job_start(j, &e), &e);
        sac_job_wait(j);
        sac_trace_lane(d.t, 0, &first);
        assert_int_equal(first.state, SAC_LANE_DONE);
        size_t room = (size_t)(192 + MAX_NEW) * token + (40 * 64);     /* heads end on lines */
        if (d.most <= before || d.most - before > room)
            fail_msg("%zu bytes of keys and values while decoding, %zu are needed", d.most - before, room);
        assert_true(session_kv_reserved() == before);
        d.lane = 1;
        assert_int_equal(sac_job_add_lane(j, LANES[SNAP - 1], &e), 1);
        sac_job_wait(j);
        sac_trace_lane(d.t, 1, &again);
        assert_int_equal(again.state, SAC_LANE_DONE);
        assert_true(same_tokens(d.t, 0, d.t, 1));
        assert_int_equal(again.shared_prefill, record);
        sac_job_free(j);
    }
}

/* Overlap and errors at their ends: dense reads the same everywhere and changes nothing; streaming_llm reads
 * the same keys in every head and layer; a selection that drops mass changes the output. */
static void overlap_and_errors_at_their_ends(void **state)
{
    struct fixture *f = *state;
    struct sac_overlap dense = sac_trace_overlap(f->t, 0, true),
                       stream = sac_trace_overlap(f->t, STREAM, true),
                       quest = sac_trace_overlap(f->t, QUEST, true);
    assert_true(dense.group == 1 && dense.layers == 1 && dense.steps > 0.99 && dense.steps < 1);
    assert_true(stream.group == 1 && stream.layers == 1);
    assert_true(quest.group == 1 && quest.layers < 1 && quest.layers > 0); /* pages are shared in the group */
    for (int layer = 0; layer < 10; layer++) {
        assert_true(sac_trace_layer_error(f->t, 0, layer, true) == 0);
        double e = sac_trace_layer_error(f->t, QUEST, layer, true);
        assert_true(e > 0 && e < 2);
        assert_true(sac_trace_layer_error(f->t, QUEST, layer, false) == 0);   /* its prefill is dense */
    }
}

static void forced_keys_are_read(void **state)
{
    struct fixture *f = *state;
    struct sac_err e = { 0 };
    struct sac_span span = { 40, 48 };
    int lane = sac_job_force(f->j, SNAP, span, 3, 1, &e);
    assert_true(lane > 0);
    sac_job_wait(f->j);
    struct sac_lane p;
    sac_trace_lane(f->t, lane, &p);
    assert_int_equal(p.state, SAC_LANE_DONE);
    assert_true(p.intervention);
    struct sac_run run[LENGTH];
    struct sac_rows rows = { run, 0, LENGTH };
    assert_true(sac_trace_rows(f->t, lane, 3, 4, f->tok.n, &rows));
    for (int k = span.lo; k < span.hi; k++) assert_true(sac_rows_has(&rows, k));
}

static void stopping_keeps_what_exists(void **state)
{
    struct fixture *f = *state;
    struct sac_err e = { 0 };
    struct sac_job_opts o = { .max_tokens = MAX_NEW };
    struct sac_job *j;
    check_err(sac_job_new(&j, f->m, f->text, &f->tok, &f->s, f->at, &o, &e), &e);
    for (int i = 0; i < 5; i++) assert_true(sac_job_add_lane(j, LANES[VS - 1], &e) > 0);
    check_err(sac_job_start(j, &e), &e);
    struct sac_lane p;
    do {
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
        sac_trace_lane(sac_job_trace(j), 0, &p);
    } while (p.n_steps < 2 && p.state != SAC_LANE_DONE);
    sac_job_stop(j);
    sac_job_wait(j);
    sac_trace_lane(sac_job_trace(j), 0, &p);
    assert_true(p.n_steps >= 2 && p.answer[0]);
    sac_trace_lane(sac_job_trace(j), 5, &p);
    assert_int_equal(p.state, SAC_LANE_STOPPED);
    assert_true(sac_job_add_lane(j, LANES[SNAP - 1], &e) > 0);    /* and the job still takes work */
    sac_job_wait(j);
    sac_trace_lane(sac_job_trace(j), 6, &p);
    assert_int_equal(p.state, SAC_LANE_DONE);
    sac_job_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_finish_and_dense_is_right),
        cmocka_unit_test(rows_sum_to_one),
        cmocka_unit_test(tiles_equal_rows), cmocka_unit_test(tiles_show_what_is_read), cmocka_unit_test(overviews_equal_tiles),
        cmocka_unit_test(covering_budget_equals_dense),
        cmocka_unit_test(measures_equal_their_definition),
        cmocka_unit_test(oracle_is_the_best_of_its_size),
        cmocka_unit_test(a_run_twice_gives_the_same_trace),
        cmocka_unit_test(decode_equals_prefill),
        cmocka_unit_test(eviction_frees_memory),
        cmocka_unit_test(eviction_frees_the_prefill),
        cmocka_unit_test(a_recording_may_lie_in_a_file),
        cmocka_unit_test(overlap_and_errors_at_their_ends),
        cmocka_unit_test(forced_keys_are_read),
        cmocka_unit_test(stopping_keeps_what_exists),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
