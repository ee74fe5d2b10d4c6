/* Question files, read into plain arrays. */
#ifndef TASKS_QA_H
#define TASKS_QA_H

#include "tasks/draft.h"

struct qa_item {
    int doc;        /* its document */
    char *question; /* options included where there are any */
    char *answer;   /* accepted answers, each ended by a zero byte */
    int n_answers;
    size_t lo, hi; /* where the first answer stands in the document; hi 0: nowhere */
};
struct qa_set {
    char **doc;
    uint64_t *hash; /* [n_docs], to find equal texts without comparing all */
    int n_docs;
    struct qa_item *item;
    int n_items;
};

/* SQuAD JSON, or JSON lines with `context` (or `article`) and `questions`: strings beside `answer`, or
 * objects with `question`, `options` and `gold_label`. Questions without an answer and repeated ones are left
 * out. */
enum sac_code qa_load(struct qa_set *out, const char *path, struct sac_err *err);
void qa_free(struct qa_set *q);

/* Line `index` of a file of user samples: prompt, gold, metric, evidence -> draft. *n: how many there are. */
enum sac_code user_load(struct draft *d, const char *path, int index, struct sac_err *err);
#endif
