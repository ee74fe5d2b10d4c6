/* The screens in the order of their keys. */
#include "view.h"

const struct ui_view *ui_view_of(enum ui_screen s)
{
    static const struct ui_view *const views[UI_N_SCREENS] = {
        &ui_view_run,  &ui_view_heads, &ui_view_map,   &ui_view_compare,
        &ui_view_text, &ui_view_pages, &ui_view_tasks,
    };
    return views[s];
}
