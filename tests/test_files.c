/* Model files that are damaged, hostile or of a kind this program does not run: each is refused with the
 * right code and a sentence that names the matter. And sound files in all their forms: versions, alignments,
 * shards. */
#include "model/family.h"
#include "tiny.h"

#include <saccade/model.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void write_file(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(in_dir(name), "wb");
    assert_true(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static void check_says(enum sac_code got, enum sac_code want, const struct sac_err *err, const char *says)
{
    if (got != want || !strstr(err->msg, says))
        fail_msg("code %d, '%s'; expected %d and '%s'", got, err->msg, want, says);
    assert_null(strchr(err->msg, '\n'));
}

/* ---- GGUF by hand ---- */

static void parse_says(const struct gw_buf *b, enum sac_code want, const char *says)
{
    struct sac_err err = { SAC_OK, "" };
    struct gguf g;
    unsigned char *copy = malloc(b->n ? b->n : 1);   /* exact size: a sanitizer sees every read beyond */
    assert_non_null(copy);
    if (b->n) memcpy(copy, b->p, b->n);
    enum sac_code rc = gguf_parse(&g, copy, b->n, "file", &err);
    free(copy);
    if (!want && rc) fail_msg("%s", err.msg);
    if (want) check_says(rc, want, &err, says);
    else gguf_close(&g);
}

/* A sound file of two tensors; `break_it` may change the parts before they are put together. */
static struct gw_buf small_file(void (*break_it)(struct gw *g))
{
    struct gw g = { 0 };
    static const float x[64];
    gw_text(&g, "general.architecture", "llama");
    gw_array(&g, "odd", 6, 3);               /* f32 at an unaligned place */
    gw_put(&g.kv, x, 12);
    gw_tensor(&g, "a", 2, (uint64_t[]){ 8, 4 }, 0, x, 128);
    gw_tensor(&g, "b", 1, (uint64_t[]){ 32 }, 8, x, 34);
    if (break_it) break_it(&g);
    return gw_finish(&g);
}

static void info(struct gw *g, const char *name, int dims, const uint64_t *ne, uint32_t type, uint64_t offset)
{
    gw_text_raw(&g->info, name);
    gw_u32_raw(&g->info, (uint32_t)dims);
    for (int i = 0; i < dims; i++) gw_u64_raw(&g->info, ne[i]);
    gw_u32_raw(&g->info, type);
    gw_u64_raw(&g->info, offset);
    g->n_tensors++;
}

static void b_duplicate(struct gw *g) { info(g, "a", 1, (uint64_t[]){ 8 }, 0, 192); gw_put(&g->data, "", 0); }
static void b_overlap(struct gw *g) { info(g, "c", 1, (uint64_t[]){ 8 }, 0, 64); }
static void b_beyond(struct gw *g) { info(g, "c", 1, (uint64_t[]){ 1000 }, 0, 160); }
static void b_offset_wraps(struct gw *g) { info(g, "c", 1, (uint64_t[]){ 8 }, 0, UINT64_MAX - 31); }
static void b_unaligned(struct gw *g) { info(g, "c", 1, (uint64_t[]){ 8 }, 0, 8); }
static void b_no_dims(struct gw *g) { info(g, "c", 0, NULL, 0, 0); }
static void b_five_dims(struct gw *g) { info(g, "c", 5, (uint64_t[]){ 1, 1, 1, 1, 1 }, 0, 0); }
static void b_zero_dim(struct gw *g) { info(g, "c", 2, (uint64_t[]){ 0, UINT64_MAX }, 0, 0); }
static void b_huge_dim(struct gw *g) { info(g, "c", 1, (uint64_t[]){ UINT64_MAX }, 0, 0); }
static void b_wrapping_dims(struct gw *g)
{
    info(g, "c", 4, (uint64_t[]){ (uint64_t)1 << 33, (uint64_t)1 << 33, 4, 4 }, 0, 0);
}
/* 2^60 elements of 8 bytes: the elements fit, the bytes do not */
static void b_wrapping_bytes(struct gw *g)
{
    info(g, "c", 2, (uint64_t[]){ (uint64_t)1 << 40, (uint64_t)1 << 20 }, 28, 0);
}
static void b_removed_type(struct gw *g) { info(g, "c", 1, (uint64_t[]){ 32 }, 4, 0); }
static void b_unknown_type(struct gw *g) { info(g, "c", 1, (uint64_t[]){ 32 }, 0xffffffff, 0); }
static void b_partial_block(struct gw *g) { info(g, "c", 2, (uint64_t[]){ 33, 2 }, 8, 0); }
static void b_empty_name(struct gw *g) { info(g, "", 1, (uint64_t[]){ 8 }, 0, 0); }
static void b_same_key(struct gw *g) { gw_u32(g, "general.architecture", 1); }
static void b_empty_key(struct gw *g) { gw_u32(g, "", 1); }
static void b_value_type(struct gw *g) { gw_key(g, "x", 13); gw_u64_raw(&g->kv, 0); }
static void b_nested(struct gw *g) { gw_array(g, "x", 9, 1); gw_u64_raw(&g->kv, 0); }
static void b_array_type(struct gw *g) { gw_array(g, "x", 0x80000001, 1); gw_u64_raw(&g->kv, 0); }
static void b_array_count(struct gw *g) { gw_array(g, "x", 4, UINT64_MAX / 4 + 1); }
static void b_string_array(struct gw *g) { gw_array(g, "x", 8, (uint64_t)1 << 60); }
static void b_string_length(struct gw *g) { gw_key(g, "x", 8); gw_u64_raw(&g->kv, UINT64_MAX); }
static void b_bool(struct gw *g) { gw_bool(g, "x", 7); }
static void b_align_zero(struct gw *g) { gw_u32(g, "general.alignment", 0); }
static void b_align_odd(struct gw *g) { gw_u32(g, "general.alignment", 48); }
static void b_align_huge(struct gw *g) { gw_u32(g, "general.alignment", 0x80000000u); }
static void b_align_type(struct gw *g) { gw_text(g, "general.alignment", "32"); }

static void test_gguf_hostile(void **state)
{
    (void)state;
    static const struct { void (*break_it)(struct gw *g); enum sac_code code; const char *says; } cases[] = {
        { NULL, SAC_OK, "" },
        { b_duplicate, SAC_EFORMAT, "'a' is declared twice" },
        { b_overlap, SAC_EFORMAT, "'a' and 'c' overlap" },
        { b_beyond, SAC_EFORMAT, "'c' needs 4000 bytes" },
        { b_offset_wraps, SAC_EFORMAT, "'c' needs 32 bytes" },
        { b_unaligned, SAC_EFORMAT, "not a multiple of the alignment 32" },
        { b_no_dims, SAC_EFORMAT, "0 dimensions" },
        { b_five_dims, SAC_EFORMAT, "5 dimensions" },
        { b_zero_dim, SAC_EFORMAT, "impossible dimension" },
        { b_huge_dim, SAC_EFORMAT, "impossible dimension" },
        { b_wrapping_dims, SAC_EFORMAT, "impossible dimension" },
        { b_wrapping_bytes, SAC_EFORMAT, "larger than any file" },
        { b_removed_type, SAC_ENOTSUP, "type id 4" },
        { b_unknown_type, SAC_ENOTSUP, "type id 4294967295" },
        { b_partial_block, SAC_EFORMAT, "rows of 33 values; Q8_0 needs a multiple of 32" },
        { b_empty_name, SAC_EFORMAT, "damaged name" },
        { b_same_key, SAC_EFORMAT, "'general.architecture' is given twice" },
        { b_empty_key, SAC_EFORMAT, "key is empty" },
        { b_value_type, SAC_EFORMAT, "value type 13" },
        { b_nested, SAC_EFORMAT, "array of type 9" },
        { b_array_type, SAC_EFORMAT, "array of type 2147483649" },
        { b_array_count, SAC_EFORMAT, "announces 4611686018427387904 elements" },
        { b_string_array, SAC_EFORMAT, "announces 1152921504606846976 elements" },
        { b_string_length, SAC_EFORMAT, "ends inside metadata" },
        { b_bool, SAC_EFORMAT, "bool of value 7" },
        { b_align_zero, SAC_EFORMAT, "general.alignment" },
        { b_align_odd, SAC_EFORMAT, "general.alignment" },
        { b_align_huge, SAC_EFORMAT, "general.alignment" },
        { b_align_type, SAC_EFORMAT, "general.alignment" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gw_buf b = small_file(cases[i].break_it);
        parse_says(&b, cases[i].code, cases[i].says);
        free(b.p);
    }
}

static void test_gguf_header(void **state)
{
    (void)state;
    static const struct { size_t at; uint32_t value; enum sac_code code; const char *says; } cases[] = {
        { 0, 0x47475546, SAC_EFORMAT, "not a GGUF file" },
        { 4, 1, SAC_ENOTSUP, "version 1" },
        { 4, 4, SAC_ENOTSUP, "version 4" },
        { 4, 0x03000000, SAC_ENOTSUP, "big-endian" },
        { 12, 1, SAC_EFORMAT, "tensors, more than it can hold" },          /* 2^32 + 2 */
        { 8, 0xffffffff, SAC_EFORMAT, "tensors, more than it can hold" },
        { 20, 0x80000000, SAC_EFORMAT, "metadata entries, more than it can hold" },
        { 16, 3000, SAC_EFORMAT, "metadata" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gw_buf b = small_file(NULL);
        memcpy(b.p + cases[i].at, &cases[i].value, 4);
        parse_says(&b, cases[i].code, cases[i].says);
        free(b.p);
    }
}

/* Cut at every byte, a file fails cleanly; only the padding behind the last tensor may be missing. */
static void test_gguf_truncated(void **state)
{
    (void)state;
    struct gw_buf b = small_file(NULL);
    size_t full = b.n;
    for (size_t n = 0; n < full; n++) {
        struct sac_err err = { SAC_OK, "" };
        struct gguf g;
        unsigned char *copy = malloc(n ? n : 1);
        memcpy(copy, b.p, n);
        if (gguf_parse(&g, copy, n, "file", &err) == SAC_OK)
            fail_msg("accepted with %zu of %zu bytes", n, full);
        free(copy);
    }
    free(b.p);
    struct gw g = { .version = 2, .align = 64 };
    static const float x[8] = { 1, 2, 3 };
    gw_text(&g, "general.architecture", "llama");
    gw_tensor(&g, "a", 1, (uint64_t[]){ 3 }, 0, x, 12);                    /* ends unpadded */
    b = gw_finish(&g);
    parse_says(&b, SAC_OK, "");
    free(b.p);
    struct gw none = { 0 };
    gw_text(&none, "general.architecture", "llama");
    b = gw_finish(&none);
    parse_says(&b, SAC_OK, "");                                            /* a vocabulary file has no data */
    free(b.p);
}

/* ---- split GGUF ---- */

static void write_split(const struct tiny *t, int count, int no_of_second, uint32_t total, const char *extra)
{
    for (int s = 0; s < count; s++) {
        struct gw g = { 0 };
        char name[64];
        if (s == 0) tiny_gguf_keys(t, &g);
        else gw_text(&g, "general.architecture", t->family);
        gw_u32(&g, "split.no", (uint32_t)(s == 1 ? no_of_second : s));
        gw_u32(&g, "split.count", (uint32_t)count);
        gw_u32(&g, "split.tensors.count", total);
        for (int i = s; i < t->n; i += count) {
            const struct tiny_tensor *x = &t->t[i];
            char gguf[96];
            size_t n = (size_t)(x->rows ? x->rows : 1) * (size_t)x->cols;
            uint64_t ne[2] = { (uint64_t)x->cols, (uint64_t)x->rows };
            tiny_gguf_name(t, x->name, gguf);
            gw_tensor(&g, gguf, x->rows ? 2 : 1, ne, 0, x->x, n * 4);
        }
        if (s == 1 && extra)
            gw_tensor(&g, extra, 1, (uint64_t[]){ (uint64_t)t->embd }, 0, t->t[0].x, (size_t)t->embd * 4);
        struct gw_buf b = gw_finish(&g);
        snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", s + 1, count);
        write_file(name, b.p, b.n);
        free(b.p);
    }
}

static const struct tiny small_llama = { .layers = 2,
                                         .embd = 32,
                                         .ff = 32,
                                         .heads = 2,
                                         .kv = 1,
                                         .dim = 16,
                                         .vocab = 8,
                                         .ctx = 64,
                                         .base = 1e4,
                                         .family = "llama",
                                         .hf_class = "LlamaForCausalLM",
                                         .hf_type = "llama",
                                         .tied = true };

static enum sac_code open_code(const char *name, struct sac_err *err)
{
    struct sac_model *m;
    struct sac_model_opts o = { .threads = 1 };
    *err = (struct sac_err){ SAC_OK, "" };
    enum sac_code rc = sac_model_open(&m, in_dir(name), &o, err);
    if (!rc) sac_model_close(m);
    else assert_null(m);
    return rc;
}

static void test_split(void **state)
{
    (void)state;
    struct tiny t = small_llama;
    struct sac_err err;
    tiny_random(&t, 1);
    write_split(&t, 3, 1, (uint32_t)t.n, NULL);
    if (open_code("m-00001-of-00003.gguf", &err)) fail_msg("%s", err.msg);
    check_says(open_code("m-00002-of-00003.gguf", &err), SAC_EARG, &err, "open the first part");
    write_split(&t, 3, 2, (uint32_t)t.n, NULL);
    check_says(open_code("m-00001-of-00003.gguf", &err), SAC_EFORMAT, &err, "says it is part 3 of 3");
    write_split(&t, 3, 1, (uint32_t)t.n + 1, NULL);
    check_says(open_code("m-00001-of-00003.gguf", &err), SAC_EFORMAT, &err, "are announced");
    write_split(&t, 3, 1, (uint32_t)t.n + 1, "token_embd.weight");
    check_says(open_code("m-00001-of-00003.gguf", &err), SAC_EFORMAT, &err, "declared twice");
    write_split(&t, 3, 1, (uint32_t)t.n, NULL);
    unlink(in_dir("m-00003-of-00003.gguf"));
    check_says(open_code("m-00001-of-00003.gguf", &err), SAC_EFORMAT, &err,
               "m-00003-of-00003.gguf: cannot open");
    tiny_free(&t);
}

/* ---- settings and weights of GGUF models ---- */

static void gguf_model(const struct tiny *t, const char *skip, void (*more)(struct gw *g), bool keys)
{
    struct gw g = { 0 };
    if (keys) tiny_gguf_keys(t, &g);
    if (more) more(&g);
    for (int i = 0; i < t->n; i++) {
        const struct tiny_tensor *x = &t->t[i];
        char name[96];
        size_t n = (size_t)(x->rows ? x->rows : 1) * (size_t)x->cols;
        uint64_t ne[2] = { (uint64_t)x->cols, (uint64_t)x->rows };
        tiny_gguf_name(t, x->name, name);
        if (skip && !strcmp(skip, name)) continue;
        gw_tensor(&g, name, x->rows ? 2 : 1, ne, 0, x->x, n * 4);
    }
    struct gw_buf b = gw_finish(&g);
    write_file("x.gguf", b.p, b.n);
    free(b.p);
}

static void m_experts(struct gw *g) { gw_u32(g, "llama.expert_count", 8); }
static void m_rope(struct gw *g) { gw_text(g, "llama.rope.scaling.type", "dynamic"); }
static void m_adapter(struct gw *g) { gw_text(g, "general.type", "adapter"); }
static void m_base_text(struct gw *g) { gw_text(g, "llama.rope.scaling.factor", "two"); }
static void m_factor_nan(struct gw *g) { gw_f32(g, "llama.rope.scaling.factor", NAN); }
static void m_values(struct gw *g) { gw_u32(g, "llama.rope.dimension_count", 5); }
static void m_arch(struct gw *g) { gw_text(g, "general.architecture", "mamba"); }
static void m_bert(struct gw *g)
{
    static const char *const one[] = { "a" };
    gw_text(g, "tokenizer.ggml.model", "bert");
    gw_texts(g, "tokenizer.ggml.tokens", one, 1);
}
static void m_extra_norm(struct gw *g)
{
    static const float x[16];
    gw_tensor(g, "blk.0.attn_q_norm.weight", 1, (uint64_t[]){ 16 }, 0, x, 64);
}
static void m_seen_behind(struct gw *g) { gw_bool(g, "llama.attention.causal", 0); }
static void m_stranger(struct gw *g)
{
    static const float x[1];
    gw_tensor(g, "blk.0.attn_q.scale", 1, (uint64_t[]){ 1 }, 0, x, 4);
}
static void m_third_layer(struct gw *g)
{
    static const float x[32];
    gw_tensor(g, "blk.2.attn_norm.weight", 1, (uint64_t[]){ 32 }, 0, x, 128);
}
static void m_head_bias(struct gw *g)
{
    static const float x[40];
    gw_tensor(g, "output.bias", 1, (uint64_t[]){ 40 }, 0, x, 160);
}
static void m_bystander(struct gw *g)
{
    static const float x[4];
    gw_tensor(g, "blk.0.attn_rot_embd.weight", 1, (uint64_t[]){ 4 }, 0, x, 16);
    gw_tensor(g, "vision.patch.weight", 1, (uint64_t[]){ 4 }, 0, x, 16);
}
static void m_tokens(struct gw *g)
{
    static const char *const one[] = { "a" };
    gw_text(g, "tokenizer.ggml.model", "llama");
    gw_texts(g, "tokenizer.ggml.tokens", one, 1);           /* BOS would default to 1, outside */
    gw_array(g, "tokenizer.ggml.scores", 6, 2);
    gw_u64_raw(&g->kv, 0);
}

static void test_gguf_models(void **state)
{
    (void)state;
    static const struct {
        const char *skip;
        void (*more)(struct gw *g);
        bool no_keys;
        enum sac_code code;
        const char *says;
    } cases[] = {
        { NULL, NULL, false, SAC_OK, "" },
        { "blk.1.ffn_down.weight", NULL, false, SAC_EFORMAT, "lacks tensor 'blk.1.ffn_down.weight'" },
        { "output_norm.weight", NULL, false, SAC_EFORMAT, "lacks tensor 'output_norm.weight'" },
        { "token_embd.weight", NULL, false, SAC_EFORMAT, "lacks tensor 'token_embd.weight'" },
        { NULL, m_experts, false, SAC_ENOTSUP, "mixture of experts" },
        { NULL, m_rope, false, SAC_ENOTSUP, "RoPE type dynamic" },
        { NULL, m_adapter, false, SAC_ENOTSUP, "holds a adapter" },
        { NULL, m_base_text, false, SAC_EFORMAT, "a number is expected" },
        { NULL, m_factor_nan, false, SAC_EFORMAT, "not a finite number" },
        { NULL, m_values, false, SAC_EFORMAT, "RoPE over 5 dimensions" },
        { NULL, m_extra_norm, false, SAC_ENOTSUP,
          "'blk.0.attn_q_norm.weight', for which the llama family has no place" },
        { NULL, m_seen_behind, false, SAC_ENOTSUP, "llama.attention.causal is false" },
        { NULL, m_stranger, false, SAC_ENOTSUP, "'blk.0.attn_q.scale'" },
        { NULL, m_third_layer, false, SAC_ENOTSUP, "'blk.2.attn_norm.weight'" },
        { NULL, m_head_bias, false, SAC_ENOTSUP, "'output.bias'" },
        { NULL, m_bystander, false, SAC_OK, "" },
        { NULL, m_tokens, false, SAC_EFORMAT, "tokenizer.ggml.scores has 2 entries for 1 tokens" },
        { NULL, m_arch, true, SAC_ENOTSUP, "architecture mamba cannot be run" },
        { NULL, NULL, true, SAC_EFORMAT, "lacks the key general.architecture" },
    };
    struct tiny t = small_llama;
    tiny_random(&t, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sac_err err;
        gguf_model(&t, cases[i].skip, cases[i].more, !cases[i].no_keys);
        enum sac_code rc = open_code("x.gguf", &err);
        if (cases[i].code) check_says(rc, cases[i].code, &err, cases[i].says);
        else if (rc) fail_msg("%s", err.msg);
    }
    struct sac_err err;
    struct tiny wide = t;
    wide.ff = 64;                            /* settings and tensors disagree */
    gguf_model(&wide, NULL, NULL, true);
    check_says(open_code("x.gguf", &err), SAC_EFORMAT, &err, "is [32, 32], expected [64, 32]");
    tiny_free(&t);
}

/* Every key that a model needs is missed by its name. */
static void test_missing_keys(void **state)
{
    (void)state;
    static const char *const needed[] = { "block_count",          "context_length",
                                          "embedding_length",     "feed_forward_length",
                                          "attention.head_count", "attention.layer_norm_rms_epsilon" };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        struct gw g = { 0 };
        char key[96];
        struct sac_err err = { SAC_OK, "" };
        struct gguf file;
        struct config c = { 0 };
        struct sac_arena arena = { 0 };
        gw_text(&g, "general.architecture", "llama");
        for (size_t k = 0; k < sizeof needed / sizeof *needed; k++) {
            snprintf(key, sizeof key, "llama.%s", needed[k]);
            if (k == i) continue;
            if (strstr(key, "epsilon")) gw_f32(&g, key, 1e-6f);
            else gw_u32(&g, key, 8);
        }
        struct gw_buf b = gw_finish(&g);
        assert_int_equal(gguf_parse(&file, b.p, b.n, "file", &err), SAC_OK);
        enum sac_code rc = config_gguf(&c, &file, &arena, &err);
        snprintf(key, sizeof key, "lacks the key llama.%s", needed[i]);
        check_says(rc, SAC_EFORMAT, &err, key);
        sac_arena_free(&arena);
        gguf_close(&file);
        free(b.p);
    }
}

/* ---- safetensors ---- */

static void st_says(const char *header, size_t data, enum sac_code want, const char *says)
{
    unsigned char b[2048] = { 0 };
    struct sac_err err = { SAC_OK, "" };
    struct st_file f;
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(b + 8, header, n);
    enum sac_code rc = st_parse(&f, b, 8 + n + data, "file", &err);
    if (want) check_says(rc, want, &err, says);
    else if (rc) fail_msg("%s: %s", header, err.msg);
    else st_close(&f);
}

#define T(name, type, shape, at)                                                                             \
    "\"" name "\": {\"dtype\": \"" type "\", \"shape\": " shape ", \"data_offsets\": " at "}"
static void test_safetensors(void **state)
{
    (void)state;
    st_says("{" T("a", "F32", "[2, 2]", "[0, 16]") ", \"__metadata__\": {\"format\": \"pt\"}}   ", 16, SAC_OK,
            "");
    st_says("{" T("a", "F32", "[0, 9]", "[0, 0]") "," T("b", "U8", "[]", "[0, 1]") "}", 1, SAC_OK, "");
    st_says("{}", 0, SAC_OK, "");
    st_says("{" T("a", "F32", "[2, 2]", "[0, 16]") "," T("b", "F16", "[2]", "[16, 20]") "}", 21, SAC_EFORMAT,
            "belong to nothing");
    st_says("{" T("a", "F32", "[2, 2]", "[4, 20]") "}", 20, SAC_EFORMAT, "neither overlap nor leave holes");
    st_says("{" T("a", "U8", "[4]", "[0, 4]") "," T("b", "U8", "[4]", "[2, 6]") "}", 6, SAC_EFORMAT,
            "overlap");
    st_says("{" T("a", "F32", "[2, 2]", "[0, 12]") "}", 12, SAC_EFORMAT,
            "12 bytes; its shape and dtype need 16");
    st_says("{" T("a", "F32", "[2, 2]", "[0, 16]") "}", 15, SAC_EFORMAT, "outside the 15 bytes");
    st_says("{" T("a", "U8", "[4]", "[4, 0]") "}", 4, SAC_EFORMAT, "outside");
    st_says("{" T("a", "U8", "[4]", "[-4, 0]") "}", 4, SAC_EFORMAT, "outside");
    st_says("{" T("a", "U8", "[4.0]", "[0, 4]") "}", 4, SAC_EFORMAT, "impossible shape");
    st_says("{" T("a", "F32", "[4294967296, 4294967296]", "[0, 0]") "}", 0, SAC_EFORMAT, "impossible shape");
    st_says("{" T("a", "F32", "[99999999999999999999]", "[0, 0]") "}", 0, SAC_EFORMAT,
            "damaged safetensors header");
    st_says("{" T("a", "F4", "[4]", "[0, 2]") "}", 2, SAC_ENOTSUP, "dtype F4");
    st_says("{" T("a", "U8", "[4]", "[0, 4]") "," T("a", "U8", "[4]", "[4, 8]") "}", 8, SAC_EFORMAT,
            "damaged");
    st_says("{" T("", "U8", "[4]", "[0, 4]") "}", 4, SAC_EFORMAT, "no name");
    st_says("{" T("\\ud800", "U8", "[4]", "[0, 4]") "}", 4, SAC_EFORMAT, "damaged");
    st_says("{" T("a\\u0000b", "U8", "[4]", "[0, 4]") "}", 4, SAC_EFORMAT, "damaged");
    st_says("{\"a\": 5}", 0, SAC_EFORMAT, "dtype missing");
    st_says("[1, 2]", 0, SAC_EFORMAT, "does not begin with {");
    st_says("{} x", 0, SAC_EFORMAT, "damaged");
    st_says("{", 0, SAC_EFORMAT, "not a safetensors file");
    struct sac_err err = { SAC_OK, "" };
    struct st_file f;
    unsigned char big[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}' };
    check_says(st_parse(&f, big, sizeof big, "file", &err), SAC_EFORMAT, &err, "header of");
    err = (struct sac_err){ SAC_OK, "" };
    check_says(st_parse(&f, big, 5, "file", &err), SAC_EFORMAT, &err, "too few");
}

static void test_safetensors_write(void **state)
{
    (void)state;
    struct sac_err err = { SAC_OK, "" };
    struct st_writer *w;
    struct st_file f;
    float x[4] = { 1, 2, 3, 4 };
    const char *path = in_dir("w.safetensors");
    assert_int_equal(st_create(&w, path, false, &err), SAC_OK);
    assert_int_equal(st_add(w, "x", ST_F32, 2, (int64_t[]){ 2, 2 }, x, &err), SAC_OK);
    check_says(st_add(w, "x", ST_F32, 1, (int64_t[]){ 4 }, x, &err), SAC_EARG, &err, "added twice");
    assert_int_not_equal(access(path, F_OK), 0);            /* nothing there before it is complete */
    err = (struct sac_err){ SAC_OK, "" };
    assert_int_equal(st_finish(w, &err), SAC_OK);
    assert_int_equal(st_open(&f, path, &err), SAC_OK);
    assert_memory_equal(st_find(&f, "x")->data, x, sizeof x);
    assert_int_equal((uintptr_t)st_find(&f, "x")->data % 8, 0);
    st_close(&f);
    check_says(st_create(&w, path, false, &err), SAC_EIO, &err, "exists already");
    err = (struct sac_err){ SAC_OK, "" };
    check_says(st_create(&w, "/nowhere/x", false, &err), SAC_EIO, &err, "cannot write");
    err = (struct sac_err){ SAC_OK, "" };
    assert_int_equal(st_create(&w, in_dir("gone.safetensors"), false, &err), SAC_OK);
    st_abandon(w);
    assert_int_not_equal(access(in_dir("gone.safetensors"), F_OK), 0);
}

/* A pipe stays one: a file that took its name would replace it, and /dev/null the same way. */
static void test_safetensors_in_place(void **state)
{
    (void)state;
    struct sac_err err = { SAC_OK, "" };
    struct st_writer *w;
    struct st_file f;
    struct stat st;
    unsigned char got[512];
    float x[2] = { 1, 2 };
    const char *path = in_dir("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(st_create(&w, path, true, &err), SAC_OK);
    assert_int_equal(st_add(w, "x", ST_F32, 1, (int64_t[]){ 2 }, x, &err), SAC_OK);
    assert_int_equal(st_finish(w, &err), SAC_OK);
    assert_true(stat(path, &st) == 0 && S_ISFIFO(st.st_mode));
    ssize_t n = read(fd, got, sizeof got);
    close(fd);
    assert_true(n > 8);
    assert_int_equal(st_parse(&f, got, (size_t)n, "pipe", &err), SAC_OK);
    assert_memory_equal(st_find(&f, "x")->data, x, sizeof x);
    st_close(&f);
}

/* ---- Hugging Face folders ---- */

static void config_says(const char *json, enum sac_code want, const char *says)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_arena arena = { 0 };
    struct config c = { 0 };
    char full[2048];
    snprintf(full, sizeof full, "{\"hidden_size\": 64, \"intermediate_size\": 64, \"num_hidden_layers\": 2, "
             "\"num_attention_heads\": 4, \"vocab_size\": 10, \"max_position_embeddings\": 64%s}", json);
    json_t *o = json_loads(full, 0, NULL);
    assert_non_null(o);
    enum sac_code rc = config_hf(&c, o, "folder", &arena, &err);
    if (want) check_says(rc, want, &err, says);
    else if (rc) fail_msg("%s: %s", json, err.msg);
    json_decref(o);
    sac_arena_free(&arena);
}

#define LLAMA ", \"architectures\": [\"LlamaForCausalLM\"]"
static void test_config(void **state)
{
    (void)state;
    config_says(LLAMA, SAC_OK, "");
    config_says(LLAMA ", \"rope_scaling\": null, \"head_dim\": null, \"num_experts\": 0", SAC_OK, "");
    config_says(", \"model_type\": \"qwen2\"", SAC_OK, "");
    config_says("", SAC_EFORMAT, "names no architecture");
    config_says(LLAMA ", \"model_type\": \"llama\"", SAC_OK, "");
    config_says(LLAMA ", \"model_type\": \"mistral\"", SAC_ENOTSUP, "is not of the model_type mistral");
    config_says(", \"architectures\": [\"MambaForCausalLM\"]", SAC_ENOTSUP,
                "architecture MambaForCausalLM cannot be run");
    config_says(", \"architectures\": [\"MixtralForCausalLM\"]", SAC_ENOTSUP, "MixtralForCausalLM");
    config_says(LLAMA ", \"num_local_experts\": 8", SAC_ENOTSUP, "mixture of experts");
    config_says(LLAMA ", \"quantization_config\": {\"quant_method\": \"gptq\"}", SAC_ENOTSUP,
                "quantization_config");
    config_says(LLAMA ", \"hidden_act\": \"relu\"", SAC_ENOTSUP, "activation relu cannot be run");
    config_says(LLAMA ", \"hidden_act\": \"gelu\"", SAC_ENOTSUP, "activation gelu cannot be run");
    config_says(LLAMA ", \"mlp_bias\": true", SAC_ENOTSUP, "mlp_bias");
    config_says(LLAMA ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}", SAC_ENOTSUP,
                "RoPE type dynamic");
    config_says(LLAMA ", \"rope_scaling\": {\"type\": \"linear\"}", SAC_EFORMAT, "lacks factor");
    config_says(LLAMA ", \"rope_scaling\": {\"type\": \"yarn\"}", SAC_EFORMAT, "lacks factor");
    config_says(LLAMA ", \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8}", SAC_EFORMAT,
                "lacks low_freq_factor");
    config_says(LLAMA ", \"rope_scaling\": \"linear\"", SAC_EFORMAT, "rope_scaling must be an object");
    config_says(LLAMA ", \"rope_parameters\": [1]", SAC_EFORMAT, "rope_parameters must be an object");
    config_says(LLAMA ", \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 100}}", SAC_EFORMAT,
                "must not have full_attention");
    config_says(", \"model_type\": \"gemma3_text\", \"rope_parameters\": {\"rope_theta\": 100}", SAC_EFORMAT,
                "must have full_attention");
    config_says(", \"model_type\": \"gemma3_text\", \"use_bidirectional_attention\": true", SAC_ENOTSUP,
                "use_bidirectional_attention");
    config_says(LLAMA ", \"sliding_window\": 4, \"layer_types\": [\"full_attention\", "
                "\"sliding_attention\"]", SAC_ENOTSUP, "layer 1 has a sliding window");
    config_says(LLAMA ", \"rope_parameters\": {\"rope_type\": \"mrope\"}", SAC_ENOTSUP, "RoPE type mrope");
    config_says(LLAMA ", \"rope_scaling\": {\"factor\": 2}", SAC_EFORMAT, "without a type");
    config_says(LLAMA ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": -2}", SAC_EFORMAT,
                "impossible RoPE");
    config_says(LLAMA ", \"rope_theta\": 0", SAC_EFORMAT, "impossible RoPE");
    config_says(LLAMA ", \"partial_rotary_factor\": 0.5", SAC_ENOTSUP, "partial_rotary_factor");
    config_says(LLAMA ", \"num_key_value_heads\": 3", SAC_EFORMAT, "cannot share");
    config_says(LLAMA ", \"num_key_value_heads\": 0", SAC_EFORMAT, "num_key_value_heads must be");
    config_says(LLAMA ", \"head_dim\": \"64\"", SAC_EFORMAT, "head_dim must be");
    config_says(LLAMA ", \"rms_norm_eps\": 0", SAC_EFORMAT, "norm epsilon");
    config_says(", \"model_type\": \"qwen3\", \"layer_types\": [\"full_attention\", \"linear_attention\"]",
                SAC_ENOTSUP, "kind linear_attention");
    config_says(", \"model_type\": \"gemma2\", \"layer_types\": [\"full_attention\"]", SAC_EFORMAT,
                "all 2 layers");
    config_says(", \"model_type\": \"phi3\", \"attention_bias\": true", SAC_ENOTSUP, "attention_bias");
    config_says(
        ", \"model_type\": \"phi3\", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1], "
        "\"long_factor\": [1]}",
        SAC_EFORMAT, "short_factor must hold 8 numbers");
}

static void test_folder(void **state)
{
    (void)state;
    struct tiny t = small_llama;
    struct sac_err err;
    tiny_random(&t, 1);
    assert_int_equal(mkdir(in_dir("hf"), 0700), 0);
    check_says(open_code("hf", &err), SAC_EFORMAT, &err, "without config.json");
    check_says(open_code("absent", &err), SAC_EFORMAT, &err, "cannot open");
    tiny_write_hf(&t, in_dir("hf"), ST_F16, 3);
    if (open_code("hf", &err)) fail_msg("%s", err.msg);
    static const char *const bad[] = { "../x.safetensors", "/etc/passwd", "a\\\\b", "" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[200];
        snprintf(json, sizeof json, "{\"weight_map\": {\"model.norm.weight\": \"%s\"}}", bad[i]);
        write_file("hf/model.safetensors.index.json", json, strlen(json));
        check_says(open_code("hf", &err), SAC_EFORMAT, &err, "not a file name");
    }
    const char *moved = "{\"weight_map\": {\"model.none.weight\": \"model-00001-of-00003.safetensors\"}}";
    write_file("hf/model.safetensors.index.json", moved, strlen(moved));
    check_says(open_code("hf", &err), SAC_EFORMAT, &err, "lacks tensor 'model.none.weight'");
    unlink(in_dir("hf/model.safetensors.index.json"));
    write_file("hf/pytorch_model.bin", "x", 1);
    check_says(open_code("hf", &err), SAC_ENOTSUP, &err, "pickle");
    write_file("hf/config.json", "{\"a\": ", 6);
    check_says(open_code("hf", &err), SAC_EFORMAT, &err, "not a JSON object");
    tiny_free(&t);
}

/* A generation_config.json may list several tokens that end an answer. */
static void test_stop_tokens(void **state)
{
    (void)state;
    struct tiny t = small_llama;
    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m;
    struct sac_model_opts o = { .directory_only = true };
    tiny_random(&t, 1);
    assert_int_equal(mkdir(in_dir("stop"), 0700), 0);
    tiny_write_hf(&t, in_dir("stop"), ST_BF16, 1);
    const char
        *generation = "{\"eos_token_id\": [3, 5, 900]}",
        *tokenizer = "{\"model\": {\"type\": \"BPE\", \"vocab\": "
                     "{\"a\": 0, \"b\": 1, \"c\": 2, \"d\": 3, \"e\": 4, \"f\": 5}, \"merges\": []}}",
        *limits =
            "{\"model_max_length\": 1000000000000000019884624838656, \"eos_token\": {\"content\": \"e\"}}";
    write_file("stop/generation_config.json", generation, strlen(generation));
    write_file("stop/tokenizer.json", tokenizer, strlen(tokenizer));
    write_file("stop/tokenizer_config.json", limits, strlen(limits));
    if (sac_model_open(&m, in_dir("stop"), &o, &err)) fail_msg("%s", err.msg);
    for (int i = -1; i < 7; i++) assert_int_equal(sac_token_is_stop(m, i), i == 3 || i == 4 || i == 5);
    sac_model_close(m);
    tiny_free(&t);
}

/* A tokenizer may know more tokens than the embedding has rows (Gemma 3 does): they are never made. */
static void test_more_tokens_than_rows(void **state)
{
    (void)state;
    struct tiny t = small_llama;             /* 8 rows */
    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m;
    struct sac_tokens tok;
    struct sac_model_opts o = { .directory_only = true };
    tiny_random(&t, 1);
    assert_int_equal(mkdir(in_dir("more"), 0700), 0);
    tiny_write_hf(&t, in_dir("more"), ST_BF16, 1);
    const char *json = "{\"added_tokens\": [{\"id\": 9, \"content\": \"<x>\", \"special\": true}], "
                       "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, "
                       "\"model\": {\"type\": \"BPE\", "
                       "\"vocab\": {\"a\": 0, \"b\": 1, \"<\": 2, \"x\": 3, \">\": 4, \"ab\": 8, \"c\": 10}, "
                       "\"merges\": [\"a b\"]}}";
    write_file("more/tokenizer.json", json, strlen(json));
    if (sac_model_open(&m, in_dir("more"), &o, &err)) fail_msg("%s", err.msg);
    assert_int_equal(sac_tokenize(m, "ab<x>c", 6, SAC_TOK_SPECIAL, &tok, &err), SAC_OK);
    assert_int_equal(tok.n, 5);
    for (int i = 0; i < tok.n; i++) assert_int_equal(tok.id[i], i);
    sac_tokens_free(&tok);
    sac_model_close(m);
    tiny_free(&t);
}

/* What cannot be run can still be described. */
static void test_directory_only(void **state)
{
    (void)state;
    struct tiny t = small_llama;
    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m;
    struct sac_model_opts o = { .directory_only = true };
    tiny_random(&t, 1);
    gguf_model(&t, NULL, m_arch, false);
    if (sac_model_open(&m, in_dir("x.gguf"), &o, &err)) fail_msg("%s", err.msg);
    assert_non_null(strstr(sac_model_info(m)->cannot_run, "architecture mamba"));
    assert_true(sac_model_info(m)->n_params > 0);
    sac_model_close(m);
    struct sac_tokens tok;
    gguf_model(&t, NULL, m_bert, true);
    check_says(open_code("x.gguf", &err), SAC_ENOTSUP, &err, "of kind bert");
    err = (struct sac_err){ SAC_OK, "" };
    if (sac_model_open(&m, in_dir("x.gguf"), &o, &err)) fail_msg("%s", err.msg);
    assert_string_equal(sac_model_info(m)->template_name, "none");
    check_says(sac_tokenize(m, "a", 1, 0, &tok, &err), SAC_ENOTSUP, &err, "of kind bert");
    sac_model_close(m);
    tiny_free(&t);
}

static void test_forecast(void **state)
{
    (void)state;
    struct tiny t = small_llama;
    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m;
    struct sac_model_opts o = { .directory_only = true };
    struct sac_forecast a, b;
    tiny_random(&t, 1);
    gguf_model(&t, NULL, NULL, true);
    if (sac_model_open(&m, in_dir("x.gguf"), &o, &err)) fail_msg("%s", err.msg);
    assert_int_equal(sac_model_info(m)->kv_bytes_per_token, 2 * 1 * 16 * 2 * 4);
    sac_model_forecast(m, 1000, 10, 1, 0, false, &a);
    sac_model_forecast(m, 1000, 10, 1, 0, true, &b);
    assert_true(a.trace == 0 && b.trace > 0 && b.total > a.total && b.total < a.total + b.trace);
    assert_int_equal(a.kv, (1000 + 10) * sac_model_info(m)->kv_bytes_per_token);
    sac_model_forecast(m, 1000, 10, 1, 1, false, &b);
    assert_int_equal(b.kv, 2 * (1000 + 10) * sac_model_info(m)->kv_bytes_per_token);
    assert_int_equal(sac_model_check(m, 1000, 10, 1, 0, true, &err), SAC_OK);
    check_says(sac_model_check(m, 2000000000, 10, 1, 0, true, &err), SAC_ENOMEM, &err, "tokens would fit");
    sac_model_close(m);
    tiny_free(&t);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/saccade-files-XXXXXX");
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
        cmocka_unit_test(test_gguf_hostile),
        cmocka_unit_test(test_gguf_header),
        cmocka_unit_test(test_gguf_truncated),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_gguf_models),
        cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_safetensors),
        cmocka_unit_test(test_safetensors_write),
        cmocka_unit_test(test_safetensors_in_place),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_stop_tokens),
        cmocka_unit_test(test_directory_only),
        cmocka_unit_test(test_more_tokens_than_rows),
        cmocka_unit_test(test_forecast),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
