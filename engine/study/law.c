/* The log-linear law of the study's first version, fitted to a user's results:
 *
 *     logit(score) = eps + delta(task) + alpha ln(parameters) + beta ln(length) + gamma ln(compression)
 *
 * with compression = 1 / (1 - sparsity). For each method and each axis with at least three values, the
 * largest value is held out, the law is fitted to the rest and asked to predict it. Scores of 0 and 1 have no
 * logit: they are moved half a sample inwards. */
#include "study/report_int.h"
#include "study/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE, LENGTH, COMPRESSION, AXES, MAX_TASKS = 24 };
static const char *const axis_name[AXES] = { "size", "length", "compression" };

struct law_point {
    int task;
    double x[AXES], score, logit;
    double held[AXES]; /* by what values are held out: as x, but the sparsity asked for, which cells share */
};

struct fit {
    double coef[1 + MAX_TASKS + AXES]; /* eps, delta by task, alpha, beta, gamma; NAN: not in the fit */
    double r2, mae;
    int n_fit, n_held;
};

/* Cells of one style and method, and dense as compression 1. Returns how many. */
static int collect(const struct sac_report *r, int style, int base, struct law_point *out)
{
    int n = 0;
    for (int i = 0; i < r->n_cells; i++) {
        const struct cell *c = &r->cell[i];
        bool has = false;
        for (int k = 0; c->dense && k < r->n_cells && !has; k++)
            has = r->cell[k].base == base && !r->cell[k].dense && cell_same(c, &r->cell[k], true, false);
        if (c->style != style || !(c->dense ? has : c->base == base) || c->task >= MAX_TASKS ||
            c->measured >= 1)
            continue;
        double half = 0.5 / c->n, p = fmin(fmax(c->mean, half), 1 - half);
        struct law_point *q = &out[n++];
        *q = (struct law_point){ .task = c->task,
                                 .score = c->mean,
                                 .logit = log(p / (1 - p)),
                                 .x = { log(fmax(1, r->model[c->model].n_params)), log(c->length),
                                        -log(1 - c->measured) } };
        memcpy(q->held, q->x, sizeof q->held);
        q->held[COMPRESSION] = c->level;
    }
    return n;
}

static int distinct(const struct law_point *p, int n, int axis, double *largest)
{
    int count = 0;
    *largest = -(double)INFINITY;
    for (int i = 0; i < n; i++) {
        bool again = false;
        for (int k = 0; k < i && !again; k++) again = fabs(p[k].held[axis] - p[i].held[axis]) < 1e-9;
        count += !again;
        *largest = fmax(*largest, p[i].held[axis]);
    }
    return count;
}

/* The design row of a point for the columns in use. */
static void design(const struct law_point *p, const int *col, int n_col, double *row)
{
    for (int k = 0; k < n_col; k++) {
        int c = col[k];
        row[k] = c == 0 ? 1 : c <= MAX_TASKS ? (double)(p->task == c - 1) : p->x[c - 1 - MAX_TASKS];
    }
}

static bool fit_points(const struct law_point *p, int n, int held, double edge, struct fit *f)
{
    int col[1 + MAX_TASKS + AXES], n_col = 0, first = -1;
    double lo[AXES], hi[AXES], *x = NULL, *y, *b;
    bool task[MAX_TASKS] = { false };
    *f = (struct fit){ .mae = (double)NAN };
    for (int a = 0; a < AXES; a++) lo[a] = (double)INFINITY, hi[a] = -(double)INFINITY;
    for (int i = 0; i < n; i++) {
        if (p[i].held[held] > edge - 1e-9) {
            f->n_held++;
            continue;
        }
        f->n_fit++;
        task[p[i].task] = true;
        if (first < 0) first = p[i].task;
        for (int a = 0; a < AXES; a++) lo[a] = fmin(lo[a], p[i].x[a]), hi[a] = fmax(hi[a], p[i].x[a]);
    }
    col[n_col++] = 0;
    for (int t = 0; t < MAX_TASKS; t++)
        if (task[t] && t != first) col[n_col++] = 1 + t;
    for (int a = 0; a < AXES; a++)
        if (hi[a] - lo[a] > 1e-9) col[n_col++] = 1 + MAX_TASKS + a;
    if (f->n_fit <= n_col) return false;
    size_t rows = (size_t)f->n_fit;
    x = calloc(rows * (size_t)n_col + rows + 2 * (size_t)n_col, sizeof *x);
    if (!x) return false;
    y = x + rows * (size_t)n_col;
    b = y + rows;
    double *one = b + n_col, mean = 0, total = 0, rest = 0, miss = 0;
    int at = 0, scored = 0;
    for (int i = 0; i < n; i++)
        if (p[i].held[held] <= edge - 1e-9) {
            design(&p[i], col, n_col, x + at * n_col);
            mean += p[i].logit / f->n_fit;
            y[at++] = p[i].logit;
        }
    bool ok = stats_least_squares(x, y, f->n_fit, n_col, b);
    for (int i = 0; ok && i < n; i++) {
        design(&p[i], col, n_col, one);
        double z = 0;
        for (int k = 0; k < n_col; k++) z += one[k] * b[k];
        if (p[i].held[held] <= edge - 1e-9) {
            total += (p[i].logit - mean) * (p[i].logit - mean);
            rest += (p[i].logit - z) * (p[i].logit - z);
        } else if (task[p[i].task]) {
            miss += fabs(1 / (1 + exp(-z)) - p[i].score);
            scored++;
        }
    }
    f->r2 = total > 0 ? 1 - rest / total : (double)NAN;
    if (scored) f->mae = miss / scored;
    for (int k = 0; k < 1 + MAX_TASKS + AXES; k++) f->coef[k] = (double)NAN;
    for (int k = 0; ok && k < n_col; k++) f->coef[col[k]] = b[k];
    if (first >= 0) f->coef[1 + first] = 0;
    free(x);
    return ok;
}

static bool law_row(const struct sac_report *r, struct sac_table *t, int style, int base, int axis,
                    const struct fit *f)
{
    bool ok = table_row(t) && table_text(t, 0, r->base.v[base]) && table_text(t, 1, r->style.v[style]) &&
              table_text(t, 2, axis_name[axis]);
    if (!ok) return false;
    table_num(t, 3, f->n_fit, 0);
    table_num(t, 4, f->n_held, 0);
    table_num(t, 5, f->r2, 2);
    table_num(t, 6, f->mae, 3);
    table_num(t, 7, f->coef[0], 2);
    for (int a = 0; a < AXES; a++) table_num(t, 8 + a, f->coef[1 + MAX_TASKS + a], 2);
    for (int k = 0; k < r->task.n && k < MAX_TASKS; k++) table_num(t, 8 + AXES + k, f->coef[1 + k], 2);
    return true;
}

bool table_law(const struct sac_report *r, struct sac_table *t)
{
    const char *col[8 + AXES + MAX_TASKS] = { "method",
                                              "style",
                                              "held out",
                                              "n fit",
                                              "n held",
                                              "R2",
                                              "held-out error",
                                              "eps",
                                              "alpha (size)",
                                              "beta (length)",
                                              "gamma (compression)" };
    int n_tasks = r->task.n < MAX_TASKS ? r->task.n : MAX_TASKS;
    for (int k = 0; k < n_tasks; k++) col[8 + AXES + k] = r->task.v[k];
    bool ok = table_init(t, "law", "Log-linear law", col, 8 + AXES + n_tasks);
    struct law_point *p = calloc((size_t)r->n_cells + 1, sizeof *p);
    ok = ok && p;
    for (int s = 0; ok && s < r->style.n; s++)
        for (int b = 0; ok && b < r->base.n; b++) {
            if (!strcmp(r->base.v[b], "dense")) continue;
            int n = collect(r, s, b, p);
            for (int a = 0; ok && a < AXES; a++) {
                double edge;
                struct fit f;
                if (distinct(p, n, a, &edge) < 3 || !fit_points(p, n, a, edge, &f)) continue;
                ok = law_row(r, t, s, b, a, &f);
            }
        }
    free(p);
    return ok && table_note(t, t->n_rows ? "logit(score) = eps + delta(task) + alpha ln(parameters) + beta "
                                           "ln(length) + gamma ln(1 / (1 - "
                                           "sparsity)), fitted without the largest value of one axis; R2 in "
                                           "logits over the fitted cells, "
                                           "held-out error as mean absolute difference of scores on that "
                                           "value. The first task's delta "
                                           "is 0. One gamma for all tasks cannot say that tasks differ in "
                                           "what they tolerate: read it "
                                           "as a summary, not as a prediction for your own prompts."
                                         : "A fit needs at least three values of one axis (model size, "
                                           "length or sparsity) and more "
                                           "cells than coefficients.");
}
