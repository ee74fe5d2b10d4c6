/* Bins, scales, ranges and axes of heat maps; see heat.h. Pure arithmetic, tested without a terminal. */
#include "heat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ui_scale_name[UI_N_SCALES] = { "log", "lift", "root", "linear", "rank" };
const char *const ui_pool_name[SAC_N_POOLS] = { "max", "mass", "mean" };
const char *const ui_sinks_name[3] = { "shown", "hidden", "hidden, renormalised" };

int ui_bin_lo(int i, int n, int p)
{
    return p > 0 ? (int)((long long)i * n / p) : 0;
}

int ui_bin_hi(int i, int n, int p)
{
    int lo = ui_bin_lo(i, n, p), hi = p > 0 ? (int)((long long)(i + 1) * n / p) : n;
    return hi > lo ? hi : lo + 1;
}

int ui_bin_of(int x, int n, int p)
{
    if (n <= 0 || p <= 0) return 0;
    if (x < 0) x = 0;
    if (x >= n) x = n - 1;
    /* Pixels no wider than a value: the first pixel whose lower end is x or beyond. */
    int i = p >= n ? (int)(((long long)x * p + n - 1) / n) : (int)((long long)x * p / n);
    while (i + 1 < p && ui_bin_hi(i, n, p) <= x) i++;
    while (i > 0 && ui_bin_lo(i, n, p) > x) i--;
    return i < p ? i : p - 1;
}

int ui_scale_find(const char *name)
{
    for (int i = 0; i < UI_N_SCALES; i++)
        if (!strcmp(name, ui_scale_name[i])) return i;
    return -1;
}

struct ui_heat ui_heat_default(enum ui_scale scale)
{
    struct ui_heat h = { .scale = scale, .lo = 0, .hi = 1 };
    if (scale == UI_SCALE_LOG) { h.lo = -5; h.hi = 0; }
    return h;
}

static double clamp01(double t)
{
    return t < 0 ? 0 : t > 1 ? 1 : t;
}

double ui_heat_t(const struct ui_heat *h, double v, double n_keys)
{
    if (isnan(v)) return (double)NAN;
    double hi = h->hi > 0 ? h->hi : 1;
    switch (h->scale) {
    case UI_SCALE_LOG:
        if (v <= 0) return 0;
        return clamp01((log10(v) - h->lo) / (h->hi - h->lo));
    case UI_SCALE_LIFT:
        if (v <= 0) return 0;
        return clamp01(0.5 + log2(v * n_keys) / 24);
    case UI_SCALE_ROOT:   return v <= 0 ? 0 : clamp01(sqrt(v / hi));
    case UI_SCALE_LINEAR: return clamp01(v / hi);
    case UI_SCALE_RANK:   return clamp01(v);    /* v is a rank already, from ui_heat_ranks */
    default:              return 0;
    }
}

double ui_heat_diff_t(double d, double range)
{
    if (isnan(d)) return (double)NAN;
    double t = range > 0 ? d / range : 0;
    return t < -1 ? -1 : t > 1 ? 1 : t;
}

int ui_heat_level(double t, int levels)
{
    if (isnan(t)) return -1;
    int l = (int)floor(clamp01(t) * (levels - 1) + 0.5);
    return l < levels ? l : levels - 1;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Finite values, sorted; NULL when there are none. The caller frees. */
static float *sorted_finite(const float *v, size_t n, size_t *m)
{
    float *s = malloc((n ? n : 1) * sizeof *s);
    *m = 0;
    if (!s) return NULL;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) s[(*m)++] = v[i];
    if (!*m) { free(s); return NULL; }
    qsort(s, *m, sizeof *s, by_value);
    return s;
}

double ui_percentile(const float *v, size_t n, double p)
{
    size_t m;
    float *s = sorted_finite(v, n, &m);
    if (!s) return 0;
    double at = p / 100 * (double)(m - 1);
    size_t i = at > 0 ? (size_t)at : 0;
    double f = at - (double)i;
    double r = i + 1 < m ? (double)s[i] * (1 - f) + (double)s[i + 1] * f : (double)s[m - 1];
    free(s);
    return r;
}

void ui_heat_auto(struct ui_heat *h, const float *v, size_t n)
{
    double p = ui_percentile(v, n, 99.5);
    if (h->scale == UI_SCALE_LOG) {
        double top = p > 0 ? ceil(log10(p)) : 0;
        h->hi = top > 0 ? 0 : top;
        h->lo = h->hi - 5;
    } else if (h->scale == UI_SCALE_ROOT || h->scale == UI_SCALE_LINEAR) {
        h->hi = p > 0 ? p : 1;
    }
}

void ui_heat_stretch(struct ui_heat *h, const float *v, size_t n)
{
    double lo = ui_percentile(v, n, 15), hi = ui_percentile(v, n, 98);
    if (h->scale != UI_SCALE_LOG || !(hi > 0)) return;
    double top = fmin(ceil(2 * log10(hi)) / 2, 0), low = lo > 0 ? floor(2 * log10(lo)) / 2 : top - 3;
    h->hi = fmax(top, -3.5);
    h->lo = fmax(fmin(low, h->hi - 1.5), h->hi - 5);
}

double ui_diff_range(const float *d, size_t n)
{
    float *a = malloc((n ? n : 1) * sizeof *a);
    if (!a) return 1;
    for (size_t i = 0; i < n; i++) a[i] = fabsf(d[i]);
    double p = ui_percentile(a, n, 99.5);
    free(a);
    return p > 1e-4 ? p : 1e-4;
}

/* 10 to the e: "1", "0.03", "3e-4", "1e-5". */
static void power(double e, char *buf, size_t cap)
{
    double m = pow(10, e - floor(e));
    if (e > -2.9)
        snprintf(buf, cap, "%.1g", pow(10, e));
    else
        snprintf(buf, cap, "%.0fe%.0f", floor(m + 0.01), floor(e));
}

int ui_heat_label(const struct ui_heat *h, char *buf, size_t cap)
{
    char lo[16], hi[16];
    switch (h->scale) {
    case UI_SCALE_LOG:
        power(h->lo, lo, sizeof lo);
        power(h->hi, hi, sizeof hi);
        return snprintf(buf, cap, "log10 [%s, %s]", lo, hi);
    case UI_SCALE_LIFT: return snprintf(buf, cap, "lift [1/4096, 4096]");
    case UI_SCALE_RANK: return snprintf(buf, cap, "rank in row");
    default:            return snprintf(buf, cap, "%s [0, %.3g]", ui_scale_name[h->scale], h->hi);
    }
}

void ui_heat_ranks(const float *v, int h, int w, float *out)
{
    for (int y = 0; y < h; y++) {
        const float *row = v + (size_t)y * (size_t)w;
        float *to = out + (size_t)y * (size_t)w;
        size_t m;
        float *s = sorted_finite(row, (size_t)w, &m);
        for (int x = 0; x < w; x++) {
            to[x] = row[x];
            if (!s || !isfinite(row[x])) continue;
            size_t lo = 0, hi = m;                     /* values smaller than this one */
            while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (s[mid] < row[x]) lo = mid + 1; else hi = mid;
            }
            to[x] = m > 1 ? (float)lo / (float)(m - 1) : 1.0f;
        }
        free(s);
    }
}

void ui_grid_resample(const struct ui_grid *in, double y0, double y1, double x0, double x1,
                      enum sac_pooling pool, float *out, int oh, int ow)
{
    for (int y = 0; y < oh; y++)
        for (int x = 0; x < ow; x++) {
            int a = (int)floor((y0 + (y1 - y0) * y / oh) * in->h);
            int b = (int)ceil((y0 + (y1 - y0) * (y + 1) / oh) * in->h - 1e-9);
            int c = (int)floor((x0 + (x1 - x0) * x / ow) * in->w);
            int d = (int)ceil((x0 + (x1 - x0) * (x + 1) / ow) * in->w - 1e-9);
            if (a < 0) a = 0;
            if (c < 0) c = 0;
            if (b <= a) b = a + 1;
            if (d <= c) d = c + 1;
            if (b > in->h) b = in->h;
            if (d > in->w) d = in->w;
            double best = (double)NAN, sum = 0;
            int n = 0, rows = 0;
            for (int i = a; i < b; i++) {
                int seen = 0;
                for (int j = c; j < d; j++) {
                    double v = (double)in->v[(size_t)i * (size_t)in->w + (size_t)j];
                    if (isnan(v)) continue;
                    if (isnan(best) || v > best) best = v;
                    sum += v;
                    seen++;
                }
                n += seen;
                rows += seen > 0;
            }
            float r = (float)NAN;
            if (n) r = (float)(pool == SAC_POOL_MAX ? best : pool == SAC_POOL_MASS ? sum / rows : sum / n);
            out[(size_t)y * (size_t)ow + (size_t)x] = r;
        }
}

int ui_pos_label(int v, char *buf, size_t cap)
{
    if (v < 1000) return snprintf(buf, cap, "%d", v);
    if (v % 1000 == 0 || v >= 100000) return snprintf(buf, cap, "%dk", v / 1000);
    return snprintf(buf, cap, "%.1fk", v / 1000.0);
}

int ui_ticks(int lo, int hi, int max, struct ui_tick *out)
{
    if (max < 1 || hi <= lo) return 0;
    static const int mant[3] = { 1, 2, 5 };
    long long step = 1;
    for (int i = 0; (hi - lo + step - 1) / step > max; i++) {
        long long ten = 1;
        for (int j = 0; j < (i + 1) / 3; j++) ten *= 10;
        step = mant[(i + 1) % 3] * ten;
    }
    int n = 0;
    for (long long v = (lo + step - 1) / step * step; v < hi && n < max; v += step) {
        out[n].at = (int)v;
        if (step < 100 && v >= 1000) snprintf(out[n].label, sizeof out[n].label, "%lld", v);
        else ui_pos_label((int)v, out[n].label, sizeof out[n].label);
        n++;
    }
    return n;
}

int ui_fmt_weight(double v, char *buf, size_t cap)
{
    if (isnan(v)) return snprintf(buf, cap, "-");
    if (v == 0) return snprintf(buf, cap, "0");
    if (v < 0.0001) return snprintf(buf, cap, "%.1e", v);
    return snprintf(buf, cap, "%.4f", v);
}

int ui_fmt_share(double v, char *buf, size_t cap)
{
    if (isnan(v)) return snprintf(buf, cap, "-");
    if (v > 0 && v < 0.005) return snprintf(buf, cap, "%.0e", v);
    return snprintf(buf, cap, "%.2f", v);
}

int ui_fmt_lift(double v, char *buf, size_t cap)
{
    if (isnan(v)) return snprintf(buf, cap, "-");
    if (v < 0.05) return snprintf(buf, cap, v > 0 ? "%.1g" : "0", v);
    return snprintf(buf, cap, v < 10 ? "%.1f" : "%.0f", v);
}
