/* Blocks of rows carried through a layer by one thread (prefill_rows.c) against the same layers with all
 * threads at every product: hidden states of all layers, logits of all rows, keys in the cache; families with
 * biases, norms after the blocks, both activations, fused and quantised weights; odd numbers of rows.
 *
 * Both round the same values to bf16 (2^-9); they differ in where a sum with the residual stream begins, so
 * some of these roundings fall the other way: 2^-7 of the largest value of a layer bounds what that becomes
 * here. */
#include "model/session_int.h"
#include "tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/saccade-rows-XXXXXX";
static const char *const files[] = { "model.safetensors", "config.json", "m.gguf" };

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

struct outputs { float *hidden, *logits, *keys; size_t n_hidden, n_logits, n_keys, layer; };

static void keep_hidden(void *ctx, int layer, const float *x, int n)
{
    struct outputs *o = ctx;
    (void)n;
    memcpy(o->hidden + (size_t)layer * o->layer, x, o->layer * sizeof *x);
}

static struct outputs prefill(struct sac_model *m, const int *ids, int n)
{
    struct sac_err err = { SAC_OK, "" };
    const struct sac_shape *sh = &m->hp.shape;
    struct outputs o = { .layer = (size_t)n * (size_t)sh->n_embd, .n_logits = (size_t)n * (size_t)sh->n_vocab,
                         .n_keys = (size_t)n * (size_t)sh->head_dim };
    o.n_hidden = o.layer * (size_t)(sh->n_layers + 1);
    o.hidden = malloc(o.n_hidden * sizeof(float));
    o.logits = malloc(o.n_logits * sizeof(float));
    o.keys = malloc(o.n_keys * sizeof(float));
    struct session *s = session_new(m, n, SAC_KV_F32, &err);
    struct prefill_args a = { .ids = ids, .n = n, .force_layer = -1, .force_kv = -1, .all_logits = o.logits,
                              .hidden = keep_hidden, .ctx = &o };
    assert_true(o.hidden && o.logits && o.keys);
    if (!s || session_prefill(s, &a, &err)) fail_msg("%s", err.msg);
    session_keys(s, sh->n_layers - 1, sh->n_kv_heads - 1, false, 0, n, o.keys);
    session_free(s);
    return o;
}

static double distance(const float *a, const float *b, size_t n)
{
    double diff = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        diff = fmax(diff, fabs((double)a[i] - (double)b[i]));
        most = fmax(most, fabs((double)a[i]));
    }
    return diff / most;
}

static void drop(struct outputs *o)
{
    free(o->hidden);
    free(o->logits);
    free(o->keys);
}

static void compare(const char *what, const char *path, int vocab, int n, int threads)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_model_opts o = { .threads = threads };
    struct sac_model *m;
    uint64_t seed = (uint64_t)n;
    int *ids = malloc((size_t)n * sizeof *ids);
    if (!ids || sac_model_open(&m, path, &o, &err)) fail_msg("%s", err.msg);
    for (int i = 0; i < n; i++) ids[i] = (int)(tiny_rand(&seed) % (uint32_t)vocab);
    assert_true(prefill_by_rows(m, n));
    struct outputs got = prefill(m, ids, n);
    struct k_wide_gemm *wide = (struct k_wide_gemm *)(uintptr_t)&k_ops()->wide, kept = *wide;
    wide->gated = NULL;
    assert_false(prefill_by_rows(m, n));
    struct outputs want = prefill(m, ids, n);
    *wide = kept;
    assert_memory_equal(got.hidden, want.hidden, got.layer * sizeof(float));
    for (size_t at = 0; at < got.n_hidden; at += got.layer) {
        double d = distance(want.hidden + at, got.hidden + at, got.layer);
        if (!(d <= 0x1p-7)) fail_msg("%s, %d rows, hidden %zu: %g", what, n, at / got.layer, d);
    }
    double logits = distance(want.logits, got.logits, got.n_logits),
           keys = distance(want.keys, got.keys, got.n_keys);
    if (!(logits <= 0x1p-7 && keys <= 0x1p-7))
        fail_msg("%s, %d rows: logits %g, keys %g", what, n, logits, keys);
    drop(&got);
    drop(&want);
    free(ids);
    sac_model_close(m);
}

#define SHAPE                                                                                                \
    .layers = 3, .embd = 96, .ff = 160, .heads = 4, .kv = 2, .dim = 32, .vocab = 70, .ctx = 512, .base = 1e4
#define GEMMA .gelu = true, .post_norms = true, .plus_one = true, .scale_embd = true, .scalar = 32

static const struct tiny families[] = {
    { SHAPE, .family = "llama", .hf_class = "LlamaForCausalLM", .hf_type = "llama" },
    { SHAPE, .family = "qwen2", .hf_class = "Qwen2ForCausalLM", .hf_type = "qwen2", .bias = true },
    { SHAPE, .family = "qwen3", .hf_class = "Qwen3ForCausalLM", .hf_type = "qwen3", .qk_norm = true },
    { SHAPE, GEMMA, .family = "gemma2", .hf_class = "Gemma2ForCausalLM", .hf_type = "gemma2", .window = 7,
      .period = 2, .softcap = 50, .final_cap = 30, .tied = true },
    { SHAPE, .family = "phi3", .hf_class = "Phi3ForCausalLM", .hf_type = "phi3", .fused = true },
};

static void test_families(void **state)
{
    (void)state;
    if (!k_ops()->wide.gated) skip();
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        struct tiny t = families[i];
        tiny_random(&t, 11 + i);
        tiny_write_hf(&t, dir, ST_BF16, 1);
        compare(t.family, dir, t.vocab, 203, 3);
        compare(t.family, dir, t.vocab, 64, 1);
        tiny_free(&t);
    }
}

static void test_quantised(void **state)
{
    (void)state;
    if (!k_ops()->wide.gated) skip();
    static const enum k_type types[] = { K_Q8_0, K_Q4_0, K_Q5_1 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct tiny t = families[2];
        tiny_random(&t, 5 + i);
        struct gw_buf b = tiny_write_gguf(&t, types[i]);
        gw_save(&b, in_dir("m.gguf"));
        free(b.p);
        compare(k_type_info[types[i]].name, in_dir("m.gguf"), t.vocab, 301, 2);
        tiny_free(&t);
    }
}

/* One call is two products, the activation (within 2e-4, before rounding) and the rounding to 2^-8;
 * every number of rows a block may have, and gates from tiny to where the exponential overflows. */
static void test_gated(void **state)
{
    (void)state;
    const struct k_ops *o = k_ops();
    if (!o->wide.gated) skip();
    enum { N = 96, PANELS = 3, COLS = PANELS * K_PANEL, M = 70 };
    static uint16_t x[M * N], w[2][COLS * N], got[M * (COLS + 8)];
    static float rows[K_PANEL * N], y[2][M * COLS];
    uint64_t seed = 3;
    for (int i = 0; i < M * N; i++) {
        float v;
        tiny_fill(&v, 1, 0, i / N % 4 == 3 ? 40 : i / N % 4 == 2 ? 0.01 : 1, &seed);
        o->to_bf16(&v, 1, &x[i]);
    }
    for (int p = 0; p < 2 * PANELS; p++) {
        tiny_fill(rows, K_PANEL * N, 0, 1, &seed);
        o->wide.pack(rows, N, N, w[p % 2] + p / 2 * K_PANEL * N);
    }
    for (int m = 1; m <= M; m += m < 34 ? 1 : 12)
        for (int gelu = 0; gelu < 2; gelu++) {
            for (int i = 0; i < 2; i++)
                o->wide.matmul(w[i], K_PANEL * N, COLS, N, x, N, m, y[i], COLS, false);
            memset(got, 0xff, sizeof got);
            o->wide.gated(w[0], w[1], K_PANEL * N, PANELS, N, x, N, m, gelu, got, COLS + 8);
            for (int r = 0; r < m; r++) {
                float value[COLS];
                const float *u = y[1] + r * COLS;
                if (gelu) gelu_mul_c(y[0] + r * COLS, u, COLS, y[0] + r * COLS);
                else silu_mul_c(y[0] + r * COLS, u, COLS, y[0] + r * COLS);
                o->from_bf16(got + r * (COLS + 8), COLS, value);
                for (int i = 0; i < COLS; i++) {
                    double want = (double)y[0][r * COLS + i];
                    /* gelu cancels where it is nearly zero, as its own test says */
                    double tol = (0x1p-8 + 2e-4) * fabs(want) + (gelu ? 1e-5 * fabs((double)u[i]) : 1e-30);
                    if (!(fabs((double)value[i] - want) <= tol))
                        fail_msg("%d rows, gelu %d: [%d][%d] = %g, expected %g +- %g", m, gelu, r, i,
                                 (double)value[i], want, tol);
                }
                assert_int_equal(got[r * (COLS + 8) + COLS], 0xffff);
            }
        }
}

static int make_dir(void **state)
{
    (void)state;
    return !mkdtemp(dir);
}

static int remove_dir(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) unlink(in_dir(files[i]));
    return rmdir(dir);
}

int main(void)
{
    k_cpu_init(-1);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_gated), cmocka_unit_test(test_families),
                                        cmocka_unit_test(test_quantised) };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
