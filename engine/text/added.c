/* Added tokens: texts that become a token before anything is split or merged.
 *
 * Special tokens and tokens of a user's own are looked for in the text as it stands, those that
 * tokenizer.json calls normalized in what the normalizer left. The longest that fits at a place counts. */
#include "text/tok_int.h"

#include <stdlib.h>
#include <string.h>

bool added_put(struct tokenizer *t, struct added_list *l, const char *bytes, size_t len, int id)
{
    size_t at = vocab_keep(t, bytes, len);
    bool full = (l->n & (l->n - 1)) == 0; /* room is a power of two */
    struct added *a = l->a;
    if (at == SIZE_MAX) return false;
    if (full) a = realloc(a, sizeof *a * (size_t)(l->n ? 2 * l->n : 1));
    if (!a) return false;
    a[l->n++] = (struct added){ at, (uint32_t)len, id };
    l->a = a;
    t->tok[id].listed = true;
    return true;
}

struct by_text {
    const struct tokenizer *t;
    struct added a;
};

static int compare(const void *a, const void *b)
{
    const struct by_text *x = a, *y = b;
    uint32_t n = x->a.len < y->a.len ? x->a.len : y->a.len;
    int c = memcmp(x->t->pool + x->a.at, y->t->pool + y->a.at, n);
    return c ? c : x->a.len != y->a.len ? (x->a.len < y->a.len ? -1 : 1) : x->a.id - y->a.id;
}

static bool sort(const struct tokenizer *t, struct added_list *l)
{
    struct by_text *list = malloc(sizeof *list * (size_t)(l->n ? l->n : 1));
    if (!list) return false;
    for (int i = 0; i < l->n; i++) list[i] = (struct by_text){ t, l->a[i] };
    qsort(list, (size_t)l->n, sizeof *list, compare);
    for (int i = 0; i < l->n; i++) l->a[i] = list[i].a;
    free(list);
    return true;
}

bool added_finish(struct tokenizer *t)
{
    for (int i = 0; i < t->n; i++) {
        const struct tok *k = &t->tok[i];
        bool special = k->type == TOK_CONTROL || k->type == TOK_USER || k->type == TOK_UNKNOWN;
        if (!k->len || !special || k->listed) continue;
        char *copy = malloc(k->len);
        bool ok = copy && added_put(t, &t->early, memcpy(copy, t->pool + k->at, k->len), k->len, i);
        free(copy);
        if (!ok) return false;
    }
    return sort(t, &t->early) && sort(t, &t->late);
}

void added_limit(struct added_list *l, int n)
{
    int kept = 0;
    for (int i = 0; i < l->n; i++)
        if (l->a[i].id < n) l->a[kept++] = l->a[i];
    l->n = kept;
}

/* ---- looking for them ---- */

static int byte_at(const struct tokenizer *t, const struct added *a, size_t depth)
{
    return depth < a->len ? (unsigned char)t->pool[a->at + depth] : -1;
}

/* Does a word go on over the border s[at] inside s[lo..hi)? */
static bool in_word(const char *s, size_t lo, size_t hi, size_t at, bool before)
{
    bool valid;
    if (before ? at <= lo : at >= hi) return false;
    size_t n = before ? utf8_back(s, at) : (size_t)utf8_step(s + at, hi - at, &valid);
    return char_is_word(before ? s + at - n : s + at, n);
}

/* The list is sorted, so each byte narrows a range. */
const struct added *added_at(const struct tokenizer *t, const struct added_list *l, const char *s, size_t lo,
                             size_t hi, size_t at, bool (*may)(void *ctx, int id, size_t a, size_t b),
                             void *ctx)
{
    const struct added *best = NULL;
    int a = 0, b = l->n;
    for (size_t depth = 0; a < b; depth++) {
        size_t end = at + depth;
        for (int i = a; i < b && byte_at(t, &l->a[i], depth) < 0; i++) { /* those that end here come first */
            bool alone = t->tok[l->a[i].id].single_word;
            if (alone && (in_word(s, lo, hi, at, true) || in_word(s, lo, hi, end, false))) continue;
            if (depth && may(ctx, l->a[i].id, at, end)) {
                best = &l->a[i];
                break;
            }
        }
        if (end >= hi) break;
        int c = (unsigned char)s[end], from = a, to = b;
        while (from < to) {
            int mid = from + (to - from) / 2;
            if (byte_at(t, &l->a[mid], depth) < c)
                from = mid + 1;
            else
                to = mid;
        }
        a = from;
        to = b;
        while (from < to) {
            int mid = from + (to - from) / 2;
            if (byte_at(t, &l->a[mid], depth) <= c)
                from = mid + 1;
            else
                to = mid;
        }
        b = from;
    }
    return best;
}
