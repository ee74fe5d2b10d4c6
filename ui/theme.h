/* What things look like: roles with a colour and an attribute for each theme and tier.
 *
 * Views ask for a role, never for a colour of their own (maps aside). Every role differs from plain text by
 * an attribute or comes with a glyph, so that nothing is lost in mono. */
#ifndef UI_THEME_H
#define UI_THEME_H

#include "palette.h"

enum ui_role {
    UI_TEXT,        /* plain */
    UI_DIM,         /* labels, rulers, what is less important */
    UI_STRONG,      /* headings, the value that counts */
    UI_LINE,        /* frames */
    UI_LINE_FOCUS,  /* frame of the pane with the keyboard */
    UI_TITLE,       /* pane titles */
    UI_TAB,         /* tabs */
    UI_TAB_ON,      /* the tab shown */
    UI_CURSOR,      /* the line or cell under the cursor */
    UI_KEYCAP,      /* key names in hints and help */
    UI_HINT,        /* the text beside them */
    UI_STATUS,      /* status line */
    UI_OK,          /* right, done */
    UI_BAD,         /* wrong, failed */
    UI_WARN,        /* attention */
    UI_RUNNING,     /* work in progress */
    UI_BAR,         /* filled part of bars */
    UI_BAR_REST,
    UI_KEPT,        /* keys a method reads (glyph * or #) */
    UI_FORCED,      /* kept by rule (f) */
    UI_MISSED,      /* dense reads it, the method does not (-) */
    UI_GOLD,        /* evidence ([ ] ^) */
    UI_QUERY,       /* the query */
    UI_LANE_A, UI_LANE_B,
    UI_INPUT,       /* prompt lines */
    UI_MATCH,       /* the part of a text that was searched for */
    UI_N_ROLES
};

enum ui_theme { UI_THEME_DARK, UI_THEME_LIGHT, UI_THEME_CONTRAST, UI_N_THEMES };
extern const char *const ui_theme_name[UI_N_THEMES];
int ui_theme_find(const char *name);

/* How things are shown: decided at start, changed by :set. */
struct ui_look {
    enum ui_tier tier;
    bool ascii;
    enum ui_theme theme;
    enum ui_map map;
    bool own_map;        /* chosen by the user: otherwise 256 colours draw grey (best fidelity) */
};
struct ui_style ui_style(const struct ui_look *l, enum ui_role role);
/* A style with another background: for text on a map cell (fg by contrast). */
struct ui_style ui_style_on(const struct ui_look *l, uint32_t bg);
/* The colour map in force at this tier. */
enum ui_map ui_look_map(const struct ui_look *l);
#endif
