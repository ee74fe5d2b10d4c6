/* What the parts of bench share: bench.c (runs), bench_ceiling.c (what the machine can do),
 * bench_reads.c (what it can do for the lists of one method). */
#ifndef STUDY_BENCH_INT_H
#define STUDY_BENCH_INT_H

#include "model/session.h"
#include <saccade/bench.h>

double bench_median(double *x, int n);      /* sorts x */

/* Measures the ceilings; keeps its memory until it is freed. NULL: out of memory. */
struct probe;
struct probe *ceilings_new(struct sac_model *m, struct sac_ceilings *top, struct sac_err *err);
/* One more round, some 20 ms; raises what was faster this time. */
void ceilings_again(struct probe *p, struct sac_ceilings *top);
void ceilings_free(struct probe *p);

/* Seconds that reading alone takes, of what a decode step of `s` reads and of all that `base` holds, and the
 * bytes of the first over those of the second. Takes BARE_STEPS + 1 more steps of `s`. */
struct bare { double listed_s, all_s, share; };
enum { BARE_STEPS = 12 };
bool bare_reads(struct session *base, struct session *s, const int *ids, int n_ids, struct bare *out,
                struct sac_err *err);
#endif
