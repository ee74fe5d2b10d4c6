/* Keys, mouse and pasted text, as commands. What mode takes them is decided here and nowhere else. */
#include "base.h"
#include "keys.h"

#include <string.h>

/* The key that follows g, ' or ". */
static bool pending_key(struct ui_state *st, int key)
{
    struct ui_app *a = st->app;
    int p = a->pending;
    char line[40];
    a->pending = 0;
    a->dirty = true;
    if (key == UI_K_ESC) return true;
    if (p == 'g' && key == 'g') return ui_run_line(st, "top"), true;
    if (p == 'g' && key >= '0' && key <= '9') {
        snprintf(line, sizeof line, "goto %c", key);
        return ui_prompt_open(st, ':', line), true;
    }
    if (p == 'g') return false;
    if (key > 32 && key < 127) {
        snprintf(line, sizeof line, "%s %c", p == '"' ? "mark" : "goto-mark", key);
        ui_run_line(st, line);
    }
    return true;
}

static void pick_key(struct ui_state *st, int key)
{
    struct ui_app *a = st->app;
    char line[32];
    a->dirty = true;
    if (a->pick_cur >= st->n_lanes) a->pick_cur = st->n_lanes ? st->n_lanes - 1 : 0;
    switch (key) {
    case UI_K_UP: case 'k': if (a->pick_cur > 0) a->pick_cur--; break;
    case UI_K_DOWN: case 'j': case 'm': if (a->pick_cur + 1 < st->n_lanes) a->pick_cur++; break;
    case UI_K_ENTER: case ' ':
        a->mode = UI_MODE_NORMAL;
        snprintf(line, sizeof line, "%s %d", a->pick_b ? "method-b" : "method", a->pick_cur);
        ui_run_line(st, line);
        break;
    case UI_K_ESC: case 'q': case 3: a->mode = UI_MODE_NORMAL; break;
    default:
        if (key >= '0' && key <= '9' && key - '0' < st->n_lanes) a->pick_cur = key - '0';
    }
}

void ui_key(struct ui_state *st, int key)
{
    struct ui_app *a = st->app;
    if (key == 3) {      /* Ctrl-C: stops the work; twice within two seconds quits */
        bool twice = a->last_stop > 0 && st->now - a->last_stop < 2;
        a->last_stop = st->now;
        if (twice) {
            a->quit = true;
            return;
        }
        if (a->mode == UI_MODE_NORMAL) {
            ui_run_line(st, "stop");
            return;
        }
    }
    /* Esc and a letter typed fast look like Alt and the letter: unless that is bound, they are what was
     * typed. */
    if (key & UI_KEY_ALT && (a->mode != UI_MODE_NORMAL || !ui_key_line(st->at.screen, key))) {
        ui_key(st, UI_K_ESC);
        ui_key(st, key & ~UI_KEY_ALT);
        return;
    }
    if (ui_player_key(st, key)) return;
    switch (a->mode) {
    case UI_MODE_PROMPT: ui_prompt_key(st, key); return;
    case UI_MODE_HELP: ui_help_key(st, key); return;
    case UI_MODE_PICK: pick_key(st, key); return;
    case UI_MODE_EXPORT: ui_export_key(st, key); return;
    case UI_MODE_MEASURES: ui_measures_key(st, key); return;
    case UI_MODE_QUIT:
        a->dirty = true;
        if (key == 'y' || key == 'q' || key == UI_K_ENTER) a->quit = true;
        else if (key == 'n' || key == UI_K_ESC || key == 3) a->mode = UI_MODE_NORMAL;
        return;
    case UI_MODE_NORMAL: break;
    }
    if (a->pending && pending_key(st, key)) return;
    const char *line = ui_key_line(st->at.screen, key);
    if (line) {
        char copy[160];
        snprintf(copy, sizeof copy, "%s", line);       /* a command may rebind keys */
        if (a->say_kind != UI_SAY_BAD || st->now - a->say_at > 0.5) a->say[0] = 0;
        ui_run_line(st, copy);
        return;
    }
    char name[40];
    ui_key_name(key, name, sizeof name);
    if (*name) ui_say(st, UI_SAY_INFO, "%s is not bound here; ? shows the keys", name);
}

void ui_paste(struct ui_state *st, const char *text, size_t len)
{
    struct ui_app *a = st->app;
    if (a->mode == UI_MODE_PROMPT || a->mode == UI_MODE_HELP) {
        ui_prompt_paste(st, text, len);
        return;
    }
    /* Pasted text never runs as keys: on the Run screen it becomes the prompt, elsewhere it is not taken. */
    if (a->mode == UI_MODE_NORMAL && st->at.screen == UI_SCREEN_RUN && len) {
        char *copy = strndup(text, len);
        if (copy) ui_run_edited(st, copy);
        return;
    }
    ui_say(st, UI_SAY_INFO, "pasted text is taken by the prompt line and by the Run screen only");
}

void ui_mouse(struct ui_state *st, int x, int y, enum ui_click what)
{
    struct ui_app *a = st->app;
    const struct ui_view *v = ui_view_of(st->at.screen);
    a->dirty = true;
    if (a->mode == UI_MODE_HELP || a->mode == UI_MODE_PICK || a->mode == UI_MODE_EXPORT ||
        a->mode == UI_MODE_MEASURES) {
        int key = what == UI_WHEEL_UP ? UI_K_UP : what == UI_WHEEL_DOWN ? UI_K_DOWN : UI_KEY_NONE;
        if (key) ui_key(st, key);
        else if (what == UI_CLICK) a->mode = UI_MODE_NORMAL;
        return;
    }
    if (a->mode != UI_MODE_NORMAL || st->app->buf.w < 60 || st->app->buf.h < 12) return;
    if (what == UI_CLICK) a->say[0] = 0;
    if (what == UI_CLICK && ui_chrome_click(st, x, y)) return;
    struct ui_where before = st->at;
    if (v->click && v->click(st, x, y, what)) {
        if (what == UI_CLICK && memcmp(&before, &st->at, sizeof before) != 0) ui_undo_save(st, &before);
        return;
    }
    if (what == UI_WHEEL_UP) ui_run_line(st, "move up 3");
    if (what == UI_WHEEL_DOWN) ui_run_line(st, "move down 3");
}
