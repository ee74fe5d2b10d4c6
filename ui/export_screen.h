/* Pictures of whole screens that can be made again: what a recipe of one holds, and how it is followed.
 *
 * The recipe (JSON, schema saccade.screen/1) says how the session began, which commands changed what it has
 * computed, and the state of the screen at the end. Making the picture again runs the same model or recording
 * through the same commands. What no run repeats is kept as it was: the seconds and rates that were measured,
 * and the lines of the log. Clock times, memory in use and the tour's caption are no part of a picture that
 * is taken from a terminal. */
#ifndef UI_EXPORT_SCREEN_H
#define UI_EXPORT_SCREEN_H

#include "base.h"
#include "export.h"

#include <jansson.h>

/* ---- where_json.c ---- */
/* All fields, or those that differ from base. */
json_t *ui_where_json(const struct ui_where *w, const struct ui_where *base);
/* Fields that are there replace those of w; values out of range become the first of their kind. */
void ui_where_read(struct ui_where *w, const json_t *o);
size_t ui_where_covered(void); /* bytes of struct ui_where that have a field: for a test */

/* ---- export_screen.c ---- */
/* A screen as PNG, SVG or PDF with its recipe. b NULL: drawn anew as it is without prompts and dialogs. */
enum sac_code ui_screen_write(struct ui_state *st, const struct cell_buf *b, const char *path, bool force,
                              char *written, size_t cap, struct sac_err *err);

/* ---- screen_follow.c ---- */
/* A line of a script: a command, or "#@ {...}": what is looked at, where it is not as a session begins.
 * "prompt" takes text of any length, in which the byte 0x1e stands for a line end. False: refused. */
bool ui_script_line(struct ui_state *st, const char *line, size_t n);
/* The end of following opts->restore: the state of the screen and what is kept as it was. */
void ui_screen_restore(struct ui_state *st);
/* Numbers measured by the first run in place of this one's; called when a frame has read its lanes. */
void ui_screen_pins(struct ui_state *st);
/* Does b show what the recipe says? Otherwise why says what differs. */
bool ui_screen_same(const struct ui_state *st, const struct cell_buf *b, char *why, size_t cap);
uint64_t ui_cells_hash(const struct cell_buf *b);
#endif
