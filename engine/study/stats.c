/* See stats.h. The incomplete beta function follows its continued fraction (DLMF 8.17.22, modified Lentz). */
#include "study/stats.h"

#include <float.h>
#include <math.h>

struct moments stats_moments(const double *x, int n)
{
    struct moments m = { .n = n };
    for (int i = 0; i < n; i++) m.mean += x[i];
    if (n) m.mean /= n; /* not a sum of x / n: equal values must give a variance of 0 */
    for (int i = 0; i < n && n > 1; i++) m.var += (x[i] - m.mean) * (x[i] - m.mean) / (n - 1);
    return m;
}

/* The continued fraction of I_x(a, b); converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    if (fabs(d) < tiny) d = tiny;
    d = 1 / d;
    double h = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int k = 0; k < 2; k++) {
            double coef = k ? odd : even;
            d = 1 + coef * d;
            c = 1 + coef / c;
            if (fabs(d) < tiny) d = tiny;
            if (fabs(c) < tiny) c = tiny;
            d = 1 / d;
            h *= d * c;
        }
        if (fabs(d * c - 1) < 4 * DBL_EPSILON) break;
    }
    return h;
}

static double incomplete_beta(double a, double b, double x)
{
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double stats_t_tail(double t, double df)
{
    double half = 0.5 * incomplete_beta(df / 2, 0.5, df / (df + t * t));
    return t >= 0 ? half : 1 - half;
}

double stats_binomial_half(int k, int n)
{
    double sum = 0;
    for (int i = 0; i <= k && i <= n; i++)
        sum += exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) - n * log(2));
    return sum > 1 ? 1 : sum;
}

double stats_welch(const struct moments *x, const struct moments *y)
{
    if (x->n < 2 || y->n < 2) return (double)NAN;
    double vx = x->var / x->n, vy = y->var / y->n;
    if (vx + vy <= 0) return x->mean > y->mean ? 0 : 1;
    double df = (vx + vy) * (vx + vy) / (vx * vx / (x->n - 1) + vy * vy / (y->n - 1));
    return stats_t_tail((x->mean - y->mean) / sqrt(vx + vy), df);
}

double stats_paired(const double *d, int n)
{
    struct moments m = stats_moments(d, n);
    if (n < 2) return (double)NAN;
    if (m.var <= 0) return m.mean > 0 ? 0 : 1;
    return stats_t_tail(m.mean / sqrt(m.var / n), n - 1);
}

double stats_sign(const double *d, int n)
{
    int worse = 0, better = 0;
    for (int i = 0; i < n; i++) {
        worse += d[i] > 0;
        better += d[i] < 0;
    }
    return worse + better ? stats_binomial_half(better, worse + better) : 1;
}

void stats_wilson(double mean, int n, double *lo, double *hi)
{
    const double z = 1.959963984540054;
    double z2 = z * z / n, mid = (mean + z2 / 2) / (1 + z2);
    double half = z / (1 + z2) * sqrt(mean * (1 - mean) / n + z2 / (4 * n));
    *lo = fmax(0, mid - half);
    *hi = fmin(1, mid + half);
}

bool stats_least_squares(double *x, double *y, int n, int p, double *b)
{
    for (int k = 0; k < p; k++) {
        double norm = 0, scale = 0;
        for (int i = 0; i < n; i++) {
            scale += x[i * p + k] * x[i * p + k];
            if (i >= k) norm += x[i * p + k] * x[i * p + k];
        }
        norm = sqrt(norm);
        if (n <= k || norm <= 1e-10 * sqrt(scale) || norm <= 0) return false;
        double alpha = x[k * p + k] > 0 ? -norm : norm;
        double v0 = x[k * p + k] - alpha, beta = -1 / (alpha * v0); /* 2 / |v|^2 */
        for (int j = k + 1; j <= p; j++) {
            double dot = v0 * (j < p ? x[k * p + j] : y[k]);
            for (int i = k + 1; i < n; i++) dot += x[i * p + k] * (j < p ? x[i * p + j] : y[i]);
            dot *= beta;
            *(j < p ? &x[k * p + j] : &y[k]) -= dot * v0;
            for (int i = k + 1; i < n; i++) *(j < p ? &x[i * p + j] : &y[i]) -= dot * x[i * p + k];
        }
        x[k * p + k] = alpha;
    }
    for (int k = p - 1; k >= 0; k--) {
        double s = y[k];
        for (int j = k + 1; j < p; j++) s -= x[k * p + j] * b[j];
        b[k] = s / x[k * p + k];
    }
    return true;
}
