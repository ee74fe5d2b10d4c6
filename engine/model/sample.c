/* Choosing the next token: greedy, or temperature with top-p from a seeded generator. */
#include "model/session.h"

#include <math.h>

/* splitmix64: one multiplication chain a draw, the same on every machine. */
static double draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static int best_of(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;   /* ties: the lower id */
    return best;
}

/* The smallest probability still inside the top-p set: bisect on the threshold, which needs no sort. */
static float top_p_threshold(const float *p, int n, double total, double top_p)
{
    double lo = 0, hi = 1;
    for (int round = 0; round < 40; round++) {
        double mid = (lo + hi) / 2, mass = 0;
        for (int i = 0; i < n; i++)
            if ((double)p[i] >= mid * total) mass += (double)p[i];
        if (mass >= top_p * total) lo = mid;
        else hi = mid;
    }
    return (float)(lo * total);
}

int sample_token(struct sampler *s, const float *logits, int n, float *scratch)
{
    int best = best_of(logits, n);
    if (s->temperature <= 0) return best;
    double total = 0;
    for (int i = 0; i < n; i++) {
        scratch[i] = (float)exp(((double)logits[i] - (double)logits[best]) / s->temperature);
        total += (double)scratch[i];
    }
    float cut = s->top_p > 0 && s->top_p < 1 ? top_p_threshold(scratch, n, total, s->top_p) : 0;
    double inside = 0;
    for (int i = 0; i < n; i++)
        if (scratch[i] >= cut) inside += (double)scratch[i];
    double at = draw(&s->state) * inside;
    for (int i = 0; i < n; i++) {
        if (scratch[i] < cut) continue;
        at -= (double)scratch[i];
        if (at < 0) return i;
    }
    return best;
}
