/* Recorded runs: what is written comes back, damage is refused with its place, a cut file opens as far as it
 * is whole. The trace is made by hand: two layers, two lanes, a plan, an eviction, generated rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels.h"
#include "slurp.h"
#include "trace/trace_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LAYERS = 2, HEADS = 4, KV = 2, DIM = 8, N = 40, NEW = 3 };

static float noise(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return (float)(int32_t)*s * 0x1p-30f;
}

static struct blob *noise_blob(size_t n, uint32_t seed)
{
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) v[i] = noise(&seed);
    struct blob *b = blob_take(v, n * sizeof *v);
    assert_non_null(b);
    return b;
}

static struct plans *some_plans(void)
{
    struct plans *p = calloc(1, sizeof *p + HEADS * sizeof p->plan[0]);
    assert_non_null(p);
    atomic_init(&p->refs, 1);
    p->n = HEADS;
    for (int h = 0; h < HEADS; h++) {
        assert_true(sac_plan_init(&p->plan[h], 16, N));
        for (int t = 0; t < 3; t++) {
            sac_plan_add(&p->plan[h], 0, 2 + h);
            sac_plan_add(&p->plan[h], t * 16 + 8, t * 16 + 16);
            sac_plan_next(&p->plan[h]);
        }
        p->plan[h].pattern_cells = 100 + h;
    }
    return p;
}

static void fill_layer(struct layer_rec *r, const struct layer_rec *share, int layer, bool sparse)
{
    uint32_t seed = 7u + (uint32_t)layer;
    if (share) {
        r->q = blob_share(share->q);
        r->k = blob_share(share->k);
        r->v = blob_share(share->v);
    } else {
        r->q = noise_blob((size_t)HEADS * N * DIM, seed);
        r->k = noise_blob((size_t)KV * N * DIM, seed + 100);
        r->v = noise_blob((size_t)KV * N * DIM, seed + 200);
    }
    if (sparse && layer == 0) {
        r->kept = calloc(KV, sizeof *r->kept);
        r->kept_n = calloc(KV, sizeof *r->kept_n);
        for (int g = 0; g < KV; g++) {
            r->kept_n[g] = 5 + g;
            r->kept[g] = malloc(8 * sizeof **r->kept);
            for (int i = 0; i < r->kept_n[g]; i++) r->kept[g][i] = i * 7;
        }
    }
    for (int i = 0; i < NEW * HEADS * DIM; i++) r->q_dec[i] = noise(&seed);
    for (int i = 0; i < NEW * KV * DIM; i++) r->k_dec[i] = noise(&seed), r->v_dec[i] = noise(&seed);
    if (sparse && layer == 1) {
        struct step_rows *s = r->steps[1] = calloc(1, sizeof *s);
        s->n_units = KV;
        s->at = calloc(KV + 1, sizeof *s->at);
        s->run = malloc(3 * sizeof *s->run);
        s->run[0] = (struct sac_run){ 0, 4 };
        s->run[1] = (struct sac_run){ 30, N + 2 };
        s->run[2] = (struct sac_run){ 5, 6 };
        s->at[1] = 2;
        s->at[2] = 3;
    }
    for (int p = 0; p < 2; p++) {
        r->recall[p] = calloc(HEADS, sizeof *r->recall[p]);
        r->density[p] = calloc(HEADS, sizeof *r->density[p]);
        for (int h = 0; h < HEADS; h++) {
            r->recall[p][h] =
                (struct sac_recall){ .mass = 0.5 + 0.1 * h, .set = (double)NAN, .n_rows = 3 + h };
            r->density[p][h] = (struct sac_density){ 0.1, 0.2, 0.3, (double)NAN };
        }
    }
    atomic_store(&r->measured, true);
    atomic_store(&r->n_dec, NEW);
    atomic_store(&r->ready, true);
}

static struct sac_trace *make_trace(void)
{
    static const char text[] = "a prompt of forty tokens, one byte each.";
    struct sac_span span[N], gold = { 5, 8 };
    int ids[N], item = 2;
    struct sac_trace_info info = { .shape = { LAYERS, HEADS, KV, DIM, 32, 64, 100, 4096 },
                                   .model = "m\xc3\xbc",
                                   .arch = "qwen3",
                                   .file_type = "F32",
                                   .model_hash = 0xfedcba9876543210u,
                                   .prompt_hash = 1,
                                   .n_prompt = N,
                                   .text = text,
                                   .text_len = N,
                                   .task = "niah",
                                   .gold = "gold",
                                   .length = 64,
                                   .sample = 3,
                                   .seed = 0x8000000000000001u,
                                   .n_spans = 1,
                                   .span = &gold,
                                   .span_item = &item,
                                   .threads = 2 };
    k_cpu_init(-1);
    for (int i = 0; i < N; i++) ids[i] = 90 - i, span[i] = (struct sac_span){ i, i + 1 };
    struct sac_trace *t = trace_new(&info, ids, span);
    assert_non_null(t);
    t->window[1] = 30;
    t->scale[1] = 0.25;
    static const char *const spec_text[] = { "dense", "streaming_llm:sink=2,window=8",
                                             "streaming_llm:sink=4,window=8" };
    for (int i = 0; i < 3; i++) {
        struct sac_spec spec;
        struct sac_err err = { 0 };
        assert_int_equal(sac_spec_parse(&spec, spec_text[i], &err), SAC_OK);
        assert_int_equal(sac_spec_resolve(&spec, &info.shape, N, &err), SAC_OK);
        assert_int_equal(trace_add_lane(t, &spec, NEW, true), i);
        struct lane_rec *l = t->lane[i];
        for (int k = 0; k < LAYERS; k++) {
            fill_layer(&l->layer[k], i == 1 ? &t->lane[0]->layer[k] : NULL, i == 2 ? k + 10 : k, i == 1);
            if (i == 2) l->layer[k].plans = some_plans();
        }
        for (int k = 0; k < NEW; k++) {
            l->token[k] = 10 + k;
            l->step_kl[k] = k ? 0.25f : NAN;
            for (int c = 0; c < TRACE_TOP; c++)
                l->next_id[k * TRACE_TOP + c] = c, l->next_p[k * TRACE_TOP + c] = 0.5f / (float)(c + 1);
        }
        atomic_store(&l->n_tokens, NEW);
        struct sac_lane *p = trace_lane_edit(t, i);
        p->state = SAC_LANE_DONE;
        p->n_steps = NEW;
        p->score = i ? 0.5 : (double)NAN;
        p->kv_bytes = (size_t)5 << 33;
        snprintf(p->answer, sizeof p->answer, "an answer \"%d\"\n\xff cut", i);
        trace_lane_done(t);
    }
    return t;
}

static char *temp_path(const char *name)
{
    static char path[300];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/saccade-test-%ld-%s", tmp && *tmp ? tmp : "/tmp", (long)getpid(), name);
    return path;
}

/* Weights, rows and facts of two traces; weights to `tol`. */
static void compare(const struct sac_trace *a, const struct sac_trace *b, float tol)
{
    float wa[N + NEW], wb[N + NEW];
    struct sac_run ra[64], rb[64];
    for (int lane = 0; lane < 3; lane++)
        for (int layer = 0; layer < LAYERS; layer++) {
            assert_int_equal(sac_trace_n_rows(a, lane, layer), sac_trace_n_rows(b, lane, layer));
            for (int h = 0; h < HEADS; h++)
                for (int row = 0; row < N + NEW; row++) {
                    struct sac_rows x = { ra, 0, 64 }, y = { rb, 0, 64 };
                    assert_true(sac_trace_rows(a, lane, layer, h, row, &x));
                    assert_true(sac_trace_rows(b, lane, layer, h, row, &y));
                    assert_int_equal(x.n, y.n);
                    assert_memory_equal(ra, rb, (size_t)x.n * sizeof *ra);
                    assert_true(sac_trace_weights(a, lane, layer, h, row, wa));
                    assert_true(sac_trace_weights(b, lane, layer, h, row, wb));
                    for (int i = 0; i <= row; i++) assert_true(fabsf(wa[i] - wb[i]) <= tol * (wa[i] + 1e-6f));
                }
        }
}

static void write_to(const char *path, struct sac_trace_save o)
{
    struct sac_trace *t = make_trace();
    struct sac_err err = { 0 };
    o.force = true;
    assert_int_equal(sac_trace_write(t, path, &o, &err), SAC_OK);
    sac_trace_release(t);
}

/* Scores are sums of 8 products of values up to 2, each off by 2^-11 relative on both sides: at most
 * 8 * 4 * 2 * 2^-11 * scale 0.354 = 0.011; twice that in the exponent of a weight and its sum. */
static void test_round_trip(void **state)
{
    static const struct { struct sac_trace_save o; float tol;
    } row[] = { { { .exact = true }, 0 },
                { { .level = 0 }, 0.023f },
                { { .exact = true, .no_values = true, .level = 12 }, 0 } };
    (void)state;
    for (int i = 0; i < 3; i++) {
        char *path = temp_path("round.trace");
        write_to(path, row[i].o);
        struct sac_trace *a = make_trace(), *b;
        struct sac_err err = { 0 };
        assert_true(sac_trace_is_file(path));
        assert_int_equal(sac_trace_open(&b, path, &err), SAC_OK);
        compare(a, b, row[i].tol);
        struct sac_trace_info ib;
        sac_trace_info(b, &ib);
        assert_true(ib.recorded);
        assert_string_equal(ib.model, "m\xc3\xbc");
        assert_true(ib.model_hash == 0xfedcba9876543210u && ib.seed == 0x8000000000000001u);
        assert_int_equal(ib.n_spans, 1);
        assert_int_equal(ib.span[0].hi, 8);
        struct sac_lane la, lb;
        for (int l = 0; l < 3; l++) {
            sac_trace_lane(a, l, &la);
            sac_trace_lane(b, l, &lb);
            assert_string_equal(la.answer, lb.answer);
            assert_string_equal(la.params, lb.params);
            assert_true(la.kv_bytes == lb.kv_bytes && isnan(la.score) == isnan(lb.score));
            for (int p = 0; p <= N; p += 4)
                assert_int_equal(sac_trace_forced(a, l, N, p), sac_trace_forced(b, l, N, p));
            struct sac_recall ra, rb;
            assert_true(sac_trace_recall(a, l, 1, 2, true, &ra) && sac_trace_recall(b, l, 1, 2, true, &rb));
            assert_true(ra.mass == rb.mass && isnan(rb.set) && ra.n_rows == rb.n_rows);
            int id[5];
            float p[5];
            assert_int_equal(sac_trace_next(b, l, 2, id, p), 5);
            assert_true(p[4] == 0.1f && isnan(sac_trace_step_kl(b, l, 0)) &&
                        sac_trace_step_kl(b, l, 1) == 0.25);
        }
        float *q, *k, *v;
        int n;
        assert_int_equal(sac_trace_qkv(b, 0, 1, &q, &k, &v, &n), !row[i].o.no_values);
        if (q) assert_int_equal(n, N + NEW);
        free(q), free(k), free(v);
        sac_trace_release(a);
        sac_trace_release(b);
        unlink(path);
    }
}

/* The same bytes twice, and arrays that lanes share only once. */
static void test_shared_once(void **state)
{
    struct sac_trace_report r;
    (void)state;
    char *path = temp_path("shared.trace");
    write_to(path, (struct sac_trace_save){ .exact = true });
    assert_int_equal(sac_trace_check(path, &r, NULL), SAC_OK);
    assert_false(r.cut);
    for (int i = 0; i < r.n_kinds; i++) {
        if (!strcmp(r.kind[i].name, "Q   ")) assert_int_equal(r.kind[i].n, 2 * LAYERS); /* lanes 0 and 2 */
        if (!strcmp(r.kind[i].name, "SAME")) assert_int_equal(r.kind[i].n, LAYERS);
    }
    unlink(path);
}

/* Unpacked into a file of its own when memory is short: the same weights. */
static void test_paged(void **state)
{
    (void)state;
    char *path = temp_path("paged.trace");
    write_to(path, (struct sac_trace_save){ .exact = true });
    setenv("SACCADE_TRACE_SPILL", "1", 1);
    struct sac_trace *a = make_trace(), *b;
    assert_int_equal(sac_trace_open(&b, path, NULL), SAC_OK);
    unsetenv("SACCADE_TRACE_SPILL");
    compare(a, b, 0);
    sac_trace_release(a);
    sac_trace_release(b);
    unlink(path);
}

static void spit(const char *path, const unsigned char *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Ask a trace for everything; nothing of it may crash. */
static void read_all(const struct sac_trace *t)
{
    float w[N + NEW];
    for (int lane = 0; lane < sac_trace_n_lanes(t); lane++)
        for (int layer = 0; layer < LAYERS; layer++) {
            struct sac_recall r;
            sac_trace_recall(t, lane, layer, 0, false, &r);
            if (sac_trace_n_rows(t, lane, layer) > 0) sac_trace_weights(t, lane, layer, 3, N - 1, w);
        }
}

static void test_cut_files(void **state)
{
    size_t n, opened = 0;
    (void)state;
    char *path = temp_path("cut.trace");
    write_to(path, (struct sac_trace_save){ .exact = true });
    unsigned char *all = (unsigned char *)slurp(path, &n);
    assert_non_null(all);
    for (size_t len = 0; len < n; len += len < 3000 ? 37 : 211) {
        struct sac_trace *t;
        struct sac_trace_report r;
        struct sac_err err = { 0 };
        spit(path, all, len);
        if (sac_trace_open(&t, path, &err) == SAC_OK) {
            struct sac_trace_info info;
            opened++;
            read_all(t);
            sac_trace_info(t, &info);
            assert_true(info.recorded && info.cut);      /* what shows it can say that parts are missing */
            sac_trace_release(t);
            assert_int_equal(sac_trace_check(path, &r, NULL), SAC_OK);
            assert_true(r.cut && r.good_bytes <= len);
        } else assert_true(err.code == SAC_EFORMAT && strlen(err.msg) > 20);
    }
    assert_true(opened > 20);
    /* Cut inside the last lane: the first two are whole. */
    spit(path, all, n * 9 / 10);
    struct sac_trace *t;
    assert_int_equal(sac_trace_open(&t, path, NULL), SAC_OK);
    assert_int_equal(sac_trace_n_rows(t, 0, 1), N + NEW);
    assert_int_equal(sac_trace_n_rows(t, 1, 1), N + NEW);
    sac_trace_release(t);
    struct sac_trace_info whole;
    spit(path, all, n);
    assert_int_equal(sac_trace_open(&t, path, NULL), SAC_OK);
    sac_trace_info(t, &whole);
    assert_true(whole.recorded && !whole.cut);
    sac_trace_release(t);
    free(all);
    unlink(path);
}

/* Every prefix of a small file opens up to its last whole chunk, or is refused with the place where it ends. */
static void test_every_prefix(void **state)
{
    size_t n, opened = 0;
    (void)state;
    char *path = temp_path("prefix.trace");
    const int layer[] = { 1 };
    write_to(path, (struct sac_trace_save){ .small = true, .no_values = true, .n_layers = 1, .layer = layer });
    unsigned char *all = (unsigned char *)slurp(path, &n);
    assert_non_null(all);
    for (size_t len = n; len-- > 0;) {
        struct sac_trace *t;
        struct sac_trace_report r;
        struct sac_err err = { 0 };
        assert_int_equal(truncate(path, (off_t)len), 0);
        if (sac_trace_open(&t, path, &err) != SAC_OK) {
            assert_int_equal(err.code, SAC_EFORMAT);
            assert_true(len < TF_HEAD || strstr(err.msg, "cut short at byte") || strstr(err.msg, "damaged at byte"));
            continue;
        }
        opened++;
        if (len % 8 == 0) read_all(t);
        sac_trace_release(t);
        if (len % 16) continue;
        assert_int_equal(sac_trace_check(path, &r, NULL), SAC_OK);
        assert_true(r.cut && r.good_bytes <= len);
    }
    assert_true(opened > n / 2);
    free(all);
    unlink(path);
}

/* What is there of a trace when lane `lanes` - 1 has its first `layers` layers and perhaps its answer. */
static void part_of(struct sac_trace *t, int lanes, int layers, bool answered)
{
    atomic_store(&t->n_lanes, lanes);
    for (int i = 0; i < lanes; i++) {
        bool last = i == lanes - 1;
        struct sac_lane *p = trace_lane_edit(t, i);
        p->state = !last || answered ? SAC_LANE_DONE : SAC_LANE_PREFILL;
        p->n_steps = !last || answered ? NEW : 0;
        trace_lane_done(t);
        atomic_store(&t->lane[i]->n_tokens, !last || answered ? NEW : 0);
        for (int k = 0; k < LAYERS; k++) {
            struct layer_rec *r = &t->lane[i]->layer[k];
            atomic_store(&r->ready, !last || k < layers);
            atomic_store(&r->n_dec, !last || answered ? NEW : 0);
            atomic_store(&r->measured, false);
        }
    }
}

/* A file that follows a run: killed at any moment it opens with what was complete, and at the end it says the same
 * as one that was written at once. */
static void test_follows_a_run(void **state)
{
    (void)state;
    char path[300], partial[320];
    snprintf(path, sizeof path, "%s", temp_path("follow.trace"));
    snprintf(partial, sizeof partial, "%s.partial", path);
    struct sac_trace *t = make_trace(), *b;
    struct sac_trace_save o = { .exact = true };
    struct sac_trace_writer *w, *second;
    struct sac_err err = { 0 };
    part_of(t, 1, 0, false);
    assert_int_equal(sac_trace_writer_open(&w, t, path, &o, &err), SAC_OK);
    assert_int_equal(sac_trace_writer_open(&second, t, path, &o, &err), SAC_EIO);
    assert_non_null(strstr(err.msg, "another run"));
    for (int lane = 0; lane < 3; lane++)
        for (int step = 0; step <= LAYERS + 1; step++) {
            part_of(t, lane + 1, step < LAYERS ? step : LAYERS, step > LAYERS);
            assert_true(sac_trace_writer_more(w) && sac_trace_writer_more(w));
            err = (struct sac_err){ 0 };
            assert_int_equal(sac_trace_open(&b, partial, &err), SAC_OK);
            assert_int_equal(sac_trace_n_lanes(b), lane + 1);
            for (int k = 0; k < LAYERS; k++) {
                int rows = k >= step ? 0 : step > LAYERS ? N + NEW : N;
                assert_int_equal(sac_trace_n_rows(b, lane, k), rows);
                if (lane) assert_int_equal(sac_trace_n_rows(b, lane - 1, k), N + NEW);
            }
            struct sac_lane l;
            sac_trace_lane(b, lane, &l);
            assert_int_equal(l.state, step > LAYERS ? SAC_LANE_DONE : SAC_LANE_STOPPED);
            assert_int_equal(l.answer[0] != 0, step > LAYERS);
            read_all(b);
            sac_trace_release(b);
        }
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < LAYERS; k++) atomic_store(&t->lane[i]->layer[k].measured, true);
    assert_true(sac_trace_writer_more(w));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(sac_trace_writer_end(w, NULL, &err), SAC_OK);
    assert_int_equal(access(partial, F_OK), -1);
    assert_int_equal(sac_trace_open(&b, path, &err), SAC_OK);
    compare(t, b, 0);
    for (int i = 0; i < 3; i++) {
        struct sac_recall r;
        char text[40];
        assert_true(sac_trace_recall(b, i, 1, 2, true, &r) && r.n_rows == 5);
        assert_int_equal(sac_trace_token(t, i, N + 1, text, sizeof text), 0);       /* no model here */
    }
    sac_trace_release(b);
    sac_trace_release(t);
    unlink(path);
    /* A run that was cut off left its file: it is not taken for another's, and not lost without a word. */
    spit(partial, (const unsigned char *)"x", 1);
    t = make_trace();
    err = (struct sac_err){ 0 };
    assert_int_equal(sac_trace_write(t, path, &o, &err), SAC_EIO);
    assert_non_null(strstr(err.msg, "cut off"));
    o.force = true;
    assert_int_equal(sac_trace_write(t, path, &o, &err), SAC_OK);
    assert_int_equal(access(partial, F_OK), -1);
    unlink(path);
    /* What is no file is not replaced by one, /dev/null least of all. */
    struct stat st;
    assert_int_equal(mkfifo(path, 0600), 0);
    err = (struct sac_err){ 0 };
    assert_int_equal(sac_trace_write(t, path, &o, &err), SAC_EIO);
    assert_non_null(strstr(err.msg, "no file"));
    assert_true(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    sac_trace_release(t);
    unlink(path);
}

/* Any byte changed: refused, with the place, before anything is shown. */
static void test_damaged_files(void **state)
{
    size_t n;
    (void)state;
    char *path = temp_path("damaged.trace");
    write_to(path, (struct sac_trace_save){ .exact = true });
    unsigned char *all = (unsigned char *)slurp(path, &n);
    assert_non_null(all);
    for (size_t at = 0; at < n; at += at < 4000 ? 13 : 401) {
        struct sac_trace *t = NULL;
        struct sac_err err = { 0 };
        if (at >= 12 && at < 16) continue;            /* reserved */
        all[at] ^= 0x10;
        spit(path, all, n);
        assert_int_not_equal(sac_trace_open(&t, path, &err), SAC_OK);
        assert_null(t);
        if (at >= 16) assert_non_null(strstr(err.msg, "damaged at byte"));
        all[at] ^= 0x10;
    }
    free(all);
    unlink(path);
}

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (8 * i));
}

/* Checksums that fit are no proof: contents that lie are refused or read without harm. */
static void test_hostile_contents(void **state)
{
    size_t n;
    uint32_t seed = 5;
    (void)state;
    char *path = temp_path("hostile.trace");
    write_to(path, (struct sac_trace_save){ .exact = true });
    unsigned char *all = (unsigned char *)slurp(path, &n), *bad = malloc(n + 1);
    assert_true(all && bad);
    assert_non_null(bad);
    int refused = 0, rounds = 600;
    for (int round = 0; round < rounds; round++) {
        memcpy(bad, all, n);
        size_t at = TF_HEAD;
        int which = round % 60;
        for (int i = 0; i < which && at + TF_CHUNK < n; i++) {
            size_t stored = (size_t)bad[at + 16] | (size_t)bad[at + 17] << 8 | (size_t)bad[at + 18] << 16;
            at += TF_CHUNK + stored;
        }
        if (at + TF_CHUNK >= n) continue;
        size_t stored = (size_t)bad[at + 16] | (size_t)bad[at + 17] << 8 | (size_t)bad[at + 18] << 16;
        for (int k = 0; stored && k < 3; k++) {
            noise(&seed);
            bad[at + TF_CHUNK + (seed >> 8) % (stored < 400 ? stored : 400)] = (unsigned char)(seed >> 3);
        }
        if (round % 7 == 0) put32(bad + at + 8, seed);               /* another raw size */
        put32(bad + at + 24, tf_crc(0, bad + at + TF_CHUNK, stored));
        put32(bad + at + 28, tf_crc(0, bad + at, 28));
        spit(path, bad, n);
        struct sac_trace *t;
        struct sac_err err = { 0 };
        if (sac_trace_open(&t, path, &err) == SAC_OK) {
            read_all(t);
            sac_trace_release(t);
        } else refused++;
    }
    assert_true(refused > rounds / 4);
    free(all);
    free(bad);
    unlink(path);
}

static void test_other_files(void **state)
{
    struct sac_trace *t;
    struct sac_err err = { 0 };
    (void)state;
    assert_int_equal(sac_trace_open(&t, "/nowhere.trace", &err), SAC_EFORMAT);
    err = (struct sac_err){ 0 };
    assert_int_equal(sac_trace_open(&t, "/tmp", &err), SAC_EFORMAT);
    char *path = temp_path("other.trace");
    spit(path, (const unsigned char *)"SACTRACE\x09\0\0\0\0\0\0\0", 16);
    err = (struct sac_err){ 0 };
    assert_int_equal(sac_trace_open(&t, path, &err), SAC_ENOTSUP);
    assert_non_null(strstr(err.msg, "format 9"));
    unlink(path);
    t = make_trace();
    struct sac_trace_save o = { .exact = true };
    err = (struct sac_err){ 0 };
    assert_int_equal(sac_trace_write(t, "/nowhere/x.trace", &o, &err), SAC_EIO);
    assert_non_null(strstr(err.msg, "folder"));
    sac_trace_release(t);
}

/* Halves of every magnitude, exactly as the hardware rounds them. */
static void test_packing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x7c00; i++) {
        unsigned char planes[2] = { (unsigned char)(i >> 8), (unsigned char)i }, back[2];
        float v;
        tf_unpack(planes, 1, TF_F16, 1, &v);
        tf_pack(&v, 1, TF_F16, 1, back);
        assert_memory_equal(planes, back, 2);
    }
    float row[8] = { 1, -0.5f, 0.25f, 0, 3, -3, 1e-3f, 2 }, out[8];
    unsigned char q[10];
    assert_int_equal(tf_packed_size(8, TF_Q8, 8), sizeof q);
    tf_pack(row, 8, TF_Q8, 8, q);
    tf_unpack(q, 8, TF_Q8, 8, out);
    for (int i = 0; i < 8; i++) assert_true(fabsf(row[i] - out[i]) <= 3.0f / 127 * 0.51f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packing), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_shared_once),
        cmocka_unit_test(test_paged), cmocka_unit_test(test_cut_files), cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_follows_a_run), cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_hostile_contents), cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
