/* Where to look first: the head and the answer row that read the most gold; see vdata.h.
 *
 * A run has thousands of rows and hundreds of heads, and most show a diagonal. What a person wants to see
 * first is the moment the answer is looked up: among heads the one with the most dense mass on the gold
 * spans, among its answer rows the one where that mass is largest, among the gold tokens the heaviest. Where
 * the answer went wrong it is the moment it was lost: the step at which it parts from dense's, the head that
 * leaves out most of the gold there, and the heaviest token of that. A prompt that says nothing about what its
 * answer needs is looked at where the method first leaves something out. */
#include "vdata.h"

#include <math.h>
#include <stdlib.h>

/* The gold mass of row `row` that is not read, and its heaviest key; 0 when all of it is read or not
 * recorded. */
static double gold_lost(struct sac_trace *t, const struct sac_trace_info *info, int lane, int layer, int head,
                        int row, float *w, struct sac_run *run, int *key)
{
    struct sac_rows rows = { .run = run, .cap = row / 2 + 2 };
    double lost = 0, heavy = 0;
    if (!sac_trace_weights(t, lane, layer, head, row, w)) return 0;
    if (!sac_trace_rows(t, lane, layer, head, row, &rows)) return 0;
    for (int g = 0; g < info->n_spans; g++)
        for (int k = info->span[g].lo; k < info->span[g].hi && k <= row; k++) {
            if (sac_rows_has(&rows, k)) continue;
            lost += (double)w[k];
            if ((double)w[k] <= heavy) continue;
            heavy = (double)w[k];
            *key = k;
        }
    return lost;
}

/* A method that answers worse than dense: the head that loses most gold where the two answers part. */
static bool where_lost(struct sac_trace *t, const struct sac_trace_info *info, int lane,
                       const struct sac_lane *la, float *w, struct ui_focus *f, const atomic_bool *cancel)
{
    struct sac_lane dense;
    int row = info->n_prompt - 1 + la->first_diff;
    double most = 0.02;
    sac_trace_lane(t, 0, &dense);
    if (lane == 0 || la->first_diff < 0 || !(la->score < dense.score - 0.001)) return false;
    struct sac_run *run = malloc(((size_t)row / 2 + 2) * sizeof *run);
    for (int i = 0; run && i < info->shape.n_layers * info->shape.n_heads; i++) {
        int layer = i / info->shape.n_heads, head = i % info->shape.n_heads, key = -1;
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) break;
        double lost = gold_lost(t, info, lane, layer, head, row, w, run, &key);
        if (lost <= most) continue;
        most = lost;
        *f = (struct ui_focus){ layer, head, row, key, true };
    }
    free(run);
    return f->lost;
}

/* No gold spans: the head that leaves out most dense mass at the first row where the method acts, and its
 * heaviest key. */
static bool where_missed(struct sac_trace *t, const struct sac_trace_info *info, int lane,
                         const struct sac_lane *la, float *w, struct ui_focus *f, const atomic_bool *cancel)
{
    bool answers = la->decode.kernel < 0.9999;
    int row = info->n_prompt - 1 + (!answers ? 0 : la->first_diff > 0 ? la->first_diff : 1);
    double most = 0;
    struct sac_run *run = lane > 0 ? malloc(((size_t)row / 2 + 2) * sizeof *run) : NULL;
    for (int i = 0; run && i < info->shape.n_layers * info->shape.n_heads; i++) {
        struct sac_rows rows = { .run = run, .cap = row / 2 + 2 };
        int layer = i / info->shape.n_heads, head = i % info->shape.n_heads, key = -1;
        double lost = 0, heavy = 0;
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) break;
        if (!sac_trace_weights(t, lane, layer, head, row, w)) continue;
        if (!sac_trace_rows(t, lane, layer, head, row, &rows)) continue;
        for (int r = 0, k = 0; k <= row; k++) {
            while (r < rows.n && k >= rows.run[r].hi) r++;
            if (r < rows.n && k >= rows.run[r].lo) continue;
            lost += (double)w[k];
            if ((double)w[k] > heavy) heavy = (double)w[k], key = k;
        }
        if (lost <= most || key < 0) continue;
        most = lost;
        *f = (struct ui_focus){ layer, head, row, key, true };
    }
    free(run);
    return most > 0;
}

struct ui_focus *ui_focus_compute(struct sac_trace *t, int lane, const atomic_bool *cancel)
{
    enum { MOST_ROWS = 96 };
    struct sac_trace_info info;
    struct sac_lane la;
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, &la);
    if (la.state != SAC_LANE_DONE || la.n_steps < 2) return NULL;
    struct ui_focus *f = calloc(1, sizeof *f);
    float *w = malloc(((size_t)info.n_prompt + (size_t)la.n_steps) * sizeof *w);
    if (f && w && (info.n_spans ? where_lost : where_missed)(t, &info, lane, &la, w, f, cancel)) {
        free(w);
        return f;
    }
    double best = 0;
    for (int i = 0; f && w && i < info.shape.n_layers * info.shape.n_heads; i++) {
        struct sac_recall r;
        int layer = i / info.shape.n_heads, head = i % info.shape.n_heads;
        if (!sac_trace_recall(t, lane, layer, head, true, &r) || !(r.evidence_mass > best)) continue;
        best = r.evidence_mass;
        f->layer = layer;
        f->head = head;
    }
    double most = 0;
    /* A method that acts in prefill alone is looked at where it acts: the last rows of the prompt, the
     * question. */
    bool in_prompt = la.prefill.kernel < 0.9999 && la.decode.kernel >= 0.9999;
    int from = in_prompt ? info.n_prompt - 64 : info.n_prompt,
        to = in_prompt ? info.n_prompt : info.n_prompt - 1 + la.n_steps;
    if (to > from + MOST_ROWS) to = from + MOST_ROWS;
    for (int row = from < 0 ? 0 : from; best > 0 && row < to; row++) {
        int heavy = -1;
        double gold = 0;
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) break;
        if (!sac_trace_weights(t, lane, f->layer, f->head, row, w)) continue;
        for (int g = 0; g < info.n_spans; g++)
            for (int k = info.span[g].lo; k < info.span[g].hi && k <= row; k++) {
                gold += (double)w[k];
                if (heavy < 0 || w[k] > w[heavy]) heavy = k;
            }
        if (gold <= most) continue;
        most = gold;
        f->row = row;
        f->key = heavy;
    }
    free(w);
    if (most > 0) return f;
    free(f);
    return NULL;
}
