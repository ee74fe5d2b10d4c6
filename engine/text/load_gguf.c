/* A tokenizer from the metadata of a GGUF file. */
#include "text/tok_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *s, size_t len, const char *what)
{
    return strlen(what) == len && !memcmp(s, what, len);
}

static enum sac_code no_memory(const struct gguf *g, struct sac_err *err)
{
    return sac_fail(err, SAC_ENOMEM, "%s: out of memory for its tokenizer", g->map[0].path);
}

/* Sizes of the optional arrays beside the tokens must agree with theirs. */
static const struct gguf_kv *side_array(const struct gguf *g, const char *key, enum gguf_type elem,
                                        uint64_t n, enum sac_code *rc, struct sac_err *err)
{
    const struct gguf_kv *kv = gguf_array(g, key, elem, rc, err);
    if (kv && kv->count != n)
        *rc = sac_fail(err, SAC_EFORMAT, "%s: %s has %llu entries for %llu tokens", g->map[0].path, key,
                       (unsigned long long)kv->count, (unsigned long long)n);
    return *rc ? NULL : kv;
}

static enum sac_code read_tokens(struct tokenizer *t, const struct gguf *g, const struct gguf_kv *tokens,
                                 struct sac_err *err)
{
    enum sac_code rc = SAC_OK;
    const struct gguf_kv *types =
        side_array(g, "tokenizer.ggml.token_type", GGUF_I32, tokens->count, &rc, err);
    if (rc) return rc;
    struct gguf_strings it = { tokens->value, tokens->count };
    const char *s;
    char *buf = NULL;
    size_t len, cap = 0;
    for (int id = 0; gguf_next(&it, &s, &len) && !rc; id++) {
        int64_t type = types ? gguf_elem_int(types, (uint64_t)id) : TOK_NORMAL;
        if (type < TOK_NORMAL || type > TOK_BYTE) type = TOK_NORMAL;
        if (len > cap) {
            char *b = realloc(buf, len * 2);
            if (!b) {
                rc = no_memory(g, err);
                break;
            }
            buf = b;
            cap = len * 2;
        }
        int byte = t->algorithm == TOK_SPM ? byte_token(s, len) : -1;
        bool spelled = type == TOK_NORMAL || type == TOK_UNUSED || type == TOK_BYTE;
        if (byte >= 0 && (type == TOK_BYTE || type == TOK_NORMAL)) {
            char c = (char)byte;
            type = TOK_BYTE;
            t->byte_id[byte] = id;
            if (!vocab_set(t, id, &c, 1, TOK_BYTE)) rc = no_memory(g, err);
            continue;
        }
        if (type == TOK_BYTE) type = TOK_NORMAL;
        if (spelled && len)
            len = t->algorithm == TOK_SPM ? decode_spaces(s, len, buf)
                                          : decode_byte_level(s, len, buf, &t->tok[id].foreign);
        if (!vocab_set(t, id, spelled && len ? buf : s, len, (enum tok_type)type)) rc = no_memory(g, err);
    }
    free(buf);
    if (!rc && !vocab_index(t)) rc = no_memory(g, err);
    return rc;
}

/* ---- SentencePiece: the order of scores as ranks ---- */

struct scored { float score; int id; };

static int by_score(const void *a, const void *b)
{
    float x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return x > y ? -1 : x < y;
}

static enum sac_code read_scores(struct tokenizer *t, const struct gguf *g, struct sac_err *err)
{
    enum sac_code rc = SAC_OK;
    const struct gguf_kv *kv = side_array(g, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)t->n, &rc, err);
    if (!rc && !kv)
        rc =
            sac_fail(err, SAC_EFORMAT,
                     "%s: a SentencePiece vocabulary without scores (tokenizer.ggml.scores)", g->map[0].path);
    if (rc) return rc;
    struct scored *list = malloc((size_t)t->n * sizeof *list);
    if (!list) return no_memory(g, err);
    for (int i = 0; i < t->n && !rc; i++) {
        list[i] = (struct scored){ (float)gguf_elem_float(kv, (uint64_t)i), i };
        if (isnan(list[i].score))
            rc = sac_fail(err, SAC_EFORMAT, "%s: the score of token %d is not a number", g->map[0].path, i);
    }
    if (!rc) {
        qsort(list, (size_t)t->n, sizeof *list, by_score);
        uint32_t rank = 0;
        for (int i = 0; i < t->n; i++) {
            if (i && list[i].score < list[i - 1].score) rank++;
            t->tok[list[i].id].rank = rank;
        }
        t->n_ranks = rank + 1;
    }
    free(list);
    return rc;
}

/* ---- byte-level BPE: merges ---- */

static enum sac_code read_merges(struct tokenizer *t, const struct gguf *g, struct sac_err *err)
{
    enum sac_code rc = SAC_OK;
    const struct gguf_kv *kv = gguf_array(g, "tokenizer.ggml.merges", GGUF_STRING, &rc, err);
    if (rc) return rc;
    if (!kv) return sac_fail(err, SAC_EFORMAT, "%s: a BPE vocabulary without merges (tokenizer.ggml.merges)",
                             g->map[0].path);
    if (kv->count > TOK_MAX_MERGES || !pairs_reserve(t, (size_t)kv->count)) return no_memory(g, err);
    struct gguf_strings it = { kv->value, kv->count };
    const char *s;
    char *buf = NULL;
    size_t len, cap = 0;
    for (uint32_t rank = 0; gguf_next(&it, &s, &len); rank++) {
        const char *gap = len > 1 ? memchr(s + 1, ' ', len - 1) : NULL;
        if (!gap) continue;
        if (len > cap) {
            char *b = realloc(buf, len * 2);
            if (!b) {
                rc = no_memory(g, err);
                break;
            }
            buf = b;
            cap = len * 2;
        }
        bool odd_l, odd_r;
        size_t l = decode_byte_level(s, (size_t)(gap - s), buf, &odd_l);
        size_t r = decode_byte_level(gap + 1, len - (size_t)(gap - s) - 1, buf + l, &odd_r);
        if (odd_l || odd_r) continue;
        int left = vocab_lookup(t, buf, l), right = vocab_lookup(t, buf + l, r),
            both = vocab_lookup(t, buf, l + r);
        if (left >= 0 && right >= 0 && both >= 0) pairs_add(t, left, right, rank, both);
    }
    free(buf);
    return rc;
}

/* ---- special ids ---- */

static int special(const struct tokenizer *t, const struct gguf *g, const char *key, int def,
                   enum sac_code *rc, struct sac_err *err)
{
    int64_t id = def;
    gguf_int(g, key, INT64_MIN, INT64_MAX, &id, rc, err);
    return id >= 0 && id < t->n ? (int)id : -1; /* files carry -1 or ids of a larger vocabulary for "none" */
}

/* Phi 3's marks swallow the blanks behind them; its GGUF files do not say so. */
static enum sac_code read_blank_eaters(struct tokenizer *t, const struct gguf *g, struct sac_err *err)
{
    static const char *const plain[] = { "<unk>", "<s>", "<|endoftext|>" };
    const char *arch = "";
    size_t len = 0;
    enum sac_code rc = SAC_OK;
    gguf_str(g, "general.architecture", &arch, &len, &rc, err);
    if (rc || !is(arch, len, "phi3")) return rc;
    for (int id = 0; id < t->n; id++) {
        struct tok *k = &t->tok[id];
        bool mark = k->type == TOK_CONTROL || k->type == TOK_USER || k->type == TOK_UNKNOWN;
        for (int i = 0; i < 3 && mark; i++) mark = !is(t->pool + k->at, k->len, plain[i]);
        k->rstrip = mark;
    }
    return SAC_OK;
}

static enum sac_code read_special(struct tokenizer *t, const struct gguf *g, struct sac_err *err)
{
    static const char *const stops[] = { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                         "tokenizer.ggml.eom_token_id" };
    enum sac_code rc = SAC_OK;
    bool spm = t->algorithm == TOK_SPM;
    t->bos = special(t, g, "tokenizer.ggml.bos_token_id", spm ? 1 : -1, &rc, err);
    t->unk = special(t, g, "tokenizer.ggml.unknown_token_id", spm ? 0 : -1, &rc, err);
    for (int i = 0; i < 3; i++) {
        int id = special(t, g, stops[i], spm && i == 0 ? 2 : -1, &rc, err);
        if (id < 0) continue;
        t->tok[id].stop = true;
        if (t->tok[id].type == TOK_NORMAL || t->tok[id].type == TOK_USER) t->tok[id].type = TOK_CONTROL;
    }
    gguf_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos, &rc, err);
    bool prefix = spm;
    gguf_bool(g, "tokenizer.ggml.add_space_prefix", &prefix, &rc, err);
    if (spm) t->prefix = prefix ? PREFIX_EVERY : PREFIX_NONE;
    if (spm && !rc) rc = read_blank_eaters(t, g, err);
    return rc;
}

enum sac_code tok_load_gguf(struct tokenizer *t, const struct gguf *g, struct sac_err *err)
{
    const char *model = NULL, *pre = "default";
    size_t len = 0, pre_len = 7;
    enum sac_code rc = SAC_OK;
    gguf_str(g, "tokenizer.ggml.model", &model, &len, &rc, err);
    gguf_str(g, "tokenizer.ggml.pre", &pre, &pre_len, &rc, err);
    const struct gguf_kv *tokens = gguf_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &rc, err);
    if (rc) return rc;
    if (!tokens || tokens->count == 0 || tokens->count > TOK_MAX_TOKENS)
        return sac_fail(err, SAC_EFORMAT, "%s: its vocabulary has no tokens, or too many", g->map[0].path);
    bool spm = is(model, len, "llama");
    if (!spm && !is(model, len, "gpt2"))
        return sac_fail(err, SAC_ENOTSUP,
                        "%s: its tokenizer is of kind %.*s; gpt2 (byte-level BPE) and llama "
                        "(SentencePiece) can be read",
                        g->map[0].path, len < 40 ? (int)len : 40, model);
    t->algorithm = spm ? TOK_SPM : TOK_BYTE_BPE;
    t->spaces = spm;
    t->add_bos = spm;
    if (!vocab_reserve(t, (int)tokens->count)) return no_memory(g, err);
    if (!spm) rc = pretok_by_name(t, pre, pre_len, g->map[0].path, err);
    if (!rc) rc = read_tokens(t, g, tokens, err);
    if (!rc) rc = spm ? read_scores(t, g, err) : read_merges(t, g, err);
    if (!rc) rc = read_special(t, g, err);
    return rc;
}
