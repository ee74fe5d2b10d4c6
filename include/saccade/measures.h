/* Everything measured of a run's lanes as one table of named rows: what `saccade run --measures` prints, its
 * JSON holds and the explorer shows. Each name says what it is: which density, which recall, against what. */
#ifndef SAC_MEASURES_H
#define SAC_MEASURES_H

#include <saccade/cost.h>
#include <saccade/trace.h>

enum { SAC_MEASURES_MAX = 96 };

/* A row of the table, of one phase where it has one: prompt rows are prefill, answer rows are decode. */
struct sac_measure {
    const char *section, *name, *help;
    int decimals;
};
/* The rows, always the same; returns how many. */
int sac_measures(struct sac_measure row[SAC_MEASURES_MAX]);

/* What the cost model says of a lane at its own densities, and what was timed. Speed-ups are over dense;
 * measured ones over lane 0, NAN where it is not dense or a prefill was shared. Densities are those of the
 * cells and cache slots read, of a layer with a sliding window as shares of what it would see without; selection
 * and metadata are added by formula, in layers where the method decides. */
struct sac_lane_cost {
    double batch;
    struct sac_prefill_cost prefill[2];   /* [enum sac_cost_form] operations */
    struct sac_decode_cost decode[2];     /* elements a step */
    struct sac_speedup model[2], measured;
};
void sac_measures_cost(const struct sac_trace *t, int lane, double batch, struct sac_lane_cost *out);

/* Values of a lane in the order of the rows; NAN where not defined or not measured. The overlap and the cost
 * are worked out on each call (milliseconds). */
void sac_measures_lane(const struct sac_trace *t, int lane, double batch, double *value);

#endif
