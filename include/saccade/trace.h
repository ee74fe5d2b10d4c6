/* What a run recorded: the only thing views, metrics, snapshots and exports read.
 *
 * Live runs, recorded files and bundled samples look the same. The attention matrix is never stored: q, k
 * and the log-sum-exp of each row are, so any row or tile of any head is recomputed exactly on demand.
 * All functions are safe to call from any thread while the run goes on; nothing recorded ever changes.
 *
 * Rows and positions: row p is the query of the token at position p; it predicts token p + 1. The prompt has
 * rows 0 .. n_prompt-1. Decode step s (0, 1, ...) produces generated token s from row n_prompt - 1 + s; so
 * step 0 is the last row of prefill. Heads are query heads unless a name says kv. */
#ifndef SAC_TRACE_H
#define SAC_TRACE_H

#include <saccade/model.h>
#include <saccade/plan.h>
#include <stdatomic.h>

struct sac_trace;
void sac_trace_retain(struct sac_trace *t);
void sac_trace_release(struct sac_trace *t);

struct sac_trace_info {
    struct sac_shape shape;
    char model[96], arch[24], file_type[48];
    uint64_t model_hash, prompt_hash;
    int n_prompt, n_lanes;
    const char *text;             /* the rendered prompt */
    size_t text_len;
    const char *task, *gold;      /* "" when there is none */
    int length, sample; uint64_t seed;
    int n_spans;                  /* gold spans in tokens, ascending */
    const struct sac_span *span;
    const int *span_item;
    int threads;
    bool recorded;                /* from a file: no model behind it */
    bool cut;                     /* a file cut short: lanes, layers or steps after the cut are not here */
    double weight_error;          /* of its rounded q and k: relative, root mean square; 0: not stated */
};
void sac_trace_info(const struct sac_trace *t, struct sac_trace_info *out);
const int *sac_trace_prompt_ids(const struct sac_trace *t);          /* [n_prompt] */
struct sac_span sac_trace_token_span(const struct sac_trace *t, int pos);  /* bytes of text, prompt only */
/* Display text of the token at position pos in a lane (prompt or generated): valid UTF-8, control
 * characters made visible by the caller. Returns its length. */
int sac_trace_token(const struct sac_trace *t, int lane, int pos, char *buf, int cap);
/* The bytes of that token, which may be part of a character. A recording of format 1 or 2 holds text: there, what is
 * no character by itself is U+FFFD. Returns how many, at most cap. */
int sac_trace_token_bytes(const struct sac_trace *t, int lane, int pos, char *buf, int cap);
bool sac_trace_layer_windowed(const struct sac_trace *t, int layer, int *window);

enum sac_lane_state { SAC_LANE_QUEUED, SAC_LANE_PREFILL, SAC_LANE_DECODE, SAC_LANE_MEASURE, SAC_LANE_DONE,
                      SAC_LANE_STOPPED, SAC_LANE_FAILED };

struct sac_recall {               /* means over n_rows rows; NAN where not defined */
    double mass;                  /* dense probability covered by the kept set, lane's own q and k */
    double mass_min, mass_p5;     /* worst row, 5th percentile */
    double set;                   /* |kept and dense top-m| / m, m = size of the kept set */
    double set10, set64;          /* top-10 and top-64 found */
    double oracle;                /* mass of the m largest: the best possible at that size */
    double sink_adjusted;         /* mass recall without the first 4 and last 64 keys on either side */
    double evidence;              /* share of gold-span tokens kept */
    double evidence_mass;         /* dense mass on gold spans */
    double evidence_mass_kept;    /* the part of it that is kept */
    double mass_vs_dense;         /* kept set against the dense lane's weights of the same row */
    double entropy;               /* of the dense row, bits */
    double need90, need95, need99;/* keys an oracle needs for that mass */
    double sink, local;           /* dense mass on the first 4 and the last 128 keys */
    double kept;                  /* keys kept, mean */
    double out_err;               /* relative L2 of the head's output against dense over the same q, k, v */
    int n_rows;
};

struct sac_lane {
    char spec[200], method[32], title[40], params[400];
    char note[200];               /* a sparsity out of reach on this prompt; else "" */
    enum sac_lane_state state;
    bool intervention;
    int prefill_layer;            /* layers done */
    int n_steps, max_steps;       /* tokens produced, limit */
    double progress, eta_s;       /* 0..1 of the whole lane; seconds, < 0 unknown */
    char answer[4096];            /* text so far */
    char stop[16];                /* "eos", "length", "stopped", "" */
    double score; bool parsed;    /* score NAN: no gold answer, or not finished */
    struct sac_density prefill, decode;
    struct sac_recall recall_prefill, recall_decode,
        recall; /* mean over layers and heads; recall: answer rows where decode is sparse, prefill rows
                   otherwise */
    double kl, top1;              /* teacher-forced on the dense continuation; NAN when not measured */
    double kl_free, top1_free;    /* free-running: the same step of both own answers, also after they part */
    double nll_gold;              /* NAN when not measured */
    int first_diff;               /* first step whose token differs from dense, -1 none */
    double prefill_s, decode_s, select_s, attend_s, prefill_tok_s, decode_tok_s;
    size_t kv_bytes, kv_full_bytes, peak_bytes;
    bool shared_prefill;          /* prefill taken over from the dense lane */
    int reused;                   /* prompt tokens taken over from an earlier run that began alike */
    char error[400];
};
void sac_trace_lane(const struct sac_trace *t, int lane, struct sac_lane *out);
int sac_trace_n_lanes(const struct sac_trace *t);
/* A number that grows whenever something was added: redraw when it moved. */
uint64_t sac_trace_generation(const struct sac_trace *t);

/* ---- rows ---- */
int sac_trace_n_rows(const struct sac_trace *t, int lane, int layer);   /* recorded rows of that layer */
/* The keys row `row` of query head `head` reads in a lane; run storage is the caller's. False: not yet. */
bool sac_trace_rows(const struct sac_trace *t, int lane, int layer, int head, int row, struct sac_rows *out);
/* As above before rounding to tiles: what the rule asked for (the same for most methods). */
bool sac_trace_requested(const struct sac_trace *t, int lane, int layer, int head, int row,
                         struct sac_rows *out);
bool sac_trace_forced(const struct sac_trace *t, int lane, int row, int key);
/* Exact dense probabilities of one row from the lane's own q and k, out[0 .. row]. False: not recorded. */
bool sac_trace_weights(const struct sac_trace *t, int lane, int layer, int head, int row, float *out);
/* Log-sum-exp of the row over all its keys (dense); NAN when not recorded. */
float sac_trace_lse(const struct sac_trace *t, int lane, int layer, int head, int row);

enum sac_pooling { SAC_POOL_MAX, SAC_POOL_MASS, SAC_POOL_MEAN, SAC_N_POOLS };
enum sac_sinks { SAC_SINKS_SHOW, SAC_SINKS_HIDE, SAC_SINKS_RENORM };
/* Exact tile: rows q0 .. q1-1 against keys k0 .. k1-1 pooled to h x w pixels; pixel i covers
 * floor(i*N/P) .. floor((i+1)*N/P)-1. NAN where no causal pair is. A head of -1-g: mean over KV group g. */
struct sac_tile {
    int lane, layer, head, q0, q1, k0, k1, w, h;
    enum sac_pooling pool;
    enum sac_sinks sinks;
    bool sparse;                  /* the lane's renormalised sparse weights instead of its dense ones */
    float *value;                 /* [h][w] */
    float *kept;                  /* [h][w] share of the pixel's causal pairs that the lane reads, or NULL */
    float *missed;                /* [h][w] dense mass per row not read, or NULL */
    double pairs_per_pixel;
};
enum sac_code sac_trace_tile(const struct sac_trace *t, struct sac_tile *tile, const atomic_bool *cancel,
                             struct sac_err *err);
/* Overview of a head's prompt rows, made after the run (sac_job_opts.maps) or read from a file: grid x grid, max and
 * mass, weights over the keys the prefill read. False: not there (yet); tiles always are. Row and key bins as
 * in sac_tile over n_prompt. */
bool sac_trace_overview(const struct sac_trace *t, int lane, int layer, int head, int *grid,
                        const float **max, const float **mass);

/* ---- measures ---- */
/* Of one head; prefill rows are a sample (n_rows says how many), decode rows are all answer rows. */
bool sac_trace_recall(const struct sac_trace *t, int lane, int layer, int head, bool decode,
                      struct sac_recall *out);
bool sac_trace_head_density(const struct sac_trace *t, int lane, int layer, int head, bool decode,
                            struct sac_density *out);
/* Exact measures of one row; any row. */
bool sac_trace_row_recall(const struct sac_trace *t, int lane, int layer, int head, int row,
                          struct sac_recall *out);
/* Relative L2 error of a layer's attention output after the output projection, mean over sampled rows of the
 * prompt or of the answer; head errors may cancel in it. NAN: not measured (recorded runs, no model). */
double sac_trace_layer_error(const struct sac_trace *t, int lane, int layer, bool decode);
/* Mean Jaccard overlap of what is read, over sampled rows: between query heads of a KV group, between one
 * step and the next (the same head), between one layer and the next (the same head). NAN where there is no
 * pair. */
struct sac_overlap { double group, steps, layers; };
struct sac_overlap sac_trace_overlap(const struct sac_trace *t, int lane, bool decode);
/* The k keys of largest dense weight of a row, best first. Returns how many. */
struct sac_top { int key; float weight; bool kept, forced; int rank; };
int sac_trace_top(const struct sac_trace *t, int lane, int layer, int head, int row, int k,
                  struct sac_top *out);

/* What another method SPEC would read at this row, decided again from the recorded q and k, and (recall not
 * NULL) its measures: an intervention on the selection alone; the lane's tokens stay. out: caller's storage
 * of row / 2 + 2 runs. Rows an eviction or decode method does not act on give every key. */
enum sac_code sac_trace_preview(const struct sac_trace *t, int lane, const char *spec, int layer, int head,
                                int row, struct sac_rows *out, struct sac_recall *recall,
                                struct sac_err *err);

/* ---- decode ---- */
/* Next-token distribution at a step: up to 5 best ids and probabilities. Returns how many. */
int sac_trace_next(const struct sac_trace *t, int lane, int step, int *id, float *prob);
/* Ids of the tokens a lane generated so far, the stop token included: copies at most cap, returns how many.
 */
int sac_trace_answer(const struct sac_trace *t, int lane, int *id, int cap);
/* Text of a vocabulary token, as sac_trace_token. */
int sac_trace_vocab(const struct sac_trace *t, int id, char *buf, int cap);
int sac_trace_page_size(const struct sac_trace *t, int lane);      /* tokens; 1: token methods; 0 none */
double sac_trace_step_kl(const struct sac_trace *t, int lane, int step);   /* NAN when not measured */

/* Tokens each KV head keeps after prefill; -1 everything. */
int sac_trace_kept(const struct sac_trace *t, int lane, int layer, int kv_head);
/* q [n_heads][T][D], k and v [n_kv_heads][T][D] of a layer as f32 copies (caller frees), for export. */
bool sac_trace_qkv(const struct sac_trace *t, int lane, int layer, float **q, float **k, float **v, int *n);
const struct sac_plan *sac_trace_plan(const struct sac_trace *t, int lane, int layer, int head); /* or NULL */
#endif
