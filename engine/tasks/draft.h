/* A sample while it is being written: context, question, gold answer, and the evidence in the context.
 *
 * A generator fills a draft for a given number of units (needles, chapters, filler sentences ...); make.c
 * measures its tokens, asks again with another number until the length fits, and then joins the parts to a
 * prompt in one of the two styles. Out of memory is remembered and checked once, at the end. */
#ifndef TASKS_DRAFT_H
#define TASKS_DRAFT_H

#include "tasks/rng.h"

#include <saccade/task.h>
#include <stddef.h>

struct tbuf {
    char *p;
    size_t n, cap;
    bool oom;
};
void tb_add(struct tbuf *b, const char *s, size_t n);
void tb_str(struct tbuf *b, const char *s);
void tb_fmt(struct tbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tb_clear(struct tbuf *b);
void tb_free(struct tbuf *b);

struct mark {
    size_t lo, hi;
    int item;
}; /* evidence: bytes of the context, part of the answer */

struct draft {
    enum sac_style style; /* COMPACT or PAPER, never AUTO */
    struct tbuf context, question, gold;
    struct tbuf alt; /* further answers, each ended by a zero byte */
    struct mark *mark;
    int n_mark, cap_mark;
    /* What the paper style puts around them. */
    bool plural; /* <questions> instead of <question> */
    bool whole;  /* the context is the prompt: user tasks */
    int metric;  /* the sample's own metric, -1: the task's */
    int lean;    /* draw sentences that are short (-1) or long (1): other draws missed the length */
    struct tbuf intro, format, rules;
    bool oom;
};
void draft_clear(struct draft *d);
void draft_free(struct draft *d);
void draft_mark(struct draft *d, size_t lo, size_t hi, int item);
/* Append to the context and mark what was appended. */
void draft_evidence(struct draft *d, const char *s, int item);
/* Mark the first occurrence of `what` at or after byte `from` of the context; false when there is none. */
bool draft_mark_text(struct draft *d, size_t from, const char *what, int item);
bool draft_oom(const struct draft *d);

enum metric {
    METRIC_FRACTION,
    METRIC_IOU_LINES,
    METRIC_IOU_WORDS,
    METRIC_IOU_VARS,
    METRIC_IOU_INTS,
    METRIC_EXACT,
    METRIC_F1,
    METRIC_LETTERS,
    METRIC_CONTAINS
};

/* Parameters of all generated tasks; each table points at those it uses. */
struct task_opts {
    int queries, chains, hops, words, freq, rare, chapters;
};

/* What a generator may read besides its options. data is what the task's open hook made of the file. */
struct task_source {
    const char *file;
    void *data;
    int index, length; /* sample number, target tokens */
    uint64_t seed;
};

/* A generator. units counts what the length grows by. */
struct task_impl {
    struct sac_task pub;
    const double *compact; /* defaults of the parameters in compact style */
    enum metric metric;
    bool tag_needed; /* paper style: a reply without <answer> counts as zero */
    int min_units;
    double units_per_token; /* a first guess */
    bool fixed;             /* the length is not ours to choose: user tasks */
    enum sac_code (*open)(struct task_source *src, struct sac_err *err); /* NULL: reads no file */
    void (*close)(struct task_source *src);
    enum sac_code (*build)(struct draft *d, const struct task_opts *o, const struct task_source *src,
                           struct rng *r, int units, struct sac_err *err);
};

extern const struct task_impl task_niah, task_vt, task_cwe, task_story_retrieval, task_story_multihop,
    task_story_filtering, task_qa_squad, task_qa_quality, task_qa_toefl, task_user;

const struct task_impl *task_impl_of(const struct sac_task *t);

/* A whole file as text ending in a zero byte (malloc'ed). */
enum sac_code task_read_file(const char *path, char **text, size_t *len, struct sac_err *err);
struct sac_score task_score(enum metric metric, bool tag_needed, const char *gold, const char *answer);
#endif
