/* Text to tokens: special tokens first, then normalisation, words, symbols and merges.
 *
 *   text -> fragments between special tokens -> normal form -> pieces between normalized added tokens
 *        -> words -> symbols -> merged -> ids with spans
 *
 * Words repeat, so what a word became is remembered for the length of one call. */
#include "text/tok_int.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_SLOTS = 1 << 15, CACHE_WORD = 40 };

struct cached { unsigned char len, n; char bytes[CACHE_WORD]; int at; };   /* ids at .. at+n-1 of the pool */
struct piece_id { int id; unsigned len; };

struct encoder {
    const struct tokenizer *t;
    const char *text;
    struct sac_tokens *out;
    struct split_run *run;
    const struct tok_part *part;
    int n_parts;
    /* the fragment: where it begins in the text, and the map of its normal form to it */
    size_t base;
    const size_t *map;
    /* the piece: its first byte is at `from` of the fragment, behind `prefix` bytes that are not in it */
    const char *s;
    size_t from, prefix;
    size_t offset; /* of what is split in the fragment */
    struct symbol *sym;
    size_t cap_sym;
    struct piece_id *id;        /* of the current word */
    size_t n_id, cap_id;
    struct cached *cache;
    struct piece_id *pool;
    size_t n_pool, cap_pool;
    int n_cached;
};

static bool reserve(void **p, size_t *cap, size_t want, size_t size)
{
    if (want <= *cap) return true;
    size_t c = *cap * 2 > want ? *cap * 2 : want + 64;
    void *q = realloc(*p, c * size);
    if (!q) return false;
    *p = q;
    *cap = c;
    return true;
}

static bool emit(struct encoder *e, int id, size_t lo, size_t hi)
{
    struct sac_tokens *o = e->out;
    if (o->n == o->cap) {
        int cap = o->cap ? o->cap * 2 : 256;
        int *ids = realloc(o->id, (size_t)cap * sizeof *ids);
        if (ids) o->id = ids;
        struct sac_span *span = realloc(o->span, (size_t)cap * sizeof *span);
        if (span) o->span = span;
        if (!ids || !span) return false;
        o->cap = cap;
    }
    o->id[o->n] = id;
    o->span[o->n++] = (struct sac_span){ (int)lo, (int)hi };
    return true;
}

/* Offset in the text of byte i of the fragment's normal form. */
static size_t source(const struct encoder *e, size_t i) { return e->base + (e->map ? e->map[i] : i); }

/* ... of byte i of the piece. */
static size_t piece_source(const struct encoder *e, size_t i)
{
    return source(e, e->from + (i < e->prefix ? 0 : i - e->prefix));
}

/* ---- words ---- */

static bool push(struct encoder *e, int id, size_t len)
{
    if (!reserve((void **)&e->id, &e->cap_id, e->n_id + 1, sizeof *e->id)) return false;
    e->id[e->n_id++] = (struct piece_id){ id, (unsigned)len };
    return true;
}

static int add_symbols(struct encoder *e, size_t lo, size_t hi)
{
    const struct tokenizer *t = e->t;
    int n = 0;
    if (hi - lo > INT_MAX || !reserve((void **)&e->sym, &e->cap_sym, hi - lo, sizeof *e->sym)) return -1;
    for (size_t i = lo; i < hi;) {
        bool valid;
        size_t step = t->algorithm == TOK_BYTE_BPE ? 1 : (size_t)utf8_step(e->s + i, hi - i, &valid);
        int id = t->algorithm == TOK_BYTE_BPE ? t->byte_id[(unsigned char)e->s[i]]
                                              : vocab_lookup(t, e->s + i, step);
        bool bytes = id < 0 && t->algorithm == TOK_CHAR_BPE;
        for (size_t b = i; b < i + step && bytes; b++) bytes = t->byte_id[(unsigned char)e->s[b]] >= 0;
        bool lost = id < 0 && !bytes && t->unk < 0 && t->algorithm != TOK_SPM; /* its neighbours meet */
        for (size_t b = i; b < i + step && !lost; b += bytes ? 1 : step) {
            size_t len = bytes ? 1 : step;
            if (bytes) id = t->byte_id[(unsigned char)e->s[b]];
            e->sym[n] = (struct symbol){ .id = id, .prev = n - 1, .next = n + 1, .lo = (uint32_t)b,
                                         .hi = (uint32_t)(b + len) };
            n++;
        }
        i += step;
    }
    if (n) e->sym[n - 1].next = -1;
    return n;
}

/* A symbol that is no token: its bytes, or the unknown token, or nothing. */
static bool push_unknown(struct encoder *e, size_t lo, size_t hi)
{
    const struct tokenizer *t = e->t;
    bool bytes = t->algorithm != TOK_BYTE_BPE;
    for (size_t i = lo; i < hi && bytes; i++) bytes = t->byte_id[(unsigned char)e->s[i]] >= 0;
    for (size_t i = lo; i < hi && bytes; i++)
        if (!push(e, t->byte_id[(unsigned char)e->s[i]], 1)) return false;
    if (bytes) return true;
    if (t->fuse_unk && e->n_id && e->id[e->n_id - 1].id == t->unk) {
        e->id[e->n_id - 1].len += (unsigned)(hi - lo);
        return true;
    }
    return push(e, t->unk, hi - lo);   /* id -1: the bytes are lost, but spans go on */
}

static bool make_word(struct encoder *e, size_t lo, size_t hi)
{
    const struct tokenizer *t = e->t;
    e->n_id = 0;
    if (t->ignore_merges) {
        int id = vocab_lookup(t, e->s + lo, hi - lo);
        if (id >= 0) return push(e, id, hi - lo);
    }
    int n = add_symbols(e, lo, hi);
    if (n < 0 || !merge_symbols(t, e->s, e->sym, n)) return false;
    for (int i = n ? 0 : -1; i >= 0; i = e->sym[i].next) {
        const struct symbol *y = &e->sym[i];
        if (y->lo > lo && !push(e, -1, y->lo - lo)) return false;
        lo = y->hi;
        if (y->id >= 0 ? !push(e, y->id, y->hi - y->lo) : !push_unknown(e, y->lo, y->hi)) return false;
    }
    return true;
}

static bool emit_word(struct encoder *e, const struct piece_id *id, size_t n, size_t lo)
{
    for (size_t i = 0; i < n; i++) {
        size_t hi = lo + id[i].len;
        if (id[i].id >= 0 && !emit(e, id[i].id, piece_source(e, lo), piece_source(e, hi))) return false;
        lo = hi;
    }
    return true;
}

static bool word(struct encoder *e, size_t lo, size_t hi)
{
    size_t len = hi - lo;
    if (len > CACHE_WORD) return make_word(e, lo, hi) && emit_word(e, e->id, e->n_id, lo);
    size_t slot = (size_t)hash_bytes(e->s + lo, len, 0) & (CACHE_SLOTS - 1);
    for (; e->cache[slot].len; slot = (slot + 1) & (CACHE_SLOTS - 1)) {
        const struct cached *c = &e->cache[slot];
        if (c->len == len && !memcmp(c->bytes, e->s + lo, len))
            return c->n == 0 || emit_word(e, e->pool + c->at, c->n, lo); /* words may vanish */
    }
    if (!make_word(e, lo, hi)) return false;
    if (e->n_cached < CACHE_SLOTS / 2 && len > 0) {
        if (!reserve((void **)&e->pool, &e->cap_pool, e->n_pool + e->n_id, sizeof *e->pool)) return false;
        struct cached *c = &e->cache[slot];
        c->len = (unsigned char)len;
        c->n = (unsigned char)e->n_id;
        c->at = (int)e->n_pool;
        memcpy(c->bytes, e->s + lo, len);
        if (e->n_id) memcpy(e->pool + e->n_pool, e->id, e->n_id * sizeof *e->id);
        e->n_pool += e->n_id;
        e->n_cached++;
    }
    return emit_word(e, e->id, e->n_id, lo);
}

/* A piece for tokenizers of characters: it may be cut before a space where no token could reach across. */
static bool long_word(struct encoder *e, size_t lo, size_t hi)
{
    size_t from = lo;
    bool lossy = e->t->unk < 0 && e->t->byte_id[0xff] < 0; /* characters that vanish let others meet */
    for (size_t i = lossy ? hi : lo + 1; i < hi; i++) {
        unsigned char last = (unsigned char)e->s[i - 1];
        if (e->s[i] != ' ' || e->t->before_space[last / 32] >> last % 32 & 1) continue;
        if (!word(e, from, i)) return false;
        from = i;
    }
    return word(e, from, hi);
}

static bool take_piece(void *ctx, const struct split_piece *p)
{
    struct encoder *e = ctx;
    e->s = p->s;
    e->from = e->offset + p->from;
    e->prefix = p->prefixed;
    return (e->t->algorithm == TOK_BYTE_BPE ? word : long_word)(e, p->lo, p->hi);
}

/* ---- fragments ---- */

/* U+2581 written in the text is a space for these vocabularies. */
static bool plain_spaces(char **s, size_t *n, size_t **map, const char *src)
{
    const char *from = *s ? *s : src;
    if (!memmem(from, *n, "\xe2\x96\x81", 3)) return true;
    char *out = malloc(*n + 1);
    size_t *to = malloc((*n + 1) * sizeof *to), k = 0;
    if (!out || !to) {
        free(out);
        free(to);
        return false;
    }
    for (size_t i = 0; i < *n; k++) {
        bool mark = *n - i >= 3 && !memcmp(from + i, "\xe2\x96\x81", 3);
        out[k] = mark ? ' ' : from[i];
        to[k] = *map ? (*map)[i] : i;
        i += mark ? 3 : 1;
    }
    to[k] = *map ? (*map)[*n] : *n;
    free(*s);
    free(*map);
    *s = out;
    *map = to;
    *n = k;
    return true;
}

/* The text around a token that swallows blanks on a side: how far they reach. */
static size_t blanks_before(const char *s, size_t lo, size_t at, enum tok_blanks blanks)
{
    for (size_t n; at > lo && blanks != BLANKS_NONE; at -= n) {
        n = utf8_back(s, at);
        if (n > at - lo || (blanks == BLANKS_BUT_SPACES && s[at - n] == ' ')) break;
        if (!char_is_space(s + at - n, n)) break;
    }
    return at;
}

static size_t blanks_after(const char *s, size_t at, size_t hi, enum tok_blanks blanks)
{
    bool valid;
    for (size_t n; at < hi && blanks != BLANKS_NONE; at += n) {
        n = (size_t)utf8_step(s + at, hi - at, &valid);
        if ((blanks == BLANKS_BUT_SPACES && s[at] == ' ') || !char_is_space(s + at, n)) break;
    }
    return at;
}

/* May bytes a .. b-1 of the text be token id? Special ones only where the part they are in allows it. */
static bool may_stand(const struct encoder *e, int id, size_t a, size_t b)
{
    int type = e->t->tok[id].type;
    if (type != TOK_CONTROL && type != TOK_UNKNOWN) return true;
    for (int i = 0; i < e->n_parts; i++)
        if (a >= e->part[i].lo && b <= e->part[i].hi && e->part[i].special) return true;
    return false;
}

static bool may_early(void *ctx, int id, size_t a, size_t b) { return may_stand(ctx, id, a, b); }
static bool may_late(void *ctx, int id, size_t a, size_t b)
{
    return may_stand(ctx, id, source(ctx, a), source(ctx, b));
}

static void first_bytes(const struct tokenizer *t, const struct added_list *l, bool starts[256])
{
    for (int i = 0; i < l->n; i++)
        if (l->a[i].len) starts[(unsigned char)t->pool[l->a[i].at]] = true;
}

static bool split_part(struct encoder *e, const char *s, size_t lo, size_t hi, bool first)
{
    e->offset = lo;
    return lo == hi || split_words(e->run, s + lo, hi - lo, first, take_piece, e);
}

/* The fragment's normal form s[0..n), between the added tokens that are looked for in it. */
static bool normal_fragment(struct encoder *e, const char *s, size_t n, bool first)
{
    const struct tokenizer *t = e->t;
    bool starts[256] = { false };
    size_t from = 0;
    first_bytes(t, &t->late, starts);
    for (size_t i = 0; t->late.n && i < n;) {
        const struct added *a =
            starts[(unsigned char)s[i]] ? added_at(t, &t->late, s, 0, n, i, may_late, e) : NULL;
        if (!a) {
            i++;
            continue;
        }
        const struct tok *k = &t->tok[a->id];
        size_t end = k->lstrip ? blanks_before(s, from, i, t->late_blanks) : i;
        size_t next = k->rstrip ? blanks_after(s, i + a->len, n, t->late_blanks) : i + a->len;
        if (!split_part(e, s, from, end, first) || !emit(e, a->id, source(e, i), source(e, i + a->len)))
            return false;
        first = false;
        from = i = next;
    }
    return split_part(e, s, from, n, first);
}

static bool fragment(struct encoder *e, size_t lo, size_t hi, bool first)
{
    const struct tokenizer *t = e->t;
    if (lo == hi) return true;
    char *s = NULL;
    size_t n = hi - lo, *map = NULL, len;
    bool ok = normal_text(t, e->text + lo, n, &s, &len, &map);
    if (s) n = len;
    if (ok && t->spaces) ok = plain_spaces(&s, &n, &map, e->text + lo);
    e->base = lo;
    e->map = map;
    ok = ok && normal_fragment(e, s ? s : e->text + lo, n, first);
    free(s);
    free(map);
    return ok;
}

/* ---- special tokens ---- */

static bool encode_parts(struct encoder *e)
{
    const struct tokenizer *t = e->t;
    const struct tok_part *part = e->part;
    int n_parts = e->n_parts;
    bool starts[256] = { false };
    first_bytes(t, &t->early, starts);
    size_t from = part[0].lo;
    bool first = true;
    for (int p = 0; p < n_parts; p++) {
        for (size_t i = part[p].lo > from ? part[p].lo : from; i < part[p].hi;) {
            const struct added *a =
                starts[(unsigned char)e->text[i]]
                    ? added_at(t, &t->early, e->text, part[p].lo, part[p].hi, i, may_early, e)
                    : NULL;
            if (!a) {
                i++;
                continue;
            }
            const struct tok *k = &t->tok[a->id];
            size_t end = k->lstrip ? blanks_before(e->text, from, i, BLANKS_ALL) : i;
            size_t next = k->rstrip ? blanks_after(e->text, i + a->len, part[p].hi, BLANKS_ALL) : i + a->len;
            if (!fragment(e, from, end, first) || !emit(e, a->id, i, i + a->len)) return false;
            first = false;
            from = i = next;
        }
    }
    return fragment(e, from, part[n_parts - 1].hi > from ? part[n_parts - 1].hi : from, first);
}

enum sac_code tokenizer_encode(const struct tokenizer *t, const char *text, const struct tok_part *part,
                               int n_parts, bool bos, struct sac_tokens *out, struct sac_err *err)
{
    struct encoder e = { .t = t,
                         .text = text,
                         .out = out,
                         .part = part,
                         .n_parts = n_parts,
                         .run = split_run_new(t),
                         .cache = calloc(CACHE_SLOTS, sizeof *e.cache) };
    bool ok = e.run && e.cache && emit(&e, -1, 0, 0);   /* allocates, so that no text leaves NULL arrays */
    out->n = 0;
    bool long_text = n_parts > 0 && part[n_parts - 1].hi > INT_MAX / 2;
    if (ok && !long_text && bos && t->add_bos && t->bos >= 0) ok = emit(&e, t->bos, 0, 0);
    if (ok && !long_text && n_parts > 0) ok = encode_parts(&e);
    split_run_free(e.run);
    free(e.sym);
    free(e.id);
    free(e.cache);
    free(e.pool);
    if (ok && !long_text) return SAC_OK;
    sac_tokens_free(out);
    if (long_text) return sac_fail(err, SAC_EARG, "the text is longer than 1 GiB");
    return sac_fail(err, SAC_ENOMEM, "out of memory for the tokens of the text");
}

/* ---- life and look-ups ---- */

enum sac_code tokenizer_load(struct tokenizer **out, const struct model_files *f, struct sac_err *err)
{
    *out = NULL;
    const struct gguf_kv *model = f->is_gguf ? gguf_find(&f->gguf, "tokenizer.ggml.model") : NULL;
    bool none = model && model->type == GGUF_STRING &&
                ((model->count == 4 && !memcmp(model->value, "none", 4)) ||
                 (model->count == 8 && !memcmp(model->value, "no_vocab", 8)));
    if (f->is_gguf ? !model || none : !f->tokenizer) return SAC_OK;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) return sac_fail(err, SAC_ENOMEM, "%s: out of memory for its tokenizer", f->path);
    t->bos = t->unk = -1;
    memset(t->byte_id, 0xff, sizeof t->byte_id);
    enum sac_code rc = f->is_gguf ? tok_load_gguf(t, &f->gguf, err) : tok_load_hf(t, f, err);
    if (!rc && !vocab_finish(t))
        rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory for its tokenizer", f->path);
    if (rc) tokenizer_free(t);
    else *out = t;
    return rc;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t) return;
    for (int i = 0; i < t->n_splits; i++) split_free(&t->split[i]);
    for (int i = 0; i < t->n_norm; i++) {
        pattern_free(t->norm[i].code);
        free(t->norm[i].text);
    }
    free(t->tok);
    free(t->pool);
    free(t->bucket);
    free(t->pair);
    free(t->early.a);
    free(t->late.a);
    free(t);
}

int tokenizer_size(const struct tokenizer *t) { return t->n; }

int tokenizer_find(const struct tokenizer *t, const char *text)
{
    const struct added_list *lists[] = { &t->early, &t->late };
    size_t len = strlen(text);
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < lists[l]->n; i++) {
            const struct tok *k = &t->tok[lists[l]->a[i].id];
            if (k->len == len && !memcmp(t->pool + k->at, text, len)) return lists[l]->a[i].id;
        }
    return -1;
}

int tokenizer_bytes(const struct tokenizer *t, int id, const char **bytes)
{
    *bytes = "";
    if (id < 0 || id >= t->n || !t->tok[id].len) return 0;
    *bytes = t->pool + t->tok[id].at;
    return (int)t->tok[id].len;
}

bool tokenizer_is_stop(const struct tokenizer *t, int id) { return id >= 0 && id < t->n && t->tok[id].stop; }

void tokenizer_add_stop(struct tokenizer *t, int id)
{
    if (id >= 0 && id < t->n) t->tok[id].stop = true;
}

uint64_t tokenizer_hash(const struct tokenizer *t)
{
    uint64_t h = hash_bytes(&t->n, sizeof t->n, 0);
    for (int i = 0; i < t->n; i++) h = hash_bytes(t->pool + t->tok[i].at, t->tok[i].len, h ^ t->tok[i].len);
    return h;
}
