/* Parts of the Run screen that are drawn apart. */
#ifndef UI_VIEW_RUN_H
#define UI_VIEW_RUN_H

#include "app.h"

void ui_run_draw_methods(const struct ui_state *st, struct cell_buf *b, struct ui_rect box, int pane);
void ui_run_draw_progress(const struct ui_state *st, struct cell_buf *b, struct ui_rect box);
/* The first lane that answers worse than dense, interventions left out; -1: none. */
int ui_run_worse(const struct ui_state *st);
#endif
