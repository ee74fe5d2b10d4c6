/* The plots of a report as plain series: score against sparsity, error against length, score against cost. */
#include "study/report_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) s = NULL;
    va_end(ap);
    return s;
}

static struct sac_plot *new_plot(struct sac_plots *all)
{
    struct sac_plot *p = realloc(all->plot, (size_t)(all->n + 1) * sizeof *p);
    if (!p) return NULL;
    all->plot = p;
    p[all->n] = (struct sac_plot){ 0 };
    return &p[all->n++];
}

static struct sac_series *new_series(struct sac_plot *p, char *name, int cap, bool bars)
{
    struct sac_series *s = realloc(p->series, (size_t)(p->n_series + 1) * sizeof *s);
    if (!s || !name) {
        free(name);
        if (s) p->series = s;
        return NULL;
    }
    p->series = s;
    s += p->n_series++;
    *s = (struct sac_series){ .name = name,
                              .x = calloc((size_t)cap, sizeof(double)),
                              .y = calloc((size_t)cap, sizeof(double)) };
    if (bars) s->lo = calloc((size_t)cap, sizeof(double)), s->hi = calloc((size_t)cap, sizeof(double));
    return s->x && s->y && (!bars || (s->lo && s->hi)) ? s : NULL;
}

/* Points stay in order of x: a larger budget asked for is not always one that is used. */
static void add_point(struct sac_series *s, double x, double y, double lo, double hi)
{
    int i = s->n++;
    for (; i > 0 && s->x[i - 1] > x; i--) {
        s->x[i] = s->x[i - 1];
        s->y[i] = s->y[i - 1];
        if (s->lo) s->lo[i] = s->lo[i - 1], s->hi[i] = s->hi[i - 1];
    }
    s->x[i] = x;
    s->y[i] = y;
    if (s->lo) s->lo[i] = lo, s->hi[i] = hi;
}

void sac_plots_free(struct sac_plots *all)
{
    for (int i = 0; i < all->n; i++) {
        struct sac_plot *p = &all->plot[i];
        for (int k = 0; k < p->n_series; k++) {
            struct sac_series *s = &p->series[k];
            free(s->name);
            free(s->x);
            free(s->y);
            free(s->lo);
            free(s->hi);
        }
        free(p->series);
        free(p->tick);
        free(p->name);
        free(p->title);
        free(p->subtitle);
        free(p->x_title);
        free(p->y_title);
    }
    free(all->plot);
    *all = (struct sac_plots){ 0 };
}

static bool named(const struct sac_plot *p)
{
    return p->name && p->title && p->subtitle && p->x_title && p->y_title;
}

/* A name that can stand in a file name. */
static char *file_name(char *s)
{
    for (char *p = s; p && *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '-' ||
              *p == '_' || *p == '.'))
            *p = '-';
    return s;
}

/* "-model" when there are several. */
static const char *model_suffix(const struct sac_report *r, int model)
{
    return r->n_models > 1 ? r->model[model].name : "";
}

static bool score_plot(const struct sac_report *r, struct sac_plots *all, int first, int n)
{
    const struct cell *c = &r->cell[first];
    const char *model = model_suffix(r, c->model);
    struct sac_plot *p = new_plot(all);
    if (!p) return false;
    p->unit_x = p->unit_y = true;
    p->name = file_name(text("score-%s-%d%s%s", r->task.v[c->task], c->length, *model ? "-" : "", model));
    p->title = text("%s at %d tokens", r->task.v[c->task], c->length);
    p->subtitle = text("%s, %s prompts, %d samples, 95%% intervals", report_model_name(r, c->model),
                       r->style.v[c->style], c->n);
    p->x_title = strdup("measured sparsity");
    p->y_title = strdup("score");
    if (!named(p)) return false;
    const struct cell *dense = NULL;
    for (int i = 0; i < n; i++)
        if (c[i].dense) dense = &c[i];
    const double none = (double)NAN;
    struct sac_series *s = dense ? new_series(p, strdup("dense"), 1, true) : NULL;
    if (s) add_point(s, 0, dense->mean, dense->lo, dense->hi);
    for (int i = 0, base = -1; i < n; i++) {
        if (c[i].dense) continue;
        if (c[i].base != base) {
            base = c[i].base;
            s = new_series(p, strdup(r->base.v[base]), n + 1, true);
            if (!s) return false;
            if (dense) add_point(s, 0, dense->mean, none, none); /* its interval is drawn once */
        }
        add_point(s, c[i].measured, c[i].mean, c[i].lo, c[i].hi);
    }
    return true;
}

static bool score_plots(const struct sac_report *r, struct sac_plots *all)
{
    bool ok = true;
    for (int i = 0; ok && i < r->n_cells;) {
        int n = 1, sparse = !r->cell[i].dense;
        while (i + n < r->n_cells && cell_same(&r->cell[i], &r->cell[i + n], true, false))
            sparse += !r->cell[i + n++].dense;
        if (sparse) ok = score_plot(r, all, i, n);
        i += n;
    }
    return ok;
}

/* ---- from points ---- */

enum axis { BY_SPARSITY = COST_AXES, N_AXES };

static const double unit[COST_AXES] = { 1e9, 1e6, 1e6 };

static double at(const struct point *p, enum axis a)
{
    return a == BY_SPARSITY ? p->measured : point_cost(p, (enum cost_axis)a) / unit[a];
}

static bool takes(const struct point *p, enum axis a)
{
    return a == BY_SPARSITY || point_acts(p, (enum cost_axis)a);
}

static bool frontier_series(struct sac_plot *p, const struct point *pt, int n, int like, enum axis a)
{
    struct sac_series *s = new_series(p, strdup("frontier"), n, false);
    if (!s) return false;
    for (int i = 0; i < n; i++)
        if (pt[i].length == pt[like].length && pt[i].style == pt[like].style && pt[i].best[a])
            add_point(s, at(&pt[i], a), pt[i].score, 0, 0);
    s->dashed = true;
    return true;
}

/* Costs of one model lie close together, those of several models decades apart. */
static bool wide(const struct sac_plot *p)
{
    double lo = (double)INFINITY, hi = 0;
    for (int k = 0; k < p->n_series; k++)
        for (int i = 0; i < p->series[k].n; i++) {
            lo = fmin(lo, p->series[k].x[i]);
            hi = fmax(hi, p->series[k].x[i]);
        }
    return hi > 5 * lo;
}

static bool point_plot(const struct sac_report *r, struct sac_plots *all, const struct point *pt, int n,
                       int like, enum axis a)
{
    static const char *const name[] = { "isoflops-prefill", "isoflops-decode", "isocost-decode",
                                        "score-mean" };
    static const char *const title[] = { "Score against prefill operations",
                                         "Score against decode operations", "Score against decode reads",
                                         "Mean score" };
    static const char *const x_title[] = { "prefill of the prompt, GFLOP", "one decode step, MFLOP",
                                           "million elements read by one decode step at batch 64",
                                           "measured sparsity" };
    struct sac_plot *p = new_plot(all);
    if (!p) return false;
    p->unit_y = true;
    p->unit_x = a == BY_SPARSITY;
    p->name = file_name(text("%s-%d%s%s", name[a], pt[like].length, r->style.n > 1 ? "-" : "",
                             r->style.n > 1 ? r->style.v[pt[like].style] : ""));
    p->title = text("%s at %d tokens", title[a], pt[like].length);
    p->subtitle = text("%s prompts, mean of %d tasks", r->style.v[pt[like].style], pt[like].n_tasks);
    p->x_title = strdup(x_title[a]);
    p->y_title = strdup("score");
    if (!named(p) || (a != BY_SPARSITY && !frontier_series(p, pt, n, like, a))) return false;
    for (int m = 0; m < r->n_models; m++)
        for (int b = 0; b < r->base.n; b++) {
            struct sac_series *s = NULL;
            const struct point *dense = NULL;
            for (int i = 0; i < n; i++)
                if (pt[i].dense && pt[i].model == m && pt[i].length == pt[like].length &&
                    pt[i].style == pt[like].style)
                    dense = &pt[i];
            for (int i = 0; i < n; i++) {
                if (pt[i].model != m || pt[i].base != b || pt[i].length != pt[like].length ||
                    pt[i].style != pt[like].style || pt[i].dense || !takes(&pt[i], a))
                    continue;
                if (!s) {
                    const char *model = model_suffix(r, m);
                    s = new_series(p, text("%s%s%s", r->base.v[b], *model ? " " : "", model), n + 1, false);
                    if (!s) return false;
                    if (dense) add_point(s, at(dense, a), dense->score, 0, 0);
                }
                add_point(s, at(&pt[i], a), pt[i].score, 0, 0);
            }
        }
    p->x_log = a != BY_SPARSITY && wide(p);
    return true;
}

static bool point_plots(const struct sac_report *r, struct sac_plots *all)
{
    int n;
    struct point *pt = report_points(r, &n);
    bool ok = true;
    for (int a = 0; a < N_AXES; a++)
        for (int i = 0; ok && i < n; i++) {
            bool again = false, sparse = false;
            for (int k = 0; k < n; k++) {
                bool same = pt[k].length == pt[i].length && pt[k].style == pt[i].style;
                again |= same && k < i;
                sparse |= same && !pt[k].dense && takes(&pt[k], (enum axis)a);
            }
            if (!again && sparse) ok = point_plot(r, all, pt, n, i, (enum axis)a);
        }
    free(pt);
    return ok;
}

/* ---- error against length ---- */

enum { LENGTH_FIXED = 4, LENGTH_LEVEL = 3 }; /* columns of the table before the lengths; its sparsity */

static struct sac_plot *length_plot(struct sac_plots *all, const struct sac_table *t, double level)
{
    struct sac_plot *p = new_plot(all);
    if (!p) return NULL;
    p->x_log = true;
    p->name = text("error-length-%.2f", level);
    p->title = text("Relative error against length at sparsity %.2f", level);
    p->subtitle = strdup("(dense - sparse) / dense, mean over the tasks that are done densely");
    p->x_title = strdup("prompt tokens");
    p->y_title = strdup("relative error");
    p->tick = calloc((size_t)t->n_cols, sizeof *p->tick);
    for (int l = LENGTH_FIXED; p->tick && l < t->n_cols; l++) p->tick[p->n_ticks++] = atof(t->col[l]);
    return named(p) && p->tick ? p : NULL;
}

/* One plot for each sparsity asked for, one line for each method that was asked for it. */
static bool length_plots(const struct sac_report *r, struct sac_plots *all)
{
    struct sac_table t;
    bool ok = table_length(r, &t);
    for (int i = 0; ok && t.n_cols - LENGTH_FIXED >= 2 && i < t.n_rows; i++) {
        struct sac_plot *p = NULL;
        double level = t.cell[i * t.n_cols + LENGTH_LEVEL].value;
        bool again = false;
        for (int k = 0; k < i && !again; k++)
            again = fabs(t.cell[k * t.n_cols + LENGTH_LEVEL].value - level) < 0.005;
        for (int k = i; ok && !again && k < t.n_rows; k++) {
            const struct sac_entry *e = t.cell + k * t.n_cols;
            int n = 0;
            for (int l = LENGTH_FIXED; l < t.n_cols; l++) n += isfinite(e[l].value) != 0;
            if (n < 2 || fabs(e[LENGTH_LEVEL].value - level) >= 0.005) continue;
            if (!p) p = length_plot(all, &t, level);
            struct sac_series *s =
                !p ? NULL
                   : new_series(p, r->n_models > 1 ? text("%s %s", e[2].text, e[0].text) : strdup(e[2].text),
                                n, false);
            ok = s != NULL;
            for (int l = LENGTH_FIXED; ok && l < t.n_cols; l++)
                if (isfinite(e[l].value)) add_point(s, atof(t.col[l]), e[l].value, 0, 0);
        }
    }
    sac_table_free(&t);
    return ok;
}

enum sac_code sac_report_plots(const struct sac_report *r, struct sac_plots *out, struct sac_err *err)
{
    *out = (struct sac_plots){ 0 };
    if (score_plots(r, out) && point_plots(r, out) && length_plots(r, out)) return SAC_OK;
    sac_plots_free(out);
    return sac_fail(err, SAC_ENOMEM, "out of memory for the plots");
}
