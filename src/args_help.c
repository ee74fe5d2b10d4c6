/* The option tables as people and shells read them: --help, the man page, completions.
 *
 * A command that is asked for --help shows its own table; the form in force decides what that looks like. So
 * the man page is main's doing: it sets the form and asks every command in turn. */
#include "args_priv.h"

#include <stdio.h>
#include <string.h>

static enum args_help help_form = ARGS_HELP_TEXT;

void args_set_help(enum args_help form)
{
    help_form = form;
}

void args_show_version(void)
{
    printf("saccade %s\n", SACCADE_VERSION);
#ifdef __clang__
    printf("compiler  clang %s\n", __clang_version__);
#elif defined __GNUC__
    printf("compiler  gcc %s\n", __VERSION__);
#endif
#if defined __SANITIZE_ADDRESS__
    puts("build     address and undefined-behaviour sanitizers");
#elif defined __OPTIMIZE__
    puts("build     optimised");
#else
    puts("build     not optimised");
#endif
}

/* Words of text from column `col` on, wrapped before column 88 and indented to col; a line break stays one. */
static void wrap(const char *text, int col)
{
    int at = col;
    for (const char *p = text; *p;) {
        int len = (int)strcspn(p, " \n");
        if (at > col && (p[-1] == '\n' || at + 1 + len > 88)) {
            printf("\n%*s", col, "");
            at = col;
        } else if (at > col) {
            putchar(' ');
            at++;
        }
        printf("%.*s", len, p);
        at += len;
        p += len;
        if (*p == '\n') p++;
        while (*p == ' ') p++;
    }
    putchar('\n');
}

static void text_option(const struct arg_opt *o)
{
    enum { COL = 27 };
    char left[96];
    if (o->kind == ARG_HEADING) {
        printf("\n%s:\n", o->name);
        return;
    }
    char s[8] = "   ";
    if (o->letter) snprintf(s, sizeof s, "-%c,", o->letter);
    int n = snprintf(left, sizeof left, "  %s --%s%s%s", s, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    if (n >= COL) printf("%s\n%*s", left, COL, "");
    else printf("%-*s", COL, left);
    wrap(o->help, COL);
}

static void show_text(const struct arg_spec *spec)
{
    puts("Examples:");
    for (int i = 0; i < 3; i++)
        if (spec->examples[i]) printf("  %s\n", spec->examples[i]);
    printf("\nUsage: saccade %s\n", spec->usage);
    wrap(spec->summary, 0);
    if (spec->opts && spec->opts->name && spec->opts->kind != ARG_HEADING) puts("\nOptions:");
    for (const struct arg_opt *o = spec->opts; o && o->name; o++) text_option(o);
    puts("\nAlways:");
    for (const struct arg_opt *o = args_common_opts; o->name; o++) text_option(o);
    if (spec->notes) printf("\n%s\n", spec->notes);
}

/* roff reads a leading dot or quote as a command, and a minus as a hyphen unless escaped. */
static void roff(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '-') fputs("\\-", stdout);
        else if (*p == '\\') fputs("\\e", stdout);
        else if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n')) printf("\\&%c", *p);
        else putchar(*p);
    }
}

static void show_man(const struct arg_spec *spec)
{
    printf(".SS ");
    roff(*spec->name ? spec->name : "the explorer");
    printf("\n.B saccade ");
    roff(spec->usage);
    printf("\n.PP\n");
    roff(spec->summary);
    putchar('\n');
    for (const struct arg_opt *o = spec->opts; o && o->name; o++) {
        if (o->kind == ARG_HEADING) {
            printf(".PP\n.I ");
            roff(o->name);
            putchar('\n');
            continue;
        }
        printf(".TP\n.B ");
        if (o->letter) printf("\\-%c, ", o->letter);
        printf("\\-\\-");
        roff(o->name);
        if (o->arg) printf(" \\fI"), roff(o->arg), printf("\\fR");
        putchar('\n');
        roff(o->help);
        putchar('\n');
    }
    if (spec->notes) printf(".PP\n.nf\n"), roff(spec->notes), printf("\n.fi\n");
    printf(".PP\n.nf\n");
    for (int i = 0; i < 3; i++)
        if (spec->examples[i]) printf("    "), roff(spec->examples[i]), putchar('\n');
    printf(".fi\n");
}

/* A help text inside single quotes of a shell; zsh also reads brackets and colons. */
static void shell_quoted(const char *text, bool zsh)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'') fputs("'\\''", stdout);
        else if (zsh && strchr("[]:\\", *p)) printf("\\%c", *p);
        else putchar(*p);
    }
}

bool args_wants_file(const struct arg_opt *o)
{
    return o->arg && (strstr(o->arg, "FILE") || strstr(o->arg, "MODEL") || strstr(o->arg, "FIG") ||
                      strstr(o->arg, "OUT"));
}

static void show_completion(const struct arg_spec *spec)
{
    const struct arg_opt *tables[] = { spec->opts, args_common_opts };
    if (help_form == ARGS_HELP_BASH) printf("        %s) words='", *spec->name ? spec->name : "*");
    else if (help_form == ARGS_HELP_ZSH)
        printf("        %s) _arguments -s \\\n", *spec->name ? spec->name : "*");
    for (int t = 0; t < 2; t++)
        for (const struct arg_opt *o = tables[t]; o && o->name; o++) {
            if (o->kind == ARG_HEADING) continue;
            if (help_form == ARGS_HELP_BASH) {
                printf(" --%s", o->name);
            } else if (help_form == ARGS_HELP_ZSH) {
                printf("            '%s--%s%s[", o->kind == ARG_STRS ? "*" : "", o->name,
                       args_takes_value(o) ? "=" : "");
                shell_quoted(o->help, true);
                printf("]%s%s%s' \\\n", args_takes_value(o) ? ":" : "", args_takes_value(o) ? o->arg : "",
                       !args_takes_value(o) ? "" : args_wants_file(o) ? ":_files" : ":");
            } else {
                printf("complete -c saccade -n '%s%s' -l %s",
                       *spec->name ? "__fish_seen_subcommand_from " : "__fish_use_subcommand", spec->name,
                       o->name);
                if (o->letter) printf(" -s %c", o->letter);
                if (args_takes_value(o)) printf(args_wants_file(o) ? " -r -F" : " -x");
                if (o->choices) {
                    printf(" -a '");
                    for (int i = 0; o->choices[i]; i++) printf("%s ", o->choices[i]);
                    putchar('\'');
                }
                printf(" -d '");
                shell_quoted(o->help, false);
                printf("'\n");
            }
        }
    if (help_form == ARGS_HELP_BASH) puts("' ;;");
    else if (help_form == ARGS_HELP_ZSH) puts("            '*:file:_files' ;;");
}

void args_show_help(const struct arg_spec *spec)
{
    if (help_form == ARGS_HELP_TEXT) show_text(spec);
    else if (help_form == ARGS_HELP_MAN) show_man(spec);
    else show_completion(spec);
}
