/* Rows of a terminal screen whose letters run from right to left, join or combine: put into the order in
 * which they are read and set as words, each in the columns it has. Only figure_screen.c uses this. */
#ifndef UI_FIGURE_CELLS_H
#define UI_FIGURE_CELLS_H

#include "figure_canvas.h"

/* Letters that are drawn together over `cols` columns from (x, y) on: characters lo .. hi-1 of a piece. */
struct cell_unit {
    int set, x, y, cols, lo, hi;
    struct text_piece piece;
    bool joins;
};
struct cell_words {
    int *from; /* [h][w] which cell of the row stands there; -1 - cell: a unit has its letters */
    struct text_set *set;
    int n_sets, cap_sets;
    struct cell_unit *unit;
    int n_units, cap_units;
};

/* False when out of memory; w is then empty. */
bool cell_words(struct cell_words *w, const struct figure_screen *p);
void cell_words_free(struct cell_words *w);
/* Columns of the cell at x of a row of w. */
int cell_cols(const struct figure_cell *row, int x, int w);
/* Draw a unit with its baseline at y. */
void cell_unit_draw(struct canvas *c, const struct cell_words *w, const struct cell_unit *u, double x,
                    double y, double size, double width, uint32_t rgb);
#endif
