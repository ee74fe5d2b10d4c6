/* A tokenizer from tokenizer.json: BPE with its normalizers, pre-tokenizers, added tokens and BOS.
 *
 * The file describes a pipeline of parts; each part is mapped to what the encoder can do, and a part it
 * cannot do is refused by its name. Two kinds of vocabulary exist: byte-level (a ByteLevel part somewhere)
 * and characters with byte fallback, where U+2581 stands for a space. */
#include "text/tok_int.h"

#include <stdlib.h>
#include <string.h>

struct loader {
    struct tokenizer *t;
    const char *path;
    enum sac_code rc;
    struct sac_err *err;
    bool byte_level, spaces, byte_fallback;
    bool marked; /* spaces are marked by the normalizer already */
    bool letters;               /* the normalizer leaves characters of the byte-level alphabet */
};

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void refuse(struct loader *l, const char *part, const char *name)
{
    if (!l->rc)
        l->rc = sac_fail(l->err, SAC_ENOTSUP, "%s/tokenizer.json: %s of type %.60s cannot be read", l->path,
                         part, name ? name : "(none)");
}

static void no_memory(struct loader *l)
{
    if (!l->rc) l->rc = sac_fail(l->err, SAC_ENOMEM, "%s: out of memory for its tokenizer", l->path);
}

#define MARK "\xe2\x96\x81" /* U+2581 */

static bool same(const char *a, const char *b) { return a && !strcmp(a, b); }

/* ---- normalizers ---- */

static struct norm_step *add_norm(struct loader *l, enum norm_kind kind)
{
    struct tokenizer *t = l->t;
    if (t->n_norm == TOK_MAX_NORMS) {
        l->rc = sac_fail(l->err, SAC_ENOTSUP, "%s: its tokenizer normalises text in more than %d steps",
                         l->path, TOK_MAX_NORMS);
        return NULL;
    }
    t->norm[t->n_norm] = (struct norm_step){ .kind = kind };
    return &t->norm[t->n_norm++];
}

/* A replacement: of spaces by marks, which vocabularies with marks are kept for, or any other. */
static void read_replace(struct loader *l, const json_t *o)
{
    const json_t *p = json_object_get(o, "pattern");
    const char *regex = text_of(p, "Regex"), *literal = text_of(p, "String"), *with = text_of(o, "content");
    const char *what = regex ? regex : literal;
    if (!what || !with) {
        refuse(l, "a normalizer", "Replace without pattern or content");
        return;
    }
    if (!strcmp(what, " ") && !strcmp(with, MARK)) {
        l->spaces = l->marked = true;
        return;
    }
    /* Behind that replacement texts have marks where ours still have spaces. */
    if (l->spaces && (regex || strstr(what, " ") || strstr(what, MARK) || strchr(with, ' '))) {
        refuse(l, "a normalizer after the marking of spaces", "Replace");
        return;
    }
    struct norm_step *n = add_norm(l, NORM_REPLACE);
    if (!n) return;
    n->text = strdup(with);
    n->code = pattern_new(what, !regex);
    if (!n->text)
        no_memory(l);
    else if (!n->code)
        refuse(l, "a normalizer with an expression that cannot be read,", what);
}

static void read_prepend(struct loader *l, const json_t *o)
{
    const char *text = text_of(o, "prepend");
    struct norm_step *n = text ? add_norm(l, NORM_PREPEND) : NULL;
    if (!text) refuse(l, "a normalizer", "Prepend without text");
    if (n && !(n->text = strdup(text))) no_memory(l);
}

static void read_normalizer(struct loader *l, const json_t *o, int depth)
{
    static const struct {
        const char *name;
        enum norm_kind kind;
    } plain[] = {
        { "NFC", NORM_NFC },     { "NFD", NORM_NFD },         { "NFKC", NORM_NFKC },
        { "NFKD", NORM_NFKD },   { "Lowercase", NORM_LOWER }, { "StripAccents", NORM_UNMARK },
        { "Strip", NORM_STRIP },
    };
    const char *type = text_of(o, "type");
    if (json_is_null(o) || !o || l->rc) return;
    for (size_t i = 0; type && i < sizeof plain / sizeof *plain; i++)
        if (!strcmp(plain[i].name, type)) {
            struct norm_step *n = add_norm(l, plain[i].kind);
            if (n) n->left = !json_is_false(json_object_get(o, "strip_left"));
            if (n) n->right = !json_is_false(json_object_get(o, "strip_right"));
            return;
        }
    if (same(type, "Sequence") && depth < 4) {
        const json_t *list = json_object_get(o, "normalizers"), *part;
        size_t i;
        json_array_foreach(list, i, part) read_normalizer(l, part, depth + 1);
    } else if (same(type, "Prepend")) {
        read_prepend(l, o);
    } else if (same(type, "Replace")) {
        read_replace(l, o);
    } else if (same(type, "ByteLevel")) {
        l->byte_level = l->letters = true;
    } else {
        refuse(l, "a normalizer", type);
    }
}

/* ---- pre-tokenizers ---- */

/* What Whitespace calls a word: \w of another engine than that of Split. */
#define WORD                                                                                                 \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"            \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"

static void add_split(struct loader *l, const char *pattern, bool literal, enum split_behaviour how,
                      bool invert)
{
    if (l->rc) return;
    l->rc = split_add(l->t, pattern, literal, how, invert, l->path, l->err);
    if (!l->rc && (l->byte_level || l->spaces))
        l->t->split[l->t->n_splits - 1].view = l->byte_level ? VIEW_BYTES : VIEW_MARKS;
}

/* The behaviour a part names; `def` where it names none, false for one that is not known. */
static bool read_behaviour(const json_t *o, enum split_behaviour def, enum split_behaviour *how)
{
    static const struct { const char *name; enum split_behaviour how;
    } behaviours[] = { { "Isolated", SPLIT_ISOLATED },
                       { "Removed", SPLIT_REMOVED },
                       { "MergedWithPrevious", SPLIT_WITH_PREVIOUS },
                       { "MergedWithNext", SPLIT_WITH_NEXT },
                       { "Contiguous", SPLIT_CONTIGUOUS } };
    const char *name = text_of(o, "behavior");
    *how = def;
    for (int i = 0; name && i < 5; i++)
        if (!strcmp(name, behaviours[i].name)) {
            *how = behaviours[i].how;
            return true;
        }
    return !name;
}

static void read_split(struct loader *l, const json_t *o)
{
    const json_t *p = json_object_get(o, "pattern");
    const char *regex = text_of(p, "Regex"), *literal = text_of(p, "String");
    bool invert = json_is_true(json_object_get(o, "invert"));
    enum split_behaviour how;
    if (!text_of(o, "behavior") || !read_behaviour(o, SPLIT_ISOLATED, &how) || (!regex && !literal)) {
        refuse(l, "a Split", text_of(o, "behavior"));
        return;
    }
    /* A normalizer has replaced every space by U+2581, so a split on spaces finds none (Gemma has
     * one); a split on the mark is, in the text as it is kept here, one on spaces. */
    bool mark = literal && l->spaces && !strcmp(literal, MARK);
    if (literal && l->spaces && !strcmp(literal, " ") && !invert && how != SPLIT_CONTIGUOUS) return;
    add_split(l, regex ? regex : mark ? " " : literal, !regex, how, invert);
    if (mark && !l->rc) l->t->split[l->t->n_splits - 1].view = VIEW_TEXT;
}

/* Pieces get a space before them from here on. */
static void add_prefix(struct loader *l, enum tok_prefix prefix)
{
    if (prefix == PREFIX_NONE) return;
    if (l->t->prefix != PREFIX_NONE)
        refuse(l, "a second part that puts a space before words,", "a pre-tokenizer");
    l->t->prefix = prefix;
    l->t->prefix_unless_space = true;
    l->t->prefix_step = l->t->n_splits;
}

static void read_punctuation(struct loader *l, const json_t *o)
{
    enum split_behaviour how;
    if (read_behaviour(o, SPLIT_ISOLATED, &how))
        add_split(l, "[\\p{P}!-/:-@\\[-`{-~]", false, how, false);
    else
        refuse(l, "a Punctuation", text_of(o, "behavior"));
}

static void read_metaspace(struct loader *l, const json_t *o)
{
    const char *scheme = text_of(o, "prepend_scheme"), *mark = text_of(o, "replacement");
    if (mark && strcmp(mark, MARK)) {
        refuse(l, "a Metaspace with the mark", mark);
        return;
    }
    l->spaces = true;
    bool every = scheme ? !strcmp(scheme, "always") : !json_is_false(json_object_get(o, "add_prefix_space"));
    add_prefix(l, every ? PREFIX_EVERY : same(scheme, "first") ? PREFIX_FIRST : PREFIX_NONE);
    if (json_is_false(json_object_get(o, "split"))) return;
    add_split(l, " ", true, SPLIT_WITH_NEXT, false);
    if (!l->rc) l->t->split[l->t->n_splits - 1].view = VIEW_TEXT;
}

static void read_pre_tokenizer(struct loader *l, const json_t *o, int depth)
{
    const char *type = text_of(o, "type");
    if (json_is_null(o) || !o || l->rc) return;
    if (same(type, "Sequence") && depth < 4) {
        const json_t *list = json_object_get(o, "pretokenizers"), *part;
        size_t i;
        json_array_foreach(list, i, part) read_pre_tokenizer(l, part, depth + 1);
    } else if (same(type, "ByteLevel")) {
        if (json_is_true(json_object_get(o, "add_prefix_space"))) add_prefix(l, PREFIX_EVERY);
        if (!json_is_false(json_object_get(o, "use_regex")) && !l->rc)
            l->rc = pretok_gpt2(l->t, l->path, l->err);
        l->byte_level = true; /* what follows sees the mapped bytes */
    } else if (same(type, "Split")) {
        read_split(l, o);
    } else if (same(type, "Digits")) {
        bool each = json_is_true(json_object_get(o, "individual_digits"));
        add_split(l, each ? "\\p{N}" : "\\p{N}+", false, SPLIT_ISOLATED, false);
    } else if (same(type, "Punctuation")) {
        read_punctuation(l, o);
    } else if (same(type, "CharDelimiterSplit") && text_of(o, "delimiter")) {
        add_split(l, text_of(o, "delimiter"), true, SPLIT_REMOVED, false);
    } else if (same(type, "Whitespace")) {
        add_split(l, "[" WORD "]+|[^" WORD "\\s]+", false, SPLIT_REMOVED, true);
    } else if (same(type, "WhitespaceSplit")) {
        add_split(l, "\\s+", false, SPLIT_REMOVED, false);
    } else if (same(type, "Metaspace")) {
        read_metaspace(l, o);
    } else {
        refuse(l, "a pre-tokenizer", type);
    }
}

/* ---- vocabulary ---- */

static int max_id(struct loader *l, const json_t *vocab, const json_t *added)
{
    json_int_t max = -1;
    const char *key;
    json_t *value;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, value) {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= TOK_MAX_TOKENS) {
            l->rc = sac_fail(l->err, SAC_EFORMAT, "%s/tokenizer.json: token '%.60s' has no possible id",
                             l->path, key);
            return -1;
        }
        if (id > max) max = id;
    }
    json_array_foreach(added, i, value) {
        json_int_t id = json_integer_value(json_object_get(value, "id"));
        if (!json_is_integer(json_object_get(value, "id")) || id < 0 || id >= TOK_MAX_TOKENS ||
            !text_of(value, "content")) {
            l->rc =
                sac_fail(l->err, SAC_EFORMAT,
                         "%s/tokenizer.json: added token %zu has no possible id or no content", l->path, i);
            return -1;
        }
        if (id > max) max = id;
    }
    return (int)max;
}

static size_t decode(const struct loader *l, const char *s, size_t len, char *out, bool *foreign)
{
    *foreign = false;
    if (l->byte_level) return decode_byte_level(s, len, out, foreign);
    if (l->spaces) return decode_spaces(s, len, out);
    memcpy(out, s, len);
    return len;
}

/* Where the text of an added token is looked for; late: in what the normalizer makes of both. */
static void list_token(struct loader *l, int id, const char *content, size_t len, bool late)
{
    struct tokenizer *t = l->t;
    char *s = NULL;
    size_t n = len, *map = NULL;
    if (l->rc || !len) return;
    bool ok = !late || normal_text(t, content, len, &s, &n, &map);
    const char *text = s ? s : content;
    if (!s) n = len;
    char *plain = ok && late && l->marked ? malloc(n + 1) : NULL;
    if (plain)
        n = decode_spaces(text, n, plain), text = plain;
    else if (late && l->marked)
        ok = false;
    if (ok && n) ok = added_put(t, late ? &t->late : &t->early, text, n, id);
    if (!ok) no_memory(l);
    t->tok[id].listed = true;
    free(plain);
    free(s);
    free(map);
}

/* A token of added_tokens. One that the vocabulary spells the same keeps its text there, as merges name it.
 */
static void add_token(struct loader *l, const json_t *vocab, const json_t *o)
{
    struct tokenizer *t = l->t;
    const char *content = text_of(o, "content");
    size_t len = strlen(content);
    struct tok *k = &t->tok[json_integer_value(json_object_get(o, "id"))];
    enum tok_type type = json_is_true(json_object_get(o, "special")) ? TOK_CONTROL : TOK_USER;
    char *plain = malloc(len + 1);
    if (!plain) {
        no_memory(l);
        return;
    }
    size_t n = l->spaces ? decode_spaces(content, len, plain) : (memcpy(plain, content, len), len);
    bool known = k->len == n && !memcmp(t->pool + k->at, plain, n);
    /* One that the vocabulary spells in its alphabet of bytes stays what merges make. */
    const json_t *own = json_object_get(vocab, content), *normalized = json_object_get(o, "normalized");
    bool spelled = own && json_integer_value(own) == k - t->tok && (type == TOK_USER || k->len == 1);
    if (known)
        k->type = (uint8_t)type;
    else if (len && !spelled && !vocab_set(t, (int)(k - t->tok), content, len, type))
        no_memory(l);
    free(plain);
    list_token(l, (int)(k - t->tok), content, len, normalized ? json_is_true(normalized) : type == TOK_USER);
    k->lstrip = json_is_true(json_object_get(o, "lstrip"));
    k->rstrip = json_is_true(json_object_get(o, "rstrip"));
    k->single_word = json_is_true(json_object_get(o, "single_word"));
}

static void read_vocab(struct loader *l, const json_t *vocab, const json_t *added)
{
    struct tokenizer *t = l->t;
    int n = max_id(l, vocab, added) + 1;
    const char *key;
    json_t *value;
    size_t i;
    if (l->rc) return;
    if (n == 0) {
        l->rc = sac_fail(l->err, SAC_EFORMAT, "%s/tokenizer.json: has no tokens", l->path);
        return;
    }
    if (!vocab_reserve(t, n)) no_memory(l);
    json_object_foreach((json_t *)(uintptr_t)vocab, key, value) {
        size_t len = strlen(key);
        int id = (int)json_integer_value(value), byte = l->byte_fallback ? byte_token(key, len) : -1;
        if (l->rc) return;
        char *buf = malloc(len + 1);
        bool ok = buf != NULL;
        if (ok && byte >= 0) {
            buf[0] = (char)byte;
            t->byte_id[byte] = id;
            ok = vocab_set(t, id, buf, 1, TOK_BYTE);
        } else if (ok) {
            len = decode(l, key, len, buf, &t->tok[id].foreign);
            ok = vocab_set(t, id, buf, len, TOK_NORMAL);
        }
        free(buf);
        if (!ok) no_memory(l);
    }
    /* Merges name the vocabulary's tokens, so the index is made before added tokens cover some of them. */
    if (!l->rc && !vocab_index(t)) no_memory(l);
    json_array_foreach(added, i, value) {
        if (!l->rc) add_token(l, vocab, value);
    }
}

static void read_merge(struct loader *l, const json_t *m, uint32_t rank)
{
    struct tokenizer *t = l->t;
    const char *a = json_string_value(m), *b = NULL;
    size_t a_n = 0;
    if (a) {                                  /* "left right" */
        b = *a ? strchr(a + 1, ' ') : NULL;
        a_n = b ? (size_t)(b - a) : 0;
        b = b ? b + 1 : NULL;
    } else {                                  /* ["left", "right"] */
        a = json_string_value(json_array_get(m, 0));
        b = json_string_value(json_array_get(m, 1));
        a_n = a ? strlen(a) : 0;
    }
    if (!a || !b) {
        l->rc = sac_fail(l->err, SAC_EFORMAT, "%s/tokenizer.json: merge %u is not a pair", l->path, rank);
        return;
    }
    char *buf = malloc(a_n + strlen(b) + 1);
    if (!buf) {
        no_memory(l);
        return;
    }
    bool odd_left, odd_right;
    size_t left_n = decode(l, a, a_n, buf, &odd_left),
           right_n = decode(l, b, strlen(b), buf + left_n, &odd_right);
    int left = vocab_lookup(t, buf, left_n), right = vocab_lookup(t, buf + left_n, right_n);
    int both = vocab_lookup(t, buf, left_n + right_n);
    free(buf);
    if (left >= 0 && right >= 0 && both >= 0 && !odd_left && !odd_right)
        pairs_add(t, left, right, rank, both);
}

static void read_model(struct loader *l, const json_t *root)
{
    const json_t *model = json_object_get(root, "model"), *merges = json_object_get(model, "merges"), *m;
    const char *type = text_of(model, "type");
    size_t i;
    if (type ? strcmp(type, "BPE") != 0 : !merges) {
        refuse(l, "a model", type);
        return;
    }
    if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(merges) ||
        json_array_size(merges) > TOK_MAX_MERGES) {
        l->rc =
            sac_fail(l->err, SAC_EFORMAT, "%s/tokenizer.json: its BPE model lacks vocab or merges", l->path);
        return;
    }
    const char *affix = text_of(model, "continuing_subword_prefix"),
               *end = text_of(model, "end_of_word_suffix");
    if ((affix && *affix) || (end && *end))
        refuse(l, "a BPE with word affixes, a model", affix && *affix ? affix : end);
    l->t->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    l->byte_fallback = !l->byte_level && json_is_true(json_object_get(model, "byte_fallback"));
    l->t->fuse_unk = json_is_true(json_object_get(model, "fuse_unk"));
    l->t->algorithm = l->byte_level ? TOK_BYTE_BPE : TOK_CHAR_BPE;
    l->t->spaces = l->spaces;
    l->t->late_blanks = l->letters ? BLANKS_NONE : l->marked ? BLANKS_BUT_SPACES : BLANKS_ALL;
    if (!l->rc) read_vocab(l, json_object_get(model, "vocab"), json_object_get(root, "added_tokens"));
    if (!l->rc && !pairs_reserve(l->t, json_array_size(merges))) no_memory(l);
    json_array_foreach(merges, i, m) {
        if (l->rc) return;
        read_merge(l, m, (uint32_t)i);
    }
    const json_t *unk = json_object_get(json_object_get(model, "vocab"),
                                        text_of(model, "unk_token") ? text_of(model, "unk_token") : "");
    l->t->unk = json_is_integer(unk) ? (int)json_integer_value(unk) : -1;
    if (!l->rc && l->t->unk >= 0 && l->t->tok[l->t->unk].type == TOK_NORMAL)
        l->t->tok[l->t->unk].type = TOK_UNKNOWN;
}

/* ---- what surrounds the model ---- */

static int find_content(const struct tokenizer *t, const char *text)
{
    for (int i = 0; text && i < t->n; i++)
        if (t->tok[i].len == strlen(text) && !memcmp(t->pool + t->tok[i].at, text, t->tok[i].len) &&
            t->tok[i].type != TOK_BYTE) return i;
    return -1;
}

/* BOS: a TemplateProcessing whose single form starts with a special token decides. */
static bool read_template(struct loader *l, const json_t *o, int depth)
{
    const json_t *list = json_object_get(o, "processors"), *part;
    size_t i;
    if (same(text_of(o, "type"), "Sequence") && depth < 4) {
        json_array_foreach(list, i, part)
            if (read_template(l, part, depth + 1)) return true;
        return false;
    }
    if (!same(text_of(o, "type"), "TemplateProcessing")) return false;
    const json_t *first = json_object_get(json_array_get(json_object_get(o, "single"), 0), "SpecialToken");
    int id = find_content(l->t, text_of(first, "id"));
    l->t->add_bos = id >= 0;
    if (id >= 0) l->t->bos = id;
    return true;
}

static const char *token_text(const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    return json_is_object(v) ? text_of(v, "content") : json_string_value(v);
}

enum sac_code tok_load_hf(struct tokenizer *t, const struct model_files *f, struct sac_err *err)
{
    struct loader l = { .t = t, .path = f->path, .err = err };
    read_normalizer(&l, json_object_get(f->tokenizer, "normalizer"), 0);
    read_pre_tokenizer(&l, json_object_get(f->tokenizer, "pre_tokenizer"), 0);
    if (l.byte_level && l.spaces) refuse(&l, "a byte-level vocabulary with", "marked spaces");
    if (!l.rc) read_model(&l, f->tokenizer);
    if (l.rc) return l.rc;
    const json_t *config = f->tokenizer_config;
    t->bos = find_content(t, token_text(config, "bos_token"));
    if (!read_template(&l, json_object_get(f->tokenizer, "post_processor"), 0))
        t->add_bos = json_is_true(json_object_get(config, "add_bos_token"));
    tokenizer_add_stop(t, find_content(t, token_text(config, "eos_token")));
    return l.rc;
}
