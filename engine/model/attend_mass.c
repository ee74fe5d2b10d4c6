/* What every key receives from all rows together, found while dense attention runs.
 *
 * A probability is known when its row ends: exp2(score - m) is divided by the row's sum, and m may have grown
 * since. So the kernel leaves the exponentials of a tile in 16 bits (rows x keys, a few megabytes for a long
 * prompt, one tile at a time), and when the tile is done each step of keys is summed over its rows, weighted by what
 * became of them: one multiply-add a cell where computing the scores again would take head_dim of them. Sums
 * are kept as integers, so that they do not depend on which thread had which rows. */
#include "model/attend_int.h"

#include <math.h>
#include <string.h>

struct step { int base[K_STEP], n, first; };

struct attend_mass {
    uint16_t *p;                    /* [steps][K_TILE_ROWS][K_STEP_KEYS] */
    float *m;                       /* [steps][K_TILE_ROWS]: what the exponentials of the step are relative to */
    struct step *step;
    int64_t *sum;                   /* [n_kv_heads][n_groups * K_GROUP] */
    int n;                          /* steps of this tile */
};

static const double UNIT = 0x1p36;  /* 1e-11 of a probability; sums of 2^26 rows fit */

static size_t round_up(size_t n) { return (n + 63) / 64 * 64; }
static size_t steps(const struct attend_pass *p) { return (size_t)p->n_groups / K_STEP + 2; }

size_t attend_mass_bytes(const struct attend_pass *p)
{
    size_t row = K_STEP_KEYS * sizeof(uint16_t) + sizeof(float);
    return round_up(sizeof(struct attend_mass)) +
           round_up(steps(p) * (K_TILE_ROWS * row + sizeof(struct step)) + 64);
}

size_t attend_mass_sums(const struct attend_pass *p)
{
    return (size_t)p->a->n_kv_heads * (size_t)p->n_groups * K_GROUP;
}

struct attend_mass *attend_mass_init(const struct attend_pass *p, char *mem, int thread)
{
    struct attend_mass *s = (struct attend_mass *)(void *)mem;
    mem += round_up(sizeof *s);
    *s = (struct attend_mass){ .p = (uint16_t *)(void *)mem, .sum = p->mass + attend_mass_sums(p) * (size_t)thread };
    mem += steps(p) * K_TILE_ROWS * K_STEP_KEYS * sizeof *s->p;
    s->m = (float *)(void *)mem;
    s->step = (struct step *)(void *)(mem + steps(p) * K_TILE_ROWS * sizeof *s->m);
    return s;
}

void attend_mass_begin(struct attend_mass *s) { s->n = 0; }

uint16_t *attend_mass_room(struct attend_mass *s) { return s->p + (size_t)s->n * K_TILE_ROWS * K_STEP_KEYS; }

void attend_mass_note(struct attend_mass *s, const struct attend_work *w, const struct attend_keys *k)
{
    struct step *t = &s->step[s->n];
    memcpy(t->base, k->base, sizeof t->base);
    t->n = k->s.n;
    t->first = w->t.first;
    memcpy(s->m + (size_t)s->n * K_TILE_ROWS, w->t.m, (size_t)w->t.rows * sizeof *s->m);
    s->n++;
}

void attend_mass_fold(const struct attend_pass *p, struct attend_mass *s, int kv, int rows, const float *lse2)
{
    float weight[K_TILE_ROWS], m[K_TILE_ROWS], sum[K_STEP_KEYS];
    int64_t *to = s->sum + (size_t)kv * (size_t)p->n_groups * K_GROUP;
    for (int r = 0; r < rows; r++) m[r] = -INFINITY, weight[r] = 0;
    for (int i = 0; i < s->n; i++) {
        const struct step *t = &s->step[i];
        const float *now = s->m + (size_t)i * K_TILE_ROWS;
        for (int r = t->first; r < rows; r++)
            if (now[r] > m[r]) {
                m[r] = now[r];
                weight[r] = lse2[r] > -INFINITY ? exp2f(m[r] - lse2[r]) : 0;
            }
        p->k->fold(s->p + ((size_t)i * K_TILE_ROWS + (size_t)t->first) * K_STEP_KEYS, weight + t->first,
                   rows - t->first, t->n * K_GROUP, sum);
        for (int g = 0; g < t->n; g++)
            for (int j = 0; j < K_GROUP; j++)
                to[t->base[g] + j] += (int64_t)((double)sum[g * K_GROUP + j] * UNIT + 0.5);
    }
}

void attend_mass_total(const struct attend_pass *p)
{
    const struct attend_prefill *a = p->a;
    size_t all = attend_mass_sums(p), head = (size_t)p->n_groups * K_GROUP;
    for (int kv = 0; kv < a->n_kv_heads; kv++)
        for (int j = 0; j < a->n; j++) {
            int64_t sum = 0;
            for (int t = 0; t < pool_threads(p->pool); t++)
                sum += p->mass[(size_t)t * all + (size_t)kv * head + (size_t)j];
            a->mass[(size_t)kv * (size_t)a->n + (size_t)j] = (float)((double)sum / UNIT);
        }
}
