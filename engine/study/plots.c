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
    p->unit_y = true;
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
    struct sac_series *s = NULL;
    for (int i = 0; i < n; i++) {
        if (c[i].dense) continue;
        if (!s || c[i].base != c[i - 1].base || c[i - 1].dense) {
            s = new_series(p, strdup(r->base.v[c[i].base]), n + 1, true);
            if (!s) return false;
            if (dense) add_point(s, 0, dense->mean, dense->lo, dense->hi);
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

enum axis { BY_SPARSITY, BY_FLOPS, BY_READS };

static double at(const struct point *p, enum axis a)
{
    return a == BY_SPARSITY ? p->measured : a == BY_FLOPS ? p->flops / 1e9 : p->reads64 / 1e6;
}

static bool takes(const struct point *p, enum axis a)
{
    return p->dense || a == BY_SPARSITY || (a == BY_FLOPS ? p->in_prefill : p->in_decode);
}

static int by_cost(const void *a, const void *b)
{
    const struct point *x = *(const struct point *const *)a, *y = *(const struct point *const *)b;
    double d = x->flops - y->flops;
    return d < 0 ? -1 : d > 0;
}

static int by_reads(const void *a, const void *b)
{
    const struct point *x = *(const struct point *const *)a, *y = *(const struct point *const *)b;
    double d = x->reads64 - y->reads64;
    return d < 0 ? -1 : d > 0;
}

static bool frontier_series(struct sac_plot *p, const struct point *pt, int n, int like, enum axis a)
{
    const struct point **on = calloc((size_t)n, sizeof *on);
    int k = 0;
    if (!on) return false;
    for (int i = 0; i < n; i++)
        if (pt[i].length == pt[like].length && pt[i].style == pt[like].style && takes(&pt[i], a) &&
            (a == BY_FLOPS ? pt[i].best_flops : pt[i].best_reads))
            on[k++] = &pt[i];
    qsort(on, (size_t)k, sizeof *on, a == BY_FLOPS ? by_cost : by_reads);
    struct sac_series *s = k ? new_series(p, strdup("frontier"), k, false) : NULL;
    for (int i = 0; s && i < k; i++) add_point(s, at(on[i], a), on[i]->score, 0, 0);
    if (s) s->dashed = true;
    free(on);
    return !k || s;
}

static bool point_plot(const struct sac_report *r, struct sac_plots *all, const struct point *pt, int n,
                       int like, enum axis a)
{
    static const char *const name[] = { "score-mean", "isoflops", "isocost" };
    static const char *const title[] = { "Mean score", "Score against prefill operations",
                                         "Score against decode reads" };
    static const char *const x_title[] = { "measured sparsity", "prefill, GFLOP",
                                           "million elements read by a decode step at batch 64" };
    struct sac_plot *p = new_plot(all);
    if (!p) return false;
    p->unit_y = true;
    p->x_log = a != BY_SPARSITY;
    p->name = file_name(text("%s-%d%s%s", name[a], pt[like].length, r->style.n > 1 ? "-" : "",
                             r->style.n > 1 ? r->style.v[pt[like].style] : ""));
    p->title = text("%s at %d tokens", title[a], pt[like].length);
    p->subtitle = text("%s prompts, mean of %d tasks", r->style.v[pt[like].style], pt[like].n_tasks);
    p->x_title = strdup(x_title[a]);
    p->y_title = strdup("score");
    if (!named(p)) return false;
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
    return a == BY_SPARSITY || frontier_series(p, pt, n, like, a);
}

static bool point_plots(const struct sac_report *r, struct sac_plots *all)
{
    int n;
    struct point *pt = report_points(r, &n);
    bool ok = true;
    for (int a = 0; a < 3; a++)
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

static bool length_plot(const struct sac_report *r, struct sac_plots *all)
{
    struct sac_table t;
    enum { FIXED = 4 };
    bool ok = table_length(r, &t);
    if (ok && t.n_cols - FIXED >= 2 && t.n_rows) {
        struct sac_plot *p = new_plot(all);
        ok = p != NULL;
        if (ok) {
            p->x_log = true;
            p->name = strdup("error-length");
            p->title = strdup("Relative error against length");
            p->subtitle = strdup("(dense - sparse) / dense, mean over tasks");
            p->x_title = strdup("prompt tokens");
            p->y_title = strdup("relative error");
            ok = named(p);
        }
        for (int i = 0; ok && i < t.n_rows; i++) {
            const struct sac_entry *e = t.cell + i * t.n_cols;
            struct sac_series *s =
                new_series(p,
                           r->n_models > 1 ? text("%s %s %.2f", e[0].text, e[2].text, e[3].value)
                                           : text("%s %.2f", e[2].text, e[3].value),
                           t.n_cols, false);
            ok = s != NULL;
            for (int l = FIXED; ok && l < t.n_cols; l++)
                if (isfinite(e[l].value)) add_point(s, atof(t.col[l]), e[l].value, 0, 0);
        }
    }
    sac_table_free(&t);
    return ok;
}

enum sac_code sac_report_plots(const struct sac_report *r, struct sac_plots *out, struct sac_err *err)
{
    *out = (struct sac_plots){ 0 };
    if (score_plots(r, out) && point_plots(r, out) && length_plot(r, out)) return SAC_OK;
    sac_plots_free(out);
    return sac_fail(err, SAC_ENOMEM, "out of memory for the plots");
}
