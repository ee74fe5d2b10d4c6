/* What tokenizers do to a text before they split it, with a map back to the source, and stepping through
 * UTF-8.
 *
 * A normalizer is a sequence of steps. Each reads the text the one before left and writes a new one, in which
 * every byte knows the byte it came from; maps of later steps go through those of earlier ones. For Unicode
 * normal forms the text is cut into clusters: characters that normalisation can move or join stay together.
 * Every cluster is normalised by itself; all bytes of its result point to its beginning in the source. */
#include "text/tok_int.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { CLUSTER_MAX = 1024 };   /* bytes: longer runs of marks are cut, which no writing system notices */

/* ---- characters ---- */

int utf8_step(const char *s, size_t left, bool *valid)
{
    const unsigned char *p = (const unsigned char *)s;
    *valid = p[0] < 0x80;
    if (*valid) return 1;
    int n = p[0] >= 0xf0 && p[0] < 0xf5   ? 4
            : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
            : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                                          : 1;
    if (n == 1 || (size_t)n > left) return 1;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 1;
    /* no overlong forms, surrogates or values beyond U+10FFFF */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 1;
    *valid = true;
    return n;
}

size_t utf8_back(const char *s, size_t at)
{
    for (size_t n = 2; n <= 4 && n <= at; n++) {
        bool valid;
        if (((unsigned char)s[at - n] & 0xc0) == 0x80) continue;
        return (size_t)utf8_step(s + at - n, n, &valid) == n ? n : 1;
    }
    return 1;
}

static utf8proc_int32_t code_point(const char *s, size_t n)
{
    utf8proc_int32_t c;
    return utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &c) > 0 ? c : -1;
}

bool char_is_space(const char *s, size_t n)
{
    utf8proc_int32_t c = code_point(s, n);
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

bool char_is_word(const char *s, size_t n)
{
    utf8proc_int32_t c = code_point(s, n);
    if (c < 0) return false;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return c == 0x200c || c == 0x200d;
    }
}

/* ---- a text that grows, and where its bytes came from ---- */

struct growing { char *s; size_t *map; size_t n, cap, end; };   /* end: where the text ends in the source */

static bool append(struct growing *g, const char *s, size_t n, size_t from, bool one_to_one)
{
    if (!g->s || n > g->cap - g->n) {
        size_t cap = g->cap * 2 + n + 64;
        char *t = realloc(g->s, cap);
        if (t) g->s = t;
        size_t *map = realloc(g->map, (cap + 1) * sizeof *map);
        if (map) g->map = map;
        if (!t || !map) return false;
        g->cap = cap;
    }
    for (size_t i = 0; i < n; i++) {
        g->s[g->n] = s[i];
        g->map[g->n++] = from + (one_to_one ? i : 0);
    }
    return true;
}

/* ---- normal forms ---- */

static utf8proc_option_t options_of(enum norm_kind form)
{
    static const utf8proc_option_t more[] = {
        [NORM_NFC] = UTF8PROC_COMPOSE,
        [NORM_NFD] = UTF8PROC_DECOMPOSE,
        [NORM_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NORM_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    return UTF8PROC_STABLE | more[form];
}

/* Normal form of s[0..n), malloc'ed, or NULL. Malformed text comes back as it is. */
static char *normalise(enum norm_kind form, const char *s, size_t n, size_t *len)
{
    utf8proc_uint8_t *out = NULL;
    utf8proc_ssize_t got =
        utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &out, options_of(form));
    if (got >= 0) {
        *len = (size_t)got;
        return (char *)out;
    }
    if (got == UTF8PROC_ERROR_NOMEM) return NULL;
    char *copy = malloc(n + 1);
    if (copy) memcpy(copy, s, n);
    *len = n;
    return copy;
}

/* Can the character of c_n bytes behind cluster s[0..n) join it? Marks can; so can the vowels and finals of
 * Hangul and a few spacing signs of Indic scripts, which are told by composing them with what stands before:
 * they join when they do not come out as they went in. */
static bool joins(const char *s, size_t n, size_t c_n)
{
    utf8proc_int32_t cp = code_point(s + n, c_n);
    if (cp < 0) return false;
    if (utf8proc_get_property(cp)->combining_class != 0) return true;
    if (cp < 0x900 || (cp >= 0x2000 && cp < 0x11000)) return false; /* no such signs there */
    size_t alone_n = 0, both_n = 0;
    char *alone = normalise(NORM_NFC, s, n, &alone_n), *both = normalise(NORM_NFC, s, n + c_n, &both_n);
    bool apart =
        !alone || !both ||
        (both_n == alone_n + c_n && !memcmp(alone, both, alone_n) && !memcmp(both + alone_n, s + n, c_n));
    free(alone);
    free(both);
    return !apart;
}

/* Length of the cluster at s. */
static size_t cluster(const char *s, size_t left)
{
    bool valid;
    size_t n = (size_t)utf8_step(s, left, &valid);
    if (!valid) return n;
    while (n < left && n < CLUSTER_MAX) {
        if ((unsigned char)s[n] < 0x80) break;
        size_t step = (size_t)utf8_step(s + n, left - n, &valid);
        if (!valid || !joins(s, n, step)) break;
        n += step;
    }
    return n;
}

static bool normal_form(enum norm_kind form, const char *s, size_t n, struct growing *g, bool *changed)
{
    size_t at = 0;
    while (at < n && (unsigned char)s[at] < 0x80) at++;
    if (at == n) return true;
    if (at) at--;   /* a mark may join the last plain letter */
    bool ok = append(g, s, at, 0, true);
    while (at < n && ok) {
        size_t c = cluster(s + at, n - at), got = 0;
        char *t = c == 1 ? NULL : normalise(form, s + at, c, &got);
        if (c > 1 && !t) {
            ok = false;
        } else if (!t || (got == c && !memcmp(t, s + at, c))) {
            ok = append(g, s + at, c, at, true);
        } else {
            ok = append(g, t, got, at, false);
            *changed = true;
        }
        free(t);
        at += c;
    }
    return ok;
}

/* ---- the other steps ---- */

static bool lower(const char *s, size_t n, struct growing *g, bool *changed)
{
    for (size_t i = 0, step; i < n; i += step) {
        bool valid;
        step = (size_t)utf8_step(s + i, n - i, &valid);
        utf8proc_int32_t c = valid ? code_point(s + i, step) : -1, l = c < 0 ? c : utf8proc_tolower(c);
        utf8proc_uint8_t out[8];
        if (c == 0x130) { /* the one character whose lower case is two */
            if (!append(g, "i\xcc\x87", 3, i, false)) return false;
            *changed = true;
        } else if (l == c) {
            if (!append(g, s + i, step, i, true)) return false;
        } else {
            if (!append(g, (const char *)out, (size_t)utf8proc_encode_char(l, out), i, false)) return false;
            *changed = true;
        }
    }
    return true;
}

static bool unmark(const char *s, size_t n, struct growing *g, bool *changed)
{
    for (size_t i = 0, step; i < n; i += step) {
        bool valid;
        step = (size_t)utf8_step(s + i, n - i, &valid);
        utf8proc_category_t c = valid ? utf8proc_category(code_point(s + i, step)) : UTF8PROC_CATEGORY_CN;
        bool mark = c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
        if (mark)
            *changed = true;
        else if (!append(g, s + i, step, i, true))
            return false;
    }
    return true;
}

static bool strip(const struct norm_step *step, const char *s, size_t n, struct growing *g, bool *changed)
{
    size_t lo = 0, hi = n;
    bool valid;
    for (size_t c; step->left && lo < hi; lo += c) {
        c = (size_t)utf8_step(s + lo, hi - lo, &valid);
        if (!char_is_space(s + lo, c)) break;
    }
    for (size_t c; step->right && hi > lo; hi -= c) {
        c = utf8_back(s, hi);
        if (!char_is_space(s + hi - c, c)) break;
    }
    *changed = hi - lo < n;
    g->end = hi;
    return !*changed || append(g, s + lo, hi - lo, lo, true);
}

struct replacing {
    const struct norm_step *step;
    const char *s;
    size_t at;
    struct growing *g;
};

static bool replace_match(void *ctx, size_t a, size_t b)
{
    struct replacing *r = ctx;
    if (!append(r->g, r->s + r->at, a - r->at, r->at, true) ||
        !append(r->g, r->step->text, strlen(r->step->text), a, false))
        return false;
    r->at = b;
    return true;
}

static bool replace(const struct norm_step *step, const char *s, size_t n, struct growing *g, bool *changed)
{
    struct replacing r = { step, s, 0, g };
    if (!pattern_each(step->code, s, n, replace_match, &r)) return false;
    *changed = r.at > 0;
    return !*changed || append(g, s + r.at, n - r.at, r.at, true);
}

static bool run(const struct norm_step *step, const char *s, size_t n, struct growing *g, bool *changed)
{
    switch (step->kind) {
    case NORM_NFC:
    case NORM_NFD:
    case NORM_NFKC:
    case NORM_NFKD: return normal_form(step->kind, s, n, g, changed);
    case NORM_LOWER: return lower(s, n, g, changed);
    case NORM_UNMARK: return unmark(s, n, g, changed);
    case NORM_STRIP: return strip(step, s, n, g, changed);
    case NORM_REPLACE: return replace(step, s, n, g, changed);
    case NORM_PREPEND:
        *changed = n > 0;
        return n == 0 || (append(g, step->text, strlen(step->text), 0, false) && append(g, s, n, 0, true));
    }
    return true;
}

bool normal_text(const struct tokenizer *t, const char *s, size_t n, char **out, size_t *len, size_t **map)
{
    *out = NULL;
    *map = NULL;
    *len = n;
    for (int i = 0; i < t->n_norm; i++) {
        struct growing g = { .end = *len };
        bool changed = false, ok = run(&t->norm[i], *out ? *out : s, *len, &g, &changed);
        if (ok && changed) ok = append(&g, "", 0, 0, true); /* an empty text has arrays too */
        if (!ok || !changed) {
            free(g.s);
            free(g.map);
            if (!ok) return false;
            continue;
        }
        g.map[g.n] = g.end;
        for (size_t k = 0; *map && k <= g.n; k++) g.map[k] = (*map)[g.map[k]];
        free(*out);
        free(*map);
        *out = g.s;
        *map = g.map;
        *len = g.n;
    }
    return true;
}
