/* Scalar twins of the products with packed weights: integers with block scales, and f32.
 *
 * Integer products: activations are rounded to integers in blocks of 32, weights are integers with a scale
 * (and perhaps a minimum) for each 16 or 32 inputs; sums of a block are exact, scales are applied in f32. */
#include "twins.h"

#include <math.h>
#include <string.h>

void quant_c(const float *x, int n, void *q, float *d, float *s)
{
    int16_t *out = q;
    for (int b = 0; b < n; b += 32) {
        float top = 0.0f;
        for (int i = 0; i < 32; i++) top = fabsf(x[b + i]) > top ? fabsf(x[b + i]) : top;
        float inv = top > 0 ? 32767.0f / top : 0.0f;
        d[b / 32] = top / 32767.0f;
        for (int h = 0; h < 2; h++) {
            int sum = 0;
            for (int i = b + h * 16; i < b + h * 16 + 16; i++) sum += out[i] = (int16_t)lrintf(x[i] * inv);
            s[b / 16 + h] = d[b / 32] * (float)sum;
        }
    }
}

void pack_int8_c(const int8_t *q, int n, int8_t *dst)
{
    for (int r = 0; r < K_PANEL; r++)
        for (int i = 0; i < n; i++)
            dst[(i / 2 * K_PANEL + r) * 2 + i % 2] = q[(size_t)r * (size_t)n + (size_t)i];
}

static float scale_of(const struct k_panel *w, int at)
{
    if (w->d) return w->d[at];
    float d;
    from_f16_c(&w->d16[at], 1, &d);
    return d;
}

void tile_int8_c(const struct k_panel *w, int n, const struct k_xrow *x, int rows, float *y, size_t ldy)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < K_PANEL; c++) {
            const int16_t *xq = x[r].q;
            float sum = 0.0f;
            for (int b = 0; b < n / w->sub; b++) {
                int dot = 0, at = b * K_PANEL + c;
                for (int i = b * w->sub; i < (b + 1) * w->sub; i++)
                    dot += xq[i] * w->q[(i / 2 * K_PANEL + c) * 2 + i % 2];
                sum += (float)dot * (scale_of(w, at) * x[r].d[b * w->sub / 32]);
                if (w->m) sum += w->m[at] * (w->sub == 16 ? x[r].s[b] : x[r].s[2 * b] + x[r].s[2 * b + 1]);
            }
            y[(size_t)r * ldy + (size_t)c] = sum;
        }
}

float dot_int8_c(const int8_t *q, const float *d, const float *m, int sub, int n, const struct k_xrow *x)
{
    const int16_t *xq = x->q;
    float sum = 0.0f;
    for (int b = 0; b < n / sub; b++) {
        int dot = 0;
        for (int i = b * sub; i < (b + 1) * sub; i++) dot += xq[i] * q[i];
        sum += (float)dot * (d[b] * x->d[b * sub / 32]);
        if (m) sum += m[b] * (sub == 16 ? x->s[b] : x->s[2 * b] + x->s[2 * b + 1]);
    }
    return sum;
}

void convert_f32_c(const float *x, int n, void *dst) { memcpy(dst, x, (size_t)n * sizeof *x); }

void pack_f32_c(const float *w, size_t ldw, int n, void *dst)
{
    float *out = dst;
    for (int r = 0; r < K_PANEL; r++)
        for (int i = 0; i < n; i++) out[i * K_PANEL + r] = w[(size_t)r * ldw + (size_t)i];
}

void tile_f32_c(const void *w, size_t pstride, int panels, int n, const void *const *x, int rows, float *y,
                size_t ldy, bool acc)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < panels * K_PANEL; c++) {
            const float *wp = (const float *)w + (size_t)(c / K_PANEL) * pstride + c % K_PANEL, *xr = x[r];
            float *out = y + (size_t)r * ldy + c;
            double sum = acc ? (double)*out : 0.0;
            for (int i = 0; i < n; i++) sum += (double)xr[i] * (double)wp[i * K_PANEL];
            *out = (float)sum;
        }
}
