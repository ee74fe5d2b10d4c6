/* Splitting text into words by regular expressions: the one file that knows PCRE2.
 *
 * Splits apply in sequence: each cuts every piece the previous ones left, and both matches and gaps become
 * pieces. Expressions only see well-formed UTF-8; a byte that is none is a piece of its own. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tok_int.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* Unicode White_Space, which reference implementations mean by \s (PCRE2 adds U+180E). */
#define SPACES "\\t-\\r \\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

/* The pattern with \s and \S spelled out. malloc'ed. */
static char *spell_spaces(const char *p)
{
    size_t cap = strlen(p) + 1;
    for (const char *q = p; *q; q++)
        if (q[0] == '\\' && (q[1] == 's' || q[1] == 'S')) cap += sizeof SPACES + 4;
    char *out = malloc(cap), *o = out;
    bool in_class = false;
    for (; out && *p; p++) {
        if (*p == '\\' && p[1] == 's') {
            o += sprintf(o, in_class ? "%s" : "[%s]", SPACES);
            p++;
        } else if (*p == '\\' && p[1] == 'S' && !in_class) {
            o += sprintf(o, "[^%s]", SPACES);
            p++;
        } else if (*p == '\\' && p[1]) {
            *o++ = *p++;
            *o++ = *p;
        } else {
            if (*p == '[' && !in_class) in_class = true;
            else if (*p == ']') in_class = false;
            *o++ = *p;
        }
    }
    if (out) *o = 0;
    return out;
}

enum sac_code split_add(struct tokenizer *t, const char *pattern, bool literal, enum split_behaviour how,
                        bool invert, const char *path, struct sac_err *err)
{
    if (t->n_splits == TOK_MAX_SPLITS)
        return sac_fail(err, SAC_ENOTSUP, "%s: its tokenizer splits text in more than %d steps", path,
                        TOK_MAX_SPLITS);
    if (!literal && strstr(pattern, "&&"))
        return sac_fail(err, SAC_ENOTSUP,
                        "%s: its tokenizer splits with the expression %.120s, which cannot be read", path,
                        pattern);
    char *spelled = literal ? strdup(pattern) : spell_spaces(pattern);
    if (!spelled) return sac_fail(err, SAC_ENOMEM, "%s: out of memory for its tokenizer", path);
    int code;
    PCRE2_SIZE at;
    uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | (literal ? PCRE2_LITERAL : 0);
    if (literal) flags &= ~(uint32_t)(PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)spelled, PCRE2_ZERO_TERMINATED, flags, &code, &at, NULL);
    free(spelled);
    if (!re)
        return sac_fail(err, SAC_ENOTSUP,
                        "%s: its tokenizer splits with the expression %.120s, which cannot be read", path,
                        pattern);
    pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);   /* where it cannot, matching is interpreted */
    t->split[t->n_splits++] = (struct split){ re, how, invert };
    return SAC_OK;
}

void split_free(struct split *s)
{
    pcre2_code_free(s->code);
    s->code = NULL;
}

struct split_run {
    const struct tokenizer *t;
    pcre2_match_data *match;
    bool (*word)(void *ctx, size_t lo, size_t hi);
    void *ctx;
    const char *s;
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
    pcre2_match_data_free(r->match);
    free(r);
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

static bool piece(struct cutter *c, size_t lo, size_t hi, bool match)
{
    if (lo == hi) return true;
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
    struct cutter c = { r, step, sp, lo, lo, false };
    size_t n = hi - lo, at = 0, gap = 0;
    while (at < n) {
        int rc = pcre2_match(sp->code, (PCRE2_SPTR)(r->s + lo), n, at, PCRE2_NO_UTF_CHECK, r->match, NULL);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(sp->code, (PCRE2_SPTR)(r->s + lo), n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                             r->match, NULL);
        if (rc == PCRE2_ERROR_NOMEMORY) return false;
        if (rc < 0) break;   /* no match, or one that needs absurd effort: the rest stays whole */
        PCRE2_SIZE *v = pcre2_get_ovector_pointer(r->match);
        size_t a = v[0], b = v[1];
        if (b <= a) {        /* an empty match cuts nothing */
            bool valid;
            at = a + (size_t)utf8_step(r->s + lo + a, n > a ? n - a : 1, &valid);
            continue;
        }
        if (!piece(&c, lo + gap, lo + a, sp->invert) || !piece(&c, lo + a, lo + b, !sp->invert)) return false;
        at = gap = b;
    }
    return piece(&c, lo + gap, hi, sp->invert) && pass_on(&c, c.hold, c.hold_hi);
}

static bool apply(struct split_run *r, int step, size_t lo, size_t hi)
{
    if (step == r->t->n_splits) return r->word(r->ctx, lo, hi);
    return cut(r, step, lo, hi);
}

bool split_words(struct split_run *r, const char *s, size_t n, bool (*word)(void *ctx, size_t lo, size_t hi),
                 void *ctx)
{
    r->s = s;
    r->word = word;
    r->ctx = ctx;
    if (r->t->n_splits == 0) return n == 0 || word(ctx, 0, n);
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        bool valid;
        int step = utf8_step(s + i, n - i, &valid);
        if (!valid) {
            if (from < i && !apply(r, 0, from, i)) return false;
            if (!word(ctx, i, i + (size_t)step)) return false;
            from = i + (size_t)step;
        }
        i += (size_t)step;
    }
    return from >= n || apply(r, 0, from, n);
}
