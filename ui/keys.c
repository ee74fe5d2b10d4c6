/* Names of keys, and the live table of bindings: defaults of the base and of the views, changed by key files.
 */
#include "keys.h"
#include "base.h"
#include "cells.h"
#include "view.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct { const char *name; int key; } names[] = {
    { "Up", UI_K_UP }, { "Down", UI_K_DOWN }, { "Left", UI_K_LEFT }, { "Right", UI_K_RIGHT },
    { "Shift-Up", UI_K_S_UP }, { "Shift-Down", UI_K_S_DOWN }, { "Shift-Left", UI_K_S_LEFT },
    { "Shift-Right", UI_K_S_RIGHT }, { "Ctrl-Up", UI_K_C_UP }, { "Ctrl-Down", UI_K_C_DOWN },
    { "Ctrl-Left", UI_K_C_LEFT }, { "Ctrl-Right", UI_K_C_RIGHT }, { "Home", UI_K_HOME }, { "End", UI_K_END },
    { "PgUp", UI_K_PGUP }, { "PgDn", UI_K_PGDN }, { "Insert", UI_K_INS }, { "Delete", UI_K_DEL },
    { "Shift-Tab", UI_K_BACKTAB }, { "Tab", UI_K_TAB }, { "Enter", UI_K_ENTER }, { "Esc", UI_K_ESC },
    { "Backspace", UI_K_BACKSPACE }, { "Space", ' ' },
};
enum { N_NAMES = sizeof names / sizeof *names };

void ui_key_name(int key, char *buf, size_t cap)
{
    if (key & UI_KEY_ALT) {
        char rest[32];
        ui_key_name(key & ~UI_KEY_ALT, rest, sizeof rest);
        snprintf(buf, cap, "Alt-%s", rest);
        return;
    }
    for (int i = 0; i < N_NAMES; i++)
        if (names[i].key == key) {
            snprintf(buf, cap, "%s", names[i].name);
            return;
        }
    if (key >= UI_K_F1 && key <= UI_K_F12) {
        snprintf(buf, cap, "F%d", key - UI_K_F1 + 1);
    } else if (key > 0 && key < 32) {
        snprintf(buf, cap, "Ctrl-%c", key + '@');
    } else {
        char utf[4] = "";
        int n = key > 0 && key < UI_KEY_SPECIAL ? cell_encode((char32_t)key, utf) : 0;
        snprintf(buf, cap, "%.*s", n, utf);
    }
}

void ui_key_short(int key, char *buf, size_t cap)
{
    if (key > 0 && key < 32 && key != UI_K_TAB && key != UI_K_ENTER && key != UI_K_ESC)
        snprintf(buf, cap, "^%c", key + '@');
    else ui_key_name(key, buf, cap);
}

int ui_key_parse(const char *name)
{
    for (int i = 0; i < N_NAMES; i++)
        if (!strcasecmp(names[i].name, name)) return names[i].key;
    size_t len = strlen(name);
    if (!strncasecmp(name, "Alt-", 4)) {
        int k = ui_key_parse(name + 4);
        return k ? k | UI_KEY_ALT : UI_KEY_NONE;
    }
    if (!strncasecmp(name, "Ctrl-", 5) && len == 6) {
        int c = name[5] & 0x1f;
        if (!strchr("abcdefghijklmnopqrstuvwxyz\\]^_", name[5] | 0x20) && !strchr("\\]^_", name[5]))
            return UI_KEY_NONE;
        return c == 8 || c == 9 || c == 10 || c == 13 || c == 27 ? UI_KEY_NONE : c;
    }
    if ((name[0] == 'F' || name[0] == 'f') && len > 1) {
        char *end;
        long n = strtol(name + 1, &end, 10);
        if (!*end && n >= 1 && n <= 12) return UI_K_F1 + (int)n - 1;
    }
    char32_t ch;
    if (len && (size_t)cell_decode(name, len, &ch) == len && ch >= 0x20 && ch != 0xfffd) return (int)ch;
    return UI_KEY_NONE;
}

/* ---- the live table ---- */

struct bind { unsigned ctx; int key; char line[120]; };
static struct bind *table;
static int n_table, cap_table;

static struct bind *bind_add(unsigned ctx, int key, const char *line)
{
    if (n_table == cap_table) {
        int cap = cap_table ? cap_table * 2 : 256;
        struct bind *t = realloc(table, (size_t)cap * sizeof *t);
        if (!t) return NULL;
        table = t;
        cap_table = cap;
    }
    struct bind *b = &table[n_table++];
    b->ctx = ctx;
    b->key = key;
    snprintf(b->line, sizeof b->line, "%s", line);
    return b;
}

static void add_defaults(const struct ui_bind *b, int n, unsigned mask)
{
    for (int i = 0; i < n; i++) bind_add(b[i].ctx & mask, ui_key_parse(b[i].key), b[i].line);
}

void ui_keys_reset(void)
{
    n_table = 0;
    /* Views first: a key of a screen goes before the same key everywhere. */
    for (int s = 0; s < UI_N_SCREENS; s++) {
        const struct ui_view *v = ui_view_of((enum ui_screen)s);
        add_defaults(v->binds, v->n_binds, UI_CTX_ALL);
    }
    add_defaults(ui_base_binds, ui_n_base_binds, UI_CTX_ALL);
}

static void need_table(void)
{
    if (!table) ui_keys_reset();
}

const char *ui_key_line(enum ui_screen s, int key)
{
    need_table();
    for (int i = 0; i < n_table; i++)
        if (table[i].key == key && table[i].ctx & UI_CTX(s)) return *table[i].line ? table[i].line : NULL;
    return NULL;
}

int ui_key_of(enum ui_screen s, const char *line)
{
    need_table();
    for (int i = 0; i < n_table; i++)
        if (table[i].ctx & UI_CTX(s) && !strcmp(table[i].line, line)) {
            const char *first = ui_key_line(s, table[i].key);    /* not hidden by a nearer binding */
            if (first && !strcmp(first, line)) return table[i].key;
        }
    return UI_KEY_NONE;
}

bool ui_key_at(enum ui_screen s, int i, int *key, const char **line)
{
    need_table();
    for (int j = 0; j < n_table; j++) {
        if (!(table[j].ctx & UI_CTX(s)) || !*table[j].line) continue;
        const char *first = ui_key_line(s, table[j].key);
        if (first != table[j].line) continue;
        if (i-- == 0) return *key = table[j].key, *line = table[j].line, true;
    }
    return false;
}

/* "map K = head +1" in its parts. */
static bool parse(const char *text, unsigned *ctx, int *key, char *line, size_t line_cap, char *err,
                  size_t cap)
{
    char screen[24], name[40];
    int at = 0;
    if (sscanf(text, " %23s %39s = %n", screen, name, &at) < 2 || !at) {
        snprintf(err, cap, "expected SCREEN KEY = COMMAND, as in: map K = head +1");
        return false;
    }
    *ctx = 0;
    if (!strcmp(screen, "all")) *ctx = UI_CTX_ALL;
    for (int s = 0; s < UI_N_SCREENS; s++)
        if (!strcmp(screen, ui_view_of((enum ui_screen)s)->name)) *ctx = UI_CTX(s);
    if (!*ctx) {
        snprintf(err, cap, "%s is not a screen: all, run, heads, map, compare, text, pages or tasks", screen);
        return false;
    }
    *key = ui_key_parse(name);
    if (!*key) {
        snprintf(err, cap, "%s is not the name of a key", name);
        return false;
    }
    snprintf(line, line_cap, "%s", text + at);
    for (size_t n = strlen(line); n && strchr(" \t\r\n", line[n - 1]);) line[--n] = 0;
    if (!strcmp(line, "none")) return *line = 0, true;
    char word[48] = "";
    sscanf(line, "%47s", word);
    for (int s = 0; s < UI_N_SCREENS; s++)
        if (*ctx & UI_CTX(s) && ui_cmd_find(word, (enum ui_screen)s)) return true;
    snprintf(err, cap, "%s is not a command of that screen", *word ? word : "(nothing)");
    return false;
}

static void bind_front(unsigned ctx, int key, const char *line)
{
    if (!bind_add(ctx, key, line)) return;
    struct bind b = table[n_table - 1];
    memmove(table + 1, table, (size_t)(n_table - 1) * sizeof *table);
    table[0] = b;
}

bool ui_keys_bind(const char *text, char *err, size_t cap)
{
    unsigned ctx;
    int key;
    char line[120];
    need_table();
    if (!parse(text, &ctx, &key, line, sizeof line, err, cap)) return false;
    bind_front(ctx, key, line);
    return true;
}

void ui_keys_load(FILE *f, const char *name, void (*report)(void *ctx, const char *msg), void *rctx)
{
    char text[256], err[200], msg[512];
    struct { unsigned ctx; int key; } seen[256];
    int n_seen = 0;
    need_table();
    for (int no = 1; fgets(text, sizeof text, f); no++) {
        char *p = text + strspn(text, " \t");
        if (*p == '#' || *p == '\n' || !*p) continue;
        unsigned ctx = 0;
        int key = 0;
        char line[120];
        bool ok = parse(p, &ctx, &key, line, sizeof line, err, sizeof err);
        for (int i = 0; ok && i < n_seen; i++)
            if (seen[i].key == key && seen[i].ctx == ctx) {
                char kn[40];
                ui_key_name(key, kn, sizeof kn);
                snprintf(err, sizeof err, "%s is already bound in this file on that screen", kn);
                ok = false;
            }
        if (!ok) {
            snprintf(msg, sizeof msg, "%s: line %d: %s", name, no, err);
            report(rctx, msg);
            continue;
        }
        if (n_seen < 256) seen[n_seen].ctx = ctx, seen[n_seen++].key = key;
        bind_front(ctx, key, line);
    }
}
