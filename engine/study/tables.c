/* The tables of a report: scores by cell, the largest tolerable sparsity, relative error against length. */
#include "study/report_int.h"
#include "study/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a table ---- */

bool table_init(struct sac_table *t, const char *name, const char *title, const char *const *col, int n)
{
    *t = (struct sac_table){ .name = name, .title = title, .note = strdup(""), .n_cols = n };
    t->col = calloc((size_t)n + 1, sizeof *t->col);
    for (int i = 0; t->col && i < n; i++) {
        t->col[i] = strdup(col[i]);
        if (!t->col[i]) return false;
    }
    return t->note && t->col;
}

bool table_row(struct sac_table *t)
{
    if (t->n_rows == t->cap_rows) {
        int cap = t->cap_rows ? 2 * t->cap_rows : 16;
        struct sac_entry *c = realloc(t->cell, (size_t)cap * (size_t)t->n_cols * sizeof *c);
        if (!c) return false;
        t->cell = c;
        t->cap_rows = cap;
    }
    for (int i = 0; i < t->n_cols; i++)
        t->cell[t->n_rows * t->n_cols + i] = (struct sac_entry){ NULL, (double)NAN, 3 };
    t->n_rows++;
    return true;
}

bool table_text(struct sac_table *t, int col, const char *text)
{
    struct sac_entry *e = &t->cell[(t->n_rows - 1) * t->n_cols + col];
    e->text = strdup(text);
    return e->text != NULL;
}

void table_num(struct sac_table *t, int col, double v, int decimals)
{
    struct sac_entry *e = &t->cell[(t->n_rows - 1) * t->n_cols + col];
    e->value = v;
    e->decimals = decimals;
}

bool table_note(struct sac_table *t, const char *note)
{
    char *copy = strdup(note);
    if (!copy) return false;
    free(t->note);
    t->note = copy;
    return true;
}

void sac_table_free(struct sac_table *t)
{
    for (int i = 0; i < t->n_cols && t->col; i++) free(t->col[i]);
    for (int i = 0; i < t->n_rows * t->n_cols; i++) free(t->cell[i].text);
    free(t->col);
    free(t->cell);
    free(t->note);
    *t = (struct sac_table){ 0 };
}

/* ---- scores ---- */

bool table_scores(const struct sac_report *r, struct sac_table *t)
{
    static const char *const col[] = { "model",    "style",    "length",  "task",     "method", "sparsity",
                                       "measured", "n",        "score",   "low",      "high",   "sd",
                                       "dense",    "change",   "welch p", "paired p", "sign p", "parsed",
                                       "mass",     "evidence", "kl",      "nll gold" };
    bool ok = table_init(t, "scores", "Scores", col, (int)(sizeof col / sizeof *col));
    for (int i = 0; ok && i < r->n_cells; i++) {
        const struct cell *c = &r->cell[i];
        ok = table_row(t) && table_text(t, 0, report_model_name(r, c->model)) &&
             table_text(t, 1, r->style.v[c->style]) && table_text(t, 3, r->task.v[c->task]) &&
             table_text(t, 4, r->method.v[c->method]);
        if (!ok) break;
        table_num(t, 2, c->length, 0);
        table_num(t, 5, c->level, 3);
        table_num(t, 6, c->measured, 3);
        table_num(t, 7, c->n, 0);
        table_num(t, 8, c->mean, 3);
        table_num(t, 9, c->lo, 3);
        table_num(t, 10, c->hi, 3);
        if (c->n > 1) table_num(t, 11, c->sd, 3);
        if (!c->dense) {
            table_num(t, 12, c->dense_mean, 3);
            table_num(t, 13, c->diff, 3);
            table_num(t, 14, c->p_welch, 3);
            table_num(t, 15, c->p_paired, 3);
            table_num(t, 16, c->p_sign, 3);
        }
        table_num(t, 17, c->parsed, 2);
        table_num(t, 18, c->mass, 3);
        table_num(t, 19, c->evidence, 3);
        table_num(t, 20, c->kl, 3);
        table_num(t, 21, c->nll, 3);
    }
    return ok &&
           table_note(
               t,
               "low, high: Wilson's 95 % interval, made for hits and wide for partial scores; sd: deviation "
               "of the "
               "scores (n - 1). "
               "p: "
               "chance of a drop as large as this when the method does no harm, one-sided, by Welch's test, "
               "the paired t test and the sign test over the same samples. A reply that does not parse "
               "scores "
               "zero. sparsity: as asked for; measured: what was left out in the phase the method acts in, "
               "less than "
               "asked for where keys that are always read leave no choice. mass: dense "
               "attention covered; evidence: share of the answer's tokens that are read; nll gold: mean "
               "negative log-likelihood of a token of the gold answer.");
}

/* ---- the largest tolerable sparsity ---- */

struct tolerance {
    double welch, paired;
    bool can_do;
};

/* Cells at .. end are one method's levels, ascending. The largest level such that no smaller one is degraded;
 * 0 when the first is. */
static struct tolerance tolerance_of(const struct cell *c, int n)
{
    struct tolerance t = { 0, 0, c->dense_mean >= REPORT_CAN_DO };
    bool welch = true, paired = true;
    for (int i = 0; i < n; i++) {
        welch = welch && !(c[i].p_welch < REPORT_ALPHA) && isfinite(c[i].p_welch);
        paired = paired && !(c[i].p_paired < REPORT_ALPHA) && isfinite(c[i].p_paired);
        if (welch) t.welch = c[i].measured;
        if (paired) t.paired = c[i].measured;
    }
    return t;
}

static int run_of(const struct sac_report *r, int at)
{
    int n = 1;
    while (at + n < r->n_cells && !r->cell[at + n].dense &&
           cell_same(&r->cell[at], &r->cell[at + n], true, true))
        n++;
    return n;
}

static bool tolerable_row(const struct sac_report *r, struct sac_table *t, const struct cell *c,
                          const char *task)
{
    bool ok = table_row(t) && table_text(t, 0, report_model_name(r, c->model)) &&
              table_text(t, 1, r->style.v[c->style]) && table_text(t, 3, r->base.v[c->base]) &&
              table_text(t, 4, task);
    if (ok) table_num(t, 2, c->length, 0);
    return ok;
}

/* Mean and deviation over the tasks the model can do, of one model, style, length and method. */
static bool tolerable_means(const struct sac_report *r, struct sac_table *t)
{
    bool ok = true;
    char *seen = calloc((size_t)r->n_cells, 1);
    double *w = calloc(2 * (size_t)r->n_cells, sizeof *w), *p = w ? w + r->n_cells : NULL;
    ok = seen && w;
    for (int i = 0; ok && i < r->n_cells; i++) {
        if (seen[i] || r->cell[i].dense) continue;
        int n = 0;
        for (int k = i; k < r->n_cells; k += run_of(r, k)) {
            const struct cell *a = &r->cell[i], *c = &r->cell[k];
            if (c->dense || !cell_same(a, c, false, true)) continue;
            int len = run_of(r, k);
            memset(seen + k, 1, (size_t)len);
            struct tolerance tol = tolerance_of(c, len);
            if (!tol.can_do) continue;
            w[n] = tol.welch;
            p[n++] = tol.paired;
        }
        if (n < 2) continue;
        struct moments mw = stats_moments(w, n), mp = stats_moments(p, n);
        char label[64];
        snprintf(label, sizeof label, "mean of %d tasks", n);
        ok = tolerable_row(r, t, &r->cell[i], label);
        if (!ok) break;
        table_num(t, 6, mw.mean, 3);
        table_num(t, 7, mp.mean, 3);
        table_num(t, 8, sqrt(mw.var), 3);
        table_num(t, 9, sqrt(mp.var), 3);
    }
    free(seen);
    free(w);
    return ok;
}

bool table_tolerable(const struct sac_report *r, struct sac_table *t)
{
    static const char *const col[] = { "model", "style", "length", "method",          "task",
                                       "dense", "welch", "paired", "welch deviation", "paired deviation" };
    bool ok = table_init(t, "tolerable", "Largest tolerable sparsity", col, (int)(sizeof col / sizeof *col));
    for (int i = 0; ok && i < r->n_cells; i += run_of(r, i)) {
        const struct cell *c = &r->cell[i];
        if (c->dense || c->n_pairs < 2) continue;
        struct tolerance tol = tolerance_of(c, run_of(r, i));
        ok = tolerable_row(r, t, c, r->task.v[c->task]);
        if (!ok) break;
        table_num(t, 5, c->dense_mean, 3);
        if (tol.can_do) {
            table_num(t, 6, tol.welch, 3);
            table_num(t, 7, tol.paired, 3);
        } else {
            ok = table_text(t, 6, "not done densely");
        }
    }
    return ok && tolerable_means(r, t) &&
           table_note(t, "The largest tested sparsity up to which no tested level scores below dense at the "
                         "5 % level, one-sided; "
                         "0: the mildest level already does. Welch's test as in the study's first version; "
                         "the paired test on "
                         "the same samples sees smaller drops. Not significant is not the same as no loss: "
                         "with few samples "
                         "large drops go unseen. Sparsities are what the runs really left out, which "
                         "short prompts keep below what was asked for. Tasks with a dense score below 0.05 "
                         "have nothing to lose and are left out.");
}

/* ---- relative error against length ---- */

static int by_int(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* Distinct lengths, ascending; NULL when out of memory. */
static int *lengths_of(const struct sac_report *r, int *n)
{
    int *v = calloc((size_t)r->n_cells + 1, sizeof *v);
    *n = 0;
    if (!v) return NULL;
    for (int i = 0; i < r->n_cells; i++) v[i] = r->cell[i].length;
    qsort(v, (size_t)r->n_cells, sizeof *v, by_int);
    for (int i = 0; i < r->n_cells; i++)
        if (!*n || v[*n - 1] != v[i]) v[(*n)++] = v[i];
    return v;
}

/* (dense - sparse) / dense, mean over the tasks the model can do densely at that length. */
static double relative_error(const struct sac_report *r, const struct cell *like, int length)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < r->n_cells; i++) {
        const struct cell *c = &r->cell[i];
        if (c->dense || c->length != length || c->model != like->model || c->style != like->style ||
            c->base != like->base || fabs(c->level - like->level) > 1e-9 || !(c->dense_mean >= REPORT_CAN_DO))
            continue;
        sum += -c->diff / c->dense_mean;
        n++;
    }
    return n ? sum / n : (double)NAN;
}

bool table_length(const struct sac_report *r, struct sac_table *t)
{
    enum { FIXED = 4, MOST = 20 };
    int n_len;
    int *len = lengths_of(r, &n_len);
    if (!len) return false;
    if (n_len > MOST) n_len = MOST;
    char label[MOST][16];
    const char *col[FIXED + MOST] = { "model", "style", "method", "sparsity" };
    for (int i = 0; i < n_len; i++) {
        snprintf(label[i], sizeof label[i], "%d", len[i]);
        col[FIXED + i] = label[i];
    }
    bool ok = table_init(t, "length", "Relative error against length", col, FIXED + n_len);
    for (int i = 0; ok && i < r->n_cells; i++) {
        const struct cell *c = &r->cell[i];
        bool again = c->dense;
        for (int k = 0; k < i && !again; k++) {
            const struct cell *b = &r->cell[k];
            again = !b->dense && b->model == c->model && b->style == c->style && b->base == c->base &&
                    fabs(b->level - c->level) <= 1e-9;
        }
        if (again) continue;
        ok = table_row(t) && table_text(t, 0, report_model_name(r, c->model)) &&
             table_text(t, 1, r->style.v[c->style]) && table_text(t, 2, r->base.v[c->base]);
        if (ok) table_num(t, 3, c->level, 3);
        for (int l = 0; ok && l < n_len; l++) table_num(t, FIXED + l, relative_error(r, c, len[l]), 3);
    }
    free(len);
    return ok && table_note(t, "(dense - sparse) / dense, mean over the tasks whose dense score at that "
                               "length is at least 0.05; "
                               "below zero: better than dense. Tasks may differ between lengths where the "
                               "model cannot do them.");
}

/* ---- the list ---- */

static const struct {
    const char *name;
    bool (*make)(const struct sac_report *r, struct sac_table *t);
} tables[] = {
    { "scores", table_scores }, { "tolerable", table_tolerable },
    { "length", table_length }, { "cost", table_cost },
    { "law", table_law },
};
_Static_assert(sizeof tables / sizeof *tables == SAC_REPORT_TABLES, "the list in report.h counts these");

const char *sac_report_table_name(int i) { return i >= 0 && i < SAC_REPORT_TABLES ? tables[i].name : NULL; }

enum sac_code sac_report_table(const struct sac_report *r, int i, struct sac_table *out, struct sac_err *err)
{
    if (tables[i].make(r, out)) return SAC_OK;
    sac_table_free(out);
    return sac_fail(err, SAC_ENOMEM, "out of memory for the table '%s'", tables[i].name);
}
