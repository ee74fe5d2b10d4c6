/* What Heads, Map, Compare, Text and Pages share: requests, layout, states of a pane, search, drill-down. */
#ifndef UI_VIEWS_H
#define UI_VIEWS_H

#include "app.h"
#include "heat_draw.h"
#include "vdata.h"

/* ---- requests: results of vdata.h through ui_request ---- */
const struct ui_heads *uv_heads(const struct ui_state *st, int lane, enum ui_req_state *rs);
const struct ui_row *uv_row(const struct ui_state *st, int lane, int layer, int head, int row,
                            enum ui_req_state *rs);
const struct ui_tile *uv_tile(const struct ui_state *st, const struct sac_tile *want, bool low,
                              enum ui_req_state *rs);
const struct ui_text *uv_text(const struct ui_state *st, int lane, enum ui_req_state *rs);
const struct ui_strips *uv_strips(const struct ui_state *st, int lane, int row, int bins,
                                  enum ui_req_state *rs);
const struct ui_pages *uv_pages(const struct ui_state *st, int lane, int step, bool all,
                                enum ui_req_state *rs);
const struct ui_page_steps *uv_page_steps(const struct ui_state *st, int lane, int layer, int kv, int page,
                                          int size, int step, enum ui_req_state *rs);
const struct ui_along *uv_along(const struct ui_state *st, int lane, int layer, int head, int q0, int q1,
                                int n, enum ui_req_state *rs);

const struct ui_key_why *uv_why(const struct ui_state *st, int lane, int layer, int head, int row, int key,
                                enum ui_req_state *rs);

/* Go to where the answer is looked up, once a run has finished and nobody has moved yet. */
void uv_first_look(struct ui_state *st);

/* ---- why a key is read or not ---- */
void uv_draw_why(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, const struct ui_row *row);
/* The same in labelled lines; returns the characters written. */
int uv_why_lines(const struct ui_state *st, const struct ui_row *row, char *buf, size_t cap);

/* ---- states of a pane ---- */
/* Draws the notice for a trace or a lane that has nothing to show (no run, queued, running, failed, stopped);
 * true when it did. layer: the layer needed, -1 any. */
bool uv_notice(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int lane, int layer,
               enum ui_req_state rs);
/* "quest: prefill layer 4 of 10" and the like; "" when the lane is done. */
void uv_lane_state(const struct ui_state *st, int lane, char *buf, size_t cap);
/* "niah#3 N=1200 step 17/64": the start of every context line. */
int uv_what(const struct ui_state *st, char *buf, size_t cap, int w);
/* "61 keys", "1.9 keys", "1/8 key": what one pixel covers. */
const char *uv_covers(double n, const char *one, const char *many, char *buf, size_t cap);
struct ui_style uv_style(const struct ui_state *st, enum ui_role role);
/* printf at a place, clipped to w columns; returns the columns used. */
int uv_at(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, enum ui_role role,
          const char *fmt, ...) __attribute__((format(printf, 7, 8)));
/* A label in dim and a value beside it. */
void uv_pair(const struct ui_state *st, struct cell_buf *b, int x, int y, int w, const char *label,
             const char *value);

/* ---- layout ---- */
/* Side column of a screen of width w: 36 from 100 columns, 24 from 80, none below; a second from 160. */
struct uv_cols { struct ui_rect main, side, side2, foot; };
struct uv_cols uv_layout(struct ui_rect r, int side_wide, int side_small, int foot_lines);

/* ---- the map window ---- */
int uv_n(const struct ui_state *st, int lane);                    /* rows and keys of the map */
struct ui_window uv_window(const struct ui_state *st, enum ui_screen s, int lane);
void uv_zoom(struct ui_state *st, enum ui_screen s, int lane, double factor);
bool uv_map_move(struct ui_state *st, enum ui_screen s, int lane, struct ui_rect pix, enum ui_move m, int n);
/* Keep row, key and window inside the trace and the cursor inside the window. */
void uv_settle(struct ui_state *st, enum ui_screen s, int lane);
void uv_set_row(struct ui_state *st, int row);                    /* row, and step with it */

/* A tile as a picture in a static buffer, good until the next call with the same slot (0 or 1). */
struct uv_map {
    int slot;
    struct ui_window win;
    int w, h;                          /* pixels */
    bool approx, have, exact_pending, sparse;
    const float *value, *kept, *missed;
    float *t;                          /* scaled */
    struct ui_heat heat;
    double pairs;
};
struct uv_map uv_map_get(const struct ui_state *st, int slot, int lane, const struct ui_window *win, int w,
                         int h, enum ui_req_state *rs);
/* Scale the values again with a range shared between panes. */
void uv_map_rescale(struct uv_map *m, struct ui_heat heat);
/* Draw it with cursor, selection and overlay of the state. */
void uv_map_draw(const struct ui_state *st, struct cell_buf *b, int x, int y, int lane,
                 const struct uv_map *m);
/* A small picture of a whole head: from the overview of the run where there is one, else computed as a tile.
 * t gets w x h values on the log scale, of the range of `as` or (NULL) one that all of them share. False: not
 * there yet. */
bool uv_thumb(const struct ui_state *st, int lane, int layer, int head, bool sparse, int w, int h,
              const struct ui_heat *as, float *t);
/* The small picture of the whole map with the window marked. */
void uv_minimap(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, int lane,
                const struct ui_window *win, const struct ui_heat *as);

/* ---- search and events, shared by Map, Compare, Text and Pages ---- */
bool uv_find(struct ui_state *st, const char *text, int dir, bool keys);
/* Tokens where the text searched for last begins, ascending; 0 when nothing was searched for. */
int uv_hits(const struct ui_state *st, int lane, int *pos, int cap);
bool uv_event(struct ui_state *st, int by, bool keys);
/* f, *, #, -, or ' ' for a key of a row, and its role. */
char uv_key_mark(const struct ui_row *r, int key, enum ui_role *role);
/* What a method does with a key, in words: "read (f forced)", "read (* chosen)", "- MISSED" when an oracle of
 * the same size would read it, "not read" otherwise. rank: of its weight. */
const char *uv_key_word(const struct ui_row *r, int key, int rank, enum ui_role *role);
/* Number of the gold item (1, 2 ...) that holds a position, 0: none. */
int uv_gold(const struct ui_state *st, int pos);
/* The answers of A and B, a line each, right or wrong, with ^ where they part; names: lanes by name, else by
 * letter. */
void uv_answers(const struct ui_state *st, struct cell_buf *b, struct ui_rect r, bool names);
/* Token text for a table cell, quoted. */
void uv_quote(const struct ui_state *st, int lane, int pos, char *buf, size_t cap);
#endif
