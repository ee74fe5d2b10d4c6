/* A method applied to queries, keys and values from outside: no model, no prompt.
 *
 * The file has q [Hq,T,D], k and v [Hkv,T,D] (f32, f16 or bf16), rotated already. The result is one
 * safetensors file: for each query head H of a prefill method `NAME.hH.runs` i32 [n,3] (tile, lo, hi) and
 * `NAME.out.hH` f32 [T,D]; where the method has them `NAME.hH.vertical`, `NAME.hH.slash` and
 * `NAME.hH.blocks`; for eviction `NAME.kept` u8 [Hkv,T]; for decode, where the last tokens play the steps,
 * `NAME.rows` i32 [n,4] (step, head, lo, hi in positions), `NAME.decode_out` f32 [steps,Hq,D], and for quest
 * `quest.pages` i32 [steps,Hq,pages] padded with -1; for all of them `NAME.density` f32 [heads,4] (pattern,
 * kernel, work, read; NAN where the method does not act in that phase). */
#ifndef SAC_SELECT_H
#define SAC_SELECT_H

#include <saccade/err.h>
#include <saccade/plan.h>

struct sac_select_args {
    const char *qkv, *spec;
    const char *out;          /* NULL: nothing is written */
    int decode_last;          /* steps played by the last tokens; 0: 8 where the method acts in decode */
    int threads;              /* 0: all cores */
    bool force;               /* replace an existing file */
    uint64_t seed;
};

struct sac_select_result {
    char method[32], params[400];
    char note[200];           /* a sparsity out of reach on this input; else "" */
    int n, n_heads, n_kv_heads, head_dim, steps;
    int n_density;            /* query heads, or KV heads where these are the unit */
    struct sac_density *density;   /* [n_density], freed by sac_select_free */
    double select_s, attend_s;
};

enum sac_code sac_select_run(const struct sac_select_args *a, struct sac_select_result *out,
                             struct sac_err *err);
void sac_select_free(struct sac_select_result *r);
#endif
