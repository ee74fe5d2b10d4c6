/* Every family, from both containers, against reference outputs.
 *
 * fixtures/arch: tiny random models with logits, hidden states, attention and greedy tokens that PyTorch
 * computed. The families without a fixture are made here and compared with a forward pass in double
 * precision. Each model is also written as GGUF in every weight type and read back. */
#include "model/model_int.h"
#include "model/rope.h"
#include "tiny_ref.h"

#include <saccade/logits.h>

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static struct sac_model *open_model(const char *path)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_model_opts o = { .strict = true, .threads = 2 };
    struct sac_model *m;
    if (sac_model_open(&m, path, &o, &err)) fail_msg("%s", err.msg);
    return m;
}

/* Outputs of a model for ids, as a safetensors file. */
static void outputs(struct sac_model *m, const int *ids, int n, struct st_file *out)
{
    struct sac_err err = { SAC_OK, "" };
    const char *path = in_dir("outputs.safetensors");
    if (sac_logits_write(m, ids, n, true, true, path, true, &err) || st_open(out, path, &err))
        fail_msg("%s", err.msg);
}

/* The largest difference as a share of the largest value. */
static double distance(const float *a, const float *b, size_t n)
{
    double diff = 0, max = 0;
    for (size_t i = 0; i < n; i++) {
        diff = fmax(diff, fabs((double)a[i] - (double)b[i]));
        max = fmax(max, fabs((double)a[i]));
        if (isnan(b[i])) return (double)INFINITY;
    }
    return max > 0 ? diff / max : diff;
}

static double logits_distance(struct sac_model *a, struct sac_model *b, const int *ids, int n)
{
    struct st_file x, y;
    outputs(a, ids, n, &x);
    outputs(b, ids, n, &y);
    const struct st_tensor *p = st_find(&x, "logits"), *q = st_find(&y, "logits");
    double d = p->bytes == q->bytes ? distance(p->data, q->data, p->bytes / 4) : (double)INFINITY;
    st_close(&x);
    st_close(&y);
    return d;
}

/* ---- reference fixtures ---- */

/* f32 sums of up to 160 terms in another order move a value by about 160 * 6e-8, through at most seven
 * layers. */
#define F32_NEAR 1e-4

static const struct { const char *name; struct tiny like;
} fixtures[] = {
    { "qwen3",
      { .family = "qwen3",
        .layers = 3,
        .embd = 64,
        .ff = 160,
        .heads = 4,
        .kv = 2,
        .dim = 32,
        .vocab = 384,
        .ctx = 512,
        .base = 1e6,
        .qk_norm = true,
        .tied = true } },
    { "qwen2",
      { .family = "qwen2",
        .layers = 3,
        .embd = 64,
        .ff = 160,
        .heads = 4,
        .kv = 2,
        .dim = 16,
        .vocab = 384,
        .ctx = 512,
        .base = 1e6,
        .bias = true } },
    { "llama",
      { .family = "llama",
        .layers = 3,
        .embd = 64,
        .ff = 160,
        .heads = 4,
        .kv = 2,
        .dim = 16,
        .vocab = 384,
        .ctx = 512,
        .base = 1e4 } },
    { "gemma3",
      { .family = "gemma3",
        .layers = 7,
        .embd = 64,
        .ff = 160,
        .heads = 4,
        .kv = 2,
        .dim = 32,
        .vocab = 384,
        .ctx = 512,
        .base = 1e6,
        .local_base = 1e4,
        .scalar = 24,
        .window = 32,
        .period = 6,
        .gelu = true,
        .qk_norm = true,
        .post_norms = true,
        .plus_one = true,
        .scale_embd = true,
        .tied = true } },
};
enum { N_FIXTURES = sizeof fixtures / sizeof *fixtures };

static void fixture_ids(const char *name, int **ids, int *n)
{
    char path[512];
    struct sac_err err = { SAC_OK, "" };
    snprintf(path, sizeof path, TEST_DIR "/fixtures/arch/%s/ref.safetensors", name);
    if (sac_ids_read(path, ids, n, &err)) fail_msg("%s", err.msg);
}

static void test_reference_outputs(void **state)
{
    (void)state;
    for (int f = 0; f < N_FIXTURES; f++) {
        char path[512];
        struct sac_err err = { SAC_OK, "" };
        struct st_file ref, got;
        int *ids, n, made[64], n_made, compared = 0;
        snprintf(path, sizeof path, TEST_DIR "/fixtures/arch/%s", fixtures[f].name);
        struct sac_model *m = open_model(path);
        assert_string_equal(sac_model_info(m)->arch, fixtures[f].name);
        fixture_ids(fixtures[f].name, &ids, &n);
        outputs(m, ids, n, &got);
        snprintf(path, sizeof path, TEST_DIR "/fixtures/arch/%s/ref.safetensors", fixtures[f].name);
        if (st_open(&ref, path, &err)) fail_msg("%s", err.msg);
        for (int i = 0; i < ref.n; i++) {
            const struct st_tensor *want = &ref.tensor[i], *have = st_find(&got, want->name);
            if (want->dtype != ST_F32) continue;
            if (!have || have->bytes != want->bytes)
                fail_msg("%s: %s is missing", fixtures[f].name, want->name);
            double d = distance(want->data, have->data, want->bytes / 4);
            if (!(d <= F32_NEAR)) fail_msg("%s: %s differs by %g", fixtures[f].name, want->name, d);
            compared++;
        }
        assert_true(compared >= 7);
        const struct st_tensor *generated = st_find(&ref, "generated");
        if (sac_greedy(m, ids, n, 16, made, &n_made, NULL, &err)) fail_msg("%s", err.msg);
        assert_int_equal(n_made, 16);
        assert_memory_equal(made, generated->data, generated->bytes);
        st_close(&ref);
        st_close(&got);
        free(ids);
        sac_model_close(m);
    }
}

/* Each weight type: the file's logits equal those of an F32 file with the same values. */
static void test_conversion(void **state)
{
    (void)state;
    static const enum k_type types[] = { K_F32, K_F16, K_BF16, K_Q8_0, K_Q4_0, K_Q4_1, K_Q5_0, K_Q5_1 };
    for (int f = 0; f < N_FIXTURES; f++) {
        struct tiny t = fixtures[f].like;
        char path[512];
        int *ids, n;
        snprintf(path, sizeof path, TEST_DIR "/fixtures/arch/%s/model.safetensors", fixtures[f].name);
        assert_true(tiny_load(&t, path));
        fixture_ids(fixtures[f].name, &ids, &n);
        snprintf(path, sizeof path, TEST_DIR "/fixtures/arch/%s", fixtures[f].name);
        struct sac_model *hf = open_model(path);
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            struct gw_buf b = tiny_write_gguf(&t, types[k]);
            gw_save(&b, in_dir("a.gguf"));
            free(b.p);
            struct sac_model *m = open_model(in_dir("a.gguf"));
            /* The folder's reference has rounded frequencies (see config.c); GGUF has no way to say so. */
            m->hp.rope.freq_factors = hf->hp.rope.freq_factors;
            m->hp.rope_local.freq_factors = hf->hp.rope_local.freq_factors;
            if (types[k] == K_F32 || types[k] == K_BF16) {
                double d = logits_distance(hf, m, ids, n);
                if (!(d <= F32_NEAR))
                    fail_msg("%s as %s: logits differ by %g", t.family, k_type_info[types[k]].name, d);
            } else {
                struct tiny same = t;
                for (int i = 0; i < t.n; i++) {
                    struct tiny_tensor *x = &same.t[i];
                    size_t count = (size_t)(x->rows ? x->rows : 1) * (size_t)x->cols, bytes;
                    x->x = malloc(count * sizeof *x->x);
                    memcpy(x->x, t.t[i].x, count * sizeof *x->x);
                    if (!x->rows) continue;
                    void *q = tiny_quantise(types[k], x->x, count, &bytes);
                    dequant_row_c(types[k], q, (int)count, x->x);
                    free(q);
                }
                struct gw_buf c = tiny_write_gguf(&same, K_F32);
                gw_save(&c, in_dir("b.gguf"));
                free(c.p);
                struct sac_model *plain = open_model(in_dir("b.gguf"));
                plain->hp.rope.freq_factors = hf->hp.rope.freq_factors;
                plain->hp.rope_local.freq_factors = hf->hp.rope_local.freq_factors;
                double d = logits_distance(plain, m, ids, n);
                if (!(d <= F32_NEAR))
                    fail_msg("%s as %s: logits differ by %g", t.family, k_type_info[types[k]].name, d);
                sac_model_close(plain);
                tiny_free(&same);
            }
            sac_model_close(m);
        }
        sac_model_close(hf);
        free(ids);
        tiny_free(&t);
    }
}

/* ---- families made here ---- */

enum { N_IDS = 40 };

static double yarn(const struct tiny *m, int i, bool local, double *mscale)
{
    (void)local;
    double inv = pow(m->base, -2.0 * i / m->dim), two_pi = 6.283185307179586;
    double lo = floor(m->dim * log(m->yarn_orig / (32 * two_pi)) / (2 * log(m->base)));
    double hi = ceil(m->dim * log(m->yarn_orig / (1 * two_pi)) / (2 * log(m->base)));
    lo = fmax(lo, 0);
    hi = fmin(hi, m->dim - 1);
    double keep = 1 - fmin(1, fmax(0, (i - lo) / fmax(hi - lo, 0.001)));
    *mscale = 0.1 * log(m->factor) + 1;
    return inv / m->factor * (1 - keep) + inv * keep;
}

static float llama3_factors[8], long_factors[8] = { 1, 1, 1.5f, 2, 2.5f, 3, 3.5f, 4 };

#define BASE                                                                                                 \
    .layers = 3, .embd = 64, .ff = 96, .heads = 4, .kv = 2, .dim = 16, .vocab = 100, .ctx = 256, .base = 1e4
#define UNTIED .gelu = true, .post_norms = true, .plus_one = true, .scale_embd = true
#define GEMMA UNTIED, .tied = true
static const struct made { const char *what; struct tiny t; bool yarn; int shards;
} made[] = {
    { "mistral with a window",
      { BASE, .family = "llama", .hf_class = "MistralForCausalLM", .hf_type = "mistral", .window = 9 },
      false,
      2 },
    { "llama, heads wider than the model, one KV head",
      { .layers = 2,
        .embd = 32,
        .ff = 96,
        .heads = 4,
        .kv = 1,
        .dim = 16,
        .vocab = 100,
        .ctx = 256,
        .base = 5e5,
        .family = "llama",
        .hf_class = "LlamaForCausalLM",
        .hf_type = "llama",
        .tied = true },
      false,
      1 },
    { "llama, linear scaling",
      { BASE, .family = "llama", .hf_class = "LlamaForCausalLM", .hf_type = "llama",
        .rope_json = "\"type\": \"linear\", \"factor\": 4.0", .scaling = "linear", .factor = 4 },
      false,
      1 },
    { "llama, yarn",
      { BASE, .family = "llama", .hf_class = "LlamaForCausalLM", .hf_type = "llama",
        .rope_json = "\"rope_type\": \"yarn\", \"factor\": 8.0, \"original_max_position_embeddings\": 64",
        .scaling = "yarn", .factor = 8, .yarn_orig = 64 },
      true,
      1 },
    { "llama 3 scaling",
      { BASE, .family = "llama", .hf_class = "LlamaForCausalLM", .hf_type = "llama",
        .rope_json = "\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
                     "\"high_freq_factor\": 4.0, "
                     "\"original_max_position_embeddings\": 128",
        .freq_factors = llama3_factors },
      false,
      1 },
    { "qwen2 with biases",
      { BASE, .family = "qwen2", .hf_class = "Qwen2ForCausalLM", .hf_type = "qwen2", .bias = true },
      false,
      1 },
    { "qwen3",
      { BASE, .family = "qwen3", .hf_class = "Qwen3ForCausalLM", .hf_type = "qwen3", .qk_norm = true,
        .tied = true },
      false,
      3 },
    { "gemma2",
      { BASE, GEMMA, .family = "gemma2", .hf_class = "Gemma2ForCausalLM", .hf_type = "gemma2", .window = 7,
        .period = 2, .softcap = 2, .final_cap = 5, .scalar = 20 },
      false,
      1 },
    { "gemma3",
      { .layers = 7,
        .embd = 64,
        .ff = 96,
        .heads = 4,
        .kv = 1,
        .dim = 16,
        .vocab = 100,
        .ctx = 256,
        .base = 1e6,
        GEMMA,
        .family = "gemma3",
        .hf_class = "Gemma3ForCausalLM",
        .hf_type = "gemma3_text",
        .window = 7,
        .period = 6,
        .local_base = 1e4,
        .qk_norm = true,
        .scalar = 16 },
      false,
      1 },
    { "gemma2 with a head of its own",
      { BASE, UNTIED, .family = "gemma2", .hf_class = "Gemma2ForCausalLM", .hf_type = "gemma2", .window = 7,
        .period = 2, .softcap = 2, .final_cap = 5, .scalar = 16 },
      false,
      1 },
    { "phi3 with a window",
      { BASE, .family = "phi3", .hf_class = "Phi3ForCausalLM", .hf_type = "phi3", .fused = true,
        .window = 11 },
      false,
      1 },
};

/* What llama3's rule gives for base 1e4, 16 dimensions, factor 8 and an original context of 128. */
static void fill_llama3(void)
{
    for (int i = 0; i < 8; i++) {
        double wave = 6.283185307179586 / pow(1e4, -2.0 * i / 16), t = (128 / wave - 1) / 3;
        llama3_factors[i] = (float)(wave < 32 ? 1 : wave > 128 ? 8 : 1 / ((1 - t) / 8 + t));
    }
}

static void check_against_double(const char *what, struct sac_model *m, struct tiny *t, bool with_yarn,
                                 const int *ids)
{
    struct st_file got;
    struct ref r = { .m = t, .ids = ids, .n = N_IDS, .inv = with_yarn ? yarn : NULL };
    double *want = malloc(sizeof *want * N_IDS * (size_t)t->vocab);
    float *narrow = malloc(sizeof *narrow * N_IDS * (size_t)t->vocab);
    ref_forward(&r, want);
    for (int i = 0; i < N_IDS * t->vocab; i++) narrow[i] = (float)want[i];
    outputs(m, ids, N_IDS, &got);
    const struct st_tensor *l = st_find(&got, "logits");
    double d = distance(narrow, l->data, (size_t)N_IDS * (size_t)t->vocab);
    if (!(d <= F32_NEAR)) fail_msg("%s: logits differ by %g", what, d);
    st_close(&got);
    free(want);
    free(narrow);
}

static void test_families(void **state)
{
    (void)state;
    fill_llama3();
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        struct tiny t = made[i].t;
        uint64_t seed = 7 + i;
        int ids[N_IDS];
        tiny_random(&t, seed);
        for (int k = 0; k < N_IDS; k++) ids[k] = (int)(tiny_rand(&seed) % (uint32_t)t.vocab);
        unlink(in_dir("model.safetensors"));
        unlink(in_dir("model.safetensors.index.json"));
        tiny_write_hf(&t, dir, i % 2 ? ST_BF16 : ST_F32, made[i].shards);
        struct sac_model *hf = open_model(dir);
        check_against_double(made[i].what, hf, &t, made[i].yarn, ids);
        struct gw_buf b = tiny_write_gguf(&t, K_F32);
        gw_save(&b, in_dir("c.gguf"));
        free(b.p);
        struct sac_model *gguf = open_model(in_dir("c.gguf"));
        assert_int_equal(sac_model_info(gguf)->window, sac_model_info(hf)->window);
        assert_int_equal(sac_model_info(gguf)->n_window_layers, sac_model_info(hf)->n_window_layers);
        check_against_double(made[i].what, gguf, &t, made[i].yarn, ids);
        sac_model_close(hf);
        sac_model_close(gguf);
        tiny_free(&t);
    }
}

/* Rounding moves every frequency to the nearest bf16, whatever scaling it came from, and nothing else. */
static void test_rounded_frequencies(void **state)
{
    (void)state;
    static const float factors[8] = { 1, 1, 2, 2, 3, 3, 4, 4 };
    for (int scaling = ROPE_NONE; scaling <= ROPE_LONGROPE; scaling++) {
        struct rope_params p = { .base = 1e4,
                                 .factor = 8,
                                 .scaling = (enum rope_scaling)scaling,
                                 .orig_ctx = 64,
                                 .dim = 16,
                                 .attn_factor = 1.5,
                                 .ext_factor = 1,
                                 .beta_fast = 32,
                                 .beta_slow = 1,
                                 .freq_factors =
                                     scaling == ROPE_LLAMA3 || scaling == ROPE_LONGROPE ? factors : NULL };
        struct config c = { .hp = { .rope = p, .rope_local = p } };
        struct sac_arena arena = { 0 };
        assert_true(config_round_frequencies(&c, &arena));
        for (int i = 0; i < 8; i++) {
            double m0, m1, a = rope_frequency(&p, i, &m0), b = rope_frequency(&c.hp.rope, i, &m1);
            float x = (float)a, want;
            uint16_t h;
            to_bf16_c(&x, 1, &h);
            from_bf16_c(&h, 1, &want);
            assert_true(fabs(b - (double)want) <= 1e-7 * (double)want);   /* the factor is an f32 */
            assert_true(fabs(m1 - m0) <= 1e-12);
        }
        sac_arena_free(&arena);
    }
}

/* YaRN as the reference implementation spells it out: frequencies for base 1e4, 16 dimensions, an original
 * context of 4096 and one of 16384, computed apart from this program. */
static void test_yarn_settings(void **state)
{
    (void)state;
    static const struct { const char *json; double inv[6], mscale; } cases[] = {
        { "\"factor\": 4.0", { 1, 0.316227766, 0.1, 0.025693506, 0.00625, 0.00138349648 }, 1.13862944 },
        { "\"factor\": null", { 1, 0.316227766, 0.1, 0.025693506, 0.00625, 0.00138349648 }, 1.13862944 },
        { "\"factor\": 4.0, \"mscale\": 0.707, \"mscale_all_dim\": 0.5",
          { 1, 0.316227766, 0.1, 0.025693506, 0.00625, 0.00138349648 },
          1.02683615 },
        { "\"factor\": 4.0, \"mscale\": 0.707", { 1, 0.316227766, 0.1, 0.025693506, 0.00625, 0.00138349648 },
          1.13862944 },
        { "\"factor\": 4.0, \"attention_factor\": 1.5",
          { 1, 0.316227766, 0.1, 0.025693506, 0.00625, 0.00138349648 },
          1.5 },
        { "\"factor\": 4.0, \"truncate\": false",
          { 1, 0.316227766, 0.1, 0.0286136088, 0.00655697152, 0.00128563203 },
          1.13862944 },
        { "\"factor\": 0.5", { 1, 0.316227766, 0.1, 0.0395284708, 0.015, 0.00553398591 }, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[512];
        struct sac_err err = { SAC_OK, "" };
        struct sac_arena arena = { 0 };
        struct config c = { 0 };
        snprintf(json, sizeof json,
                 "{\"model_type\": \"qwen2\", \"hidden_size\": 64, \"intermediate_size\": 64, "
                 "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"vocab_size\": 10, "
                 "\"max_position_embeddings\": 16384, \"rope_scaling\": {\"rope_type\": \"yarn\", "
                 "\"original_max_position_embeddings\": 4096, %s}}", cases[i].json);
        json_t *o = json_loads(json, 0, NULL);
        assert_non_null(o);
        if (config_hf(&c, o, "folder", &arena, &err)) fail_msg("%s", err.msg);
        for (int k = 0; k < 6; k++) {
            double mscale, inv = rope_frequency(&c.hp.rope, k, &mscale);
            if (fabs(inv - cases[i].inv[k]) > 1e-7 * cases[i].inv[k] || fabs(mscale - cases[i].mscale) > 1e-7)
                fail_msg("%s: frequency %d is %g, mscale %g", cases[i].json, k, inv, mscale);
        }
        json_decref(o);
        sac_arena_free(&arena);
    }
}

/* What a family's own class takes where config.json is silent. */
static void test_defaults(void **state)
{
    (void)state;
    static const struct { const char *type; double eps; bool tied; } cases[] = {
        { "llama", 1e-6, false }, { "mistral", 1e-6, false }, { "qwen2", 1e-6, false },
        { "gemma2", 1e-6, true }, { "gemma3", 1e-6, true },   { "phi3", 1e-5, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sac_err err = { SAC_OK, "" };
        struct sac_arena arena = { 0 };
        struct config c = { 0 };
        json_t *o = json_pack("{ss si si si si si si}", "model_type", cases[i].type, "hidden_size", 64,
                              "intermediate_size", 64, "num_hidden_layers", 2, "num_attention_heads", 4,
                              "vocab_size", 10, "max_position_embeddings", 64);
        assert_non_null(o);
        if (config_hf(&c, o, "folder", &arena, &err)) fail_msg("%s", err.msg);
        if (c.hp.norm_eps != cases[i].eps || c.tied != cases[i].tied || c.tied_known)
            fail_msg("%s: epsilon %g, head tied: %d", cases[i].type, c.hp.norm_eps, c.tied);
        json_decref(o);
        sac_arena_free(&arena);
    }
}

/* Phi 3 with longrope: the short table up to the original context, the long one beyond. */
static void test_longrope(void **state)
{
    (void)state;
    struct tiny t = { BASE, .family = "phi3", .hf_class = "Phi3ForCausalLM", .hf_type = "phi3",
                      .fused = true };
    uint64_t seed = 99;
    int ids[N_IDS];
    char json[400];
    tiny_random(&t, seed);
    for (int k = 0; k < N_IDS; k++) ids[k] = (int)(tiny_rand(&seed) % (uint32_t)t.vocab);
    for (int use_long = 0; use_long < 2; use_long++) {
        int orig = use_long ? 32 : 128;   /* 40 tokens are beyond 32 and within 128 */
        snprintf(json, sizeof json, "\"type\": \"longrope\", \"original_max_position_embeddings\": %d, "
                 "\"attention_factor\": 1.0, \"short_factor\": [1,1,1,1,1,1,1,1], "
                 "\"long_factor\": [1,1,1.5,2,2.5,3,3.5,4]", orig);
        t.rope_json = json;
        unlink(in_dir("model.safetensors.index.json"));
        tiny_write_hf(&t, dir, ST_F32, 1);
        struct sac_model *m = open_model(dir);
        t.freq_factors = use_long ? long_factors : NULL;
        check_against_double(use_long ? "long table" : "short table", m, &t, false, ids);
        t.freq_factors = NULL;
        sac_model_close(m);
    }
    tiny_free(&t);
}

/* All thirteen types: random blocks as weights give the logits of their dequantised values. */
static void test_all_types(void **state)
{
    (void)state;
    struct tiny t = { .layers = 1,
                      .embd = 256,
                      .ff = 256,
                      .heads = 4,
                      .kv = 2,
                      .dim = 64,
                      .vocab = 64,
                      .ctx = 64,
                      .base = 1e4,
                      .family = "llama",
                      .tied = true };
    static const unsigned char half_at[K_N_TYPES][2] = {
        [K_Q2_K] = { 80, 82 },   [K_Q3_K] = { 108, 108 }, [K_Q4_K] = { 0, 2 }, [K_Q5_K] = { 0, 2 },
        [K_Q6_K] = { 208, 208 }, [K_Q4_1] = { 0, 2 },     [K_Q5_1] = { 0, 2 }
    };
    int ids[N_IDS];
    uint64_t seed = 5;
    tiny_random(&t, 3);
    for (int k = 0; k < N_IDS; k++) ids[k] = (int)(tiny_rand(&seed) % 64);
    for (int type = K_Q8_0; type < K_N_TYPES; type++) {
        const struct k_type_info *ti = &k_type_info[type];
        struct gw g = { 0 }, p = { 0 };
        tiny_gguf_keys(&t, &g);
        tiny_gguf_keys(&t, &p);
        for (int i = 0; i < t.n; i++) {
            const struct tiny_tensor *x = &t.t[i];
            char name[96];
            uint64_t ne[2] = { (uint64_t)x->cols, (uint64_t)(x->rows ? x->rows : 1) };
            size_t n = (size_t)ne[0] * (size_t)ne[1], bytes = n / (size_t)ti->block * (size_t)ti->bytes;
            tiny_gguf_name(&t, x->name, name);
            if (!x->rows) {
                gw_tensor(&g, name, 1, ne, 0, x->x, n * 4);
                gw_tensor(&p, name, 1, ne, 0, x->x, n * 4);
                continue;
            }
            unsigned char *q = malloc(bytes);
            float *y = malloc(n * sizeof *y);
            for (size_t b = 0; b < bytes; b++) q[b] = (unsigned char)tiny_rand(&seed);
            for (size_t b = 0; b < bytes; b += (size_t)ti->bytes)
                for (int h = 0; h < 2; h++)   /* small scales, or random bits would be huge */
                    tiny_half(q + b + half_at[type][h],
                              (type < K_Q2_K ? 0.01f : 0.0005f) * (h ? 0.5f : 1.0f));
            dequant_row_c((enum k_type)type, q, (int)n, y);
            gw_tensor(&g, name, 2, ne, tiny_type_id((enum k_type)type), q, bytes);
            gw_tensor(&p, name, 2, ne, 0, y, n * 4);
            free(q);
            free(y);
        }
        struct gw_buf a = gw_finish(&g), b = gw_finish(&p);
        gw_save(&a, in_dir("q.gguf"));
        gw_save(&b, in_dir("p.gguf"));
        free(a.p);
        free(b.p);
        struct sac_model *quant = open_model(in_dir("q.gguf")), *plain = open_model(in_dir("p.gguf"));
        assert_string_equal(sac_model_info(quant)->file_type, ti->name);
        double d = logits_distance(plain, quant, ids, N_IDS);
        if (!(d <= F32_NEAR)) fail_msg("%s: logits differ by %g", ti->name, d);
        sac_model_close(quant);
        sac_model_close(plain);
    }
    tiny_free(&t);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/saccade-arch-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_outputs),
        cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_yarn_settings),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_longrope),
        cmocka_unit_test(test_rounded_frequencies),
        cmocka_unit_test(test_all_types),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
