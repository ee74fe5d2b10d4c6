/* The evidence at the step where an answer goes wrong: which gold span loses most, at which head and key, and
 * how sparse the method might be to keep that key. Everything comes from the recorded q and k. */
#include "why.h"

#include <saccade/method.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
    struct sac_trace *t;
    int lane, row, n_spans;
    const struct sac_span *span;
    struct sac_shape shape;
    const atomic_bool *cancel;
    float *w;                      /* [row + 1] dense weights of one head */
    struct sac_rows rows;
    float *mass, *kept;            /* [layers][heads][spans] */
    unsigned char *reads;          /* [layers][kv heads][spans] */
};

static bool stopped(const struct work *w)
{
    return w->cancel && atomic_load(w->cancel);
}

static size_t at_of(const struct work *w, int layer, int head, int span)
{
    return ((size_t)layer * (size_t)w->shape.n_heads + (size_t)head) * (size_t)w->n_spans + (size_t)span;
}

static bool look_at_head(struct work *w, int layer, int head)
{
    int kv = head / (w->shape.n_heads / w->shape.n_kv_heads);
    if (!sac_trace_weights(w->t, w->lane, layer, head, w->row, w->w) ||
        !sac_trace_rows(w->t, w->lane, layer, head, w->row, &w->rows))
        return false;
    for (int i = 0; i < w->n_spans; i++) {
        double mass = 0, kept = 0;
        int n = 0;
        for (int k = w->span[i].lo; k < w->span[i].hi && k <= w->row; k++) {
            bool has = sac_rows_has(&w->rows, k);
            mass += (double)w->w[k];
            kept += has ? (double)w->w[k] : 0;
            n += has;
        }
        w->mass[at_of(w, layer, head, i)] = (float)mass;
        w->kept[at_of(w, layer, head, i)] = (float)kept;
        size_t pair = ((size_t)layer * (size_t)w->shape.n_kv_heads + (size_t)kv) * (size_t)w->n_spans;
        w->reads[pair + (size_t)i] |= 2 * n >= w->span[i].hi - w->span[i].lo;
    }
    return true;
}

static void choose_span(struct work *w, struct ui_why *y)
{
    double most = -1;
    for (int i = 0; i < w->n_spans; i++) {
        double mass = 0, kept = 0;
        bool looked_at = false; /* a span no head turns to at this step cannot be lost at it */
        for (int l = 0; l < w->shape.n_layers; l++)
            for (int h = 0; h < w->shape.n_heads; h++) {
                mass += (double)w->mass[at_of(w, l, h, i)], kept += (double)w->kept[at_of(w, l, h, i)];
                looked_at = looked_at || w->mass[at_of(w, l, h, i)] >= 0.1f;
            }
        y->n_lost += looked_at && kept < mass / 2;
        if (mass - kept <= most) continue;
        most = mass - kept;
        y->span = i;
        y->span_mass = mass;
        y->span_kept = kept;
    }
    y->lo = w->span[y->span].lo;
    y->hi = w->span[y->span].hi;
}

static void choose_head(struct work *w, struct ui_why *y)
{
    double most = -1;
    y->n_pairs = w->shape.n_layers * w->shape.n_kv_heads;
    for (int p = 0; p < y->n_pairs; p++)
        y->pairs += w->reads[(size_t)p * (size_t)w->n_spans + (size_t)y->span];
    for (int l = 0; l < w->shape.n_layers; l++)
        for (int h = 0; h < w->shape.n_heads; h++) {
            size_t at = at_of(w, l, h, y->span);
            double lost = (double)w->mass[at] - (double)w->kept[at];
            if (lost <= most) continue;
            most = lost;
            y->layer = l;
            y->head = h;
            y->dense_mass = (double)w->mass[at];
            y->kept_mass = (double)w->kept[at];
        }
}

/* The heaviest key of the span that the head does not read. */
static void choose_key(struct work *w, struct ui_why *y)
{
    y->key = -1;
    if (!look_at_head(w, y->layer, y->head)) return;
    for (int k = y->lo; k < y->hi && k <= w->row; k++)
        if (!sac_rows_has(&w->rows, k) && (y->key < 0 || w->w[k] > w->w[y->key])) y->key = k;
    if (y->key < 0) return;
    y->weight = (double)w->w[y->key];
    int n = sac_trace_token(w->t, w->lane, y->key, y->token, (int)sizeof y->token - 1);
    y->token[n < (int)sizeof y->token ? n : (int)sizeof y->token - 1] = 0;
    y->rank = 1;
    for (int k = 0; k <= w->row; k++) y->rank += w->w[k] > w->w[y->key];
}

/* Bisection over the method's sparsity: reading more keys never takes one away. */
static void choose_sparsity(struct work *w, struct ui_why *y, const char *text)
{
    struct sac_spec spec;
    char name[200];
    y->sparsity = y->asked = (double)NAN;
    if (sac_spec_parse(&spec, text, NULL) != SAC_OK || spec.n != 1) return;
    y->asked = spec.part[0].sparsity;
    if (y->key < 0 || spec.part[0].m->oracle) return;
    double lo = -1, hi = y->asked == y->asked ? y->asked : 1;
    for (int i = 0; i < 8 && !stopped(w); i++) {
        double mid = lo < 0 ? hi / 2 : (lo + hi) / 2;
        snprintf(name, sizeof name, "%s:sparsity=%.4f", spec.part[0].m->name, mid);
        if (sac_trace_preview(w->t, w->lane, name, y->layer, y->head, w->row, &w->rows, NULL, NULL) != SAC_OK)
            return;
        if (sac_rows_has(&w->rows, y->key)) lo = mid;
        else hi = mid;
    }
    if (lo >= 0) y->sparsity = lo;
}

bool ui_why_compute(struct sac_trace *t, int lane, const atomic_bool *cancel, struct ui_why *out)
{
    struct sac_trace_info info;
    struct work w = { .t = t, .lane = lane, .cancel = cancel };
    struct sac_lane *l = malloc(sizeof *l);
    if (!l) return false;
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, l);
    memset(out, 0, sizeof *out);
    w.span = info.span;
    w.n_spans = info.n_spans;
    w.shape = info.shape;
    out->n_spans = info.n_spans;
    out->differs = l->first_diff >= 0;
    /* A method that prunes the cache acts after the prompt, so its first own step is 1. */
    bool sparse = l->decode.read == l->decode.read && l->decode.read < 0.999;
    out->step = out->differs ? l->first_diff : sparse ? 1 : 0;
    if (out->step >= l->n_steps) out->step = l->n_steps > 0 ? l->n_steps - 1 : 0;
    out->row = w.row = info.n_prompt - 1 + out->step;
    size_t n = (size_t)info.shape.n_layers * (size_t)info.shape.n_heads * (size_t)info.n_spans;
    bool ok = info.n_spans > 0 && w.row < sac_trace_n_rows(t, lane, info.shape.n_layers - 1);
    if (ok) {
        w.w = malloc(((size_t)w.row + 1) * sizeof *w.w);
        w.rows =
            (struct sac_rows){ malloc(((size_t)w.row / 2 + 2) * sizeof(struct sac_run)), 0, w.row / 2 + 2 };
        w.mass = calloc(n, sizeof *w.mass);
        w.kept = calloc(n, sizeof *w.kept);
        w.reads = calloc(n, 1);
        ok = w.w && w.rows.run && w.mass && w.kept && w.reads;
    }
    for (int i = 0; ok && i < info.shape.n_layers; i++)
        for (int h = 0; ok && h < info.shape.n_heads; h++) ok = !stopped(&w) && look_at_head(&w, i, h);
    if (ok) {
        choose_span(&w, out);
        choose_head(&w, out);
        choose_key(&w, out);
        choose_sparsity(&w, out, l->spec);
        out->item = info.span_item ? info.span_item[out->span] : out->span;
        ok = !stopped(&w);
    }
    free(w.w);
    free(w.rows.run);
    free(w.mass);
    free(w.kept);
    free(w.reads);
    free(l);
    return ok;
}

void *ui_why_request(struct sac_trace *t, const int *arg, const atomic_bool *cancel)
{
    struct ui_why *y = malloc(sizeof *y);
    if (y && ui_why_compute(t, arg[0], cancel, y)) return y;
    free(y);
    return NULL;
}
