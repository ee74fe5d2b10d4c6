/* The table of tasks, and task SPECs: `name` or `name:key=value,...` checked against the task's parameters.
 */
#include "tasks/tasks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct task_impl *const impl[] = {
    &task_niah,
    &task_vt,
    &task_cwe,
    &task_story_retrieval,
    &task_story_multihop,
    &task_story_filtering,
    &task_qa_squad,
    &task_qa_quality,
    &task_qa_toefl,
    &task_user,
};
enum { N_TASKS = sizeof impl / sizeof *impl };

const struct sac_task *const *sac_tasks(int *n)
{
    static const struct sac_task *pub[N_TASKS];
    for (int i = 0; i < N_TASKS; i++) pub[i] = &impl[i]->pub;
    if (n) *n = N_TASKS;
    return pub;
}

const struct task_impl *task_impl_of(const struct sac_task *t)
{
    for (int i = 0; i < N_TASKS; i++)
        if (&impl[i]->pub == t) return impl[i];
    return NULL;
}

const struct sac_task *sac_task_find(const char *name)
{
    for (int i = 0; i < N_TASKS; i++)
        if (!strcmp(impl[i]->pub.name, name)) return &impl[i]->pub;
    return NULL;
}

double sac_task_default(const struct sac_task *t, int param, enum sac_style style)
{
    const struct task_impl *im = task_impl_of(t);
    if (!im || param < 0 || param >= t->n_params) return (double)NAN;
    return style == SAC_STYLE_COMPACT && im->compact ? im->compact[param] : t->params[param].def;
}

static const struct sac_param *find_param(const struct sac_task *t, const char *key, size_t n)
{
    for (int i = 0; i < t->n_params; i++)
        if (strlen(t->params[i].name) == n && !strncmp(t->params[i].name, key, n)) return &t->params[i];
    return NULL;
}

static enum sac_code no_such_param(const struct sac_task *t, const char *key, struct sac_err *err)
{
    char list[200] = "";
    const char *names[16];
    int n = 0;
    for (; n < t->n_params && n < 16; n++) {
        names[n] = t->params[n].name;
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", n ? ", " : "", names[n]);
    }
    const char *near = sac_nearest(key, names, n);
    if (!n) return sac_fail(err, SAC_EARG, "%s: takes no parameters, '%s' is not one", t->name, key);
    return sac_fail(err, SAC_EARG, "%s: no parameter '%s'%s%s%s (it has: %s)", t->name, key,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", list);
}

enum sac_code task_spec(const char *spec, enum sac_style style, const struct task_impl **out,
                        struct task_opts *o, struct sac_err *err)
{
    char name[64];
    size_t n = strcspn(spec, ":");
    if (n >= sizeof name) n = sizeof name - 1;
    memcpy(name, spec, n);
    name[n] = '\0';
    const struct sac_task *t = sac_task_find(name);
    if (!t) {
        const char *names[N_TASKS];
        for (int i = 0; i < N_TASKS; i++) names[i] = impl[i]->pub.name;
        const char *near = sac_nearest(name, names, N_TASKS);
        return sac_fail(err, SAC_EARG, "no task '%s'%s%s%s; 'saccade tasks list' names all", name,
                        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    *out = task_impl_of(t);
    *o = (struct task_opts){ 0 };
    char *base = (char *)o;
    for (int i = 0; i < t->n_params; i++) {
        int v = (int)sac_task_default(t, i, style);
        memcpy(base + t->params[i].offset, &v, sizeof v);
    }
    const char *p = spec + strcspn(spec, ":");
    if (*p == ':') p++;
    while (*p) {
        size_t len = strcspn(p, ","), k = strcspn(p, "=,");
        const struct sac_param *pr = find_param(t, p, k);
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)(k < 60 ? k : 60), p);
        if (!pr) return no_such_param(t, key, err);
        if (k == len) return sac_fail(err, SAC_EARG, "%s: '%s' needs a value: %s=N", t->name, key, key);
        char *end;
        long v = strtol(p + k + 1, &end, 10);
        if (end != p + len || end == p + k + 1)
            return sac_fail(err, SAC_EARG, "%s: %s=%.*s is not a whole number", t->name, key,
                            (int)(len - k - 1), p + k + 1);
        if ((double)v < pr->min || (double)v > pr->max)
            return sac_fail(err, SAC_EARG, "%s: %s=%ld is outside %g .. %g", t->name, key, v, pr->min,
                            pr->max);
        int iv = (int)v;
        memcpy(base + pr->offset, &iv, sizeof iv);
        p += len + (p[len] == ',');
    }
    return SAC_OK;
}

enum sac_code sac_task_check(const char *spec, struct sac_err *err)
{
    const struct task_impl *im;
    struct task_opts o;
    return task_spec(spec, SAC_STYLE_COMPACT, &im, &o, err);
}

struct sac_score sac_sample_score(const struct sac_sample *s, const char *answer)
{
    const struct task_impl *im = task_impl_of(s->task);
    const enum metric *own = s->detail; /* user tasks bring their metric */
    enum metric metric = own ? *own : im->metric;
    bool tag = im->tag_needed && s->style == SAC_STYLE_PAPER;
    struct sac_score best = task_score(metric, tag, s->gold, answer);
    for (char *const *alt = s->alt; alt && *alt; alt++) {
        struct sac_score one = task_score(metric, tag, *alt, answer);
        if (one.value > best.value) best = one;
    }
    return best;
}
