/* Tokenizers of tokenizer.json against the library that defines the format.
 *
 * fixtures/tokenizer_json: 37 small byte-level and SentencePiece-like BPE vocabularies, each with another
 * normalizer or pre-tokenizer, and what the library makes of 245 texts: many scripts, blanks, digits,
 * joiners, special and added tokens that swallow blanks, stand alone or are looked for in the normal form. Ids must be
 * equal; spans must run through the text in order. */
#include "study/packed.h"
#include "text/tok_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *load_cases(void)
{
    struct sac_err err = { SAC_OK, "" };
    json_error_t je;
    FILE *f = packed_open(TEST_DIR "/fixtures/tokenizer_json/cases.json.zst", &err);
    if (!f) fail_msg("%s", err.msg);
    json_t *o = json_loadf(f, JSON_ALLOW_NUL, &je);
    fclose(f);
    if (!o) fail_msg("%s", je.text);
    return o;
}

static void check_text(struct tokenizer *t, const char *name, const json_t *text, const json_t *want)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_tokens got = { 0 };
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    struct tok_part part = { 0, n, true };
    if (tokenizer_encode(t, s, &part, 1, false, &got, &err)) fail_msg("%s: %s", name, err.msg);
    if ((size_t)got.n != json_array_size(want))
        fail_msg("%s: '%s' gives %d tokens, expected %zu", name, s, got.n, json_array_size(want));
    for (int i = 0; i < got.n; i++) {
        int id = (int)json_integer_value(json_array_get(want, (size_t)i));
        if (got.id[i] != id) fail_msg("%s: '%s': token %d is %d, expected %d", name, s, i, got.id[i], id);
        assert_true(got.span[i].lo <= got.span[i].hi && (size_t)got.span[i].hi <= n);
        assert_true(i == 0 || got.span[i].lo >= got.span[i - 1].lo);
    }
    sac_tokens_free(&got);
}

static void test_reference_ids(void **state)
{
    (void)state;
    json_t *o = load_cases(), *one, *text;
    const json_t *strings = json_object_get(o, "strings"), *list = json_object_get(o, "tokenizers");
    size_t i, k;
    assert_int_equal(json_array_size(list), 37);
    assert_int_equal(json_array_size(strings), 245);
    json_array_foreach((json_t *)(uintptr_t)list, i, one) {
        struct sac_err err = { SAC_OK, "" };
        char folder[] = "test";
        struct model_files f = { .path = folder, .tokenizer = json_object_get(one, "tokenizer") };
        const char *name = json_string_value(json_object_get(one, "name"));
        struct tokenizer *t = NULL;
        if (tokenizer_load(&t, &f, &err)) fail_msg("%s: %s", name, err.msg);
        json_array_foreach((json_t *)(uintptr_t)strings, k, text)
            check_text(t, name, text, json_array_get(json_object_get(one, "ids"), k));
        tokenizer_free(t);
    }
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_reference_ids) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
