/* See report_out.h. Text tables drop columns that hold nothing and, where the terminal is narrow, those that
 * are least needed; the other forms have all of them. */
#include "report_out.h"
#include "json_out.h"

#include "figure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void entry_text(const struct sac_entry *e, char *buf, size_t cap)
{
    if (e->text)
        snprintf(buf, cap, "%s", e->text);
    else if (isfinite(e->value))
        snprintf(buf, cap, "%.*f", e->decimals, e->value);
    else
        snprintf(buf, cap, "-");
}

static const struct sac_entry *entry(const struct sac_table *t, int row, int col)
{
    return &t->cell[row * t->n_cols + col];
}

/* A column says something when it has values, and, for names, more than one. */
static bool worth_showing(const struct sac_table *t, int col)
{
    bool any = false, differ = false;
    for (int i = 0; i < t->n_rows; i++) {
        const struct sac_entry *e = entry(t, i, col), *first = entry(t, 0, col);
        any |= e->text || isfinite(e->value);
        differ |= e->text && first->text && strcmp(e->text, first->text);
    }
    bool name = t->n_rows && entry(t, 0, col)->text;
    return any && (!name || differ || t->n_rows == 1 || !(col < 2));
}

static void wrap(FILE *f, const char *text, int width)
{
    int at = 0;
    for (const char *p = text; *p;) {
        int n = (int)strcspn(p, " ");
        if (at && at + 1 + n > width) fputc('\n', f), at = 0;
        if (at) fputc(' ', f), at++;
        fwrite(p, 1, (size_t)n, f);
        at += n;
        p += n + (p[n] == ' ');
    }
    fputc('\n', f);
}

static void text_out(FILE *f, const struct sac_table *t, int width)
{
    int w[64], n = t->n_cols < 64 ? t->n_cols : 64, total = 0;
    bool show[64], left[64];
    char buf[256];
    for (int c = 0; c < n; c++) {
        show[c] = worth_showing(t, c);
        left[c] = t->n_rows && entry(t, 0, c)->text;
        w[c] = (int)strlen(t->col[c]);
        for (int i = 0; i < t->n_rows; i++) {
            entry_text(entry(t, i, c), buf, sizeof buf);
            if ((int)strlen(buf) > w[c]) w[c] = (int)strlen(buf);
        }
        total += show[c] ? w[c] + 2 : 0;
    }
    int dropped = 0;
    for (int c = n - 1; c > 4 && total > width; c--)
        if (show[c]) show[c] = false, total -= w[c] + 2, dropped++;
    fprintf(f, "%s\n\n", t->title);
    for (int i = -1; i < t->n_rows; i++) {
        for (int c = 0; c < n; c++) {
            if (!show[c]) continue;
            if (i < 0)
                snprintf(buf, sizeof buf, "%s", t->col[c]);
            else
                entry_text(entry(t, i, c), buf, sizeof buf);
            fprintf(f, left[c] ? "%-*s  " : "%*s  ", w[c], buf);
        }
        fputc('\n', f);
    }
    if (dropped) fprintf(f, "(%d column%s more in --format csv)\n", dropped, dropped == 1 ? "" : "s");
    fputc('\n', f);
    if (*t->note) wrap(f, t->note, width < 100 ? width : 100);
    fputc('\n', f);
}

static void markdown_out(FILE *f, const struct sac_table *t)
{
    char buf[256];
    fprintf(f, "## %s\n\n", t->title);
    for (int i = -2; i < t->n_rows && t->n_rows; i++) {
        for (int c = 0; c < t->n_cols; c++) {
            if (!worth_showing(t, c)) continue;
            if (i == -2)
                snprintf(buf, sizeof buf, "%s", t->col[c]);
            else if (i == -1)
                snprintf(buf, sizeof buf, "%s", entry(t, 0, c)->text ? "---" : "---:");
            else
                entry_text(entry(t, i, c), buf, sizeof buf);
            fprintf(f, "| %s ", buf);
        }
        fputs("|\n", f);
    }
    fprintf(f, "\n%s\n\n", t->note);
}

static void csv_field(FILE *f, const char *s)
{
    bool quote = strpbrk(s, ",\"\n\r") != NULL;
    if (quote) fputc('"', f);
    for (; *s; s++) {
        if (*s == '"') fputc('"', f);
        fputc(*s, f);
    }
    if (quote) fputc('"', f);
}

static void csv_out(FILE *f, const struct sac_table *t)
{
    for (int i = -1; i < t->n_rows; i++) {
        for (int c = 0; c < t->n_cols; c++) {
            if (c) fputc(',', f);
            if (i < 0)
                csv_field(f, t->col[c]);
            else if (entry(t, i, c)->text)
                csv_field(f, entry(t, i, c)->text);
            else if (isfinite(entry(t, i, c)->value))
                fprintf(f, "%.9g", entry(t, i, c)->value);
        }
        fputs("\r\n", f);
    }
}

static void json_table(FILE *f, const struct sac_table *t)
{
    json_t *rows = json_array();
    for (int i = 0; i < t->n_rows; i++) {
        json_t *o = json_object();
        for (int c = 0; c < t->n_cols; c++) {
            const struct sac_entry *e = entry(t, i, c);
            json_object_set_new(o, t->col[c],
                                e->text                                  ? json_text(e->text, strlen(e->text))
                                : e->decimals == 0 && isfinite(e->value) ? json_integer((json_int_t)e->value)
                                                                         : json_number(e->value));
        }
        json_array_append_new(rows, o);
    }
    json_print(f,
               json_pack("{s:s, s:s, s:s, s:o, s:s}", "schema", "saccade.report/1", "table", t->name, "title",
                         t->title, "rows", rows, "note", t->note),
               false);
}

void report_table_out(FILE *f, const struct sac_table *t, enum report_form form, int width)
{
    switch (form) {
    case REPORT_TEXT: text_out(f, t, width); break;
    case REPORT_MARKDOWN: markdown_out(f, t); break;
    case REPORT_CSV: csv_out(f, t); break;
    case REPORT_JSON: json_table(f, t); break;
    }
}

/* ---- plots ---- */

struct range {
    double x0, x1, y0, y1;
};

static double x_of(const struct sac_plot *p, double x) { return p->x_log ? log10(fmax(x, 1e-300)) : x; }

static struct range plot_range(const struct sac_plot *p)
{
    struct range r = { (double)INFINITY, -(double)INFINITY, (double)INFINITY, -(double)INFINITY };
    for (int s = 0; s < p->n_series; s++)
        for (int i = 0; i < p->series[s].n; i++) {
            r.x0 = fmin(r.x0, x_of(p, p->series[s].x[i]));
            r.x1 = fmax(r.x1, x_of(p, p->series[s].x[i]));
            r.y0 = fmin(r.y0, p->series[s].y[i]);
            r.y1 = fmax(r.y1, p->series[s].y[i]);
        }
    if (p->unit_x) r.x0 = 0, r.x1 = 1;
    if (p->unit_y) r.y0 = 0, r.y1 = 1;
    if (!(r.x1 > r.x0)) r.x0 -= 0.5, r.x1 += 0.5;
    if (!(r.y1 > r.y0)) r.y0 -= 0.5, r.y1 += 0.5;
    return r;
}

static const char marks[] = "ox+*#@%&=~";

/* Dashed series and the dense point have marks of their own, the others take turns. */
static char mark_of(const struct sac_plot *p, int s)
{
    int n = 0;
    if (p->series[s].dashed) return '-';
    if (!strcmp(p->series[s].name, "dense")) return 'D';
    for (int i = 0; i < s; i++) n += mark_of(p, i) != '-' && mark_of(p, i) != 'D';
    return marks[(size_t)n % (sizeof marks - 1)];
}

static void plot_series(const struct sac_plot *p, int s, const struct range *r, char *grid, int w, int h)
{
    const struct sac_series *q = &p->series[s];
    int px = 0, py = 0;
    for (int i = 0; i < q->n; i++) {
        int x = (int)lround((x_of(p, q->x[i]) - r->x0) / (r->x1 - r->x0) * (w - 1));
        int y = (int)lround((q->y[i] - r->y0) / (r->y1 - r->y0) * (h - 1));
        int steps = i ? abs(x - px) > abs(y - py) ? abs(x - px) : abs(y - py) : 0;
        for (int k = 1; k < steps; k++) { /* a dotted line between the marks */
            char *c = &grid[(h - 1 - (py + (y - py) * k / steps)) * w + px + (x - px) * k / steps];
            if (*c == ' ') *c = '.';
        }
        grid[(h - 1 - y) * w + x] = mark_of(p, s);
        px = x;
        py = y;
    }
}

void report_plot_text(FILE *f, const struct sac_plot *p, int width, int height)
{
    int w = width - 10 > 20 ? width - 10 : 20, h = height;
    char *grid = malloc((size_t)w * (size_t)h);
    if (!grid) return;
    memset(grid, ' ', (size_t)w * (size_t)h);
    struct range r = plot_range(p);
    for (int s = 0; s < p->n_series; s++) /* the frontier lies under what it is made of */
        if (p->series[s].dashed) plot_series(p, s, &r, grid, w, h);
    for (int s = p->n_series - 1; s >= 0; s--)
        if (!p->series[s].dashed) plot_series(p, s, &r, grid, w, h);
    fprintf(f, "%s (%s)\n\n", p->title, p->subtitle);
    for (int y = 0; y < h; y++) {
        bool tick = y == 0 || y == h - 1 || y == h / 2;
        if (tick)
            fprintf(f, "%8.2f |", r.y1 + (r.y0 - r.y1) * y / (h - 1));
        else
            fprintf(f, "%8s |", "");
        int n = w;
        while (n && grid[y * w + n - 1] == ' ') n--;
        fwrite(grid + y * w, 1, (size_t)n, f);
        fputc('\n', f);
    }
    fprintf(f, "%8s +", "");
    for (int i = 0; i < w; i++) fputc('-', f);
    char lo[32], hi[32];
    snprintf(lo, sizeof lo, "%.4g", p->x_log ? pow(10, r.x0) : r.x0);
    snprintf(hi, sizeof hi, "%.4g", p->x_log ? pow(10, r.x1) : r.x1);
    int gap = w - (int)strlen(lo) - (int)strlen(hi), name = (int)strlen(p->x_title);
    fprintf(f, "\n%10s%s%*s%s%*s%s\n", "", lo, gap > name ? (gap - name) / 2 : 1, "", p->x_title,
            gap > name ? gap - name - (gap - name) / 2 : 1, "", hi);
    for (int s = 0; s < p->n_series; s++) fprintf(f, "%10s%c %s\n", "", mark_of(p, s), p->series[s].name);
    fputc('\n', f);
    free(grid);
}

enum sac_code report_plot_file(const struct sac_plot *p, const char *path, bool dark, bool force,
                               struct sac_err *err)
{
    enum figure_format format;
    if (!figure_format_of(path, &format))
        return sac_fail(err, SAC_EARG, "%s: a plot's name ends in .png, .svg or .pdf", path);
    struct figure_series *s = calloc((size_t)p->n_series + 1, sizeof *s);
    if (!s) return sac_fail(err, SAC_ENOMEM, "out of memory for a plot");
    const double *dense = NULL;
    for (int i = 0, colour = 0; i < p->n_series; i++) {
        bool is_dense = !strcmp(p->series[i].name, "dense");
        if (is_dense) dense = p->series[i].y;
        s[i] = (struct figure_series){ .name = p->series[i].name,
                                       .n = p->series[i].n,
                                       .x = p->series[i].x,
                                       .y = p->series[i].y,
                                       .err_lo = p->series[i].lo,
                                       .err_hi = p->series[i].hi,
                                       .rgb = is_dense || p->series[i].dashed ? 0x7a828e
                                                                              : figure_colour(colour++),
                                       .wide = p->series[i].dashed,
                                       .no_marks = p->series[i].dashed,
                                       .kind = FIGURE_PLOT_LINES };
    }
    const struct figure_plot plot = {
        .text = { p->title, p->subtitle, NULL },
        .x_title = p->x_title,
        .y_title = p->y_title,
        .x_log = p->x_log,
        .x_hi = p->unit_x ? 1.0 : 0.0,
        .y_hi = p->unit_y ? 1.0 : 0.0,
        .n_hlines = dense ? 1 : 0,
        .hline = dense,
        .n_at = p->n_ticks,
        .x_at = p->tick,
        .n_series = p->n_series,
        .series = s,
    };
    const struct figure_style style = { .dark = dark };
    const struct figure_meta meta = { .title = p->title, .description = p->subtitle };
    struct figure_bytes out = { 0 };
    enum sac_code rc = figure_draw_plot(&plot, &style, format, &meta, &out, err);
    if (!rc) rc = figure_write(path, out.data, out.n, force, err);
    figure_bytes_free(&out);
    free(s);
    return rc;
}
