/* Scoring: the same parser reads the gold answer and the model's, and the two results are compared.
 *
 * A reply that cannot be parsed counts as zero and says so. In the paper style the answer stands in an
 * <answer> element; needles and story retrieval fall back to the whole reply without it. */
#include "tasks/draft.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ITEMS = 512 };
struct items {
    char *text;
    char *at[MAX_ITEMS];
    int n;
}; /* at[] point into text */

static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
static bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }

/* What stands inside the last <answer> ... </answer>; the end tag may be missing. NULL without a start tag.
 */
static char *answer_part(const char *reply)
{
    const char *at = NULL, *p = reply;
    while ((p = strstr(p, "<answer>"))) at = p += strlen("<answer>");
    if (!at) return NULL;
    const char *end = strstr(at, "</answer>");
    return end ? strndup(at, (size_t)(end - at)) : strdup(at);
}

/* In place: lower case, runs of white space as one space, none at the ends. */
static void normalise(char *s)
{
    char *out = s;
    for (const char *p = s; *p; p++) {
        if (space(*p)) {
            if (out > s && out[-1] != ' ') *out++ = ' ';
        } else {
            *out++ = (char)lower(*p);
        }
    }
    while (out > s && out[-1] == ' ') out--;
    *out = '\0';
}

/* A story answer: article in front and full stop behind do not count. */
static char *plain(char *s)
{
    normalise(s);
    size_t n = strlen(s);
    while (n && (s[n - 1] == '.' || s[n - 1] == ' ')) s[--n] = '\0';
    static const char *const article[] = { "the ", "a ", "an " };
    for (size_t i = 0; i < 3; i++)
        if (!strncmp(s, article[i], strlen(article[i]))) return s + strlen(article[i]);
    return s;
}

/* "The value for key K is V.", "K: V" -> "k: v" in place; other text is left as it is. */
static char *needle(char *s)
{
    char *stop = strchr(s, '.');
    if (stop) *stop = '\0';
    normalise(s);
    static const char head[] = "the value for key ";
    if (!strncmp(s, head, sizeof head - 1)) s += sizeof head - 1;
    char *is = strstr(s, " is ");
    if (is) {
        is[0] = ':';
        memmove(is + 1, is + 3, strlen(is + 3) + 1);
    }
    return s;
}

/* The text behind "3. ", "3) " or "3: ", and the number; NULL when the line has none. */
static char *after_number(char *line, int *no)
{
    while (space(*line)) line++;
    *no = 0;
    while (digit(*line) && *no < 100000) *no = *no * 10 + *line++ - '0';
    return *no >= 1 && (*line == '.' || *line == ')' || *line == ':') ? line + 1 : NULL;
}

/* Numbered lines "3. text": at[2] is that text. Text without any numbered line is one item. */
static void numbered(struct items *it, bool whole)
{
    int n_lines = 0;
    for (char *p = it->text; p && *p;) {
        int no;
        char *end = strchr(p, '\n'), *q = NULL;
        if (end) *end++ = '\0';
        q = after_number(p, &no);
        if (q && no <= MAX_ITEMS) {
            if (!it->at[no - 1]) it->at[no - 1] = q;
            if (no > it->n) it->n = no;
            n_lines++;
        } else if (end) {
            end[-1] = '\n';
        }
        p = end;
    }
    if (!n_lines && whole && *it->text) {
        it->at[0] = it->text;
        it->n = 1;
    }
}

static struct sac_score score_fraction(char *gold, char *answer)
{
    struct items g = { .text = gold }, a = { .text = answer };
    numbered(&g, true);
    numbered(&a, g.n == 1);
    int hit = 0;
    for (int i = 0; i < g.n; i++) {
        if (!g.at[i] || i >= a.n || !a.at[i]) continue;
        bool key = strstr(g.at[i], ": ") || strstr(g.at[i], " is ");
        hit += !strcmp(key ? needle(g.at[i]) : plain(g.at[i]), key ? needle(a.at[i]) : plain(a.at[i]));
    }
    return (struct sac_score){ g.n ? (double)hit / g.n : 0.0, a.n > 0 };
}

/* Intersection over union of two lists read as sets. */
static struct sac_score iou(struct items *g, struct items *a)
{
    int both = 0, n_g = 0, n_a = 0;
    struct items *side[] = { g, a };
    for (int s = 0; s < 2; s++) { /* drop what is missing, empty or a repetition */
        int n = 0;
        for (int i = 0; i < side[s]->n; i++) {
            bool keep = side[s]->at[i] && *side[s]->at[i];
            for (int j = 0; keep && j < n; j++) keep = strcmp(side[s]->at[j], side[s]->at[i]) != 0;
            if (keep) side[s]->at[n++] = side[s]->at[i];
        }
        *(s ? &n_a : &n_g) = side[s]->n = n;
    }
    for (int i = 0; i < n_a; i++)
        for (int j = 0; j < n_g; j++) both += !strcmp(a->at[i], g->at[j]);
    int any = n_g + n_a - both;
    return (struct sac_score){ any ? (double)both / any : 0.0, n_a > 0 };
}

/* Here the numbers only mark lines: two lines with the same one are two words. */
static struct sac_score score_iou_lines(char *gold, char *answer)
{
    struct items g = { .text = gold }, a = { .text = answer };
    struct items *side[] = { &g, &a };
    for (int s = 0; s < 2; s++) {
        char *save = NULL;
        int no;
        for (char *p = strtok_r(side[s]->text, "\n", &save); p && side[s]->n < MAX_ITEMS;
             p = strtok_r(NULL, "\n", &save)) {
            char *q = after_number(p, &no);
            if (q) side[s]->at[side[s]->n++] = plain(q);
        }
    }
    return iou(&g, &a);
}

static void split(struct items *it, const char *sep, const char *skip)
{
    char *save = NULL;
    for (char *w = strtok_r(it->text, sep, &save); w && it->n < MAX_ITEMS; w = strtok_r(NULL, sep, &save))
        if (strcmp(w, skip)) it->at[it->n++] = w;
}

static struct sac_score words(char *gold, char *answer, const char *sep, const char *skip)
{
    normalise(gold);
    normalise(answer);
    struct items g = { .text = gold }, a = { .text = answer };
    split(&g, sep, skip);
    split(&a, sep, skip);
    return iou(&g, &a);
}

static struct sac_score score_iou_words(char *gold, char *answer) { return words(gold, answer, " ,;", ""); }

/* Variables are parted by blanks alone, as the paper's scorer has it: a comma stays with its name. */
static struct sac_score score_iou_vars(char *gold, char *answer) { return words(gold, answer, " ", "var"); }

static struct sac_score score_iou_ints(char *gold, char *answer)
{
    struct items g = { .text = gold }, a = { .text = answer };
    struct items *side[] = { &g, &a };
    for (int s = 0; s < 2; s++) {
        for (char *p = side[s]->text; *p; p++)
            if (!digit(*p)) *p = ' ';
        split(side[s], " ", "");
        for (int i = 0; i < side[s]->n; i++)
            while (side[s]->at[i][0] == '0' && side[s]->at[i][1]) side[s]->at[i]++;
    }
    return iou(&g, &a);
}

static struct sac_score score_exact(char *gold, char *answer)
{
    char *g = plain(gold), *a = plain(answer);
    return (struct sac_score){ !strcmp(g, a) ? 1.0 : 0.0, *a != '\0' };
}

static struct sac_score score_contains(char *gold, char *answer)
{
    normalise(gold);
    normalise(answer);
    return (struct sac_score){ strstr(answer, gold) ? 1.0 : 0.0, *answer != '\0' };
}

/* Sets of words without punctuation and the words that carry nothing; F1 rounded to two decimals. */
static struct sac_score score_f1(char *gold, char *answer)
{
    static const char *const stop[] = { "a", "an", "the", "and", "or", "about", "to" };
    struct items g = { .text = gold }, a = { .text = answer };
    struct items *side[] = { &g, &a };
    for (int s = 0; s < 2; s++) {
        char *out = side[s]->text;
        for (const char *p = out; *p; p++)
            if (!ispunct((unsigned char)*p) || (unsigned char)*p >= 128) *out++ = *p;
        *out = '\0';
        normalise(side[s]->text);
        split(side[s], " ", "");
        int n = 0;
        for (int i = 0; i < side[s]->n; i++) {
            bool keep = true;
            for (size_t k = 0; k < sizeof stop / sizeof *stop; k++)
                keep &= strcmp(side[s]->at[i], stop[k]) != 0;
            for (int j = 0; j < n; j++) keep &= strcmp(side[s]->at[j], side[s]->at[i]) != 0;
            if (keep) side[s]->at[n++] = side[s]->at[i];
        }
        side[s]->n = n;
    }
    int both = 0;
    for (int i = 0; i < a.n; i++)
        for (int j = 0; j < g.n; j++) both += !strcmp(a.at[i], g.at[j]);
    double p = a.n ? (double)both / a.n : 0.0, r = g.n ? (double)both / g.n : 0.0;
    double f = p + r > 0 ? 2 * p * r / (p + r) : 0.0;
    return (struct sac_score){ floor(f * 100 + 0.5) / 100, a.n > 0 };
}

/* The set of letters A to D in words made of nothing else: "B", "A, C" and "AC", but not "Because". */
static unsigned choices(const char *p)
{
    unsigned set = 0;
    while (*p) {
        size_t n = 0;
        while (isalnum((unsigned char)p[n])) n++;
        if (n && strspn(p, "ABCD") >= n)
            for (size_t i = 0; i < n; i++) set |= 1u << (p[i] - 'A');
        p += n ? n : 1;
    }
    return set;
}

static struct sac_score score_letters(char *gold, char *answer)
{
    unsigned g = choices(gold), a = choices(answer);
    return (struct sac_score){ a && a == g ? 1.0 : 0.0, a != 0 };
}

struct sac_score task_score(enum metric metric, bool tag_needed, const char *gold, const char *answer)
{
    static struct sac_score (*const by[])(char *, char *) = {
        [METRIC_FRACTION] = score_fraction,   [METRIC_IOU_LINES] = score_iou_lines,
        [METRIC_IOU_WORDS] = score_iou_words, [METRIC_IOU_INTS] = score_iou_ints,
        [METRIC_EXACT] = score_exact,         [METRIC_F1] = score_f1,
        [METRIC_LETTERS] = score_letters,     [METRIC_CONTAINS] = score_contains,
        [METRIC_IOU_VARS] = score_iou_vars,
    };
    struct sac_score none = { 0.0, false };
    char *g = answer_part(gold), *a = answer_part(answer);
    bool tagged = g != NULL;
    if (!g) g = strdup(gold);
    if (!a && !(tagged && tag_needed)) a = strdup(answer);
    struct sac_score s = g && a ? by[metric](g, a) : none;
    free(g);
    free(a);
    return s;
}
