/* Setting text: direction by FriBidi, fonts by fontconfig, glyphs by HarfBuzz. See figure_text.h.
 *
 * A paragraph is cut into runs of one direction, script, font and style. Each run is shaped in the context of
 * its neighbours, so that letters join across a change of style. Fonts are looked up for whole graphemes: a
 * letter takes its marks along. Fonts are opened once for the program and kept. */
#include "figure_text.h"

#include <fontconfig/fontconfig.h>
#include <fribidi.h>
#include <hb-ot.h>
#include <hb.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#if defined(__SANITIZE_ADDRESS__)
/* fontconfig keeps its patterns behind encoded pointers, which the leak checker cannot follow; ncurses loses
 * one record for each TERM it does not know (new_prescr of a newterm that fails). */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void) { return "print_suppressions=0"; }
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libfontconfig\nleak:new_prescr\n"; }
#endif

/* ---- fonts ---- */

enum { LOW = 0x3000, MAX_FONTS = 1024 };

static pthread_mutex_t font_lock = PTHREAD_MUTEX_INITIALIZER;
static FcFontSet *font_set[TEXT_STYLES]; /* sorted by fitness; made once */
static short low_font[TEXT_STYLES][LOW]; /* 0: not asked, -1: none, else the font plus one */
static hb_font_t *opened[TEXT_STYLES][MAX_FONTS];

static FcPattern *style_pattern(int style)
{
    FcPattern *p = FcPatternCreate();
    if (!p) return NULL;
    bool mono = style & TEXT_MONO;
    FcPatternAddString(p, FC_FAMILY, (const FcChar8 *)(mono ? "DejaVu Sans Mono" : "DejaVu Sans"));
    FcPatternAddString(p, FC_FAMILY, (const FcChar8 *)(mono ? "monospace" : "sans-serif"));
    FcPatternAddInteger(p, FC_WEIGHT, (style & TEXT_BOLD) ? FC_WEIGHT_BOLD : FC_WEIGHT_REGULAR);
    FcPatternAddInteger(p, FC_SLANT, (style & TEXT_ITALIC) ? FC_SLANT_OBLIQUE : FC_SLANT_ROMAN);
    FcPatternAddBool(p, FC_SCALABLE, FcTrue);
    FcConfigSubstitute(NULL, p, FcMatchPattern);
    FcDefaultSubstitute(p);
    return p;
}

/* With font_lock held. */
static FcFontSet *fonts_of(int style)
{
    if (!font_set[style]) {
        FcPattern *p = style_pattern(style);
        FcResult res;
        if (p) font_set[style] = FcFontSort(NULL, p, FcTrue, NULL, &res);
        if (p) FcPatternDestroy(p);
    }
    return font_set[style];
}

/* Fonts of other formats have no tables to shape by. */
static bool usable(const FcPattern *p)
{
    FcChar8 *format;
    return FcPatternGetString(p, FC_FONTFORMAT, 0, &format) == FcResultMatch &&
           (!strcmp((const char *)format, "TrueType") || !strcmp((const char *)format, "CFF"));
}

static bool font_has(const FcPattern *p, char32_t ch)
{
    FcCharSet *cs;
    return FcPatternGetCharSet(p, FC_CHARSET, 0, &cs) == FcResultMatch && FcCharSetHasChar(cs, ch);
}

static bool is_colour(const FcPattern *p)
{
    FcBool colour = FcFalse;
    return FcPatternGetBool(p, FC_COLOR, 0, &colour) == FcResultMatch && colour;
}

/* The first font that has ch and the n characters that go with it; -1: none has. */
static int look_up(int style, char32_t ch, const char32_t *with, int n, bool colour)
{
    FcFontSet *s = fonts_of(style);
    for (int i = 0; s && i < s->nfont && i < MAX_FONTS; i++) {
        const FcPattern *p = s->fonts[i];
        if (!font_has(p, ch) || !usable(p) || (colour && !is_colour(p))) continue;
        int k = 0;
        while (k < n && font_has(p, with[k])) k++;
        if (k == n) return i;
    }
    return -1;
}

static int font_for(int style, char32_t ch)
{
    if (ch >= LOW) return look_up(style, ch, NULL, 0, false);
    short *known = &low_font[style][ch];
    if (!*known) {
        int i = look_up(style, ch, NULL, 0, false);
        *known = (short)(i < 0 ? -1 : i + 1);
    }
    return *known < 0 ? -1 : *known - 1;
}

bool text_has(int style, char32_t c)
{
    pthread_mutex_lock(&font_lock);
    bool has = font_for(style, c) >= 0;
    pthread_mutex_unlock(&font_lock);
    return has;
}

FcPattern *text_pattern(int style, int font)
{
    pthread_mutex_lock(&font_lock);
    FcFontSet *s = fonts_of(style);
    FcPattern *want = s && s->nfont > 0 ? style_pattern(style) : NULL, *full = NULL;
    if (want) full = FcFontRenderPrepare(NULL, want, s->fonts[font >= 0 && font < s->nfont ? font : 0]);
    if (want) FcPatternDestroy(want);
    pthread_mutex_unlock(&font_lock);
    return full;
}

bool text_font_file(int style, int font, char *buf, size_t cap)
{
    FcChar8 *file;
    pthread_mutex_lock(&font_lock);
    FcFontSet *s = fonts_of(style);
    bool ok = s && font >= 0 && font < s->nfont &&
              FcPatternGetString(s->fonts[font], FC_FILE, 0, &file) == FcResultMatch;
    if (ok) snprintf(buf, cap, "%s", (const char *)file);
    pthread_mutex_unlock(&font_lock);
    return ok;
}

/* A variable font has the weight that the pattern chose. */
static void set_variations(hb_font_t *f, const FcPattern *p, int index)
{
    FcChar8 *list;
    hb_variation_t v[16];
    unsigned n = 0;
    if (FcPatternGetString(p, FC_FONT_VARIATIONS, 0, &list) == FcResultMatch)
        for (const char *s = (const char *)list; *s && n < 16; s += *s == ',') {
            size_t len = strcspn(s, ",");
            if (hb_variation_from_string(s, (int)len, &v[n])) n++;
            s += len;
        }
    if (n)
        hb_font_set_variations(f, v, n);
    else if (index >> 16)
        hb_font_set_var_named_instance(f, (unsigned)(index >> 16) - 1);
}

/* With font_lock held; NULL when the file cannot be read. */
static hb_font_t *font_open(int style, int font)
{
    FcFontSet *s = fonts_of(style);
    FcChar8 *file;
    int index = 0;
    if (!s || font < 0 || font >= s->nfont || font >= MAX_FONTS) return NULL;
    if (opened[style][font]) return opened[style][font];
    if (FcPatternGetString(s->fonts[font], FC_FILE, 0, &file) != FcResultMatch) return NULL;
    FcPatternGetInteger(s->fonts[font], FC_INDEX, 0, &index);
    hb_blob_t *blob = hb_blob_create_from_file((const char *)file);
    hb_face_t *face = hb_face_create(blob, (unsigned)index & 0xffff);
    hb_font_t *f = hb_font_create(face);
    set_variations(f, s->fonts[font], index);
    hb_font_make_immutable(f);
    hb_face_destroy(face);
    hb_blob_destroy(blob);
    return opened[style][font] = f;
}

/* ---- characters ---- */

char32_t text_next(const char **s, const char *end)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)*s, end - *s, &c);
    *s += n < 1 ? 1 : n;
    return n < 1 ? 0xfffd : (char32_t)c;
}

int text_put(char *out, char32_t c)
{
    return (int)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

/* Characters that are drawn with what stands before them: joiners, selectors, marks of direction. */
static bool follows(char32_t c)
{
    return c == 0x200b || c == 0x200c || c == 0x200d || c == 0x2060 || c == 0x200e || c == 0x200f ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || (c >= 0xfe00 && c <= 0xfe0f) ||
           (c >= 0xe0020 && c <= 0xe01ef);
}

bool text_may_break(const struct text_set *t, int i)
{
    if (i <= 0 || i >= t->n) return true;
    char32_t two[2] = { t->ch[i - 1], t->ch[i] };
    for (int k = 0; k < 2; k++) {
        char32_t c = two[k];
        if (c == ' ' || c == 0x3000 || (c >= 0x2e80 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7a3) ||
            (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff))
            return true;
    }
    return false;
}

/* ---- a paragraph in the making ---- */

struct work {
    struct text_set *t;
    unsigned char *style; /* of each character */
    short *font;
    hb_script_t *script;
    FriBidiLevel *level;
    int cap; /* of glyphs */
};

static bool put_char(struct text_set *t, unsigned char *styles, int *cap, char32_t c, int at, int style)
{
    if (t->n >= *cap) return false;
    t->ch[t->n] = c;
    t->at[t->n] = at;
    styles[t->n++] = (unsigned char)style;
    return true;
}

/* Characters with their bytes; those that no font has are spelled out. */
static void decode(struct work *w, const char *s, size_t len, const unsigned char *style, int all, int cap)
{
    const char *p = s, *end = s + len;
    while (p < end) {
        int at = (int)(p - s), st = style ? style[at] : all;
        char32_t c = text_next(&p, end);
        if (c < 32) c = ' ';
        if (c == 0xfffd || c < 127 || follows(c) || font_for(st, c) >= 0) {
            put_char(w->t, w->style, &cap, c, at, st);
            continue;
        }
        char spelled[16];
        int n = snprintf(spelled, sizeof spelled, "\\u{%X}", (unsigned)c);
        for (int i = 0; i < n; i++) put_char(w->t, w->style, &cap, (char32_t)spelled[i], at, st);
    }
}

/* One font for a letter and what goes with it. */
static void grapheme_font(struct work *w, int lo, int hi)
{
    const struct text_set *t = w->t;
    char32_t with[16];
    int n = 0, style = w->style[lo];
    bool coloured = false;
    for (int i = lo + 1; i < hi; i++) {
        coloured |= t->ch[i] == 0xfe0f;
        if (n < 16 && !follows(t->ch[i])) with[n++] = t->ch[i];
    }
    int f = coloured ? look_up(style, t->ch[lo], with, n, true) : -1;
    if (f < 0) f = n ? look_up(style, t->ch[lo], with, n, false) : font_for(style, t->ch[lo]);
    bool together = f >= 0;
    if (!together) f = font_for(style, t->ch[lo]);
    for (int i = lo; i < hi; i++) {
        int own = together || follows(t->ch[i]) ? f : font_for(style, t->ch[i]);
        w->font[i] = (short)(own < 0 ? 0 : own);
    }
    if (follows(t->ch[lo]) && lo > 0 && w->style[lo - 1] == style) w->font[lo] = w->font[lo - 1];
}

static void choose_fonts(struct work *w)
{
    const struct text_set *t = w->t;
    utf8proc_int32_t state = 0;
    for (int lo = 0, i = 1; lo < t->n; i++) {
        if (i < t->n && w->style[i] == w->style[lo] &&
            !utf8proc_grapheme_break_stateful((utf8proc_int32_t)t->ch[i - 1], (utf8proc_int32_t)t->ch[i],
                                              &state))
            continue;
        /* A blank takes the font before it, so that it does not cut a run. */
        const FcPattern *last = fonts_of(w->style[lo])->fonts[lo > 0 ? w->font[lo - 1] : 0];
        if (t->ch[lo] == ' ' && lo > 0 && i == lo + 1 && w->style[lo - 1] == w->style[lo] &&
            font_has(last, ' ') && !is_colour(last))
            w->font[lo] = w->font[lo - 1];
        else
            grapheme_font(w, lo, i);
        lo = i;
    }
}

static void choose_scripts(struct work *w)
{
    hb_unicode_funcs_t *u = hb_unicode_funcs_get_default();
    hb_script_t now = HB_SCRIPT_COMMON;
    for (int i = 0; i < w->t->n; i++) {
        hb_script_t s = hb_unicode_script(u, w->t->ch[i]);
        if (s != HB_SCRIPT_COMMON && s != HB_SCRIPT_INHERITED && s != HB_SCRIPT_UNKNOWN) now = s;
        w->script[i] = now;
    }
    for (int i = w->t->n - 1; i >= 0; i--) { /* what stands before the first letter */
        if (w->script[i] == HB_SCRIPT_COMMON)
            w->script[i] = now;
        else
            now = w->script[i];
    }
}

static bool choose_levels(struct work *w, bool auto_base)
{
    struct text_set *t = w->t;
    size_t n = (size_t)t->n;
    FriBidiCharType *type = malloc((n + 1) * sizeof *type);
    FriBidiBracketType *bracket = malloc((n + 1) * sizeof *bracket);
    FriBidiParType base = auto_base ? FRIBIDI_PAR_WLTR : FRIBIDI_PAR_LTR;
    bool ok = type && bracket;
    if (ok) {
        fribidi_get_bidi_types((const FriBidiChar *)t->ch, t->n, type);
        fribidi_get_bracket_types((const FriBidiChar *)t->ch, t->n, type, bracket);
        ok = fribidi_get_par_embedding_levels_ex(type, bracket, t->n, &base, w->level) != 0;
        t->rtl = FRIBIDI_IS_RTL(base);
    }
    free(type);
    free(bracket);
    return ok;
}

/* ---- shaping ---- */

static bool same_run(const struct work *w, int a, int b)
{
    return w->font[a] == w->font[b] && w->style[a] == w->style[b] && w->level[a] == w->level[b] &&
           w->script[a] == w->script[b];
}

/* Letters stay letters where no script asks for more: a token may end between them. In a grid of cells two
 * letters have two cells. */
static unsigned features(hb_script_t script, int style, hb_feature_t *f)
{
    if (style & TEXT_MONO && script == HB_SCRIPT_ARABIC) {
        hb_feature_from_string("liga=0", -1, &f[0]);
        hb_feature_from_string("rlig=0", -1, &f[1]);
        return 2;
    }
    if (script != HB_SCRIPT_LATIN && script != HB_SCRIPT_GREEK && script != HB_SCRIPT_CYRILLIC &&
        script != HB_SCRIPT_COMMON)
        return 0;
    hb_feature_from_string("liga=0", -1, &f[0]);
    hb_feature_from_string("clig=0", -1, &f[1]);
    return 2;
}

static bool keep_glyphs(struct work *w, struct text_run *r, hb_buffer_t *b, double em)
{
    struct text_set *t = w->t;
    unsigned n;
    const hb_glyph_info_t *info = hb_buffer_get_glyph_infos(b, &n);
    const hb_glyph_position_t *pos = hb_buffer_get_glyph_positions(b, NULL);
    if (t->n_glyphs + (int)n > w->cap) {
        int cap = (t->n_glyphs + (int)n) * 2;
        struct text_glyph *g = realloc(t->glyph, (size_t)cap * sizeof *g);
        if (!g) return false;
        t->glyph = g;
        w->cap = cap;
    }
    r->g0 = t->n_glyphs;
    for (unsigned i = 0; i < n; i++)
        t->glyph[t->n_glyphs++] = (struct text_glyph){ info[i].codepoint, (float)(pos[i].x_offset / em),
                                                       (float)(-pos[i].y_offset / em),
                                                       (float)(pos[i].x_advance / em), (int)info[i].cluster };
    r->g1 = t->n_glyphs;
    return true;
}

/* The characters a glyph cluster stands for: up to the next cluster in logical order. */
static int cluster_end(const struct text_set *t, const struct text_run *r, int g, int *next)
{
    int step = r->level & 1 ? -1 : 1, ch = t->glyph[g].ch, i = g;
    if (step > 0) {
        while (i < r->g1 && t->glyph[i].ch == ch) i++;
        *next = i;
        return i < r->g1 ? t->glyph[i].ch : r->hi;
    }
    while (i < r->g1 && t->glyph[i].ch == ch) i++;
    *next = i;
    return g > r->g0 ? t->glyph[g - 1].ch : r->hi;
}

static void share_widths(struct text_set *t, const struct text_run *r)
{
    for (int i = r->lo; i < r->hi; i++) t->adv[i] = 0;
    for (int g = r->g0, next; g < r->g1; g = next) {
        int lo = t->glyph[g].ch, hi = cluster_end(t, r, g, &next);
        float w = 0;
        for (int k = g; k < next; k++) w += t->glyph[k].adv;
        for (int i = lo; i < hi; i++) t->adv[i] = w / (float)(hi - lo);
    }
}

static bool shape(struct work *w, struct text_run *r, hb_buffer_t *b)
{
    struct text_set *t = w->t;
    hb_feature_t f[2];
    pthread_mutex_lock(&font_lock);
    hb_font_t *font = font_open(r->style, r->font);
    pthread_mutex_unlock(&font_lock);
    if (!font) return false;
    hb_buffer_clear_contents(b);
    hb_buffer_set_direction(b, r->level & 1 ? HB_DIRECTION_RTL : HB_DIRECTION_LTR);
    hb_buffer_set_script(b, w->script[r->lo]);
    hb_buffer_set_language(b, hb_language_from_string("und", -1));
    hb_buffer_set_flags(b, HB_BUFFER_FLAG_REMOVE_DEFAULT_IGNORABLES);
    hb_buffer_add_utf32(b, (const uint32_t *)t->ch, t->n, (unsigned)r->lo, r->hi - r->lo);
    hb_shape(font, b, f, features(w->script[r->lo], r->style, f));
    double em = hb_face_get_upem(hb_font_get_face(font));
    if (!keep_glyphs(w, r, b, em > 0 ? em : 1000)) return false;
    share_widths(t, r);
    return true;
}

static bool make_runs(struct work *w)
{
    struct text_set *t = w->t;
    hb_buffer_t *b = hb_buffer_create();
    bool ok = true;
    for (int lo = 0, i = 1; ok && lo < t->n; i++) {
        if (i < t->n && same_run(w, lo, i)) continue;
        struct text_run *r = &t->run[t->n_runs++];
        *r = (struct text_run){ lo, i, 0, 0, w->font[lo], w->style[lo], (unsigned char)w->level[lo] };
        ok = shape(w, r, b);
        lo = i;
    }
    hb_buffer_destroy(b);
    return ok;
}

void text_free(struct text_set *t)
{
    free(t->ch);
    free(t->at);
    free(t->adv);
    free(t->run);
    free(t->glyph);
    *t = (struct text_set){ 0 };
}

bool text_make(struct text_set *t, const char *s, size_t len, const unsigned char *style, int all,
               bool auto_base)
{
    size_t cap = 0;
    *t = (struct text_set){ 0 };
    for (size_t i = 0; i < len; i++) cap += ((unsigned char)s[i] & 0xc0) == 0x80 ? 1 : 10;
    struct work w = { .t = t, .style = malloc(cap + 1) };
    t->ch = malloc((cap + 1) * sizeof *t->ch);
    t->at = malloc((cap + 1) * sizeof *t->at);
    bool ok = w.style && t->ch && t->at;
    pthread_mutex_lock(&font_lock);
    if (ok) decode(&w, s, len, style, all, (int)cap);
    size_t n = (size_t)t->n + 1;
    t->adv = malloc(n * sizeof *t->adv);
    t->run = malloc(n * sizeof *t->run);
    w.font = calloc(n, sizeof *w.font);
    w.script = malloc(n * sizeof *w.script);
    w.level = malloc(n * sizeof *w.level);
    ok = ok && t->adv && t->run && w.font && w.script && w.level;
    bool fonts = fonts_of(0) != NULL;
    if (ok && fonts && t->n) choose_fonts(&w);
    pthread_mutex_unlock(&font_lock);
    if (ok) t->at[t->n] = (int)len;
    if (ok && t->n) {
        choose_scripts(&w);
        ok = choose_levels(&w, auto_base) && make_runs(&w);
    }
    free(w.style);
    free(w.font);
    free(w.script);
    free(w.level);
    if (!ok) text_free(t);
    return ok;
}

/* ---- lines ---- */

static void turn(struct text_piece *p, int n)
{
    for (int i = 0; i < n / 2; i++) {
        struct text_piece x = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = x;
    }
}

int text_line(const struct text_set *t, int lo, int hi, struct text_piece *out)
{
    int n = 0, most = 0, blanks = hi;
    while (blanks > lo && t->ch[blanks - 1] == ' ') blanks--;
    for (int i = 0; i < t->n_runs; i++) {
        const struct text_run *r = &t->run[i];
        int cut[3] = { r->lo > lo ? r->lo : lo, blanks, r->hi < hi ? r->hi : hi };
        if (cut[1] < cut[0]) cut[1] = cut[0];
        if (cut[1] > cut[2]) cut[1] = cut[2];
        for (int k = 0; k < 2; k++) {
            unsigned char level = k ? (unsigned char)t->rtl : r->level;
            if (cut[k + 1] <= cut[k]) continue;
            out[n++] = (struct text_piece){ i, cut[k], cut[k + 1], level };
            if (level > most) most = level;
        }
    }
    for (int level = most; level > 0; level--) /* rule L2 of the algorithm */
        for (int i = 0; i < n; i++) {
            int j = i;
            while (j < n && out[j].level >= level) j++;
            if (j > i) turn(out + i, j - i);
            if (j > i) i = j;
        }
    return n;
}

static double side(const float *room, int lo, int hi)
{
    double sum = 0;
    for (int i = lo; room && i < hi; i++) sum += (double)room[i];
    return sum;
}

double text_place(const struct text_set *t, const struct text_piece *p, double size, double x,
                  const float *before, const float *after, double *gx, double *cx, double *cw)
{
    const struct text_run *r = &t->run[p->run];
    bool back = r->level & 1;
    for (int g = r->g0, next; g < r->g1; g = next) {
        int lo = t->glyph[g].ch, hi = cluster_end(t, r, g, &next);
        if (hi <= p->lo || lo >= p->hi) continue;
        int from = lo > p->lo ? lo : p->lo, to = hi < p->hi ? hi : p->hi;
        double pen = x += side(back ? after : before, from, to), width = 0;
        for (int k = g; k < next; k++) {
            if (gx) gx[k] = pen + (double)t->glyph[k].dx * size;
            pen += (double)t->glyph[k].adv * size;
        }
        for (int i = from; i < to; i++) width += (double)t->adv[i] * size;
        for (int i = from; i < to; i++) {
            double one = (double)t->adv[i] * size;
            if (cx) cx[i] = back ? x + (to - 1 - i) * one : x + (i - from) * one;
            if (cw) cw[i] = one;
        }
        x += width + side(back ? before : after, from, to);
    }
    return x;
}

double text_width(const struct text_set *t)
{
    double w = 0;
    for (int i = 0; i < t->n; i++) w += (double)t->adv[i];
    return w;
}
