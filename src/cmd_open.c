/* saccade open: the explorer at the view of a figure, from the recipe inside it. */
#include "cli.h"
#include "commands.h"
#include "figure_source.h"
#include "setup.h"
#include "stage.h"

#include "export.h"
#include <saccade/trace_file.h>

#include <stdlib.h>
#include <string.h>

/* The commands that lead to a view. */
static void put_script(FILE *f, const struct ui_recipe *r)
{
    static const char *const screen[UI_N_SHOTS] = {
        "map", "heads", "compare", "text", "pages", "map", "pages"
    };
    static const char *const diff[] = { "off", "signed", "absolute" };
    const struct ui_where *at = &r->shot.at;
    struct ui_window w = at->win[r->shot.view == UI_SHOT_COMPARE ? UI_SCREEN_COMPARE : UI_SCREEN_MAP];
    bool map = r->shot.view == UI_SHOT_MAP || r->shot.view == UI_SHOT_COMPARE;
    fprintf(f, "screen %s\nmethod %d\n", screen[r->shot.view], at->a);
    if (r->shot.view == UI_SHOT_COMPARE) fprintf(f, "method-b %d\ndiff %s\n", at->b, diff[at->diff]);
    fprintf(f, "layer %d\nhead %d\n", at->layer, at->head);
    if (map) {
        fprintf(f, "scale %s\npool %s\nsinks %s\noverlay %s\nrange %s\nweights %s\n",
                ui_scale_name[at->scale], ui_pool_name[at->pool], ui_sinks_arg[at->sinks],
                ui_overlay_name[at->overlay], at->range == UI_RANGE_AUTO ? "auto" : "fixed",
                at->sparse ? "sparse" : "dense");
        if (w.q1)
            fprintf(f, "row %d\nkey %d\nselect\nrow %d\nkey %d\nzoom-selection\n", w.q0, w.k0, w.q1 - 1,
                    w.k1 - 1);
    }
    if (r->shot.view == UI_SHOT_TEXT) fprintf(f, "row %d\nfold %g\n", at->row, at->fold);
    if (r->shot.view == UI_SHOT_PAGES || r->shot.view == UI_SHOT_TIMELINE) fprintf(f, "step %d\n", at->step);
    if (r->shot.map != UI_MAP_VIRIDIS) fprintf(f, "colormap %s\n", ui_map_name[r->shot.map]);
}

/* Say so when the model or the trace at hand is another than the figure's. */
static void compare_model(const char *path, const struct ui_recipe *r)
{
    uint64_t hash = 0;
    if (sac_trace_is_file(path)) {
        struct sac_trace *t;
        struct sac_trace_info i;
        if (sac_trace_open(&t, path, NULL) != SAC_OK) return;
        sac_trace_info(t, &i);
        hash = i.model_hash;
        sac_trace_release(t);
    } else {
        struct sac_model *m;
        struct sac_model_opts opts = { .directory_only = true };
        if (sac_model_open(&m, path, &opts, NULL) != SAC_OK) return;
        hash = sac_model_info(m)->hash;
        sac_model_close(m);
    }
    if (hash != r->model_hash)
        fprintf(stderr,
                "saccade open: another model than the figure's: this is %016llx, the figure was made with %s "
                "(%016llx)\n",
                (unsigned long long)hash, r->model, (unsigned long long)r->model_hash);
}

static int open_figure(const char *figure, const char *model, const struct stage *s)
{
    struct sac_err err = { SAC_OK, "" };
    struct ui_recipe r;
    struct ui_app_opts o = { 0 };
    const char *methods[UI_RECIPE_METHODS];
    char path[1024], *script = NULL;
    size_t n = 0;
    int rc = 0;
    if (ui_recipe_read(&r, figure, &err) != SAC_OK) return cli_fail("open", &err);
    FILE *f = open_memstream(&script, &n);
    if (!f || !figure_source(model, &r, path, sizeof path, &err)) {
        if (f) fclose(f);
        rc = cli_fail("open", &err);
    } else {
        if (!r.screen) put_script(f, &r);
        fclose(f);
        compare_model(path, &r);
        figure_options(&o, &r, path, methods);
        o.script = script;
        rc = r.screen ? figure_screen("open", &r, path, s) : stage_run("open", s, &o);
    }
    free(script);
    ui_recipe_free(&r);
    return rc;
}

int cmd_open(int argc, char **argv)
{
    struct stage s = STAGE_DEFAULTS;
    struct arg_strs files = { { NULL }, 0 };
    const struct arg_opt opts[] = { STAGE_OPTS(s), { 0 } };
    const struct arg_spec spec = {
        "open",
        "open [OPTIONS] FIGURE [MODEL | TRACE]",
        "Opens the explorer at the view of a figure (PNG, SVG or PDF): the same prompt, methods, layer, "
        "head, window and scale, from the recipe inside; from a picture of a whole screen the same screen. "
        "Says so when the model is another.",
        { "saccade open fig.png", "saccade open fig.png run.trace",
          "saccade open fig.png --dump frame.txt --size 120x40" },
        .opts = opts,
        .operands = &files,
        .min_operands = 1,
        .max_operands = 2,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    return open_figure(files.v[0], files.n > 1 ? files.v[1] : NULL, &s);
}
