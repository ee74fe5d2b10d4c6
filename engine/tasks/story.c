/* Three tasks on one generated story: a traveller who in every chapter visits a place, meets somebody and
 * buys one item, now and then selling an older one.
 *
 * Retrieval asks for facts of numbered chapters, multi-hop for the item bought before another one, filtering
 * for the chapters whose purchase was taken out. The plot follows the published study; all words are ours. */
#include "tasks/data.h"
#include "tasks/draft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPT(field) offsetof(struct task_opts, field)
#define COUNT(a)   ((int)(sizeof a / sizeof *a))

enum { MAX_CHAPTERS = 2000, N_TALK = 3 };
enum fact { FACT_PLACE, FACT_WHO, FACT_ITEM, N_FACTS };

struct chapter {
    const char *place, *who, *event, *arrival, *reason, *event_line, *meeting, *talk[N_TALK], *buy, *sell,
        *farewell, *close, *aside;
    int item, sold;                  /* item ids; sold < 0: nothing */
    bool dropped;                    /* nothing is bought here */
    struct mark head, fact[N_FACTS]; /* where the title and the facts stand in the context */
};

struct story {
    const char *hero;
    struct chapter *ch;
    int n;
};

static const char *pick(struct rng *r, const struct word_list *l) { return l->w[rng_int(r, 0, l->n - 1)]; }

static void item_name(int id, char *out, size_t cap)
{
    const struct story_data *s = &task_story;
    int kind = id % s->item_kinds.n, mat = id / s->item_kinds.n % s->item_materials.n;
    snprintf(out, cap, "%s %s %s", s->item_adjectives.w[id / s->item_kinds.n / s->item_materials.n],
             s->item_materials.w[mat], s->item_kinds.w[kind]);
}

/* A number below n that was not drawn before. */
static int fresh(struct rng *r, unsigned char *seen, int n)
{
    int id;
    do id = rng_int(r, 0, n - 1);
    while (seen[id]);
    seen[id] = 1;
    return id;
}

/* A sentence; of three draws the shortest or longest when the story must lean. */
static const char *pick_len(struct rng *r, const struct word_list *l, int lean)
{
    const char *best = pick(r, l);
    for (int i = 0; lean && i < 2; i++) {
        const char *other = pick(r, l);
        bool shorter = strlen(other) < strlen(best);
        if (lean < 0 ? shorter : !shorter) best = other;
    }
    return best;
}

static bool story_draw(struct story *s, struct rng *r, int n, int lean)
{
    const struct story_data *w = &task_story;
    int n_items = w->item_adjectives.n * w->item_materials.n * w->item_kinds.n;
    int n_pairs = w->places.n * w->characters.n, n_own = 0;
    unsigned char *pair = calloc((size_t)n_pairs, 1), *item = calloc((size_t)n_items, 1);
    int *own = calloc((size_t)n, sizeof *own), talk[64];
    s->ch = calloc((size_t)n, sizeof *s->ch);
    s->n = n;
    bool ok = pair && item && own && s->ch;
    if (ok) s->hero = pick(r, &w->protagonists);
    for (int i = 0; ok && i < n; i++) {
        struct chapter *c = &s->ch[i];
        int id = fresh(r, pair, n_pairs);
        c->place = w->places.w[id / w->characters.n];
        c->who = w->characters.w[id % w->characters.n];
        c->item = fresh(r, item, n_items);
        c->arrival = pick_len(r, &w->arrival, lean);
        c->reason = pick_len(r, &w->reason, lean);
        c->event_line = pick_len(r, &w->event, lean);
        c->event = pick_len(r, &w->events, lean);
        c->meeting = pick_len(r, &w->meeting, lean);
        for (int k = 0; k < w->talk.n && k < 64; k++) talk[k] = k;
        rng_shuffle(r, talk, w->talk.n, N_TALK);
        for (int k = 0; k < N_TALK; k++) c->talk[k] = w->talk.w[talk[k]];
        c->buy = pick_len(r, &w->buy, lean);
        c->sold = -1;
        if (n_own && rng_int(r, 0, 1)) {
            int k = rng_int(r, 0, n_own - 1);
            c->sold = own[k];
            memmove(own + k, own + k + 1, (size_t)(--n_own - k) * sizeof *own);
            c->sell = pick_len(r, &w->sell, lean);
        }
        own[n_own++] = c->item;
        c->farewell = pick_len(r, &w->farewell, lean);
        c->close = pick_len(r, &w->close, lean);
        c->aside = pick_len(r, &w->aside, lean);
    }
    free(pair);
    free(item);
    free(own);
    return ok;
}

/* Write a template. Where it says {name of `what`}, remember the stretch that takes its place. */
static void fill(struct draft *d, const char *t, const struct story *s, const struct chapter *c,
                 const char *item, const char *what, struct mark *at)
{
    for (const char *p = t; *p;) {
        const char *open = strchr(p, '{');
        if (!open) {
            tb_str(&d->context, p);
            return;
        }
        const char *shut = strchr(open, '}');
        size_t n = (size_t)(shut - open - 1);
        tb_add(&d->context, p, (size_t)(open - p));
        size_t lo = d->context.n;
        const char *value = !strncmp(open + 1, "protagonist", n) ? s->hero
                            : !strncmp(open + 1, "place", n)     ? c->place
                            : !strncmp(open + 1, "character", n) ? c->who
                            : !strncmp(open + 1, "event", n)     ? c->event
                                                                 : item;
        tb_str(&d->context, value);
        if (what && strlen(what) == n && !strncmp(open + 1, what, n))
            *at = (struct mark){ lo, d->context.n, 0 };
        p = shut + 1;
    }
}

static void story_write(struct draft *d, struct story *s)
{
    char item[80];
    for (int i = 0; i < s->n; i++) {
        struct chapter *c = &s->ch[i];
        if (i) tb_str(&d->context, "\n\n");
        size_t lo = d->context.n;
        tb_fmt(&d->context, "Chapter %d", i + 1);
        c->head = (struct mark){ lo, d->context.n, 0 };
        tb_str(&d->context, ":\n");
        fill(d, c->arrival, s, c, NULL, "place", &c->fact[FACT_PLACE]);
        fill(d, c->reason, s, c, NULL, NULL, NULL);
        fill(d, c->event_line, s, c, NULL, NULL, NULL);
        fill(d, c->meeting, s, c, NULL, "character", &c->fact[FACT_WHO]);
        for (int k = 0; k < N_TALK; k++) tb_str(&d->context, c->talk[k]);
        if (!c->dropped) {
            item_name(c->item, item, sizeof item);
            fill(d, c->buy, s, c, item, "item", &c->fact[FACT_ITEM]);
        }
        if (c->sold >= 0) {
            item_name(c->sold, item, sizeof item);
            fill(d, c->sell, s, c, item, NULL, NULL);
        }
        fill(d, c->farewell, s, c, NULL, NULL, NULL);
        fill(d, c->close, s, c, NULL, NULL, NULL);
        tb_str(&d->context, c->aside);
        while (d->context.n && d->context.p && d->context.p[d->context.n - 1] == ' ')
            d->context.p[--d->context.n] = '\0';
    }
}

static void mark_fact(struct draft *d, const struct chapter *c, enum fact f, int item)
{
    draft_mark(d, c->head.lo, c->head.hi, item);
    draft_mark(d, c->fact[f].lo, c->fact[f].hi, item);
}

static void intro(struct draft *d, const struct story *s, const char *ask)
{
    tb_fmt(&d->intro,
           "Below is a story in chapters about the travels of %s, who in the chapters visits a place, meets "
           "a person and may buy or sell an item. %s",
           s->hero, ask);
}

/* ---- retrieval ---- */

static void ask_fact(struct draft *d, const struct story *s, int chapter, enum fact f, int item, int of)
{
    static const char *const ask[N_FACTS] = { "location", "character", "item" };
    static const char *const verb[N_FACTS] = { "visit", "meet", "acquire" };
    const struct chapter *c = &s->ch[chapter];
    char q[160], a[80];
    snprintf(q, sizeof q, "In Chapter %d, which %s did %s %s?", chapter + 1, ask[f], s->hero, verb[f]);
    if (f == FACT_ITEM)
        item_name(c->item, a, sizeof a);
    else
        snprintf(a, sizeof a, "%s", f == FACT_PLACE ? c->place : c->who);
    if (of == 1) {
        tb_str(&d->question, q);
        tb_str(&d->gold, a);
    } else {
        tb_fmt(&d->question, "%s%d. %s", item ? "\n" : "", item + 1, q);
        tb_fmt(&d->gold, "%s%d. %s", item ? "\n" : "", item + 1, a);
    }
    mark_fact(d, c, f, item);
}

static enum sac_code retrieval_build(struct draft *d, const struct task_opts *o,
                                     const struct task_source *src, struct rng *r, int units,
                                     struct sac_err *err)
{
    (void)src;
    (void)err;
    struct story s = { 0 };
    if (units > MAX_CHAPTERS) units = MAX_CHAPTERS;
    /* Questions first, as shares of the story: their number and wording stay while the length is searched. */
    int *order = calloc((size_t)units, sizeof *order), seen[64]; /* as many questions as there can be */
    if (story_draw(&s, r, units, d->lean) && order) {
        story_write(d, &s);
        for (int i = 0; i < units; i++) order[i] = i;
        rng_shuffle(r, order, units, o->queries);
        for (int i = 0; i < o->queries; i++) {
            int c = rng_int(r, 0, units - 1);
            /* As published, chapters are distinct; a story with fewer of them than questions goes round. */
            if (d->style == SAC_STYLE_PAPER) c = order[i % units];
            int f = rng_int(r, 0, N_FACTS - 1);
            bool asked = true;
            while (asked && i / units < N_FACTS) {
                asked = false;
                for (int k = 0; k < i && d->style == SAC_STYLE_PAPER; k++) asked |= seen[k] == c * N_FACTS + f;
                if (asked) f = (f + 1) % N_FACTS;
            }
            seen[i] = c * N_FACTS + f;
            ask_fact(d, &s, c, (enum fact)f, i, o->queries);
        }
        d->plural = o->queries > 1;
        intro(d, &s, "Your task is to answer questions about numbered chapters.");
        for (int i = 0; i < o->queries; i++)
            tb_fmt(&d->format, o->queries > 1 ? "%s%d. <answer>" : "%s<answer to question %d>", i ? "\n" : "",
                   i + 1);
        tb_str(&d->rules, "- Answer with the name of the place, the name of the person or the full name of "
                          "the item alone.\n"
                          "- Write the answers in the order of the questions.");
    } else {
        d->oom = true;
    }
    free(order);
    free(s.ch);
    return SAC_OK;
}

static const struct sac_param retrieval_params[] = {
    { "queries", "questions", SAC_INT, OPT(queries), 16, 1, 64, NULL, false },
};
static const double retrieval_compact[] = { 4 };

const struct task_impl task_story_retrieval = {
    .pub = { .name = "story_retrieval",
             .title = "Story: retrieval",
             .metric = "fraction",
             .dispersion = "low",
             .scope = "low",
             .summary = "places, people and items of numbered chapters",
             .params = retrieval_params,
             .n_params = COUNT(retrieval_params),
             .opts_size = sizeof(struct task_opts) },
    .compact = retrieval_compact,
    .metric = METRIC_FRACTION,
    .min_units = 2,
    .units_per_token = 0.0075,
    .build = retrieval_build,
};

/* ---- multi-hop ---- */

static enum sac_code multihop_build(struct draft *d, const struct task_opts *o, const struct task_source *src,
                                    struct rng *r, int units, struct sac_err *err)
{
    (void)src;
    (void)o;
    (void)err;
    struct story s = { 0 };
    if (units > MAX_CHAPTERS) units = MAX_CHAPTERS;
    if (story_draw(&s, r, units, d->lean)) {
        story_write(d, &s);
        int c = rng_int(r, 1, units - 1);
        char now[80], before[80];
        item_name(s.ch[c].item, now, sizeof now);
        item_name(s.ch[c - 1].item, before, sizeof before);
        tb_fmt(&d->question, "What was the last item that %s acquired before acquiring the %s?", s.hero, now);
        tb_str(&d->gold, before);
        mark_fact(d, &s.ch[c - 1], FACT_ITEM, 0);
        mark_fact(d, &s.ch[c], FACT_ITEM, 0);
        intro(d, &s, "Your task is to find out which item was acquired right before another one.");
        tb_str(&d->format, "<full name of the item>");
        tb_str(&d->rules, "- Only purchases count, and every item is bought once.\n"
                          "- Answer with the full name of the item alone.");
    } else {
        d->oom = true;
    }
    free(s.ch);
    return SAC_OK;
}

const struct task_impl task_story_multihop = {
    .pub = { .name = "story_multihop",
             .title = "Story: multi-hop",
             .metric = "exact match",
             .dispersion = "high",
             .scope = "low",
             .summary = "the item bought before a given item",
             .opts_size = sizeof(struct task_opts) },
    .metric = METRIC_EXACT,
    .tag_needed = true,
    .min_units = 2,
    .units_per_token = 0.0075,
    .build = multihop_build,
};

/* ---- filtering ---- */

static enum sac_code filtering_build(struct draft *d, const struct task_opts *o,
                                     const struct task_source *src, struct rng *r, int units,
                                     struct sac_err *err)
{
    (void)src;
    (void)err;
    struct story s = { 0 };
    if (units > MAX_CHAPTERS) units = MAX_CHAPTERS;
    int n = o->chapters < units - 2 ? o->chapters
            : units > 3             ? units - 2
                                    : 1,
        *order = calloc((size_t)units, sizeof *order);
    if (story_draw(&s, r, units, d->lean) && order) {
        for (int i = 0; i < units; i++) order[i] = i;
        rng_shuffle(r, order, units, n);
        for (int i = 0; i < n; i++) s.ch[order[i]].dropped = true;
        story_write(d, &s);
        int item = 0;
        for (int i = 0; i < units; i++)
            if (s.ch[i].dropped) {
                draft_mark(d, s.ch[i].head.lo, s.ch[i].head.hi, item);
                tb_fmt(&d->gold, "%s%d", item++ ? ", " : "", i + 1);
            }
        tb_fmt(&d->question, "In which chapters did %s not buy any item? There %s exactly %d such chapter%s.",
               s.hero, n == 1 ? "is" : "are", n, n == 1 ? "" : "s");
        intro(d, &s, "Your task is to find the chapters in which nothing is bought.");
        tb_str(&d->format, "<chapter number>, <chapter number>, ...");
        tb_str(&d->rules, "- Selling an item is not buying one.\n"
                          "- Answer with the numbers of the chapters alone, separated by commas.");
    } else {
        d->oom = true;
    }
    free(order);
    free(s.ch);
    return SAC_OK;
}

static const struct sac_param filtering_params[] = {
    { "chapters", "chapters without a purchase", SAC_INT, OPT(chapters), 3, 1, 50, NULL, false },
};
static const double filtering_compact[] = { 3 };

const struct task_impl task_story_filtering = {
    .pub = { .name = "story_filtering",
             .title = "Story: filtering",
             .metric = "IoU",
             .dispersion = "low",
             .scope = "high",
             .summary = "all chapters in which nothing is bought",
             .params = filtering_params,
             .n_params = COUNT(filtering_params),
             .opts_size = sizeof(struct task_opts) },
    .compact = filtering_compact,
    .metric = METRIC_IOU_INTS,
    .tag_needed = true,
    .min_units = 3,
    .units_per_token = 0.0075,
    .build = filtering_build,
};
