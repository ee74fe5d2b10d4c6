/* Reference outputs of a model: logits, hidden states and attention of every position, in f32 arithmetic. */
#ifndef SAC_LOGITS_H
#define SAC_LOGITS_H

#include <saccade/model.h>

/* Writes `logits [n][vocab]`, with hidden `hidden.{l} [n][n_embd]` (the residual stream entering block l, the
 * last one after the final norm), with attn `attn.{l} [n_heads][n][n]` of every layer, all f32, to a
 * safetensors file. The model must have been opened strict. */
enum sac_code sac_logits_write(struct sac_model *m, const int *ids, int n, bool hidden, bool attn,
                               const char *path, bool force, struct sac_err *err);
/* The token ids of a safetensors file: its tensor `ids`, i32 or i64, one row. malloc'ed. */
enum sac_code sac_ids_read(const char *path, int **ids, int *n, struct sac_err *err);
/* Greedy continuation by dense attention; out[max_new], returns how many through *n_out. */
enum sac_code sac_greedy(struct sac_model *m, const int *ids, int n, int max_new, int *out, int *n_out,
                         float *last_prompt_logits /* [n_vocab] or NULL */, struct sac_err *err);
#endif
