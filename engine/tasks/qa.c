/* Questions about one document among others, from files the user gives, and prompts of the user's own.
 *
 * The questions of a file are put in a random order once for a seed; sample i is the i-th that fits. Other
 * documents of the file are added whole while there is room, the next one cut at a word, and all are shuffled
 * and numbered. */
#include "tasks/qa.h"

#include <stdlib.h>
#include <string.h>

enum { UNIT = 16, LONGEST = 8172 - 64 }; /* bytes of other documents a unit stands for; tokens of a target */

static enum sac_code qa_open(struct task_source *src, struct sac_err *err)
{
    struct qa_set *q = calloc(1, sizeof *q);
    if (!q) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", src->file);
    src->data = q;
    return qa_load(q, src->file, err);
}

static void qa_close(struct task_source *src)
{
    if (src->data) qa_free(src->data);
    free(src->data);
}

/* The sample's question: the index-th in the file's random order whose document can fit the length. */
static const struct qa_item *choose(const struct qa_set *q, const struct task_source *src,
                                    struct sac_err *err)
{
    int *order = calloc((size_t)q->n_items, sizeof *order);
    if (!order) {
        sac_fail(err, SAC_ENOMEM, "%s: out of memory", src->file);
        return NULL;
    }
    struct rng r = { rng_mix(src->seed, 0x71) };
    for (int i = 0; i < q->n_items; i++) order[i] = i;
    rng_shuffle(&r, order, q->n_items, q->n_items);
    /* As published, no document above 8108 tokens, so that long prompts of all lengths ask the same. */
    int n = 0, most = src->length < LONGEST ? src->length : LONGEST;
    const struct qa_item *found = NULL;
    for (int i = 0; i < q->n_items && !found; i++) {
        const struct qa_item *it = &q->item[order[i]];
        /* Prose has well over three bytes a token; questions and instructions stay below 400 tokens. */
        double tokens = 400 + (double)(strlen(q->doc[it->doc]) + 2 * strlen(it->question)) / 3.2;
        if (tokens <= most && n++ == src->index) found = it;
    }
    free(order);
    if (!found)
        sac_fail(err, SAC_EARG,
                 "%s: has %d questions whose document fits %d tokens, so sample %d does not exist", src->file,
                 n, most, src->index);
    return found;
}

/* Documents that go in, the target first; `cut` bytes of the last one, or 0 for all of it. */
static int gather(const struct qa_set *q, int target, struct rng *r, size_t budget, int *doc, size_t *cut)
{
    int *other = calloc((size_t)q->n_docs, sizeof *other), n = 1, n_other = 0;
    if (!other) return 0;
    doc[0] = target;
    *cut = 0;
    for (int i = 0; i < q->n_docs; i++)
        if (i != target) other[n_other++] = i;
    rng_shuffle(r, other, n_other, n_other);
    int part = -1;
    for (int i = 0; i < n_other; i++) {
        size_t len = strlen(q->doc[other[i]]) + 16;
        if (len <= budget) {
            doc[n++] = other[i];
            budget -= len;
        } else if (part < 0) {
            part = other[i];
        }
    }
    if (part >= 0) {
        size_t at = budget > 16 ? budget - 16 : 0;
        while (at > 0 && q->doc[part][at] != ' ') at--;
        if (at > 0) {
            doc[n++] = part;
            *cut = at;
        }
    }
    free(other);
    return n;
}

static enum sac_code build(struct draft *d, const struct task_source *src, struct rng *r, int units,
                           bool letters, struct sac_err *err)
{
    const struct qa_set *q = src->data;
    const struct qa_item *it = choose(q, src, err);
    if (!it) return err && err->code ? err->code : SAC_EARG;
    int *doc = calloc((size_t)q->n_docs + 1, sizeof *doc),
        *order = calloc((size_t)q->n_docs + 1, sizeof *order);
    size_t cut = 0;
    int n = doc && order ? gather(q, it->doc, r, (size_t)units * UNIT, doc, &cut) : 0, number = 0;
    d->oom |= !n;
    for (int i = 0; i < n; i++) order[i] = i;
    rng_shuffle(r, order, n, n);
    for (int i = 0; i < n; i++) {
        const char *text = q->doc[doc[order[i]]];
        tb_fmt(&d->context, "%sDocument %d:\n", i ? "\n\n" : "", i + 1);
        size_t lo = d->context.n;
        tb_add(&d->context, text, cut && order[i] == n - 1 ? cut : strlen(text));
        if (order[i]) continue;
        number = i + 1;
        if (it->hi)
            draft_mark(d, lo + it->lo, lo + it->hi, 0);
        else
            draft_mark(d, lo, d->context.n, 0);
    }
    free(doc);
    free(order);
    tb_fmt(&d->question, "About Document %d: %s", number, it->question);
    tb_str(&d->gold, it->answer);
    const char *p = it->answer + strlen(it->answer) + 1;
    for (int i = 1; i < it->n_answers; i++, p += strlen(p) + 1) tb_add(&d->alt, p, strlen(p) + 1);
    tb_str(
        &d->intro,
        letters
            ? "Below are numbered documents. Your task is to answer a multiple-choice question about one of "
              "them."
            : "Below are numbered documents. Your task is to answer a question about one of them.");
    tb_str(&d->format, letters ? "<letter>" : "<answer>");
    tb_str(&d->rules,
           letters ? "- Give the letters of all correct choices, separated by commas; mostly there is one."
                   : "- Answer with as few words of the document as possible.");
    return SAC_OK;
}

static enum sac_code squad_build(struct draft *d, const struct task_opts *o, const struct task_source *src,
                                 struct rng *r, int units, struct sac_err *err)
{
    (void)o;
    return build(d, src, r, units, false, err);
}

static enum sac_code choice_build(struct draft *d, const struct task_opts *o, const struct task_source *src,
                                  struct rng *r, int units, struct sac_err *err)
{
    (void)o;
    return build(d, src, r, units, true, err);
}

#define QA(id, shown, what, met, say, fn)                                                                    \
    const struct task_impl task_##id = {                                                                     \
        .pub = { .name = #id,                                                                                \
                 .title = shown,                                                                             \
                 .metric = say,                                                                              \
                 .dispersion = "low",                                                                        \
                 .scope = "low",                                                                             \
                 .summary = what,                                                                            \
                 .needs_file = true,                                                                         \
                 .opts_size = sizeof(struct task_opts) },                                                    \
        .metric = met,                                                                                       \
        .tag_needed = true,                                                                                  \
        .min_units = 0,                                                                                      \
        .units_per_token = 0.25,                                                                             \
        .open = qa_open,                                                                                     \
        .close = qa_close,                                                                                   \
        .build = fn,                                                                                         \
    }
QA(qa_squad, "QA: SQuAD", "a question about one of many documents, from a SQuAD file", METRIC_F1, "F1",
   squad_build);
QA(qa_quality, "QA: QuALITY", "a multiple-choice question about one of many documents, from a QuALITY file",
   METRIC_LETTERS, "exact match", choice_build);
QA(qa_toefl, "QA: TOEFL", "a multiple-choice question about one of many documents, from a TOEFL file",
   METRIC_LETTERS, "exact match", choice_build);

static enum sac_code user_open(struct task_source *src, struct sac_err *err)
{
    (void)src;
    (void)err;
    return SAC_OK;
}

static enum sac_code user_build(struct draft *d, const struct task_opts *o, const struct task_source *src,
                                struct rng *r, int units, struct sac_err *err)
{
    (void)o;
    (void)r;
    (void)units;
    return user_load(d, src->file, src->index, err);
}

const struct task_impl task_user = {
    .pub = { .name = "user",
             .title = "Prompts of a file",
             .metric = "as given",
             .dispersion = "any",
             .scope = "any",
             .summary = "prompts of a JSONL file: prompt, gold, metric, evidence; used as they are",
             .needs_file = true,
             .opts_size = sizeof(struct task_opts) },
    .metric = METRIC_EXACT,
    .fixed = true,
    .open = user_open,
    .build = user_build,
};
