/* Splitting text into words by regular expressions: the one file that knows PCRE2.
 *
 * Splits apply in sequence: each cuts every piece the previous ones left, and both matches and gaps become
 * pieces. Expressions only see well-formed UTF-8; a byte that is none is a piece of its own. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tok_int.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* Classes that PCRE2 means otherwise than the expressions' own engine (Oniguruma), spelled out: \s is Unicode
 * White_Space (PCRE2 adds U+180E), \w is what is alphabetic, marks, digits and connectors, and outside of
 * brackets superscript digits and fractions too; \h is a hexadecimal digit. */
static const struct {
    char letter;
    const char *set;
} classes[] = {
    { 's', "\\t-\\r \\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}" },
    { 'w', "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"
           "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}" },
    { 'h', "0-9A-Fa-f" },
};
enum { N_CLASSES = sizeof classes / sizeof *classes, CLASS_ROOM = 192 };

static const char *class_set(char letter, bool *negated)
{
    *negated = letter >= 'A' && letter <= 'Z';
    for (int i = 0; i < N_CLASSES; i++)
        if (classes[i].letter == (letter | 32)) return classes[i].set;
    return NULL;
}

/* The escape at p, written to *o in PCRE2's terms. Returns the bytes read. */
static size_t spell_escape(const char *p, bool in_class, char **o)
{
    bool negated;
    const char *set = class_set(p[1], &negated);
    size_t hex = strspn(p + 2, "0123456789abcdefABCDEF");
    if (set && !(in_class && negated)) {
        const char *more = p[1] == 'w' || p[1] == 'W' ? "\\xb2\\xb3\\xb9\\xbc-\\xbe" : "";
        *o += sprintf(*o, in_class ? "%s" : negated ? "[^%s%s]" : "[%s%s]", set, more);
        return 2;
    }
    if (p[1] == 'u' && hex >= 4) { /* \u3040 */
        *o += sprintf(*o, "\\x{%.4s}", p + 2);
        return 6;
    }
    memcpy(*o, p, 2);
    *o += 2;
    return 2;
}

/* The pattern in PCRE2's terms, malloc'ed. A set inside a set adds its members, so its brackets go. NULL for
 * what PCRE2 has no like of: intersections, and complements inside sets. */
static char *spell(const char *p)
{
    size_t cap = strlen(p) + 1;
    for (const char *q = p; *q; q++)
        if (q[0] == '\\') cap += CLASS_ROOM;
    char *out = malloc(cap), *o = out;
    int depth = 0; /* of sets */
    bool sound = true;
    while (out && *p && sound) {
        bool opens = *p == '[' && !(depth && p[1] == ':'), posix = *p == '[' && !opens && strstr(p, ":]");
        if (*p == '\\' && p[1]) {
            p += spell_escape(p, depth > 0, &o);
        } else if (posix) { /* [:alpha:] */
            size_t n = (size_t)(strstr(p, ":]") - p) + 2;
            memcpy(o, p, n);
            o += n, p += n;
        } else if (opens && depth++) {
            sound = p[1] != '^';
            p++;
        } else if (opens) {
            *o++ = *p++;
            if (*p == '^') *o++ = *p++;
            if (*p == ']') *o++ = *p++; /* a bracket that comes first is one of the set */
        } else if (*p == ']' && depth > 1) {
            depth--, p++;
        } else {
            if (*p == ']' && depth) depth--;
            sound = !(depth && p[0] == '&' && p[1] == '&');
            *o++ = *p++;
        }
    }
    if (!sound) {
        free(out);
        return NULL;
    }
    if (out) *o = 0;
    return out;
}

void *pattern_new(const char *pattern, bool literal)
{
    char *spelled = literal ? strdup(pattern) : spell(pattern);
    if (!spelled) return NULL;
    int code;
    PCRE2_SIZE at;
    /* ^ and $ mean lines for Oniguruma */
    uint32_t flags = literal ? PCRE2_UTF | PCRE2_LITERAL
                             : PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)spelled, PCRE2_ZERO_TERMINATED, flags, &code, &at, NULL);
    free(spelled);
    if (re) pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); /* where it cannot, matching is interpreted */
    return re;
}

void pattern_free(void *code) { pcre2_code_free(code); }

enum sac_code split_add(struct tokenizer *t, const char *pattern, bool literal, enum split_behaviour how,
                        bool invert, const char *path, struct sac_err *err)
{
    if (t->n_splits == TOK_MAX_SPLITS)
        return sac_fail(err, SAC_ENOTSUP, "%s: its tokenizer splits text in more than %d steps", path,
                        TOK_MAX_SPLITS);
    void *re = pattern_new(pattern, literal);
    if (!re)
        return sac_fail(err, SAC_ENOTSUP,
                        "%s: its tokenizer splits with the expression %.120s, which cannot be read", path,
                        pattern);
    t->split[t->n_splits++] = (struct split){ re, how, invert, VIEW_TEXT };
    return SAC_OK;
}

void split_free(struct split *s)
{
    pattern_free(s->code);
    s->code = NULL;
}

/* The next match at or behind s[*at] of well-formed text: 1 with *at = its end, 0 none, -1 out of memory. One
 * that needs absurd effort counts as none. Empty matches are passed over, or with `empty` only those where
 * the one before ended (*from: where it began, SIZE_MAX at first). */
static int next_match(void *code, pcre2_match_data *data, const char *s, size_t n, size_t *at, size_t *from,
                      bool empty)
{
    size_t last = *from == SIZE_MAX ? SIZE_MAX : *at;
    while (*at < n) {
        int rc = pcre2_match(code, (PCRE2_SPTR)s, n, *at, PCRE2_NO_UTF_CHECK, data, NULL);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(code, (PCRE2_SPTR)s, n, *at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, NULL);
        if (rc == PCRE2_ERROR_NOMEMORY) return -1;
        if (rc < 0) return 0;
        PCRE2_SIZE *v = pcre2_get_ovector_pointer(data);
        *from = v[0];
        *at = v[1];
        if (v[1] > v[0] || (empty && v[0] != last)) return 1;
        bool valid;
        *at = v[0] + (size_t)utf8_step(s + v[0], n > v[0] ? n - v[0] : 1, &valid);
    }
    return 0;
}

bool pattern_each(void *code, const char *s, size_t n, bool (*match)(void *ctx, size_t a, size_t b),
                  void *ctx)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    bool ok = data != NULL;
    for (size_t lo = 0, hi = 0; lo < n && ok; lo = hi) {
        bool valid = true;
        int step = 0, found = 0;
        while (hi < n && valid) { /* a stretch of well-formed text */
            step = utf8_step(s + hi, n - hi, &valid);
            if (valid) hi += (size_t)step;
        }
        size_t at = 0, from = SIZE_MAX;
        while (ok && (found = next_match(code, data, s + lo, hi - lo, &at, &from, false)) > 0)
            ok = match(ctx, lo + from, lo + at);
        ok = ok && found >= 0;
        if (!valid) hi += (size_t)step;
    }
    pcre2_match_data_free(data);
    return ok;
}

/* A piece as the expression sees it, and where its bytes came from. */
struct mapped {
    char *s;
    uint32_t *at;
    size_t cap;
};

struct split_run {
    const struct tokenizer *t;
    pcre2_match_data *match;
    bool (*word)(void *ctx, const struct split_piece *p);
    void *ctx;
    struct split_piece piece; /* of which lo and hi change */
    bool first;
    struct mapped mapped[TOK_MAX_SPLITS];
    struct {
        char *s;
        size_t cap;
    } own; /* a piece behind its space */
};

struct split_run *split_run_new(const struct tokenizer *t)
{
    struct split_run *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->t = t;
    r->match = pcre2_match_data_create(1, NULL);
    if (r->match) return r;
    free(r);
    return NULL;
}

void split_run_free(struct split_run *r)
{
    if (!r) return;
    for (int i = 0; i < TOK_MAX_SPLITS; i++) {
        free(r->mapped[i].s);
        free(r->mapped[i].at);
    }
    free(r->own.s);
    pcre2_match_data_free(r->match);
    free(r);
}

static bool map_room(struct mapped *m, size_t n)
{
    if (n < m->cap) return true;
    char *c = realloc(m->s, 3 * (n + 64));
    if (c) m->s = c;
    uint32_t *at = realloc(m->at, (3 * (n + 64) + 1) * sizeof *at);
    if (at) m->at = at;
    if (c && at) m->cap = n + 64;
    return c && at;
}

/* s[0..n) as a split sees it. */
static bool map_piece(struct mapped *m, enum split_view view, const char *s, size_t n, size_t *len)
{
    if (!map_room(m, n)) return false;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        int c = view == VIEW_BYTES ? byte_level_char((unsigned char)s[i]) : 0;
        size_t from = k;
        if (c >= 0x80) {
            m->s[k++] = (char)(0xc0 | c >> 6);
            m->s[k++] = (char)(0x80 | (c & 63));
        } else if (view == VIEW_BYTES) {
            m->s[k++] = (char)c;
        } else if (s[i] == ' ') {
            memcpy(m->s + k, "\xe2\x96\x81", 3);
            k += 3;
        } else {
            m->s[k++] = s[i];
        }
        while (from < k) m->at[from++] = (uint32_t)i;
    }
    m->at[k] = (uint32_t)n;
    *len = k;
    return true;
}

static bool apply(struct split_run *r, int step, size_t lo, size_t hi);

/* A piece made of a held-back part and the new one, by the split's behaviour. hold: lo of what waits, or ==
 * at. */
struct cutter {
    struct split_run *r;
    int step;
    const struct split *sp;
    size_t hold, hold_hi;
    bool held_match;
};

static bool pass_on(struct cutter *c, size_t lo, size_t hi)
{
    return lo == hi || apply(c->r, c->step + 1, lo, hi);
}

/* An empty match is a border too. */
static bool piece(struct cutter *c, size_t lo, size_t hi, bool match)
{
    bool extends = false;
    switch (c->sp->behaviour) {
    case SPLIT_ISOLATED: return pass_on(c, lo, hi);
    case SPLIT_REMOVED: return match || pass_on(c, lo, hi);
    case SPLIT_WITH_PREVIOUS: extends = match && !c->held_match; break;
    case SPLIT_WITH_NEXT: extends = c->held_match && !match; break;
    case SPLIT_CONTIGUOUS: extends = match == c->held_match; break;
    }
    bool ok = true;
    if (!extends && c->hold < c->hold_hi) ok = pass_on(c, c->hold, c->hold_hi);
    if (!extends || c->hold == c->hold_hi) c->hold = lo;
    c->hold_hi = hi;
    c->held_match = match;
    return ok;
}

/* Cuts the well-formed s[lo..hi). */
static bool cut(struct split_run *r, int step, size_t lo, size_t hi)
{
    const struct split *sp = &r->t->split[step];
    struct mapped *m = &r->mapped[step];
    struct cutter c = { r, step, sp, lo, lo, false };
    const char *s = r->piece.s + lo;
    size_t n = hi - lo, at = 0, from = SIZE_MAX, gap = 0;
    bool mapped = sp->view != VIEW_TEXT;
    if (mapped && !map_piece(m, sp->view, s, n, &n)) return false;
    if (mapped) s = m->s;
    for (int found; (found = next_match(sp->code, r->match, s, n, &at, &from, true)) != 0;) {
        if (found < 0) return false;
        size_t a = mapped ? m->at[from] : from, b = mapped ? m->at[at] : at;
        if (gap < a && !piece(&c, lo + gap, lo + a, sp->invert)) return false;
        if (!piece(&c, lo + a, lo + b, !sp->invert)) return false;
        gap = b;
    }
    if (lo + gap < hi && !piece(&c, lo + gap, hi, sp->invert)) return false;
    return pass_on(&c, c.hold, c.hold_hi);
}

static bool hand_over(struct split_run *r, size_t lo, size_t hi)
{
    struct split_piece p = r->piece;
    p.lo = lo;
    p.hi = hi;
    return r->word(r->ctx, &p);
}

/* Does the piece s[lo..hi) get a space before it here? */
static bool wants_space(const struct split_run *r, int step, size_t lo)
{
    const struct tokenizer *t = r->t;
    if (step != t->prefix_step || r->piece.prefixed || t->prefix == PREFIX_NONE) return false;
    if (step == 0 && lo > 0) return false; /* behind bytes that are no text */
    if (t->prefix == PREFIX_FIRST && !(r->first && lo == 0)) return false;
    return !(t->prefix_unless_space && r->piece.s[lo] == ' ');
}

/* The piece behind a space, as a text of its own. */
static bool apply_behind_space(struct split_run *r, int step, size_t lo, size_t hi)
{
    struct split_piece outer = r->piece;
    size_t n = hi - lo + 1;
    if (n > r->own.cap) {
        char *s = realloc(r->own.s, n + 64);
        if (!s) return false;
        r->own.s = s;
        r->own.cap = n + 64;
    }
    r->own.s[0] = ' ';
    memcpy(r->own.s + 1, outer.s + lo, hi - lo);
    r->piece = (struct split_piece){ .s = r->own.s, .from = lo, .prefixed = true };
    bool ok = apply(r, step, 0, n);
    r->piece = outer;
    return ok;
}

static bool apply(struct split_run *r, int step, size_t lo, size_t hi)
{
    if (wants_space(r, step, lo)) return apply_behind_space(r, step, lo, hi);
    if (step == r->t->n_splits) return hand_over(r, lo, hi);
    return cut(r, step, lo, hi);
}

bool split_words(struct split_run *r, const char *s, size_t n, bool first,
                 bool (*word)(void *ctx, const struct split_piece *p), void *ctx)
{
    r->piece = (struct split_piece){ .s = s };
    r->first = first;
    r->word = word;
    r->ctx = ctx;
    if (r->t->n_splits == 0) return n == 0 || apply(r, 0, 0, n);
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        bool valid;
        int step = utf8_step(s + i, n - i, &valid);
        if (!valid) {
            if (from < i && !apply(r, 0, from, i)) return false;
            if (!hand_over(r, i, i + (size_t)step)) return false;
            from = i + (size_t)step;
        }
        i += (size_t)step;
    }
    return from >= n || apply(r, 0, from, n);
}
