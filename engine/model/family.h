/* What differs between the model families this program runs, one row each, and the settings of one model. */
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "file/model_files.h"
#include "model/hparams.h"

enum bias { BIAS_NONE, BIAS_OPTIONAL, BIAS_REQUIRED };
/* Which layers see only a window: those a layer_types list names, or by this rule. */
enum window_rule { WINDOW_NONE, WINDOW_ALL, WINDOW_QWEN /* use_sliding_window, from max_window_layers on */,
                   WINDOW_PERIOD /* all but every period-th */ };

struct family {
    const char *name;              /* GGUF's architecture */
    const char *hf_class[3];       /* architectures[0]; every name also in lower case as model_type */
    const char *hf_type[3];
    enum act act;
    enum bias qkv_bias;
    bool gguf_adjacent;            /* GGUF conversion permutes q and k for adjacent RoPE pairs */
    bool qk_norm;                  /* RMS norm of every q and k head before RoPE */
    bool post_norms;               /* a norm after attention and after the feed-forward too */
    bool plus_one;                 /* safetensors hold norm weights minus one */
    bool scale_embd;               /* embeddings times sqrt(n_embd) */
    bool tied;                     /* config.json without the key means a tied head */
    bool fused;                    /* q, k, v in one matrix; gate and up in one */
    enum window_rule window;
    int window_period;
    int window_default;            /* GGUF without the key; 0: off */
    int hf_window_default;         /* config.json without the key; null there switches it off */
    double softcap_attn, softcap_final;   /* defaults where the key is absent */
    int layers_27b;                /* gemma's 27B size scales scores by n_embd / n_heads; GGUF does not say */
    double rope_local_base;        /* windowed layers rotate with this base and unscaled; 0: as the others */
};

const struct family *family_by_gguf(const char *arch, size_t len);
const struct family *family_by_hf(const char *hf_class, const char *hf_type);
/* "gemma2, gemma3, llama ..." for messages. */
const char *family_names(void);

enum { MAX_LAYERS = 1024, MAX_HEADS = 1024, MAX_HEAD_DIM = 1024, MAX_WIDTH = 1 << 20, MAX_VOCAB = 1 << 22,
       MAX_CONTEXT = 1 << 24 };

/* Settings of a model as its files give them, checked. */
struct config {
    const struct family *fam;
    struct hparams hp;
    enum bias qkv_bias;            /* the family's, or what the file says of it */
    bool o_bias;
    bool tied, tied_known;         /* what config.json says of the output head */
    double longrope_factor;        /* max_ctx / orig_ctx */
};

/* Memory comes from the arena. SAC_ENOTSUP: a sound file of something this program does not run. */
enum sac_code config_gguf(struct config *c, const struct gguf *g, struct sac_arena *a, struct sac_err *err);
enum sac_code config_hf(struct config *c, const json_t *config, const char *path, struct sac_arena *a,
                        struct sac_err *err);
/* For folders of reference weights: RoPE frequencies rounded to bf16. false: out of memory. */
bool config_round_frequencies(struct config *c, struct sac_arena *a);
/* Checks that both sources share, and what follows from the settings read. */
enum sac_code config_finish(struct config *c, const char *path, struct sac_arena *a, struct sac_err *err);
#endif
