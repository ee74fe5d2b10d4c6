/* Results as JSON: numbers that are not known are null, text is always valid UTF-8, names are those of the
 * documented forms. */
#ifndef JSON_OUT_H
#define JSON_OUT_H

#include <saccade/trace.h>

#include <jansson.h>
#include <stdio.h>

json_t *json_number(double v);                      /* null for NaN and infinities */
json_t *json_text(const char *text, size_t len);    /* invalid bytes become U+FFFD */
json_t *json_density(const struct sac_density *d);
json_t *json_recall(const struct sac_recall *r);
/* "top=8 page=16" as an object; a name that appears again gets the part's method before it. */
json_t *json_params(const char *spec, const char *params);
/* Everything measured of one lane: the elements of lanes[] in `saccade run --json`. */
json_t *json_lane(const struct sac_trace *t, int lane);
/* Print and free. indent: over several lines; otherwise one line. False when writing failed. */
bool json_print(FILE *f, json_t *v, bool indent);
#endif
