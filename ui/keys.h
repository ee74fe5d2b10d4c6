/* Keys as numbers and names: "Ctrl-R", "Shift-Tab", "F1", "[", "Space".
 *
 * A plain character is its code point; special keys come after Unicode. Terminals cannot tell Ctrl-H from
 * Backspace, Ctrl-I from Tab, Ctrl-M from Enter or Ctrl-[ from Esc, so those names are refused. */
#ifndef UI_KEYS_H
#define UI_KEYS_H

#include "commands.h"

#include <stdint.h>
#include <stdio.h>

enum {
    UI_KEY_NONE = 0,
    UI_KEY_SPECIAL = 0x110000,
    UI_K_UP = UI_KEY_SPECIAL,
    UI_K_DOWN,
    UI_K_LEFT,
    UI_K_RIGHT,
    UI_K_S_UP,
    UI_K_S_DOWN,
    UI_K_S_LEFT,
    UI_K_S_RIGHT,
    UI_K_C_UP,
    UI_K_C_DOWN,
    UI_K_C_LEFT,
    UI_K_C_RIGHT,
    UI_K_HOME,
    UI_K_END,
    UI_K_PGUP,
    UI_K_PGDN,
    UI_K_INS,
    UI_K_DEL,
    UI_K_BACKTAB,
    UI_K_F1,
    UI_K_F12 = UI_K_F1 + 11,
    UI_KEY_END,
    UI_K_TAB = 9,
    UI_K_ENTER = 13,
    UI_K_ESC = 27,
    UI_K_BACKSPACE = 127,
    UI_KEY_ALT = 0x400000, /* added to a key */
};

/* Name of a key; and the key of a name, UI_KEY_NONE when there is none. */
void ui_key_name(int key, char *buf, size_t cap);
int ui_key_parse(const char *name);
/* As shown in hints: "Ctrl-R" is ^R, Enter stays. */
void ui_key_short(int key, char *buf, size_t cap);

/* ---- bindings ---- */
/* The command line a key runs on a screen; NULL: none. */
const char *ui_key_line(enum ui_screen s, int key);
/* The first key bound to a command line on a screen; UI_KEY_NONE: none. */
int ui_key_of(enum ui_screen s, const char *line);
/* The i-th binding that works on a screen, in table order; false when there are fewer. */
bool ui_key_at(enum ui_screen s, int i, int *key, const char **line);
/* Back to the default keys. */
void ui_keys_reset(void);
/* Bind "map K = head +1" or "all Ctrl-R = redraw"; "none" removes. False with a sentence in err. */
bool ui_keys_bind(const char *text, char *err, size_t cap);
/* Read a key file; each mistake goes to report(ctx, "keys: line 3: ..."). A clash inside one screen is one.
 */
void ui_keys_load(FILE *f, const char *name, void (*report)(void *ctx, const char *msg), void *ctx);
#endif
