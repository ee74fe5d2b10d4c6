/* The cost model: formulas of methods.md 5.3 and 5.4 as functions, and what selecting costs by method. */
#include <saccade/cost.h>

#include <math.h>
#include <string.h>

struct sac_prefill_cost sac_cost_prefill(const struct sac_shape *s, enum sac_cost_form form, double n,
                                         double density, double selection, double batch)
{
    double d = s->n_embd, layers = s->n_layers, heads = s->n_heads, dim = s->head_dim, kv = s->n_kv_heads;
    bool paper = form == SAC_COST_PAPER;
    /* Queries and output are d wide in the paper's models; elsewhere heads * dim need not be d. */
    double wide = paper ? d : heads * dim;
    double cells = paper ? n * n : n * (n + 1) / 2;
    struct sac_prefill_cost c = {
        .embedding = paper ? 2 * n * d : 0,             /* a lookup multiplies nothing */
        .projections = layers * 2 * n * d * (2 * wide + 2 * dim * kv),
        .core = layers * density * heads * cells * (4 * dim + 3),
        .mlp = layers * 2 * n * s->n_ff * (3 * d + 1),
        .logits = 2 * (paper ? n : 1) * d * s->n_vocab,
        .selection = layers * heads * selection,
    };
    double *part[] = { &c.embedding, &c.projections, &c.core, &c.mlp, &c.logits, &c.selection };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i] *= batch;
        c.total += *part[i];
    }
    double all = c.total - c.selection;
    c.attention_share = (c.projections + c.core) / all;
    c.core_share = c.core / all;
    return c;
}

struct sac_decode_cost sac_cost_decode(const struct sac_shape *s, enum sac_cost_form form, double n,
                                       double density, double metadata, double batch)
{
    double d = s->n_embd, layers = s->n_layers, dim = s->head_dim, kv = s->n_kv_heads,
           wide = s->n_heads * dim;
    double attention = form == SAC_COST_PAPER ? 4 * d * d : 2 * d * wide + 2 * d * kv * dim;
    struct sac_decode_cost c = {
        .weights = layers * (attention + 3 * d * s->n_ff) + d * (s->n_vocab + 1.0),
        .kv = batch * 2 * layers * n * dim * kv * density,
        .metadata = batch * layers * kv * metadata,
    };
    c.total = c.weights + c.kv + c.metadata;
    c.kv_share = c.kv / (c.weights + c.kv);
    return c;
}

/* Prefill's terms for one row that sees n keys; what a method reads to decide counts like keys. */
double sac_cost_step(const struct sac_shape *s, double n, double density)
{
    double d = s->n_embd, wide = (double)s->n_heads * s->head_dim, kv = (double)s->n_kv_heads * s->head_dim;
    return s->n_layers * (2 * d * (2 * wide + 2 * kv) + density * s->n_heads * n * (4.0 * s->head_dim + 3) +
                          2 * s->n_ff * (3 * d + 1)) +
           2 * d * s->n_vocab;
}

/* ---- selection ---- */

struct ask { const struct sac_part *p; const struct sac_shape *s; double n; };

static double get(const struct ask *a, const char *name) { return sac_part_get(a->p, name); }
static double window(const struct ask *a) { return fmin(get(a, "window"), a->n); }

/* Scores of the window, softmax and two sums, two sorts, tiles from the lists. */
static double columns(const struct ask *a)
{
    double q = window(a), v = get(a, "vertical_size"), s = get(a, "slash_size"), least = get(a, "min_budget");
    double lists = isnan(v) ? 2 * fmax(least, 1) : fmax(v + s, 2);
    double sorts = isnan(v) ? 2 : 1;                     /* coverage sorts once more */
    return 2 * a->s->head_dim * a->n * q + 5 * a->n * q + sorts * 2 * a->n * log2(fmax(a->n, 2)) +
           a->n / 64 * lists;
}

/* Means of queries and of keys (shared by a group), products of half the block pairs. */
static double block_means(const struct ask *a)
{
    double blocks = ceil(a->n / get(a, "block_size")), group = (double)a->s->n_heads / a->s->n_kv_heads;
    return a->n * a->s->head_dim * (1 + 1 / group) + blocks * (blocks + 1) * a->s->head_dim;
}

static double window_votes(const struct ask *a)
{
    return 2 * a->n * window(a) * a->s->head_dim + 6 * a->n * window(a);
}
static double last_row(const struct ask *a) { return 2 * a->n * a->s->head_dim; }
static double all_rows(const struct ask *a) { return a->n * (a->n + 1) * (a->s->head_dim + 3); }
static double antidiagonals(const struct ask *a) { return a->n * a->n * a->s->head_dim / get(a, "stride"); }
static double expected(const struct ask *a) { return 4.0 * a->n * a->s->head_dim * a->s->head_dim; }
static double sampled(const struct ask *a)
{
    return 2 * a->n * a->s->head_dim * get(a, "samples") * a->s->n_heads;
}

static double pooled_pairs(const struct ask *a)
{
    double pairs = ceil(a->n / get(a, "block_q")) * ceil(a->n / get(a, "block_k"));
    return 6 * a->n * a->s->head_dim + pairs * a->s->head_dim;
}

static double token_blocks(const struct ask *a)
{
    return a->n * a->s->head_dim + a->n * (a->n / get(a, "block_size")) * a->s->head_dim;
}

static double pattern_search(const struct ask *a)
{
    double four = 4 * (2 * a->s->head_dim + 5) * a->n * window(a),
           judge = 6 * 2 * a->n * a->s->head_dim * get(a, "samples");
    return four + judge + block_means(a);
}

static const struct { const char *method; double (*ops)(const struct ask *a);
} selection[] = {
    { "vertical_slash", columns },
    { "flexprefill", columns },
    { "block_sparse", block_means },
    { "snapkv", window_votes },
    { "ada_snapkv", window_votes },
    { "pyramidkv", window_votes },
    { "tova", last_row },
    { "h2o", all_rows },
    { "oracle", all_rows },
    { "xattention", antidiagonals },
    { "spargeattn", pooled_pairs },
    { "expected_attention", expected },
    { "duo", sampled },
    { "moba", token_blocks },
    { "minference", pattern_search },
};

double sac_cost_selection(const struct sac_part *part, const struct sac_shape *s, double n)
{
    struct ask a = { part, s, n };
    if (part && part->m->cost) return part->m->cost(part->opts.bytes, s, n);
    for (size_t i = 0; part && i < sizeof selection / sizeof *selection; i++)
        if (!strcmp(selection[i].method, part->m->name)) return selection[i].ops(&a);
    return 0;
}

double sac_cost_metadata(const struct sac_part *part, const struct sac_shape *s, double n)
{
    return part && part->m->metadata ? part->m->metadata(part->opts.bytes, (int)n, s->head_dim) : 0;
}

struct sac_speedup sac_cost_speedup(const struct sac_spec *spec, const struct sac_shape *s,
                                    enum sac_cost_form form, double n, double prefill_density,
                                    double decode_density, double batch)
{
    const struct sac_part *prefill = sac_spec_prefill(spec), *evict = sac_spec_evict(spec);
    double select =
        sac_cost_selection(prefill, s, n) + (evict != prefill ? sac_cost_selection(evict, s, n) : 0);
    double meta = sac_cost_metadata(sac_spec_decode(spec), s, n);
    return (struct sac_speedup){
        sac_cost_prefill(s, form, n, 1, 0, batch).total /
            sac_cost_prefill(s, form, n, prefill_density, select, batch).total,
        sac_cost_decode(s, form, n, 1, 0, batch).total /
            sac_cost_decode(s, form, n, decode_density, meta, batch).total,
    };
}
