/* Tasks with the bundled model's tokenizer: lengths in its own tokens, and evidence proved by decoding the
 * tokens that a span of bytes became. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <saccade/task.h>

static struct sac_model *model;

static int open_model(void **state)
{
    (void)state;
    struct sac_err err = { 0 };
    const struct sac_model_opts opts = { .directory_only = true };
    if (!sac_model_open(&model, SOURCE_DIR "/samples/models/saccade-sample-q8_0.gguf", &opts, &err)) return 0;
    print_error("%s\n", err.msg);
    return 1;
}

static int close_model(void **state)
{
    (void)state;
    sac_model_close(model);
    return 0;
}

/* The evidence's bytes, from the tokens that overlap it; what sticks out on either side is part of a token.
 */
static void check_evidence(const struct sac_sample *s, const struct sac_tokens *t, size_t at)
{
    for (int i = 0; i < s->n_evidence; i++) {
        int lo = (int)at + s->evidence[i].lo, hi = (int)at + s->evidence[i].hi, first = -1, n = 0;
        char text[4096];
        for (int k = 0; k < t->n; k++) {
            if (t->span[k].hi <= lo || t->span[k].lo >= hi || t->span[k].lo == t->span[k].hi) continue;
            const char *bytes;
            int len = sac_token_bytes(model, t->id[k], &bytes), width = t->span[k].hi - t->span[k].lo;
            /* SentencePiece puts a space in front of a text that the text does not have. */
            if (len == width + 1 && *bytes == ' ') bytes++, len--;
            assert_int_equal(len, width);
            assert_true(n + len < (int)sizeof text);
            memcpy(text + n, bytes, (size_t)len);
            n += len;
            if (first < 0) first = k;
        }
        assert_true(first >= 0);
        int skip = lo - t->span[first].lo;
        assert_true(skip >= 0 && skip + hi - lo <= n);
        assert_memory_equal(text + skip, s->prompt + s->evidence[i].lo, (size_t)(hi - lo));
    }
}

static void test_in_own_tokens(void **state)
{
    (void)state;
    int n_tasks, close = 0, total = 0;
    const struct sac_task *const *tasks = sac_tasks(&n_tasks);
    static const int lengths[] = { 1024, 4096, 16384 };
    for (int t = 0; t < n_tasks; t++) {
        if (tasks[t]->needs_file) continue;
        for (int style = SAC_STYLE_AUTO; style <= SAC_STYLE_PAPER; style += 2)
            for (int l = style == SAC_STYLE_AUTO ? 0 : 1; l < 3; l++)
                for (int i = 0; i < (l == 2 ? 2 : 5); i++) {
                    struct sac_sample s;
                    struct sac_tokens tok = { 0 };
                    struct sac_err err = { 0 };
                    char *text;
                    size_t at;
                    /* ten words of thirty alone are longer than the shortest prompts */
                    if (sac_sample_make(&s, model, tasks[t]->name, (enum sac_style)style, lengths[l], 43, i,
                                        NULL, &err))
                        fail_msg("%s %d: %s", tasks[t]->name, lengths[l], err.msg);
                    if (sac_chat_tokenize(model, NULL, s.prompt, &tok, &text, &at, &err))
                        fail_msg("%s", err.msg);
                    assert_memory_equal(text + at, s.prompt, strlen(s.prompt));
                    assert_int_equal(s.style, style == SAC_STYLE_AUTO ? SAC_STYLE_COMPACT : SAC_STYLE_PAPER);
                    if (tok.n > lengths[l] || tok.n < 0.9 * lengths[l])
                        fail_msg("%s: %d tokens for %d", tasks[t]->name, tok.n, lengths[l]);
                    close += tok.n >= 0.97 * lengths[l] || lengths[l] == 16384;
                    total++;
                    check_evidence(&s, &tok, at);
                    free(text);
                    sac_tokens_free(&tok);
                    sac_sample_free(&s);
                }
    }
    assert_true(close >= 0.9 * total);
}

/* The same with other tokenizers: byte-level BPE of another vocabulary, and SentencePiece with its leading
 * space. */
static void test_other_tokenizers(void **state)
{
    (void)state;
    static const char *const file[] = { "ggml-vocab-gpt-2.gguf", "ggml-vocab-llama-spm.gguf" };
    const char *root = getenv("SACCADE_FIXTURES");
    if (!root) {
        print_message("SACCADE_FIXTURES is not set: only the bundled tokenizer was tried\n");
        return;
    }
    struct sac_model *bundled = model;
    for (size_t f = 0; f < sizeof file / sizeof *file; f++) {
        char path[1024];
        struct sac_err err = { 0 };
        const struct sac_model_opts opts = { .directory_only = true };
        snprintf(path, sizeof path, "%s/tokenizer/%s", root, file[f]);
        if (sac_model_open(&model, path, &opts, &err)) fail_msg("%s", err.msg);
        int n_tasks;
        const struct sac_task *const *tasks = sac_tasks(&n_tasks);
        for (int t = 0; t < n_tasks; t++)
            for (int style = SAC_STYLE_COMPACT; style <= SAC_STYLE_PAPER && !tasks[t]->needs_file; style++)
                for (int i = 0; i < 3; i++) {
                    struct sac_sample s;
                    struct sac_tokens tok = { 0 };
                    char *text = NULL;
                    size_t at = 0;
                    if (sac_sample_make(&s, model, tasks[t]->name, (enum sac_style)style, 4096, 43, i, NULL,
                                        &err) ||
                        sac_chat_tokenize(model, NULL, s.prompt, &tok, &text, &at, &err))
                        fail_msg("%s, %s: %s", file[f], tasks[t]->name, err.msg);
                    assert_in_range(tok.n, 3687, 4096);
                    check_evidence(&s, &tok, at);
                    free(text);
                    sac_tokens_free(&tok);
                    sac_sample_free(&s);
                }
        sac_model_close(model);
    }
    model = bundled;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_in_own_tokens),
                                        cmocka_unit_test(test_other_tokenizers) };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
