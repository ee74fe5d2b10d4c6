/* What differs between model families, as data: the layer loop in forward.c reads only this. */
#ifndef MODEL_HPARAMS_H
#define MODEL_HPARAMS_H

#include <saccade/method.h>
#include <stdbool.h>

struct k_mat;   /* kernels.h: a weight matrix as stored */

enum act { ACT_SILU, ACT_GELU_TANH };
enum rope_scaling { ROPE_NONE, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN, ROPE_LONGROPE };

struct rope_params {
    double base, factor;
    enum rope_scaling scaling;
    double low_freq_factor, high_freq_factor, orig_ctx, attn_factor;
    double ext_factor, beta_fast, beta_slow;
    bool between_dims;              /* yarn: the ends of the blend are not rounded to whole dimensions */
    const float *freq_factors;      /* [dim/2] divides inv_freq (llama3, longrope), NULL: none */
    const float
        *freq_factors_long; /* longrope: in place of those once a timeline exceeds orig_ctx, NULL: none */
    int dim;                        /* rotated dimensions */
    bool adjacent;                  /* GGUF llama: pairs (2i, 2i+1); else (i, i + dim/2) */
};

struct hparams {
    struct sac_shape shape;
    char arch[24];
    double norm_eps;
    enum act act;
    double embd_scale;              /* gemma: sqrt(n_embd); 1 */
    double attn_scale;              /* scores are attn_scale * q.k */
    double attn_softcap, final_softcap; /* 0: none */
    struct rope_params rope, rope_local; /* rope_local: sliding-window layers (gemma3); else equal */
    int window;                     /* keys a windowed layer sees, own included; 0 none */
    bool *windowed;                 /* [n_layers] */
};

/* Weights of one layer; absent parts are NULL (vectors) or have data == NULL. Vectors are f32 copies, with
 * gemma's +1 already applied. Fused projections (phi3) are split into views of rows at binding. */
struct layer_weights {
    const float *attn_norm, *q_norm, *k_norm, *post_attn_norm, *ffn_norm, *post_ffn_norm;
    const float *bq, *bk, *bv, *bo;
    struct k_mat *wq, *wk, *wv, *wo, *gate, *up, *down;
};

struct weights {
    struct layer_weights *layer;    /* [n_layers] */
    const float *output_norm;
    struct k_mat *embd;             /* [n_vocab][n_embd]; rows are dequantised one by one */
    struct k_mat *head;             /* same pointer as embd when tied */
};
#endif
