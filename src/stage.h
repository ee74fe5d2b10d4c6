/* The explorer started by a command: with a script, on screen or into a buffer. Shared by open, replay and
 * tour. */
#ifndef STAGE_H
#define STAGE_H

#include "args.h"

#include <app.h>

struct stage {
    const char *size, *dump, *cast, *theme;
    int color;
    double pace;
    bool headless, ascii, no_mouse, force;
};
#define STAGE_DEFAULTS { .pace = 1 }
extern const char *const stage_colors[];

/* Rows of an option table, for struct stage s. */
#define STAGE_OPTS(s)                                                                                        \
    { "headless",         0, NULL, "no terminal: run into a buffer and print its last frame", ARG_FLAG,      \
      .to = &(s).headless },                                                                                 \
        { "size", 0, "WxH", "size without a terminal (default 120x40)", ARG_STR, .to = &(s).size },          \
        { "dump",                                                                                            \
          0,                                                                                                 \
          "FILE",                                                                                            \
          "write the last frame: text, with colours when it ends in .ans, as .png, .svg or .pdf (implies "   \
          "--headless)",                                                                                     \
          ARG_STR,                                                                                           \
          .to = &(s).dump },                                                                                 \
        { "cast",         0, "FILE", "write the frames as an asciicast v2 (implies --headless)", ARG_STR,    \
          .to = &(s).cast },                                                                                 \
        { "force", 0, NULL, "with --dump and --cast: replace an existing file", ARG_FLAG,                    \
          .to = &(s).force },                                                                                \
        { "color",                                                                                           \
          0,                                                                                                 \
          "WHEN",                                                                                            \
          "auto, never, 16, 256 or rgb (default auto)",                                                      \
          ARG_CHOICE,                                                                                        \
          &(s).color,                                                                                        \
          .choices = stage_colors },                                                                         \
        { "theme", 0, "NAME", "auto, dark or light (default auto)", ARG_STR, .to = &(s).theme },             \
        { "ascii", 0, NULL, "draw with ASCII characters alone", ARG_FLAG, .to = &(s).ascii },                \
    {                                                                                                        \
        "no-mouse", 0, NULL, "leave the mouse to the terminal", ARG_FLAG, .to = &(s).no_mouse                \
    }

struct setup_args;
/* What to run, from options: the same for the explorer and for a script. `a` and `prompt` must outlive o. */
void stage_setup(struct ui_app_opts *o, const struct setup_args *a, const char *prompt);

/* Fill the screen's part of o from s, run, and turn the result into an exit code. */
int stage_run(const char *command, const struct stage *s, struct ui_app_opts *o);
#endif
