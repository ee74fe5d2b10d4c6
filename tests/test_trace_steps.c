/* q, k and v in steps: what comes back is as near as it is said to be, differences need lane 0 and cost
 * little, a smaller size makes it rougher, and contents that are not sound are refused with their place. */
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
#include <unistd.h>

enum { LAYERS = 2, HEADS = 4, KV = 2, DIM = 16, N = 700 };

static float normal(uint32_t *s)
{
    float v = 0;
    for (int i = 0; i < 12; i++) v += (float)((*s = *s * 1664525u + 1013904223u) >> 8) * 0x1p-24f;
    return v - 6;
}

/* Columns of unlike size and mean, as those of a model are. */
static float *values(int heads, uint32_t seed, float drift, uint32_t drift_seed)
{
    float *v = malloc((size_t)heads * N * DIM * sizeof *v);
    assert_non_null(v);
    for (int i = 0; i < heads * N * DIM; i++) {
        int d = i % DIM;
        float size = 0.1f * (float)(1 + d);
        v[i] = size * (normal(&seed) + (d == 3 ? 4.0f : 0)) + drift * size * normal(&drift_seed);
    }
    return v;
}

static struct blob *blob_of(int heads, uint32_t seed, float drift, uint32_t drift_seed)
{
    struct blob *b =
        blob_take(values(heads, seed, drift, drift_seed), (size_t)heads * N * DIM * sizeof(float));
    assert_non_null(b);
    return b;
}

static struct sac_trace *make_trace(float drift)
{
    static char text[N + 1];
    struct sac_span span[N];
    int ids[N];
    struct sac_trace_info info = { .shape = { LAYERS, HEADS, KV, DIM, 64, 64, 100, 4096 },
                                   .model = "m",
                                   .arch = "qwen3",
                                   .file_type = "F32",
                                   .n_prompt = N,
                                   .text = text,
                                   .text_len = N,
                                   .task = "",
                                   .gold = "",
                                   .threads = 1 };
    k_cpu_init(-1);
    memset(text, 'x', N);
    for (int i = 0; i < N; i++) ids[i] = i % 90, span[i] = (struct sac_span){ i, i + 1 };
    struct sac_trace *t = trace_new(&info, ids, span);
    assert_non_null(t);
    for (int l = 0; l < LAYERS; l++) t->scale[l] = 0.25;
    for (int i = 0; i < 2; i++) {
        struct sac_spec spec;
        assert_int_equal(sac_spec_parse(&spec, i ? "streaming_llm:sink=4,window=64" : "dense", NULL), SAC_OK);
        assert_int_equal(sac_spec_resolve(&spec, &info.shape, N, NULL), SAC_OK);
        assert_int_equal(trace_add_lane(t, &spec, 1, true), i);
        for (uint32_t k = 0; k < LAYERS; k++) {
            struct layer_rec *r = &t->lane[i]->layer[k];
            float off = i ? drift : 0;
            r->q = blob_of(HEADS, 10 + k, off, 70 + k);
            r->k = blob_of(KV, 20 + k, off, 80 + k);
            r->v = blob_of(KV, 30 + k, off, 90 + k);
            atomic_store(&r->ready, true);
        }
        trace_lane_edit(t, i)->state = SAC_LANE_DONE;
        trace_lane_done(t);
    }
    return t;
}

static const char *temp_path(void)
{
    static char path[300];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/saccade-test-%ld-steps.trace", tmp && *tmp ? tmp : "/tmp",
             (long)getpid());
    return path;
}

struct sizes {
    size_t file, arrays;
};

static struct sizes write_to(const char *path, float drift, struct sac_trace_save o)
{
    struct sac_trace *t = make_trace(drift);
    struct sac_err err = { 0 };
    struct sac_trace_report r;
    double error = -1;
    o.force = true;
    o.error = &error;
    assert_int_equal(sac_trace_write(t, path, &o, &err), SAC_OK);
    assert_int_equal(sac_trace_check(path, &r, &err), SAC_OK);
    assert_true(r.arrays && fabs(r.error - error) < 1e-6 && r.exact == o.exact);
    sac_trace_release(t);
    struct sizes size = { r.bytes, 0 };
    for (int i = 0; i < r.n_kinds; i++)
        if (strchr("QKV", *r.kind[i].name) && r.kind[i].name[1] == ' ') size.arrays += r.kind[i].bytes;
    return size;
}

/* Relative error of weights above a ten-thousandth, root mean square. */
static double weight_error(const char *path, float drift, int lane)
{
    struct sac_trace *a = make_trace(drift), *b;
    double sum = 0, n = 0;
    float wa[N], wb[N];
    assert_int_equal(sac_trace_open(&b, path, NULL), SAC_OK);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int h = 0; h < HEADS; h++)
            for (int row = 100; row < N; row += 37) {
                assert_true(sac_trace_weights(a, lane, layer, h, row, wa));
                assert_true(sac_trace_weights(b, lane, layer, h, row, wb));
                for (int i = 0; i <= row; i++) {
                    double r = wa[i] > 1e-4f ? (double)wb[i] / (double)wa[i] - 1 : 0;
                    sum += r * r;
                    n += wa[i] > 1e-4f;
                }
            }
    sac_trace_release(a);
    sac_trace_release(b);
    assert_true(n > 1000);
    return sqrt(sum / n);
}

/* As exact as there is room for, and as it says; the last rung is above every bound that is kept here. */
static void test_as_exact_as_said(void **state)
{
    (void)state;
    const char *path = temp_path();
    struct sac_trace_report r;
    struct sizes whole = write_to(path, 0.05f, (struct sac_trace_save){ .exact = true });
    struct sizes fine = write_to(path, 0.05f, (struct sac_trace_save){ .most = 0 });
    assert_int_equal(sac_trace_check(path, &r, NULL), SAC_OK);
    assert_true(r.error > 0.0009 && r.error < 0.0011);
    for (int lane = 0; lane < 2; lane++) {
        double e = weight_error(path, 0.05f, lane);
        assert_true(e > 1e-4 && e < 1.5 * 0.001);
    }
    size_t last = fine.file;
    for (size_t i = 1; i < 4; i++) {
        size_t most = fine.file - i * fine.arrays / 10;
        struct sizes got = write_to(path, 0.05f, (struct sac_trace_save){ .most = most });
        assert_int_equal(sac_trace_check(path, &r, NULL), SAC_OK);
        assert_true(got.file <= most && got.file < last && r.error > 0.001);
        for (int lane = 0; lane < 2; lane++) assert_true(weight_error(path, 0.05f, lane) < 1.5 * r.error);
        last = got.file;
    }
    struct sizes rough = write_to(path, 0.05f, (struct sac_trace_save){ .small = true });
    assert_true(rough.arrays < fine.arrays / 3 * 2 && fine.arrays < whole.arrays / 2);
    assert_true(weight_error(path, 0.05f, 1) < 1.5 * 0.03);
    unlink(path);
}

/* A lane that is nearly lane 0 costs less than one that is not. */
static void test_differences(void **state)
{
    (void)state;
    const char *path = temp_path();
    struct sizes near = write_to(path, 0.01f, (struct sac_trace_save){ .level = 1 }),
                 far = write_to(path, 3, (struct sac_trace_save){ .level = 1 });
    assert_true((double)near.arrays < 0.75 * (double)far.arrays);
    assert_true(weight_error(path, 3, 1) < 4 * 0.001); /* a few keys hold all: theirs is the larger error */
    unlink(path);
}

/* Columns that are far from normal: constant, zero, one wild value, and one that spans what an integer holds.
 */
static void test_odd_columns(void **state)
{
    (void)state;
    struct tf_array a = { 1, 300, 6 };
    float v[300 * 6], out[300 * 6], step[6];
    uint32_t seed = 5;
    for (int i = 0; i < 300 * 6; i++) {
        int c = i % 6, r = i / 6;
        v[i] = c == 0 ? 0 : c == 1 ? 7.25f : normal(&seed);
        if (c == 3 && r == 250) v[i] = -4e6f;
        if (c == 4) v[i] = r == 0 ? 1e30f : 1e-30f;
        if (c == 5 && r % 50 == 7) v[i] = 1e3f;
    }
    struct tf_moments m[6];
    assert_true(tf_moments(v, &a, NULL, NULL, m));
    for (int lane = 0; lane < 2; lane++) {
        struct tf_out o = { NULL, 0, 0, false };
        float other[300 * 6], other_step[6];
        for (int i = 0; i < 300 * 6; i++) other[i] = i % 6 == 4 ? 0.5f : 0.25f * normal(&seed);
        for (int c = 0; c < 6; c++) other_step[c] = 0.125f;
        if (lane) assert_true(tf_moments(v, &a, other, other_step, m));
        tf_steps_values(&a, m, 0.001, step);
        tf_steps_pack(&o, v, &a, m, step, 0.001, lane ? other : NULL, other_step);
        assert_false(o.failed);
        for (int i = 0; i < 300 * 6; i++) other[i] = rintf(other[i] * 8) / 8;
        struct tf_in in = { o.p, o.p + o.n, false };
        assert_true(tf_steps_unpack(&in, &a, lane ? other : NULL, out));
        for (int i = 0; i < 300 * 6; i++)
            assert_true(fabsf(out[i] - v[i]) <= 0.501f * step[i % 6] + 2e-7f * fabsf(v[i]));
        for (size_t n = 0; n < o.n; n += n < 70 || n + 40 > o.n ? 1 : 97) { /* cut anywhere */
            struct tf_in cut = { o.p, o.p + n, false };
            bool end_of_far = n > 12 + 54 + 1800 && (o.n - n) % 12 == 0;
            if (!end_of_far) assert_false(tf_steps_unpack(&cut, &a, NULL, NULL));
        }
        o.p[12 + 8] = 200; /* a shift out of range */
        in = (struct tf_in){ o.p, o.p + o.n, false };
        assert_false(tf_steps_unpack(&in, &a, lane ? other : NULL, out));
        free(o.p);
    }
    v[5] = NAN;
    assert_false(tf_moments(v, &a, NULL, NULL, m));
}

/* Contents with a right checksum that are not sound all the same: a chunk packed by hand, stored as it is. */
static void test_hostile(void **state)
{
    (void)state;
    const char *path = temp_path();
    size_t n, at;
    struct sac_err err = { 0 };
    (void)write_to(path, 0.05f, (struct sac_trace_save){ .level = 1 });
    unsigned char *all = (unsigned char *)slurp(path, &n);
    assert_non_null(all);
    for (int what = 0; what < 3; what++) {
        struct tf_out o = { NULL, 0, 0, false };
        bool changed = false;
        uint32_t number = 0;
        tf_put(&o, all, TF_HEAD);
        for (at = TF_HEAD; at < n; number++) {
            struct tf_in in = { all + at + 8, all + n, false };
            uint64_t raw = tf_get64(&in), stored = tf_get64(&in);
            bool here = !changed && !memcmp(all + at, what == 2 ? "K   " : "Q   ", 4);
            if (!here)
                tf_put(&o, all + at, TF_CHUNK + stored);
            else {
                size_t from = o.n, size = TF_FIRST + (size_t)(what == 2 ? KV : HEADS) * DIM * (9 + N);
                unsigned char *p = calloc(1, size);
                uint32_t word[6] = { 0, 0, TF_STEPS, what == 0 ? 0 : UINT32_MAX, what == 1 ? N + 1 : N, 0 };
                for (int i = 0; i < 24; i++) p[i] = (unsigned char)(word[i / 4] >> 8 * (i % 4));
                if (what == 2) p[TF_FIRST + 8] = 3; /* a shift without the bits for it */
                tf_put(&o, all + at, 8);
                tf_u64(&o, size);
                tf_u64(&o, size);
                tf_u32(&o, tf_crc(0, p, size));
                tf_u32(&o, tf_crc(0, o.p + from, 28));
                tf_put(&o, p, size);
                free(p);
                changed = true;
            }
            (void)raw;
            at += TF_CHUNK + stored;
        }
        assert_true(changed && !o.failed);
        FILE *f = fopen(path, "wb");
        assert_true(f && fwrite(o.p, 1, o.n, f) == o.n && fclose(f) == 0);
        struct sac_trace_report r;
        assert_int_equal(sac_trace_check(path, &r, &err), SAC_EFORMAT);
        assert_non_null(strstr(err.msg, "damaged at byte"));
        struct sac_trace *t;
        if (what == 2) { /* opens, and that layer has no weights to show */
            float w[N];
            assert_int_equal(sac_trace_open(&t, path, &err), SAC_OK);
            assert_false(sac_trace_weights(t, 0, 0, 0, 5, w));
            assert_true(sac_trace_weights(t, 0, 1, 0, 5, w));
            sac_trace_release(t);
        } else
            assert_int_equal(sac_trace_open(&t, path, &err), SAC_EFORMAT);
        free(o.p);
    }
    free(all);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_exact_as_said),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_odd_columns),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
