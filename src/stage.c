/* The explorer started by a command; see stage.h. */
#include "stage.h"
#include "cli.h"
#include "offline.h"
#include "setup.h"

#include <saccade/trace_file.h>

#include <stdio.h>
#include <string.h>

const char *const stage_colors[] = { "auto", "never", "16", "256", "rgb", NULL };

void stage_setup(struct ui_app_opts *o, const struct setup_args *a, const char *prompt)
{
    o->length = a->length;
    o->sample = a->sample;
    o->seed = a->seed;
    o->task_file = a->file;
    o->style = a->style;
    o->prompt = prompt;
    o->raw = a->raw;
    o->method = a->methods.v;
    o->n_methods = a->methods.n;
    o->max_tokens = a->max_tokens;
    o->threads = a->threads;
    o->kv = a->kv;
    o->strict = a->strict;
    o->temperature = a->temperature;
    o->top_p = a->top_p;
}

int stage_run(const char *command, const struct stage *s, struct ui_app_opts *o)
{
    struct sac_err err = { SAC_OK, "" };
    char samples[1024], rest;
    if (s->size && (sscanf(s->size, "%dx%d%c", &o->cols, &o->lines, &rest) != 2 || o->cols < 20 ||
                    o->cols > 1000 || o->lines < 5 || o->lines > 500)) {
        sac_fail(&err, SAC_EARG, "--size %s: give columns and lines, such as 120x40", s->size);
        return cli_fail(command, &err);
    }
    /* Before minutes of replay, not after. */
    if (!offline_target(s->dump, s->force, &err) || !offline_target(s->cast, s->force, &err))
        return cli_fail(command, &err);
    o->headless = s->headless || s->dump || s->cast;
    o->dump = s->dump;
    o->no_dump = s->cast && !s->dump && !s->headless;
    o->force = s->force;
    o->cast = s->cast;
    o->color = s->color == 0 && o->headless ? "rgb" : stage_colors[s->color];
    o->theme = s->theme;
    o->ascii = s->ascii;
    o->no_mouse = s->no_mouse;
    o->trace_open = sac_trace_open;
    o->samples = cli_sample("", samples, sizeof samples) ? samples : NULL;
    if (o->headless) {
        cli_catch_signals();
        o->stop = &cli_stop;
    }
    int rc = ui_app_run(o, &err);
    if (rc < 0) return -rc;
    return err.code ? cli_fail(command, &err) : sac_exit_code((enum sac_code)rc);
}
