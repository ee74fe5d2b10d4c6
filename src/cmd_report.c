/* saccade report: what results files say, as tables and plots. */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "offline.h"
#include "report_out.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct report_args {
    struct arg_strs files;
    const char *table, *output, *plots, *plot;
    int form;
    bool json, force, dark, list;
};

static int terminal_width(FILE *f)
{
    struct winsize w;
    if (isatty(fileno(f)) && ioctl(fileno(f), TIOCGWINSZ, &w) == 0 && w.ws_col > 40) return w.ws_col;
    return 160;
}

static enum sac_code tables_out(const struct sac_report *r, const struct report_args *a, FILE *f,
                                struct sac_err *err)
{
    enum report_form form = a->json ? REPORT_JSON : (enum report_form)a->form;
    bool found = false;
    for (int i = 0; i < SAC_REPORT_TABLES; i++) {
        const char *name = sac_report_table_name(i);
        if (a->table && strcmp(a->table, name)) continue;
        struct sac_table t;
        if (sac_report_table(r, i, &t, err)) return err->code;
        if (form == REPORT_CSV && found) fputs("\r\n", f);
        report_table_out(f, &t, form, terminal_width(f));
        sac_table_free(&t);
        found = true;
    }
    if (!found) {
        const char *names[SAC_REPORT_TABLES];
        for (int i = 0; i < SAC_REPORT_TABLES; i++) names[i] = sac_report_table_name(i);
        const char *near = sac_nearest(a->table, names, SAC_REPORT_TABLES);
        return sac_fail(err, SAC_EARG, "no table '%s'%s%s%s; there are scores, tolerable, length, cost, law",
                        a->table, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return SAC_OK;
}

/* --plots DIR/prefix.svg: every plot under its own name; --plot NAME: that one, on the screen. */
static enum sac_code plots_out(const struct sac_report *r, const struct report_args *a, FILE *f,
                               struct sac_err *err)
{
    struct sac_plots all;
    if (sac_report_plots(r, &all, err)) return err->code;
    enum sac_code rc = SAC_OK;
    bool found = false;
    const char *dot = a->plots ? strrchr(a->plots, '.') : NULL;
    if (a->plots && !dot)
        rc = sac_fail(err, SAC_EARG,
                      "--plots %s: end it in .svg, .png or .pdf; the plot's name goes before that", a->plots);
    for (int i = 0; !rc && i < all.n; i++) {
        const struct sac_plot *p = &all.plot[i];
        if (a->list) {
            fprintf(f, "%-32s %s\n", p->name, p->title);
            continue;
        }
        if (a->plot && strcmp(a->plot, "all") && strcmp(a->plot, p->name)) continue;
        found = true;
        if (a->plots) {
            char path[1024];
            bool bare = dot == a->plots || dot[-1] == '/';
            snprintf(path, sizeof path, "%.*s%s%s%s", (int)(dot - a->plots), a->plots, bare ? "" : "-",
                     p->name, dot);
            rc = report_plot_file(p, path, a->dark, a->force, err);
            if (!rc && !args_common.quiet) fprintf(stderr, "%s\n", path);
        } else {
            int w = terminal_width(f);
            report_plot_text(f, p, w < 100 ? w : 80, 17);
        }
    }
    if (!rc && !found && !a->list)
        rc = sac_fail(err, SAC_EARG,
                      all.n ? "no plot '%s'; --list-plots names them"
                            : "no plot '%s': these results make none",
                      a->plot ? a->plot : "all");
    sac_plots_free(&all);
    return rc;
}

int cmd_report(int argc, char **argv)
{
    static const char *const forms[] = { "text", "markdown", "csv", "json", NULL };
    struct report_args a = { .output = "-" };
    const struct arg_opt opts[] = {
        { "table", 0, "NAME", "only this table: scores, tolerable, length, cost or law", ARG_STR,
          .to = &a.table },
        { "format", 'f', "FORM", "text, markdown, csv or json (default text)", ARG_CHOICE, .to = &a.form,
          .choices = forms },
        { "json", 0, NULL, "the same as --format json: a table in each line", ARG_FLAG, .to = &a.json },
        { "output", 'o', "FILE", "write tables to FILE instead of standard output", ARG_STR,
          .to = &a.output },
        { "plot", 0, "NAME", "draw a plot with characters instead of tables; all: every one", ARG_STR,
          .to = &a.plot },
        { "plots", 0, "PATH.svg", "write the plots as files: PATH-NAME.svg, .png or .pdf", ARG_STR,
          .to = &a.plots },
        { "list-plots", 0, NULL, "name the plots these results make", ARG_FLAG, .to = &a.list },
        { "dark", 0, NULL, "plots on a dark background", ARG_FLAG, .to = &a.dark },
        { "force", 0, NULL, "replace files that exist", ARG_FLAG, .to = &a.force },
        { 0 },
    };
    const struct arg_spec spec = {
        .name = "report",
        .usage = "report [OPTIONS] FILE...",
        .summary = "Tables and plots from results of saccade eval: scores against sparsity with tests, the "
                   "largest tolerable "
                   "sparsity, error against length, score against cost, and a fitted law.",
        .examples = { "saccade report results.jsonl",
                      "saccade report --table tolerable --format markdown a.jsonl b.jsonl",
                      "saccade report --plots figures/.svg results.jsonl" },
        .opts = opts,
        .operands = &a.files,
        .min_operands = 1,
        .max_operands = ARG_MAX,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    struct sac_err err = { 0 };
    struct sac_report *r = NULL;
    if (sac_report_read(&r, a.files.v, a.files.n, &err)) return cli_fail("report", &err);
    bool plots = a.plot || a.plots || a.list;
    FILE *f = plots ? stdout : offline_target(a.output, a.force, &err) ? cli_create(a.output, &err) : NULL;
    if (f && plots)
        plots_out(r, &a, f, &err);
    else if (f && !tables_out(r, &a, f, &err))
        cli_close(f, a.output, &err);
    else
        cli_drop(f);
    sac_report_free(r);
    return err.code ? cli_fail("report", &err) : 0;
}
