/* Rotary position embedding: tables per model and position, and the rotation of one head.
 *
 * Scaling variants (linear, llama3, YaRN, longrope) only change the frequencies and an overall factor of
 * the tables, so the rotation itself knows nothing of them. */
#include "model/rope.h"

#include "kernels.h"

#include <math.h>
#include <stdlib.h>

/* YaRN: the dimension whose wavelength makes `turns` turns in the original context. */
static double yarn_dim(const struct rope_params *p, double turns)
{
    const double two_pi = 6.283185307179586;
    return p->dim * log(p->orig_ctx / (two_pi * turns)) / (2.0 * log(p->base));
}

double rope_frequency(const struct rope_params *p, int i, double *mscale)
{
    double inv = pow(p->base, -2.0 * i / p->dim);
    *mscale = 1.0;
    switch (p->scaling) {
    case ROPE_NONE: break;
    case ROPE_LINEAR: return inv / p->factor;
    case ROPE_LLAMA3:
        return p->freq_factors ? inv / (double)p->freq_factors[i] : inv;
    case ROPE_LONGROPE:
        *mscale = p->attn_factor;
        return p->freq_factors ? inv / (double)p->freq_factors[i] : inv;
    case ROPE_YARN: {
        double lo = yarn_dim(p, p->beta_fast), hi = yarn_dim(p, p->beta_slow);
        lo = fmax(0.0, p->between_dims ? lo : floor(lo));
        hi = fmin(p->dim - 1.0, p->between_dims ? hi : ceil(hi));
        double at = (i - lo) / fmax(0.001, hi - lo);
        double ramp = (1.0 - fmin(1.0, fmax(0.0, at))) * p->ext_factor;
        *mscale = p->attn_factor * (1.0 + 0.1 * log(fmax(1.0, p->factor)));
        return inv * ((1.0 - ramp) / p->factor + ramp);
    }
    }
    /* llama3 factors may also come as a tensor without a scaling key (GGUF). */
    return p->freq_factors ? inv / (double)p->freq_factors[i] : inv;
}

bool rope_table_make(struct rope_table *t, const struct rope_params *p, int n)
{
    struct rope_params stretched = *p;
    if (p->freq_factors_long && n > p->orig_ctx) {
        stretched.freq_factors = p->freq_factors_long;
        p = &stretched;
    }
    int half = p->dim / 2;
    size_t cells = (size_t)n * (size_t)half;
    t->n = n;
    t->dim = p->dim;
    t->adjacent = p->adjacent;
    t->cos = malloc((cells ? cells : 1) * sizeof *t->cos);
    t->sin = malloc((cells ? cells : 1) * sizeof *t->sin);
    if (!t->cos || !t->sin) {
        rope_table_free(t);
        return false;
    }
    for (int i = 0; i < half; i++) {
        double mscale, freq = rope_frequency(p, i, &mscale);
        for (int pos = 0; pos < n; pos++) {
            /* References compute the angle in f32: position times a rounded frequency. */
            double angle = (double)((float)pos * (float)freq);
            size_t at = (size_t)pos * (size_t)half + (size_t)i;
            t->cos[at] = (float)(cos(angle) * mscale);
            t->sin[at] = (float)(sin(angle) * mscale);
        }
    }
    return true;
}

void rope_table_free(struct rope_table *t)
{
    free(t->cos);
    free(t->sin);
    t->cos = t->sin = NULL;
}

void rope_apply(const struct rope_table *t, int pos, float *x)
{
    int half = t->dim / 2;
    const float *c = t->cos + (size_t)pos * (size_t)half, *s = t->sin + (size_t)pos * (size_t)half;
    if (t->adjacent) {
        for (int i = 0; i < half; i++) {
            float a = x[2 * i], b = x[2 * i + 1];
            x[2 * i] = a * c[i] - b * s[i];
            x[2 * i + 1] = a * s[i] + b * c[i];
        }
    } else {
        k_ops()->rotate(c, s, half, x);
    }
}
