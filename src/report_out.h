/* Tables and plots of a report in the forms they leave the program. */
#ifndef REPORT_OUT_H
#define REPORT_OUT_H

#include <saccade/report.h>
#include <stdio.h>

enum report_form { REPORT_TEXT, REPORT_MARKDOWN, REPORT_CSV, REPORT_JSON };

void report_table_out(FILE *f, const struct sac_table *t, enum report_form form, int width);
/* A plot drawn with characters, one mark a series; lines of at most `width` columns. */
void report_plot_text(FILE *f, const struct sac_plot *p, int width, int height);
/* PNG, SVG or PDF by the ending of path. */
enum sac_code report_plot_file(const struct sac_plot *p, const char *path, bool dark, bool force,
                               struct sac_err *err);
#endif
