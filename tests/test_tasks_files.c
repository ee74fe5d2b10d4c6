/* Tasks that read files: question sets in their published forms (small ones of our own) and user prompts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/qa.h"
#include "tasks/tasks.h"

#define FILE_OF(name) TEST_DIR "/fixtures/tasks/" name

static int count_bytes(void *ctx, const char *user, struct sac_err *err)
{
    (void)ctx;
    (void)err;
    return (int)strlen(user) / 4 + 8;
}

static const struct task_counter rough = { count_bytes, NULL, 0 };

static void test_load(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int docs, items;
    } row[] = {
        { FILE_OF("squad.json"), 8, 16 },
        { FILE_OF("quality.jsonl"), 8, 8 },
        { FILE_OF("toefl.jsonl"), 8, 16 },
    };
    for (size_t i = 0; i < 3; i++) {
        struct qa_set q;
        struct sac_err err = { 0 };
        if (qa_load(&q, row[i].path, &err)) fail_msg("%s", err.msg);
        assert_int_equal(q.n_docs, row[i].docs);
        assert_int_equal(q.n_items, row[i].items);
        for (int k = 0; k < q.n_items && !i; k++) { /* bytes, though the file counts code points */
            const struct qa_item *it = &q.item[k];
            assert_int_equal(it->hi - it->lo, strlen(it->answer));
            assert_memory_equal(q.doc[it->doc] + it->lo, it->answer, it->hi - it->lo);
        }
        qa_free(&q);
    }
}

static void test_samples(void **state)
{
    (void)state;
    static const struct {
        const char *task, *path;
        int n;
    } row[] = {
        { "qa_squad", FILE_OF("squad.json"), 16 },
        { "qa_quality", FILE_OF("quality.jsonl"), 8 },
        { "qa_toefl", FILE_OF("toefl.jsonl"), 16 },
    };
    for (size_t t = 0; t < 3; t++)
        for (int style = SAC_STYLE_COMPACT; style <= SAC_STYLE_PAPER; style++)
            for (int i = 0; i < row[t].n; i++) {
                struct sac_sample s;
                struct sac_err err = { 0 };
                if (task_make(&s, &rough, row[t].task, (enum sac_style)style, 1200, 43, i, row[t].path, &err))
                    fail_msg("%s %d: %s", row[t].task, i, err.msg);
                int n = count_bytes(NULL, s.prompt, NULL);
                assert_in_range(n, 1080, 1200);
                assert_true(sac_sample_score(&s, s.gold).value >= 1.0);
                for (char *const *a = s.alt; a && *a; a++) assert_true(sac_sample_score(&s, *a).value >= 1.0);
                if (t == 0 && strstr(s.prompt, "On which river")) assert_non_null(s.alt);
                assert_int_equal(s.n_evidence, 1);
                struct sac_span e = s.evidence[0];
                char *text = strndup(s.prompt + e.lo, (size_t)(e.hi - e.lo)),
                     *head = strndup(s.prompt, (size_t)e.lo);
                /* the number in the question is the number in front of the evidence */
                int doc = 0, asked = 0;
                for (const char *p = head; (p = strstr(p, "Document ")); p++) sscanf(p, "Document %d:", &doc);
                const char *q = strstr(s.prompt, "About Document ");
                assert_non_null(q);
                assert_int_equal(sscanf(q, "About Document %d", &asked), 1);
                assert_int_equal(asked, doc);
                if (t == 0)
                    assert_non_null(strstr(s.gold, text));
                else
                    assert_non_null(strstr(text, " is a town on the river "));
                free(text);
                free(head);
                sac_sample_free(&s);
            }
    struct sac_sample s;
    struct sac_err err = { 0 };
    assert_int_equal(task_make(&s, &rough, "qa_squad", SAC_STYLE_COMPACT, 1200, 43, 16, row[0].path, &err),
                     SAC_EARG);
    assert_non_null(strstr(err.msg, "has 16 questions"));
    err = (struct sac_err){ 0 };
    assert_int_equal(task_make(&s, &rough, "qa_squad", SAC_STYLE_COMPACT, 20000, 43, 0, row[0].path, &err),
                     SAC_EARG);
    assert_non_null(strstr(err.msg, "cannot fill"));
    err = (struct sac_err){ 0 };
    assert_int_equal(task_make(&s, &rough, "qa_squad", SAC_STYLE_COMPACT, 1200, 43, 0, NULL, &err), SAC_EARG);
    err = (struct sac_err){ 0 };
    assert_int_equal(
        task_make(&s, &rough, "qa_quality", SAC_STYLE_COMPACT, 1200, 43, 0, FILE_OF("user.jsonl"), &err),
        SAC_EFORMAT);
    /* A gold label beyond the options cannot be chosen: that question has no answer. */
    err = (struct sac_err){ 0 };
    task_make(&s, &rough, "qa_quality", SAC_STYLE_COMPACT, 1200, 43, 0, FILE_OF("label.jsonl"), &err);
    assert_non_null(strstr(err.msg, "holds no question that has an answer"));
}

static void test_user(void **state)
{
    (void)state;
    struct sac_sample s;
    struct sac_err err = { 0 };
    if (task_make(&s, &rough, "user", SAC_STYLE_PAPER, 0, 43, 0, FILE_OF("user.jsonl"), &err))
        fail_msg("%s", err.msg);
    assert_string_equal(s.gold, "blue");
    assert_true(sac_sample_score(&s, "Dark blue.").value >= 1.0);
    assert_true(sac_sample_score(&s, "red").value <= 0.0);
    assert_int_equal(s.n_evidence, 1);
    assert_int_equal(s.evidence[0].lo, 17);
    sac_sample_free(&s);
    if (task_make(&s, &rough, "user", SAC_STYLE_COMPACT, 100, 43, 1, FILE_OF("user.jsonl"), &err))
        fail_msg("%s", err.msg);
    assert_true(sac_sample_score(&s, "lark, robin").value > 0.33 &&
                sac_sample_score(&s, "lark, robin").value < 0.34);
    sac_sample_free(&s);

    static const struct {
        int index, length;
        enum sac_code code;
        const char *says;
    } bad[] = {
        { 0, 10, SAC_EARG, "more than the 10 allowed" }, { 2, 0, SAC_EFORMAT, "no metric 'bleu'" },
        { 3, 0, SAC_EFORMAT, "does not stand" },         { 4, 0, SAC_EFORMAT, "line 6 needs" },
        { 5, 0, SAC_EFORMAT, "line 7 is not JSON" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (struct sac_err){ 0 };
        assert_int_equal(task_make(&s, &rough, "user", SAC_STYLE_COMPACT, bad[i].length, 43, bad[i].index,
                                   FILE_OF("user.jsonl"), &err),
                         bad[i].code);
        if (!strstr(err.msg, bad[i].says)) fail_msg("'%s'", err.msg);
    }
    err = (struct sac_err){ 0 };
    assert_int_equal(task_make(&s, &rough, "user", SAC_STYLE_COMPACT, 0, 43, 0, "/nonexistent/x", &err),
                     SAC_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_load), cmocka_unit_test(test_samples),
                                        cmocka_unit_test(test_user) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
