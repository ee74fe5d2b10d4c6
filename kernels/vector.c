/* Scalar twins of the operations on f32 vectors: they define the results that fast versions come near.
 *
 * Sums run in double where a fast version adds in another order, so that a twin is the better of the two. */
#include "twins.h"

#include <math.h>

float dot_c(const float *a, const float *b, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return (float)sum;
}

void rms_norm_c(const float *x, const float *w, int n, float eps, float *y)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    float inv = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (int i = 0; i < n; i++) y[i] = x[i] * inv * w[i];
}

void silu_mul_c(const float *gate, const float *up, int n, float *y)
{
    for (int i = 0; i < n; i++) y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

void gelu_mul_c(const float *gate, const float *up, int n, float *y)
{
    const float root = 0.79788456080286536f;   /* sqrt(2 / pi) */
    for (int i = 0; i < n; i++) {
        float x = gate[i];
        y[i] = 0.5f * x * (1.0f + tanhf(root * (x + 0.044715f * x * x * x))) * up[i];
    }
}

void add_c(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++) y[i] += x[i];
}

void rotate_c(const float *cos, const float *sin, int half, float *x)
{
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cos[i] - b * sin[i];
        x[half + i] = a * sin[i] + b * cos[i];
    }
}

void add_rows_c(float *y, const float *x, size_t ldx, const float *w, int rows, int n)
{
    for (int r = 0; r < rows; r++, x += ldx)
        for (int i = 0; i < n; i++) y[i] += w[r] * x[i];
}

float exp_sum_c(float *x, int n, float max)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += (double)x[i];
    }
    return (float)sum;
}

float max_c(const float *x, int n)
{
    float m = -INFINITY;
    for (int i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
    return m;
}

void softcap_c(float *x, int n, float cap)
{
    for (int i = 0; i < n; i++) x[i] = cap * tanhf(x[i] / cap);
}

void cols_max_c(const float *x, size_t ld, int keys, int n, float *top)
{
    for (int k = 0; k < keys; k++, x += ld)
        for (int r = 0; r < n; r++) top[r] = x[r] > top[r] ? x[r] : top[r];
}

void cols_exp2_c(const float *x, size_t ld, int keys, int n, const float *shift, float *sum)
{
    for (int r = 0; r < n; r++) {
        double all = 0.0;
        for (int k = 0; k < keys; k++) {
            float y = x[(size_t)k * ld + (size_t)r] - shift[r];
            if (y >= -126.0f) all += (double)exp2f(y);
        }
        sum[r] += (float)all;
    }
}

int readers_c(const uint8_t *reader, int n, int *idx, uint8_t *kept)
{
    int k = 0;
    for (int i = 0; i < n; i++)
        if (reader[i]) {
            idx[k] = i;
            kept[k++] = reader[i];
        }
    return k;
}

void pool_c(const struct k_pool *p, const float *key, int n, const uint64_t *lost, const uint64_t *seen)
{
    for (int i = 0; i < n; i++, key += p->dim)
        for (int r = 0; r < p->panels * K_PANEL; r++) {
            const float *q = p->panel + (size_t)(r / K_PANEL) * p->pstride + r % K_PANEL;
            if (seen && !(seen[i] >> r & 1)) continue;
            float *to = p->miss && lost[i] >> r & 1 ? &p->miss[r] : p->sum ? &p->sum[r] : NULL, score = 0;
            for (int d = 0; d < p->dim; d++) score += q[d * K_PANEL] * key[d];
            if (p->top && score > p->top[r]) p->top[r] = score;
            if (to) *to += exp2f(fmaxf(score - p->shift[r], -100.0f));
        }
}

void keep_c(float *x, int n, const uint8_t *reader, unsigned bit)
{
    for (int i = 0; i < n; i++) x[i] = reader[i] & bit ? x[i] : -INFINITY;
}

int above_c(const float *x, int n, float t, int *idx)
{
    int k = 0;
    for (int i = 0; i < n; i++)
        if (x[i] > t) idx[k++] = i;
    return k;
}

int part_c(const float *x, int n, float t, float *more, float *rest, double *sum)
{
    int k = 0;
    double all = 0;
    for (int i = 0; i < n; i++) {
        float f = x[i];
        if (f > t) {
            all += (double)f;
            more[k++] = f;
        } else {
            rest[i - k] = f;
        }
    }
    if (sum) *sum = all;
    return k;
}

int best_c(const float *x, int n, int k, int *idx)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        int before = 0;
        for (int j = 0; j < n; j++) before += x[j] > x[i] || (x[j] == x[i] && j < i);
        if (x[i] == x[i] && before < k) idx[m++] = i;
    }
    return m == k ? k : -1;
}
