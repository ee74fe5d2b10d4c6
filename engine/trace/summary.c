/* From rows to heads to lanes: which rows are measured, their means, and the densities of a lane.
 *
 * Prefill rows are a sample, spread evenly over the prompt and always with its last row; decode rows are all
 * answer rows up to a limit, beyond which they are spread too. n_rows says how many were taken. */
#include "trace/trace_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PREFILL_ROWS = 24, DECODE_ROWS = 32 };

/* The fields of struct sac_recall that are means over rows. */
static const size_t MEAN_FIELD[] = {
    offsetof(struct sac_recall, mass),
    offsetof(struct sac_recall, set),
    offsetof(struct sac_recall, set10),
    offsetof(struct sac_recall, set64),
    offsetof(struct sac_recall, oracle),
    offsetof(struct sac_recall, sink_adjusted),
    offsetof(struct sac_recall, evidence),
    offsetof(struct sac_recall, evidence_mass),
    offsetof(struct sac_recall, evidence_mass_kept),
    offsetof(struct sac_recall, mass_vs_dense),
    offsetof(struct sac_recall, entropy),
    offsetof(struct sac_recall, need90),
    offsetof(struct sac_recall, need95),
    offsetof(struct sac_recall, need99),
    offsetof(struct sac_recall, sink),
    offsetof(struct sac_recall, local),
    offsetof(struct sac_recall, kept),
    offsetof(struct sac_recall, out_err),
};
enum { N_MEANS = sizeof MEAN_FIELD / sizeof *MEAN_FIELD };

static double *field(struct sac_recall *r, size_t offset) { return (double *)(void *)((char *)r + offset); }

/* A running mean that leaves out what is not defined. */
struct mean { double sum[N_MEANS]; int n[N_MEANS]; int rows; double min; };

static void mean_add(struct mean *m, struct sac_recall *r, int rows)
{
    for (int i = 0; i < N_MEANS; i++) {
        double v = *field(r, MEAN_FIELD[i]);
        if (isnan(v)) continue;
        m->sum[i] += v;
        m->n[i]++;
    }
    if (!isnan(r->mass_min) && (m->rows == 0 || r->mass_min < m->min)) m->min = r->mass_min;
    m->rows += rows;
}

static void mean_get(const struct mean *m, struct sac_recall *out)
{
    recall_unknown(out);
    for (int i = 0; i < N_MEANS; i++)
        if (m->n[i]) *field(out, MEAN_FIELD[i]) = m->sum[i] / m->n[i];
    out->n_rows = m->rows;
    if (m->rows) out->mass_min = m->min;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Rows lo .. hi-1, at most `want` of them, the last always among them. */
static int spread(int i, int want, int lo, int hi)
{
    int n = hi - lo;
    return n <= want ? lo + i : lo + (int)((long long)(i + 1) * n / want) - 1;
}

/* Where the head's outputs at a row are kept for the layer's error, or NULL. */
static float *outputs_at(const struct sac_trace *t, const struct layer_rec *r, int head, int row, int lo,
                         int hi)
{
    const struct sac_shape *s = &t->info.shape;
    float *out = r->outputs[lo > 0];
    size_t each = 2 * (size_t)s->head_dim;
    int n = hi - lo < ERROR_ROWS ? hi - lo : ERROR_ROWS;
    for (int i = 0; out && i < n; i++)
        if (error_row(i, n, lo, hi) == row) return out + (size_t)(i * s->n_heads + head) * each;
    return NULL;
}

static void measure_rows(const struct sac_trace *t, int lane, int layer, int head, int lo, int hi, int want,
                         struct measure_scratch *m, struct sac_recall *out)
{
    struct mean mean = { 0 };
    double mass[PREFILL_ROWS + DECODE_ROWS];
    int n_mass = 0, n = hi - lo < want ? hi - lo : want, row[SCORED_ROWS];
    const struct layer_rec *own = trace_layer_full(t, lane, layer);
    bool scores = own && own->q && own->k;
    m->own.n = m->dense.n = 0;
    for (int i = 0; i < n; i++) {
        struct sac_recall r;
        int at = i % SCORED_ROWS, some = n - i < SCORED_ROWS ? n - i : SCORED_ROWS;
        if (at == 0) {
            for (int k = 0; k < some; k++) row[k] = spread(i + k, want, lo, hi);
            if (scores) scored_rows(&m->own, t, own, layer, head, row, some);
        }
        m->outputs = scores ? outputs_at(t, own, head, row[at], lo, hi) : NULL;
        if (!measure_row(t, lane, layer, head, row[at], m, &r)) continue;
        mean_add(&mean, &r, 1);
        mass[n_mass++] = r.mass;
    }
    m->outputs = NULL;
    mean_get(&mean, out);
    if (!n_mass) return;
    qsort(mass, (size_t)n_mass, sizeof *mass, ascending);
    out->mass_p5 = mass[n_mass / 20];
}

/* Share of the cache that decode rows read, mean over the recorded steps. */
static struct sac_density decode_density(const struct sac_trace *t, int lane, int layer, int head,
                                         struct measure_scratch *m)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    int n = t->info.n_prompt, rows = rec_rows(t, r);
    double sum = 0;
    for (int row = n; row < rows; row++) {
        sac_trace_rows(t, lane, layer, head, row, &m->rows);
        int visible = row + 1 - rec_first_key(t, layer, row);
        sum += (double)sac_rows_count(&m->rows) / visible;
    }
    double share = rows > n ? sum / (rows - n) : (double)NAN;
    /* One row is one tile of height one: rule, kernel and work agree in decode. Reads follow in the lane. */
    return (struct sac_density){ share, share, share, share };
}

static struct sac_density prefill_density(const struct layer_rec *r, int head)
{
    if (!r->plans) return (struct sac_density){ 1, 1, 1, (double)NAN };
    return sac_plan_density(&r->plans->plan[head]);
}

bool measure_layer_alloc(struct sac_trace *t, int lane, int layer)
{
    struct layer_rec *r = &t->lane[lane]->layer[layer];
    size_t heads = (size_t)t->info.shape.n_heads, dim = (size_t)t->info.shape.head_dim,
           n = ERROR_ROWS * heads * 2 * dim;
    for (int p = 0; p < 2; p++) {
        if (!r->outputs[p]) r->outputs[p] = malloc(n * sizeof *r->outputs[p]);
        for (size_t i = 0; r->outputs[p] && i < n; i++) r->outputs[p][i] = NAN;   /* not made yet */
        if (!r->recall[p]) r->recall[p] = calloc(heads, sizeof *r->recall[p]);
        if (!r->density[p]) r->density[p] = calloc(heads, sizeof *r->density[p]);
        if (!r->recall[p] || !r->density[p]) return false;
    }
    return true;
}

void measure_layer_done(struct sac_trace *t, int lane, int layer)
{
    struct layer_rec *r = &t->lane[lane]->layer[layer];
    for (int p = 0; p < 2; p++) {
        free(r->outputs[p]);
        r->outputs[p] = NULL;
    }
}

void measure_heads(struct sac_trace *t, int lane, int layer, int h0, int h1, struct measure_scratch *m)
{
    struct layer_rec *r = &t->lane[lane]->layer[layer];
    int n = t->info.n_prompt, rows = rec_rows(t, r);
    /* A lane that took over the dense prefill reads its prompt as the dense lane does. */
    const struct layer_rec *dense = &t->lane[0]->layer[layer];
    bool same = r != dense && dense->q == r->q && !dense->plans && !r->plans &&
                atomic_load_explicit(&dense->measured, memory_order_acquire);
    for (int h = h0; h < h1; h++) {
        if (same) r->recall[0][h] = dense->recall[0][h];
        else measure_rows(t, lane, layer, h, 0, n, PREFILL_ROWS, m, &r->recall[0][h]);
        measure_rows(t, lane, layer, h, n, rows, DECODE_ROWS, m, &r->recall[1][h]);
        r->density[0][h] = prefill_density(r, h);
        r->density[1][h] = decode_density(t, lane, layer, h, m);
    }
}

static double mean_of(const double *v, int n)
{
    double sum = 0;
    int k = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(v[i])) sum += v[i], k++;
    return k ? sum / k : (double)NAN;
}

static struct sac_density mean_density(const struct sac_trace *t, int lane, int phase)
{
    const struct sac_shape *s = &t->info.shape;
    int n = s->n_layers * s->n_heads, at = 0;
    double *v[4];
    struct sac_density out = { (double)NAN, (double)NAN, (double)NAN, (double)NAN };
    double *all = malloc(4 * (size_t)n * sizeof *all);
    if (!all) return out;
    for (int i = 0; i < 4; i++) v[i] = all + (size_t)i * (size_t)n;
    for (int l = 0; l < s->n_layers; l++)
        for (int h = 0; h < s->n_heads; h++, at++) {
            struct sac_density d = t->lane[lane]->layer[l].density[phase][h];
            v[0][at] = d.pattern, v[1][at] = d.kernel, v[2][at] = d.work, v[3][at] = d.read;
        }
    out = (struct sac_density){ mean_of(v[0], n), mean_of(v[1], n), mean_of(v[2], n), mean_of(v[3], n) };
    free(all);
    return out;
}

void measure_lane(struct sac_trace *t, int lane)
{
    const struct sac_shape *s = &t->info.shape;
    struct lane_rec *l = t->lane[lane];
    struct sac_recall out[2];
    for (int p = 0; p < 2; p++) {
        struct mean mean = { 0 };
        int rows = 0;
        double p5 = 0;
        for (int i = 0; i < s->n_layers; i++)
            for (int h = 0; h < s->n_heads; h++) {
                struct sac_recall *r = &l->layer[i].recall[p][h];
                mean_add(&mean, r, r->n_rows > 0);
                if (r->n_rows > rows) rows = r->n_rows;
                p5 += isnan(r->mass_p5) ? 0 : r->mass_p5;
            }
        mean_get(&mean, &out[p]);
        if (mean.rows) out[p].mass_p5 = p5 / mean.rows;
        out[p].n_rows = rows;
    }
    struct sac_density prefill = mean_density(t, lane, 0), decode = mean_density(t, lane, 1);
    bool answers =
        l->has_spec && (sac_spec_decode(&l->spec) || sac_spec_evict(&l->spec)) && out[1].n_rows > 0;
    struct sac_lane *pub = trace_lane_edit(t, lane);
    pub->recall_prefill = out[0];
    pub->recall_decode = out[1];
    pub->recall = answers || !sac_spec_prefill(&l->spec) ? out[1].n_rows ? out[1] : out[0] : out[0];
    double read = pub->decode.read;
    pub->prefill = prefill;
    pub->decode = decode;
    if (!isnan(read)) pub->decode.read = read;   /* counted during the run, metadata included */
    trace_lane_done(t);
}

bool sac_trace_recall(const struct sac_trace *t, int lane, int layer, int head, bool decode,
                      struct sac_recall *out)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    if (!r || !atomic_load_explicit(&r->measured, memory_order_acquire)) return false;
    *out = r->recall[decode][head];
    return true;
}

bool sac_trace_head_density(const struct sac_trace *t, int lane, int layer, int head, bool decode,
                            struct sac_density *out)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    if (!r || !atomic_load_explicit(&r->measured, memory_order_acquire)) return false;
    *out = r->density[decode][head];
    return true;
}

double sac_trace_layer_error(const struct sac_trace *t, int lane, int layer, bool decode)
{
    const struct layer_rec *r = trace_layer(t, lane, layer);
    if (!r || !atomic_load_explicit(&r->measured, memory_order_acquire)) return (double)NAN;
    return r->layer_err[decode];
}
