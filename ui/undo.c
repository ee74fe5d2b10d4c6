/* Undo, the back stack and their limits. What is looked at is one plain struct, so each is an array of
 * copies. */
#include "base.h"

#include <string.h>

void ui_undo_save(struct ui_state *st, const struct ui_where *before)
{
    struct ui_app *a = st->app;
    if (a->at_undo == UI_BACK) {
        memmove(a->undo, a->undo + 1, (UI_BACK - 1) * sizeof *a->undo);
        a->at_undo--;
    }
    a->undo[a->at_undo++] = *before;
    a->n_undo = a->at_undo;
}

/* The entry we leave takes the place of the one we go to, so that redo finds it. */
bool ui_undo_step(struct ui_state *st, int dir)
{
    struct ui_app *a = st->app;
    int i = dir < 0 ? a->at_undo - 1 : a->at_undo;
    if (i < 0 || i >= a->n_undo) return false;
    struct ui_where now = st->at;
    st->at = a->undo[i];
    a->undo[i] = now;
    a->at_undo += dir < 0 ? -1 : 1;
    return true;
}

void ui_go(struct ui_state *st, enum ui_screen s)
{
    struct ui_app *a = st->app;
    if (a->n_back == UI_BACK) {
        memmove(a->back, a->back + 1, (UI_BACK - 1) * sizeof *a->back);
        a->n_back--;
    }
    a->back[a->n_back++] = st->at;
    st->at.screen = s;
}

bool ui_back_step(struct ui_state *st)
{
    struct ui_app *a = st->app;
    if (!a->n_back) return false;
    st->at = a->back[--a->n_back];
    return true;
}
