/* What a figure was made from; see figure_source.h. */
#include "figure_source.h"
#include "cli.h"

#include <saccade/trace_file.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool recording(const struct ui_recipe *r, char *path, size_t cap, struct sac_err *err)
{
    char name[160];
    snprintf(path, cap, "%s", r->recording);
    if (access(path, R_OK) == 0) return true;
    snprintf(name, sizeof name, "traces/%s", r->recording);
    if (cli_sample(name, path, cap)) return true;
    sac_fail(err, SAC_EIO, "the figure shows the recording %s, which is not here: give it as TRACE",
             r->recording);
    return false;
}

bool figure_source(const char *given, const struct ui_recipe *r, char *path, size_t cap, struct sac_err *err)
{
    if (!given && *r->recording) return recording(r, path, cap, err);
    if (*r->shot.task_file && (!given || !sac_trace_is_file(given)) && access(r->shot.task_file, R_OK)) {
        sac_fail(err, SAC_EIO, "the figure's task was made from %s, which is not in this folder",
                 r->shot.task_file);
        return false;
    }
    if (!given && *r->shot.model_file && access(r->shot.model_file, R_OK) == 0) given = r->shot.model_file;
    if (given || !*r->shot.model_file) return cli_model(given, path, cap, err);
    /* The bundled model may be the one, under the name it has here. */
    const char *slash = cli_model(NULL, path, cap, err) ? strrchr(path, '/') : NULL;
    if (slash && !strcmp(slash + 1, r->shot.model_file)) return true;
    sac_fail(err, SAC_EIO, "the figure was made with %s (%016llx), which is not here: give it as MODEL",
             r->shot.model_file, (unsigned long long)r->model_hash);
    return false;
}

void figure_options(struct ui_app_opts *o, const struct ui_recipe *r, const char *path, const char **methods)
{
    for (int i = 0; i < r->n_methods; i++) methods[i] = r->method[i];
    if (sac_trace_is_file(path))
        o->trace = path;
    else
        o->model = path;
    o->task = *r->task ? r->task : NULL;
    o->length = r->length;
    o->sample = r->sample;
    o->seed = r->seed;
    o->style = r->shot.style;
    o->task_file = *r->shot.task_file ? r->shot.task_file : NULL;
    o->prompt = *r->task ? NULL : r->prompt;
    o->raw = !*r->task;
    o->method = methods;
    o->n_methods = r->n_methods;
    o->max_tokens = r->max_tokens;
    o->threads = r->threads;
    o->kv = r->shot.kv;
    o->strict = r->shot.strict;
    o->temperature = r->shot.temperature;
    o->top_p = r->shot.temperature > 0 ? r->shot.top_p : 1;
}

static int color_index(const char *name)
{
    if (!strcmp(name, "mono")) return 1;
    for (int i = 0; stage_colors[i]; i++)
        if (!strcmp(stage_colors[i], name)) return i;
    return 0;
}

int figure_screen(const char *command, const struct ui_recipe *r, const char *given, const struct stage *s)
{
    struct sac_err err = { SAC_OK, "" };
    struct ui_app_opts o = { 0 };
    const char *methods[UI_RECIPE_METHODS];
    char path[1024], size[24];
    struct stage as = *s;
    bool headless = s->headless || s->dump || s->cast;
    if (!figure_source(given, r, path, sizeof path, &err)) return cli_fail(command, &err);
    figure_options(&o, r, path, methods);
    o.raw = r->raw;
    o.no_run = r->no_run;
    o.screen = *r->open_with ? r->open_with : NULL;
    o.n_samples = r->samples;
    o.script = r->script;
    o.restore = r->screen;
    o.lenient = !r->is_script || !headless;
    o.pace = headless ? r->pace : 0;
    snprintf(size, sizeof size, "%dx%d", r->cols, r->lines);
    if (headless && !as.size) as.size = size;
    if (headless && !as.color) as.color = color_index(r->color);
    return stage_run(command, &as, &o);
}
