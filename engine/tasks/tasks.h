/* Between the files of this folder: SPECs, and making a sample with any way of counting tokens. */
#ifndef TASKS_TASKS_H
#define TASKS_TASKS_H

#include "tasks/draft.h"

enum sac_code task_spec(const char *spec, enum sac_style style, const struct task_impl **out,
                        struct task_opts *o, struct sac_err *err);

/* How long a user turn is, template included, in tokens; < 0: failed, err says why. */
struct task_counter {
    int (*count)(void *ctx, const char *user, struct sac_err *err);
    void *ctx;
    int max_ctx; /* tokens of prompt and answer together at most; 0: no limit */
};
enum sac_code task_make(struct sac_sample *out, const struct task_counter *c, const char *spec,
                        enum sac_style style, int length, uint64_t seed, int index, const char *file,
                        struct sac_err *err);
#endif
