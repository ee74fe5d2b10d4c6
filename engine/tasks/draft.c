/* Growing text and marked evidence of a sample that is being written. */
#include "tasks/draft.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tb_add(struct tbuf *b, const char *s, size_t n)
{
    if (b->oom) return;
    if (b->n + n + 1 > b->cap) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < b->n + n + 1) cap *= 2;
        char *p = realloc(b->p, cap);
        if (!p) {
            b->oom = true;
            return;
        }
        b->p = p;
        b->cap = cap;
    }
    if (n) memcpy(b->p + b->n, s, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void tb_str(struct tbuf *b, const char *s) { tb_add(b, s, strlen(s)); }

void tb_fmt(struct tbuf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char small[512];
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof small) {
        tb_add(b, small, (size_t)n);
    } else {
        char *big = n < 0 ? NULL : malloc((size_t)n + 1);
        if (big) {
            vsnprintf(big, (size_t)n + 1, fmt, again);
            tb_add(b, big, (size_t)n);
        } else {
            b->oom = true;
        }
        free(big);
    }
    va_end(again);
}

void tb_clear(struct tbuf *b)
{
    b->n = 0;
    if (b->p) b->p[0] = '\0';
}

void tb_free(struct tbuf *b)
{
    free(b->p);
    *b = (struct tbuf){ 0 };
}

static void each(struct draft *d, void (*fn)(struct tbuf *))
{
    struct tbuf *part[] = { &d->context, &d->question, &d->gold, &d->alt, &d->intro, &d->format, &d->rules };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) fn(part[i]);
}

void draft_clear(struct draft *d)
{
    each(d, tb_clear);
    d->n_mark = 0;
    d->plural = d->whole = false;
    d->metric = -1;
}

void draft_free(struct draft *d)
{
    each(d, tb_free);
    free(d->mark);
    d->mark = NULL;
    d->n_mark = d->cap_mark = 0;
}

void draft_mark(struct draft *d, size_t lo, size_t hi, int item)
{
    if (d->n_mark == d->cap_mark) {
        int cap = d->cap_mark ? 2 * d->cap_mark : 32;
        struct mark *m = realloc(d->mark, (size_t)cap * sizeof *m);
        if (!m) {
            d->oom = true;
            return;
        }
        d->mark = m;
        d->cap_mark = cap;
    }
    d->mark[d->n_mark++] = (struct mark){ lo, hi, item };
}

void draft_evidence(struct draft *d, const char *s, int item)
{
    size_t lo = d->context.n;
    tb_str(&d->context, s);
    draft_mark(d, lo, d->context.n, item);
}

bool draft_mark_text(struct draft *d, size_t from, const char *what, int item)
{
    const char *at = d->context.p && from <= d->context.n ? strstr(d->context.p + from, what) : NULL;
    if (!at || !*what) return false;
    size_t lo = (size_t)(at - d->context.p);
    draft_mark(d, lo, lo + strlen(what), item);
    return true;
}

bool draft_oom(const struct draft *d)
{
    return d->oom || d->context.oom || d->question.oom || d->gold.oom || d->alt.oom || d->intro.oom ||
           d->format.oom || d->rules.oom;
}
