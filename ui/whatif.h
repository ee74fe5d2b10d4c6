/* What another budget would read, decided at once from the recorded q and k: no run, no new answer. */
#ifndef UI_WHATIF_H
#define UI_WHATIF_H

#include "app.h"

/* Is another budget of method A being tried on this screen? */
bool ui_whatif_on(const struct ui_state *st);
/* Try method A with its budget multiplied (times) or set to a share of the keys. False with a sentence. */
bool ui_whatif_budget(struct ui_state *st, double f, bool times);
/* Run it as a lane of its own and look at that. */
bool ui_whatif_run(struct ui_state *st);
/* The box over the foot of a view. */
void ui_whatif_draw(const struct ui_state *st, struct cell_buf *b);
/* The same in lines, for --plain. */
void ui_whatif_plain(const struct ui_state *st, char *buf, size_t cap);
#endif
