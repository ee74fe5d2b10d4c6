/* The explorer: what `saccade` does when no command is named. Turns options into what ui/app.h asks for. */
#include "cli.h"
#include "explore.h"
#include "setup.h"
#include "stage.h"

#include <app.h>
#include <saccade/trace_file.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const color_choices[] = { "auto", "never", "16", "256", "rgb", NULL };

int explore(int argc, char **argv)
{
    struct setup_args a = SETUP_DEFAULTS;
    a.length = 0;       /* what the config file says, or 4096 */
    struct arg_strs files = { { NULL }, 0 };
    struct ui_app_opts o = { 0 };
    int color = 0;
    const struct arg_opt opts[] = {
        { "What to look at", .kind = ARG_HEADING },
        SETUP_TASK_OPTS(a),
        SETUP_RUN_OPTS(a),
        { "The screen", .kind = ARG_HEADING },
        { "screen", 0, "NAME", "open with this screen: run, heads, map, compare, text, pages or tasks",
          ARG_STR, .to = &o.screen },
        { "color", 0, "WHEN", "auto, never, 16, 256 or rgb (default auto)", ARG_CHOICE, &color,
          .choices = color_choices },
        { "theme", 0, "NAME", "auto, dark or light (default auto)", ARG_STR, .to = &o.theme },
        { "ascii", 0, NULL, "draw with ASCII characters alone", ARG_FLAG, .to = &o.ascii },
        { "plain", 0, NULL, "lines instead of a screen: commands in, short labelled lines out", ARG_FLAG,
          .to = &o.plain },
        { "no-mouse", 0, NULL, "leave the mouse to the terminal", ARG_FLAG, .to = &o.no_mouse },
        { "no-run", 0, NULL, "open without starting the run", ARG_FLAG, .to = &o.no_run },
        { "config", 0, "FILE", "settings (default: saccade/config below the user's configuration folder)",
          ARG_STR, .to = &o.config },
        { "log", 0, "FILE", "session log (default: below the user's state folder)", ARG_STR, .to = &o.log },
        { 0 },
    };
    const struct arg_spec spec = {
        "",
        "[OPTIONS] [MODEL]  or: saccade COMMAND ...",
        "Explores sparse attention: runs a prompt or a task through dense attention and the methods you "
        "name, and shows "
        "live what each head reads, what it skips, and what that does to the answer. MODEL is a GGUF file, a "
        "folder "
        "with safetensors, or a recorded run; without it, the bundled model. saccade help lists the commands "
        "for scripts.",
        { "saccade", "saccade --task niah --length 8K --method quest:sparsity=0.9 --method snapkv",
          "saccade model.gguf --prompt @question.txt --method vertical_slash" },
        .opts = opts,
        .operands = &files,
        .max_operands = 1,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;

    struct sac_err err = { SAC_OK, "" };
    if (a.prompt && a.task) return args_fail(&spec, "--prompt and --task exclude each other");
    if (files.n && sac_trace_is_file(files.v[0]) && setup_recorded(&a, files.v[0], &err)) return cli_fail("", &err);
    if (!a.prompt && !a.methods.n) setup_demo(&a);
    if (setup_methods(&a, &err)) return cli_fail("", &err);
    char path[1024], samples[1024], *prompt = NULL;
    size_t len;
    if (!cli_model(files.n ? files.v[0] : NULL, path, sizeof path, &err)) return cli_fail("", &err);
    if (access(path, R_OK) != 0) {
        sac_fail(&err, SAC_EFORMAT, "%s: cannot read; name a GGUF file or a folder with safetensors", path);
        return cli_fail("", &err);
    }
    if (a.prompt && !(prompt = cli_text(a.prompt, &len, &err))) return cli_fail("", &err);

    o.model = path;
    o.trace_open = sac_trace_open;
    if (sac_trace_is_file(path)) o.trace = path, o.model = NULL;
    o.task = a.prompt ? NULL : a.task;     /* NULL: what the config file says, or niah */
    stage_setup(&o, &a, prompt);
    o.color = color_choices[color];
    o.samples = cli_sample("", samples, sizeof samples) ? samples : NULL;
    rc = ui_app_run(&o, &err);
    free(prompt);
    if (rc < 0) return -rc;     /* ended by a signal */
    return err.code ? cli_fail("", &err) : sac_exit_code((enum sac_code)rc);
}
