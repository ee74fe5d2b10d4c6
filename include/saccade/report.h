/* What the results of a study say: tables and plots, from the files `saccade eval` wrote.
 *
 * Results are grouped in cells (model, task, length, method SPEC). Every comparison with dense is between the
 * same samples. Replies that could not be parsed count as zero; their share stands in a column of its own. */
#ifndef SAC_REPORT_H
#define SAC_REPORT_H

#include <saccade/err.h>
#include <stdbool.h>

struct sac_report;
/* Files of saccade eval, plain or packed by zstd. */
enum sac_code sac_report_read(struct sac_report **out, const char *const *file, int n, struct sac_err *err);
void sac_report_free(struct sac_report *r);      /* accepts NULL */
int sac_report_rows(const struct sac_report *r); /* results read */

/* ---- tables ---- */

/* A cell is text, or a number with so many decimals; NAN shows as a dash. */
struct sac_entry {
    char *text;
    double value;
    int decimals;
};
struct sac_table {
    const char *name, *title;
    char *note; /* how to read it, and what is wrong with it; "" when nothing */
    int n_cols, n_rows, cap_rows;
    char **col;             /* [n_cols] */
    struct sac_entry *cell; /* [n_rows][n_cols] */
};
enum { SAC_REPORT_TABLES = 5 }; /* scores, tolerable, length, cost, law */
const char *sac_report_table_name(int i);
/* A table whose needs the results do not meet has no rows, and a note that says why. */
enum sac_code sac_report_table(const struct sac_report *r, int i, struct sac_table *out, struct sac_err *err);
void sac_table_free(struct sac_table *t);

/* ---- plots ---- */

struct sac_series {
    char *name;
    int n;
    double *x, *y, *lo, *hi;
    bool dashed, points;
}; /* lo, hi: NULL or bars */
struct sac_plot {
    char *name, *title, *subtitle, *x_title, *y_title;
    bool x_log, unit_x, unit_y; /* sparsities, scores: 0 .. 1 */
    int n_series, n_ticks;
    struct sac_series *series;
    double *tick; /* [n_ticks] where x has marks, or NULL */
};
struct sac_plots {
    int n;
    struct sac_plot *plot;
};
/* One plot for each task and length (score against sparsity), for error against length, and for cost
 * frontiers. */
enum sac_code sac_report_plots(const struct sac_report *r, struct sac_plots *out, struct sac_err *err);
void sac_plots_free(struct sac_plots *p);
#endif
