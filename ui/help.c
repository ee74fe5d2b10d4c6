/* Help from the live tables: what the keys of this screen do now, filtered by what is typed, run with Enter.
 */
#include "base.h"
#include "keys.h"

#include <ctype.h>
#include <string.h>

enum { MAX_LINES = 400 };
struct help_line { char keys[40], line[120], text[200]; enum ui_group group; bool heading; };

void ui_help_open(struct ui_state *st)
{
    struct ui_app *a = st->app;
    a->mode = UI_MODE_HELP;
    a->input = (struct ui_input){ { 0 }, 0, 0 };
    a->help_cur = a->help_scroll = 0;
    a->dirty = true;
}

static bool matches(const char *hay, const char *needle)
{
    size_t n = strlen(needle);
    for (; *hay; hay++) {
        size_t i = 0;
        while (i < n && hay[i] && tolower((unsigned char)hay[i]) == tolower((unsigned char)needle[i])) i++;
        if (i == n) return true;
    }
    return !n;
}

/* All keys bound to a command line on this screen, "j Down". */
static void keys_of(enum ui_screen s, const char *line, char *out, size_t cap)
{
    int key;
    const char *l;
    size_t n = 0;
    *out = 0;
    for (int i = 0; ui_key_at(s, i, &key, &l) && n + 12 < cap; i++)
        if (!strcmp(l, line)) {
            char name[32];
            ui_key_name(key, name, sizeof name);
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? " " : "", name);
        }
}

static int collect(const struct ui_state *st, struct help_line *out)
{
    enum ui_screen s = st->at.screen;
    const char *filter = st->app->input.text;
    int n = 0;
    for (int g = 0; g < UI_N_GROUPS; g++) {
        int head = n, key;
        const char *line;
        if (n < MAX_LINES) out[n++] = (struct help_line){ .group = (enum ui_group)g, .heading = true };
        for (int pass = 0; pass < 2; pass++)          /* first what has keys, then the rest of the commands */
            for (int i = 0; n < MAX_LINES; i++) {
                char word[64];
                const struct ui_cmd *c = NULL;
                if (pass == 0) {
                    if (!ui_key_at(s, i, &key, &line)) break;
                    snprintf(word, sizeof word, "%.*s", (int)strcspn(line, " "), line);
                    c = ui_cmd_find(word, s);
                } else {
                    c = ui_cmd_at(i);
                    if (!c) break;
                    if (!(c->ctx & UI_CTX(s)) || ui_cmd_find(c->name, s) != c) continue;
                    line = c->name;
                }
                if (!c || (int)c->group != g) continue;
                bool have = false;
                for (int k = 0; k < n; k++) {
                    have |= !out[k].heading && !strcmp(out[k].line, line);
                    size_t w = strlen(line);
                    if (pass == 1)
                        have |=
                            !out[k].heading && !strncmp(out[k].line, line, w) && strchr(" ", out[k].line[w]);
                }
                if (have) continue;
                struct help_line *h = &out[n];
                *h = (struct help_line){ .group = c->group };
                snprintf(h->line, sizeof h->line, "%s", line);
                keys_of(s, line, h->keys, sizeof h->keys);
                const char *arg = strchr(line, ' ');
                if (arg) snprintf(h->text, sizeof h->text, "%s:%s", c->help, arg);
                else if (*c->args && pass) snprintf(h->text, sizeof h->text, "%s  (%s)", c->help, c->args);
                else snprintf(h->text, sizeof h->text, "%s", c->help);
                if (matches(h->text, filter) || matches(h->line, filter) || matches(h->keys, filter)) n++;
            }
        if (n == head + 1) n = head;
    }
    return n;
}

static int step(const struct help_line *l, int n, int at, int by)
{
    int i = at + by;
    while (i >= 0 && i < n && l[i].heading) i += by < 0 ? -1 : 1;
    return i >= 0 && i < n ? i : at < 0 ? 0 : at;
}

void ui_help_key(struct ui_state *st, int key)
{
    static struct help_line l[MAX_LINES];
    struct ui_app *a = st->app;
    struct ui_input *in = &a->input;
    int n = collect(st, l);
    a->dirty = true;
    if (a->help_cur >= n) a->help_cur = n ? n - 1 : 0;
    if (n && l[a->help_cur].heading) a->help_cur = step(l, n, a->help_cur, 1);
    switch (key) {
    case UI_K_ESC: case 3: a->mode = UI_MODE_NORMAL; return;
    case UI_K_F1: a->mode = UI_MODE_NORMAL; return;
    case '?': if (!in->len) a->mode = UI_MODE_NORMAL; return;
    case UI_K_UP: case 16: a->help_cur = step(l, n, a->help_cur, -1); return;
    case UI_K_DOWN: case 14: a->help_cur = step(l, n, a->help_cur, 1); return;
    case UI_K_PGUP: for (int i = 0; i < 10; i++) a->help_cur = step(l, n, a->help_cur, -1); return;
    case UI_K_PGDN: for (int i = 0; i < 10; i++) a->help_cur = step(l, n, a->help_cur, 1); return;
    case UI_K_HOME: a->help_cur = step(l, n, -1, 1); return;
    case UI_K_ENTER:
        if (!n || l[a->help_cur].heading) return;
        a->mode = UI_MODE_NORMAL;
        {
            /* What needs an argument comes up in the prompt. */
            char line[130];
            const struct ui_cmd *c = ui_cmd_find(l[a->help_cur].line, st->at.screen);
            snprintf(line, sizeof line, "%s", l[a->help_cur].line);
            bool needs =
                c && *c->args && c->args[0] != '[' && !strstr(c->args, "next") && !*l[a->help_cur].keys;
            if (needs) {
                strcat(line, " ");
                ui_prompt_open(st, ':', line);
            } else {
                ui_run_line(st, line);
            }
        }
        return;
    default:
        a->help_cur = a->help_scroll = 0;
        ui_prompt_key(st, key);
        if (a->mode == UI_MODE_NORMAL && key == UI_K_BACKSPACE) a->mode = UI_MODE_HELP;
    }
}

void ui_help_draw(const struct ui_state *st, struct cell_buf *b)
{
    static struct help_line l[MAX_LINES];
    struct ui_app *a = st->app;
    int n = collect(st, l), cur = a->help_cur < n ? a->help_cur : n - 1;
    if (cur >= 0 && l[cur].heading) cur = step(l, n, cur, 1);
    int w = b->w - 4 < 92 ? b->w - 4 : 92, h = b->h - 4 < n + 4 ? b->h - 4 : n + 4;
    if (h < 8) h = b->h - 2 < 8 ? b->h - 2 : 8;
    struct ui_rect box = { (b->w - w) / 2, 2, w, h };
    char title[160];
    snprintf(title, sizeof title, "Help: %s   type to filter   Enter runs   Esc closes",
             ui_view_of(st->at.screen)->tab);
    cells_fill(b, box, U' ', ui_style(&st->look, UI_TEXT));
    struct ui_rect r =
        cells_box(b, box, title, true, ui_style(&st->look, UI_LINE_FOCUS), ui_style(&st->look, UI_TITLE));
    struct ui_style in = ui_style(&st->look, UI_INPUT);
    cells_fill(b, (struct ui_rect){ r.x, r.y, r.w, 1 }, U' ', in);
    cells_put(b, r.x, r.y, '/', in);
    cells_fit(b, r.x + 1, r.y, r.w - 2, a->input.text, in);
    int rows = r.h - 2;
    if (cur < a->help_scroll) a->help_scroll = cur > 0 ? cur - 1 : 0;
    if (cur >= a->help_scroll + rows) a->help_scroll = cur - rows + 1;
    for (int i = 0; i < rows && a->help_scroll + i < n; i++) {
        const struct help_line *x = &l[a->help_scroll + i];
        int y = r.y + 1 + i;
        bool on = a->help_scroll + i == cur;
        if (x->heading) {
            cells_text(b, r.x + 1, y, r.w - 2, ui_group_name[x->group], ui_style(&st->look, UI_STRONG));
            continue;
        }
        struct ui_style t = ui_style(&st->look, on ? UI_CURSOR : UI_TEXT),
                        k = ui_style(&st->look, on ? UI_CURSOR : UI_KEYCAP),
                        d = ui_style(&st->look, on ? UI_CURSOR : UI_DIM);
        if (on) cells_fill(b, (struct ui_rect){ r.x, y, r.w, 1 }, U' ', t);
        int kw = r.w > 60 ? 18 : 10, cw = r.w > 60 ? 22 : 0;
        cells_fit(b, r.x + 3, y, kw - 1, x->keys, k);
        int line = cw ? cells_text_width(x->line, strlen(x->line)) : 0; /* the words take what it leaves */
        if (line > cw) line = cw;
        cells_fit(b, r.x + 3 + kw, y, r.w - kw - line - 6, x->text, t);
        if (cw) cells_right(b, r.x + r.w - 1, y, cw, x->line, d);
    }
    if (!n) cells_text(b, r.x + 3, r.y + 2, r.w - 4, "nothing matches", ui_style(&st->look, UI_DIM));
    cells_text(b, r.x + 1, r.y + r.h - 1, r.w - 2,
               "Keys are your current bindings. With Shift the mouse is the terminal's.",
               ui_style(&st->look, UI_DIM));
}
