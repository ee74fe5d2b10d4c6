/* How exactly q, k and v are written, so that a file keeps within its size.
 *
 * Before each layer of a lane the bytes that are left are shared out among what is still to come: lane 0
 * counts whole, lanes with a prefill of their own as the differences they are, lanes that share nothing. The
 * least error of a ladder that fits is taken; the last rung is taken in any case. */
#include "trace/trace_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double ladder[] = {
    0.001, 0.0014, 0.002, 0.0028, 0.004, 0.0056, 0.008, 0.011, 0.016, 0.022, 0.03
};
enum { RUNGS = sizeof ladder / sizeof *ladder, GRID = 256, LEAST_ROWS = 256 };
#define MARGIN 0.97 /* of the size; the rest is for plans, measures and the answer */

struct tf_arrays {
    const struct sac_trace *t;
    double most; /* bytes */
    bool rough, values, overviews;
    bool *wanted;  /* [n_layers] */
    float **step;  /* [n_layers] lane 0: [heads + 2 kv_heads][dim]; NULL: not in steps */
    double *error; /* [n_layers] they were chosen for */
    double worst;
};

/* Parts of a layer: which array, how many heads, where its columns are among those of the layer. */
struct part {
    const float *v;
    struct tf_array a;
    size_t at;
};

static void parts_of(const struct sac_trace *t, const struct layer_rec *r, struct part p[3])
{
    const struct sac_shape *s = &t->info.shape;
    const struct blob *b[3] = { r->q, r->k, r->v };
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        int heads = i ? s->n_kv_heads : s->n_heads;
        p[i] = (struct part){ b[i] ? b[i]->data : NULL, { heads, t->info.n_prompt, s->head_dim }, at };
        at += (size_t)heads * (size_t)s->head_dim;
    }
}

static size_t columns(const struct sac_trace *t)
{
    const struct sac_shape *s = &t->info.shape;
    return (size_t)(s->n_heads + 2 * s->n_kv_heads) * (size_t)s->head_dim;
}

struct tf_arrays *tf_arrays_new(const struct sac_trace *t, const struct sac_trace_save *o)
{
    int n = t->info.shape.n_layers;
    struct tf_arrays *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    *s = (struct tf_arrays){ .t = t,
                             .most = o->most ? (double)o->most : SAC_TRACE_MOST,
                             .rough = o->small,
                             .values = !o->no_values,
                             .overviews = !o->small };
    s->wanted = calloc((size_t)n, sizeof *s->wanted);
    s->step = calloc((size_t)n, sizeof *s->step);
    s->error = calloc((size_t)n, sizeof *s->error);
    if (!s->wanted || !s->step || !s->error) {
        tf_arrays_free(s);
        return NULL;
    }
    for (int i = 0; i < n; i++) s->wanted[i] = o->n_layers == 0;
    for (int i = 0; i < o->n_layers; i++)
        if (o->layer[i] >= 0 && o->layer[i] < n) s->wanted[o->layer[i]] = true;
    return s;
}

void tf_arrays_free(struct tf_arrays *s)
{
    for (int i = 0; s && s->step && i < s->t->info.shape.n_layers; i++) free(s->step[i]);
    if (s) free(s->step), free(s->error), free(s->wanted);
    free(s);
}

double tf_arrays_worst(const struct tf_arrays *s) { return s->worst; }

/* Bytes of a difference to those of lane 0's array: layer 0 has none, then they grow with what was left out.
 */
static double difference(int layer, int layers) { return layer ? 0.25 + 0.4 * layer / layers : 0.01; }

/* What an array of that lane costs beside one of lane 0. */
static double weight(const struct tf_arrays *s, int lane, int layer)
{
    const struct lane_rec *rec = s->t->lane[lane];
    bool base = s->t->lane[0]->layer != NULL;
    if (!rec->layer || !s->wanted[layer]) return 0;
    if (lane == 0) return 1;
    if (rec->has_spec && !sac_spec_prefill(&rec->spec)) return base ? 0 : 1;
    return base ? difference(layer, s->t->info.shape.n_layers) : 1;
}

/* Bytes for this layer, of `left`. */
static double share(const struct tf_arrays *s, int lane, int layer, bool *const *done, double left)
{
    const struct sac_shape *sh = &s->t->info.shape;
    double all = 0, mine = fmax(weight(s, lane, layer), 0.01), overviews = 0;
    for (int i = 0; i < sac_trace_n_lanes(s->t); i++)
        for (int k = 0; k < sh->n_layers; k++) {
            double w = weight(s, i, k);
            if (s->overviews && w > 0) overviews += 0.55 * 2 * sh->n_heads * GRID * GRID;
            if ((i != lane || k != layer) && !(done[i] && done[i][k])) all += w;
        }
    return (left - overviews) * mine / (all + mine);
}

/* Steps of all columns of a layer, and about how many bytes that makes. */
static double choose(const struct tf_arrays *s, const struct part p[3], const struct tf_moments *m,
                     double scale, double error, float *step)
{
    tf_steps_scores(&p[0].a, m, &p[1].a, m + p[1].at, false, scale, error, step);
    tf_steps_scores(&p[1].a, m + p[1].at, &p[0].a, m, true, scale, error, step + p[1].at);
    double bytes = tf_steps_bytes(&p[0].a, m, step) + tf_steps_bytes(&p[1].a, m + p[1].at, step + p[1].at);
    if (!p[2].v || !s->values) return bytes;
    tf_steps_values(&p[2].a, m + p[2].at, fmax(2 * error, 0.005), step + p[2].at);
    return bytes + tf_steps_bytes(&p[2].a, m + p[2].at, step + p[2].at);
}

/* Before any attention a prompt is the same in all lanes. */
static bool equal(const struct part p[3], const struct part base[3])
{
    for (int i = 0; i < 3; i++) {
        size_t n = (size_t)p[i].a.heads * (size_t)p[i].a.rows * (size_t)p[i].a.dim;
        if ((p[i].v || base[i].v) && (!p[i].v || !base[i].v || memcmp(p[i].v, base[i].v, n * sizeof(float))))
            return false;
    }
    return true;
}

/* Are differences smaller than the values themselves? */
static bool nearer(const struct tf_moments *m, size_t n)
{
    double bits = 0;
    for (size_t i = 0; i < n; i++) bits += log2((m[i].spread + 1e-30) / (m[i].coded + 1e-30));
    return bits > 0;
}

static bool moments(const struct part p[3], const struct part base[3], const float *base_step,
                    struct tf_moments *m)
{
    for (int i = 0; i < 3; i++)
        if (p[i].v && !tf_moments(p[i].v, &p[i].a, base_step ? base[i].v : NULL,
                                  base_step ? base_step + p[i].at : NULL, m + p[i].at))
            return false;
    return true;
}

bool tf_arrays_pack(struct tf_arrays *s, int lane, int layer, const struct layer_rec *r, bool *const *done,
                    double written, struct tf_out out[3])
{
    const struct layer_rec *o = lane ? trace_layer_full(s->t, 0, layer) : NULL;
    const float *base_step = o && o->q && o->k ? s->step[layer] : NULL;
    size_t n = columns(s->t);
    struct part p[3], base[3];
    if (s->t->info.n_prompt < LEAST_ROWS || !r->q || !r->k) return false;
    struct tf_moments *m = calloc(n, sizeof *m);
    float *step = calloc(n, sizeof *step);
    parts_of(s->t, r, p);
    if (base_step) parts_of(s->t, o, base);
    if (base_step && p[2].v && !base[2].v) base_step = NULL;
    bool ok = m && step && moments(p, base, base_step, m);
    if (ok && base_step && !nearer(m, p[2].at)) {
        base_step = NULL;
        ok = moments(p, base, NULL, m);
    }
    double error = ladder[RUNGS - 1];
    double room = ok ? share(s, lane, layer, done, MARGIN * s->most - written) : 0;
    if (ok && base_step && equal(p, base)) {
        memcpy(step, base_step, n * sizeof *step);
        error = s->error[layer];
    } else if (ok) {
        for (int i = s->rough ? RUNGS - 1 : 0; i < RUNGS; i++) {
            error = ladder[i];
            if (choose(s, p, m, s->t->scale[layer], error, step) <= room) break;
        }
    }
    for (int i = 0; i < 3 && ok; i++) {
        if (!p[i].v || (i == 2 && !s->values)) continue;
        tf_u32(&out[i], (uint32_t)lane);
        tf_u32(&out[i], (uint32_t)layer);
        tf_u32(&out[i], TF_STEPS);
        tf_steps_pack(&out[i], p[i].v, &p[i].a, m + p[i].at, step + p[i].at,
                      i == 2 ? fmax(2 * error, 0.005) : error, base_step ? base[i].v : NULL,
                      base_step ? base_step + p[i].at : NULL);
    }
    if (ok) s->worst = fmax(s->worst, error);
    free(m);
    if (ok && !lane)
        s->step[layer] = step;
    else
        free(step);
    return ok;
}
