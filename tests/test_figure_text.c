/* Setting text of every script: which way it runs, how letters join, where tokens end. Glyphs are compared
 * with those that hb-shape finds in the same font, where it is installed. Fonts that a machine lacks are
 * skipped with a word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "figure_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEBREW   "\u05e9\u05dc\u05d5\u05dd" /* shin lamed vav final-mem */
#define ARABIC   "\u0633\u0644\u0645"       /* seen lam meem: all three join */
#define LAM_ALEF "\u0644\u0627"

static struct text_set set(const char *s, const unsigned char *style, bool auto_base)
{
    struct text_set t;
    assert_true(text_make(&t, s, strlen(s), style, 0, auto_base));
    assert_int_equal(t.at[t.n], strlen(s));
    return t;
}

static bool have(char32_t c, const char *what)
{
    if (text_has(0, c)) return true;
    print_message("no font has %s: not tested\n", what);
    return false;
}

static uint32_t id_alone(char32_t c)
{
    char s[8];
    s[text_put(s, c)] = 0;
    struct text_set t = set(s, NULL, false);
    assert_int_equal(t.n_glyphs, 1);
    uint32_t id = t.glyph[0].id;
    text_free(&t);
    return id;
}

static void test_hebrew_runs_from_the_right(void **state)
{
    (void)state;
    if (!have(0x5e9, "Hebrew")) return;
    struct text_set t = set(HEBREW, NULL, true);
    assert_true(t.rtl);
    assert_int_equal(t.n_runs, 1);
    assert_int_equal(t.run[0].level, 1);
    assert_int_equal(t.n_glyphs, 4);
    for (int i = 0; i < 4; i++) { /* the last letter stands first */
        assert_int_equal(t.glyph[i].ch, 3 - i);
        assert_int_equal(t.glyph[i].id, id_alone(t.ch[3 - i]));
    }
    text_free(&t);
}

static void test_arabic_joins(void **state)
{
    (void)state;
    if (!have(0x633, "Arabic")) return;
    struct text_set t = set(ARABIC, NULL, true), two;
    int differ = 0;
    for (int i = 0; i < t.n_glyphs; i++) differ += t.glyph[i].id != id_alone(t.ch[t.glyph[i].ch]);
    assert_true(differ >= 2); /* initial and medial forms are not the isolated ones */
    /* A change of style in the middle of a word changes the font, not the forms. */
    unsigned char style[] = { 0, 0, TEXT_ITALIC, TEXT_ITALIC, TEXT_ITALIC, TEXT_ITALIC };
    two = set(ARABIC, style, true);
    assert_int_equal(two.n_runs, 2);
    assert_int_equal(two.glyph[0].id, t.glyph[t.n_glyphs - 1].id);
    text_free(&two);
    text_free(&t);
    t = set(LAM_ALEF, NULL, true);
    if (t.n_glyphs == 1) { /* a ligature lends both letters half of its width */
        assert_true(fabsf(t.adv[0] - t.glyph[0].adv / 2) < 1e-6f);
        assert_true(fabsf(t.adv[1] - t.glyph[0].adv / 2) < 1e-6f);
    }
    text_free(&t);
}

static void test_conjuncts_and_marks(void **state)
{
    (void)state;
    if (!have(0x915, "Devanagari")) return;
    struct text_set t = set("\u0915\u094d\u0937", NULL, false); /* k + virama + ssa: one letter */
    assert_int_equal(t.n_runs, 1);
    assert_int_equal(t.glyph[0].ch, 0);
    assert_true(t.n_glyphs < 3);
    text_free(&t);
    t = set("\u0915\u093f", NULL, false); /* the vowel is written before its consonant */
    assert_int_equal(t.n_glyphs, 2);
    assert_int_equal(t.glyph[1].id, id_alone(0x915));
    text_free(&t);
}

/* The order of a line of mixed scripts: "ab ", the Hebrew, " cd"; the number after Hebrew stands left of it.
 */
static void test_lines_of_mixed_scripts(void **state)
{
    struct text_piece p[16];
    (void)state;
    if (!have(0x5e9, "Hebrew")) return;
    struct text_set t = set("ab " HEBREW " 12 cd", NULL, false);
    int n = text_line(&t, 0, t.n, p), first[16], k = 0;
    for (int i = 0; i < n; i++)
        if (t.ch[p[i].lo] != ' ') first[k++] = p[i].lo;
    assert_false(t.rtl);
    assert_true(k >= 3 && k <= 4);
    assert_int_equal(first[0], 0);
    assert_int_equal(first[1], 8); /* 12 */
    assert_int_equal(first[2], 3); /* the Hebrew word */
    text_free(&t);
    t = set(HEBREW " ab", NULL, true); /* a Hebrew paragraph: the English word stands at the left */
    n = text_line(&t, 0, t.n, p);
    assert_true(t.rtl);
    assert_int_equal(p[0].lo, 5);
    assert_int_equal(p[n - 1].lo, 0);
    n = text_line(&t, 0, 5, p); /* the blank that ends a line stands at its end: the left */
    assert_int_equal(p[0].lo, 4);
    text_free(&t);
    /* A name that is set apart leaves its number at the right. */
    t = set("\u2068" HEBREW "\u2069 12", NULL, false);
    n = text_line(&t, 0, t.n, p);
    assert_int_equal(t.ch[p[n - 1].hi - 1], '2');
    text_free(&t);
}

/* Every character of a line has its place: the places tile the line, whatever the script. */
static void check_places(const struct text_set *t, int lo, int hi)
{
    struct text_piece *p = malloc(((size_t)t->n_runs * 2 + 2) * sizeof *p);
    double *gx = calloc((size_t)t->n_glyphs + 1, sizeof *gx), *cx = calloc((size_t)t->n + 1, sizeof *cx),
           *cw = calloc((size_t)t->n + 1, sizeof *cw), x = 7, sum = 0, want = 0;
    assert_true(p && gx && cx && cw);
    int n = text_line(t, lo, hi, p), seen = 0;
    for (int i = 0; i < n; i++) {
        double from = x, inside = 0;
        x = text_place(t, &p[i], 12, x, NULL, NULL, gx, cx, cw);
        for (int k = p[i].lo; k < p[i].hi; k++, seen++) {
            inside += cw[k];
            if (cw[k] > 0) assert_true(cx[k] > from - 1e-4 && cx[k] + cw[k] < x + 1e-4);
        }
        assert_true(fabs(inside - (x - from)) < 1e-3);
        sum += inside;
    }
    for (int k = lo; k < hi; k++) want += (double)t->adv[k] * 12;
    assert_int_equal(seen, hi - lo);
    assert_true(fabs(sum - want) < 1e-2);
    free(p);
    free(gx);
    free(cx);
    free(cw);
}

static void test_any_text_has_its_places(void **state)
{
    static const char *const part[] = { HEBREW,
                                        ARABIC,
                                        LAM_ALEF,
                                        "\u0915\u094d\u0937\u093f",
                                        "abc",
                                        " ",
                                        "12",
                                        "e\u0301",
                                        "\u4e2d\u6587",
                                        "\u0e19\u0e49\u0e33",
                                        "(",
                                        ")",
                                        "\U0001F600",
                                        "\U0001F469\u200d\U0001F4BB",
                                        "\u2764\ufe0f",
                                        "\xff",
                                        "\xe4\xb8",
                                        "\u0301",
                                        "\u2067",
                                        "\u2069",
                                        "\t",
                                        "fi",
                                        "\u0378" };
    unsigned seed = 7;
    (void)state;
    for (int round = 0; round < 200; round++) {
        char s[400] = "";
        unsigned char style[400];
        for (int k = 0; k < 14; k++) {
            seed = seed * 1664525u + 1013904223u;
            strcat(s, part[(seed >> 8) % (sizeof part / sizeof *part)]);
        }
        for (size_t i = 0; i < sizeof style; i++) style[i] = i / 9 % 3 ? 0 : TEXT_BOLD;
        struct text_set t = set(s, style, round & 1);
        check_places(&t, 0, t.n);
        seed = seed * 1664525u + 1013904223u;
        int cut = t.n ? (int)((seed >> 8) % (unsigned)t.n) : 0;
        check_places(&t, 0, cut);
        text_free(&t);
    }
}

static void test_bytes_that_are_no_text(void **state)
{
    (void)state;
    unsigned seed = 3;
    for (int round = 0; round < 100; round++) {
        char s[64];
        for (size_t i = 0; i < sizeof s; i++) seed = seed * 1664525u + 1013904223u, s[i] = (char)(seed >> 16);
        struct text_set t;
        assert_true(text_make(&t, s, sizeof s, NULL, TEXT_MONO, true));
        check_places(&t, 0, t.n);
        text_free(&t);
    }
    struct text_set t = set("a\xff\x80z", NULL, false);
    assert_int_equal(t.n, 4);
    assert_int_equal(t.ch[1], 0xfffd);
    text_free(&t);
    t = set("a\u0378z", NULL, false); /* a character that no font has is spelled out */
    if (!text_has(0, 0x378)) {
        assert_int_equal(t.n, 2 + 7);
        assert_int_equal(t.ch[1], '\\');
        assert_int_equal(t.ch[8], 'z');
        assert_int_equal(t.at[7], 1);
    }
    text_free(&t);
}

/* The same glyphs in the same order as another program finds in the font. */
static void test_glyphs_are_those_of_hb_shape(void **state)
{
    static const char *const word[] = { HEBREW,
                                        ARABIC,
                                        "\u0627\u0644\u0633\u0644\u0627\u0645",
                                        "\u0928\u092e\u0938\u094d\u0924\u0947",
                                        "\u0e19\u0e49\u0e33",
                                        "Wave" };
    (void)state;
    if (system("hb-shape --version > /dev/null 2>&1") != 0) {
        print_message("hb-shape is not installed: glyphs not compared with it\n");
        skip();
    }
    for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
        const char *end = word[i];
        char file[512], cmd[900], line[400];
        if (!text_has(0, text_next(&end, word[i] + strlen(word[i])))) continue;
        struct text_set t = set(word[i], NULL, true);
        assert_int_equal(t.n_runs, 1);
        assert_true(text_font_file(0, t.run[0].font, file, sizeof file));
        snprintf(cmd, sizeof cmd, "hb-shape --no-glyph-names --no-positions --no-clusters '%s' '%s'", file,
                 word[i]);
        FILE *f = popen(cmd, "r");
        assert_non_null(f);
        assert_non_null(fgets(line, sizeof line, f));
        pclose(f);
        const char *p = line + 1;
        for (int g = 0; g < t.n_glyphs; g++) {
            char *next;
            assert_int_equal(strtoul(p, &next, 10), t.glyph[g].id);
            p = next + 1;
        }
        assert_int_equal(p[-1], ']');
        text_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hebrew_runs_from_the_right),   cmocka_unit_test(test_arabic_joins),
        cmocka_unit_test(test_conjuncts_and_marks),          cmocka_unit_test(test_lines_of_mixed_scripts),
        cmocka_unit_test(test_any_text_has_its_places),      cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_glyphs_are_those_of_hb_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
