/* Text to tokens and back: byte-level BPE, SentencePiece BPE and what tokenizer.json describes.
 *
 * A tokenizer is immutable after it was made, so threads may share it. Ids are 0 .. n-1. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include "file/model_files.h"

#include <saccade/model.h>

struct tokenizer;

/* Makes the tokenizer the files describe; *out is NULL with SAC_OK when they hold none. */
enum sac_code tokenizer_load(struct tokenizer **out, const struct model_files *f, struct sac_err *err);
void tokenizer_free(struct tokenizer *t);

/* Text never becomes an id of n or more: tokenizers may know tokens that the model's embedding lacks. */
void tokenizer_limit(struct tokenizer *t, int n);

int tokenizer_size(const struct tokenizer *t);
int tokenizer_find(const struct tokenizer *t, const char *text);   /* id of a special or added token, -1 */
int tokenizer_bytes(const struct tokenizer *t, int id, const char **bytes);
bool tokenizer_is_stop(const struct tokenizer *t, int id);
void tokenizer_add_stop(struct tokenizer *t, int id); /* ids outside the vocabulary are ignored */
uint64_t tokenizer_hash(const struct tokenizer *t);                /* of all token texts */

/* A stretch of text and whether special tokens written in it are read as such. */
struct tok_part { size_t lo, hi; bool special; };
/* Tokenises parts that follow each other in `text`. Spans are byte offsets in `text`. Words may cross from
 * one part into the next, special tokens may not. `out` must be empty; on failure it is freed. */
enum sac_code tokenizer_encode(const struct tokenizer *t, const char *text, const struct tok_part *part,
                               int n_parts, bool bos, struct sac_tokens *out, struct sac_err *err);
#endif
