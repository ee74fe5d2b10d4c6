/* Why a key is read or left out, and what another budget would change; see vdata.h.
 *
 * The method decides again from the recorded q and k, with its budget scaled: at a few fixed multiples for
 * the table, and by bisection for the budget at which this key comes in or falls out. That says how close the
 * decision was for any method, whatever it scores by. It is the selection of one row alone: with another
 * budget the answer so far might have been another one, which only a run can tell. */
#include "vdata.h"

#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool stopped(const atomic_bool *cancel)
{
    return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

struct probe {
    struct sac_trace *t;
    const atomic_bool *cancel;
    const struct sac_shape *shape;
    int n_prompt, lane, layer, head, row, key;
    char base[200];
    struct sac_run *run;
};

/* The spec with its budgets times f: parts given by sparsity keep that form. */
static bool scaled(const struct probe *p, double f, char *out, size_t cap)
{
    struct sac_spec spec;
    bool by_share = false;
    if (sac_spec_parse(&spec, p->base, NULL) != SAC_OK) return false;
    for (int i = 0; i < spec.n; i++) {
        double s = spec.part[i].sparsity;
        if (isnan(s)) continue;
        s = 1 - (1 - s) * f;
        spec.part[i].sparsity = s < 0.001 ? 0.001 : s > 0.999 ? 0.999 : s;
        by_share = true;
    }
    if (!by_share) return ui_spec_scale(p->base, p->shape, p->n_prompt, f, out, cap);
    ui_spec_text(&spec, out, cap);
    return true;
}

struct found {
    int keys;
    double mass;
    bool read;
};

static bool look(const struct probe *p, double f, struct found *out, char *spec, size_t cap)
{
    struct sac_rows rows = { .run = p->run, .cap = p->row / 2 + 2 };
    struct sac_recall r;
    if (stopped(p->cancel)) return false;
    if (f == 1)
        snprintf(spec, cap, "%s", p->base);
    else if (!scaled(p, f, spec, cap))
        return false;
    if (sac_trace_preview(p->t, p->lane, spec, p->layer, p->head, p->row, &rows, &r, NULL) != SAC_OK)
        return false;
    *out = (struct found){ sac_rows_count(&rows), r.mass, sac_rows_has(&rows, p->key) };
    return true;
}

/* The budget where the key comes in (it is left out now) or from which it falls out (it is read now). */
static void turn(const struct probe *p, struct ui_key_why *w, const struct found *now)
{
    double in = 1, out = 1;
    struct found f = *now, at_in = *now;
    char spec[200], spec_in[200] = "";
    bool up = !now->read;
    for (int i = 0; i < 7 && f.read == now->read; i++) {
        double *edge = up ? &out : &in, *far = up ? &in : &out;
        *edge = *far;
        *far *= up ? 2 : 0.5;
        struct found before = f;
        if (!look(p, *far, &f, spec, sizeof spec)) return;
        if (!up && f.read) {
            at_in = f;
            snprintf(spec_in, sizeof spec_in, "%s", spec);
        }
        if (f.read == now->read && before.keys == f.keys && i > 0) return; /* the budget is at its end */
    }
    if (f.read == now->read) return;
    if (up) {
        at_in = f;
        snprintf(spec_in, sizeof spec_in, "%s", spec);
    }
    for (int i = 0; i < 6 && fabs(in / out - 1) > 0.02; i++) {
        double mid = sqrt(in * out);
        if (!look(p, mid, &f, spec, sizeof spec)) return;
        if (!f.read) {
            out = mid;
            continue;
        }
        in = mid;
        at_in = f;
        snprintf(spec_in, sizeof spec_in, "%s", spec);
    }
    w->keys_needed = at_in.keys;
    w->factor_needed = in;
    snprintf(w->spec_needed, sizeof w->spec_needed, "%s", *spec_in ? spec_in : p->base);
}

/* The heads of a group: their weight on the key and whether they read it. The one with the largest weight is
 * spoken of, since it has most to lose. False: not recorded, or cancelled. */
static bool group_heads(struct probe *p, struct ui_key_why *w, int h0, int nh)
{
    float *row = malloc(((size_t)p->row + 1) * sizeof *row), best = -1;
    struct sac_run *first = malloc(((size_t)p->row / 2 + 2) * sizeof *first);
    bool ok = row && first;
    int n_first = 0;
    w->h0 = h0;
    w->n_heads = nh < UI_WHY_HEADS ? nh : UI_WHY_HEADS;
    w->shared = true;
    for (int i = 0; ok && i < w->n_heads; i++) {
        struct sac_rows rows = { .run = p->run, .cap = p->row / 2 + 2 };
        ok = !stopped(p->cancel) && sac_trace_weights(p->t, p->lane, p->layer, h0 + i, p->row, row) &&
             sac_trace_rows(p->t, p->lane, p->layer, h0 + i, p->row, &rows);
        if (!ok) break;
        size_t bytes = (size_t)rows.n * sizeof *first;
        w->weight[i] = row[p->key];
        w->head_reads[i] = sac_rows_has(&rows, p->key);
        w->shared = w->shared && (i == 0 || (rows.n == n_first && !memcmp(first, p->run, bytes)));
        if (i == 0) memcpy(first, p->run, bytes), n_first = rows.n;
        if (w->weight[i] > best) best = w->weight[i], p->head = h0 + i;
    }
    free(row);
    free(first);
    return ok;
}

struct ui_key_why *ui_key_why_compute(struct sac_trace *t, int lane, int layer, int head, int row, int key,
                                      const atomic_bool *cancel)
{
    static const double factor[UI_WHY_BUDGETS] = { 0.25, 0.5, 1, 2, 4 };
    struct sac_trace_info info;
    struct sac_lane la;
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, &la);
    int per = info.shape.n_heads / (info.shape.n_kv_heads > 0 ? info.shape.n_kv_heads : 1);
    struct probe p = { .t = t,
                       .cancel = cancel,
                       .shape = &info.shape,
                       .n_prompt = info.n_prompt,
                       .lane = lane,
                       .layer = layer,
                       .head = head < 0 ? (-1 - head) * per : head,
                       .row = row,
                       .key = key };
    struct ui_key_why *w = calloc(1, sizeof *w);
    struct found f, now = { 0, 0, false };
    char spec[200];
    if (row < 0 || key < 0 || key > row) {
        free(w);
        return NULL;
    }
    p.run = malloc(((size_t)row / 2 + 2) * sizeof *p.run);
    snprintf(p.base, sizeof p.base, "%s", la.spec);
    bool ok =
        w && p.run && (head >= 0 || group_heads(&p, w, p.head, per)) && look(&p, 1, &now, spec, sizeof spec);
    if (ok) {
        w->lane = lane;
        w->layer = layer;
        w->head = p.head;
        w->row = row;
        w->key = key;
        w->read = now.read;
        w->keys = now.keys;
        w->acts = now.keys <= row;
        for (int i = 0; i < UI_WHY_BUDGETS && w->acts; i++) {
            if (!look(&p, factor[i], &f, spec, sizeof spec)) continue;
            w->budget[w->n_budgets].factor = factor[i];
            w->budget[w->n_budgets].keys = f.keys;
            w->budget[w->n_budgets].mass = (float)f.mass;
            w->budget[w->n_budgets++].read = f.read;
        }
        if (w->acts) turn(&p, w, &now);
        ok = !stopped(cancel);
    }
    free(p.run);
    if (ok) return w;
    free(w);
    return NULL;
}
