/* Tasks: prompts whose answer is known, with the evidence marked.
 *
 * Every generated sample carries the gold answer and the byte spans of the text an answer needs, so the
 * explorer can say where they were lost. Generators, question forms and metrics follow "The Sparse
 * Frontier" (arXiv 2504.17768); the compact style is what the bundled model was trained on. */
#ifndef SAC_TASK_H
#define SAC_TASK_H

#include <saccade/err.h>
#include <saccade/model.h>

enum sac_style { SAC_STYLE_AUTO, SAC_STYLE_COMPACT, SAC_STYLE_PAPER };

struct sac_task {
    const char *name, *title, *metric;   /* metric: "fraction", "IoU", "exact match", "F1" */
    const char *dispersion, *scope, *summary;
    bool needs_file;
    const struct sac_param *params;      /* task parameters: queries, chains, hops ... */
    int n_params;
    size_t opts_size;
};
const struct sac_task *const *sac_tasks(int *n);
const struct sac_task *sac_task_find(const char *name);
/* Default of parameter `param` in a style: the compact prompts are made for small models, so they ask less.
 * params[i].def is that of the paper. NAN: no such parameter. */
double sac_task_default(const struct sac_task *t, int param, enum sac_style style);
/* Is SPEC (`name` or `name:key=value,...`) one that sac_sample_make would take? */
enum sac_code sac_task_check(const char *spec, struct sac_err *err);

struct sac_sample {
    const struct sac_task *task;
    char spec[160];            /* "niah" or "niah:queries=2" as given */
    enum sac_style style;
    int length, index;         /* target tokens, sample number */
    uint64_t seed;
    char *prompt;              /* user text: context, blank line, question */
    char *gold;                /* the expected answer text */
    char *const *alt;          /* further accepted answers, NULL-terminated, or NULL */
    int n_evidence;
    struct sac_span *evidence; /* byte spans of `prompt`; token spans follow from sac_tokens */
    int *evidence_item;        /* which part of the answer a span is for (0, 1 ...) */
    void *detail;              /* what scoring needs; owned by the task */
};

/* SPEC is `name` or `name:key=value,...`. file: data for tasks that need one, or a prose haystack. The
 * prompt, rendered by the model's template, has 90 to 100 % of `length` tokens. Same seed and index: same
 * sample, on every machine. */
enum sac_code sac_sample_make(struct sac_sample *out, const struct sac_model *m, const char *spec,
                              enum sac_style style, int length, uint64_t seed, int index, const char *file,
                              struct sac_err *err);
void sac_sample_free(struct sac_sample *s);

struct sac_score { double value; bool parsed; };
struct sac_score sac_sample_score(const struct sac_sample *s, const char *answer);
#endif
