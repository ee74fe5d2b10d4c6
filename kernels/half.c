/* Scalar twins of the 16-bit float conversions and of scores against keys stored that way.
 *
 * f16 is IEEE binary16, bf16 the upper half of an f32. Rounding is to nearest, ties to even, as the
 * instructions of every CPU do it; NaN stays NaN. */
#include "twins.h"

#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static float f16_one(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = (h >> 10) & 31, man = h & 1023;
    if (exp == 31) return float_of(sign | 0x7f800000u | man << 13 | (man ? 0x400000u : 0u));
    if (exp) return float_of(sign | (exp + 112) << 23 | man << 13);
    float x = (float)man * 0x1p-24f;          /* zero and subnormals: exact */
    return sign ? -x : x;
}

static uint16_t f16_of(float x)
{
    uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, mag = u & 0x7fffffffu;
    if (mag > 0x7f800000u) return (uint16_t)(sign | 0x7e00 | (mag >> 13 & 0x3ff));
    if (mag >= 0x477ff000u) return (uint16_t)(sign | 0x7c00);      /* 65520 and above round to infinity */
    if (mag < 0x38800000u) {                  /* below 2^-14: adding 0.5 leaves the rounded mantissa behind */
        float r = float_of(mag) + 0.5f;
        return (uint16_t)(sign | (bits_of(r) - 0x3f000000u));
    }
    return (uint16_t)(sign | (mag - 0x38000000u + 0xfff + (mag >> 13 & 1)) >> 13);
}

void from_f16_c(const uint16_t *x, int n, float *y)
{
    for (int i = 0; i < n; i++) y[i] = f16_one(x[i]);
}

void to_f16_c(const float *x, int n, uint16_t *y)
{
    for (int i = 0; i < n; i++) y[i] = f16_of(x[i]);
}

void from_bf16_c(const uint16_t *x, int n, float *y)
{
    for (int i = 0; i < n; i++) y[i] = float_of((uint32_t)x[i] << 16);
}

void to_bf16_c(const float *x, int n, uint16_t *y)
{
    for (int i = 0; i < n; i++) {
        uint32_t u = bits_of(x[i]);
        bool nan = (u & 0x7fffffffu) > 0x7f800000u;
        y[i] = nan ? (uint16_t)(u >> 16 | 0x40) : (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
    }
}

void score_f32_c(const float *q, const float *k, int dim, int n, float scale, float *out)
{
    for (int i = 0; i < n; i++) out[i] = scale * dot_c(q, k + (size_t)i * (size_t)dim, dim);
}

void score_f16_c(const float *q, const uint16_t *k, int dim, int n, float scale, float *out)
{
    for (int i = 0; i < n; i++, k += dim) {
        double sum = 0.0;
        for (int d = 0; d < dim; d++) sum += (double)q[d] * (double)f16_one(k[d]);
        out[i] = scale * (float)sum;
    }
}

void score_bf16_c(const float *q, const uint16_t *k, int dim, int n, float scale, float *out)
{
    for (int i = 0; i < n; i++, k += dim) {
        double sum = 0.0;
        for (int d = 0; d < dim; d++) sum += (double)q[d] * (double)float_of((uint32_t)k[d] << 16);
        out[i] = scale * (float)sum;
    }
}

static float load(enum k_type type, const void *base, size_t i)
{
    if (type == K_F32) return ((const float *)base)[i];
    uint16_t h = ((const uint16_t *)base)[i];
    return type == K_F16 ? f16_one(h) : float_of((uint32_t)h << 16);
}

void scores_c(enum k_type type, const float *q, int heads, const void *k, int dim, int n, float scale,
              float *out, size_t stride)
{
    for (int h = 0; h < heads; h++, q += dim, out += stride) {
        if (type == K_F32) score_f32_c(q, k, dim, n, scale, out);
        else if (type == K_F16) score_f16_c(q, k, dim, n, scale, out);
        else score_bf16_c(q, k, dim, n, scale, out);
    }
}

void values_c(enum k_type type, const float *w, size_t stride, int heads, const void *v, int dim, int n,
              float *out)
{
    for (int h = 0; h < heads; h++, w += stride, out += dim)
        for (int i = 0; i < n; i++)
            for (int d = 0; d < dim; d++) out[d] += w[i] * load(type, v, (size_t)i * (size_t)dim + (size_t)d);
}
