/* Weights are in memory once: what is repacked at load is not kept as it lies in the file as well.
 *
 * A model of 20 to 60 MB with random blocks of one type is opened, prefills and decodes; the system then says how
 * much of the file is still resident and how much memory of its own the program took. The first holds under
 * sanitizers too, the second would count their shadows and what they hold back. */
#include "gguf_write.h"
#include "kernels.h"
#include "model/session_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined __GLIBC__
#include <malloc.h>
#endif

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { OWN_COUNTS = false };
#else
enum { OWN_COUNTS = true };
#endif
enum { LAYERS = 4, WIDTH = 1024, FF = 2560, VOCAB = 1024, HEADS = 16, PROMPT = 64, STEPS = 8 };
static const size_t MIB = 1 << 20;
static char path[] = "/tmp/saccade-memory-XXXXXX";

static uint32_t noise(void)
{
    static uint64_t s = 1;
    s = s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(s >> 33);
}

/* Blocks with small scales, so that activations stay finite. */
static void fill(enum k_type type, unsigned char *p, size_t blocks)
{
    int size = k_type_info[type].bytes;
    for (size_t b = 0; b < blocks; b++, p += size) {
        for (int i = 0; i < size; i++) p[i] = (unsigned char)noise();
        uint16_t scale = 0x0c00;           /* 2^-12 */
        if (type == K_F16) scale = (uint16_t)(0x2400 | (noise() & 0x83ff));   /* about 2^-6, either sign */
        memcpy(p, &scale, 2);
        if (type == K_Q4_K) memcpy(p + 2, &scale, 2);
    }
}

static void matrix(struct gw *g, const char *name, enum k_type type, uint32_t id, int rows, int cols)
{
    size_t blocks = (size_t)rows * (size_t)cols / (size_t)k_type_info[type].block,
           bytes = blocks * (size_t)k_type_info[type].bytes;
    uint64_t ne[] = { (uint64_t)cols, (uint64_t)rows };
    unsigned char *p = malloc(bytes);
    assert_non_null(p);
    fill(type, p, blocks);
    gw_tensor(g, name, 2, ne, id, p, bytes);
    free(p);
}

static void norm(struct gw *g, const char *name)
{
    float one[WIDTH];
    uint64_t ne = WIDTH;
    for (int i = 0; i < WIDTH; i++) one[i] = 1;
    gw_tensor(g, name, 1, &ne, 0, one, sizeof one);
}

static size_t write_model(enum k_type type, uint32_t id)
{
    static const struct { const char *name; int rows, cols; } mats[] = {
        { "attn_q", WIDTH, WIDTH },     { "attn_k", WIDTH / 4, WIDTH }, { "attn_v", WIDTH / 4, WIDTH },
        { "attn_output", WIDTH, WIDTH }, { "ffn_gate", FF, WIDTH },     { "ffn_up", FF, WIDTH },
        { "ffn_down", WIDTH, FF },
    };
    struct gw g = { 0 };
    char name[64];
    gw_text(&g, "general.architecture", "llama");
    gw_u32(&g, "llama.block_count", LAYERS);
    gw_u32(&g, "llama.context_length", 4096);
    gw_u32(&g, "llama.embedding_length", WIDTH);
    gw_u32(&g, "llama.feed_forward_length", FF);
    gw_u32(&g, "llama.attention.head_count", HEADS);
    gw_u32(&g, "llama.attention.head_count_kv", HEADS / 4);
    gw_u32(&g, "llama.vocab_size", VOCAB);
    gw_f32(&g, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gw_f32(&g, "llama.rope.freq_base", 10000);
    matrix(&g, "token_embd.weight", type, id, VOCAB, WIDTH);
    for (int l = 0; l < LAYERS; l++) {
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, k ? "ffn_norm" : "attn_norm");
            norm(&g, name);
        }
        for (size_t i = 0; i < sizeof mats / sizeof *mats; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, mats[i].name);
            matrix(&g, name, type, id, mats[i].rows, mats[i].cols);
        }
    }
    norm(&g, "output_norm.weight");
    struct gw_buf b = gw_finish(&g);
    gw_save(&b, path);
    free(b.p);
    return b.n;
}

/* Bytes of /proc/self/status or, of the mappings of one file, of smaps. */
static size_t resident(const char *file)
{
    FILE *f = fopen(file ? "/proc/self/smaps" : "/proc/self/status", "r");
    char line[1024];
    unsigned long kib;
    size_t sum = 0;
    bool ours = !file;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (file && sscanf(line, "%lx-%lx ", &from, &to) == 2) ours = strstr(line, file) != NULL;
        else if (ours && sscanf(line, file ? "Rss: %lu" : "RssAnon: %lu", &kib) == 1) sum += (size_t)kib * 1024;
    }
    fclose(f);
    return sum;
}

static void once(enum k_type type, uint32_t id)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m = NULL;
    struct sac_model_opts o = { .threads = 2, .kv = SAC_KV_F16 };
    struct sac_forecast f;
    size_t file = write_model(type, id);
    if (access("/proc/self/smaps", R_OK)) skip();
#if defined __GLIBC__
    malloc_trim(0);                        /* what earlier tests and the writer left must not be taken up again */
#endif
    size_t before = resident(NULL);
    if (sac_model_open(&m, path, &o, &err)) fail_msg("%s", err.msg);
    size_t opened = resident(NULL) - before;
    sac_model_forecast(m, PROMPT, STEPS, 1, 0, false, &f);

    int ids[PROMPT];
    for (int i = 0; i < PROMPT; i++) ids[i] = (int)(noise() % VOCAB);
    struct session *s = session_new(m, PROMPT + STEPS, SAC_KV_F16, &err);
    struct prefill_args a = { .ids = ids, .n = PROMPT, .force_layer = -1, .force_kv = -1 };
    if (!s || session_prefill(s, &a, &err)) fail_msg("%s", err.msg);
    for (int i = 0; i < STEPS; i++)
        if (session_decode(s, ids[i], NULL, &err)) fail_msg("%s", err.msg);
    size_t mapped = resident(path), own = resident(NULL) - before;

    print_message("%-5s file %4.1f MiB, repacked %4.1f, file still resident %4.1f, own after opening %4.1f, at "
                  "the end %4.1f\n",
                  k_type_info[type].name, (double)file / (double)MIB, (double)f.packed / (double)MIB,
                  (double)mapped / (double)MIB, (double)opened / (double)MIB, (double)own / (double)MIB);
    assert_true(f.packed <= file + file / 5);
    /* What is not repacked: rows of embeddings that were looked up, norms, and pages at the edges. */
    if (f.packed) assert_true(mapped < file / 8 + MIB);
    if (OWN_COUNTS) {
        assert_true(opened < f.packed + 4 * MIB);
        assert_true(own < f.packed + f.kv + f.activations);
    }
    session_free(s);
    sac_model_close(m);
}

static void test_q8_0(void **state) { (void)state; once(K_Q8_0, 8); }
static void test_q4_k(void **state) { (void)state; once(K_Q4_K, 12); }
static void test_q4_0(void **state) { (void)state; once(K_Q4_0, 2); }
static void test_f16(void **state) { (void)state; once(K_F16, 1); }

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_q8_0),
        cmocka_unit_test(test_q4_k),
        cmocka_unit_test(test_q4_0),
        cmocka_unit_test(test_f16),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
