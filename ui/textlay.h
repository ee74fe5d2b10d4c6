/* Layout of long prompts: which tokens are folded away and how the rest breaks into lines.
 *
 * Works on token widths and flags only; characters and colours are the Text screen's. */
#ifndef UI_TEXTLAY_H
#define UI_TEXTLAY_H

#include <stdbool.h>
#include <stddef.h>

struct ui_tok {
    unsigned char cols;      /* columns of its display text */
    bool newline;            /* the line ends after it */
    bool word;               /* a word starts here: a good place to break before */
    bool keep;               /* never folded: gold, generated, the query, a search hit */
};

/* Mark tokens nobody reads: folded[i] where no token within `margin` of i has lift >= threshold or is kept,
 * in stretches of at least `shortest`. threshold <= 0: nothing is folded. Returns how many are folded. */
int ui_text_fold(const struct ui_tok *tok, const float *lift, int n, double threshold, int margin,
                 int shortest, unsigned char *folded);

enum ui_line_kind { UI_LINE_TEXT, UI_LINE_FOLD, UI_LINE_RULE };
struct ui_text_line {
    enum ui_line_kind kind;
    int lo, hi;              /* tokens */
    int notable;             /* UI_LINE_FOLD: hidden tokens whose lift reaches `notable` */
};
struct ui_text_lines { struct ui_text_line *line; int n, cap; };
void ui_text_lines_free(struct ui_text_lines *l);

/* Break n tokens into lines of `width` columns. rule_at: a rule (UI_LINE_RULE) is put before this token, -1
 * none. A token wider than the line stands alone and is clipped when drawn. wrap false: break at newlines
 * only. False when out of memory. */
bool ui_text_layout(const struct ui_tok *tok, const float *lift, int n, const unsigned char *folded,
                    int width, bool wrap, int rule_at, double notable, struct ui_text_lines *out);
/* The line that shows token i. */
int ui_text_line_of(const struct ui_text_lines *l, int i);
#endif
