/* A view: one screen of the explorer, as a table of functions.
 *
 * draw fills its rectangle of the cell buffer from the state and from results of ui_request; it computes
 * nothing that takes long and never waits. Everything a key does is a command of the table in commands.h;
 * movement, open, toggle, find and copy are shared commands that arrive through the functions here, so that
 * the same keys mean the same everywhere. A view that does not do something leaves the function NULL. */
#ifndef UI_VIEW_H
#define UI_VIEW_H

#include "cells.h"
#include "commands.h"
#include "heat.h"

enum ui_move {
    UI_LEFT,
    UI_RIGHT,
    UI_UP,
    UI_DOWN, /* by n */
    UI_TOP,
    UI_BOTTOM,
    UI_LINE_START,
    UI_LINE_END,
    UI_HALF_UP,
    UI_HALF_DOWN,
    UI_PAGE_UP,
    UI_PAGE_DOWN
};
enum ui_click { UI_CLICK, UI_DRAG, UI_RELEASE, UI_WHEEL_UP, UI_WHEEL_DOWN };

enum { UI_MARGIN_LINES = 4 };   /* tabs, context, status, hints: the rest is the view's */

struct ui_view {
    const char *name;            /* "map": in commands and key files */
    const char *tab, *tab_short; /* "Compare", "Comp" */
    /* Draw into r (st->body); never outside. */
    void (*draw)(const struct ui_state *st, struct cell_buf *b, struct ui_rect r);
    /* The context line: what is shown and how it was transformed. Written for w columns. */
    void (*context)(const struct ui_state *st, char *buf, size_t cap, int w);
    /* The status line when nothing else is to be said; may leave buf empty. */
    void (*status)(const struct ui_state *st, char *buf, size_t cap);
    /* Put the state in order after the trace, the lane or the size changed (clamp, follow); before each draw.
     */
    void (*settle)(struct ui_state *st);
    bool (*move)(struct ui_state *st, enum ui_move m, int n);
    bool (*open)(struct ui_state *st);                       /* Enter: drill down */
    bool (*toggle)(struct ui_state *st);                     /* Space */
    bool (*cancel)(struct ui_state *st);                     /* Esc: true when there was something to clear */
    /* text: "quest", "L14H5", "@5120"; dir 0 a new search, +1 and -1 next and previous. */
    bool (*find)(struct ui_state *st, const char *text, int dir);
    bool (*event)(struct ui_state *st, int by);              /* < >: gold span, missed key, differing token */
    bool (*click)(struct ui_state *st, int x, int y, enum ui_click what);    /* screen coordinates */
    void (*copy)(const struct ui_state *st, char *buf, size_t cap);          /* y: the read-out as text */
    void (*plain)(const struct ui_state *st, char *buf, size_t cap);         /* --plain: labelled lines */
    int n_panes;                 /* Tab goes round; st->at.pane[screen] */
    const struct ui_cmd *cmds; int n_cmds;
    const struct ui_bind *binds; int n_binds;
    const struct ui_hint *hints; int n_hints;    /* what the last line offers, most useful first */
};

extern const struct ui_view ui_view_run, ui_view_heads, ui_view_map, ui_view_compare, ui_view_text,
    ui_view_pages, ui_view_tasks;
const struct ui_view *ui_view_of(enum ui_screen s);
#endif
