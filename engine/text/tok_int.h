/* The inside of a tokenizer: vocabulary, merges, splits.
 *
 * Texts are kept as the bytes they stand for: the byte-level alphabet and SentencePiece's U+2581 are decoded
 * when a vocabulary is loaded, so matching works on the text itself and a span is a plain byte offset. */
#ifndef TEXT_TOK_INT_H
#define TEXT_TOK_INT_H

#include "text/tokenizer.h"

enum tok_type { TOK_NORMAL = 1, TOK_UNKNOWN, TOK_CONTROL, TOK_USER, TOK_UNUSED, TOK_BYTE };

enum { TOK_MAX_TOKENS = 1 << 22, TOK_MAX_MERGES = 1 << 23, TOK_MAX_SPLITS = 16, TOK_MAX_NORMS = 16 };

struct tok {
    size_t at;                  /* bytes in the pool */
    uint32_t len;
    uint8_t type;
    bool stop, lstrip, rstrip, single_word;
    bool listed;                /* in a list of added tokens already */
    bool foreign;               /* byte-level: has characters no byte maps to, so text never becomes it */
    uint32_t rank;              /* SentencePiece: 0 is the highest score, equal scores share a rank */
};

/* A text that becomes token id before anything is split or merged: bytes at .. at+len-1 of the pool. */
struct added {
    size_t at;
    uint32_t len;
    int id;
};
struct added_list {
    struct added *a;
    int n;
}; /* sorted by text */

struct tok_pair { uint64_t key; uint32_t rank; int32_t id; };   /* key: left << 32 | right; ~0 empty */

/* What happens to a match of a split; gaps between matches become pieces. */
enum split_behaviour {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT,
    SPLIT_CONTIGUOUS
};
/* How an expression sees the text: as it is; as characters of the byte-level alphabet, behind a ByteLevel
 * part; with U+2581 for spaces, where those are marked already. */
enum split_view { VIEW_TEXT, VIEW_BYTES, VIEW_MARKS };
struct split {
    void *code;
    enum split_behaviour behaviour;
    bool invert;
    enum split_view view;
};

enum tok_algorithm { TOK_BYTE_BPE,   /* symbols are bytes, merges by rank */
                     TOK_CHAR_BPE,   /* symbols are characters, merges by rank, missing ones as byte tokens */
                     TOK_SPM };      /* symbols are characters, merges by score of the result */
enum tok_prefix {
    PREFIX_NONE,
    PREFIX_FIRST /* a space before the text */,
    PREFIX_EVERY /* before every piece */
};

/* One step of a normalizer. text: what to prepend, or what replaces a match of `code`. */
enum norm_kind {
    NORM_NFC,
    NORM_NFD,
    NORM_NFKC,
    NORM_NFKD,
    NORM_LOWER,
    NORM_UNMARK /* without marks */,
    NORM_STRIP,
    NORM_PREPEND,
    NORM_REPLACE
};
struct norm_step {
    enum norm_kind kind;
    bool left, right;
    void *code;
    char *text;
};

/* What the normal form has left of blanks: it may have made marks of spaces, or byte-level letters of all. */
enum tok_blanks { BLANKS_ALL, BLANKS_BUT_SPACES, BLANKS_NONE };

struct tokenizer {
    int n;
    int limit;                  /* ids from here on are known but never made: the model has no row for them */
    struct tok *tok;            /* [n] */
    char *pool;
    size_t pool_n, pool_cap;
    int *bucket;                /* ids by text; control, unknown and byte tokens are not in it */
    size_t n_bucket;
    struct tok_pair *pair;      /* open addressing */
    size_t n_pair;
    size_t n_ranks;             /* ranks of pairs and of SentencePiece tokens are below it */
    int byte_id[256];           /* token of a single byte, or -1 */
    struct added_list early;    /* looked for in the text */
    struct added_list late;     /* looked for in what the normalizer made of it */
    enum tok_algorithm algorithm;
    enum tok_prefix prefix;
    bool prefix_unless_space;   /* no second space before text that begins with one */
    int prefix_step;            /* pieces get their space when so many splits have been made */
    struct norm_step norm[TOK_MAX_NORMS];
    int n_norm;
    bool spaces;                /* U+2581 in the text means a space */
    enum tok_blanks late_blanks;
    bool ignore_merges;         /* a word that is a token is taken whole */
    bool fuse_unk;
    bool add_bos;
    int bos, unk;               /* -1: none */
    struct split split[TOK_MAX_SPLITS];
    int n_splits;
    /* Bits by last byte of a character: may a space follow it inside a token? (words end where none may) */
    uint32_t before_space[8];
};

/* ---- vocab.c ---- */
bool vocab_reserve(struct tokenizer *t, int n);
/* Set the bytes of token id; false: out of memory. */
bool vocab_set(struct tokenizer *t, int id, const char *bytes, size_t len, enum tok_type type);
/* Decode a token's text: byte-level alphabet, or U+2581 as a space. `out` holds len bytes at least. A text
 * with characters outside the alphabet stands for itself: *foreign, since no text is made of it. */
size_t decode_byte_level(const char *s, size_t len, char *out, bool *foreign);
/* The byte-level character of byte b: the code point. */
int byte_level_char(int b);
size_t decode_spaces(const char *s, size_t len, char *out);
/* "<0x41>" -> 65, otherwise -1. */
int byte_token(const char *s, size_t len);
bool vocab_index(struct tokenizer *t);                /* after all tokens are set */
int vocab_lookup(const struct tokenizer *t, const char *bytes, size_t len);   /* -1: none */
bool pairs_reserve(struct tokenizer *t, size_t n);
/* The first of equal pairs counts. */
void pairs_add(struct tokenizer *t, int left, int right, uint32_t rank, int id);
const struct tok_pair *pairs_find(const struct tokenizer *t, int left, int right);
bool vocab_finish(struct tokenizer *t);               /* added tokens, stop texts, word ends */
/* Bytes that stay; where they are in the pool, or SIZE_MAX: out of memory. */
size_t vocab_keep(struct tokenizer *t, const char *bytes, size_t len);

/* ---- added.c ---- */
/* Text bytes[0..len) becomes token id. false: out of memory. */
bool added_put(struct tokenizer *t, struct added_list *l, const char *bytes, size_t len, int id);
/* Sorts both lists, with all special tokens that are in neither. false: out of memory. */
bool added_finish(struct tokenizer *t);
void added_limit(struct added_list *l, int n); /* drops ids from n on */
/* The longest of the list at s[at] inside s[lo..hi), or NULL. may(ctx, id, a, b): is s[a..b) allowed to be
 * it? */
const struct added *added_at(const struct tokenizer *t, const struct added_list *l, const char *s, size_t lo,
                             size_t hi, size_t at, bool (*may)(void *ctx, int id, size_t a, size_t b),
                             void *ctx);

/* ---- split.c: the one file that knows PCRE2 ---- */
enum sac_code split_add(struct tokenizer *t, const char *pattern, bool literal, enum split_behaviour how,
                        bool invert, const char *path, struct sac_err *err);
/* A compiled expression, NULL where it cannot be; for norm_step.code. */
void *pattern_new(const char *pattern, bool literal);
void pattern_free(void *code);
/* Calls match(ctx, a, b) for every match s[a..b) that is not empty, in order. false: out of memory, or match
 * returned false. */
bool pattern_each(void *code, const char *s, size_t n, bool (*match)(void *ctx, size_t a, size_t b),
                  void *ctx);
void split_free(struct split *s);
struct split_run;               /* matching state of one caller */
struct split_run *split_run_new(const struct tokenizer *t);
void split_run_free(struct split_run *r);
/* A piece: s[lo..hi). from: where s begins in the text that was split, when no space was put before it; else
 * s[0] is that space and s[1] is at `from`. */
struct split_piece {
    const char *s;
    size_t lo, hi, from;
    bool prefixed;
};
/* Calls word(ctx, p) for every piece of s[0..n) in order, after all splits. first: the text begins here.
 * false: out of memory, or word returned false. */
bool split_words(struct split_run *r, const char *s, size_t n, bool first,
                 bool (*word)(void *ctx, const struct split_piece *p), void *ctx);

/* ---- pretok.c ---- */
/* Splits and settings of a GGUF pre-tokenizer name; SAC_ENOTSUP for an unknown one. */
enum sac_code pretok_by_name(struct tokenizer *t, const char *name, size_t len, const char *path,
                             struct sac_err *err);
enum sac_code pretok_gpt2(struct tokenizer *t, const char *path, struct sac_err *err);

/* ---- normal.c ---- */
/* s after all steps of the normalizer. *out is malloc'ed and *map [len + 1] gives the source offset of each
 * byte; both are NULL when nothing changes s. false: out of memory. */
bool normal_text(const struct tokenizer *t, const char *s, size_t n, char **out, size_t *len, size_t **map);
/* Bytes of the well-formed character at s, or 1 for a byte that begins none; *valid tells which. */
int utf8_step(const char *s, size_t left, bool *valid);
/* Bytes of the character that ends at s[at], at > 0. */
size_t utf8_back(const char *s, size_t at);
/* White_Space; what \w means: letters, marks, digits, connectors. s[0..n) is one character. */
bool char_is_space(const char *s, size_t n);
bool char_is_word(const char *s, size_t n);

/* ---- merge.c ---- */
struct symbol { int id, prev, next; uint32_t lo, hi; };   /* texts are below 2 GiB */
/* Merges symbols [n] (linked in order) of text s in place; follow `next` from 0. false: out of memory. */
bool merge_symbols(const struct tokenizer *t, const char *s, struct symbol *sym, int n);

/* ---- loaders ---- */
enum sac_code tok_load_gguf(struct tokenizer *t, const struct gguf *g, struct sac_err *err);
enum sac_code tok_load_hf(struct tokenizer *t, const struct model_files *f, struct sac_err *err);
#endif
