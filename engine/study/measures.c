/* The table of measures: which numbers a lane has, in which order, under which names. */
#include <saccade/measures.h>

#include <math.h>
#include <stddef.h>
#include <string.h>

#define OF_RECALL(field, name, help) { offsetof(struct sac_recall, field), { NULL, name, help, 3 } }
#define KEYS(field, name, help) { offsetof(struct sac_recall, field), { NULL, name, help, 1 } }

/* Of prompt rows and of answer rows alike. */
static const struct { size_t at; struct sac_measure m;
} recall_row[] = {
    OF_RECALL(mass, "mass recall", "dense attention mass on the keys read; the lane's own q and k"),
    OF_RECALL(mass_vs_dense, "mass recall, dense lane's", "the same keys, weights of the dense lane"),
    OF_RECALL(mass_p5, "mass recall, 5th percentile", "of the rows"),
    OF_RECALL(mass_min, "mass recall, worst row", "the least of any row, head and layer"),
    OF_RECALL(oracle, "oracle mass", "the most that as many keys could hold"),
    OF_RECALL(sink_adjusted, "sink-adjusted recall", "mass recall without the first 4 and last 64 keys"),
    OF_RECALL(set, "set recall, own size", "share of the dense top k that is read; k: keys read"),
    OF_RECALL(set10, "set recall, top 10", "share of the 10 heaviest keys that is read"),
    OF_RECALL(set64, "set recall, top 64", "share of the 64 heaviest keys that is read"),
    OF_RECALL(evidence, "evidence recall", "share of the gold spans' tokens that is read"),
    OF_RECALL(evidence_mass, "mass on evidence", "dense mass on the gold spans"),
    OF_RECALL(evidence_mass_kept, "mass on evidence, read", "the part of it that is read"),
    KEYS(kept, "keys read", "a row, mean"),
    KEYS(need90, "keys needed for 0.90", "by an oracle, for that share of the mass"),
    KEYS(need95, "keys needed for 0.95", "by an oracle, for that share of the mass"),
    KEYS(need99, "keys needed for 0.99", "by an oracle, for that share of the mass"),
    OF_RECALL(entropy, "entropy, bits", "of the dense row"),
    OF_RECALL(sink, "mass on sinks", "dense mass on the first 4 keys"),
    OF_RECALL(local, "mass on the last 128", "dense mass on the nearest keys"),
    OF_RECALL(out_err, "output error, heads", "|O - O_S| / |O| of a head's output, mean"),
};
enum { N_RECALL = sizeof recall_row / sizeof *recall_row };

static const char *const phase_name[2] = { "prompt rows", "answer rows" };
static const struct sac_measure per_phase[] = {
    { NULL, "regret", "oracle mass less mass recall", 3 },
    { NULL, "output error, layers", "the same after the output projection, mean of the layers", 3 },
    { NULL, "overlap in a group", "Jaccard of the keys two heads of a KV group read", 3 },
    { NULL, "overlap of steps", "Jaccard of one step's keys and the next one's", 3 },
    { NULL, "overlap of layers", "Jaccard of one layer's keys and the next one's", 3 },
};
enum { N_PHASE = sizeof per_phase / sizeof *per_phase };

static const struct sac_measure head_row[] = {
    { "density", "prefill, pattern", "causal cells that the rule selects", 3 },
    { "density", "prefill, kernel", "causal cells that are computed", 3 },
    { "density", "prefill, work", "cells of all tiles, masked ones too: may exceed 1", 3 },
    { "density", "decode, keys read", "of the cache, a step, without metadata", 3 },
    { "density", "decode, elements read", "K, V and metadata, of the full cache", 3 },
};
enum { N_HEAD = sizeof head_row / sizeof *head_row };

static const struct sac_measure tail_row[] = {
    { "next token", "KL, teacher-forced", "nats, dense against lane on the dense answer", 4 },
    { "next token", "top-1, teacher-forced", "same best token, share of steps", 3 },
    { "next token", "KL, free-running", "nats, the same step of both own answers", 4 },
    { "next token", "top-1, free-running", "same best token, share of steps", 3 },
    { "next token", "gold answer's NLL", "nats a token, teacher-forced", 4 },
    { "next token", "first token that differs", "step, - for none", 0 },
    { "cost", "prefill speed-up, measured", "against lane dense", 2 },
    { "cost", "prefill speed-up, exact form", "operations: causal cells, selection included", 2 },
    { "cost", "prefill speed-up, paper form", "operations: not halved for causality", 2 },
    { "cost", "prefill TFLOP, exact form", "of the batch", 4 },
    { "cost", "selection's share of them", "exact form", 4 },
    { "cost", "decode speed-up, measured", "against lane dense", 2 },
    { "cost", "decode speed-up, exact form", "elements read: weights, cache, metadata", 2 },
    { "cost", "decode speed-up, paper form", "weights of attention as 4 d^2", 2 },
    { "cost", "decode Melements, exact form", "read a step, of the batch", 3 },
    { "cost", "cache's share of them", "K and V, exact form", 4 },
};
enum { N_TAIL = sizeof tail_row / sizeof *tail_row };
enum { N_ROWS = N_HEAD + 2 * (N_RECALL + N_PHASE) + N_TAIL };
_Static_assert((int)N_ROWS <= (int)SAC_MEASURES_MAX, "SAC_MEASURES_MAX");

int sac_measures(struct sac_measure row[SAC_MEASURES_MAX])
{
    int n = 0;
    for (int i = 0; i < N_HEAD; i++) row[n++] = head_row[i];
    for (int p = 0; p < 2; p++) {
        for (int i = 0; i < N_RECALL; i++) row[n] = recall_row[i].m, row[n++].section = phase_name[p];
        for (int i = 0; i < N_PHASE; i++) row[n] = per_phase[i], row[n++].section = phase_name[p];
    }
    for (int i = 0; i < N_TAIL; i++) row[n++] = tail_row[i];
    return n;
}

static double given(double v, double otherwise) { return isnan(v) ? otherwise : v; }

/* Layers are not alike: those with a sliding window see less, and in them as in layers kept dense no method decides.
 * Means over the layers. */
struct extent {
    double cells, cache;      /* shares of the causal cells, and of the cache, that dense attention reads */
    double rho, read;         /* the same of the lane */
    double decides;           /* share of layers in which the method decides */
};

/* Mean density of the cells that a layer computes, or of the cache slots that it reads; otherwise the lane's. */
static double layer_density(const struct sac_trace *t, int lane, int layer, bool decode, double otherwise)
{
    struct sac_trace_info info;
    struct sac_density d;
    double sum = 0;
    sac_trace_info(t, &info);
    for (int h = 0; h < info.shape.n_heads; h++) {
        if (!sac_trace_head_density(t, lane, layer, h, decode, &d) || isnan(d.kernel)) return otherwise;
        sum += d.kernel;
    }
    return sum / info.shape.n_heads;
}

static struct extent extent_of(const struct sac_trace *t, int lane, const struct sac_spec *spec, double n, double end)
{
    struct sac_trace_info info;
    struct sac_lane l;
    struct extent e = { 0 };
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, &l);
    for (int i = 0; i < info.shape.n_layers; i++) {
        int window = 0;
        bool windowed = sac_trace_layer_windowed(t, i, &window);
        double w = windowed ? window : end, seen = w < n ? w * (w + 1) / 2 + (n - w) * w : n * (n + 1) / 2;
        double cells = seen / (n * (n + 1) / 2), cache = w < end ? w / end : 1;
        e.cells += cells, e.cache += cache;
        e.rho += cells * layer_density(t, lane, i, false, given(l.prefill.kernel, 1));
        e.read += cache * layer_density(t, lane, i, true, given(l.decode.kernel, 1));
        e.decides += !windowed && !(spec && sac_spec_layer_dense(spec, i));
    }
    double *all[] = { &e.cells, &e.cache, &e.rho, &e.read, &e.decides };
    for (int i = 0; i < 5; i++) *all[i] /= info.shape.n_layers;
    return e;
}

void sac_measures_cost(const struct sac_trace *t, int lane, double batch, struct sac_lane_cost *out)
{
    struct sac_trace_info info;
    struct sac_lane l, dense;
    struct sac_spec spec;
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, &l);
    sac_trace_lane(t, 0, &dense);
    *out = (struct sac_lane_cost){ .batch = batch, .measured = { (double)NAN, (double)NAN } };
    bool known = sac_spec_parse(&spec, l.spec, NULL) == SAC_OK &&
                 sac_spec_resolve(&spec, &info.shape, info.n_prompt, NULL) == SAC_OK;
    const struct sac_part *pre = known ? sac_spec_prefill(&spec) : NULL,
                          *evict = known ? sac_spec_evict(&spec) : NULL,
                          *dec = known ? sac_spec_decode(&spec) : NULL;
    double n = info.n_prompt, end = n + l.n_steps;
    struct extent e = extent_of(t, lane, known ? &spec : NULL, n, end);
    double select = sac_cost_selection(pre, &info.shape, n) +
                    (evict != pre ? sac_cost_selection(evict, &info.shape, n) : 0);
    double meta = sac_cost_metadata(dec, &info.shape, end);
    for (int f = 0; f < 2; f++) {
        enum sac_cost_form form = (enum sac_cost_form)f;
        out->prefill[f] = sac_cost_prefill(&info.shape, form, n, e.rho, select * e.decides, batch);
        out->decode[f] = sac_cost_decode(&info.shape, form, end, e.read, meta * e.decides, batch);
        out->model[f].prefill =
            sac_cost_prefill(&info.shape, form, n, e.cells, 0, batch).total / out->prefill[f].total;
        out->model[f].decode =
            sac_cost_decode(&info.shape, form, end, e.cache, 0, batch).total / out->decode[f].total;
    }
    if (strcmp(dense.spec, "dense") != 0) return;
    if (!l.shared_prefill && l.prefill_s > 0) out->measured.prefill = dense.prefill_s / l.prefill_s;
    if (l.decode_tok_s > 0 && dense.decode_tok_s > 0)
        out->measured.decode = l.decode_tok_s / dense.decode_tok_s;
}

static double layers_error(const struct sac_trace *t, int lane, int n_layers, bool decode)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < n_layers; i++) {
        double e = sac_trace_layer_error(t, lane, i, decode);
        if (!isnan(e)) sum += e, n++;
    }
    return n ? sum / n : (double)NAN;
}

void sac_measures_lane(const struct sac_trace *t, int lane, double batch, double *value)
{
    struct sac_trace_info info;
    struct sac_lane l;
    struct sac_lane_cost c;
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, &l);
    sac_measures_cost(t, lane, batch, &c);
    double *v = value;
    *v++ = l.prefill.pattern, *v++ = l.prefill.kernel, *v++ = l.prefill.work;
    *v++ = l.decode.kernel, *v++ = l.decode.read;
    for (int p = 0; p < 2; p++) {
        const struct sac_recall *r = p ? &l.recall_decode : &l.recall_prefill;
        bool rows = r->n_rows > 0;
        for (int i = 0; i < N_RECALL; i++)
            *v++ = *(const double *)(const void *)((const char *)r + recall_row[i].at);
        struct sac_overlap o = { (double)NAN, (double)NAN, (double)NAN };
        if (rows) o = sac_trace_overlap(t, lane, p == 1);
        *v++ = r->oracle - r->mass;
        *v++ = rows ? layers_error(t, lane, info.shape.n_layers, p == 1) : (double)NAN;
        *v++ = o.group, *v++ = o.steps, *v++ = o.layers;
    }
    *v++ = l.kl, *v++ = l.top1, *v++ = l.kl_free, *v++ = l.top1_free, *v++ = l.nll_gold;
    *v++ = l.first_diff < 0 ? (double)NAN : l.first_diff;
    const struct sac_prefill_cost *x = &c.prefill[SAC_COST_EXACT];
    *v++ = c.measured.prefill, *v++ = c.model[SAC_COST_EXACT].prefill, *v++ = c.model[SAC_COST_PAPER].prefill;
    *v++ = x->total * 1e-12, *v++ = x->selection / x->total;
    const struct sac_decode_cost *d = &c.decode[SAC_COST_EXACT];
    *v++ = c.measured.decode, *v++ = c.model[SAC_COST_EXACT].decode, *v++ = c.model[SAC_COST_PAPER].decode;
    *v++ = d->total * 1e-6, *v++ = d->kv / d->total;
}
