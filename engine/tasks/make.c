/* From a task to a prompt of the wanted length.
 *
 * The generator is asked for a sample with some number of units, its tokens are counted, and the number is
 * corrected by the slope of the last two counts until the length fits. Units can be coarse (a chapter is over
 * a hundred tokens), so when no number of units gives 97 % of the target, another draw of the same sample is
 * tried; the best draw above 90 % wins. Where plain draws all miss, as stories of three or four chapters can,
 * later ones lean towards short or long sentences (draft.lean). Nothing here depends on the machine: the same
 * model file, seed and number give the same bytes. */
#include "tasks/tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DRAWS = 16, SHORT_DRAWS = 400, SHORT = 2048, MAX_STEPS = 24 };
static const double AIM = 0.985, GOOD = 0.97, ENOUGH = 0.90;

static void element(struct tbuf *b, const char *name, bool plural, const char *suffix,
                    const struct tbuf *body)
{
    tb_fmt(b, "<%s%s%s>\n", name, plural ? "s" : "", suffix);
    tb_add(b, body->p ? body->p : "", body->n);
    tb_fmt(b, "\n</%s%s%s>\n\n", name, plural ? "s" : "", suffix);
}

/* Join the parts of a draft; returns where the context begins in the prompt. */
static size_t compose(const struct draft *d, struct tbuf *b)
{
    const char *context = d->context.p ? d->context.p : "";
    if (d->whole || d->style == SAC_STYLE_COMPACT) {
        tb_str(b, context);
        if (d->question.n) tb_fmt(b, "\n\n%s", d->question.p);
        return 0;
    }
    const char *many = d->plural ? "questions are" : "question is";
    tb_fmt(b, "%s The %s given before the text and again after it.\n\n", d->intro.p, many);
    element(b, "question", d->plural, "", &d->question);
    tb_str(b, "<context>\n");
    size_t at = b->n;
    tb_str(b, context);
    tb_str(b, "\n</context>\n\n");
    element(b, "question", d->plural, "_repeated", &d->question);
    tb_fmt(b,
           "Work in two steps. First explain in a few words how you found the answer%s. Then give the "
           "answer%s in "
           "exactly this form:\n\n<explanation>\nyour short "
           "explanation\n</explanation>\n<answer>\n%s\n</answer>\n\n"
           "Keep to these rules:\n%s\n- Be brief.\n- Write nothing but the answer%s between <answer> and "
           "</answer>.",
           d->plural ? "s" : "", d->plural ? "s" : "", d->format.p, d->rules.p, d->plural ? "s" : "");
    return at;
}

struct maker {
    const struct task_impl *im;
    const struct task_counter *counter;
    struct task_opts opts;
    struct task_source src;
    struct draft d;
    struct tbuf prompt;
    size_t context_at;
    int length, limit; /* target, and the most a prompt may have */
    int tokens;        /* of what stands in prompt now */
    int draw, units;   /* and how it was made */
};

static enum sac_code attempt(struct maker *k, int draw, int units, struct sac_err *err)
{
    uint64_t h = rng_mix(k->src.seed, (uint64_t)k->src.index);
    for (const char *p = k->im->pub.name; *p; p++) h = rng_mix(h, (unsigned char)*p);
    struct rng r = { rng_mix(rng_mix(h, k->d.style == SAC_STYLE_PAPER), (uint64_t)draw) };
    draft_clear(&k->d);
    tb_clear(&k->prompt);
    k->d.lean = draw < MAX_DRAWS ? 0 : draw % 2 ? -1 : 1;
    enum sac_code rc = k->im->build(&k->d, &k->opts, &k->src, &r, units, err);
    if (rc) return rc;
    k->context_at = compose(&k->d, &k->prompt);
    if (draft_oom(&k->d) || k->prompt.oom)
        return sac_fail(err, SAC_ENOMEM, "%s: out of memory for a prompt of %d tokens", k->im->pub.name,
                        k->length);
    k->tokens = k->counter->count(k->counter->ctx, k->prompt.p, err);
    k->draw = draw;
    k->units = units;
    return k->tokens < 0 ? (err && err->code ? err->code : SAC_EARG) : SAC_OK;
}

/* Next number of units to try, strictly between lo (fits) and hi (too long or unknown: INT_MAX / 2). */
static int next_units(int lo, int hi, int u0, int t0, int u1, int t1, int want, double per_token)
{
    double slope = u1 != u0 && t1 != t0 ? (double)(u1 - u0) / (t1 - t0) : per_token;
    if (slope <= 0) slope = per_token;
    double u = u1 + (want - t1) * slope;
    int next = u > (double)hi ? hi - 1 : (int)u;
    if (next <= lo) next = lo + 1;
    if (next >= hi) next = hi - 1;
    return next;
}

/* Near enough to the target, and in the promised range even where the limit is below the target. */
static bool good(const struct maker *k, int tokens)
{
    return tokens >= GOOD * k->limit && tokens >= ENOUGH * k->length;
}

/* Search one draw. best_* hold the longest fitting attempt over all draws so far. */
static enum sac_code search(struct maker *k, int draw, int *best_draw, int *best_units, int *best_tokens,
                            int *least, struct sac_err *err)
{
    const struct task_impl *im = k->im;
    int lo = im->min_units - 1, hi = 1 << 28, u0 = 0, t0 = 0;
    int units = (int)(k->length * im->units_per_token * 0.9);
    if (units < im->min_units) units = im->min_units;
    for (int step = 0; step < MAX_STEPS && hi - lo > 1; step++) {
        enum sac_code rc = attempt(k, draw, units, err);
        if (rc) return rc;
        int u1 = units, t1 = k->tokens;
        if (t1 <= k->limit) {
            lo = units;
            if (t1 > *best_tokens) {
                *best_tokens = t1;
                *best_draw = draw;
                *best_units = units;
            }
            if (good(k, t1)) return SAC_OK;
        } else {
            hi = units;
            if (!*least || t1 < *least) *least = t1;
        }
        units = next_units(lo, hi, u0, t0, u1, t1, (int)(AIM * k->limit), im->units_per_token);
        u0 = u1;
        t0 = t1;
        if (units > 8 * (u1 + 8)) units = 8 * (u1 + 8);
    }
    return SAC_OK;
}

static enum sac_code fit(struct maker *k, struct sac_err *err)
{
    const char *name = k->im->pub.name;
    if (k->im->fixed) {
        enum sac_code rc = attempt(k, 0, 0, err);
        if (!rc && k->length > 0 && k->tokens > k->length)
            rc = sac_fail(err, SAC_EARG, "%s: the prompt has %d tokens, more than the %d allowed", name,
                          k->tokens, k->length);
        return rc;
    }
    int draw = 0, units = 0, tokens = 0, least = 0;
    /* Short prompts hold few chapters, but other draws cost little. */
    int draws = k->length < SHORT ? SHORT_DRAWS : MAX_DRAWS;
    for (int i = 0; i < draws && !good(k, tokens); i++) {
        if (i >= MAX_DRAWS && tokens >= ENOUGH * k->length) break;
        enum sac_code rc = search(k, i, &draw, &units, &tokens, &least, err);
        if (rc) return rc;
        if (!tokens && (i >= 2 * MAX_DRAWS || least > 2 * k->length)) break; /* hopeless */
    }
    if (!tokens)
        return sac_fail(err, SAC_EARG,
                        "%s: %d tokens are too few; its shortest prompt with these parameters has %d", name,
                        k->length, least);
    if (tokens < ENOUGH * k->length)
        return sac_fail(err, SAC_EARG, "%s: cannot fill %d tokens, the nearest it comes is %d%s", name,
                        k->length, tokens, k->im->pub.needs_file || k->src.file ? " with this file" : "");
    if (k->draw != draw || k->units != units) return attempt(k, draw, units, err);
    return SAC_OK;
}

static int by_start(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo ? 1 : x->item - y->item;
}

/* Hand over what the draft holds. */
static enum sac_code finish(struct maker *k, struct sac_sample *s, struct sac_err *err)
{
    struct draft *d = &k->d;
    int n = d->n_mark, n_alt = 0;
    if (n) qsort(d->mark, (size_t)n, sizeof *d->mark, by_start);
    for (size_t i = 0; i < d->alt.n; i++) n_alt += !d->alt.p[i];
    s->evidence = calloc((size_t)n + 1, sizeof *s->evidence);
    s->evidence_item = calloc((size_t)n + 1, sizeof *s->evidence_item);
    s->prompt = strdup(k->prompt.p);
    char **alt = n_alt ? calloc((size_t)n_alt + 1, sizeof *alt) : NULL;
    s->alt = alt;
    struct tbuf gold = { 0 };
    bool tag = d->style == SAC_STYLE_PAPER && !d->whole;
    tb_fmt(&gold, tag ? "<answer>\n%s\n</answer>" : "%s", d->gold.p ? d->gold.p : "");
    s->gold = gold.p;
    if (d->metric >= 0) {
        enum metric *own = malloc(sizeof *own);
        if (own) *own = (enum metric)d->metric;
        s->detail = own;
    }
    bool ok = s->evidence && s->evidence_item && s->prompt && !gold.oom && s->gold && (!n_alt || alt) &&
              (d->metric < 0 || s->detail);
    const char *p = d->alt.p;
    for (int i = 0; ok && i < n_alt; i++, p += strlen(p) + 1) {
        struct tbuf one = { 0 };
        tb_fmt(&one, tag ? "<answer>\n%s\n</answer>" : "%s", p);
        alt[i] = one.p;
        ok = !one.oom;
    }
    if (!ok) return sac_fail(err, SAC_ENOMEM, "%s: out of memory for a sample", s->spec);
    for (int i = 0; i < n; i++) {
        s->evidence[i] =
            (struct sac_span){ (int)(d->mark[i].lo + k->context_at), (int)(d->mark[i].hi + k->context_at) };
        s->evidence_item[i] = d->mark[i].item;
    }
    s->n_evidence = n;
    return SAC_OK;
}

enum sac_code task_make(struct sac_sample *out, const struct task_counter *c, const char *spec,
                        enum sac_style style, int length, uint64_t seed, int index, const char *file,
                        struct sac_err *err)
{
    *out = (struct sac_sample){ .style = style, .length = length, .index = index, .seed = seed };
    struct maker k = { .counter = c,
                       .length = length,
                       .d = { .style = style, .metric = -1 },
                       .src = { .file = file, .index = index, .length = length, .seed = seed } };
    if (strlen(spec) >= sizeof out->spec) return sac_fail(err, SAC_EARG, "task '%.40s...' is too long", spec);
    snprintf(out->spec, sizeof out->spec, "%s", spec);
    enum sac_code rc = task_spec(spec, style, &k.im, &k.opts, err);
    if (rc) return rc;
    out->task = &k.im->pub;
    if (!k.im->fixed && length < 1)
        return sac_fail(err, SAC_EARG, "%s: a length of %d tokens makes no prompt", spec, length);
    if (k.im->pub.needs_file && !file)
        return sac_fail(err, SAC_EARG, "%s: reads its samples from a file; give one with --file",
                        k.im->pub.name);
    if (file && !k.im->open)
        return sac_fail(err, SAC_EARG, "%s: takes no file (niah takes one as its haystack)", k.im->pub.name);
    /* A prompt as long as the model's context would leave no room for the answer. One that is longer anyhow
     * can only be looked at, and gets its full length. */
    int room = c->max_ctx - (style == SAC_STYLE_PAPER ? 1024 : 160), least = (int)(length * (ENOUGH + 0.03));
    bool whole = !c->max_ctx || room >= length || length > c->max_ctx;
    k.limit = whole ? length : room > least ? room : least;
    if (k.im->open) rc = k.im->open(&k.src, err);
    if (!rc) rc = fit(&k, err);
    if (!rc) rc = finish(&k, out, err);
    if (k.im->close) k.im->close(&k.src);
    draft_free(&k.d);
    tb_free(&k.prompt);
    if (rc) sac_sample_free(out);
    return rc;
}

static int count_chat(void *ctx, const char *user, struct sac_err *err)
{
    struct sac_tokens t = { 0 };
    char *text = NULL;
    size_t at;
    enum sac_code rc = sac_chat_tokenize(ctx, NULL, user, &t, &text, &at, err);
    int n = rc ? -1 : t.n;
    if (!rc) sac_tokens_free(&t);
    free(text);
    return n;
}

enum sac_code sac_sample_make(struct sac_sample *out, const struct sac_model *m, const char *spec,
                              enum sac_style style, int length, uint64_t seed, int index, const char *file,
                              struct sac_err *err)
{
    if (style == SAC_STYLE_AUTO)
        style = sac_model_info(m)->bundled_style ? SAC_STYLE_COMPACT : SAC_STYLE_PAPER;
    union {
        const struct sac_model *in;
        void *out;
    } ctx = { .in = m };
    const struct task_counter counter = { count_chat, ctx.out, sac_model_info(m)->shape.max_ctx };
    return task_make(out, &counter, spec, style, length, seed, index, file, err);
}

void sac_sample_free(struct sac_sample *s)
{
    if (!s) return;
    for (char *const *a = s->alt; a && *a; a++) free(*a);
    union {
        char *const *in;
        void *out;
    } alt = { .in = s->alt };
    free(alt.out);
    free(s->prompt);
    free(s->gold);
    free(s->evidence);
    free(s->evidence_item);
    free(s->detail);
    s->prompt = s->gold = NULL;
    s->alt = NULL;
    s->evidence = NULL;
    s->evidence_item = NULL;
    s->detail = NULL;
    s->n_evidence = 0;
}

enum sac_code task_read_file(const char *path, char **text, size_t *len, struct sac_err *err)
{
    FILE *f = fopen(path, "rb");
    if (!f) return sac_fail(err, SAC_EFORMAT, "%s: cannot be opened: %s", path, strerror(errno));
    struct tbuf b = { 0 };
    char part[65536];
    size_t n;
    tb_str(&b, "");
    while ((n = fread(part, 1, sizeof part, f)) > 0) tb_add(&b, part, n);
    bool bad = ferror(f);
    fclose(f);
    if (bad || b.oom) {
        tb_free(&b);
        return sac_fail(err, bad ? SAC_EIO : SAC_ENOMEM, "%s: %s", path,
                        bad ? "cannot be read" : "out of memory");
    }
    if (memchr(b.p, '\0', b.n)) {
        tb_free(&b);
        return sac_fail(err, SAC_EFORMAT, "%s: holds zero bytes, so it is not text", path);
    }
    *text = b.p;
    *len = b.n;
    return SAC_OK;
}
