/* Options by name: defaults, reading, writing, and the small pieces that many methods' tables point to. */
#include "methods.h"

#include <string.h>

void opts_defaults(const struct sac_method *m, void *opts)
{
    memset(opts, 0, m->opts_size);
    for (int i = 0; i < m->n_params; i++) opts_put(m, opts, m->params[i].name, m->params[i].def);
}

static const struct sac_param *find(const struct sac_method *m, const char *name)
{
    for (int i = 0; i < m->n_params; i++)
        if (!strcmp(m->params[i].name, name)) return &m->params[i];
    return NULL;
}

double opts_get(const struct sac_method *m, const void *opts, const char *name)
{
    const struct sac_param *p = find(m, name);
    if (!p) return (double)NAN;
    const unsigned char *at = (const unsigned char *)opts + p->offset;
    int i;
    double d;
    if (p->kind == SAC_FLOAT) {
        memcpy(&d, at, sizeof d);
        return d;
    }
    memcpy(&i, at, sizeof i);
    return i;
}

bool opts_put(const struct sac_method *m, void *opts, const char *name, double value)
{
    const struct sac_param *p = find(m, name);
    if (!p) return false;
    unsigned char *at = (unsigned char *)opts + p->offset;
    int i = (int)value;
    if (p->kind == SAC_FLOAT) memcpy(at, &value, sizeof value);
    else memcpy(at, &i, sizeof i);
    return true;
}

double sac_part_get(const struct sac_part *p, const char *param)
{
    return opts_get(p->m, p->opts.bytes, param);
}

enum sac_scope scope_query_head(const void *opts)
{
    (void)opts;
    return SAC_PER_QUERY_HEAD;
}

enum sac_scope scope_kv_head(const void *opts)
{
    (void)opts;
    return SAC_PER_KV_HEAD;
}

enum sac_scope scope_layer(const void *opts)
{
    (void)opts;
    return SAC_PER_LAYER;
}

int share_of(int n, double sparsity, int least)
{
    int k = (int)((1.0 - sparsity) * n + 0.5);
    return k < least ? least : k;
}

double reach_of(int n, int least) { return least < n ? 1 - (double)least / n : 0; }

int causal_budget(int n, double sparsity)
{
    /* k(k+1)/2 + (n-k)k = r n(n+1)/2, solved for the smaller k. */
    double b = 2.0 * n + 1, k = (b - sqrt(b * b - 4.0 * (1 - sparsity) * n * (n + 1.0))) / 2;
    return imin(imax((int)(k + 0.5), 1), n);
}

static uint64_t splitmix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t mix_seed(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    return splitmix(splitmix(splitmix(splitmix(seed) ^ a) ^ b) ^ c);
}

float mix_uniform(uint64_t seed) { return (float)(splitmix(seed) >> 40) * 0x1p-24f; }

int mix_below(uint64_t seed, int n) { return (int)((splitmix(seed) >> 32) * (uint64_t)n >> 32); }
