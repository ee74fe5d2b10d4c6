/* Dequantisers against values another implementation computed, and against formulas on blocks made by hand.
 *
 * fixtures/quant: the first 128 rows of two tensors of a random model in ten types, and as f32 those of one and
 * 64 of the other.
 */
#include "file/gguf.h"
#include "file/tensors.h"
#include "study/packed.h"
#include "twins.h"

#include <saccade/model.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const files[] = { "Q2_K", "Q3_K_S", "Q4_0",   "Q4_1", "Q4_K_S",
                                     "Q5_0", "Q5_1",   "Q5_K_S", "Q6_K", "Q8_0" };
static const char *const names[] = { "token_embd.weight", "blk.0.attn_q.weight" };

static void compare(const char *dir, const char *file, const struct st_file *ref)
{
    char path[1024], key[128];
    struct sac_err err = { SAC_OK, "" };
    struct gguf g;
    snprintf(path, sizeof path, "%s/%s.gguf", dir, file);
    if (gguf_open(&g, path, &err)) fail_msg("%s", err.msg);
    for (int k = 0; k < 2; k++) {
        const struct tensor *t = dir_find(&g.dir, names[k]);
        snprintf(key, sizeof key, "%s.%s", file, names[k]);
        const struct st_tensor *r = st_find(ref, key);
        assert_non_null(t);
        assert_non_null(r);
        assert_int_equal(r->shape[1], t->ne[0]);
        const struct k_type_info *ti = &k_type_info[t->type];
        size_t row_bytes = (size_t)(t->ne[0] / ti->block) * (size_t)ti->bytes;
        float *row = malloc((size_t)t->ne[0] * sizeof *row), *fast = malloc((size_t)t->ne[0] * sizeof *fast);
        double worst = 0, worst_fast = 0;
        for (int64_t i = 0; i < r->shape[0]; i++) {
            dequant_row_c(t->type, t->data + (size_t)i * row_bytes, (int)t->ne[0], row);
            k_ops()->dequant(t->type, t->data + (size_t)i * row_bytes, (int)t->ne[0], fast);
            for (int64_t c = 0; c < t->ne[0]; c++) {
                float want = ((const float *)r->data)[i * t->ne[0] + c];
                worst = fmax(worst, fabs((double)row[c] - (double)want));
                worst_fast = fmax(worst_fast, fabs((double)fast[c] - (double)want));
            }
        }
        if (!(worst <= 1e-6)) fail_msg("%s: off by %g", key, worst);
        if (!(worst_fast <= 1e-6)) fail_msg("%s, fast: off by %g", key, worst_fast);
        free(row);
        free(fast);
    }
    gguf_close(&g);
}

/* The values of a folder; those of the tree are packed, which spares half their bytes. */
static void open_values(struct st_file *values, const char *dir)
{
    char path[1024], plain[] = "/tmp/saccade-values-XXXXXX";
    struct sac_err err = { SAC_OK, "" };
    snprintf(path, sizeof path, "%s/dequantised.safetensors.zst", dir);
    if (access(path, R_OK) != 0) {
        path[strlen(path) - strlen(".zst")] = 0;
        if (st_open(values, path, &err)) fail_msg("%s", err.msg);
        return;
    }
    FILE *from = packed_open(path, &err), *to = fdopen(mkstemp(plain), "wb");
    assert_true(from && to);
    char part[1 << 16];
    for (size_t n; (n = fread(part, 1, sizeof part, from)) > 0;) assert_int_equal(fwrite(part, 1, n, to), n);
    assert_false(ferror(from));
    fclose(from);
    assert_int_equal(fclose(to), 0);
    if (st_open(values, plain, &err)) fail_msg("%s", err.msg);
    unlink(plain);
}

static void compare_all(const char *dir)
{
    struct st_file ref;
    open_values(&ref, dir);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) compare(dir, files[i], &ref);
    st_close(&ref);
}

static void test_reference_values(void **state)
{
    (void)state;
    k_cpu_init(-1);
    compare_all(TEST_DIR "/fixtures/quant");
    const char *more = getenv("SACCADE_FIXTURES");
    if (!more) {
        print_message("SACCADE_FIXTURES is not set: the untrimmed files are not read\n");
        return;
    }
    char dir[1024];
    snprintf(dir, sizeof dir, "%s/quant", more);
    if (access(dir, R_OK) == 0) compare_all(dir);
}

/* One block of each small type: scale 0.5 (0x3800), minimum 0.25 (0x3400), values computed by hand. */
static void test_small_blocks(void **state)
{
    (void)state;
    float out[32];
    unsigned char b[34] = { 0x00, 0x38 };
    b[2] = 0x9f; /* low nibble 15 first, high nibble 9 is element 16 */
    dequant_row_c(K_Q4_0, b, 32, out);
    assert_true(out[0] == 3.5f && out[16] == 0.5f && out[1] == -4.0f);
    unsigned char c[34] = { 0x00, 0x38, 0x00, 0x34, 0x21 };
    dequant_row_c(K_Q4_1, c, 32, out);
    assert_true(out[0] == 0.75f && out[16] == 1.25f && out[31] == 0.25f);
    unsigned char d[34] = {
        0x00, 0x38, 0x01, 0x00, 0x01, 0x80, 0x21
    }; /* fifth bits of elements 0, 16 and 31 */
    dequant_row_c(K_Q5_0, d, 32, out);
    assert_true(out[0] == 0.5f && out[16] == 1.0f && out[31] == 0.0f && out[1] == -8.0f);
    unsigned char e[34] = { 0x00, 0x38, 0x80, 0x7f };       /* -128 and 127 */
    dequant_row_c(K_Q8_0, e, 32, out);
    assert_true(out[0] == -64.0f && out[1] == 63.5f && out[2] == 0.0f);
}

/* Scales that are subnormal, infinite or no number come out as the formulas say, without a trap. */
static void test_odd_scales(void **state)
{
    (void)state;
    float out[256];
    unsigned char b[34] = { 0x01, 0x00, 1 };                /* the smallest f16 */
    dequant_row_c(K_Q8_0, b, 32, out);
    assert_true(out[0] == 0x1p-24f);
    unsigned char inf[34] = { 0x00, 0x7c, 1, 0xff };
    dequant_row_c(K_Q8_0, inf, 32, out);
    assert_true(isinf(out[0]) && out[0] > 0 && isinf(out[1]) && out[1] < 0 && isnan(out[2]));
    unsigned char k[210];
    for (int t = K_Q2_K; t <= K_Q6_K; t++) {
        for (size_t i = 0; i < sizeof k; i++) k[i] = 0xff;  /* NaN scales, full nibbles */
        dequant_row_c((enum k_type)t, k, 256, out);
        assert_true(isnan(out[0]) && isnan(out[255]));
    }
}

/* What `--dump` writes is the tensor under its own name, rows and columns as they are. */
static void test_dump(void **state)
{
    (void)state;
    char out[] = "/tmp/saccade-dump-XXXXXX";
    struct sac_err err = { SAC_OK, "" };
    int fd = mkstemp(out);
    assert_true(fd >= 0);
    close(fd);
    const char *path = TEST_DIR "/fixtures/quant/Q4_K_S.gguf";
    assert_int_equal(sac_model_dump(path, names[1], out, false, &err), SAC_EIO);   /* exists */
    err = (struct sac_err){ SAC_OK, "" };
    if (sac_model_dump(path, names[1], out, true, &err)) fail_msg("%s", err.msg);
    struct st_file got, ref;
    if (st_open(&got, out, &err)) fail_msg("%s", err.msg);
    open_values(&ref, TEST_DIR "/fixtures/quant");
    const struct st_tensor *a = st_find(&got, names[1]), *r = st_find(&ref, "Q4_K_S.blk.0.attn_q.weight");
    assert_true(a && r && a->n_dims == 2 && a->shape[0] == 128 && a->shape[1] == 256 && a->bytes == r->bytes);
    for (size_t i = 0; i < a->bytes / 4; i++)
        assert_true(fabsf(((const float *)a->data)[i] - ((const float *)r->data)[i]) <= 1e-6f);
    st_close(&got);
    st_close(&ref);
    assert_int_equal(sac_model_dump(path, "blk.0.attn_k.weight", out, true, &err), SAC_EARG);
    assert_non_null(strstr(err.msg, "did you mean 'blk.0.attn_q.weight'"));
    unlink(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_values), cmocka_unit_test(test_small_blocks),
        cmocka_unit_test(test_odd_scales), cmocka_unit_test(test_dump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
