/* What the parts of bench share: bench.c (runs), bench_ceiling.c (what the machine can do). */
#ifndef STUDY_BENCH_INT_H
#define STUDY_BENCH_INT_H

#include <saccade/bench.h>

/* Measures the ceilings; keeps its memory until it is freed. NULL: out of memory. */
struct probe;
struct probe *ceilings_new(struct sac_model *m, struct sac_ceilings *top, struct sac_err *err);
/* One more round, some 20 ms; raises what was faster this time. */
void ceilings_again(struct probe *p, struct sac_ceilings *top);
void ceilings_free(struct probe *p);
#endif
