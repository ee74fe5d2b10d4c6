/* Parsing a command line against a table of options. How the table is shown (--help, man page, completions)
 * is args_help.c's business. */
#include "args_priv.h"

#include <saccade/err.h>

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arg_common args_common;

static bool want_help, want_version;

const struct arg_opt args_common_opts[] = {
    { "help", 'h', NULL, "show this help", ARG_FLAG, &want_help, 0, 0, NULL },
    { "version", 'V', NULL, "show version and build", ARG_FLAG, &want_version, 0, 0, NULL },
    { "quiet", 'q', NULL, "no progress and no notes on stderr", ARG_FLAG, &args_common.quiet, 0, 0, NULL },
    { "verbose", 'v', NULL, "more notes on stderr", ARG_FLAG, &args_common.verbose, 0, 0, NULL },
    { NULL, 0, NULL, NULL, ARG_FLAG, NULL, 0, 0, NULL },
};

int args_fail(const struct arg_spec *spec, const char *fmt, ...)
{
    char said[400];
    va_list ap;
    va_start(ap, fmt);
    sac_sentence(said, sizeof said, fmt, ap);
    va_end(ap);
    fprintf(stderr, "saccade%s%s: %s\n", *spec->name ? " " : "", spec->name, said);
    return 2;
}

bool args_takes_value(const struct arg_opt *o)
{
    return o->kind != ARG_FLAG && o->kind != ARG_OFF;
}

static const struct arg_opt *find(const struct arg_spec *spec, const char *name, size_t len, char letter)
{
    const struct arg_opt *tables[] = { spec->opts, args_common_opts };
    for (int t = 0; t < 2; t++)
        for (const struct arg_opt *o = tables[t]; o && o->name; o++) {
            if (o->kind == ARG_HEADING) continue;
            if (letter ? o->letter == letter : strlen(o->name) == len && !strncmp(o->name, name, len))
                return o;
        }
    return NULL;
}

static int unknown(const struct arg_spec *spec, const char *name, size_t len)
{
    const char *names[128];
    char word[64];
    int n = 0;
    const struct arg_opt *tables[] = { spec->opts, args_common_opts };
    for (int t = 0; t < 2; t++)
        for (const struct arg_opt *o = tables[t]; o && o->name && n < 128; o++)
            if (o->kind != ARG_HEADING) names[n++] = o->name;
    snprintf(word, sizeof word, "%.*s", (int)len, name);
    const char *near = sac_nearest(word, names, n);
    if (near) return args_fail(spec, "there is no option --%s; did you mean --%s?", word, near);
    return args_fail(spec, "there is no option --%s; --help lists what there is", word);
}

bool args_size(const char *text, size_t *out)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || !(v >= 0)) return false;
    static const char suffix[] = "KMGT";
    if (*end) {
        const char *at = strchr(suffix, *end >= 'a' && *end <= 'z' ? *end - 'a' + 'A' : *end);
        if (!at) return false;
        for (int i = 0; i <= at - suffix; i++) v *= 1024;
        end++;
        if (*end == 'i') end++;
        if (*end == 'B' || *end == 'b') end++;
    }
    if (*end || v >= 9e18) return false;
    *out = (size_t)v;
    return true;
}

static bool outside(const struct arg_opt *o, double v)
{
    return o->min < o->max && !(v >= o->min && v <= o->max);
}

static int bad_value(const struct arg_spec *spec, const struct arg_opt *o, const char *value,
                     const char *want)
{
    if (o->min < o->max)
        return args_fail(spec, "--%s %s: expected %s from %.10g to %.10g", o->name, value, want, o->min,
                         o->max);
    return args_fail(spec, "--%s %s: expected %s", o->name, value, want);
}

/* A whole number, with K or M for powers of 1024. */
static bool parse_int(const char *text, size_t len, int *out)
{
    char buf[32], *end;
    if (!len || len >= sizeof buf) return false;
    memcpy(buf, text, len);
    buf[len] = '\0';
    errno = 0;
    long v = strtol(buf, &end, 10);
    if (end == buf || errno) return false;
    if (*end == 'K' || *end == 'k') v = labs(v) > 1L << 40 ? (long)1 << 60 : v * 1024, end++;
    else if (*end == 'M' || *end == 'm') v = labs(v) > 1L << 30 ? (long)1 << 60 : v * 1024 * 1024, end++;
    if (*end || v < -2147483647L || v > 2147483647L) return false;
    *out = (int)v;
    return true;
}

static int set_ints(const struct arg_spec *spec, const struct arg_opt *o, const char *value)
{
    struct arg_ints *list = o->to;
    for (const char *p = value;;) {
        size_t len = strcspn(p, ",");
        int v;
        if (!parse_int(p, len, &v) || outside(o, v)) return bad_value(spec, o, value, "whole numbers");
        if (list->n == ARG_MAX) return args_fail(spec, "--%s: more than %d numbers", o->name, ARG_MAX);
        list->v[list->n++] = v;
        if (!p[len]) return ARGS_GO;
        p += len + 1;
    }
}

static int set_choice(const struct arg_spec *spec, const struct arg_opt *o, const char *value)
{
    char all[256] = "";
    int n = 0;
    for (; o->choices[n]; n++) {
        if (!strcmp(o->choices[n], value)) {
            *(int *)o->to = n;
            return ARGS_GO;
        }
        size_t at = strlen(all);
        snprintf(all + at, sizeof all - at, "%s%s", n ? ", " : "", o->choices[n]);
    }
    const char *near = sac_nearest(value, o->choices, n);
    if (near) return args_fail(spec, "--%s %s: did you mean %s? (one of %s)", o->name, value, near, all);
    return args_fail(spec, "--%s %s: expected one of %s", o->name, value, all);
}

static int set_value(const struct arg_spec *spec, const struct arg_opt *o, const char *value)
{
    char *end;
    switch (o->kind) {
    case ARG_FLAG: *(bool *)o->to = true; break;
    case ARG_OFF: *(bool *)o->to = false; break;
    case ARG_STR:
        if (!*value && args_wants_file(o))
            return args_fail(spec, "--%s '': the name is empty; expected a %s", o->name, o->arg);
        *(const char **)o->to = value;
        break;
    case ARG_INTS: return set_ints(spec, o, value);
    case ARG_CHOICE: return set_choice(spec, o, value);
    case ARG_INT: {
        int v;
        if (!parse_int(value, strlen(value), &v) || outside(o, v))
            return bad_value(spec, o, value, "a whole number");
        *(int *)o->to = v;
        break;
    }
    case ARG_DOUBLE: {
        double v = strtod(value, &end);
        if (end == value || *end || !isfinite(v) || outside(o, v))
            return bad_value(spec, o, value, "a number");
        *(double *)o->to = v;
        break;
    }
    case ARG_U64: {
        errno = 0;
        uint64_t v = strtoull(value, &end, 0);
        if (end == value || *end || errno || *value == '-')
            return bad_value(spec, o, value, "a whole number, not negative");
        *(uint64_t *)o->to = v;
        break;
    }
    case ARG_SIZE:
        if (!args_size(value, o->to)) return bad_value(spec, o, value, "a size such as 800M or 4G");
        break;
    case ARG_STRS: {
        struct arg_strs *list = o->to;
        if (list->n == ARG_MAX) return args_fail(spec, "--%s: given more than %d times", o->name, ARG_MAX);
        list->v[list->n++] = value;
        break;
    }
    case ARG_HEADING: break;
    }
    return ARGS_GO;
}

/* One --long[=value]; *i moves on when the value is the next word. */
static int parse_long(const struct arg_spec *spec, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2;
    size_t len = strcspn(name, "=");
    const struct arg_opt *o = find(spec, name, len, 0);
    if (!o) return unknown(spec, name, len);
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    if (!args_takes_value(o)) {
        if (value) return args_fail(spec, "--%s takes no value", o->name);
    } else if (!value) {
        if (*i + 1 >= argc) return args_fail(spec, "--%s needs a value: --%s %s", o->name, o->name, o->arg);
        value = argv[++*i];
    }
    return set_value(spec, o, value);
}

/* One word of short options: -q, -qv, -ofile, -o file. */
static int parse_short(const struct arg_spec *spec, int argc, char **argv, int *i)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct arg_opt *o = find(spec, NULL, 0, *p);
        if (!o) return args_fail(spec, "there is no option -%c; --help lists what there is", *p);
        const char *value = NULL;
        if (args_takes_value(o)) {
            if (p[1]) value = p[1] == '=' ? p + 2 : p + 1;
            else if (*i + 1 < argc) value = argv[++*i];
            else return args_fail(spec, "-%c needs a value: -%c %s", o->letter, o->letter, o->arg);
        }
        int rc = set_value(spec, o, value);
        if (rc != ARGS_GO || value) return rc;
    }
    return ARGS_GO;
}

int args_parse(const struct arg_spec *spec, int argc, char **argv)
{
    struct arg_strs none = { { NULL }, 0 };
    struct arg_strs *rest = spec->operands ? spec->operands : &none;
    bool ended = false;
    want_help = want_version = false;
    for (int i = 1; i < argc; i++) {
        int rc = ARGS_GO;
        if (!ended && !strcmp(argv[i], "--")) {
            ended = true;
        } else if (!ended && argv[i][0] == '-' && argv[i][1] == '-') {
            rc = parse_long(spec, argc, argv, &i);
        } else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            rc = parse_short(spec, argc, argv, &i);
        } else if (!*argv[i]) {
            rc = args_fail(spec, "an argument is empty; usage: saccade %s", spec->usage);
        } else if (rest->n >= spec->max_operands) {
            rc = args_fail(spec, "%s: unexpected; usage: saccade %s", argv[i], spec->usage);
        } else {
            rest->v[rest->n++] = argv[i];
        }
        if (want_help) return args_show_help(spec), 0;
        if (want_version) return args_show_version(), 0;
        if (rc != ARGS_GO) return rc;
    }
    if (rest->n < spec->min_operands)
        return args_fail(spec, "something is missing; usage: saccade %s", spec->usage);
    return ARGS_GO;
}
