/* Why an answer may be wrong: what became of the evidence at the step where the answers part.
 *
 * Evidence, not proof: a head may read a token and do nothing with it. Beside it stands the test: force the
 * span and answer again. */
#ifndef UI_WHY_H
#define UI_WHY_H

#include <saccade/trace.h>

struct ui_why {
    int step, row;                /* first step that differs from dense (else 1), and its query row */
    bool differs;
    int span, item, lo, hi; /* the gold span that loses most dense mass over all heads; tokens lo..hi-1 */
    int n_spans;
    int n_lost; /* gold spans that a head looks at (a tenth of its mass) and that lose half of it or more */
    double span_mass,
        span_kept; /* dense mass on that span summed over all heads, and the part that is read */
    int layer, head;              /* the query head that loses most of it */
    double dense_mass, kept_mass; /* at that head */
    int pairs, n_pairs;           /* (layer, KV head) pairs that read at least half of the span's tokens */
    int key, rank; /* heaviest key of the span this head does not read, -1 none; rank by weight */
    double weight;
    char token[40];               /* that key's text, raw bytes */
    double sparsity;              /* largest at which the method would read that key here; NAN: unknown */
    double asked;                 /* sparsity asked for, NAN: given by parameters */
};

/* From the recorded q and k of a finished lane. False: no gold spans, nothing recorded, or cancelled. */
bool ui_why_compute(struct sac_trace *t, int lane, const atomic_bool *cancel, struct ui_why *out);
/* For ui_request: arg[0] is the lane; returns a struct ui_why. */
void *ui_why_request(struct sac_trace *t, const int *arg, const atomic_bool *cancel);
#endif
