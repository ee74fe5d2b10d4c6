/* Statistics of small samples: what a report says about differences, and a least-squares fit.
 *
 * Written out here because the libraries that have them come under licences this program cannot take on. */
#ifndef STUDY_STATS_H
#define STUDY_STATS_H

#include <stdbool.h>

struct moments {
    int n;
    double mean, var;
}; /* var: unbiased, 0 when n < 2 */
struct moments stats_moments(const double *x, int n);

/* P(T > t) for Student's t with df degrees of freedom. */
double stats_t_tail(double t, double df);
/* P(B <= k) for B binomial(n, 1/2). */
double stats_binomial_half(int k, int n);

/* One-sided p that x (dense) is above y (sparse) by chance; where both variances are 0 the means decide: 0
 * or 1. */
double stats_welch(const struct moments *x, const struct moments *y);
/* The same from pairs d = x - y. */
double stats_paired(const double *d, int n);
double stats_sign(const double *d, int n);

/* Wilson's 95 % interval of a mean of n values in [0, 1]: exact enough for hits, on the safe side for partial
 * scores. */
void stats_wilson(double mean, int n, double *lo, double *hi);

/* Least squares y = X b by Householder reflections; X [n][p] by rows, overwritten with y. b [p]. False when
 * the columns depend on each other. */
bool stats_least_squares(double *x, double *y, int n, int p, double *b);
#endif
