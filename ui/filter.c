/* Recursive descent over filter expressions; see filter.h. Parses and evaluates in one pass: a grid has a few
 * hundred heads and an expression a dozen terms. */
#include "filter.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parse {
    const char *start, *at;
    const struct ui_filter_name *name;
    int n_names, depth;
    char *err;
    size_t cap;
    bool failed;
};

static double either(struct parse *p);

static double fail(struct parse *p, const char *what)
{
    if (!p->failed && p->err && p->cap)
        snprintf(p->err, p->cap, "filter, column %d: %s", (int)(p->at - p->start) + 1, what);
    p->failed = true;
    return (double)NAN;
}

static void space(struct parse *p)
{
    while (isspace((unsigned char)*p->at)) p->at++;
}

static bool take(struct parse *p, const char *token)
{
    space(p);
    size_t n = strlen(token);
    if (strncmp(p->at, token, n)) return false;
    p->at += n;
    return true;
}

static double word(struct parse *p)
{
    char buf[32];
    size_t n = 0;
    while ((isalnum((unsigned char)p->at[n]) || p->at[n] == '_') && n + 1 < sizeof buf) n++;
    memcpy(buf, p->at, n);
    buf[n] = 0;
    for (int i = 0; i < p->n_names; i++)
        if (!strcmp(buf, p->name[i].name)) { p->at += n; return p->name[i].value; }
    char what[160];
    int used = snprintf(what, sizeof what, "no measure '%s'; known:", buf);
    for (int i = 0; i < p->n_names && used > 0 && (size_t)used < sizeof what; i++)
        used += snprintf(what + used, sizeof what - (size_t)used, " %s", p->name[i].name);
    return fail(p, what);
}

static double atom(struct parse *p)
{
    space(p);
    if (p->failed) return (double)NAN;
    if (++p->depth > 64) return fail(p, "nested too deeply");
    double v;
    if (take(p, "(")) {
        v = either(p);
        if (!p->failed && !take(p, ")")) v = fail(p, "')' expected");
    } else if (take(p, "!")) {
        v = atom(p);
        v = isnan(v) ? v : v == 0;
    } else if (take(p, "-")) {
        v = -atom(p);
    } else if (isdigit((unsigned char)*p->at) || *p->at == '.') {
        char *end;
        v = strtod(p->at, &end);
        if (end == p->at) v = fail(p, "a number expected");
        else p->at = end;
    } else if (isalpha((unsigned char)*p->at)) {
        v = word(p);
    } else {
        v = fail(p, *p->at ? "a number or a measure expected" : "the expression ends too early");
    }
    p->depth--;
    return v;
}

static double product(struct parse *p)
{
    double v = atom(p);
    for (;;) {
        if (take(p, "*")) v *= atom(p);
        else if (take(p, "/")) v /= atom(p);
        else return v;
    }
}

static double sum(struct parse *p)
{
    double v = product(p);
    for (;;) {
        if (take(p, "+")) v += product(p);
        else if (take(p, "-")) v -= product(p);
        else return v;
    }
}

static double compare(struct parse *p)
{
    double a = sum(p);
    if (take(p, "<=")) return a <= sum(p);
    if (take(p, ">=")) return a >= sum(p);
    if (take(p, "==")) return a == sum(p);
    if (take(p, "!=")) { double b = sum(p); return !isnan(a) && !isnan(b) && a != b; }
    if (take(p, "<")) return a < sum(p);
    if (take(p, ">")) return a > sum(p);
    if (take(p, "=")) return a == sum(p);
    return a;
}

static double both(struct parse *p)
{
    double v = compare(p);
    while (take(p, "&&")) {
        double b = compare(p);
        v = v != 0 && !isnan(v) && b != 0 && !isnan(b);
    }
    return v;
}

static double either(struct parse *p)
{
    double v = both(p);
    while (take(p, "||")) {
        double b = both(p);
        v = (v != 0 && !isnan(v)) || (b != 0 && !isnan(b));
    }
    return v;
}

double ui_filter_eval(const char *expr, const struct ui_filter_name *name, int n_names, char *err, size_t cap)
{
    struct parse p = { .start = expr, .at = expr, .name = name, .n_names = n_names, .err = err, .cap = cap };
    if (err && cap) err[0] = 0;
    double v = either(&p);
    space(&p);
    if (!p.failed && *p.at) return fail(&p, "unexpected text after the expression");
    return p.failed ? (double)NAN : v;
}
