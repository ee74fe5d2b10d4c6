/* The table of measures as text and as JSON. */
#ifndef SRC_MEASURES_OUT_H
#define SRC_MEASURES_OUT_H

#include <saccade/measures.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* One column a lane, all rows that any lane has. */
void measures_print(FILE *f, const struct sac_trace *t, double batch);
/* Adds overlap, errors of layers and the cost to the object of a lane; with heads, each head's measures. */
void measures_json(json_t *lane_object, const struct sac_trace *t, int lane, double batch, bool heads);

#endif
