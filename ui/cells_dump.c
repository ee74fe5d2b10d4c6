/* Cells as text: for snapshots, plain terminals and golden tests. */
#include "cells.h"

#include <string.h>

static void put_glyph(FILE *f, char32_t ch)
{
    char32_t g[5];
    int n = cell_glyph(ch, g);
    for (int i = 0; i < n; i++) {
        char utf[4];
        fwrite(utf, 1, (size_t)cell_encode(g[i], utf), f);
    }
}

void cells_dump_text(const struct cell_buf *b, FILE *f)
{
    for (int y = 0; y < b->h; y++) {
        const struct cell *row = b->cell + y * b->w;
        int n = b->w;
        while (n > 0 && row[n - 1].ch == U' ') n--;
        for (int x = 0; x < n; x++)
            if (row[x].ch) put_glyph(f, row[x].ch);
        fputc('\n', f);
    }
}

static void put_colour(FILE *f, uint32_t c, bool bg)
{
    if (c == CELL_DEFAULT) fprintf(f, ";%d", bg ? 49 : 39);
    else if (CELL_IS_INDEX(c)) fprintf(f, ";%d;5;%u", bg ? 48 : 38, c & 0xff);
    else fprintf(f, ";%d;2;%u;%u;%u", bg ? 48 : 38, c >> 16 & 0xff, c >> 8 & 0xff, c & 0xff);
}

void cells_dump_ansi(const struct cell_buf *b, FILE *f)
{
    static const struct { int attr, sgr; } attrs[] = { { CELL_BOLD, 1 }, { CELL_DIM, 2 }, { CELL_ITALIC, 3 },
                                                       { CELL_UNDERLINE, 4 }, { CELL_REVERSE, 7 } };
    for (int y = 0; y < b->h; y++) {
        const struct cell *row = b->cell + y * b->w, *last = NULL;
        for (int x = 0; x < b->w; x++) {
            const struct cell *c = row + x;
            if (!c->ch) continue;
            if (!last || last->fg != c->fg || last->bg != c->bg || last->attr != c->attr) {
                fputs("\033[0", f);
                for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++)
                    if (c->attr & attrs[i].attr) fprintf(f, ";%d", attrs[i].sgr);
                if (c->fg != CELL_DEFAULT) put_colour(f, c->fg, false);
                if (c->bg != CELL_DEFAULT) put_colour(f, c->bg, true);
                fputc('m', f);
            }
            put_glyph(f, c->ch);
            last = c;
        }
        fputs("\033[0m\n", f);
    }
}

void cells_dump_styles(const struct cell_buf *b, FILE *f)
{
    enum { MAX = 62 };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    struct ui_style seen[MAX];
    int n = 0;
    for (int y = 0; y < b->h; y++) {
        char line[4097];
        int end = 0;
        for (int x = 0; x < b->w; x++) {
            const struct cell *c = b->cell + y * b->w + x;
            if (c->fg == CELL_DEFAULT && c->bg == CELL_DEFAULT && !c->attr) {
                line[x] = ' ';
                continue;
            }
            int i = 0;
            while (i < n && (seen[i].fg != c->fg || seen[i].bg != c->bg || seen[i].attr != c->attr)) i++;
            if (i == n && n < MAX) seen[n++] = (struct ui_style){ c->fg, c->bg, c->attr };
            line[x] = i < n ? letters[i] : '*';
            end = x + 1;
        }
        fwrite(line, 1, (size_t)end, f);
        fputc('\n', f);
    }
    for (int i = 0; i < n; i++)
        fprintf(f, "%c fg %08x bg %08x attr %d\n", letters[i], seen[i].fg, seen[i].bg, seen[i].attr);
}
