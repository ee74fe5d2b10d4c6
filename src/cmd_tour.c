/* saccade tour: the bundled recording and a script that leads through the methods, with captions. */
#include "cli.h"
#include "commands.h"
#include "stage.h"

#include <stdlib.h>
#include <unistd.h>

int cmd_tour(int argc, char **argv)
{
    struct stage s = STAGE_DEFAULTS;
    const char *trace = NULL, *script_path = NULL;
    struct ui_app_opts o = { .pace = 1 };
    const struct arg_opt opts[] = {
        { "pace", 0, "X", "1: five minutes; 2: twice as long; 0.1: a rehearsal", ARG_DOUBLE, &s.pace,
          .min = 0.01, .max = 20 },
        { "trace", 0, "FILE", "another recording than the bundled one", ARG_STR, .to = &trace },
        { "script", 0, "FILE", "another script than the bundled one", ARG_STR, .to = &script_path },
        STAGE_OPTS(s),
        { 0 },
    };
    const struct arg_spec spec = {
        "tour",
        "tour [OPTIONS]",
        "Opens a recorded run and leads through it: what dense attention reads, what six sparse methods read "
        "instead, and "
        "what that does to the answer. Space stops it, any key explores, Esc ends it.",
        { "saccade tour", "saccade tour --pace 1.5", "saccade tour --cast tour.cast --size 120x40" },
        .opts = opts,
        .notes = "A script is a list of the explorer's commands. Lines that begin with # are captions; \"#! "
                 "wait 5\" says how "
                 "many seconds, times the pace, a frame stays.",
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    struct sac_err err = { SAC_OK, "" };
    char file[1024], text[1024];
    size_t n;
    if (!trace && !cli_sample("traces/tour.trace", file, sizeof file)) {
        sac_fail(&err, SAC_EIO, "%s: the bundled recording is missing; name one with --trace", file);
        return cli_fail("tour", &err);
    }
    if (!script_path && !cli_sample("tour/tour.txt", text, sizeof text)) {
        sac_fail(&err, SAC_EIO, "%s: the bundled script is missing; name one with --script", text);
        return cli_fail("tour", &err);
    }
    char *script = cli_read(script_path ? script_path : text, &n, &err);
    if (!script) return cli_fail("tour", &err);
    o.trace = trace ? trace : file;
    o.script = script;
    o.script_name = script_path ? script_path : text;
    o.pace = s.pace;
    o.screen = "run";
    rc = stage_run("tour", &s, &o);
    free(script);
    return rc;
}
