/* What a run will need, before it is started: memory by part, and time. */
#include "base/pages.h"
#include "model/linear.h"
#include "model/session_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROGRAM ((size_t)12 << 20)   /* the program itself, with its libraries */

/* ---- memory of the machine ---- */

static size_t number_in(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[256];
    unsigned long long v = 0;
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *at = key ? strstr(line, key) : line;
        found = at && sscanf(at + (key ? strlen(key) : 0), "%llu", &v) == 1;
    }
    if (f) fclose(f);
    return found ? (size_t)v : 0;
}

/* Bytes this process may still take: of the machine, and of the control group it is in. */
static size_t available_memory(void)
{
    size_t free_now = number_in("/proc/meminfo", "MemAvailable:") * 1024;
    size_t max = number_in("/sys/fs/cgroup/memory.max", NULL),
           used = number_in("/sys/fs/cgroup/memory.current", NULL);
    if (max) {
        /* The file cache counts as used there, but gives way. */
        size_t cache = number_in("/sys/fs/cgroup/memory.stat", "inactive_file ");
        size_t left = max > used ? max - used + cache : cache;
        if (!free_now || left < free_now) free_now = left;
    }
    return free_now;
}

static size_t packed_bytes(const struct sac_model *m)
{
    size_t sum = 0;
    for (int i = 0; i < m->n_mat && !m->opts.strict; i++) sum += linear_packed_bytes(&m->mat[i]);
    return sum;
}

/* Bytes of the file that stay in memory: all but what is repacked. */
static size_t kept_bytes(const struct sac_model *m)
{
    size_t sum = m->info.weight_bytes;
    for (int i = 0; i < m->n_mat && !m->opts.strict; i++) {
        const struct k_mat *w = &m->mat[i];
        size_t bytes = w->row_bytes * (size_t)w->rows;
        if (w->mapped && linear_packed_bytes(w) && bytes <= sum) sum -= bytes;
    }
    return sum;
}

/* ---- speed of the machine ---- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Multiply-adds a second of one core in dot products that stay in cache: the best of a few short looks, since
 * other work on the machine can only make it look slower. */
static double core_rate(void)
{
    enum { N = 2048, DOTS = 32, LOOKS = 40 };
    static double rate;
    if (rate > 0) return rate;
    float *a = calloc(2 * N, sizeof *a);
    if (!a) return 0;
    volatile float sink = 0;
    double best = 0;
    for (int look = 0; look < LOOKS; look++) {
        double start = now_s();
        for (int i = 0; i < DOTS; i++) sink = sink + k_ops()->dot(a, a + N, N);
        double took = now_s() - start, r = took > 0 ? (double)N * DOTS / took : 0;
        if (r > best) best = r;
    }
    free(a);
    return rate = best;
}

/* How much faster than those the products of prefill are: whole tiles stay in registers, and narrow types do
 * more at once. */
static double product_gain(const struct sac_model *m)
{
    enum k_type t = m->n_mat ? m->mat[m->n_mat - 1].type : K_F32;
    if (m->opts.strict || t == K_F32) return 1.5;
    if (k_ops()->wide.name) return 10;
    if (t == K_F16 || t == K_BF16) return k_ops()->bf16.name ? 3 : 1.5;
    return k_ops()->int8.name ? 4 : 1.5;
}

/* ---- forecast ---- */

/* Arrays of a prefill of n tokens, as prefill.c, attend_prefill.c and session.c take them: each on large pages
 * of its own, so that one of a MiB or two counts as 2 MiB. */
static size_t work_bytes(const struct sac_model *m, size_t n, bool trace, bool sparse)
{
    const struct sac_shape *s = &m->hp.shape;
    size_t d = (size_t)s->head_dim, q = (size_t)s->n_heads * d, kv = (size_t)s->n_kv_heads * d;
    bool by_rows = prefill_by_rows(m, (int)n);
    size_t width = (size_t)s->n_embd, ff = (size_t)s->n_ff,
           rows = by_rows ? 1 : n < PREFILL_CHUNK ? n : PREFILL_CHUNK;
    size_t widest = width > q ? width : q, dim = (d + K_GROUP - 1) / K_GROUP * K_GROUP;
    const struct k_attn *k = m->opts.strict ? &k_ops()->attn : &k_ops()->attn_fast;
    /* Keys and values as attention reads them, for scattered ones a second time, or widened weights, and an
     * eighth for a later, longer run. */
    size_t copies = sparse && k->narrow ? 4 : 2;
    size_t packed = n * (copies * (size_t)s->n_kv_heads * dim * k->elem + sizeof(int32_t));
    size_t panels = by_rows ? prefill_panels_bytes(m) : 0;
    if (panels > packed) packed = panels;
    size_t floats[] = { n * width, n * q,     rows * widest, rows * widest,              rows * kv,
                        rows * kv, rows * ff, rows * ff,     trace ? 0 : n * (q + 2 * kv) };
    size_t sum = pages_bytes(packed + packed / 8) + (size_t)s->n_vocab * sizeof(float);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        if (floats[i]) sum += pages_bytes(floats[i] * sizeof(float));
    if (by_rows) sum += (size_t)m->info.n_threads * pages_bytes(prefill_rows_bytes(m, (int)n));
    int angles = m->hp.rope.dim + (m->info.n_window_layers ? m->hp.rope_local.dim : 0);
    return sum + n * sizeof(float) * (size_t)angles;
}

/* The plan of a sparse head: its runs are of a share of all cells, so this alone grows with the square of n.
 * Scattered columns at a sparsity of 0.9 are a run for every 50 to 60 causal keys of a tile of 64 rows; the plans
 * of layers that are done are folded (plan.c) to about a quarter. */
static size_t plan_bytes(size_t n) { return n / 64 * (n / 2 / 56 + 8) * sizeof(struct sac_run); }

void sac_model_forecast(const struct sac_model *m, int n_prompt, int n_new, int n_own, int n_shared, bool trace,
                        struct sac_forecast *out)
{
    const struct sac_shape *s = &m->hp.shape;
    *out = (struct sac_forecast){ .weights = kept_bytes(m),
                                  .packed = packed_bytes(m),
                                  .available = available_memory() };
    if (n_own < 1) n_own = 1;
    size_t n = (size_t)n_prompt, d = (size_t)s->head_dim, layers = (size_t)s->n_layers;
    size_t q = (size_t)s->n_heads * d, kv = (size_t)s->n_kv_heads * d;
    /* One lane's cache at a time; while a lane shares the dense prefill, that and the copy it decodes from. */
    size_t lane_kv = m->info.kv_bytes_per_token * (n + (size_t)n_new);
    out->kv = n_shared > 0 ? 2 * lane_kv : lane_kv;
    /* q, k, v and log-sum-exp of every layer in f32, shared by lanes with dense prefill; decode rows are small. */
    size_t heads = (size_t)s->n_heads, qkv = q + 2 * kv;
    if (trace) out->trace = 4 * layers * n * (qkv + heads) * (size_t)n_own;
    out->activations = PROGRAM + work_bytes(m, n, trace, n_own > 1) +
                       (size_t)(n_own - 1) * (1 + (trace ? layers / 4 : 0)) * heads * plan_bytes(n);
    out->total = out->weights + out->packed + out->kv + out->trace + out->activations;
    double layer =
        (double)s->n_embd * ((double)q * 2 + (double)kv * 2) + 3.0 * (double)s->n_embd * (double)s->n_ff;
    double head = (double)s->n_embd * (double)s->n_vocab, linear_ops = layer * s->n_layers;
    double attend = 0, last = 0;
    for (int l = 0; l < s->n_layers; l++) {
        double seen = sac_model_layer_windowed(m, l) && m->hp.window < n_prompt ? m->hp.window : n_prompt;
        attend += (double)q * 2 * (seen * n_prompt - seen * seen / 2);
        last += (double)q * 2 * seen;
    }
    double rate = core_rate() * m->info.n_threads;
    if (rate <= 0 || s->n_layers == 0) return;
    out->prefill_s = (linear_ops * n_prompt / product_gain(m) + attend / 1.5 + head) / rate;
    /* A token reads every weight once: 12 GB/s a core is what such streams get. */
    double read_s = (double)m->info.weight_bytes / (12e9 * m->info.n_threads),
           compute_s = (linear_ops + head + last) / rate;
    out->decode_s_per_token = read_s > compute_s ? read_s : compute_s;
}

enum sac_code sac_model_check(const struct sac_model *m, int n_prompt, int n_new, int n_own, int n_shared,
                              bool trace, struct sac_err *err)
{
    struct sac_forecast f, less;
    sac_model_forecast(m, n_prompt, n_new, n_own, n_shared, trace, &f);
    if (!f.available || f.total - f.weights <= f.available)
        return SAC_OK; /* weights are mapped, and may go */
    /* The longest prompt that would fit, by halving. */
    int lo = 0, hi = n_prompt;
    while (hi - lo > 64) {
        int mid = lo + (hi - lo) / 2;
        sac_model_forecast(m, mid, n_new, n_own, n_shared, trace, &less);
        if (less.total - less.weights <= f.available) lo = mid;
        else hi = mid;
    }
    const char *kv = m->opts.kv == SAC_KV_F32 ? ", or --kv f16" : "";
    return sac_fail(err, SAC_ENOMEM,
                    "%d tokens need %.1f GB (KV %.1f, trace %.1f, work %.1f, packed weights %.1f), but "
                    "%.1f GB are available; %d tokens would fit%s%s",
                    n_prompt, (double)(f.total - f.weights) / 1e9, (double)f.kv / 1e9, (double)f.trace / 1e9,
                    (double)f.activations / 1e9, (double)f.packed / 1e9, (double)f.available / 1e9, lo,
                    trace ? "; so would less without a trace" : "", kv);
}

enum sac_code model_fits(const struct sac_model *m, struct sac_err *err)
{
    size_t need = packed_bytes(m), have = available_memory();
    size_t weights = m->info.weight_bytes;
    if (!have || (need < have && weights < have)) return SAC_OK;
    /* What would fit: the file that loses least among those of common types. */
    static const struct { const char *name; double bits; } types[] = {
        { "Q8_0", 8.5 }, { "Q6_K", 6.5625 }, { "Q5_K", 5.5 },
        { "Q4_K", 4.5 }, { "Q3_K", 3.4375 }, { "Q2_K", 2.625 },
    };
    double params = (double)m->info.n_params, gb = 1e9;
    char fits[96] = "no file of this model would";
    for (size_t i = sizeof types / sizeof *types; i-- > 0;)
        if (params * types[i].bits / 8 < (double)have)
            snprintf(fits, sizeof fits, "a file in %s (about %.1f GB) would", types[i].name,
                     params * types[i].bits / 8 / gb);
    return sac_fail(err, SAC_ENOMEM,
                    "%s: weights of %.1f GB and %.1f GB of prepared copies do not fit in the %.1f GB "
                    "available; %s",
                    m->files.path, (double)weights / gb, (double)need / gb, (double)have / gb, fits);
}
