/* The terminal: cells out, keys, mouse and pasted text in. The only way to it; screen.c alone includes
 * curses.h.
 *
 * All functions belong to the thread that called ui_screen_open. The terminal is put back on every way out:
 * the normal one, exit, and fatal signals. */
#ifndef UI_SCREEN_H
#define UI_SCREEN_H

#include "base.h"

#include <saccade/err.h>

enum ui_event_kind {
    UI_EVENT_NONE,
    UI_EVENT_KEY,
    UI_EVENT_MOUSE,
    UI_EVENT_PASTE,
    UI_EVENT_RESIZE,
    UI_EVENT_GONE
};
struct ui_event {
    enum ui_event_kind kind;
    int key, x, y;
    enum ui_click click;
    const char *text; size_t len;    /* pasted, valid until the next event */
};

/* Take the terminal. tier: what to try, becomes what there is; note: what had to be decided otherwise, for
 * the log. SAC_EARG with a sentence when there is no terminal to draw on. */
enum sac_code ui_screen_open(enum ui_tier *tier, bool mouse, char *note, size_t cap, struct sac_err *err);
void ui_screen_close(void);                       /* harmless when not open */
void ui_screen_size(int *w, int *h);
/* Show the cells; the cursor at cx, cy or hidden when negative. repaint: everything, not only what changed.
 */
void ui_screen_show(const struct cell_buf *b, int cx, int cy, bool repaint);
/* The next event that is there; UI_EVENT_NONE when there is none. */
struct ui_event ui_screen_event(void);
/* Wait for input, a byte on `wake`, or `ms` (< 0: for ever). True: a worker woke us. */
bool ui_screen_wait(int wake, int ms);
void ui_screen_mouse(bool on);
void ui_screen_copy(const char *text);            /* OSC 52 */
/* Run an editor on a file with the terminal given back to it; its exit status, -1: could not start. */
int ui_screen_edit(const char *path);
void ui_screen_suspend(void);                     /* as Ctrl-Z */
/* Set by SIGTERM and SIGHUP: leave through the normal path. 0 none. */
int ui_screen_signal(void);
/* Is the terminal's background light? Asks the terminal, waits at most 150 ms. -1: no answer. */
int ui_screen_light(void);
/* "ncurses 6.4.20221231" */
const char *ui_screen_library(void);
/* What terminfo says: colours and pairs, as one line for doctor. */
void ui_screen_describe(char *buf, size_t cap);
#endif
