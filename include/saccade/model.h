/* An open model: weights mapped read-only, checked at the door, and its tokenizer. */
#ifndef SAC_MODEL_H
#define SAC_MODEL_H

#include <saccade/err.h>
#include <saccade/method.h>

struct sac_model;

enum sac_kv_type { SAC_KV_F32, SAC_KV_F16, SAC_KV_BF16 };

struct sac_model_opts {
    int threads;              /* 0: all cores */
    int nice;                 /* > 0: they give way to other work */
    enum sac_kv_type kv;      /* storage of keys and values */
    bool strict;              /* f32 activations and f32 attention everywhere: for reference outputs */
    bool directory_only;      /* read headers and tokenizer, prepare no weights (info, tokenize) */
};

struct sac_model_info {
    struct sac_shape shape;
    char name[96], arch[24], file_type[48], path[256];
    size_t weight_bytes, n_params;
    size_t kv_bytes_per_token;
    uint64_t hash;            /* of names, shapes and a sample of the bytes: the same file, the same hash */
    double rope_base;
    int window, n_window_layers;   /* sliding-window layers, 0: none */
    bool bundled_style;       /* trained on the compact prompts (ours) */
    char template_name[24];   /* chat template family, "none" */
    char n_threads;
    const char *cpu;          /* kernel level in use: "avx512 vnni bf16" */
    char cannot_run[400];     /* opened with directory_only: why it cannot be run, "" when it can */
};

enum sac_code sac_model_open(struct sac_model **out, const char *path, const struct sac_model_opts *opts,
                             struct sac_err *err);
void sac_model_close(struct sac_model *m);   /* accepts NULL */
const struct sac_model_info *sac_model_info(const struct sac_model *m);
bool sac_model_layer_windowed(const struct sac_model *m, int layer);

/* ---- text ---- */
struct sac_span { int lo, hi; };             /* bytes lo .. hi-1, or tokens lo .. hi-1 */

/* Token ids and the bytes of the text each came from. Arrays are malloc'ed; sac_tokens_free. */
struct sac_tokens { int n, cap; int *id; struct sac_span *span; };
enum { SAC_TOK_BOS = 1,       /* add BOS where the model wants it */
       SAC_TOK_SPECIAL = 2 }; /* read special tokens written in the text */
enum sac_code sac_tokenize(const struct sac_model *m, const char *text, size_t len, int flags,
                           struct sac_tokens *out, struct sac_err *err);
void sac_tokens_free(struct sac_tokens *t);
/* Bytes of one token (not terminated); special tokens give their text. Returns the length. */
int sac_token_bytes(const struct sac_model *m, int id, const char **bytes);
bool sac_token_is_stop(const struct sac_model *m, int id);

/* The prompt as the model gets it: chat template applied to one user turn (and a system prompt, or NULL).
 * *user_at: byte offset of the user text in the result, so spans of the user text can be moved. */
enum sac_code sac_chat_render(const struct sac_model *m, const char *system, const char *user, char **out,
                              size_t *user_at, struct sac_err *err);
/* Render and tokenize with template parts read as special text and user text as plain. Spans refer to
 * the rendered text *text (malloc'ed). */
enum sac_code sac_chat_tokenize(const struct sac_model *m, const char *system, const char *user,
                                struct sac_tokens *out, char **text, size_t *user_at, struct sac_err *err);

/* ---- forecast ---- */
struct sac_forecast {
    size_t weights, packed, kv, trace, activations, total, available;
    double prefill_s, decode_s_per_token;    /* expected, 0 unknown */
};
/* Of a run of n_own lanes that prefill by themselves (dense is one) and n_shared that go on from the dense
 * prefill; trace: everything is recorded. */
void sac_model_forecast(const struct sac_model *m, int n_prompt, int n_new, int n_own, int n_shared, bool trace,
                        struct sac_forecast *out);
/* SAC_ENOMEM, with the numbers and what would fit, when such a run does not. */
enum sac_code sac_model_check(const struct sac_model *m, int n_prompt, int n_new, int n_own, int n_shared,
                              bool trace, struct sac_err *err);

/* ---- tensors of any readable file ---- */
struct sac_tensor_info {
    const char *name, *type;
    int n_dims;
    int64_t shape[4];
    size_t bytes;
}; /* outermost first */
/* Calls fn for every tensor in the order of the file; the strings are only valid inside the call. */
enum sac_code sac_model_tensors(const char *path, void (*fn)(void *ctx, const struct sac_tensor_info *t),
                                void *ctx, struct sac_err *err);
/* Writes one tensor, dequantised to f32, under its own name and shape to a safetensors file. */
enum sac_code sac_model_dump(const char *path, const char *tensor, const char *out_path, bool force,
                             struct sac_err *err);
#endif
