/* From options to something that can run: the model, the prompt (written or made by a task) as tokens, and
 * the check that both fit. Shared by run, snapshot, trace and the explorer, so that the same options mean the
 * same everywhere. */
#ifndef SETUP_H
#define SETUP_H

#include "args.h"

#include <saccade/job.h>
#include <saccade/trace.h>

struct setup_args {
    const char *model;          /* NULL: the bundled one */
    const char *task, *file;    /* a task's SPEC, and its data file where it needs one */
    const char *prompt;         /* TEXT, @FILE or -; NULL: a task */
    const char *system;
    int length, sample, style;  /* style: enum sac_style */
    uint64_t seed;
    bool raw, no_special;
    struct arg_strs methods;    /* SPECs; the reference needs no line */
    int max_tokens;             /* 0: what the task needs, 128 for a prompt */
    double temperature, top_p;
    int threads, kv;            /* kv: enum sac_kv_type */
    bool strict, no_reference, no_recall, no_kl;
    size_t memory;              /* bytes the run may take, 0: what is available */
};
#define SETUP_DEFAULTS { .length = 4096, .seed = 43, .top_p = 1.0 }

/* Refuses a method's SPEC that is none, for whoever does not start a run at once. */
enum sac_code setup_methods(const struct setup_args *a, struct sac_err *err);
/* A recorded run has its own prompt and methods: a sentence where an option asks for others. */
enum sac_code setup_recorded(const struct setup_args *a, const char *trace, struct sac_err *err);

/* With nothing asked for: Vertical-Slash, SnapKV and Quest on a needle task. */
void setup_demo(struct setup_args *a);

extern const char *const setup_styles[], *const setup_kv_types[];

/* Rows of an option table, for struct setup_args a. */
#define SETUP_TASK_OPTS(a)                                                                                   \
    { "task",  'T',                                                                                          \
      "TASK",  "a task's prompt: niah, vt, cwe, ... or niah:queries=2 (saccade tasks lists them)",           \
      ARG_STR, .to = &(a).task },                                                                            \
        { "length", 'n',         "N",       "tokens of the task's prompt (default 4096)",                    \
          ARG_INT,  &(a).length, .min = 64, .max = 1 << 24 },                                                \
        { "sample", 'i',         "I",      "which sample of the task (default 0)",                           \
          ARG_INT,  &(a).sample, .min = 0, .max = 1 << 30 },                                                 \
        { "seed",         's', "N", "seed of tasks, sampling and randomised methods (default 43)", ARG_U64,  \
          .to = &(a).seed },                                                                                 \
        { "style",                                                                                           \
          0,                                                                                                 \
          "STYLE",                                                                                           \
          "prompt style: auto, compact or paper (default auto)",                                             \
          ARG_CHOICE,                                                                                        \
          .to = &(a).style,                                                                                  \
          .choices = setup_styles },                                                                         \
        { "file", 0, "FILE", "the task's data, or prose to hide needles in", ARG_STR, .to = &(a).file },     \
        { "prompt", 'p',                                                                                     \
          "TEXT",   "a prompt instead of a task: TEXT, @FILE, or - for standard input",                      \
          ARG_STR,  .to = &(a).prompt },                                                                     \
    {                                                                                                        \
        "raw", 0, NULL, "no chat template: the prompt as it is, special tokens read", ARG_FLAG,              \
            .to = &(a).raw                                                                                   \
    }
#define SETUP_PROMPT_OPTS(a)                                                                                 \
    SETUP_TASK_OPTS(a), { "system", 0, "TEXT", "a system prompt before it", ARG_STR, .to = &(a).system },    \
    {                                                                                                        \
        "no-special", 0, NULL, "with --raw: special tokens in the text are plain text", ARG_FLAG,            \
            .to = &(a).no_special                                                                            \
    }

#define SETUP_RUN_OPTS(a)                                                                                      \
    { "method", 'm',                                                                                           \
      "SPEC",   "method to run, may be repeated: quest:token_budget=256 (saccade methods lists them)",         \
      ARG_STRS, .to = &(a).methods },                                                                          \
        { "max-tokens", 0,                                                                                     \
          "N",          "tokens to generate at most (default: by task, 128 for a prompt)",                     \
          ARG_INT,      &(a).max_tokens,                                                                       \
          .min = 1,     .max = 1 << 20 },                                                                      \
        { "temperature",    0,        "T",       "sample at this temperature (default 0: greedy)", ARG_DOUBLE, \
          &(a).temperature, .min = 0, .max = 100 },                                                            \
        { "top-p",       0,                                                                                    \
          "P",           "sample from the likeliest tokens holding this probability (default 1)",              \
          ARG_DOUBLE,    &(a).top_p,                                                                           \
          .min = 0.0001, .max = 1 },                                                                           \
        { "threads", 't', "N", "threads (default: all cores)", ARG_INT, &(a).threads, .min = 1, .max = 256 },  \
        { "kv",                                                                                                \
          0,                                                                                                   \
          "TYPE",                                                                                              \
          "how keys and values are kept: f32, f16 or bf16 (default f32)",                                      \
          ARG_CHOICE,                                                                                          \
          .to = &(a).kv,                                                                                       \
          .choices = setup_kv_types },                                                                         \
    {                                                                                                          \
        "strict", 0, NULL, "f32 arithmetic everywhere, slower", ARG_FLAG, .to = &(a).strict                    \
    }

#define SETUP_LIMIT_OPTS(a)                                                                                  \
    { "no-reference", 0, NULL, "do not run dense attention first", ARG_FLAG, .to = &(a).no_reference },      \
    {                                                                                                        \
        "memory", 0, "SIZE", "what the run may take, such as 800M or 4G (default: what is available): the "  \
        "recording goes to a file where that helps, more is refused",                                        \
            ARG_SIZE, .to = &(a).memory                                                                      \
    }

struct setup {
    struct sac_model *model;
    struct sac_tokens tokens;
    char *text;                 /* the prompt as the model gets it */
    size_t user_at;             /* where the task's own text begins in it */
    struct sac_sample sample;
    bool has_sample;
    int max_tokens;
    bool spill;                 /* memory is short: the recording goes to a file */
    struct sac_job_opts job;    /* seed, sampling, lengths filled in; notify left to the caller */
};

/* Everything opened and checked, or a sentence in err and nothing to free. */
enum sac_code setup_open(struct setup *out, const struct setup_args *a, struct sac_err *err);
/* A job with its lanes queued, not started. With no method given: the reference alone. */
enum sac_code setup_job(struct sac_job **out, const struct setup *s, const struct setup_args *a,
                        struct sac_err *err);
void setup_close(struct setup *s);
#endif
