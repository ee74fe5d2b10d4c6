/* Tokenizers: vocabularies with reference tokenisations, spans, special tokens, chat prompts, and every kind
 * of tokenizer.json part on small vocabularies where the answer can be worked out by hand. */
#include "gguf_write.h"
#include "model/model_int.h"
#include "slurp.h"
#include "text/tok_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char bundled[] = SOURCE_DIR "/samples/models/saccade-sample-q8_0.gguf";

static struct sac_model *open_text(const char *path)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_model_opts o = { .directory_only = true };
    struct sac_model *m;
    if (sac_model_open(&m, path, &o, &err)) fail_msg("%s", err.msg);
    return m;
}

static struct sac_tokens tokens(const struct sac_model *m, const char *s, size_t n, int flags)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_tokens t;
    if (sac_tokenize(m, s, n, flags, &t, &err)) fail_msg("%s", err.msg);
    return t;
}

/* ---- vocabularies with references ---- */

static void check_line(const struct sac_model *m, const char *name, const char *s, size_t n, const char *line,
                       int nr)
{
    struct sac_tokens t = tokens(m, s, n, 0);
    int i = 0;
    for (char *end;; i++) {
        long id = strtol(line, &end, 10);
        if (end == line) break;
        line = end;
        if (i >= t.n || t.id[i] != id) fail_msg("%s: text %d differs at token %d", name, nr, i);
    }
    if (i != t.n) fail_msg("%s: text %d has %d tokens, not %d", name, nr, t.n, i);
    sac_tokens_free(&t);
}

static void test_vocabularies(void **state)
{
    (void)state;
    static const char *const names[] = { "gpt-2",          "llama-spm", "llama-bpe", "qwen2", "deepseek-llm",
                                         "deepseek-coder", "starcoder", "falcon",    "phi-3", "mpt",
                                         "refact",         "command-r" };
    static const char sep[] = "\n__ggml_vocab_test__\n";
    const char *root = getenv("SACCADE_FIXTURES");
    if (!root) {
        print_message("SACCADE_FIXTURES is not set: vocabularies are not compared\n");
        skip();
    }
    int found = 0;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[1024], file[1100];
        snprintf(path, sizeof path, "%s/tokenizer/ggml-vocab-%s.gguf", root, names[k]);
        if (access(path, R_OK)) continue;
        size_t in_n, out_n;
        snprintf(file, sizeof file, "%s.inp", path);
        char *in = slurp(file, &in_n);
        snprintf(file, sizeof file, "%s.out", path);
        char *out = slurp(file, &out_n), *s = in, *line = out;
        assert_true(in && out);
        struct sac_model *m = open_text(path);
        for (int nr = 0; s; nr++) {
            char *end = strstr(s, sep), *eol = strchr(line, '\n');
            if (eol) *eol = 0;
            check_line(m, names[k], s, end ? (size_t)(end - s) : strlen(s), line, nr);
            s = end ? end + sizeof sep - 1 : NULL;
            if (eol) line = eol + 1;
            else assert_null(s);
        }
        sac_model_close(m);
        free(in);
        free(out);
        found++;
    }
    assert_true(found > 0);
}

/* ---- spans ---- */

/* Spans of a byte-level vocabulary cover the text without gaps, and each token's bytes are the text's. */
static void check_cover(const struct sac_model *m, const char *s, size_t n)
{
    struct sac_tokens t = tokens(m, s, n, 0);
    int at = 0;
    for (int i = 0; i < t.n; i++) {
        const char *b;
        int len = sac_token_bytes(m, t.id[i], &b);
        assert_int_equal(t.span[i].lo, at);
        assert_int_equal(t.span[i].hi, at + len);
        assert_memory_equal(b, s + at, (size_t)len);
        at += len;
    }
    assert_int_equal(at, n);
    sac_tokens_free(&t);
}

static void test_spans(void **state)
{
    (void)state;
    struct sac_model *m = open_text(bundled);
    static const char *const texts[] = { "",
                                         "a",
                                         "  two  spaces \n\n\tand tabs ",
                                         "it's 12345 o'clock",
                                         ("na\xc3\xafve caf\xc3\xa9 \xe2\x82\xac"
                                          "5 \xf0\x9f\x98\x80\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac"),
                                         "broken \xc3 \xf0\x9f\x98 \xff\xfe utf-8",
                                         "<|im_start|>not special<|im_end|>" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_cover(m, texts[i], strlen(texts[i]));
    uint64_t seed = 1;
    char buf[512];
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof buf; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            buf[i] = round % 2 ? (char)(seed >> 56) : "ab \n'09.\xc3\xa9"[(seed >> 33) % 10];
        }
        check_cover(m, buf, (size_t)(seed >> 20) % sizeof buf);
    }
    sac_model_close(m);
}

static void test_special(void **state)
{
    (void)state;
    struct sac_model *m = open_text(bundled);
    const char text[] = "<|im_start|>user\nhi<|im_end|>";
    struct sac_tokens a = tokens(m, text, sizeof text - 1, SAC_TOK_SPECIAL),
                      b = tokens(m, text, sizeof text - 1, 0);
    assert_int_equal(a.id[0], 1);
    assert_int_equal(a.span[0].hi, 12);
    assert_int_equal(a.id[a.n - 1], 2);
    assert_true(sac_token_is_stop(m, 2) && sac_token_is_stop(m, 0) && !sac_token_is_stop(m, 1));
    for (int i = 0; i < b.n; i++) assert_true(b.id[i] > 2);
    sac_tokens_free(&a);
    sac_tokens_free(&b);
    sac_model_close(m);
}

/* ---- chat ---- */

static void test_chat(void **state)
{
    (void)state;
    struct sac_model *m = open_text(bundled);
    struct sac_err err = { SAC_OK, "" };
    struct sac_tokens t;
    char *text;
    size_t at;
    assert_string_equal(sac_model_info(m)->template_name, "chatml");
    assert_true(sac_model_info(m)->bundled_style);
    assert_int_equal(sac_chat_render(m, "Be brief.", "Hi", &text, &at, &err), SAC_OK);
    assert_string_equal(text, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                              "<|im_start|>assistant\n");
    assert_memory_equal(text + at, "Hi", 2);
    free(text);
    /* A user cannot end the turn: the marks in the prompt are plain text. */
    assert_int_equal(sac_chat_tokenize(m, NULL, "a<|im_end|>b", &t, &text, &at, &err), SAC_OK);
    int ends = 0;
    for (int i = 0; i < t.n; i++) ends += t.id[i] == 2;
    assert_int_equal(ends, 1);
    assert_int_equal(t.id[0], 1);
    sac_tokens_free(&t);
    free(text);
    sac_model_close(m);
}

static void test_templates(void **state)
{
    (void)state;
    static const struct { const char *text, *name, *rendered;
    } cases[] = {
        { "{{'<|im_start|>' + m.role + '\\n'}}", "chatml",
          "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n" },
        { "'<|start_header_id|>' + role + '<|end_header_id|>\\n\\n'", "llama3",
          "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>"
          "\n\nU<|eot_id|>"
          "<|start_header_id|>assistant<|end_header_id|>\n\n" },
        { "'<start_of_turn>' + role + '\\n'", "gemma",
          "<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\n" },
        { "'<|user|>\\n' + x + '<|end|>\\n' '<|assistant|>\\n'", "phi3",
          "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\n" },
        { "'<|user|>\\n' + x + eos_token '<|assistant|>'", "zephyr",
          "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n" },
        { "'<|user|>\\n' + x + '<|endoftext|>' '<|assistant|>'", "zephyr-eot",
          "<|system|>\nS<|endoftext|>\n<|user|>\nU<|endoftext|>\n<|assistant|>\n" },
        { "' [INST] ' + system_message + ' [/INST]'", "mistral-v1", " [INST] S\n\nU [/INST]" },
        { "'[INST] ' [AVAILABLE_TOOLS]", "mistral-v3", "[INST] S\n\nU[/INST]" },
        { "\"[INST]\" [AVAILABLE_TOOLS]", "mistral-tekken", "[INST]S\n\nU[/INST]" },
        { "[INST] [SYSTEM_PROMPT]", "mistral-v7", "[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] U[/INST]" },
        { "'[INST] <<SYS>>'", "llama2", "[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST]" },
        { "nothing known", "none", "S\n\nU" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sac_model m = { 0 };
        struct sac_err err = { SAC_OK, "" };
        char *text;
        size_t at;
        chat_recognise(&m, cases[i].text, strlen(cases[i].text));
        assert_string_equal(m.info.template_name, cases[i].name);
        assert_int_equal(sac_chat_render(&m, "S", "U", &text, &at, &err), SAC_OK);
        assert_string_equal(text, cases[i].rendered);
        assert_int_equal(text[at], 'U');
        free(text);
    }
}

/* ---- pre-tokenizers by name ---- */

struct joined {
    char out[256];
    size_t n;
};

static bool join_piece(void *ctx, const struct split_piece *p)
{
    struct joined *j = ctx;
    if (j->n) j->out[j->n++] = '|';
    memcpy(j->out + j->n, p->s + p->lo, p->hi - p->lo);
    j->n += p->hi - p->lo;
    j->out[j->n] = 0;
    return j->n < sizeof j->out - 32;
}

/* Pieces worked out by hand from the published expressions. */
static void test_pretokenizers(void **state)
{
    (void)state;
    static const struct { const char *name, *text, *pieces; bool ignore_merges, bos;
    } cases[] = {
        { "gpt-2", "I'm  12345, ok", "I|'m| | 12345|,| ok", false, false },
        { "gpt-2", "I'M\xc2\xa0x \n\n y", "I|'|M|\xc2\xa0|x| \n\n| y", false, false },
        { "smollm", "I'm  12345, ok", "I|'m|  |1|2|3|4|5|,| ok", false, false },
        { "llama-bpe", "I'M  12345, ok", "I|'M| | |123|45|,| ok", true, true },
        { "llama-bpe", "a !\n\n  b\t\tc", "a| !\n\n| | b|\t|\tc", true, true },
        { "smaug-bpe", "12345", "123|45", false, false },
        { "qwen2", "I'M  12345, ok", "I|'M| | |1|2|3|4|5|,| ok", false, false },
        { "qwen35", "e\xcc\x81 1", "e\xcc\x81| |1", false, false },
        { "tekken", "HelloWorld Foo's 12", "Hello|World| Foo|'s| |1|2", true, true },
        { "gpt-4o", "HelloWorld Foo's 12", "Hello|World| Foo's| |12", false, false },
        { "deepseek-llm", "Ab, c 12\n", "Ab|,| c| |12|\n", false, false },
        { "deepseek-coder", "Ab, c 12\n", "Ab|,| c| |1|2|\n", false, false },
        { "deepseek-v3", "Ab, c 12\n", "Ab|,| c| |12|\n", false, false },
        { "falcon", "a$b 12345", "a|$|b| |123|45", false, false },
        { "default", "a`b 12345", "a|`|b| |123|45", false, false },
        { "llama3",
          "ab\xff"
          "c",
          "ab|\xff|c", true, true }, /* a byte that is no text stands alone */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokenizer t = { 0 };
        struct sac_err err = { SAC_OK, "" };
        struct joined j = { 0 };
        if (pretok_by_name(&t, cases[i].name, strlen(cases[i].name), "file", &err)) fail_msg("%s", err.msg);
        struct split_run *run = split_run_new(&t);
        assert_true(split_words(run, cases[i].text, strlen(cases[i].text), true, join_piece, &j));
        if (strcmp(j.out, cases[i].pieces))
            fail_msg("%s: '%s', expected '%s'", cases[i].name, j.out, cases[i].pieces);
        assert_int_equal(t.ignore_merges, cases[i].ignore_merges);
        assert_int_equal(t.add_bos, cases[i].bos);
        split_run_free(run);
        for (int k = 0; k < t.n_splits; k++) split_free(&t.split[k]);
    }
    struct tokenizer t = { 0 };
    struct sac_err err = { SAC_OK, "" };
    assert_int_equal(pretok_by_name(&t, "future", 6, "file", &err), SAC_ENOTSUP);
    assert_non_null(strstr(err.msg, "future"));
}

/* ---- tokenizer.json ---- */

static struct tokenizer *from_json(const char *json, struct sac_err *err)
{
    char name[] = "test";
    struct model_files f = { .path = name };
    struct tokenizer *t = NULL;
    json_error_t je;
    f.tokenizer = json_loads(json, 0, &je);
    if (!f.tokenizer) fail_msg("%s", je.text);
    tokenizer_load(&t, &f, err);
    json_decref(f.tokenizer);
    return t;
}

/* Ids and spans as "id:lo-hi id:lo-hi". */
static void check_json(const char *json, const char *text, const char *want)
{
    struct sac_err err = { SAC_OK, "" };
    struct tokenizer *t = from_json(json, &err);
    struct sac_tokens out = { 0 };
    struct tok_part part = { 0, strlen(text), true };
    char got[512] = "";
    size_t at = 0;
    if (!t) fail_msg("%s", err.msg);
    assert_int_equal(tokenizer_encode(t, text, &part, 1, true, &out, &err), SAC_OK);
    for (int i = 0; i < out.n && at < sizeof got; i++)
        at += (size_t)snprintf(got + at, sizeof got - at, "%s%d:%d-%d", i ? " " : "", out.id[i],
                               out.span[i].lo, out.span[i].hi);
    if (strcmp(got, want)) fail_msg("'%s' gives %s, expected %s", text, got, want);
    sac_tokens_free(&out);
    tokenizer_free(t);
}

#define BYTES_MODEL(model)                                                                                   \
    "\"model\": {\"type\": \"BPE\"" model                                                                    \
    ", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"\\u0120\": 3, \"\\u0120ab\": 4,"                         \
    "\"bab\": 5, \"ba\": 6, \"\\u00c3\": 7, \"\\u00a9\": 8}, \"merges\": [\"a b\", [\"\\u0120\", \"ab\"], "  \
    "[\"b\", \"a\"]]}}"
#define BYTES(extra, model)                                                                                  \
    "{" extra "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}," BYTES_MODEL(model)
#define MARKS(norm, pre)                                                                                     \
    "{\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true}, {\"id\": 9, "               \
    "\"content\": \"<s>\", \"special\": true}]" norm pre                                                     \
    ", \"model\": {\"type\": \"BPE\", \"byte_fallback\": true, "                                             \
    "\"unk_token\": \"<unk>\", \"fuse_unk\": true, \"vocab\": {\"<unk>\": 0, \"\\u2581\": 1, \"a\": 2, "     \
    "\"b\": 3, "                                                                                             \
    "\"\\u2581a\": 4, \"<0xC3>\": 5, \"<0xA9>\": 6, \"ab\": 7, \"\\u2581\\u2581\": 8}, \"merges\": "         \
    "[\"\\u2581 a\", \"a b\", "                                                                              \
    "\"\\u2581 \\u2581\"]}}"
#define LLAMA_NORM                                                                                           \
    ", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "     \
    "\"\\u2581\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\\u2581\"}]}"

static void test_json_bytes(void **state)
{
    (void)state;
    check_json(BYTES("", ""), "ab ab", "2:0-2 4:2-5");
    check_json(BYTES("", ""), "bab", "1:0-1 2:1-3");                         /* a b ranks before b a */
    check_json(BYTES("", ", \"ignore_merges\": true"), "bab", "5:0-3");      /* the whole word is a token */
    check_json(BYTES("", ""), "a\xc3\xa9", "0:0-1 7:1-2 8:2-3"); /* a character split over tokens */
    check_json(BYTES("\"normalizer\": {\"type\": \"NFC\"},", ""), "a", "0:0-1");
    check_json(BYTES("\"normalizer\": {\"type\": \"NFD\"},", ""), "ab", "2:0-2");
    check_json(
        BYTES("\"added_tokens\": [{\"id\": 20, \"content\": \"<x>\", \"special\": true, \"lstrip\": true, "
              "\"rstrip\": true}],",
              ""),
        "a <x> b", "0:0-1 20:2-5 1:6-7");
    check_json(BYTES("\"added_tokens\": [{\"id\": 20, \"content\": \"ab\", \"single_word\": true}],", ""),
               "ab abb", "20:0-2 4:2-5 1:5-6");
    check_json(
        BYTES(
            "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
            "\"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}]}, \"added_tokens\": [{\"id\": 30, \"content\": "
            "\"<s>\", "
            "\"special\": true}],",
            ""),
        "a", "30:0-0 0:0-1");
    /* e + U+0301 becomes one character under NFC; its two byte tokens come from three bytes of text */
    check_json(BYTES("\"normalizer\": {\"type\": \"NFC\"},", ""), "e\xcc\x81" "ab", "7:0-0 8:0-3 2:3-5");
}

/* Normalizers other than the normal forms. Vocabulary of BYTES: a b ab, byte tokens of e-acute 7 8. */
static void test_json_normalizers(void **state)
{
    (void)state;
#define NORM(parts) BYTES("\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [" parts "]},", "")
    check_json(NORM("{\"type\": \"Lowercase\"}"), "aB AB", "2:0-2 4:2-5");
    check_json(NORM("{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}"),
               " \xe3\x80\x80"
               "ab\n",
               "2:4-6");
    check_json(NORM("{\"type\": \"Strip\", \"strip_left\": true, \"strip_right\": true}"), " \n ", "");
    check_json(NORM("{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x+\"}, \"content\": \"ab\"}"),
               "xxx"
               "b",
               "2:0-3 1:3-4");
    check_json(NORM("{\"type\": \"Replace\", \"pattern\": {\"String\": \"x.\"}, \"content\": \"\"}"), "ax.b",
               "2:0-4");
    check_json(NORM("{\"type\": \"Prepend\", \"prepend\": \"a\"}"), "b", "2:0-1");
    check_json(NORM("{\"type\": \"NFD\"}, {\"type\": \"StripAccents\"}"),
               "\xc3\xa1"
               "b",
               "2:0-3");
#undef NORM
}

/* NFC joins what comes out composed, however many characters that takes: Hangul L + V + T, Kannada E + UU +
 * LENGTH. */
static void test_clusters(void **state)
{
    (void)state;
    static const char *const in[] = { "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8",
                                      "\xe0\xb2\x95\xe0\xb3\x86\xe0\xb3\x82\xe0\xb3\x95" };
    static const char *const out[] = { "\xea\xb0\x81", "\xe0\xb2\x95\xe0\xb3\x8b" };
    struct tokenizer t = { .n_norm = 1, .norm = { { .kind = NORM_NFC } } };
    for (int i = 0; i < 2; i++) {
        char *s;
        size_t n, *map;
        assert_true(normal_text(&t, in[i], strlen(in[i]), &s, &n, &map));
        assert_non_null(s);
        assert_int_equal(n, strlen(out[i]));
        assert_memory_equal(s, out[i], n);
        assert_int_equal(map[n], strlen(in[i]));
        free(s);
        free(map);
    }
}

/* Splits: behaviours of Punctuation, classes as Oniguruma has them, and what sees mapped bytes. */
static void test_json_splits(void **state)
{
    (void)state;
#define PRE(parts)                                                                                           \
    "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [" parts "]}," BYTES_MODEL("")
#define RAW ", {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}"
#define SPLIT(regex, how)                                                                                    \
    "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" regex "\"}, \"behavior\": \"" how                    \
    "\", \"invert\": false}"
    check_json(PRE(SPLIT("a", "Isolated") RAW), "ab", "0:0-1 1:1-2");
    check_json(PRE(SPLIT("[[b]x]", "Isolated") RAW), "ab", "0:0-1 1:1-2"); /* a set inside a set */
    check_json(PRE(SPLIT("\\\\u0061", "Isolated") RAW), "ab", "0:0-1 1:1-2");
    check_json(PRE(SPLIT("\\\\h", "Isolated") RAW), "ab", "0:0-1 1:1-2"); /* a hexadecimal digit */
    check_json(PRE(SPLIT("^b", "Isolated") RAW), "ab", "2:0-2");
    check_json(PRE("{\"type\": \"CharDelimiterSplit\", \"delimiter\": \"x\"}" RAW), "axb", "0:0-1 1:2-3");
    check_json(PRE("{\"type\": \"Punctuation\", \"behavior\": \"Removed\"}" RAW), "a,b", "0:0-1 1:2-3");
    /* U+00E9 is the bytes c3 a9; behind ByteLevel they are two characters, and a9 no letter */
    check_json(BYTES("", ""), "\xc3\xa9", "7:0-1 8:1-2");
    /* an empty match is a border: before each b */
    check_json(PRE(SPLIT("(?=b)", "Isolated") RAW), "ab", "0:0-1 1:1-2");
    check_json(PRE(SPLIT("(?=b)", "MergedWithPrevious") RAW), "abab", "0:0-1 6:1-3 1:3-4");
    /* a space before every piece, but those that have one */
    check_json(PRE("{\"type\": \"Punctuation\", \"behavior\": \"Removed\"}, {\"type\": \"ByteLevel\", "
                   "\"add_prefix_space\": true, \"use_regex\": false}"),
               "ab,ab, ab", "4:0-2 4:3-5 4:6-9");
    /* Whitespace counts U+200D to words and U+00B2 not; [\w] of Split neither, \w alone U+00B2 */
    check_json(PRE("{\"type\": \"Whitespace\"}" RAW),
               "a\xe2\x80\x8d"
               "b\xc2\xb2"
               "b",
               "2:0-5 1:7-8");
    check_json(PRE(SPLIT("\\\\w+", "Removed") RAW), "\xc2\xb2,a", "");
    check_json(PRE(SPLIT("[\\\\w]+", "Isolated") RAW), "a\xc3\xa9", "0:0-1 7:1-2 8:2-3");
#undef PRE
#undef RAW
#undef SPLIT
}

/* Added tokens: those that are normalized are looked for, in their normal form, in what the normalizer left;
 * the others before, in the text. */
static void test_json_added(void **state)
{
    (void)state;
#define ADDED(text, flags)                                                                                   \
    "\"added_tokens\": [{\"id\": 9, \"content\": \"" text "\", \"special\": false" flags "}],"
#define LOWER "\"normalizer\": {\"type\": \"Lowercase\"},"
    check_json(BYTES(LOWER ADDED("BA", ", \"normalized\": true"), ""), "abABa", "0:0-1 9:1-3 9:3-5");
    check_json(BYTES(LOWER ADDED("BA", ", \"normalized\": false"), ""), "abABAab", "2:0-2 0:2-3 9:3-5 2:5-7");
    check_json(BYTES(LOWER ADDED("BA", ""), ""), "aba", "0:0-1 9:1-3");
    /* one that the vocabulary spells in its alphabet of bytes keeps that: c3 is still a byte */
    check_json(BYTES("\"added_tokens\": [{\"id\": 7, \"content\": \"\\u00c3\", \"special\": true, "
                     "\"normalized\": false}],",
                     ""),
               "\xc3\xa9\xc3\x83", "7:0-1 8:1-2 7:2-4");
#define MARKED(text, flags)                                                                                  \
    "{\"added_tokens\": [{\"id\": 9, \"content\": \"" text "\", \"special\": false" flags "}]" LLAMA_NORM    \
    ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"\\u2581\": 1, \"a\": 2, \"b\": 3, \"\\u2581a\": 4, "     \
    "\"\\u2581\\u2581\": 5}, \"merges\": [\"\\u2581 a\", \"\\u2581 \\u2581\"]}}"
    /* the normal form of x is the mark and x, so only that is found, and no second mark follows it */
    check_json(MARKED("x", ", \"normalized\": true"), "a xa", "4:0-1 9:1-3 2:3-4");
    check_json(MARKED("x", ", \"normalized\": false"), "axa", "4:0-1 9:1-2 4:2-3");
    /* blanks that are marks by now are not swallowed */
    check_json(MARKED("x", ", \"normalized\": true, \"rstrip\": true"), "a x a", "4:0-1 9:1-3 4:3-5");
    /* a written mark is found where only the text has it, and spaces are none */
    check_json(MARKED("\\u2581\\u2581", ", \"normalized\": false"), "a  a\xe2\x96\x81\xe2\x96\x81",
               "4:0-1 1:1-2 4:2-4 9:4-10");
    /* characters that no token has vanish where there is no unknown token, and others meet */
    check_json(MARKED("x", ", \"normalized\": false"), "a z ", "4:0-1 5:1-4");
#undef MARKED
#undef LOWER
#undef ADDED
}

static void test_json_marks(void **state)
{
    (void)state;
    check_json(MARKS(LLAMA_NORM, ""), "a a", "4:0-1 4:1-3");
    check_json(MARKS(LLAMA_NORM, ""), "", "");
    check_json(MARKS(LLAMA_NORM, ""), "a<s>a", "4:0-1 9:1-4 4:4-5"); /* the mark comes back after a token */
    check_json(MARKS(LLAMA_NORM, ""), "b\xc3\xa9z", "1:0-0 3:0-1 5:1-2 6:2-3 0:3-4");
    check_json(MARKS(LLAMA_NORM, ""), "zza", "1:0-0 0:0-2 2:2-3");            /* unknowns are fused */
    check_json(MARKS(LLAMA_NORM, ""), "\xe2\x96\x81" "a", "1:0-0 4:0-4");     /* a written mark is a space */
    check_json(MARKS("", ", \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", "
                         "\"prepend_scheme\": \"first\", \"split\": true}"),
               "a<s>a  a", "4:0-1 9:1-4 2:4-5 1:5-6 4:6-8");
    check_json(
        MARKS(", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
              "\"\\u2581\"}",
              ""),
        "a a", "2:0-1 4:1-3"); /* gemma: no space before the text */
}

/* Gemma: its split on spaces comes after they became marks, and its added runs of marks are made by merges.
 */
static void test_json_gemma(void **state)
{
    (void)state;
    static const char json[] =
        "{\"added_tokens\": [{\"id\": 4, \"content\": \"\\u2581\\u2581\", \"normalized\": false, "
        "\"special\": false}, {\"id\": 5, \"content\": \"\\n\\n\", \"normalized\": false, \"special\": "
        "false}], "
        "\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
        "\"\\u2581\"}, "
        "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \" \"}, \"behavior\": "
        "\"MergedWithPrevious\", \"invert\": false}, \"model\": {\"type\": \"BPE\", \"byte_fallback\": true, "
        "\"vocab\": "
        "{\"\\u2581\": 0, \"a\": 1, \"\\u2581a\": 2, \"\\n\": 3, \"\\u2581\\u2581\": 4, \"\\n\\n\": 5}, "
        "\"merges\": [\"\\u2581 \\u2581\", \"\\u2581 a\"]}}";
    check_json(json, "a a", "1:0-1 2:1-3");
    check_json(json, "a  a", "1:0-1 4:1-3 1:3-4");
    check_json(json, "a\n\n\na", "1:0-1 5:1-3 3:3-4 1:4-5");
}

/* Stretches too long for the plain scan: the same pieces as short ones, pairs from the left. */
static void test_long_words(void **state)
{
    (void)state;
    struct sac_err err = { SAC_OK, "" };
    struct tokenizer *t = from_json(BYTES("", ""), &err);
    char text[2001];
    struct tok_part part = { 0, 2000, true };
    struct sac_tokens out = { 0 };
    for (int i = 0; i < 2000; i++) text[i] = "bab"[i % 3];          /* b ab b ab ... , as short words give */
    assert_non_null(t);
    assert_int_equal(tokenizer_encode(t, text, &part, 1, true, &out, &err), SAC_OK);
    assert_int_equal(out.n, 666 * 2 + 1);                             /* the last two letters are one token */
    for (int i = 0; i < 666 * 2; i++) assert_int_equal(out.id[i], i % 2 ? 2 : 1);
    sac_tokens_free(&out);
    tokenizer_free(t);
}

static void test_json_refused(void **state)
{
    (void)state;
    static const struct { const char *json, *says;
    } cases[] = {
        { "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", "Unigram" },
        { "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}", "WordPiece" },
        { "{\"normalizer\": {\"type\": \"Precompiled\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": "
          "0}, "
          "\"merges\": []}}",
          "Precompiled" },
        { "{\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"model\": {\"type\": \"BPE\", \"vocab\": "
          "{\"a\": 0}, "
          "\"merges\": []}}",
          "BertPreTokenizer" },
        { "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", "no possible id" },
        { "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 99999999999}, \"merges\": []}}",
          "no possible id" },
        { "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [5]}}", "not a pair" },
        { "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}, \"behavior\": "
          "\"Isolated\"}, "
          "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
          "cannot be read" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sac_err err = { SAC_OK, "" };
        assert_null(from_json(cases[i].json, &err));
        if (!strstr(err.msg, cases[i].says)) fail_msg("'%s' does not say %s", err.msg, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocabularies), cmocka_unit_test(test_spans),
        cmocka_unit_test(test_special),      cmocka_unit_test(test_chat),
        cmocka_unit_test(test_templates),    cmocka_unit_test(test_json_bytes),
        cmocka_unit_test(test_json_marks),   cmocka_unit_test(test_json_refused),
        cmocka_unit_test(test_json_gemma),   cmocka_unit_test(test_pretokenizers),
        cmocka_unit_test(test_long_words),   cmocka_unit_test(test_json_normalizers),
        cmocka_unit_test(test_clusters),     cmocka_unit_test(test_json_splits),
        cmocka_unit_test(test_json_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
