/* Rotary position embedding (see rope.c). */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "model/hparams.h"
#include <stdbool.h>

/* Tables for positions 0 .. n-1: [n][dim/2]. */
struct rope_table { float *cos, *sin; int n, dim; bool adjacent; };
bool rope_table_make(struct rope_table *t, const struct rope_params *p, int n);   /* false: out of memory */
/* Angle per position of pair i, and the factor on cos and sin. */
double rope_frequency(const struct rope_params *p, int i, double *mscale);
void rope_table_free(struct rope_table *t);
void rope_apply(const struct rope_table *t, int pos, float *x);   /* rotates one head in place */
#endif
