/* From the recipe of a figure to what it was made from, and to the explorer that shows it. */
#ifndef FIGURE_SOURCE_H
#define FIGURE_SOURCE_H

#include "stage.h"

#include <export.h>

/* The model or recording of a recipe: as given, else by its name in this folder or among the bundled ones.
 * False with a sentence when it is not there. */
bool figure_source(const char *given, const struct ui_recipe *r, char *path, size_t cap, struct sac_err *err);
/* The explorer's options for a recipe; path, methods (room for UI_RECIPE_METHODS) and r must outlive o. */
void figure_options(struct ui_app_opts *o, const struct ui_recipe *r, const char *path, const char **methods);
/* A whole screen: shown, or (s->dump) drawn again. Returns an exit code; 5: it shows something else. */
int figure_screen(const char *command, const struct ui_recipe *r, const char *given, const struct stage *s);
#endif
