/* Score against cost: one point for each model, length and method level, and which points lie on the
 * frontier.
 *
 * Scores are means over tasks, and only over tasks that every point of that length and style has, so that
 * points compare. Prefill is counted in operations and decode in elements read, as in the study's later
 * versions. */
#include "study/report_int.h"

#include <saccade/cost.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Is task measured by every (model, method level) of this style and length that measures anything? */
static bool common_task(const struct sac_report *r, int style, int length, int task)
{
    for (int i = 0; i < r->n_cells; i++) {
        const struct cell *c = &r->cell[i];
        if (c->style != style || c->length != length) continue;
        bool has = false;
        for (int k = 0; k < r->n_cells && !has; k++) {
            const struct cell *o = &r->cell[k];
            has = o->style == style && o->length == length && o->task == task && o->model == c->model &&
                  o->method == c->method;
        }
        if (!has) return false;
    }
    return true;
}

/* Costs by the exact form: causal cells, selection included. The read density holds the metadata already. */
static void cost_of(const struct sac_report *r, struct point *p)
{
    const struct sac_shape *s = &r->model[p->model].shape;
    struct sac_spec spec;
    bool known = sac_spec_parse(&spec, r->method.v[p->method], NULL) == SAC_OK &&
                 sac_spec_resolve(&spec, s, p->length, NULL) == SAC_OK;
    const struct sac_part *pre = known ? sac_spec_prefill(&spec) : NULL,
                          *evict = known ? sac_spec_evict(&spec) : NULL;
    double select = (pre ? sac_cost_selection(pre, s, p->length) : 0) +
                    (evict && evict != pre ? sac_cost_selection(evict, s, p->length) : 0);
    double dense = p->in_prefill && isfinite(p->prefill) ? p->prefill : 1;
    double read = !p->in_decode ? 1 : isfinite(p->read) ? p->read : isfinite(p->decode) ? p->decode : 1;
    p->prefill_flops = sac_cost_prefill(s, SAC_COST_EXACT, p->length, dense, select, 1).total;
    p->decode_flops = sac_cost_step(s, p->length, read);
    p->reads1 = sac_cost_decode(s, SAC_COST_EXACT, p->length, read, 0, 1).total;
    p->reads64 = sac_cost_decode(s, SAC_COST_EXACT, p->length, read, 0, 64).total;
}

double point_cost(const struct point *p, enum cost_axis a)
{
    const double cost[COST_AXES] = { p->prefill_flops, p->decode_flops, p->reads64 };
    return cost[a];
}

/* A method that leaves a phase alone has no place in a comparison of that phase: it would only be dense once
 * more, with its score moved by the other phase. */
bool point_acts(const struct point *p, enum cost_axis a)
{
    return p->dense || (a == PREFILL_FLOPS ? p->in_prefill : p->in_decode);
}

/* A point is on the frontier when none that acts in the phase is both as cheap and as good, and one of the
 * two better. */
static void frontier(struct point *p, int n, enum cost_axis a)
{
    for (int i = 0; i < n; i++) {
        bool best = point_acts(&p[i], a);
        double ci = point_cost(&p[i], a);
        for (int k = 0; k < n && best; k++) {
            double ck = point_cost(&p[k], a);
            if (k == i || p[k].style != p[i].style || p[k].length != p[i].length || !point_acts(&p[k], a))
                continue;
            best = !((ck < ci && p[k].score >= p[i].score) || (ck <= ci && p[k].score > p[i].score));
        }
        p[i].best[a] = best;
    }
}

struct point *report_points(const struct sac_report *r, int *n)
{
    *n = 0;
    struct point *p = calloc((size_t)r->n_cells + 1, sizeof *p);
    if (!p) return NULL;
    for (int i = 0; i < r->n_cells; i++) {
        const struct cell *c = &r->cell[i];
        struct point *q = NULL;
        if (!common_task(r, c->style, c->length, c->task)) continue;
        for (int k = 0; k < *n && !q; k++)
            if (p[k].model == c->model && p[k].style == c->style && p[k].length == c->length &&
                p[k].method == c->method)
                q = &p[k];
        if (!q) {
            q = &p[(*n)++];
            *q = (struct point){ .model = c->model,
                                 .style = c->style,
                                 .length = c->length,
                                 .base = c->base,
                                 .method = c->method,
                                 .in_prefill = r->in_prefill[c->method],
                                 .in_decode = r->in_decode[c->method],
                                 .dense = c->dense };
        }
        double w = 1.0 / ++q->n_tasks;
        q->level += (c->level - q->level) * w;
        q->measured += (c->measured - q->measured) * w;
        q->score += (c->mean - q->score) * w;
        q->prefill += (c->prefill - q->prefill) * w;
        q->decode += (c->decode - q->decode) * w;
        q->read += (c->read - q->read) * w;
    }
    for (int i = 0; i < *n; i++) cost_of(r, &p[i]);
    for (int a = 0; a < COST_AXES; a++) frontier(p, *n, (enum cost_axis)a);
    if (!*n) {
        free(p);
        return NULL;
    }
    return p;
}

bool table_cost(const struct sac_report *r, struct sac_table *t)
{
    static const char *const col[] = { "model",
                                       "style",
                                       "length",
                                       "method",
                                       "sparsity",
                                       "measured",
                                       "tasks",
                                       "score",
                                       "prefill GFLOP",
                                       "decode MFLOP",
                                       "reads M, batch 1",
                                       "reads M, batch 64",
                                       "best prefill",
                                       "best decode FLOP",
                                       "best decode reads" };
    bool ok = table_init(t, "cost", "Score against cost", col, (int)(sizeof col / sizeof *col));
    int n;
    struct point *p = report_points(r, &n);
    for (int i = 0; ok && i < n; i++) {
        ok = table_row(t) && table_text(t, 0, report_model_name(r, p[i].model)) &&
             table_text(t, 1, r->style.v[p[i].style]) &&
             table_text(t, 3, p[i].dense ? "dense" : r->base.v[p[i].base]) &&
             (!p[i].best[PREFILL_FLOPS] || table_text(t, 12, "yes")) &&
             (!p[i].best[DECODE_FLOPS] || table_text(t, 13, "yes")) &&
             (!p[i].best[DECODE_READS] || table_text(t, 14, "yes"));
        if (!ok) break;
        table_num(t, 2, p[i].length, 0);
        table_num(t, 4, p[i].level, 3);
        table_num(t, 5, p[i].measured, 3);
        table_num(t, 6, p[i].n_tasks, 0);
        table_num(t, 7, p[i].score, 3);
        table_num(t, 8, p[i].prefill_flops / 1e9, 2);
        table_num(t, 9, p[i].decode_flops / 1e6, 2);
        table_num(t, 10, p[i].reads1 / 1e6, 2);
        table_num(t, 11, p[i].reads64 / 1e6, 2);
    }
    free(p);
    return ok &&
           table_note(t,
                      n ? "score: mean over the tasks that all points of a length share. Prefill in "
                          "operations of the whole prompt, decode in operations of one step and in elements "
                          "read by one step, weights included, at batch 1 and 64; selection is counted. Only "
                          "attention scores and values are saved, not projections. best: on the frontier of "
                          "that length, over all models: no other point that acts in the phase is cheaper "
                          "and at least as good (isoFLOPS: operations; isoCost: prefill operations, decode "
                          "reads at batch 64)."
                        : "No task was measured under all methods, so there is nothing to compare.");
}
