/* Sparse attention methods: one table, read by the command line, the screens, the help and the tests.
 *
 * A method decides which keys are read, never how attention is computed. It acts in up to three places:
 * `plan` (prefill: keys of every tile of rows of a query head), `weigh` and `evict` (after prefill: the keys
 * each KV head keeps) and the decode hooks (each step: the cache slots to read, or to drop). Hooks left NULL mean
 * dense. One file in engine/methods/ holds one method; adding one means adding the file and its line
 * in registry.c. */
#ifndef SAC_METHOD_H
#define SAC_METHOD_H

#include <saccade/arena.h>
#include <saccade/err.h>
#include <saccade/plan.h>

struct sac_shape {
    int n_layers, n_heads, n_kv_heads, head_dim;
    int n_embd, n_ff, n_vocab;
    int max_ctx;     /* tokens the model was made for */
};

/* One option: where it lives in the options struct, its bounds, default and help. */
struct sac_param {
    const char *name, *help;
    enum sac_param_kind { SAC_INT, SAC_FLOAT, SAC_BOOL, SAC_CHOICE } kind;
    size_t offset;              /* int, double, bool (as int), int index into choices */
    double def, min, max;
    const char *const *choices; /* SAC_CHOICE: NULL-terminated */
    bool budget;                /* replaced by sparsity=S */
};

struct sac_shared;

/* What one layer offers when its prompt has been projected and rotated: T = n rows, positions 0 .. n-1.
 * Query head h reads KV head h / (n_heads / n_kv_heads). */
struct sac_prefill_in {
    int layer, n_layers, n;
    int n_heads, n_kv_heads, head_dim;
    float scale, softcap;       /* score = cap(scale * q.k); softcap 0: none */
    int window;                 /* > 0: a sliding-window layer, rows see window keys at most */
    const float *q;             /* [n_heads][q_stride]: rows q_row0 .. n-1 of head_dim */
    const float *k, *v;         /* [n_kv_heads][k_stride]: rows 0 .. n-1 of head_dim */
    size_t q_stride, k_stride;  /* floats between heads */
    int q_row0;                 /* 0 in prefill; first row kept, where eviction happens later */
    const float *mass;          /* [n_kv_heads][n]: what keys receive from all rows and heads of the group in dense
                                 * attention; NULL when not known, see wants_mass */
    const float *lse;           /* [n_heads][n] dense log-sum-exp of the rows, NULL when not known */
    const float *rope_cos, *rope_sin; /* [positions][rope_dim / 2], for methods that undo the rotation */
    int rope_dim, rope_positions;
    bool rope_adjacent;         /* pairs (2i, 2i+1) instead of (i, i + rope_dim/2) */
    uint64_t seed;
    struct sac_shared *shared;  /* what the heads of a group need not make twice; NULL: nothing is shared */
};

/* The keys each KV head keeps: ascending positions. Lengths may differ (ragged caches). score is NULL, or the
 * importance of each kept key, which the decode hooks of the same part receive through `seed`. */
struct sac_kept { int n; int *pos; float *score; };   /* arena memory, n entries in use */

/* One decode step at one layer. Slots 0 .. n[kv]-1 of a KV head hold its cache, in order of position, the
 * current token last. */
struct sac_decode_in {
    int layer, n_layers, pos;   /* position of the current token */
    int n_heads, n_kv_heads, head_dim;
    float scale, softcap;
    const float *q;             /* [n_heads][head_dim] */
    const int *n;               /* [n_kv_heads] cache length, current token included */
    const int *const *slot_pos; /* [n_kv_heads] positions of the slots, NULL entries: slot == position */
    /* Scaled (and capped) scores of slots lo .. hi-1 against query head h. */
    void (*score)(const struct sac_decode_in *in, int head, int lo, int hi, float *out);
    /* The same for all query heads of a KV head, whose keys are read once: out[i][stride]. NULL: by score. */
    void (*scores)(const struct sac_decode_in *in, int kv_head, int lo, int hi, float *out, size_t stride);
    const void *cache;          /* for both */
};

enum sac_scope { SAC_PER_QUERY_HEAD, SAC_PER_KV_HEAD, SAC_PER_LAYER };

/* f16: the cache keeps keys rounded to f16, which what a method keeps of them need not exceed. */
struct sac_env { struct sac_shape shape; int max_tokens; uint64_t seed; bool f16; };

struct sac_method {
    const char *name;           /* as in SPECs: "vertical_slash" */
    const char *title;          /* the paper's name: "Vertical-Slash" */
    const char *summary, *source;
    const struct sac_param *params;
    int n_params;
    size_t opts_size;           /* at most SAC_OPTS_MAX */
    bool oracle;                /* looks at what a real method cannot know */
    bool needs_all_q;           /* weigh, evict: every prompt row of q, not only the last 512 */
    bool wants_mass;            /* evict: dense attention should sum its probabilities over all rows */
    enum sac_scope (*scope)(const void *opts);
    /* Refuse wrong parameters with the rule and the nearest valid value, as "...: use NAME=VALUE". n: prompt
     * length, 0 unknown; then the shape may be all zeros. */
    enum sac_code (*check)(const void *opts, const struct sac_shape *s, int n, struct sac_err *err);
    /* Set the budget parameters so that sparsity comes nearest to s (1 - kernel or kept share). */
    enum sac_code (*budget)(void *opts, const struct sac_shape *s, int n, double sparsity,
                            struct sac_err *err);
    /* The greatest sparsity that the other parameters leave possible on n tokens; NULL: any. */
    double (*reach)(const void *opts, const struct sac_shape *s, int n);
    /* Forced by rule (sink, local window, diagonal ...) rather than chosen by score? */
    bool (*forced)(const void *opts, int n, int row, int key);

    /* Prefill: runs in parallel over heads; `scratch` belongs to the calling thread and is rewound after.
     * `out` is initialised by plan and freed by the caller. false: out of memory, `out` is empty. */
    bool (*plan)(const struct sac_prefill_in *in, const void *opts, int head, struct sac_plan *out,
                 struct sac_arena *scratch);
    /* Eviction in two stages. weigh: what every key is worth to one query head, out[n]; runs in parallel over
     * heads, as plan does. NULL: nothing is weighed. evict: the choice, for all KV heads of a layer at once:
     * weight[head][n] is what weigh left there (NULL without it) and may be overwritten; kept[kv].pos comes
     * from `scratch`. false: out of memory. */
    bool (*weigh)(const struct sac_prefill_in *in, const void *opts, int head, float *out,
                  struct sac_arena *scratch);
    bool (*evict)(const struct sac_prefill_in *in, const void *opts, float *weight, struct sac_kept *kept,
                  struct sac_arena *scratch);

    /* Decode. create takes its memory from the arena (NULL: does not fit); a method with any other decode
     * hook has it. The order at a layer is: append (keys of slots slot0 .. slot0+n-1 of a KV head arrived:
     * the prompt after its eviction, or one token), seed (once, after the prompt's append, where evict gave
     * scores: [n] of the kept keys), then in each step append, prepare, select, observe, and drop with dropped.
     * prepare: what the selections of a KV head's query heads share, once before them.
     * select: the slots one query head reads, at least one (SAC_PER_KV_HEAD and SAC_PER_LAYER: asked once for
     * each KV head with its first query head, and shared by the group). observe: the probabilities of the
     * keys just read, [sac_rows_count] in order of slots, for every query head. drop: after all heads were
     * observed, a slot of the KV head to evict, or -1; once a step. dropped: that slot is gone, later ones
     * moved down by one. append, prepare and select may run in parallel for different KV heads, select also
     * for different query heads; observe, seed, drop and dropped run one at a time for a layer. */
    void *(*create)(const struct sac_env *env, const void *opts, struct sac_arena *a);
    void (*append)(void *state, int layer, int kv_head, int slot0, int n, const float *k);
    void (*seed)(void *state, int layer, int kv_head, int n, const float *score);
    void (*prepare)(void *state, const struct sac_decode_in *in, int kv_head);
    void (*select)(void *state, const struct sac_decode_in *in, int head, struct sac_rows *out);
    void (*observe)(void *state, const struct sac_decode_in *in, int head, const struct sac_rows *rows,
                    const float *weight);
    int (*drop)(void *state, const struct sac_decode_in *in, int kv_head);
    void (*dropped)(void *state, int layer, int kv_head, int slot);
    /* Extra K/V-sized elements read per step to decide (page bounds ...), for the read density. */
    double (*metadata)(const void *opts, int n_slots, int head_dim);
    /* Operations that choosing takes for one query head of a prompt of n tokens, for the cost model. NULL: those
     * of engine/study/cost.c, or none. */
    double (*cost)(const void *opts, const struct sac_shape *s, double n);
};

enum { SAC_OPTS_MAX = 256, SAC_SPEC_PARTS = 3 };

const struct sac_method *const *sac_methods(int *n);
const struct sac_method *sac_method_find(const char *name);

/* A parsed SPEC: `name:key=value,...` parts joined by `+`, each acting in its phases. Every method also takes
 * sparsity=S or preset=paper-S in place of its budget parameters, phase=both|prefill|decode, and
 * dense_layers=0,1,... (ranges too: 0-3). Two parts must not act in the same phase. */
enum sac_phase { SAC_PHASE_BOTH, SAC_PHASE_PREFILL, SAC_PHASE_DECODE };
struct sac_part {
    const struct sac_method *m;
    union { unsigned char bytes[SAC_OPTS_MAX]; double align; } opts;
    double sparsity;            /* NAN: parameters as given */
    double preset;              /* NAN: none; else a level of the paper's budget grid */
    enum sac_phase phase;       /* decode covers eviction */
};
struct sac_spec {
    char text[200];             /* as given */
    int n;
    struct sac_part part[SAC_SPEC_PARTS];
    uint64_t dense_layers[16];  /* bit l of word l/64: layer l stays dense */
    char note[200];             /* set by resolve: a sparsity that this prompt is too short for; else "" */
};
/* Parse; unknown methods and keys are refused with the nearest name. */
enum sac_code sac_spec_parse(struct sac_spec *out, const char *text, struct sac_err *err);
/* Settle sparsity=S and check every parameter against the model and a prompt of n tokens (0: unknown, checks
 * what can be). A sparsity out of reach gives the nearest one, and a note. May be called again with another
 * n. */
enum sac_code sac_spec_resolve(struct sac_spec *spec, const struct sac_shape *s, int n, struct sac_err *err);
/* "vertical_size=512 slash_size=512 window=256", parameters as they are used. */
void sac_spec_params(const struct sac_spec *spec, char *buf, size_t cap);
double sac_part_get(const struct sac_part *p, const char *param);   /* NAN: no such parameter */
/* Set one parameter within its bounds, as `name=value` in a SPEC does. */
enum sac_code sac_part_set(struct sac_part *p, const char *param, const char *value, struct sac_err *err);
bool sac_spec_layer_dense(const struct sac_spec *spec, int layer);
const struct sac_part *sac_spec_prefill(const struct sac_spec *spec);  /* NULL: dense */
const struct sac_part *sac_spec_evict(const struct sac_spec *spec);
bool sac_spec_wants_mass(const struct sac_spec *spec); /* its eviction does; see wants_mass */
const struct sac_part *sac_spec_decode(const struct sac_spec *spec);
#endif
