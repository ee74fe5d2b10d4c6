/* The head grid as numbers: nine measures, order, filter, summary, likeness; see vdata.h. */
#include "vdata.h"

#include "filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct ui_metric_info ui_metric_info[UI_N_METRICS] = {
    { "recall",   "mass recall",  "dense probability that the kept keys cover", 0, 1, 1 },
    { "set",      "set recall",   "share of the dense top-m that is kept, m = keys kept", 0, 1, 1 },
    { "regret",   "regret",       "oracle mass at the same size minus mass recall", 0, .5, -1 },
    { "entropy",  "entropy",      "of the dense row, bits: small is sharp, large is broad", 0, 12, 0 },
    { "sink",     "sink share",   "dense probability on the first 4 tokens", 0, 1, 0 },
    { "local",    "local share",  "dense probability on the last 128 tokens", 0, 1, 0 },
    { "gold",     "gold mass",    "dense probability on the gold spans", 0, 1, 0 },
    { "sparsity", "sparsity",     "1 - keys read / keys visible", 0, 1, 0 },
    { "error",    "output error", "relative L2 of the head's output against dense", 0, 1, -1 },
};

int ui_metric_find(const char *name)
{
    for (int i = 0; i < UI_N_METRICS; i++)
        if (!strcmp(name, ui_metric_info[i].name)) return i;
    return -1;
}

double ui_head_metric(const struct ui_head *h, enum ui_metric m)
{
    if (!h->known) return (double)NAN;
    switch (m) {
    case UI_M_MASS:     return h->r.mass;
    case UI_M_SET:      return h->r.set;
    case UI_M_REGRET:   return h->r.oracle - h->r.mass;
    case UI_M_ENTROPY:  return h->r.entropy;
    case UI_M_SINK:     return h->r.sink;
    case UI_M_LOCAL:    return h->r.local;
    case UI_M_GOLD:     return h->r.evidence_mass;
    case UI_M_SPARSITY: return 1 - h->d.kernel;
    case UI_M_ERROR:    return h->r.out_err;
    default:            return (double)NAN;
    }
}

struct ui_heads *ui_heads_compute(struct sac_trace *t, int lane, const atomic_bool *cancel)
{
    struct sac_trace_info info;
    struct sac_lane la;
    sac_trace_info(t, &info);
    sac_trace_lane(t, lane, &la);
    int n = info.shape.n_layers * info.shape.n_heads;
    struct ui_heads *hs = calloc(1, sizeof *hs + (size_t)n * sizeof *hs->head);
    if (!hs) return NULL;
    hs->n_layers = info.shape.n_layers;
    hs->n_heads = info.shape.n_heads;
    hs->n_kv_heads = info.shape.n_kv_heads;
    /* Answer rows where decode is sparse; a method that acts in prefill only is judged there. */
    hs->decode = la.n_steps > 0 && (la.recall_decode.n_rows > 0 || la.decode.kernel < 0.9999)
                 && !(la.decode.kernel >= 0.9999 && la.prefill.kernel < 0.9999);
    for (int i = 0; i < n; i++) {
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed)) { free(hs); return NULL; }
        struct ui_head *h = &hs->head[i];
        int layer = i / hs->n_heads, head = i % hs->n_heads;
        h->known = sac_trace_recall(t, lane, layer, head, hs->decode, &h->r);
        if (!sac_trace_head_density(t, lane, layer, head, hs->decode, &h->d))
            h->d = (struct sac_density){ (double)NAN, (double)NAN, (double)NAN, (double)NAN };
        hs->n_known += h->known;
    }
    return hs;
}

const char *ui_head_pattern(const struct ui_head *h)
{
    if (!h->known) return "-";
    if (h->r.evidence_mass > 0.15) return "retrieval-like";
    if (h->r.sink > 0.5) return "sink";
    if (h->r.local > 0.6) return "local";
    if (h->r.entropy > 8) return "broad";
    return "mixed";
}

struct pick { double key; int i; };

static int by_key(const void *a, const void *b)
{
    const struct pick *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->i - y->i;
}

int ui_heads_similar(const struct ui_heads *hs, int of, int n, int *out)
{
    static const enum ui_metric feature[] = { UI_M_ENTROPY, UI_M_SINK, UI_M_LOCAL,
                                              UI_M_GOLD,    UI_M_MASS, UI_M_SET };
    int all = hs->n_layers * hs->n_heads, m = 0;
    if (of < 0 || of >= all || !hs->head[of].known) return 0;
    struct pick *p = malloc((size_t)all * sizeof *p);
    if (!p) return 0;
    for (int i = 0; i < all; i++) {
        if (i == of || !hs->head[i].known) continue;
        double d = 0;
        for (size_t f = 0; f < sizeof feature / sizeof *feature; f++) {
            double a = ui_head_metric(&hs->head[of], feature[f]),
                   b = ui_head_metric(&hs->head[i], feature[f]);
            double unit = ui_metric_info[feature[f]].hi;
            if (!isnan(a) && !isnan(b)) d += (a - b) * (a - b) / (unit * unit);
        }
        p[m++] = (struct pick){ d, i };
    }
    qsort(p, (size_t)m, sizeof *p, by_key);
    if (m > n) m = n;
    for (int i = 0; i < m; i++) out[i] = p[i].i;
    free(p);
    return m;
}

static bool matches(const struct ui_heads *hs, int i, const char *filter, char *err, size_t cap, bool *wrong)
{
    struct ui_filter_name name[UI_N_METRICS + 5];
    int n = 0, per = hs->n_heads / (hs->n_kv_heads > 0 ? hs->n_kv_heads : 1), head = i % hs->n_heads;
    for (int m = 0; m < UI_N_METRICS; m++)
        name[n++] = (struct ui_filter_name){ ui_metric_info[m].name, ui_head_metric(&hs->head[i], m) };
    name[n++] = (struct ui_filter_name){ "oracle", hs->head[i].known ? hs->head[i].r.oracle : (double)NAN };
    name[n++] = (struct ui_filter_name){ "kept", hs->head[i].known ? hs->head[i].r.kept : (double)NAN };
    name[n++] = (struct ui_filter_name){ "layer", i / hs->n_heads };
    name[n++] = (struct ui_filter_name){ "head", head };
    name[n++] = (struct ui_filter_name){ "kv", head / (per > 0 ? per : 1) };
    double v = ui_filter_eval(filter, name, n, err, cap);
    *wrong = err && *err;
    return !isnan(v) && v != 0;
}

bool ui_heads_filter_ok(const char *filter, char *err, size_t cap)
{
    struct ui_heads *none = calloc(1, sizeof *none + sizeof *none->head);
    bool wrong = true;
    if (!none) return false;
    none->n_layers = none->n_heads = none->n_kv_heads = 1;
    matches(none, 0, filter, err, cap, &wrong);
    free(none);
    return !wrong;
}

/* How far from good: sorts first what a reader wants to see first. */
static double badness(const struct ui_head *h, enum ui_metric m)
{
    double v = ui_head_metric(h, m);
    if (isnan(v)) return HUGE_VAL;
    return ui_metric_info[m].good > 0 ? v : -v;
}

int ui_heads_order(const struct ui_heads *hs, enum ui_metric m, bool worst_first, const char *filter,
                   int *order, char *err, size_t cap)
{
    int all = hs->n_layers * hs->n_heads, n = 0;
    struct pick *p = malloc((size_t)(all ? all : 1) * sizeof *p);
    if (!p) return 0;
    for (int i = 0; i < all; i++) {
        bool wrong = false;
        if (filter && *filter && !matches(hs, i, filter, err, cap, &wrong)) {
            if (!wrong) continue;
            free(p);
            return -1;
        }
        p[n++] = (struct pick){ worst_first ? badness(&hs->head[i], m) : i, i };
    }
    qsort(p, (size_t)n, sizeof *p, by_key);
    for (int i = 0; i < n; i++) order[i] = p[i].i;
    free(p);
    return n;
}

struct ui_heads_sum ui_heads_summary(const struct ui_heads *hs, enum ui_metric m)
{
    struct ui_heads_sum s = { .worst = -1, .bad_line = ui_metric_info[m].good > 0 ? 0.7 : 0.2 };
    int all = hs->n_layers * hs->n_heads;
    struct pick *p = malloc((size_t)(all ? all : 1) * sizeof *p);
    if (!p) return s;
    int good = ui_metric_info[m].good;
    for (int i = 0; i < all; i++) {
        double v = ui_head_metric(&hs->head[i], m);
        if (isnan(v)) continue;
        p[s.n++] = (struct pick){ v, i };
        s.mean += v;
        if (good > 0) s.n_bad += v < s.bad_line;
        if (good < 0) s.n_bad += v > s.bad_line;
    }
    qsort(p, (size_t)s.n, sizeof *p, by_key);
    if (s.n) {
        int w = good > 0 ? 0 : s.n - 1;
        s.mean /= s.n;
        s.median = s.n % 2 ? p[s.n / 2].key : (p[s.n / 2 - 1].key + p[s.n / 2].key) / 2;
        s.worst = p[w].i;
        s.worst_value = p[w].key;
    }
    free(p);
    return s;
}
