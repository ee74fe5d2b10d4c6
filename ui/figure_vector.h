/* The recipe in SVG and PDF files: in after drawing, out when a figure is opened. Only the canvas and the
 * reader of recipes use this. */
#ifndef UI_FIGURE_VECTOR_H
#define UI_FIGURE_VECTOR_H

#include "figure.h"

#define VECTOR_PDF_MARK "%saccade "

/* What Cairo drew, with the recipe inside; a new block in *out, drawn stays the caller's. SAC_ENOMEM. */
enum sac_code vector_svg(const struct figure_bytes *drawn, const struct figure_meta *m,
                         struct figure_bytes *out, struct sac_err *err);
enum sac_code vector_pdf(const struct figure_bytes *drawn, const struct figure_meta *m,
                         struct figure_bytes *out, struct sac_err *err);

/* The recipe's element from a PDF's bytes, malloc'ed; "" when there is none, NULL without memory. */
char *vector_pdf_recipe(const char *data, size_t n);
/* The text of <tag> in a recipe's element, malloc'ed; NULL when absent. */
char *vector_part(const char *xml, const char *tag);
#endif
