/* Folding and line breaking of token sequences; see textlay.h. */
#include "textlay.h"

#include <stdlib.h>
#include <string.h>

int ui_text_fold(const struct ui_tok *tok, const float *lift, int n, double threshold, int margin,
                 int shortest, unsigned char *folded)
{
    if (n <= 0) return 0;
    memset(folded, 0, (size_t)n);
    if (threshold <= 0) return 0;
    int total = 0, shown_to = 0;      /* tokens below shown_to stay because of a notable one before them */
    for (int i = 0, start = 0; i <= n; i++) {
        bool notable = i < n && (tok[i].keep || (lift && (double)lift[i] >= threshold));
        if (!notable && i < n) continue;
        /* The quiet stretch before i, without the margins around its two ends. */
        int lo = start > shown_to ? start : shown_to, hi = i == n ? n : i - margin;
        if (hi - lo >= shortest) {
            memset(folded + lo, 1, (size_t)(hi - lo));
            total += hi - lo;
        }
        start = i + 1;
        shown_to = i + 1 + margin;
    }
    return total;
}

void ui_text_lines_free(struct ui_text_lines *l)
{
    free(l->line);
    *l = (struct ui_text_lines){ 0 };
}

static bool push(struct ui_text_lines *l, enum ui_line_kind kind, int lo, int hi, int notable)
{
    if (l->n == l->cap) {
        int cap = l->cap ? 2 * l->cap : 64;
        struct ui_text_line *p = realloc(l->line, (size_t)cap * sizeof *p);
        if (!p) return false;
        l->line = p;
        l->cap = cap;
    }
    l->line[l->n++] = (struct ui_text_line){ kind, lo, hi, notable };
    return true;
}

/* The end of the line that starts at token i. */
static int line_end(const struct ui_tok *tok, int n, const unsigned char *folded, int i, int width, bool wrap,
                    int rule_at)
{
    int cols = 0, word = -1, j = i;
    for (; j < n; j++) {
        if (j > i && ((folded && folded[j]) || j == rule_at)) return j;
        if (wrap && j > i && cols + tok[j].cols > width)
            return word > i && !tok[j].word ? word : j;
        if (tok[j].word && j > i) word = j;
        cols += tok[j].cols;
        if (tok[j].newline) return j + 1;
    }
    return j;
}

bool ui_text_layout(const struct ui_tok *tok, const float *lift, int n, const unsigned char *folded,
                    int width, bool wrap, int rule_at, double notable, struct ui_text_lines *out)
{
    out->n = 0;
    if (width < 1) width = 1;
    for (int i = 0; i < n;) {
        if (i == rule_at && !push(out, UI_LINE_RULE, i, i, 0)) return false;
        int j = i, hidden = 0;
        if (folded && folded[i]) {
            for (; j < n && folded[j] && (j == i || j != rule_at); j++)
                hidden += lift && (double)lift[j] >= notable;
            if (!push(out, UI_LINE_FOLD, i, j, hidden)) return false;
        } else {
            j = line_end(tok, n, folded, i, width, wrap, rule_at);
            if (!push(out, UI_LINE_TEXT, i, j, 0)) return false;
        }
        i = j;
    }
    return true;
}

int ui_text_line_of(const struct ui_text_lines *l, int i)
{
    int lo = 0, hi = l->n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (l->line[mid].hi <= i) lo = mid + 1; else hi = mid;
    }
    return lo < l->n ? lo : l->n - 1;
}
