/* Generated tasks: length, evidence, answers that score one, the same bytes for the same seed.
 *
 * Tokens are counted by a function of the text alone (a token for every four bytes of a word or sign), so
 * these tests need no model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/data.h"
#include "tasks/tasks.h"

static int count_rough(void *ctx, const char *user, struct sac_err *err)
{
    (void)ctx;
    (void)err;
    int n = 8;
    for (const char *p = user; *p;) {
        int len = 0;
        while (isalnum((unsigned char)p[len])) len++;
        n += len ? (len + 3) / 4 : *p != ' ';
        p += len ? len : 1;
    }
    return n;
}

static const struct task_counter rough = { count_rough, NULL, 0 };
static const char *const names[] = { "niah",           "vt", "cwe", "story_retrieval", "story_multihop",
                                     "story_filtering" };
enum { N_NAMES = sizeof names / sizeof *names };

static void make(struct sac_sample *s, const char *spec, enum sac_style style, int length, uint64_t seed,
                 int index)
{
    struct sac_err err = { 0 };
    enum sac_code rc = task_make(s, &rough, spec, style, length, seed, index, NULL, &err);
    if (rc) fail_msg("%s at %d: %s", spec, length, err.msg);
}

static void test_length_and_gold(void **state)
{
    (void)state;
    static const int lengths[] = { 1024, 3000, 4096, 16384 };
    for (int t = 0; t < N_NAMES; t++)
        for (int paper = 0; paper < 2; paper++)
            for (size_t l = paper ? 1 : 0; l < sizeof lengths / sizeof *lengths; l++)
                for (int i = 0; i < 6; i++) {
                    struct sac_sample s;
                    make(&s, names[t], paper ? SAC_STYLE_PAPER : SAC_STYLE_COMPACT, lengths[l], 43, i);
                    int n = count_rough(NULL, s.prompt, NULL);
                    if (n > lengths[l] || n < 0.90 * lengths[l])
                        fail_msg("%s: %d tokens for %d", names[t], n, lengths[l]);
                    struct sac_score full = sac_sample_score(&s, s.gold), none = sac_sample_score(&s, "");
                    if (full.value < 1.0 || !full.parsed)
                        fail_msg("%s: gold '%s' scores %g", names[t], s.gold, full.value);
                    assert_true(none.value <= 0.0 && !none.parsed);
                    assert_true(s.n_evidence > 0);
                    sac_sample_free(&s);
                }
}

/* The text of all evidence of one item, joined by '|'. */
static void evidence_text(const struct sac_sample *s, int item, char *out, size_t cap)
{
    size_t n = 0;
    for (int i = 0; i < s->n_evidence; i++) {
        assert_true(s->evidence[i].lo >= 0 && s->evidence[i].lo < s->evidence[i].hi);
        assert_true((size_t)s->evidence[i].hi <= strlen(s->prompt));
        if (i) assert_true(s->evidence[i].lo >= s->evidence[i - 1].lo);
        if (s->evidence_item[i] != item) continue;
        n += (size_t)snprintf(out + n, cap - n, "%.*s|", s->evidence[i].hi - s->evidence[i].lo,
                              s->prompt + s->evidence[i].lo);
        assert_true(n < cap);
    }
}

/* Each part of the answer can be read off its evidence. */
static void test_evidence(void **state)
{
    (void)state;
    for (int t = 0; t < N_NAMES; t++)
        for (int paper = 0; paper < 2; paper++)
            for (int i = 0; i < 12; i++) {
                struct sac_sample s;
                make(&s, names[t], paper ? SAC_STYLE_PAPER : SAC_STYLE_COMPACT, 4000, 7, i);
                char *gold = strdup(s.gold), *save = NULL, text[16384];
                int item = 0;
                bool by_line = strcmp(names[t], "vt") && strcmp(names[t], "story_filtering");
                for (char *w = strtok_r(gold, by_line ? "\n" : " ,\n", &save); w;
                     w = strtok_r(NULL, by_line ? "\n" : " ,\n", &save)) {
                    if (*w == '<' || !strcmp(w, "VAR")) continue;
                    size_t len = strlen(w);
                    if (by_line && w[len - 1] == '.') w[--len] = '\0';
                    const char *key = w;
                    if (by_line && isdigit((unsigned char)*w)) key = strchr(w, ' ') + 1;
                    if (!strcmp(names[t], "niah")) key = strrchr(w, ' ') + 1;
                    evidence_text(&s, item++, text, sizeof text);
                    if (!strstr(text, key)) fail_msg("%s: '%s' is not in evidence '%s'", names[t], key, text);
                }
                assert_true(item > 0);
                free(gold);
                sac_sample_free(&s);
            }
}

static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    for (int t = 0; t < N_NAMES; t++) {
        struct sac_sample a, b, c, d;
        make(&a, names[t], SAC_STYLE_COMPACT, 2048, 43, 3);
        make(&b, names[t], SAC_STYLE_COMPACT, 2048, 43, 3);
        make(&c, names[t], SAC_STYLE_COMPACT, 2048, 43, 4);
        make(&d, names[t], SAC_STYLE_COMPACT, 2048, 44, 3);
        assert_string_equal(a.prompt, b.prompt);
        assert_string_equal(a.gold, b.gold);
        assert_string_not_equal(a.prompt, c.prompt);
        assert_string_not_equal(a.prompt, d.prompt);
        sac_sample_free(&a);
        sac_sample_free(&b);
        sac_sample_free(&c);
        sac_sample_free(&d);
    }
}

/* First draws of a known stream: a change here changes every sample ever quoted. */
static void test_rng_is_fixed(void **state)
{
    (void)state;
    struct rng r = { rng_mix(43, 0) };
    static const uint32_t want[] = { 1887610010u, 223065805u, 938527651u };
    for (int i = 0; i < 3; i++) assert_int_equal(want[i], rng_u32(&r));
    int seen[6] = { 0 };
    for (int i = 0; i < 6000; i++) seen[rng_int(&r, -2, 3) + 2]++;
    for (int i = 0; i < 6; i++) assert_in_range(seen[i], 850, 1150); /* 1000 expected, 5 sigma = 145 */
}

static void test_parameters(void **state)
{
    (void)state;
    struct sac_sample s;
    make(&s, "niah:queries=2", SAC_STYLE_COMPACT, 1024, 1, 0);
    assert_non_null(strstr(s.gold, "\n2. "));
    assert_null(strstr(s.gold, "\n3. "));
    sac_sample_free(&s);
    make(&s, "vt:chains=3,hops=2", SAC_STYLE_COMPACT, 1024, 1, 0);
    assert_int_equal(s.n_evidence, 3);
    sac_sample_free(&s);
    make(&s, "cwe:words=2,freq=5,rare=1", SAC_STYLE_COMPACT, 1024, 1, 0);
    assert_int_equal(s.n_evidence, 10);
    sac_sample_free(&s);

    static const struct {
        const char *spec, *says;
    } bad[] = {
        { "nia", "did you mean 'niah'" },        { "niah:querys=2", "did you mean 'queries'" },
        { "niah:queries", "needs a value" },     { "niah:queries=two", "not a whole number" },
        { "niah:queries=0", "outside 1 .. 64" }, { "story_multihop:x=1", "takes no parameters" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sac_err err = { 0 };
        assert_int_equal(task_make(&s, &rough, bad[i].spec, SAC_STYLE_COMPACT, 1024, 1, 0, NULL, &err),
                         SAC_EARG);
        if (!strstr(err.msg, bad[i].says)) fail_msg("%s: '%s'", bad[i].spec, err.msg);
        err = (struct sac_err){ 0 };
        assert_int_equal(sac_task_check(bad[i].spec, &err), SAC_EARG);
    }
    struct sac_err err = { 0 };
    assert_int_equal(task_make(&s, &rough, "story_retrieval", SAC_STYLE_COMPACT, 60, 1, 0, NULL, &err),
                     SAC_EARG);
    assert_non_null(strstr(err.msg, "too few"));
}

static void test_scores(void **state)
{
    (void)state;
    static const struct {
        enum metric m;
        bool tag;
        const char *gold, *answer;
        double value;
        bool parsed;
    } row[] = {
        { METRIC_FRACTION, 0, "1. a-b-12: 55\n2. c-d-34: 66", "1. a-b-12: 55\n2. c-d-34: 67", 0.5, 1 },
        { METRIC_FRACTION, 0, "1. a-b-12: 55\n2. c-d-34: 66", "2. C-D-34:  66. Done", 0.5, 1 },
        { METRIC_FRACTION, 0, "1. a-b-12: 55\n2. c-d-34: 66", "a-b-12: 55", 0, 0 },
        { METRIC_FRACTION, 0, "<answer>\n1. The value for key k is v.\n</answer>",
          "1. the value for key k is v", 1, 1 },
        { METRIC_FRACTION, 0, "<answer>\n1. The value for key k is v.\n</answer>",
          "<answer>1. The value for key x is v.</answer>", 0, 1 },
        { METRIC_FRACTION, 0, "Ghent", "ghent.", 1, 1 },
        { METRIC_FRACTION, 0, "1. brass key\n2. Ghent", "1. the  Brass key\n2. Riga", 0.5, 1 },
        { METRIC_IOU_VARS, 0, "VAR a VAR b", "VAR A b c", 2.0 / 3, 1 },
        { METRIC_IOU_VARS, 0, "VAR a VAR b", "VAR", 0, 0 },
        { METRIC_IOU_VARS, 0, "VAR a VAR b", "VAR a, VAR b", 1.0 / 3, 1 },   /* split at blanks alone */
        { METRIC_IOU_WORDS, 0, "a b", "a, b", 1, 1 },
        { METRIC_IOU_LINES, 1, "1. x\n2. y", "1. y\n2. z\n3. y", 1.0 / 3, 1 },
        { METRIC_IOU_LINES, 1, "1. x\n2. y", "1. y\n1. x", 1, 1 },
        { METRIC_IOU_LINES, 1, "<answer>\n1. x\n2. y\n</answer>", "1. x\n2. y", 0, 0 },
        { METRIC_IOU_LINES, 1, "<answer>\n1. x\n2. y\n</answer>", "so\n<answer>\n1. X\n2. y", 1, 1 },
        { METRIC_IOU_INTS, 1, "3, 7, 10", "Chapter 7, Chapter 03, 8", 0.5, 1 },
        { METRIC_IOU_INTS, 1, "3, 7, 10", "none", 0, 0 },
        { METRIC_EXACT, 1, "crooked iron astrolabe", "The crooked  iron Astrolabe.", 1, 1 },
        { METRIC_EXACT, 1, "crooked iron astrolabe", "crooked iron", 0, 1 },
        { METRIC_F1, 1, "in the year 1903", "1903 or about 1904", 0.4, 1 },
        { METRIC_F1, 1, "labor and professional organizations", "the labor organizations", 0.8, 1 },
        { METRIC_F1, 1, "Paris", "London", 0, 1 },
        { METRIC_LETTERS, 1, "B, D", "D and B", 1, 1 },
        { METRIC_LETTERS, 1, "B", "A, B", 0, 1 },
        { METRIC_LETTERS, 1, "B", "Because", 0, 0 },
        { METRIC_CONTAINS, 0, "the Red door", "It was THE red  door, surely", 1, 1 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct sac_score s = task_score(row[i].m, row[i].tag, row[i].gold, row[i].answer);
        double d = s.value - row[i].value;
        if (d > 1e-9 || d < -1e-9 || s.parsed != row[i].parsed)
            fail_msg("case %zu '%s': %g, parsed %d", i, row[i].answer, s.value, s.parsed);
    }
}

/* Every task fits at the lengths where a chapter more or less decides, and at absurd lengths it ends. */
static void test_awkward_lengths(void **state)
{
    (void)state;
    static const char *const stories[] = { "story_retrieval:queries=1", "story_multihop", "story_filtering" };
    static const int lengths[] = { 560, 610, 660, 720, 800 };
    for (int t = 0; t < 3; t++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (int i = 0; i < 20; i++) {
                struct sac_sample s;
                make(&s, stories[t], SAC_STYLE_COMPACT, lengths[l], 43, i);
                int n = count_rough(NULL, s.prompt, NULL);
                if (n > lengths[l] || n < 0.9 * lengths[l]) fail_msg("%d tokens for %d", n, lengths[l]);
                sac_sample_free(&s);
            }
    struct sac_sample s;
    struct sac_err err = { 0 };
    enum sac_code rc = task_make(&s, &rough, "story_multihop", SAC_STYLE_COMPACT, 900000, 1, 0, NULL, &err);
    assert_int_equal(rc, SAC_EARG);
    assert_non_null(strstr(err.msg, "cannot fill"));
    const struct task_counter small = { count_rough, NULL, 16384 };
    for (int t = 0; t < N_NAMES; t++) /* longer than the context: to be looked at, in full length */
        for (int style = SAC_STYLE_COMPACT; style <= SAC_STYLE_PAPER; style++) {
            err = (struct sac_err){ 0 };
            if (task_make(&s, &small, names[t], (enum sac_style)style, 65536, 1, 0, NULL, &err))
                fail_msg("%s", err.msg);
            assert_true(count_rough(NULL, s.prompt, NULL) >= 0.9 * 65536);
            sac_sample_free(&s);
        }
}

/* Sixteen questions on a short story: none is asked twice while there are others. */
static void test_questions_differ(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct sac_sample s;
        make(&s, "story_retrieval", SAC_STYLE_PAPER, 2048, 43, i);
        char *q = strdup(strstr(s.prompt, "<questions>")), *save = NULL;
        *strstr(q, "</questions>") = '\0';
        const char *line[16];
        int n = 0;
        for (char *p = strtok_r(q + strlen("<questions>"), "\n", &save); p; p = strtok_r(NULL, "\n", &save))
            line[n++] = strchr(p, ' ');
        assert_int_equal(n, 16);
        for (int a = 0; a < n; a++)
            for (int b = 0; b < a; b++) assert_string_not_equal(line[a], line[b]);
        free(q);
        sac_sample_free(&s);
    }
}

static bool word_in(const struct word_list *l, const char *w)
{
    for (int i = 0; i < l->n; i++)
        if (!strcmp(l->w[i], w)) return true;
    return false;
}

static void test_words(void **state)
{
    (void)state;
    assert_true(task_words.n > 2000);
    for (int i = 1; i < task_words.n; i++) assert_true(strcmp(task_words.w[i - 1], task_words.w[i]) < 0);
    assert_true(task_story.talk.n >= 3 && task_story.talk.n <= 64);
    assert_true(word_in(&task_story.places, "Ghent"));
}

static void test_prose_haystack(void **state)
{
    (void)state;
    char path[] = "/tmp/saccade-prose-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    for (int i = 0; i < 3000; i++) fprintf(f, "Sentence number %d speaks of caf\xc3\xa9s and of rain. ", i);
    fclose(f);
    for (int i = 0; i < 8; i++) {
        struct sac_sample s;
        struct sac_err err = { 0 };
        enum sac_code rc = task_make(&s, &rough, "niah", i % 2 ? SAC_STYLE_PAPER : SAC_STYLE_COMPACT, 4096,
                                     43, i, path, &err);
        if (rc) fail_msg("%s", err.msg);
        int n = count_rough(NULL, s.prompt, NULL);
        assert_in_range(n, 4096 * 9 / 10, 4096);
        assert_int_equal(s.n_evidence, 4);
        assert_true(sac_sample_score(&s, s.gold).value >= 1.0);
        assert_non_null(strstr(s.prompt, "speaks of"));
        sac_sample_free(&s);
    }
    struct sac_sample s;
    struct sac_err err = { 0 };
    assert_int_equal(task_make(&s, &rough, "niah", SAC_STYLE_COMPACT, 400000, 43, 0, path, &err), SAC_EARG);
    remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_is_fixed),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_evidence),
        cmocka_unit_test(test_length_and_gold),
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_awkward_lengths),
        cmocka_unit_test(test_questions_differ),
        cmocka_unit_test(test_prose_haystack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
