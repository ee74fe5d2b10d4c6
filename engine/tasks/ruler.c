/* Three synthetic tasks after RULER: needles among needles (niah), variables copied from variables (vt), and
 * the most common words of a list (cwe).
 *
 * The compact forms are those the bundled model was trained on; the paper forms follow the published study in
 * counts and in what is asked, in our own words. */
#include "tasks/data.h"
#include "tasks/draft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPT(field) offsetof(struct task_opts, field)
#define COUNT(a)   ((int)(sizeof a / sizeof *a))

static const char *pick(struct rng *r, const struct word_list *l) { return l->w[rng_int(r, 0, l->n - 1)]; }

/* ---- niah ---- */

struct needle {
    char key[40], value[40];
};

static void random_groups(struct rng *r, char *out)
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (int i = 0; i < 35; i++) out[i] = i % 9 == 8 ? '-' : set[rng_int(r, 0, 35)];
    out[35] = '\0';
}

/* n needles with distinct keys; NULL when out of memory. */
static struct needle *draw_needles(struct rng *r, int n, enum sac_style style)
{
    size_t n_keys = (size_t)task_key_adjectives.n * (size_t)task_key_nouns.n * 90;
    struct needle *v = calloc((size_t)n, sizeof *v);
    unsigned char *seen = calloc(n_keys / 8 + 1, 1);
    for (int i = 0; v && seen && i < n; i++) {
        if (style == SAC_STYLE_PAPER) { /* 36^32 keys: none comes twice */
            random_groups(r, v[i].key);
            random_groups(r, v[i].value);
            continue;
        }
        size_t id;
        int a, b, c;
        do {
            a = rng_int(r, 0, task_key_adjectives.n - 1);
            b = rng_int(r, 0, task_key_nouns.n - 1);
            c = rng_int(r, 10, 99);
            id = ((size_t)a * (size_t)task_key_nouns.n + (size_t)b) * 90 + (size_t)(c - 10);
        } while (seen[id / 8] >> (id % 8) & 1);
        seen[id / 8] |= (unsigned char)(1 << (id % 8));
        snprintf(v[i].key, sizeof v[i].key, "%s-%s-%d", task_key_adjectives.w[a], task_key_nouns.w[b], c);
        snprintf(v[i].value, sizeof v[i].value, "%d", rng_int(r, 100000, 999999));
    }
    free(seen);
    if (!seen) {
        free(v);
        return NULL;
    }
    return v;
}

/* One needle sentence; where it is asked for, the stretch from key to value is evidence. */
static void put_needle(struct draft *d, const struct needle *v, int item, bool stop)
{
    tb_str(&d->context, "The value for key ");
    size_t lo = d->context.n;
    tb_fmt(&d->context, "%s is %s", v->key, v->value);
    if (item >= 0) draft_mark(d, lo, d->context.n, item);
    if (stop) tb_str(&d->context, ".");
}

static int item_of(const int *ask, int m, int needle)
{
    for (int i = 0; i < m; i++)
        if (ask[i] == needle) return i;
    return -1;
}

static void ask_needles(struct draft *d, const struct needle *v, const int *ask, int m)
{
    bool paper = d->style == SAC_STYLE_PAPER;
    if (m == 1)
        tb_fmt(&d->question, "What is the value for key %s?", v[ask[0]].key);
    else
        tb_str(&d->question, "What are the values for the keys ");
    for (int i = 0; i < m && m > 1; i++) tb_fmt(&d->question, "%s%s", v[ask[i]].key, i + 1 < m ? ", " : "?");
    for (int i = 0; i < m; i++)
        tb_fmt(&d->gold, paper ? "%s%d. The value for key %s is %s." : "%s%d. %s: %s", i ? "\n" : "", i + 1,
               v[ask[i]].key, v[ask[i]].value);
    tb_str(&d->intro,
           "Below is a text that states values for many keys. Your task is to find the values of the "
           "keys you are asked for.");
    for (int i = 0; i < m; i++)
        tb_fmt(&d->format, "%s%d. The value for key <key> is <value>.", i ? "\n" : "", i + 1);
    tb_str(&d->rules, "- Copy keys and values exactly as they stand in the text.\n"
                      "- Write one numbered line for each key, in the order of the question.");
}

/* Prose split at ". "; needles go behind sentences, as sentences of their own. */
static enum sac_code niah_prose(struct draft *d, const struct task_opts *o, const struct task_source *src,
                                struct rng *r, int chars, struct sac_err *err)
{
    const char *all = src->data;
    size_t len = strlen(all), take = (size_t)chars;
    if (len < take + 1)
        return sac_fail(err, SAC_EARG,
                        "%s: %zu bytes of prose are too few for this length: about %zu are needed", src->file,
                        len, take + 1);
    /* The starting place must not depend on how much is taken, or the length search would not converge. */
    size_t at = (size_t)(((uint64_t)rng_u32(r) * (len - take)) >> 32);
    while (at > 0 && all[at - 1] != ' ' && all[at - 1] != '\n') at--;
    size_t end = at + take;
    while (end > at && ((unsigned char)all[end] & 0xC0) == 0x80) end--;

    int n_sent = 1;
    for (size_t i = at; i + 1 < end; i++) n_sent += all[i] == '.' && all[i + 1] == ' ';
    int n = n_sent / 12 > 4 ? n_sent / 12 : 4;
    if (n > 24) n = 24;
    if (n < o->queries) n = o->queries;
    if (n > n_sent) n = n_sent;
    int m = o->queries < n ? o->queries : n;
    struct needle *v = draw_needles(r, n, d->style);
    int *slot = calloc((size_t)n_sent, sizeof *slot), *ask = calloc((size_t)n, sizeof *ask);
    int *needle_at = calloc((size_t)n_sent, sizeof *needle_at);
    if (v && slot && ask && needle_at) {
        for (int i = 0; i < n_sent; i++) slot[i] = i;
        for (int i = 0; i < n; i++) ask[i] = i;
        rng_shuffle(r, slot, n_sent, n);
        rng_shuffle(r, ask, n, m);
        for (int i = 0; i < n; i++) needle_at[slot[i]] = i + 1;
        size_t lo = at;
        for (int s = 0; s < n_sent; s++) {
            size_t hi = lo;
            while (hi < end && !(all[hi] == '.' && hi + 1 < end && all[hi + 1] == ' ')) hi++;
            if (s) tb_str(&d->context, ". ");
            tb_add(&d->context, all + lo, hi - lo);
            if (needle_at[s]) {
                tb_str(&d->context, ". ");
                put_needle(d, &v[needle_at[s] - 1], item_of(ask, m, needle_at[s] - 1), false);
            }
            lo = hi + 2;
        }
        ask_needles(d, v, ask, m);
    } else {
        d->oom = true;
    }
    free(v);
    free(slot);
    free(ask);
    free(needle_at);
    return SAC_OK;
}

static enum sac_code niah_build(struct draft *d, const struct task_opts *o, const struct task_source *src,
                                struct rng *r, int units, struct sac_err *err)
{
    if (src->data) return niah_prose(d, o, src, r, units * 48, err);
    /* Compact keys run out, and drawing the last ones would take for ever. */
    int most = task_key_adjectives.n * task_key_nouns.n * 60;
    if (d->style == SAC_STYLE_COMPACT && units > most) units = most;
    int n = units > o->queries ? units : o->queries, m = o->queries;
    struct needle *v = draw_needles(r, n, d->style);
    int *ask = calloc((size_t)n, sizeof *ask);
    if (v && ask) {
        for (int i = 0; i < n; i++) ask[i] = i;
        rng_shuffle(r, ask, n, m);
        for (int i = 0; i < n; i++) {
            if (i) tb_str(&d->context, " ");
            put_needle(d, &v[i], item_of(ask, m, i), true);
        }
        ask_needles(d, v, ask, m);
    } else {
        d->oom = true;
    }
    free(v);
    free(ask);
    return SAC_OK;
}

static enum sac_code niah_open(struct task_source *src, struct sac_err *err)
{
    if (!src->file) return SAC_OK;
    char *text;
    size_t len;
    enum sac_code rc = task_read_file(src->file, &text, &len, err);
    if (rc) return rc;
    src->data = text;
    return SAC_OK;
}

static void niah_close(struct task_source *src) { free(src->data); }

static const struct sac_param niah_params[] = {
    { "queries", "keys asked for", SAC_INT, OPT(queries), 4, 1, 64, NULL, false },
};
static const double niah_compact[] = { 4 };

const struct task_impl task_niah = {
    .pub = { .name = "niah",
             .title = "Needles in a haystack",
             .metric = "fraction",
             .dispersion = "low",
             .scope = "low",
             .summary = "values of some keys among many keys of the same shape (or in the prose of a file)",
             .params = niah_params,
             .n_params = COUNT(niah_params),
             .opts_size = sizeof(struct task_opts) },
    .compact = niah_compact,
    .metric = METRIC_FRACTION,
    .min_units = 4,
    .units_per_token = 0.06,
    .open = niah_open,
    .close = niah_close,
    .build = niah_build,
};

/* ---- vt ---- */

struct chains {
    int n, hops;
    char (*name)[12];
    int *value;
}; /* name [n][hops + 1] */

static void random_name(struct rng *r, char *out)
{
    for (int i = 0; i < 5; i++) out[i] = (char)('A' + rng_int(r, 0, 25));
    out[5] = '\0';
}

static bool draw_chains(struct chains *c, struct rng *r, enum sac_style style)
{
    int n_names = c->n * (c->hops + 1);
    int *word = calloc((size_t)task_words.n, sizeof *word);
    c->name = calloc((size_t)n_names, sizeof *c->name);
    c->value = calloc((size_t)c->n, sizeof *c->value);
    if (word && c->name && c->value) {
        for (int i = 0; i < task_words.n; i++) word[i] = i;
        rng_shuffle(r, word, task_words.n, n_names);
        for (int i = 0; i < n_names; i++) {
            bool again = style == SAC_STYLE_PAPER;
            if (!again) snprintf(c->name[i], sizeof c->name[i], "%s", task_words.w[word[i]]);
            while (again) {
                random_name(r, c->name[i]);
                again = false;
                for (int j = 0; j < i; j++) again |= !strcmp(c->name[i], c->name[j]);
            }
        }
        for (int i = 0; i < c->n; i++) {
            bool again;
            do {
                c->value[i] = rng_int(r, 10000, 99998);
                again = false;
                for (int j = 0; j < i; j++) again |= c->value[i] == c->value[j];
            } while (again);
        }
    }
    bool ok = word && c->name && c->value;
    free(word);
    return ok;
}

/* Statement s: chain s / (hops + 1), step s % (hops + 1). */
static void put_statement(struct draft *d, const struct chains *c, int s, bool target)
{
    int step = s % (c->hops + 1);
    char text[64];
    if (step)
        snprintf(text, sizeof text, "VAR %s = VAR %s.", c->name[s], c->name[s - 1]);
    else
        snprintf(text, sizeof text, "VAR %s = %d.", c->name[s], c->value[s / (c->hops + 1)]);
    if (target)
        draft_evidence(d, text, step);
    else
        tb_str(&d->context, text);
}

static void ask_chain(struct draft *d, const struct chains *c, int target)
{
    tb_fmt(&d->question, "Which variables resolve to %d?", c->value[target]);
    for (int i = 0; i <= c->hops; i++)
        tb_fmt(&d->gold, "%sVAR %s", i ? " " : "", c->name[target * (c->hops + 1) + i]);
    tb_str(&d->intro,
           "Below is a text in which variables are assigned numbers or the values of other variables. "
           "The assignments are in no particular order. Your task is to find all variables that end up "
           "with a given number.");
    tb_str(&d->format, "VAR <name> VAR <name> ...");
    tb_fmt(&d->rules,
           "- Exactly %d variables have the value in question.\n"
           "- A variable counts when it is assigned the number itself or a variable that has it.",
           c->hops + 1);
}

static enum sac_code vt_build(struct draft *d, const struct task_opts *o, const struct task_source *src,
                              struct rng *r, int units, struct sac_err *err)
{
    (void)src;
    if (o->chains * (o->hops + 1) > task_words.n)
        return sac_fail(err, SAC_EARG, "vt: chains=%d with hops=%d need %d names, there are %d", o->chains,
                        o->hops, o->chains * (o->hops + 1), task_words.n);
    struct chains c = { .n = o->chains, .hops = o->hops };
    int n_stmt = c.n * (c.hops + 1), n = n_stmt + units;
    int *order = calloc((size_t)n, sizeof *order);
    if (draw_chains(&c, r, d->style) && order) {
        int target = rng_int(r, 0, c.n - 1), lo = target * (c.hops + 1), hi = lo + c.hops + 1;
        for (int i = 0; i < n; i++) order[i] = i;
        rng_shuffle(r, order, n, n);
        for (int i = 0; i < n; i++) {
            if (i) tb_str(&d->context, " ");
            if (order[i] < n_stmt)
                put_statement(d, &c, order[i], order[i] >= lo && order[i] < hi);
            else if (d->style == SAC_STYLE_COMPACT)
                tb_str(&d->context, pick(r, &task_noise));
            else
                for (int k = 0; k < task_noise.n; k++)
                    tb_fmt(&d->context, "%s%s", k ? " " : "", task_noise.w[k]);
        }
        ask_chain(d, &c, target);
    } else {
        d->oom = true;
    }
    free(c.name);
    free(c.value);
    free(order);
    return SAC_OK;
}

static const struct sac_param vt_params[] = {
    { "chains", "chains of assignments", SAC_INT, OPT(chains), 8, 1, 100, NULL, false },
    { "hops", "copies in a chain after its number", SAC_INT, OPT(hops), 4, 0, 20, NULL, false },
};
static const double vt_compact[] = { 8, 1 };

const struct task_impl task_vt = {
    .pub = { .name = "vt",
             .title = "Variable tracking",
             .metric = "IoU",
             .dispersion = "high",
             .scope = "low",
             .summary = "all variables that a number reaches through assignments in random order",
             .params = vt_params,
             .n_params = COUNT(vt_params),
             .opts_size = sizeof(struct task_opts) },
    .compact = vt_compact,
    .metric = METRIC_IOU_VARS,
    .min_units = 0,
    .units_per_token = 0.18,
    .build = vt_build,
};

/* ---- cwe ---- */

/* The published task draws from about 9000 words; the compact one from those the bundled model knows. */
static int n_words_of(enum sac_style style)
{
    return task_words.n + (style == SAC_STYLE_PAPER ? task_more_words.n : 0);
}

static const char *word_at(int i)
{
    return i < task_words.n ? task_words.w[i] : task_more_words.w[i - task_words.n];
}

/* How often common and rare words come for a list of `total` words. */
static void cwe_counts(const struct task_opts *o, enum sac_style style, struct rng *r, int total, int *freq,
                       int *rare, int *n_rare)
{
    int drawn = rng_int(r, 1, 3), share = rng_int(r, 150, 500); /* drawn as in training, share in 1/1000 */
    *rare = o->rare ? o->rare : drawn;
    int room = n_words_of(style) - o->words;
    for (;;) {
        *freq = o->freq ? o->freq : (int)((int64_t)total * share / 1000 / o->words);
        if (!o->freq) {
            if (*freq > 30) *freq = 30;
            if (*freq < 3 * *rare + 1) *freq = 3 * *rare + 1;
        }
        *n_rare = (total - o->words * *freq) / *rare;
        if (*n_rare < 4) *n_rare = 4;
        if (*n_rare <= room) return;
        if (o->rare || style == SAC_STYLE_PAPER) break;
        ++*rare; /* long lists: the vocabulary is used up, so rare words come more often */
    }
    *n_rare = room;
}

static enum sac_code cwe_build(struct draft *d, const struct task_opts *o, const struct task_source *src,
                               struct rng *r, int units, struct sac_err *err)
{
    (void)src;
    if (o->words + 4 > task_words.n || (o->freq && o->rare && o->freq <= o->rare))
        return sac_fail(err, SAC_EARG, "cwe: freq=%d must be above rare=%d, or nothing is common", o->freq,
                        o->rare);
    int freq, rare, n_rare;
    cwe_counts(o, d->style, r, units, &freq, &rare, &n_rare);
    int n_bag = o->words * freq + n_rare * rare, n_words = o->words + n_rare;
    int all = n_words_of(d->style);
    int *word = calloc((size_t)all, sizeof *word), *bag = calloc((size_t)n_bag, sizeof *bag);
    int *rank = calloc((size_t)o->words, sizeof *rank);
    if (word && bag && rank) {
        for (int i = 0; i < all; i++) word[i] = i;
        rng_shuffle(r, word, all, n_words);
        for (int i = 0; i < n_bag; i++)
            bag[i] = i < o->words * freq ? i / freq : o->words + (i - o->words * freq) / rare;
        rng_shuffle(r, bag, n_bag, n_bag);
        int n_seen = 0;
        for (int i = 0; i < n_bag; i++) { /* gold: common words in order of first appearance */
            const char *w = word_at(word[bag[i]]);
            tb_fmt(&d->context, "%s%d. ", i ? "\n" : "", i + 1);
            if (bag[i] >= o->words) {
                tb_str(&d->context, w);
                continue;
            }
            if (!rank[bag[i]]) {
                rank[bag[i]] = ++n_seen;
                tb_fmt(&d->gold, "%s%d. %s", n_seen > 1 ? "\n" : "", n_seen, w);
            }
            draft_evidence(d, w, rank[bag[i]] - 1);
        }
        tb_fmt(&d->question, "Which %d words appear most often in the list?", o->words);
        tb_str(&d->intro,
               "Below is a numbered list of words. Some words appear far more often than the others. "
               "Your task is to find the most common ones.");
        if (d->style == SAC_STYLE_PAPER)
            tb_fmt(&d->question, " Each of them appears %d times, every other word at most %d times.", freq,
                   rare);
        for (int i = 0; i < o->words; i++) tb_fmt(&d->format, "%s%d. <word>", i ? "\n" : "", i + 1);
        tb_fmt(&d->rules,
               "- Give exactly %d words, one on each numbered line.\n"
               "- The number in front of a word says nothing about how common it is.",
               o->words);
    } else {
        d->oom = true;
    }
    free(word);
    free(bag);
    free(rank);
    return SAC_OK;
}

static const struct sac_param cwe_params[] = {
    { "words", "common words to find", SAC_INT, OPT(words), 10, 1, 50, NULL, false },
    { "freq", "how often a common word comes; 0: drawn for each sample", SAC_INT, OPT(freq), 30, 0, 1000,
      NULL, false },
    { "rare", "how often every other word comes; 0: drawn for each sample", SAC_INT, OPT(rare), 3, 0, 100,
      NULL, false },
};
static const double cwe_compact[] = { 3, 0, 0 };

const struct task_impl task_cwe = {
    .pub = { .name = "cwe",
             .title = "Common words",
             .metric = "IoU",
             .dispersion = "low",
             .scope = "high",
             .summary = "the most common words of a numbered list",
             .params = cwe_params,
             .n_params = COUNT(cwe_params),
             .opts_size = sizeof(struct task_opts) },
    .compact = cwe_compact,
    .metric = METRIC_IOU_LINES,
    .tag_needed = true,
    .min_units = 12,
    .units_per_token = 0.2,
    .build = cwe_build,
};
