/* Tiny models for tests: named f32 tensors and settings, written as a Hugging Face folder or as a GGUF file.
 */
#ifndef TESTS_TINY_H
#define TESTS_TINY_H

#include "file/tensors.h"
#include "gguf_write.h"
#include "twins.h"

#include <math.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { TINY_MAX = 256 };

struct tiny_tensor { char name[96]; int rows, cols; float *x; };   /* rows 0: a vector */

/* Settings in the words of config.json; zero means absent. */
struct tiny {
    const char *family, *hf_class, *hf_type;
    int layers, embd, ff, heads, kv, dim, vocab, ctx;
    double base, local_base, softcap, final_cap, scalar;   /* scalar: query_pre_attn_scalar */
    int window, period;            /* layer i is local iff (i + 1) % period != 0; period 0: all of them */
    bool gelu, qk_norm, post_norms, plus_one, scale_embd, fused, bias, tied;
    const char *rope_json;         /* members of rope_scaling, or NULL */
    int yarn_orig;                 /* for GGUF, which says it in its own keys */
    double factor;
    const char *scaling;           /* GGUF's name of it */
    const float *freq_factors;     /* [dim/2] for GGUF and for the reference */
    struct tiny_tensor t[TINY_MAX];
    int n;
};

static inline float *tiny_add(struct tiny *m, const char *name, int rows, int cols)
{
    struct tiny_tensor *t = &m->t[m->n++];
    size_t count = (size_t)(rows ? rows : 1) * (size_t)cols;
    if (m->n > TINY_MAX) abort();
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows;
    t->cols = cols;
    t->x = calloc(count, sizeof *t->x);
    if (!t->x) abort();
    return t->x;
}

static inline struct tiny_tensor *tiny_find(struct tiny *m, const char *name)
{
    for (int i = 0; i < m->n; i++)
        if (!strcmp(m->t[i].name, name)) return &m->t[i];
    return NULL;
}

static inline void tiny_free(struct tiny *m)
{
    for (int i = 0; i < m->n; i++) free(m->t[i].x);
    m->n = 0;
}

static inline uint32_t tiny_rand(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 32);
}

/* Uniform around `mean`, exact in bf16. */
static inline void tiny_fill(float *x, size_t n, double mean, double spread, uint64_t *seed)
{
    for (size_t i = 0; i < n; i++) {
        float v = (float)(mean + spread * ((double)tiny_rand(seed) / 2147483648.0 - 1.0));
        uint16_t h;
        to_bf16_c(&v, 1, &h);
        from_bf16_c(&h, 1, &x[i]);
    }
}

static inline void tiny_layer(struct tiny *m, int l, uint64_t *seed)
{
    char name[96];
    int q = m->heads * m->dim, k = m->kv * m->dim;
    double norm = m->plus_one ? 0 : 1;
    const struct { const char *name; int rows, cols; bool use, is_norm; } all[] = {
        { "input_layernorm.weight", 0, m->embd, true, true },
        { "post_attention_layernorm.weight", 0, m->embd, true, true },
        { "pre_feedforward_layernorm.weight", 0, m->embd, m->post_norms, true },
        { "post_feedforward_layernorm.weight", 0, m->embd, m->post_norms, true },
        { "self_attn.q_norm.weight", 0, m->dim, m->qk_norm, true },
        { "self_attn.k_norm.weight", 0, m->dim, m->qk_norm, true },
        { "self_attn.q_proj.weight", q, m->embd, !m->fused, false },
        { "self_attn.k_proj.weight", k, m->embd, !m->fused, false },
        { "self_attn.v_proj.weight", k, m->embd, !m->fused, false },
        { "self_attn.qkv_proj.weight", q + 2 * k, m->embd, m->fused, false },
        { "self_attn.q_proj.bias", 0, q, m->bias, false },
        { "self_attn.k_proj.bias", 0, k, m->bias, false },
        { "self_attn.v_proj.bias", 0, k, m->bias, false },
        { "self_attn.o_proj.weight", m->embd, q, true, false },
        { "mlp.gate_proj.weight", m->ff, m->embd, !m->fused, false },
        { "mlp.up_proj.weight", m->ff, m->embd, !m->fused, false },
        { "mlp.gate_up_proj.weight", 2 * m->ff, m->embd, m->fused, false },
        { "mlp.down_proj.weight", m->embd, m->ff, true, false },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i].use) continue;
        snprintf(name, sizeof name, "model.layers.%d.%s", l, all[i].name);
        float *x = tiny_add(m, name, all[i].rows, all[i].cols);
        size_t count = (size_t)(all[i].rows ? all[i].rows : 1) * (size_t)all[i].cols;
        if (all[i].is_norm) tiny_fill(x, count, norm, 0.3, seed);
        else tiny_fill(x, count, 0, all[i].rows ? 2.0 / sqrt(all[i].cols) : 0.2, seed);
    }
}

static inline void tiny_random(struct tiny *m, uint64_t seed)
{
    tiny_fill(tiny_add(m, "model.embed_tokens.weight", m->vocab, m->embd), (size_t)m->vocab * (size_t)m->embd,
              0, m->scale_embd ? 0.2 : 1, &seed);
    for (int l = 0; l < m->layers; l++) tiny_layer(m, l, &seed);
    tiny_fill(tiny_add(m, "model.norm.weight", 0, m->embd), (size_t)m->embd, m->plus_one ? 0 : 1, 0.3, &seed);
    if (!m->tied)
        tiny_fill(tiny_add(m, "lm_head.weight", m->vocab, m->embd), (size_t)m->vocab * (size_t)m->embd, 0,
                  2.0 / sqrt(m->embd), &seed);
}

/* Tensors of a safetensors file as f32. */
static inline bool tiny_load(struct tiny *m, const char *path)
{
    struct st_file f;
    if (st_open(&f, path, NULL)) return false;
    for (int i = 0; i < f.n; i++) {
        const struct st_tensor *t = &f.tensor[i];
        int rows = t->n_dims > 1 ? (int)t->shape[0] : 0, cols = (int)t->shape[t->n_dims - 1];
        float *x = tiny_add(m, t->name, rows, cols);
        dequant_row_c(t->dtype == ST_BF16 ? K_BF16 : t->dtype == ST_F16 ? K_F16 : K_F32, t->data,
                      (rows ? rows : 1) * cols, x);
    }
    st_close(&f);
    return true;
}

/* ---- Hugging Face ---- */

static inline void tiny_config(const struct tiny *m, FILE *f)
{
    fprintf(f,
            "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", \"hidden_size\": %d, "
            "\"intermediate_size\": %d, "
            "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, "
            "\"head_dim\": %d, "
            "\"vocab_size\": %d, \"max_position_embeddings\": %d, \"rope_theta\": %.10g, \"rms_norm_eps\": "
            "1e-06, "
            "\"tie_word_embeddings\": %s, \"dtype\": \"float32\"",
            m->hf_class, m->hf_type, m->embd, m->ff, m->layers, m->heads, m->kv, m->dim, m->vocab, m->ctx,
            m->base, m->tied ? "true" : "false");
    fprintf(f, ", \"%s\": \"%s\"", m->gelu ? "hidden_activation" : "hidden_act",
            m->gelu ? "gelu_pytorch_tanh" : "silu");
    if (m->window) fprintf(f, ", \"sliding_window\": %d, \"use_sliding_window\": true", m->window);
    if (m->local_base > 0)
        fprintf(f, ", \"rope_local_base_freq\": %.10g, \"sliding_window_pattern\": %d", m->local_base,
                m->period);
    if (m->scalar > 0) fprintf(f, ", \"query_pre_attn_scalar\": %.10g", m->scalar);
    if (m->plus_one && m->softcap > 0) fprintf(f, ", \"attn_logit_softcapping\": %g", m->softcap);
    if (m->plus_one && m->final_cap > 0) fprintf(f, ", \"final_logit_softcapping\": %g", m->final_cap);
    if (m->rope_json) fprintf(f, ", \"rope_scaling\": {%s}", m->rope_json);
    fprintf(f, "}\n");
}

/* Into an existing folder, weights in dtype; n_shards > 1 writes an index. */
static inline void tiny_write_hf(const struct tiny *m, const char *dir, enum st_dtype dtype, int n_shards)
{
    char path[1024], file[64];
    struct sac_err err = { SAC_OK, "" };
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "w");
    if (!f) abort();
    tiny_config(m, f);
    fclose(f);
    FILE *index = NULL;
    if (n_shards > 1) {
        snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
        index = fopen(path, "w");
        if (!index) abort();
        fprintf(index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    }
    for (int s = 0; s < n_shards; s++) {
        if (n_shards > 1) snprintf(file, sizeof file, "model-%05d-of-%05d.safetensors", s + 1, n_shards);
        else snprintf(file, sizeof file, "model.safetensors");
        snprintf(path, sizeof path, "%s/%s", dir, file);
        struct st_writer *w;
        if (st_create(&w, path, true, &err)) abort();
        for (int i = s; i < m->n; i += n_shards) {
            const struct tiny_tensor *t = &m->t[i];
            int n = (t->rows ? t->rows : 1) * t->cols;
            int64_t shape[2] = { t->rows ? t->rows : t->cols, t->cols };
            uint16_t *half = malloc((size_t)n * 2);
            if (!half) abort();
            if (dtype == ST_F16) to_f16_c(t->x, n, half);
            if (dtype == ST_BF16) to_bf16_c(t->x, n, half);
            if (st_add(w, t->name, dtype, t->rows ? 2 : 1, shape, dtype == ST_F32 ? (const void *)t->x : half,
                       &err))
                abort();
            free(half);
            if (index) fprintf(index, "%s\"%s\": \"%s\"", i ? ", " : "", t->name, file);
        }
        if (st_finish(w, &err)) abort();
    }
    if (index) {
        fprintf(index, "}}\n");
        fclose(index);
    }
}

/* ---- quantising: enough for tests, as the format's rules say ---- */

static inline void tiny_half(unsigned char *b, float x) { uint16_t h; to_f16_c(&x, 1, &h); memcpy(b, &h, 2); }

static inline int tiny_clamp(float x, int max) { return x < 0 ? 0 : x > (float)max ? max : (int)x; }

/* One block of 32 of a type with 4 or 5 bits (Q4_0, Q4_1, Q5_0, Q5_1) or 8 (Q8_0). */
static inline void tiny_block(enum k_type type, const float *x, unsigned char *b)
{
    bool five = type == K_Q5_0 || type == K_Q5_1, minimum = type == K_Q4_1 || type == K_Q5_1;
    int top = five ? 31 : 15, head = (minimum ? 4 : 2) + (five ? 4 : 0);
    float lo = x[0], hi = x[0], far = x[0];
    uint32_t fifth = 0;
    for (int i = 1; i < 32; i++) {
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
        if (fabsf(x[i]) > fabsf(far)) far = x[i];
    }
    memset(b, 0, (size_t)k_type_info[type].bytes);
    if (type == K_Q8_0) {
        float d = fabsf(far) / 127;
        tiny_half(b, d);
        for (int i = 0; i < 32; i++) b[2 + i] = (unsigned char)(int8_t)(d > 0 ? lrintf(x[i] / d) : 0);
        return;
    }
    float d = minimum ? (hi - lo) / (float)top : far / -(float)((top + 1) / 2);
    tiny_half(b, d);
    if (minimum) tiny_half(b + 2, lo);
    for (int i = 0; i < 32; i++) {
        float v = d == 0 ? 0 : minimum ? (x[i] - lo) / d + 0.5f : x[i] / d + (float)((top + 1) / 2) + 0.5f;
        int q = tiny_clamp(v, top);
        b[head + i % 16] |= (unsigned char)((q & 15) << (i < 16 ? 0 : 4));
        fifth |= (uint32_t)(q >> 4) << i;
    }
    if (five) memcpy(b + head - 4, &fifth, 4);
}

/* n values, a multiple of the block, as `type`; malloc'ed. */
static inline void *tiny_quantise(enum k_type type, const float *x, size_t n, size_t *bytes)
{
    const struct k_type_info *ti = &k_type_info[type];
    *bytes = n / (size_t)ti->block * (size_t)ti->bytes;
    unsigned char *out = malloc(*bytes);
    if (!out) abort();
    if (type == K_F32) memcpy(out, x, *bytes);
    for (size_t i = 0; i < n && type != K_F32; i += (size_t)ti->block, out += ti->bytes) {
        uint16_t h;
        if (type == K_F16) to_f16_c(x + i, 1, &h), memcpy(out, &h, 2);
        else if (type == K_BF16) to_bf16_c(x + i, 1, &h), memcpy(out, &h, 2);
        else tiny_block(type, x + i, out);
    }
    return type == K_F32 ? out : out - *bytes;
}

/* ---- GGUF ---- */

static inline uint32_t tiny_type_id(enum k_type t)
{
    static const uint32_t id[K_N_TYPES] = {
        [K_F32] = 0,  [K_F16] = 1,   [K_BF16] = 30, [K_Q8_0] = 8,  [K_Q4_0] = 2,  [K_Q4_1] = 3, [K_Q5_0] = 6,
        [K_Q5_1] = 7, [K_Q2_K] = 10, [K_Q3_K] = 11, [K_Q4_K] = 12, [K_Q5_K] = 13, [K_Q6_K] = 14
    };
    return id[t];
}

static inline void tiny_gguf_name(const struct tiny *m, const char *hf, char out[96])
{
    static const char *const map[][2] = {
        { "input_layernorm", "attn_norm" },
        { "pre_feedforward_layernorm", "ffn_norm" },
        { "post_feedforward_layernorm", "post_ffw_norm" },
        { "self_attn.q_proj", "attn_q" },
        { "self_attn.k_proj", "attn_k" },
        { "self_attn.v_proj", "attn_v" },
        { "self_attn.o_proj", "attn_output" },
        { "self_attn.qkv_proj", "attn_qkv" },
        { "self_attn.q_norm", "attn_q_norm" },
        { "self_attn.k_norm", "attn_k_norm" },
        { "mlp.gate_proj", "ffn_gate" },
        { "mlp.up_proj", "ffn_up" },
        { "mlp.gate_up_proj", "ffn_up" },
        { "mlp.down_proj", "ffn_down" },
    };
    int l, at = 0;
    if (sscanf(hf, "model.layers.%d.%n", &l, &at) != 1 || !at) {
        snprintf(out, 96, "%s", !strcmp(hf, "model.embed_tokens.weight") ? "token_embd.weight"
                                : !strcmp(hf, "model.norm.weight") ? "output_norm.weight" : "output.weight");
        return;
    }
    const char *end = strrchr(hf, '.'), *name = m->post_norms ? "post_attention_norm" : "ffn_norm";
    size_t len = (size_t)(end - hf) - (size_t)at;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (strlen(map[i][0]) == len && !memcmp(hf + at, map[i][0], len)) name = map[i][1];
    snprintf(out, 96, "blk.%d.%s%s", l, name, end);
}

/* q and k rows of llama are reordered for adjacent RoPE pairs. */
static inline void tiny_permute(const struct tiny *m, const struct tiny_tensor *t, float *y)
{
    int heads = strstr(t->name, "q_proj") ? m->heads : m->kv, half = m->dim / 2;
    size_t cols = t->rows ? (size_t)t->cols : 1;
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < half; i++)
            for (int s = 0; s < 2; s++)
                memcpy(y + (size_t)(h * m->dim + 2 * i + s) * cols,
                       t->x + (size_t)(h * m->dim + s * half + i) * cols, cols * sizeof *y);
}

static inline void tiny_gguf_keys(const struct tiny *m, struct gw *g)
{
    char key[96];
#define KEY(name) (snprintf(key, sizeof key, "%s.%s", m->family, name), key)
    gw_text(g, "general.architecture", m->family);
    gw_u32(g, KEY("block_count"), (uint32_t)m->layers);
    gw_u32(g, KEY("context_length"), (uint32_t)m->ctx);
    gw_u32(g, KEY("embedding_length"), (uint32_t)m->embd);
    gw_u32(g, KEY("feed_forward_length"), (uint32_t)m->ff);
    gw_u32(g, KEY("attention.head_count"), (uint32_t)m->heads);
    gw_u32(g, KEY("attention.head_count_kv"), (uint32_t)m->kv);
    gw_u32(g, KEY("attention.key_length"), (uint32_t)m->dim);
    gw_u32(g, KEY("attention.value_length"), (uint32_t)m->dim);
    gw_f32(g, KEY("attention.layer_norm_rms_epsilon"), 1e-6f);
    gw_f32(g, KEY("rope.freq_base"), (float)m->base);
    if (m->window) gw_u32(g, KEY("attention.sliding_window"), (uint32_t)m->window);
    if (m->scalar > 0) gw_f32(g, KEY("attention.scale"), (float)(1.0 / sqrt(m->scalar)));
    if (m->plus_one) gw_f32(g, KEY("attn_logit_softcapping"), (float)m->softcap);
    if (m->plus_one) gw_f32(g, KEY("final_logit_softcapping"), (float)m->final_cap);
    if (m->local_base > 0) gw_f32(g, KEY("rope.freq_base_swa"), (float)m->local_base);
    if (m->scaling) {
        gw_text(g, KEY("rope.scaling.type"), m->scaling);
        gw_f32(g, KEY("rope.scaling.factor"), (float)m->factor);
        if (m->yarn_orig) gw_u32(g, KEY("rope.scaling.original_context_length"), (uint32_t)m->yarn_orig);
    }
#undef KEY
}

/* Matrices in `type`, vectors in F32. */
static inline struct gw_buf tiny_write_gguf(const struct tiny *m, enum k_type type)
{
    struct gw g = { .version = type == K_F16 ? 2 : 3, .align = type == K_BF16 ? 64 : 0 };
    tiny_gguf_keys(m, &g);
    for (int i = 0; i < m->n; i++) {
        const struct tiny_tensor *t = &m->t[i];
        char name[96];
        size_t n = (size_t)(t->rows ? t->rows : 1) * (size_t)t->cols, bytes;
        float *y = malloc(n * sizeof *y);
        if (!y) abort();
        memcpy(y, t->x, n * sizeof *y);
        bool rotated = strstr(t->name, "q_proj") || strstr(t->name, "k_proj");
        if (!strcmp(m->family, "llama") && rotated) tiny_permute(m, t, y);
        const char *end = strstr(t->name, "norm.weight");
        for (size_t k = 0; k < n && m->plus_one && end; k++) y[k] += 1;
        tiny_gguf_name(m, t->name, name);
        void *data = tiny_quantise(t->rows ? type : K_F32, y, n, &bytes);
        uint64_t ne[2] = { (uint64_t)t->cols, (uint64_t)(t->rows ? t->rows : 1) };
        gw_tensor(&g, name, t->rows ? 2 : 1, ne, tiny_type_id(t->rows ? type : K_F32), data, bytes);
        free(data);
        free(y);
    }
    if (m->freq_factors) {
        uint64_t ne[1] = { (uint64_t)m->dim / 2 };
        gw_tensor(&g, "rope_freqs.weight", 1, ne, 0, m->freq_factors, (size_t)m->dim / 2 * 4);
    }
    return gw_finish(&g);
}
#endif
