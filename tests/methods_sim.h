/* A problem of random queries and keys, and a method acted out on it: plans, eviction, and decode steps over
 * plain arrays with every promise of method.h checked. */
#ifndef METHODS_SIM_H
#define METHODS_SIM_H

#include <saccade/method.h>

struct problem {
    int n, steps, n_heads, n_kv_heads, dim, layer, n_layers, window;
    float *q, *k, *v;       /* [heads][n + steps][dim] */
    float *cos, *sin;       /* [n + steps + 40][dim / 2] */
};
void problem_make(struct problem *p, int n, int steps, int n_heads, int n_kv_heads, int dim, unsigned seed);
void problem_free(struct problem *p);
struct sac_prefill_in problem_in(const struct problem *p);
struct sac_shape problem_shape(const struct problem *p);

/* What a method did, for comparing runs; `dense`: nothing was left out anywhere. */
struct outcome { uint64_t hash; bool dense; double read; int kept; };
/* Act a resolved SPEC out; fails the test, naming `what`, when a promise is broken. */
struct outcome act(const struct problem *p, const struct sac_spec *spec, const char *what);

#endif
