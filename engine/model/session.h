/* One timeline of tokens through a model: KV cache, prefill and decode.
 *
 * A session is prefilled once and then decoded token by token. Prefill goes layer by layer over the whole
 * prompt, because methods estimate on all of it. A decode session is forked from a prefilled one: that is
 * where eviction happens (only kept keys are copied, so its memory really is smaller) and where a decode
 * method gets its state. Sessions share the model's thread pool: one call at a time. */
#ifndef MODEL_SESSION_H
#define MODEL_SESSION_H

#include "model/hparams.h"
#include <saccade/model.h>
#include <stdatomic.h>

struct session;

/* One layer of a prefill as it completes. Pointers are the session's; a sink may keep what q, k, v and lse lie
 * in or the plans by setting the matching `took_` flag: the block is then its own, as prefill_args.room gave it
 * (without that free() gives it back), and so are the plans (sac_plan_free). */
struct prefill_layer {
    int layer, n;
    float *q, *k, *v;              /* [n_heads][n][D], [n_kv_heads][n][D] twice; rotated */
    float *lse;                    /* [n_heads][n] over the keys read */
    void *block;                   /* these four, one after the other */
    struct sac_plan *plan;         /* [n_heads], NULL where the layer was dense */
    const struct sac_prefill_in *in;
    bool took_block, took_plan;
};

/* Rows of an earlier dense prefill whose prompt began with the same tokens: they are copied instead of
 * computed. Arrays as in prefill_layer, with rows of the earlier prompt: stride tokens a head. */
struct prefill_prefix {
    int n;                         /* tokens in common; 0: nothing is taken over */
    size_t stride;
    /* q, k, v and (where it is wanted) lse of a layer; false: gone, the prefill fails */
    bool (*layer)(void *ctx, int layer, const float **q, const float **k, const float **v, const float **lse);
    void *ctx;
};

struct prefill_args {
    const int *ids;
    int n;
    struct prefill_prefix prefix;  /* dense only, without hidden states or all logits */
    const struct sac_spec *spec;   /* resolved; its prefill part acts. NULL: dense */
    struct sac_span force;         /* key positions every row reads as well (interventions) */
    int force_layer, force_kv;     /* -1: all; only looked at when force is not empty */
    bool want_lse, want_mass;      /* want_mass: in->mass of dense layers */
    uint64_t seed;
    void (*layer_done)(void *ctx, struct prefill_layer *pl);     /* may be NULL */
    void (*hidden)(void *ctx, int layer, const float *x,
                   int n); /* residual entering a block; layer ==
                              n_layers: after the final norm; may be NULL */
    void *ctx;
    float *all_logits;             /* [n][n_vocab] or NULL */
    const atomic_bool *cancel;
    /* Memory for the block of one layer, and back what no sink took; NULL: from the heap. */
    void *(*room)(void *ctx, size_t bytes);
    void (*leave)(void *ctx, void *block);
    /* out */
    double total_s, select_s, attend_s, flops_attend;
};

struct session *session_new(struct sac_model *m, int max_tokens, enum sac_kv_type kv, struct sac_err *err);
void session_free(struct session *s);
/* Frees a session; `heir`, a fork of it, keeps the tables that it borrowed. */
void session_leave(struct session *base, struct session *heir);
/* Fills a new session from what a dense prefill recorded, layer by layer: k, v [n_kv_heads][stride] floats. */
void session_restore(struct session *s, int layer, const float *k, const float *v, size_t stride, int n);
/* Bytes that the keys and values of all sessions of the program take at this moment, their room included. */
size_t session_kv_reserved(void);
enum sac_code session_prefill(struct session *s, struct prefill_args *a, struct sac_err *err);
int session_n(const struct session *s);               /* tokens in the cache by position */
const float *session_logits(const struct session *s); /* [n_vocab], of the last token processed */
size_t session_kv_bytes(const struct session *s);

/* A decode session over the first n tokens of base. kept: [n_layers][n_kv_heads] or NULL (everything).
 * spec's decode part acts from now on. max_new tokens can follow, as far as base has room. */
struct fork_args {
    int n, max_new;
    const struct sac_kept *kept;
    const struct sac_spec *spec;   /* NULL: dense; must outlive the session */
    struct sac_span force;
    int force_layer, force_kv;
    uint64_t seed;
};
struct session *session_fork(const struct session *base, const struct fork_args *a, struct sac_err *err);

/* What one decode step read, in slots of the cache of each unit. */
struct decode_layer {
    int layer, pos;
    const float *q, *k, *v;        /* [n_heads][D], [n_kv_heads][D]: the new token's */
    const struct sac_rows *rows;   /* [n_units] in positions; NULL: everything in the cache */
    const struct sac_rows *slots;  /* [n_units] in slots of the cache; NULL: all of them */
    int n_units;                   /* n_heads or n_kv_heads */
};
struct decode_sink { void (*layer)(void *ctx, const struct decode_layer *dl); void *ctx; };
/* Feed one token; logits of what follows are in session_logits. */
enum sac_code session_decode(struct session *s, int token, const struct decode_sink *sink,
                             struct sac_err *err);
/* Forget everything from position n on, which lies behind the prompt. False: there are not as many, or a
 * decode method has seen them. */
bool session_truncate(struct session *s, int n);
/* Seconds spent in attention and in selection by decode steps so far; elements of K/V read (metadata
 * included) and what dense would have read. */
struct session_stats { double attend_s, select_s, read, full; long steps; };
struct session_stats session_stats(const struct session *s);

/* Keys of the cache as f32, positions lo .. lo+n-1 (no eviction): out [n][D]. */
void session_keys(const struct session *s, int layer, int kv_head, bool values, int lo, int n, float *out);

/* Fill the rotation fields of `in` for a layer of this session. */
void session_describe_rope(const struct session *s, int layer, struct sac_prefill_in *in);

/* ---- sampling ---- */
struct sampler { double temperature, top_p; uint64_t state; };
int sample_token(struct sampler *s, const float *logits, int n, float *scratch /* [n] */);
#endif
