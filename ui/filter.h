/* Filter expressions over heads: "recall<0.7 && layer>6", "!(kv==0) || gold>=.1".
 *
 * Numbers, names, + - * /, comparisons, && || ! and parentheses. A missing measure (NAN) makes every
 * comparison false, so a filter never lists heads that were not measured. */
#ifndef UI_FILTER_H
#define UI_FILTER_H

#include <stdbool.h>
#include <stddef.h>

struct ui_filter_name { const char *name; double value; };

/* Value of the expression with these names; on a mistake returns NAN and leaves one sentence in err. */
double ui_filter_eval(const char *expr, const struct ui_filter_name *name, int n_names, char *err,
                      size_t cap);
#endif
