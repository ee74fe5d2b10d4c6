/* Parts of the Tasks screen that are drawn apart: the answers of a sample, and what became of its evidence.
 */
#ifndef UI_VIEW_TASKS_H
#define UI_VIEW_TASKS_H

#include "tasks.h"

void ui_tasks_draw_answers(const struct ui_state *st, struct cell_buf *b, struct ui_rect box, int pane);
void ui_tasks_draw_why(const struct ui_state *st, struct cell_buf *b, struct ui_rect box, int pane);
/* The item that went wrong, what the method says there, and why: where there is no room for the panes. */
void ui_tasks_draw_brief(const struct ui_state *st, struct cell_buf *b, struct ui_rect r);
/* ".75", "1.00", "" for NAN. */
const char *ui_score_text(double v, char buf[16]);
#endif
