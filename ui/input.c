/* The ':' and '/' prompts: a line with a cursor, completion and history. */
#include "base.h"
#include "keys.h"

#include <stdlib.h>
#include <string.h>

void ui_prompt_open(struct ui_state *st, char kind, const char *text)
{
    struct ui_app *a = st->app;
    a->mode = UI_MODE_PROMPT;
    a->prompt_kind = kind;
    snprintf(a->input.text, sizeof a->input.text, "%s", text);
    a->input.len = a->input.at = (int)strlen(a->input.text);
    a->complete_at = -1;
    a->history_at = a->n_history;
    a->dirty = true;
}

static void insert(struct ui_input *in, const char *s, int n)
{
    if (in->len + n >= UI_INPUT_MAX) return;
    memmove(in->text + in->at + n, in->text + in->at, (size_t)(in->len - in->at + 1));
    memcpy(in->text + in->at, s, (size_t)n);
    in->len += n;
    in->at += n;
}

static int prev_char(const struct ui_input *in)
{
    int i = in->at;
    if (i > 0) i--;
    while (i > 0 && (in->text[i] & 0xc0) == 0x80) i--;
    return i;
}

static int next_char(const struct ui_input *in)
{
    int i = in->at;
    if (i < in->len) i++;
    while (i < in->len && (in->text[i] & 0xc0) == 0x80) i++;
    return i;
}

static void erase(struct ui_input *in, int lo, int hi)
{
    memmove(in->text + lo, in->text + hi, (size_t)(in->len - hi + 1));
    in->len -= hi - lo;
    in->at = lo;
}

static void set_text(struct ui_input *in, const char *s)
{
    snprintf(in->text, sizeof in->text, "%s", s);
    in->len = in->at = (int)strlen(in->text);
}

static void history_add(struct ui_app *a, const char *line)
{
    if (!*line || (a->n_history && !strcmp(a->history[a->n_history - 1], line))) return;
    char *copy = strdup(line);
    if (!copy) return;
    if (a->n_history == UI_HISTORY) {
        free(a->history[0]);
        memmove(a->history, a->history + 1, (UI_HISTORY - 1) * sizeof *a->history);
        a->n_history--;
    }
    a->history[a->n_history++] = copy;
}

void ui_history_load(struct ui_state *st, FILE *f)
{
    char line[UI_INPUT_MAX];
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        history_add(st->app, line);
    }
}

static void history_save(struct ui_state *st)
{
    char path[600];
    if (st->app->headless || !ui_xdg("STATE", "history", true, path, sizeof path)) return;
    FILE *f = fopen(path, "w");
    for (int i = 0; f && i < st->app->n_history; i++) fprintf(f, "%s\n", st->app->history[i]);
    if (f) fclose(f);
}

static void accept(struct ui_state *st)
{
    struct ui_app *a = st->app;
    char line[UI_INPUT_MAX + 8];
    a->mode = UI_MODE_NORMAL;
    if (a->prompt_kind == '/') snprintf(line, sizeof line, "find %s", a->input.text);
    else snprintf(line, sizeof line, "%s", a->input.text);
    if (!*a->input.text) return;
    if (a->prompt_kind == ':') {
        history_add(a, line);
        history_save(st);
    }
    ui_run_line(st, line);
}

/* Tab goes round all that continues what was typed. */
static void complete(struct ui_state *st, int by)
{
    struct ui_app *a = st->app;
    char out[UI_INPUT_MAX];
    if (a->prompt_kind != ':') return;
    if (a->complete_at < 0) {
        snprintf(a->complete_from, sizeof a->complete_from, "%s", a->input.text);
        a->complete_at = by > 0 ? 0 : -1;
    } else {
        a->complete_at += by;
    }
    int n = 0;
    while (ui_complete(a->complete_from, st->at.screen, n, out, sizeof out)) n++;
    if (!n) {
        a->complete_at = -1;
        return;
    }
    a->complete_at = (a->complete_at % n + n) % n;
    ui_complete(a->complete_from, st->at.screen, a->complete_at, out, sizeof out);
    set_text(&a->input, out);
    const struct ui_cmd *c = ui_cmd_find(out, st->at.screen);
    if (n == 1 && c && *c->args) insert(&a->input, " ", 1);
    if (n == 1) a->complete_at = -1;
}

static void from_history(struct ui_app *a, int by)
{
    int i = a->history_at + by;
    if (i < 0 || i > a->n_history) return;
    a->history_at = i;
    set_text(&a->input, i < a->n_history ? a->history[i] : "");
}

void ui_prompt_key(struct ui_state *st, int key)
{
    struct ui_app *a = st->app;
    struct ui_input *in = &a->input;
    a->dirty = true;
    if (key != UI_K_TAB && key != UI_K_BACKTAB) a->complete_at = -1;
    switch (key) {
    case UI_K_ESC: case 3: case 7: a->mode = UI_MODE_NORMAL; break;
    case UI_K_ENTER: accept(st); break;
    case UI_K_TAB: complete(st, 1); break;
    case UI_K_BACKTAB: complete(st, -1); break;
    case UI_K_UP: case 16: from_history(a, -1); break;
    case UI_K_DOWN: case 14: from_history(a, 1); break;
    case UI_K_LEFT: case 2: in->at = prev_char(in); break;
    case UI_K_RIGHT: case 6: in->at = next_char(in); break;
    case UI_K_HOME: case 1: in->at = 0; break;
    case UI_K_END: case 5: in->at = in->len; break;
    case UI_K_BACKSPACE:
        if (!in->len) a->mode = UI_MODE_NORMAL;
        else erase(in, prev_char(in), in->at);
        break;
    case UI_K_DEL: case 4: {
        int at = in->at;
        erase(in, at, next_char(in));
        break;
    }
    case 11: erase(in, in->at, in->len); break;
    case 21: erase(in, 0, in->at); break;
    case 23: {
        int hi = in->at, lo = hi;
        while (lo > 0 && in->text[lo - 1] == ' ') lo--;
        while (lo > 0 && in->text[lo - 1] != ' ') lo--;
        erase(in, lo, hi);
        break;
    }
    default:
        if (key >= 32 && key < UI_KEY_SPECIAL) {
            char utf[4];
            insert(in, utf, cell_encode((char32_t)key, utf));
        }
    }
}

void ui_prompt_paste(struct ui_state *st, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        char32_t ch;
        int n = cell_decode(text + i, len - i, &ch);
        if (ch >= 32 && ch != 127) insert(&st->app->input, text + i, n);
        else insert(&st->app->input, " ", 1);
        i += (size_t)n;
    }
    st->app->dirty = true;
}

/* The prompt takes the last line; completions stand in a box above it. */
void ui_prompt_draw(const struct ui_state *st, struct cell_buf *b, int *cx, int *cy)
{
    const struct ui_app *a = st->app;
    const struct ui_input *in = &a->input;
    struct ui_style s = ui_style(&st->look, UI_INPUT);
    int y = b->h - 1, w = b->w, before = cells_text_width(in->text, (size_t)in->at), skip = 0;
    cells_fill(b, (struct ui_rect){ 0, y, w, 1 }, U' ', s);
    struct ui_style k = ui_style(&st->look, UI_KEYCAP);
    k.bg = s.bg;
    cells_put(b, 0, y, (char32_t)a->prompt_kind, k);
    const char *from = in->text;
    while (before - skip > w - 3 && *from) {      /* keep the cursor in sight */
        char32_t ch;
        int n = cell_decode(from, strlen(from), &ch), cw = cell_width(ch);
        from += n;
        skip += cw < 0 ? 1 : cw;
    }
    cells_text(b, 1, y, w - 1, from, s);
    *cx = 1 + before - skip;
    *cy = y;
    if (a->prompt_kind != ':') return;

    const char *prefix = a->complete_at >= 0 ? a->complete_from : in->text;
    char out[UI_INPUT_MAX];
    int n = 0, rows = b->h - 5 < 12 ? b->h - 5 : 12, first = 0;
    while (n < 200 && ui_complete(prefix, st->at.screen, n, out, sizeof out)) n++;
    if (!n || rows < 1) return;
    if (a->complete_at >= rows) first = a->complete_at - rows + 1;
    int shown = n - first < rows ? n - first : rows, bw = w < 76 ? w : 76;
    struct ui_rect box = { 0, y - shown - 2, bw, shown + 2 };
    cells_fill(b, box, U' ', ui_style(&st->look, UI_TEXT));
    struct ui_rect r = cells_box(b, box, "Command   Tab complete   Up history   Enter run   Esc close", true,
                                 ui_style(&st->look, UI_LINE_FOCUS), ui_style(&st->look, UI_TITLE));
    for (int i = 0; i < shown; i++) {
        ui_complete(prefix, st->at.screen, first + i, out, sizeof out);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(out, " "), out);
        const struct ui_cmd *c = ui_cmd_find(name, st->at.screen);
        bool on = first + i == a->complete_at;
        struct ui_style ls = ui_style(&st->look, on ? UI_CURSOR : UI_TEXT),
                        ds = ui_style(&st->look, on ? UI_CURSOR : UI_DIM);
        if (on) cells_fill(b, (struct ui_rect){ r.x, r.y + i, r.w, 1 }, U' ', ls);
        int used = cells_fit(b, r.x + 1, r.y + i, 24, out, ls);
        if (c && !strchr(out, ' ')) used += 1 + cells_fit(b, r.x + 2 + used, r.y + i, 20, c->args, ds);
        int hx = r.x + (used + 3 > 30 ? used + 3 : 30);
        if (c) cells_fit(b, hx, r.y + i, r.x + r.w - hx - 1, c->help, ds);
    }
}
