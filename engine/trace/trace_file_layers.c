/* Chunks of one layer of a lane: plans, kept keys, steps, measures, generated rows, and where q, k, v lie.
 *
 * Nothing is believed: lists must be sorted, disjoint and in range, numbers must fit the shape of the model.
 */
#include "trace/trace_file_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sorted, disjoint, never touching, within [0, most). */
static int read_runs(struct tf_in *in, struct sac_run *run, uint64_t n, int most)
{
    int at = 0;
    for (uint64_t i = 0; i < n; i++) {
        int lo = at + (int)tf_getvar(in, (uint64_t)(most - at)), len = (int)tf_getvar(in, (uint64_t)most);
        if (in->bad || len <= 0 || len > most - lo || (i && lo == at)) return -1;
        run[i] = (struct sac_run){ lo, lo + len };
        at = lo + len;
    }
    return 0;
}

static int *read_ints(struct tf_in *in, int *n, int most, bool sorted)
{
    uint64_t count = tf_getvar(in, (uint64_t)(in->end - in->p));      /* at least a byte each */
    int *v = malloc((count + 1) * sizeof *v);
    *n = 0;
    for (uint64_t i = 0; v && i < count && !in->bad; i++) {
        int d = (int)tf_getvar(in, (uint64_t)most + 1);
        v[i] = sorted ? (i ? v[i - 1] : 0) + d : d - 1;
        if (v[i] > most || (sorted && i && d == 0)) in->bad = true;
    }
    if (!v || in->bad) {
        free(v);
        in->bad = true;
        return NULL;
    }
    *n = (int)count;
    return v;
}

static bool read_plan(struct tf_in *in, struct sac_plan *p, int n)
{
    memset(p, 0, sizeof *p);
    p->tile = (int)tf_getvar(in, 1u << 20);
    p->n_rows = (int)tf_getvar(in, (uint64_t)n);
    p->n_tiles = (int)tf_getvar(in, (uint64_t)n);
    if (in->bad || p->tile < 1 || p->n_rows != n || p->n_tiles != (n + p->tile - 1) / p->tile) return false;
    int most = n + 2 * p->tile + 4096;     /* plans may run past the end of the prompt; readers clip them */
    p->at = calloc((size_t)p->n_tiles + 1, sizeof *p->at);
    if (!p->at) return false;
    for (int i = 0; i < p->n_tiles; i++) {
        uint64_t k = tf_getvar(in, (uint64_t)(in->end - in->p) / 2);
        if (in->bad) return false;
        if (p->n_run + k > p->cap_run) {
            size_t cap = (p->n_run + k) * 2 + 64;
            struct sac_run *grown = realloc(p->run, cap * sizeof *grown);
            if (!grown) return false;
            p->run = grown;
            p->cap_run = cap;
        }
        if (read_runs(in, p->run + p->n_run, k, most)) return false;
        p->n_run += k;
        p->at[i + 1] = p->n_run;
    }
    p->vertical = read_ints(in, &p->n_vertical, n, true);
    p->slash = in->bad ? NULL : read_ints(in, &p->n_slash, n, true);
    if (in->bad) return false;
    if (!p->n_vertical) free(p->vertical), p->vertical = NULL;
    if (!p->n_slash) free(p->slash), p->slash = NULL;
    p->blocks_per_tile = (int)tf_getvar(in, (uint64_t)n);
    if (p->blocks_per_tile) {
        int count;
        p->blocks = read_ints(in, &count, n, false);
        if (in->bad || count != p->n_tiles * p->blocks_per_tile) return false;
    }
    p->pattern_cells = tf_getf64(in);
    sac_plan_fold(p);
    return !in->bad;
}

static enum sac_code read_plans(struct reader *r, struct tf_in *in, struct layer_rec *l)
{
    int heads = r->info.shape.n_heads;
    if (tf_getvar(in, TF_MAX_HEADS) != (uint64_t)heads || in->bad || l->plans)
        return tf_damaged(r, "plans do not match the heads");
    struct plans *p = calloc(1, sizeof *p + (size_t)heads * sizeof p->plan[0]);
    if (!p) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    atomic_init(&p->refs, 1);
    l->plans = p;
    for (int h = 0; h < heads; h++) {
        p->n = h + 1;
        if (!read_plan(in, &p->plan[h], r->info.n_prompt))
            return tf_damaged(r, "a plan is not sorted or out of range");
    }
    return SAC_OK;
}

static enum sac_code read_kept(struct reader *r, struct tf_in *in, struct layer_rec *l)
{
    int n = r->info.shape.n_kv_heads;
    if (l->kept) return tf_damaged(r, "kept keys twice");
    l->kept = calloc((size_t)n, sizeof *l->kept);
    l->kept_n = calloc((size_t)n, sizeof *l->kept_n);
    if (!l->kept || !l->kept_n) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    for (int g = 0; g < n; g++) {
        l->kept[g] = read_ints(in, &l->kept_n[g], r->info.n_prompt - 1, true);
        if (!l->kept[g]) return tf_damaged(r, "kept keys are not sorted or out of range");
    }
    return SAC_OK;
}

static enum sac_code read_steps(struct reader *r, struct tf_in *in, struct layer_rec *l, int max_new)
{
    const struct sac_shape *s = &r->info.shape;
    int n = (int)tf_getvar(in, (uint64_t)max_new);
    for (int i = 0; i < n && !in->bad; i++) {
        int units = (int)tf_getvar(in, (uint64_t)s->n_heads), row = r->info.n_prompt + i;
        if (!units) continue;
        if ((units != s->n_heads && units != s->n_kv_heads) || l->steps[i])
            return tf_damaged(r, "a step has the wrong heads");
        struct step_rows *st = l->steps[i] = calloc(1, sizeof *st);
        if (!st) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
        st->at = calloc((size_t)units + 1, sizeof *st->at);
        st->n_units = units;
        for (int u = 0; st->at && u < units; u++) {
            uint64_t k = tf_getvar(in, (uint64_t)(in->end - in->p) / 2);
            struct sac_run *grown =
                in->bad ? NULL : realloc(st->run, ((size_t)st->at[u] + k + 1) * sizeof *grown);
            if (!grown) return tf_damaged(r, "a step is out of range");
            st->run = grown;
            if (read_runs(in, st->run + st->at[u], k, row + 1))
                return tf_damaged(r, "a step is not sorted or out of range");
            st->at[u + 1] = st->at[u] + (int)k;
        }
        if (!st->at) return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
    }
    if (in->bad) return tf_damaged(r, "the steps end early");
    /* A layer recorded for its measures alone has rows all the same. */
    if (!atomic_load(&l->n_dec)) atomic_store_explicit(&l->n_dec, n, memory_order_release);
    return SAC_OK;
}

static enum sac_code read_measures(struct reader *r, struct tf_in *in, struct layer_rec *l)
{
    int heads = r->info.shape.n_heads;
    if ((size_t)(in->end - in->p) != (size_t)heads * 2 * (TF_RECALL + TF_DENSITY) * 8 || l->recall[0])
        return tf_damaged(r, "the measures do not match the heads");
    for (int p = 0; p < 2; p++) {
        l->recall[p] = calloc((size_t)heads, sizeof *l->recall[p]);
        l->density[p] = calloc((size_t)heads, sizeof *l->density[p]);
        if (!l->recall[p] || !l->density[p])
            return sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
        for (int h = 0; h < heads; h++) {
            double v[TF_RECALL];
            for (int i = 0; i < TF_RECALL; i++) v[i] = tf_getf64(in);
            tf_recall_in(v, &l->recall[p][h]);
            double d[TF_DENSITY];
            for (int i = 0; i < TF_DENSITY; i++) d[i] = tf_getf64(in);
            l->density[p][h] = (struct sac_density){ d[0], d[1], d[2], d[3] };
        }
    }
    atomic_store_explicit(&l->measured, true, memory_order_release);
    return SAC_OK;
}

long long tf_float_count(uint64_t raw, uint32_t precision, int dim)
{
    if (raw < 12 || precision > TF_Q8) return -1;
    uint64_t bytes = raw - 12, row = (uint64_t)dim, each = precision == TF_F16 ? 2 : 4;
    if (precision == TF_Q8) return bytes % (row + 2) ? -1 : (long long)(bytes / (row + 2) * row);
    return bytes % each ? -1 : (long long)(bytes / each);
}

static float *floats_of(struct tf_in *in, uint64_t raw, int dim, long long *n)
{
    uint32_t how = tf_get32(in);
    *n = tf_float_count(raw, how, dim);
    float *v = *n < 0 ? NULL : malloc(((size_t)*n + 1) * sizeof *v);
    if (v) tf_unpack(in->p, (size_t)*n, (enum tf_precision)how, dim, v);
    return v;
}

static enum sac_code read_decode(struct reader *r, struct tf_in *in, struct layer_rec *l, char which,
                                 uint64_t raw, int max_new)
{
    const struct sac_shape *s = &r->info.shape;
    size_t row = (size_t)(which == 'Q' ? s->n_heads : s->n_kv_heads) * (size_t)s->head_dim;
    long long n;
    float *v = floats_of(in, raw, r->info.shape.head_dim, &n), *to = which == 'Q'   ? l->q_dec
                                                                     : which == 'K' ? l->k_dec
                                                                                    : l->v_dec;
    bool ok = v && n % (long long)row == 0 && n / (long long)row <= max_new;
    if (ok) memcpy(to, v, (size_t)n * sizeof *v);
    free(v);
    if (!ok) return tf_damaged(r, "rows of generated tokens do not match their number");
    int rows = (int)(n / (long long)row);
    if (which == 'Q') atomic_store_explicit(&l->n_dec, rows, memory_order_release);
    else if (rows != atomic_load(&l->n_dec))
        return tf_damaged(r, "keys and queries of generated tokens differ in number");
    return SAC_OK;
}

static enum sac_code read_overview(struct reader *r, struct tf_in *in, struct layer_rec *l, uint64_t raw)
{
    long long n, heads = r->info.shape.n_heads;
    float *v = floats_of(in, raw, r->info.shape.head_dim, &n);
    int grid = v ? (int)(sqrt((double)n / 2 / (double)heads) + 0.5) : 0;
    if (!v || l->overview || n != 2 * heads * grid * grid) {
        free(v);
        return tf_damaged(r, "an overview does not match the heads");
    }
    l->grid = grid;
    l->overview = blob_take(v, (size_t)n * sizeof *v);
    return l->overview ? SAC_OK : sac_fail(r->err, SAC_ENOMEM, "%s: does not fit in memory", r->path);
}

/* In steps: at least a byte for each value and nine for each column; from: lane 0 or none. */
static bool fits_steps(struct reader *r, struct tf_in *in, uint64_t raw, int layer, char which,
                       long long values, bool *differs)
{
    uint32_t from = tf_get32(in), rows = tf_get32(in), bits = tf_get32(in);
    float error;
    memcpy(&error, &bits, sizeof error);
    if (which != 'V' && error > 0 && error < 1)
        r->info.weight_error = fmax(r->info.weight_error, sqrt(2) * (double)error);
    long long columns = values / r->info.n_prompt;
    const struct heavy *o = r->lane > 0 && r->f->heavy[0] ? &r->f->heavy[0][layer] : NULL;
    const struct place *base = !o ? NULL : which == 'Q' ? &o->q : which == 'K' ? &o->k : &o->v;
    *differs = from != UINT32_MAX;
    if (*differs && (from != 0 || !base || !base->at)) return false;
    return !in->bad && rows == (uint32_t)r->info.n_prompt &&
           raw >= (uint64_t)TF_FIRST + (uint64_t)columns * 9 + (uint64_t)values;
}

/* q, k, v: noted here, read when asked for. */
static enum sac_code note_heavy(struct reader *r, struct heavy *h, int layer, char which,
                                const struct place *p, struct tf_in *in)
{
    const struct sac_shape *s = &r->info.shape;
    uint32_t how = tf_get32(in);
    long long want = (long long)(which == 'Q' ? s->n_heads : s->n_kv_heads) * s->head_dim * r->info.n_prompt;
    struct place *to = which == 'Q' ? &h->q : which == 'K' ? &h->k : &h->v;
    bool differs = false, fits = how == TF_STEPS ? fits_steps(r, in, p->raw, layer, which, want, &differs)
                                                 : tf_float_count(p->raw, how, s->head_dim) == want;
    if (to->at || !fits) return tf_damaged(r, "an array does not match the shape of the model");
    *to = *p;
    to->differs = differs;
    return SAC_OK;
}

/* Share the lighter parts at once; q, k and v follow when the layer is loaded. */
static enum sac_code read_same(struct reader *r, struct tf_in *in, struct layer_rec *l, int layer)
{
    int from = (int)tf_get32(in);
    if (from < 0 || from >= r->lane || !r->f->heavy[from] || !r->t->lane[from]->layer)
        return tf_damaged(r, "a lane shares with one that is not there");
    const struct layer_rec *o = &r->t->lane[from]->layer[layer];
    r->f->heavy[r->lane][layer].same = from;
    l->overview = blob_share(o->overview);
    l->grid = o->grid;
    if (o->plans) {
        atomic_fetch_add(&o->plans->refs, 1);
        l->plans = o->plans;
    }
    return SAC_OK;
}

enum sac_code tf_read_layer(struct reader *r, const struct head *h, struct tf_in *in, const struct place *p)
{
    uint32_t lane = tf_get32(in), layer = tf_get32(in);
    struct lane_rec *rec = tf_turn_to(r, lane) ? r->t->lane[lane] : NULL;
    if (!rec || layer >= (uint32_t)r->info.shape.n_layers || !rec->layer)
        return tf_damaged(r, "a layer belongs to no lane");
    struct layer_rec *l = &rec->layer[layer];
    struct heavy *hv = &r->f->heavy[r->lane][layer];
    if (!memcmp(h->kind + 1, "   ", 3)) return note_heavy(r, hv, (int)layer, h->kind[0], p, in);
    if (!memcmp(h->kind, "SAME", 4)) return read_same(r, in, l, (int)layer);
    if (!memcmp(h->kind, "PLAN", 4)) return read_plans(r, in, l);
    if (!memcmp(h->kind, "KEPT", 4)) return read_kept(r, in, l);
    if (!memcmp(h->kind, "STEP", 4)) return read_steps(r, in, l, rec->max_new);
    if (!memcmp(h->kind, "MEAS", 4)) return read_measures(r, in, l);
    if (!memcmp(h->kind, "OVER", 4)) return read_overview(r, in, l, h->raw);
    return read_decode(r, in, l, h->kind[0], h->raw, rec->max_new);
}
