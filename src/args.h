/* The command line: one table of options for each command.
 *
 * A command describes itself once, in a struct arg_spec: usage, three examples, options with the variable
 * each one sets. Parsing, --help, the man page and the shell completions all read that table. Options are
 * GNU style: --long, --long=value, --long value, -s, -svalue, and -- ends them; operands may stand anywhere.
 * A mistyped option is answered with the nearest name.
 *
 *     struct arg_strs methods = { 0 }, files = { 0 };
 *     int top = 10; bool json = false;
 *     const struct arg_opt opts[] = {
 *         { "method", 'm', "SPEC", "method to run, may be repeated", ARG_STRS, .to = &methods },
 *         { "top", 0, "N", "lines to print (default 10)", ARG_INT, &top, .min = 1, .max = 1000 },
 *         { "json", 0, NULL, "print JSON", ARG_FLAG, .to = &json },
 *         { 0 } };
 *     const struct arg_spec spec = { "rank", "rank [OPTIONS] FILE", "Ranks what FILE holds.",
 *         { "saccade rank a.txt", "saccade rank --top 3 a.txt", "saccade rank --json a.txt" },
 *         .opts = opts, .operands = &files, .max_operands = 1 };
 *     int rc = args_parse(&spec, argc, argv);
 *     if (rc != ARGS_GO) return rc;
 */
#ifndef ARGS_H
#define ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
    ARG_FLAG,    /* bool: becomes true */
    ARG_OFF,     /* bool: becomes false */
    ARG_INT,     /* int, within min .. max where min < max; accepts K and M (powers of 1024) */
    ARG_DOUBLE,  /* double, likewise, without suffixes */
    ARG_U64,     /* uint64_t */
    ARG_SIZE,    /* size_t in bytes: K, M, G are powers of 1024 */
    ARG_STR,     /* const char *: the last one given counts */
    ARG_STRS,    /* struct arg_strs: may be repeated */
    ARG_INTS,    /* struct arg_ints: 1024,4096 and may be repeated */
    ARG_CHOICE,  /* int: index into choices */
    ARG_HEADING, /* no option: name is a heading of the help */
};

enum { ARG_MAX = 64 };
struct arg_strs { const char *v[ARG_MAX]; int n; };
struct arg_ints { int v[ARG_MAX]; int n; };

struct arg_opt {
    const char *name;           /* long name without dashes; NULL ends the table */
    char letter;                /* short name, 0: none */
    const char *arg;            /* argument's name in the help; NULL for ARG_FLAG and ARG_OFF */
    const char *help;
    enum arg_kind kind;
    void *to;                   /* what it sets, by kind */
    double min, max;            /* bounds, when min < max */
    const char *const *choices; /* ARG_CHOICE: NULL-terminated */
};

struct arg_spec {
    const char *name;           /* "run"; "" for the program itself */
    const char *usage;          /* "run [OPTIONS] [MODEL]", without the program's name */
    const char *summary;        /* one or two sentences */
    const char *examples[3];
    const struct arg_opt *opts;
    const char *notes;          /* shown after the options, or NULL */
    struct arg_strs *operands;  /* NULL: takes none */
    int min_operands, max_operands;
};

/* Every command also takes -h/--help, -V/--version, -q/--quiet and -v/--verbose. */
struct arg_common { bool quiet, verbose; };
extern struct arg_common args_common;

enum { ARGS_GO = -1 };
/* ARGS_GO: parsed, carry on. Otherwise the exit code to return at once: 0 after --help or --version, 2 after
 * a mistake, which has been explained on stderr. argv[0] is the command's name. */
int args_parse(const struct arg_spec *spec, int argc, char **argv);

/* What --help prints: text, a section of the man page, or lines for a shell's completion. */
enum args_help { ARGS_HELP_TEXT, ARGS_HELP_MAN, ARGS_HELP_BASH, ARGS_HELP_ZSH, ARGS_HELP_FISH };
void args_set_help(enum args_help form);

/* "saccade run: no such thing" on stderr, and the exit code for a usage error (2). */
int args_fail(const struct arg_spec *spec, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A size such as 512, 4K, 2.5G. False: not one. */
bool args_size(const char *text, size_t *out);
#endif
