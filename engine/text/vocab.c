/* The vocabulary: token bytes, the index from bytes to id, and the table of merges. */
#include "text/tok_int.h"

#include <stdlib.h>
#include <string.h>

/* ---- byte-level alphabet ---- */

/* The alphabet shows printable bytes as themselves and the other 68, in order, as U+0100 and up. */
static bool shown_as_itself(int b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

int byte_level_char(int b)
{
    if (shown_as_itself(b)) return b;
    int at = 0x100;
    for (int i = 0; i < b; i++) at += !shown_as_itself(i);
    return at;
}

static int byte_of_char(int c)
{
    if (c < 256) return shown_as_itself(c) ? c : -1;
    int at = 0x100;
    for (int b = 0; b < 256; b++)
        if (!shown_as_itself(b) && at++ == c) return b;
    return -1;
}

size_t decode_byte_level(const char *s, size_t len, char *out, bool *foreign)
{
    size_t n = 0;
    *foreign = false;
    for (size_t i = 0; i < len;) {
        unsigned char a = (unsigned char)s[i];
        int b = -1;
        if (a >= 0x21 && a <= 0x7e) {
            out[n++] = s[i++];
            continue;
        }
        if ((a & 0xe0) == 0xc0 && i + 1 < len)
            b = byte_of_char((a & 31) << 6 | ((unsigned char)s[i + 1] & 63));
        if (b < 0) {
            *foreign = true;
            memcpy(out, s, len);
            return len;
        }
        out[n++] = (char)b;
        i += 2;
    }
    return n;
}

size_t decode_spaces(const char *s, size_t len, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        if (len - i >= 3 && !memcmp(s + i, "\xe2\x96\x81", 3)) out[n++] = ' ', i += 3;
        else out[n++] = s[i++];
    }
    return n;
}

int byte_token(const char *s, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    if (len != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
    const char *hi = s[3] ? strchr(hex, s[3]) : NULL, *lo = s[4] ? strchr(hex, s[4]) : NULL;
    return hi && lo ? (int)((hi - hex) * 16 + (lo - hex)) : -1;
}

/* ---- tokens ---- */

bool vocab_reserve(struct tokenizer *t, int n)
{
    t->tok = calloc((size_t)(n ? n : 1), sizeof *t->tok);
    t->n = t->limit = t->tok ? n : 0;
    return t->tok != NULL;
}

size_t vocab_keep(struct tokenizer *t, const char *bytes, size_t len)
{
    if (len > UINT32_MAX) return SIZE_MAX;
    if (len > t->pool_cap - t->pool_n) {
        size_t cap = t->pool_cap * 2 + len + 4096;
        char *p = realloc(t->pool, cap);
        if (!p) return SIZE_MAX;
        t->pool = p;
        t->pool_cap = cap;
    }
    if (len) memcpy(t->pool + t->pool_n, bytes, len);
    t->pool_n += len;
    return t->pool_n - len;
}

bool vocab_set(struct tokenizer *t, int id, const char *bytes, size_t len, enum tok_type type)
{
    size_t at = vocab_keep(t, bytes, len);
    if (at == SIZE_MAX) return false;
    struct tok *k = &t->tok[id];
    k->at = at;
    k->len = (uint32_t)len;
    k->type = (uint8_t)type;
    return true;
}

static size_t slot_of(const struct tokenizer *t, const char *bytes, size_t len)
{
    size_t mask = t->n_bucket - 1, i = (size_t)hash_bytes(bytes, len, 0) & mask;
    while (t->bucket[i] >= 0) {
        const struct tok *k = &t->tok[t->bucket[i]];
        if (k->len == len && !memcmp(t->pool + k->at, bytes, len)) break;
        i = (i + 1) & mask;
    }
    return i;
}

bool vocab_index(struct tokenizer *t)
{
    size_t n = 16;
    while (n < (size_t)t->n * 2) n *= 2;
    t->bucket = malloc(n * sizeof *t->bucket);
    if (!t->bucket) return false;
    t->n_bucket = n;
    memset(t->bucket, 0xff, n * sizeof *t->bucket);
    /* Normal tokens first: a user-defined run of spaces must not hide the piece that spells the same. */
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < t->n; i++) {
            const struct tok *k = &t->tok[i];
            bool normal = k->type == TOK_NORMAL || k->type == TOK_UNUSED;
            if (!k->len || k->foreign || (pass == 0 ? !normal : k->type != TOK_USER)) continue;
            size_t at = slot_of(t, t->pool + k->at, k->len);
            if (t->bucket[at] < 0) t->bucket[at] = i;
        }
    return true;
}

int vocab_lookup(const struct tokenizer *t, const char *bytes, size_t len)
{
    int id = t->bucket[slot_of(t, bytes, len)];
    return id < t->limit ? id : -1;
}

/* ---- merges ---- */

static size_t pair_slot(const struct tokenizer *t, uint64_t key)
{
    size_t mask = t->n_pair - 1, i = (size_t)((key * 0x9e3779b97f4a7c15u) >> 20) & mask;
    while (t->pair[i].key != UINT64_MAX && t->pair[i].key != key) i = (i + 1) & mask;
    return i;
}

bool pairs_reserve(struct tokenizer *t, size_t n)
{
    size_t cap = 16;
    while (cap < n * 2) cap *= 2;
    t->pair = malloc(cap * sizeof *t->pair);
    if (!t->pair) return false;
    t->n_pair = cap;
    t->n_ranks = n + 1;
    for (size_t i = 0; i < cap; i++) t->pair[i].key = UINT64_MAX;
    return true;
}

static uint64_t pair_key(int left, int right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

void pairs_add(struct tokenizer *t, int left, int right, uint32_t rank, int id)
{
    size_t at = pair_slot(t, pair_key(left, right));
    if (t->pair[at].key == UINT64_MAX) t->pair[at] = (struct tok_pair){ pair_key(left, right), rank, id };
}

const struct tok_pair *pairs_find(const struct tokenizer *t, int left, int right)
{
    if (left < 0 || right < 0 || !t->n_pair) return NULL;
    const struct tok_pair *p = &t->pair[pair_slot(t, pair_key(left, right))];
    return p->key == UINT64_MAX || p->id >= t->limit ? NULL : p;
}

/* ---- finishing ---- */

/* Models often name the base model's end token, while chat turns end with another: the text decides too. */
static const char *const stop_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "<|end_of_text|>",
    "</s>",
    ("<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
};

/* Marks of a code model's blanks: they guide it, so they must not be read out of a user's text. */
#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
static const char *const guide_texts[] = {
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim-prefix>",
    "<fim-middle>",
    "<fim-suffix>",
    "<PRE>",
    "<MID>",
    "<SUF>",
    "<" BAR "fim" LOW "begin" BAR ">",
    "<" BAR "fim" LOW "hole" BAR ">",
    "<" BAR "fim" LOW "end" BAR ">",
};

static bool is_one_of(const struct tokenizer *t, const struct tok *k, const char *const *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (k->len == strlen(text[i]) && !memcmp(t->pool + k->at, text[i], k->len)) return true;
    return false;
}

bool vocab_finish(struct tokenizer *t)
{
    for (int b = 0; b < 256 && t->algorithm == TOK_BYTE_BPE; b++) {
        char c = (char)b;
        t->byte_id[b] = vocab_lookup(t, &c, 1);
    }
    for (int i = 0; i < t->n; i++) {
        struct tok *k = &t->tok[i];
        const char *s = t->pool + k->at;
        if (is_one_of(t, k, stop_texts, sizeof stop_texts / sizeof *stop_texts)) {
            k->stop = true;
            if (k->type == TOK_NORMAL || k->type == TOK_USER) k->type = TOK_CONTROL;
        }
        if (k->type == TOK_USER && is_one_of(t, k, guide_texts, sizeof guide_texts / sizeof *guide_texts))
            k->type = TOK_CONTROL;
        if (k->type == TOK_CONTROL || k->type == TOK_UNKNOWN || k->type == TOK_BYTE) continue;
        for (uint32_t b = 0; b + 1 < k->len; b++)
            if (s[b + 1] == ' ') t->before_space[(unsigned char)s[b] / 32] |= 1u << (unsigned char)s[b] % 32;
    }
    return added_finish(t);
}

void tokenizer_limit(struct tokenizer *t, int n)
{
    if (n >= t->n) return;
    t->limit = n;
    added_limit(&t->early, n);
    added_limit(&t->late, n);
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] >= n) t->byte_id[b] = -1;
    if (t->bos >= n) t->bos = -1;
    if (t->unk >= n) t->unk = -1;
}
