/* The bundled model against the reference implementation's own runs: tokens of the prompts, greedy
 * continuations and the logits that start them.
 *
 * The Q8_0 file in the repository must give the same answers on the fast paths that everyone uses. Where the
 * bf16 original lies beside the larger fixtures ($SACCADE_FIXTURES), it must give the same tokens one by one
 * in f32. */
#include "file/tensors.h"

#include <saccade/logits.h>
#include <saccade/model.h>

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURES TEST_DIR "/fixtures/reference/"
enum { MAX_NEW = 64 };

/* The sanitizers slow arithmetic down by a factor of twenty; they look at the same code on shorter prompts. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LONGEST_PROMPT = 1000, N_RIGHT = 5 };
#else
enum { LONGEST_PROMPT = 1 << 20, N_RIGHT = 10 };
#endif

static json_t *load_runs(void)
{
    json_error_t e;
    json_t *runs = json_load_file(FIXTURES "reference_runs.json", 0, &e);
    if (!runs) fail_msg("reference_runs.json:%d: %s", e.line, e.text);
    return runs;
}

static const char *text_of(const json_t *run, const char *key)
{
    const char *s = json_string_value(json_object_get(run, key));
    return s ? s : "";
}

static struct sac_tokens tokens_of(const struct sac_model *m, const json_t *run)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_tokens t = { 0 };
    const char *prompt = text_of(run, "prompt");
    if (sac_tokenize(m, prompt, strlen(prompt), SAC_TOK_BOS | SAC_TOK_SPECIAL, &t, &err) != SAC_OK)
        fail_msg("%s: %s", text_of(run, "name"), err.msg);
    return t;
}

static struct sac_model *open_model(const char *path, bool strict)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_model *m = NULL;
    const struct sac_model_opts mo = { .strict = strict };
    if (sac_model_open(&m, path, &mo, &err) != SAC_OK) fail_msg("%s", err.msg);
    return m;
}

static void test_prompt_tokens(void **state)
{
    (void)state;
    struct sac_err err = { SAC_OK, "" };
    struct st_file ref;
    assert_int_equal(st_open(&ref, FIXTURES "reference_logits.safetensors", &err), SAC_OK);
    struct sac_model *m = open_model(SOURCE_DIR "/samples/models/saccade-sample-q8_0.gguf", false);
    json_t *runs = load_runs(), *run;
    size_t i;
    int checked = 0;
    json_array_foreach(runs, i, run) {
        char name[96];
        snprintf(name, sizeof name, "%s.ids", text_of(run, "name"));
        const struct st_tensor *ids = st_find(&ref, name);
        if (!ids) continue;
        struct sac_tokens t = tokens_of(m, run);
        assert_int_equal(ids->dtype, ST_I32);
        assert_int_equal(t.n, ids->shape[0]);
        assert_memory_equal(t.id, ids->data, (size_t)t.n * sizeof(int));
        sac_tokens_free(&t);
        checked++;
    }
    assert_int_equal(checked, 12);
    json_decref(runs);
    sac_model_close(m);
    st_close(&ref);
}

/* What the tokens say, without the stop token. */
static void answer_text(const struct sac_model *m, const int *id, int n, char *out, size_t cap)
{
    size_t at = 0;
    for (int i = 0; i < n && !sac_token_is_stop(m, id[i]); i++) {
        const char *bytes;
        int len = sac_token_bytes(m, id[i], &bytes);
        if (at + (size_t)len >= cap) break;
        memcpy(out + at, bytes, (size_t)len);
        at += (size_t)len;
    }
    out[at] = '\0';
}

static void test_bundled_answers(void **state)
{
    (void)state;
    struct sac_model *m = open_model(SOURCE_DIR "/samples/models/saccade-sample-q8_0.gguf", false);
    json_t *runs = load_runs(), *run;
    size_t i;
    int checked = 0;
    json_array_foreach(runs, i, run) {
        /* Where the original itself is right, the answer is no matter of a last bit. */
        if (!json_object_get(run, "gold") || strcmp(text_of(run, "gold"), text_of(run, "greedy"))) continue;
        struct sac_err err = { SAC_OK, "" };
        struct sac_tokens t = tokens_of(m, run);
        if (t.n > LONGEST_PROMPT) {
            sac_tokens_free(&t);
            continue;
        }
        int out[MAX_NEW], n = 0;
        char answer[2048];
        if (sac_greedy(m, t.id, t.n, MAX_NEW, out, &n, NULL, &err) != SAC_OK) fail_msg("%s", err.msg);
        answer_text(m, out, n, answer, sizeof answer);
        if (strcmp(answer, text_of(run, "greedy")))
            fail_msg("%s: got \"%s\", the reference says \"%s\"", text_of(run, "name"), answer,
                     text_of(run, "greedy"));
        sac_tokens_free(&t);
        checked++;
    }
    assert_int_equal(checked, N_RIGHT);
    json_decref(runs);
    sac_model_close(m);
}

static void check_logits(const struct st_file *ref, const json_t *run, const float *logits, int n_vocab)
{
    char name[96];
    snprintf(name, sizeof name, "%s.last_logits", text_of(run, "name"));
    const struct st_tensor *want = st_find(ref, name);
    if (!want) return;
    assert_int_equal(want->shape[0], n_vocab);
    double largest = 0, off = 0;
    for (int i = 0; i < n_vocab; i++) {
        float w;
        memcpy(&w, (const char *)want->data + (size_t)i * sizeof w, sizeof w);
        largest = fmax(largest, fabs((double)w));
        off = fmax(off, fabs((double)w - (double)logits[i]));
    }
    if (!(off <= 1e-3 * largest))
        fail_msg("%s: logits differ by %.3g of the largest, %.3g", name, off / largest, largest);
}

static void test_original_tokens(void **state)
{
    (void)state;
    char path[1024];
    const char *fixtures = getenv("SACCADE_FIXTURES");
    snprintf(path, sizeof path, "%s/../models/sample", fixtures ? fixtures : "");
    if (!fixtures || access(path, R_OK) != 0) {
        print_message("the bf16 original is not beside $SACCADE_FIXTURES: skipped\n");
        skip();
    }
    struct sac_err err = { SAC_OK, "" };
    struct st_file ref;
    assert_int_equal(st_open(&ref, FIXTURES "reference_logits.safetensors", &err), SAC_OK);
    struct sac_model *m = open_model(path, true);
    int n_vocab = sac_model_info(m)->shape.n_vocab;
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    json_t *runs = load_runs(), *run;
    size_t i;
    json_array_foreach(runs, i, run) {
        struct sac_tokens t = tokens_of(m, run);
        if (t.n > LONGEST_PROMPT) {
            sac_tokens_free(&t);
            continue;
        }
        const json_t *want = json_object_get(run, "greedy_ids");
        int out[MAX_NEW], n = 0, n_want = (int)json_array_size(want);
        assert_true(n_want <= MAX_NEW);
        if (sac_greedy(m, t.id, t.n, n_want, out, &n, logits, &err) != SAC_OK) fail_msg("%s", err.msg);
        for (int k = 0; k < n_want && k < n; k++)
            if (out[k] != (int)json_integer_value(json_array_get(want, (size_t)k)))
                fail_msg("%s: token %d is %d, the reference says %d", text_of(run, "name"), k, out[k],
                         (int)json_integer_value(json_array_get(want, (size_t)k)));
        /* The stop token may or may not be counted; nothing else may be missing. */
        assert_true(n == n_want || (n == n_want - 1 &&
                    sac_token_is_stop(m, (int)json_integer_value(json_array_get(want, (size_t)n)))));
        check_logits(&ref, run, logits, n_vocab);
        sac_tokens_free(&t);
    }
    json_decref(runs);
    free(logits);
    sac_model_close(m);
    st_close(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompt_tokens),
        cmocka_unit_test(test_bundled_answers),
        cmocka_unit_test(test_original_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
