/* Unicode normal forms with a map back to the source, and stepping through UTF-8.
 *
 * Text is cut into clusters: characters that normalisation can move or join stay together. Every cluster is
 * normalised by itself; all bytes of its result point to its beginning in the source. */
#include "text/tok_int.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { CLUSTER_MAX = 1024 };   /* bytes: longer runs of marks are cut, which no writing system notices */

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

static utf8proc_option_t options_of(enum tok_normal form)
{
    switch (form) {
    case NORMAL_NFC: return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case NORMAL_NFD: return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case NORMAL_NFKC: return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case NORMAL_NFKD: return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
    case NORMAL_NONE: break;
    }
    return UTF8PROC_STABLE;
}

/* Normal form of s[0..n), malloc'ed, or NULL. Malformed text comes back as it is. */
static char *normalise(enum tok_normal form, const char *s, size_t n, size_t *len)
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

/* Can `c` join what stands before it? Marks can; so can the vowels and finals of Hangul and a few spacing
 * signs, which are told by composing them with the character before. */
static bool joins(const char *before, size_t before_n, const char *c, size_t c_n)
{
    utf8proc_int32_t cp;
    if (utf8proc_iterate((const utf8proc_uint8_t *)c, (utf8proc_ssize_t)c_n, &cp) <= 0) return false;
    if (utf8proc_get_property(cp)->combining_class != 0) return true;
    char pair[16];
    size_t len;
    if (before_n + c_n > sizeof pair) return false;
    memcpy(pair, before, before_n);
    memcpy(pair + before_n, c, c_n);
    char *both = normalise(NORMAL_NFC, pair, before_n + c_n, &len);
    utf8proc_int32_t first;
    utf8proc_ssize_t step =
        both && len ? utf8proc_iterate((utf8proc_uint8_t *)both, (utf8proc_ssize_t)len, &first) : 0;
    bool one = step > 0 && (size_t)step == len;
    free(both);
    return one;
}

struct growing { char *s; size_t *map; size_t n, cap; };

static bool append(struct growing *g, const char *s, size_t n, size_t from, bool one_to_one)
{
    if (n > g->cap - g->n) {
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

/* Length of the cluster at s. */
static size_t cluster(const char *s, size_t left)
{
    bool valid;
    size_t n = (size_t)utf8_step(s, left, &valid), last = 0, last_n = n;
    if (!valid) return n;
    while (n < left && n < CLUSTER_MAX) {
        if ((unsigned char)s[n] < 0x80) break;
        size_t step = (size_t)utf8_step(s + n, left - n, &valid);
        if (!valid || !joins(s + last, last_n, s + n, step)) break;
        last = n;
        last_n = step;
        n += step;
    }
    return n;
}

bool normal_form(enum tok_normal form, const char *s, size_t n, char **out, size_t *len, size_t **map)
{
    *out = NULL;
    *map = NULL;
    size_t at = 0;
    while (at < n && (unsigned char)s[at] < 0x80) at++;
    if (form == NORMAL_NONE || at == n) return true;
    if (at) at--;   /* a mark may join the last plain letter */
    struct growing g = { 0 };
    bool changed = false, ok = append(&g, s, at, 0, true);
    while (at < n && ok) {
        size_t c = cluster(s + at, n - at), got = 0;
        char *t = c == 1 ? NULL : normalise(form, s + at, c, &got);
        if (c > 1 && !t) {
            ok = false;
        } else if (!t || (got == c && !memcmp(t, s + at, c))) {
            ok = append(&g, s + at, c, at, true);
        } else {
            ok = append(&g, t, got, at, false);
            changed = true;
        }
        free(t);
        at += c;
    }
    if (ok && changed) {
        g.map[g.n] = n;
        *out = g.s;
        *len = g.n;
        *map = g.map;
        return true;
    }
    free(g.s);
    free(g.map);
    return ok;
}
