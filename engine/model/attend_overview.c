/* Pooled grids of attention probabilities, built while the tiles are in cache.
 *
 * A probability is exp2(s - lse2), and lse2 of a row is known only when its tile ends. So each step leaves
 * its unnormalised weights behind (whole, or as a sum and a maximum for each row and block of 64 keys where a
 * grid cell is at least that wide), and the end of the tile scales and pools them. exp2(m - lse2) is the same
 * for nearly all steps of a row, as the running maximum m seldom moves.
 *
 * A row of the grid may be fed by several units. The unit in which its first row lies writes to the grid; the
 * others write to a row of their own (`partial`) that is added in order at the end, so the result does not
 * depend on which thread came first. */
#include "model/attend_int.h"

#include <math.h>
#include <string.h>

size_t overview_bytes(const struct attend_pass *p)
{
    return (size_t)p->a->n_heads * (size_t)p->n_units * 2 * (size_t)p->a->overview->grid * sizeof(float);
}

static size_t partial_at(const struct attend_pass *p, int head, int unit)
{
    return ((size_t)head * (size_t)p->n_units + (size_t)unit) * 2 * (size_t)p->a->overview->grid;
}

void overview_begin(struct attend_pass *p)
{
    struct attend_overview *o = p->a->overview;
    size_t g = (size_t)o->grid, n = (size_t)p->a->n;
    for (size_t b = 0; b < g; b++)
        for (size_t i = b * n / g; i < (b + 1) * n / g; i++) p->bin[i] = (int32_t)b;
    memset(o->max, 0, (size_t)p->a->n_heads * g * g * sizeof(float));
    memset(o->mass, 0, (size_t)p->a->n_heads * g * g * sizeof(float));
    memset(p->partial, 0, overview_bytes(p));
}

struct cells { float *mass, *max; };

static struct cells cells_of(const struct attend_pass *p, int head, int unit, int bin)
{
    const struct attend_overview *o = p->a->overview;
    size_t g = (size_t)o->grid, at = ((size_t)head * g + (size_t)bin) * g;
    int first = (int)((size_t)bin * (size_t)p->a->n / g);
    if (first >= unit * p->unit_rows) return (struct cells){ o->mass + at, o->max + at };
    float *own = p->partial + partial_at(p, head, unit);
    return (struct cells){ own, own + g };
}

/* Sums and maxima run in four lanes: one after the other, each addition would wait for the one before it. */
enum { LANES = 4 };

static float add_lanes(const float *x) { return (x[0] + x[2]) + (x[1] + x[3]); }

static float max_lanes(const float *x)
{
    float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
}

static void fold_block(const struct attend_pass *p, const struct attend_work *w, const struct attend_step *s,
                       int r0, int r1, const float *lse2, struct cells c)
{
    const float *sum = s->rec, *max = s->rec + w->t.rows, *factor = w->factor;
    float mass[LANES] = { 0 }, top[LANES] = { -INFINITY, -INFINITY, -INFINITY, -INFINITY };
    int r = r0;
    for (; r + LANES <= r1; r += LANES)
        for (int i = 0; i < LANES; i++) {
            float d = max[r + i] - lse2[r + i];
            mass[i] += sum[r + i] * factor[r + i];
            top[i] = d > top[i] ? d : top[i];
        }
    for (; r < r1; r++) {
        float d = max[r] - lse2[r];
        mass[0] += sum[r] * factor[r];
        top[0] = d > top[0] ? d : top[0];
    }
    int bin = p->bin[s->center];
    float prob = exp2f(max_lanes(top));
    c.mass[bin] += add_lanes(mass);
    if (prob > c.max[bin]) c.max[bin] = prob;
}

/* Weights and maxima of n keys into one cell. */
static void fold_cell(const float *mass, const float *max, int n, float *cell_mass, float *cell_max)
{
    float sum[LANES] = { 0 }, top[LANES] = { 0 };
    int k = 0;
    for (; k + LANES <= n; k += LANES)
        for (int i = 0; i < LANES; i++) {
            sum[i] += mass[k + i];
            top[i] = max[k + i] > top[i] ? max[k + i] : top[i];
        }
    for (; k < n; k++) {
        sum[0] += mass[k];
        top[0] = max[k] > top[0] ? max[k] : top[0];
    }
    float most = max_lanes(top);
    *cell_mass += add_lanes(sum);
    if (most > *cell_max) *cell_max = most;
}

/* The keys of a step by cell: stretches of neighbours in the step that share one, for all rows of the tile. */
struct stretch { int bin, from, n; };

static int stretches(const struct attend_pass *p, const struct attend_step *s, struct stretch *out)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->pos[i] >= p->a->n) continue;
        int bin = p->bin[s->pos[i]];
        if (n && out[n - 1].bin == bin && out[n - 1].from + out[n - 1].n == i) out[n - 1].n++;
        else out[n++] = (struct stretch){ bin, i, 1 };
    }
    return n;
}

static void fold_keys(const struct attend_work *w, const struct attend_step *s, int r0, int r1,
                      const struct stretch *at, int n, struct cells c)
{
    float mass[K_STEP_KEYS], max[K_STEP_KEYS];
    k_ops()->fold(s->rec + (size_t)r0 * K_STEP_KEYS, r1 - r0, w->factor + r0, mass, max);
    for (int i = 0; i < n; i++)
        fold_cell(mass + at[i].from, max + at[i].from, at[i].n, c.mass + at[i].bin, c.max + at[i].bin);
}

void overview_tile(struct attend_pass *p, struct attend_work *w, int head, int unit, const float *lse2)
{
    struct stretch at[K_STEP_KEYS];
    int rows = w->t.rows;
    for (int r = 0; r < rows; r++) w->last_m[r] = NAN;
    for (int i = w->n_step - 1; i >= 0; i--) {      /* from the end, where m has settled */
        const struct attend_step *s = &w->step[i];
        const float *m = s->rec + (s->mode == K_REC_SUM ? 2 * rows : rows * K_STEP_KEYS);
        if (memcmp(m, w->last_m, (size_t)rows * sizeof *m) != 0)
            for (int r = 0; r < rows; r++) {
                if (m[r] == w->last_m[r]) continue;
                w->last_m[r] = m[r];
                w->factor[r] = isfinite(lse2[r]) ? exp2f(m[r] - lse2[r]) : 0.0f;
            }
        int n = s->mode == K_REC_SUM ? 0 : stretches(p, s, at);
        for (int r0 = 0; r0 < rows;) {
            int bin = p->bin[w->t.row0 + r0], r1 = r0 + 1;
            while (r1 < rows && p->bin[w->t.row0 + r1] == bin) r1++;
            struct cells c = cells_of(p, head, unit, bin);
            if (s->mode == K_REC_SUM) fold_block(p, w, s, r0, r1, lse2, c);
            else fold_keys(w, s, r0, r1, at, n, c);
            r0 = r1;
        }
    }
}

static void end_heads(void *ctx, int lo, int hi, int thread)
{
    struct attend_pass *p = ctx;
    (void)thread;
    size_t g = (size_t)p->a->overview->grid, n = (size_t)p->a->n;
    for (int h = lo; h < hi; h++) {
        float *mass = p->a->overview->mass + (size_t)h * g * g,
              *max = p->a->overview->max + (size_t)h * g * g;
        for (int u = 1; u < p->n_units; u++) {
            const float *own = p->partial + partial_at(p, h, u);
            size_t bin = (size_t)p->bin[(size_t)u * (size_t)p->unit_rows] * g;
            for (size_t i = 0; i < g; i++) {
                mass[bin + i] += own[i];
                max[bin + i] = own[g + i] > max[bin + i] ? own[g + i] : max[bin + i];
            }
        }
        for (size_t b = 0; b < g; b++) {            /* mass: mean over the rows of the bin */
            size_t rows = (b + 1) * n / g - b * n / g;
            for (size_t i = 0; i < g; i++) mass[b * g + i] /= (float)(rows ? rows : 1);
        }
    }
}

void overview_end(struct attend_pass *p) { pool_run(p->pool, p->a->n_heads, 1, end_heads, p); }
