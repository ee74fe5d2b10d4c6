/* saccade replay: a session log again, on screen at a pace, or without a terminal into frames. */
#include "cli.h"
#include "commands.h"
#include "setup.h"
#include "stage.h"

#include <saccade/trace_file.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cmd_replay(int argc, char **argv)
{
    struct setup_args a = SETUP_DEFAULTS;
    struct stage s = STAGE_DEFAULTS;
    struct arg_strs files = { { NULL }, 0 };
    struct ui_app_opts o = { .pace = 1 };
    const struct arg_opt opts[] = {
        { "pace", 0, "X", "seconds for each line on screen (default 1; 0: at once)", ARG_DOUBLE, &s.pace,
          .min = 0, .max = 600 },
        STAGE_OPTS(s),
        { "What to look at", .kind = ARG_HEADING },
        SETUP_TASK_OPTS(a),
        SETUP_RUN_OPTS(a),
        { 0 },
    };
    const struct arg_spec spec = {
        "replay",
        "replay [OPTIONS] LOG [MODEL | TRACE]",
        "Runs the commands of a session log, one line after the other; each waits for the work of the one "
        "before. Ends with "
        "5 when a line is refused. LOG is what the explorer writes (--log), - standard input.",
        { "saccade replay session.log",
          "saccade replay session.log run.trace --headless --size 120x40 --dump frame.txt",
          "saccade replay session.log run.trace --cast demo.cast" },
        .opts = opts,
        .operands = &files,
        .min_operands = 1,
        .max_operands = 2,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    if (a.prompt && a.task) return args_fail(&spec, "--prompt and --task exclude each other");
    struct sac_err err = { SAC_OK, "" };
    char path[1024], *prompt = NULL;
    size_t n;
    if (files.n > 1 && sac_trace_is_file(files.v[1]) && setup_recorded(&a, files.v[1], &err))
        return cli_fail("replay", &err);
    if (setup_methods(&a, &err)) return cli_fail("replay", &err);
    char *script = cli_read(files.v[0], &n, &err);
    if (!script) return cli_fail("replay", &err);
    if (!a.prompt && !a.methods.n) setup_demo(&a);
    if (!cli_model(files.n > 1 ? files.v[1] : NULL, path, sizeof path, &err) ||
        (a.prompt && !(prompt = cli_text(a.prompt, &n, &err)))) {
        free(script);
        return cli_fail("replay", &err);
    }
    if (sac_trace_is_file(path)) o.trace = path;
    else o.model = path;
    o.task = a.prompt ? NULL : a.task ? a.task : "niah";
    stage_setup(&o, &a, prompt);
    o.script = script;
    o.script_name = strcmp(files.v[0], "-") ? files.v[0] : "standard input";
    o.pace = s.pace;
    rc = stage_run("replay", &s, &o);
    free(prompt);
    free(script);
    return rc;
}
