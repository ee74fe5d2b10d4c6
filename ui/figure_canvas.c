/* Cairo: the only file that includes cairo.h.
 *
 * One canvas is one page. Text is set by figure_text.c in DejaVu Sans where it is installed and otherwise in
 * what fontconfig calls sans-serif; each letter is looked up in the sorted list of installed fonts, so labels
 * in any script are drawn by the first font that has it. Hinting is off: layout does not depend on the scale.
 * Matrix cells are drawn without anti-aliasing on device pixels. PDF and SVG carry no date. */
#include "figure_canvas.h"
#include "figure_vector.h"

#include <cairo-ft.h>
#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <cairo.h>
#include <fontconfig/fontconfig.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FACES = 64 };

struct face { int style, font; cairo_font_face_t *face; };

struct canvas {
    enum figure_format format;
    bool dark;
    double scale, w, h;
    cairo_surface_t *surface;
    cairo_t *cr, *measure;
    cairo_surface_t *measure_surface;
    struct face face[MAX_FACES];
    int n_faces;
    struct figure_bytes stream;
    size_t cap;
    bool failed, too_large;
};

/* ---- fonts ---- */

static int style_of(int flags)
{
    return ((flags & CT_BOLD) ? TEXT_BOLD : 0) | ((flags & CT_MONO) ? TEXT_MONO : 0) |
           ((flags & CT_ITALIC) ? TEXT_ITALIC : 0);
}

static cairo_font_face_t *face_of(struct canvas *c, int style, int font)
{
    for (int i = 0; i < c->n_faces; i++)
        if (c->face[i].style == style && c->face[i].font == font) return c->face[i].face;
    FcPattern *full = c->n_faces < MAX_FACES ? text_pattern(style, font) : NULL;
    cairo_font_face_t *f = full ? cairo_ft_font_face_create_for_pattern(full) : NULL;
    if (full) FcPatternDestroy(full);
    if (f) c->face[c->n_faces++] = (struct face){ style, font, f };
    return f;
}

/* Marks of direction steer the setting and are no part of the text that is read from a PDF. */
static bool is_read(char32_t c)
{
    return !(c >= 0x2066 && c <= 0x2069) && !(c >= 0x202a && c <= 0x202e) && c != 0x200e && c != 0x200f;
}

/* Glyphs for Cairo, with the text each group of them stands for. */
struct shown {
    cairo_glyph_t *glyph;
    cairo_text_cluster_t *cluster;
    char *utf8;
    int n, n_clusters, n_bytes;
};

static bool shown_open(struct shown *s, int glyphs, int chars)
{
    *s = (struct shown){ malloc(((size_t)glyphs + 1) * sizeof *s->glyph),
                         malloc(((size_t)glyphs + 1) * sizeof *s->cluster),
                         malloc((size_t)chars * 4 + 1),
                         0,
                         0,
                         0 };
    return s->glyph && s->cluster && s->utf8;
}

static void shown_close(struct shown *s)
{
    free(s->glyph);
    free(s->cluster);
    free(s->utf8);
}

/* The clusters of a run whose first character is one of lo .. hi-1, in logical order of their text. */
static void collect_glyphs(struct shown *s, const struct text_set *t, const struct text_run *r, int lo,
                           int hi, const double *gx, double y, double size)
{
    bool back = r->level & 1;
    for (int g = r->g0; g < r->g1; g++) {
        const struct text_glyph *k = &t->glyph[g];
        if (k->ch >= lo && k->ch < hi)
            s->glyph[s->n++] = (cairo_glyph_t){ k->id, gx[g], y + (double)k->dy * size };
    }
    int n = r->g1 - r->g0;
    for (int i = 0; i < n;) {
        int g = back ? r->g1 - 1 - i : r->g0 + i, ch = t->glyph[g].ch, end = r->hi, count = 0;
        while (i < n && t->glyph[back ? r->g1 - 1 - i : r->g0 + i].ch == ch) i++, count++;
        if (i < n) end = t->glyph[back ? r->g1 - 1 - i : r->g0 + i].ch;
        if (ch < lo || ch >= hi) continue;
        int bytes = s->n_bytes;
        for (int k = ch; k < end && k < r->hi; k++)
            if (is_read(t->ch[k])) s->n_bytes += text_put(s->utf8 + s->n_bytes, t->ch[k]);
        s->cluster[s->n_clusters++] = (cairo_text_cluster_t){ s->n_bytes - bytes, count };
    }
}

static void show_piece(struct canvas *c, const struct text_set *t, const struct text_piece *p, int lo, int hi,
                       const double *gx, double y, double size)
{
    const struct text_run *r = &t->run[p->run];
    struct shown s;
    cairo_font_face_t *face = face_of(c, r->style, r->font);
    if (!shown_open(&s, r->g1 - r->g0, r->hi - r->lo))
        c->failed = true;
    else if (face) {
        cairo_set_font_face(c->cr, face);
        cairo_set_font_size(c->cr, size);
        collect_glyphs(&s, t, r, lo, hi, gx, y, size);
        if (s.n)
            cairo_show_text_glyphs(c->cr, s.utf8, s.n_bytes, s.glyph, s.n, s.cluster, s.n_clusters,
                                   r->level & 1 ? CAIRO_TEXT_CLUSTER_FLAG_BACKWARD : 0);
    }
    shown_close(&s);
}

/* A string as one line from (x, y) on. */
static void show_line(struct canvas *c, const struct text_set *t, double x, double y, double size)
{
    struct text_piece *piece = malloc(((size_t)t->n_runs * 2 + 2) * sizeof *piece);
    double *gx = malloc(((size_t)t->n_glyphs + 1) * sizeof *gx);
    if (!piece || !gx) c->failed = true;
    int n = c->failed ? 0 : text_line(t, 0, t->n, piece);
    for (int i = 0; i < n; i++) {
        x = text_place(t, &piece[i], size, x, NULL, NULL, gx, NULL, NULL);
        show_piece(c, t, &piece[i], piece[i].lo, piece[i].hi, gx, y, size);
    }
    free(piece);
    free(gx);
}

/* ---- life ---- */

static cairo_status_t collect(void *ctx, const unsigned char *data, unsigned n)
{
    struct canvas *c = ctx;
    if (c->stream.n + n > c->cap) {
        size_t cap = (c->stream.n + n) * 2 + 4096;
        unsigned char *p = realloc(c->stream.data, cap);
        if (!p) return CAIRO_STATUS_NO_MEMORY;
        c->stream.data = p;
        c->cap = cap;
    }
    memcpy(c->stream.data + c->stream.n, data, n);
    c->stream.n += n;
    return CAIRO_STATUS_SUCCESS;
}

static void text_options(cairo_t *cr)
{
    cairo_font_options_t *o = cairo_font_options_create();
    cairo_font_options_set_antialias(o, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(o, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(o, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(cr, o);
    cairo_font_options_destroy(o);
}

struct canvas *canvas_new(enum figure_format f, const struct figure_style *s)
{
    struct canvas *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->format = f;
    c->dark = s && s->dark;
    c->scale = f == FIGURE_PNG ? (s && s->scale > 0 ? s->scale : 2.0) : 1.0;
    c->measure_surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    c->measure = cairo_create(c->measure_surface);
    text_options(c->measure);
    return c;
}

void canvas_free(struct canvas *c)
{
    if (!c) return;
    if (c->cr) cairo_destroy(c->cr);
    if (c->surface) cairo_surface_destroy(c->surface);
    cairo_destroy(c->measure);
    cairo_surface_destroy(c->measure_surface);
    for (int i = 0; i < c->n_faces; i++) cairo_font_face_destroy(c->face[i].face);
    free(c->stream.data);
    free(c);
}

void canvas_page(struct canvas *c, double w, double h)
{
    c->w = ceil(w);
    c->h = ceil(h);
    double pw = ceil(c->w * c->scale), ph = ceil(c->h * c->scale);
    if (!(pw >= 1 && ph >= 1 && pw <= 32767 && ph <= 32767)) {
        c->failed = c->too_large = true;
        return;
    }
    if (c->format == FIGURE_PNG)
        c->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)pw, (int)ph);
    else if (c->format == FIGURE_SVG)
        c->surface = cairo_svg_surface_create_for_stream(collect, c, c->w, c->h);
    else c->surface = cairo_pdf_surface_create_for_stream(collect, c, c->w, c->h);
    if (cairo_surface_status(c->surface)) {
        c->failed = true;
        return;
    }
    c->cr = cairo_create(c->surface);
    if (c->format == FIGURE_PNG) cairo_scale(c->cr, c->scale, c->scale);
    text_options(c->cr);
    canvas_fill(c, 0, 0, c->w + 1, c->h + 1, canvas_theme(c)->page);
}

enum sac_code canvas_finish(struct canvas *c, const struct figure_meta *meta, struct figure_bytes *out,
                            struct sac_err *err)
{
    static const struct figure_meta none = { 0 };
    const struct figure_meta *m = meta ? meta : &none;
    *out = (struct figure_bytes){ NULL, 0 };
    if (c->too_large)
        return sac_fail(err, SAC_EARG, "the figure would be %.0f x %.0f pixels; a side may have 1 to 32767: "
                        "choose a smaller --scale or --width", ceil(c->w * c->scale), ceil(c->h * c->scale));
    if (c->failed || cairo_status(c->cr))
        return sac_fail(err, SAC_ENOMEM, "a figure of %.0f x %.0f pixels does not fit in memory",
                        c->w * c->scale, c->h * c->scale);
    if (c->format == FIGURE_PNG) {
        cairo_surface_flush(c->surface);
        const unsigned char *px = cairo_image_surface_get_data(c->surface);
        return png_encode((const uint32_t *)(const void *)px, cairo_image_surface_get_stride(c->surface) / 4,
                          cairo_image_surface_get_width(c->surface),
                          cairo_image_surface_get_height(c->surface), m, out, err);
    }
    if (c->format == FIGURE_PDF) {
        /* A date that does not parse leaves the entry out. */
        cairo_pdf_surface_set_metadata(c->surface, CAIRO_PDF_METADATA_CREATE_DATE, "");
        cairo_pdf_surface_set_metadata(c->surface, CAIRO_PDF_METADATA_CREATOR, "saccade " SACCADE_VERSION);
        if (m->title) cairo_pdf_surface_set_metadata(c->surface, CAIRO_PDF_METADATA_TITLE, m->title);
        if (m->description)
            cairo_pdf_surface_set_metadata(c->surface, CAIRO_PDF_METADATA_SUBJECT, m->description);
        if (m->command) cairo_pdf_surface_set_metadata(c->surface, CAIRO_PDF_METADATA_KEYWORDS, m->command);
    }
    cairo_destroy(c->cr);
    c->cr = NULL;
    cairo_surface_finish(c->surface);
    if (cairo_surface_status(c->surface))
        return sac_fail(err, SAC_ENOMEM, "out of memory while writing a figure");
    return (c->format == FIGURE_SVG ? vector_svg : vector_pdf)(&c->stream, m, out, err);
}

/* ---- shapes ---- */

const struct figure_theme *canvas_theme(const struct canvas *c) { return figure_theme(c->dark); }
double canvas_px(const struct canvas *c) { return 1.0 / c->scale; }
bool canvas_vector(const struct canvas *c) { return c->format != FIGURE_PNG; }
double canvas_snap(const struct canvas *c, double v)
{
    return c->format == FIGURE_PNG ? floor(v * c->scale + 0.5) / c->scale : v;
}

static bool ready(const struct canvas *c) { return c->cr && !c->failed; }

static void colour(struct canvas *c, uint32_t rgb, double alpha)
{
    double r = (rgb >> 16 & 255) / 255.0, g = (rgb >> 8 & 255) / 255.0, b = (rgb & 255) / 255.0;
    if (alpha >= 1) cairo_set_source_rgb(c->cr, r, g, b);
    else cairo_set_source_rgba(c->cr, r, g, b, alpha);
}

static void snapped(struct canvas *c, double x, double y, double w, double h)
{
    double x0 = canvas_snap(c, x), y0 = canvas_snap(c, y);
    cairo_rectangle(c->cr, x0, y0, canvas_snap(c, x + w) - x0, canvas_snap(c, y + h) - y0);
}

void canvas_fill(struct canvas *c, double x, double y, double w, double h, uint32_t rgb)
{
    canvas_shade(c, x, y, w, h, rgb, 1.0);
}

/* Shapes with sharp edges. Cairo does not tell an SVG viewer so: the fill rule, which makes no difference to
 * rectangles, marks them for vector_svg. */
static void crisp(struct canvas *c, bool on)
{
    cairo_set_antialias(c->cr, on ? CAIRO_ANTIALIAS_NONE : CAIRO_ANTIALIAS_DEFAULT);
    if (c->format == FIGURE_SVG)
        cairo_set_fill_rule(c->cr, on ? CAIRO_FILL_RULE_EVEN_ODD : CAIRO_FILL_RULE_WINDING);
}

void canvas_shade(struct canvas *c, double x, double y, double w, double h, uint32_t rgb, double alpha)
{
    if (!ready(c)) return;
    colour(c, rgb, alpha);
    crisp(c, true);
    snapped(c, x, y, w, h);
    cairo_fill(c->cr);
    crisp(c, false);
}

void canvas_frame(struct canvas *c, double x, double y, double w, double h, double line, uint32_t rgb)
{
    double x0 = canvas_snap(c, x), y0 = canvas_snap(c, y), x1 = canvas_snap(c, x + w),
           y1 = canvas_snap(c, y + h);
    canvas_fill(c, x0 - line, y0 - line, x1 - x0 + 2 * line, line, rgb);
    canvas_fill(c, x0 - line, y1, x1 - x0 + 2 * line, line, rgb);
    canvas_fill(c, x0 - line, y0, line, y1 - y0, rgb);
    canvas_fill(c, x1, y0, line, y1 - y0, rgb);
}

void canvas_line(struct canvas *c, double x0, double y0, double x1, double y1, double width, uint32_t rgb)
{
    double xy[4] = { x0, y0, x1, y1 };
    canvas_poly(c, xy, 2, width, rgb, false);
}

void canvas_poly(struct canvas *c, const double *xy, int n, double width, uint32_t rgb, bool dashed)
{
    if (!ready(c) || n < 2) return;
    static const double dash[2] = { 5, 3 };
    colour(c, rgb, 1.0);
    cairo_set_line_width(c->cr, width);
    cairo_set_line_join(c->cr, CAIRO_LINE_JOIN_ROUND);
    if (dashed) cairo_set_dash(c->cr, dash, 2, 0);
    cairo_move_to(c->cr, xy[0], xy[1]);
    for (int i = 1; i < n; i++) cairo_line_to(c->cr, xy[2 * i], xy[2 * i + 1]);
    cairo_stroke(c->cr);
    if (dashed) cairo_set_dash(c->cr, NULL, 0, 0);
}

/* Circle, square, triangle, diamond, triangle down, cross: marks that differ without colour. */
void canvas_dot(struct canvas *c, double x, double y, double r, int shape, uint32_t rgb)
{
    if (!ready(c)) return;
    static const struct { int n; double x[4], y[4]; } poly[] = {
        { 4, { -.9, .9, .9, -.9 }, { -.9, -.9, .9, .9 } },
        { 3, { 0, 1.1, -1.1, 0 }, { -1.2, .8, .8, 0 } },
        { 4, { 0, 1.2, 0, -1.2 }, { -1.2, 0, 1.2, 0 } },
        { 3, { 0, 1.1, -1.1, 0 }, { 1.2, -.8, -.8, 0 } },
    };
    colour(c, rgb, 1.0);
    shape %= 6;
    if (shape == 0) {
        cairo_new_path(c->cr);
        cairo_arc(c->cr, x, y, r, 0, 2 * 3.14159265358979);
        cairo_fill(c->cr);
    } else if (shape == 5) {
        double a[4] = { x - r, y - r, x + r, y + r }, b[4] = { x - r, y + r, x + r, y - r };
        canvas_poly(c, a, 2, r * .7, rgb, false);
        canvas_poly(c, b, 2, r * .7, rgb, false);
    } else {
        for (int i = 0; i < poly[shape - 1].n; i++)
            cairo_line_to(c->cr, x + r * poly[shape - 1].x[i], y + r * poly[shape - 1].y[i]);
        cairo_close_path(c->cr);
        cairo_fill(c->cr);
    }
}

void canvas_hatch(struct canvas *c, double x, double y, double w, double h, uint32_t rgb)
{
    if (!ready(c)) return;
    canvas_clip(c, x, y, w, h);
    for (double d = -h; d < w; d += 3) canvas_line(c, x + d, y + h, x + d + h, y, 0.8, rgb);
    canvas_unclip(c);
}

void canvas_clip(struct canvas *c, double x, double y, double w, double h)
{
    if (!ready(c)) return;
    cairo_save(c->cr);
    snapped(c, x, y, w, h);
    cairo_clip(c->cr);
}

void canvas_unclip(struct canvas *c)
{
    if (ready(c)) cairo_restore(c->cr);
}

static int by_colour(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* One path per colour: the smallest file, and no seams between cells of one colour. */
static void cells_by_colour(struct canvas *c, double x, double y, double cw, double ch, int w, int h,
                            const uint32_t *cell, const uint32_t *colours, int n)
{
    for (int k = 0; k < n; k++) {
        for (int j = 0; j < h; j++)
            for (int i = 0; i < w; i++) {
                const uint32_t *row = cell + (size_t)j * (size_t)w;
                if (row[i] != colours[k]) continue;
                int i1 = i + 1;
                while (i1 < w && row[i1] == row[i]) i1++;
                snapped(c, x + i * cw, y + j * ch, (i1 - i) * cw, ch);
                i = i1 - 1;
            }
        colour(c, colours[k], 1.0);
        cairo_fill(c->cr);
    }
}

/* Is every cell of row y from x0 to x1 filled? */
static bool all_filled(const uint32_t *cell, int w, int h, int y, int x0, int x1)
{
    if (y >= h || x1 > w) return false;
    for (int x = x0; x < x1; x++)
        if (cell[(size_t)y * (size_t)w + (size_t)x] == FIGURE_EMPTY) return false;
    return true;
}

/* Cells in reading order. Viewers of PDF smooth edges, and the page would show through between neighbours:
 * there each run reaches a little under the next one and under the row below, which are drawn after it. */
static void cells_in_order(struct canvas *c, double x, double y, double cw, double ch, int w, int h,
                           const uint32_t *cell)
{
    double under_x = c->format == FIGURE_PDF ? fmin(cw, 1) : 0,
           under_y = c->format == FIGURE_PDF ? fmin(ch, 1) : 0;
    for (int j = 0; j < h; j++)
        for (int i = 0; i < w;) {
            const uint32_t *row = cell + (size_t)j * (size_t)w;
            int i1 = i + 1;
            while (i1 < w && row[i1] == row[i]) i1++;
            if (row[i] != FIGURE_EMPTY) {
                double more_x = all_filled(cell, w, h, j, i1, i1 + 1) ? under_x : 0;
                double more_y = under_y > 0 && all_filled(cell, w, h, j + 1, i, i1) ? under_y : 0;
                colour(c, row[i], 1.0);
                snapped(c, x + i * cw, y + j * ch, (i1 - i) * cw + more_x, ch + more_y);
                cairo_fill(c->cr);
            }
            i = i1;
        }
}

void canvas_cells(struct canvas *c, double x, double y, double cw, double ch, int w, int h,
                  const uint32_t *cell)
{
    if (!ready(c) || w <= 0 || h <= 0) return;
    crisp(c, true);
    if (c->format != FIGURE_SVG) cells_in_order(c, x, y, cw, ch, w, h, cell);
    else {
        size_t n = (size_t)w * (size_t)h, m = 0;
        uint32_t *set = malloc(n * sizeof *set);
        if (!set) {
            c->failed = true;
            return;
        }
        memcpy(set, cell, n * sizeof *set);
        qsort(set, n, sizeof *set, by_colour);
        for (size_t i = 0; i < n; i++)
            if (set[i] != FIGURE_EMPTY && (m == 0 || set[m - 1] != set[i])) set[m++] = set[i];
        cells_by_colour(c, x, y, cw, ch, w, h, cell, set, (int)m);
        free(set);
    }
    crisp(c, false);
}

/* ---- text ---- */

double canvas_text_width(struct canvas *c, double size, int flags, const char *s)
{
    struct text_set t;
    if (!s || !*s) return 0;
    if (!text_make(&t, s, strlen(s), NULL, style_of(flags), false)) return c->failed = true, 0;
    double w = text_width(&t) * size;
    text_free(&t);
    return w;
}

double canvas_text(struct canvas *c, double x, double y, double size, int flags, uint32_t rgb, const char *s)
{
    struct text_set t;
    if (!s || !*s) return 0;
    if (!text_make(&t, s, strlen(s), NULL, style_of(flags), false)) return c->failed = true, 0;
    double w = text_width(&t) * size;
    if (ready(c)) {
        colour(c, rgb, 1.0);
        show_line(c, &t, (flags & 3) == CT_CENTER ? x - w / 2 : (flags & 3) == CT_RIGHT ? x - w : x, y, size);
    }
    text_free(&t);
    return w;
}

void canvas_piece(struct canvas *c, const struct text_set *t, const struct text_piece *p, int lo, int hi,
                  const double *gx, double y, double size, uint32_t rgb)
{
    if (!ready(c)) return;
    colour(c, rgb, 1.0);
    show_piece(c, t, p, lo, hi, gx, y, size);
}

void canvas_fit(struct canvas *c, const struct text_set *t, const struct text_piece *p, int lo, int hi,
                const double *gx, double x, double y, double size, double scale, uint32_t rgb)
{
    if (!ready(c)) return;
    cairo_save(c->cr);
    cairo_translate(c->cr, x, y);
    cairo_scale(c->cr, scale, 1);
    colour(c, rgb, 1.0);
    show_piece(c, t, p, lo, hi, gx, 0, size);
    cairo_restore(c->cr);
}

void canvas_text_rot(struct canvas *c, double x, double y, double size, int flags, uint32_t rgb,
                     double degrees, const char *s)
{
    if (!ready(c) || !s) return;
    cairo_save(c->cr);
    cairo_translate(c->cr, x, y);
    cairo_rotate(c->cr, -degrees * 3.14159265358979 / 180);
    canvas_text(c, 0, 0, size, flags, rgb, s);
    cairo_restore(c->cr);
}

void canvas_glyph(struct canvas *c, double x, double y, double size, int flags, uint32_t rgb, double w,
                  const char32_t *ch, int n)
{
    char s[32];
    int len = 0;
    if (!ready(c) || n < 1 || ch[0] <= 32) return;
    for (int i = 0; i < n && i < 7; i++)
        len += text_put(s + len, i == 0 && !text_has(style_of(flags), ch[0]) ? 0x25a1 : ch[i]);
    s[len] = 0;
    double have = canvas_text_width(c, size, flags, s);
    if (have > w * 1.01) {         /* a glyph from another font: narrow it to the cell */
        cairo_save(c->cr);
        cairo_translate(c->cr, x, y);
        cairo_scale(c->cr, w / have, 1);
        canvas_text(c, 0, 0, size, flags, rgb, s);
        cairo_restore(c->cr);
    } else
        canvas_text(c, x, y, size, flags, rgb, s);
}

int canvas_wrap(struct canvas *c, double x, double y, double width, double size, double line, int flags,
                uint32_t rgb, const char *s, bool draw)
{
    char buf[1024];
    int n = 0;
    while (s && *s) {
        size_t len = 0, good = 0;
        while (s[len] && s[len] != '\n' && len < sizeof buf - 1) {
            size_t next = len + 1;
            while (s[next] && s[next] != ' ' && s[next] != '\n' && next < sizeof buf - 1) next++;
            memcpy(buf, s, next);
            buf[next] = 0;
            if (good && canvas_text_width(c, size, flags, buf) > width) break;
            good = len = next;
        }
        while (good && good < sizeof buf && s[good] && ((unsigned char)s[good] & 0xc0) == 0x80) good--;
        memcpy(buf, s, good);
        buf[good] = 0;
        if (draw) canvas_text(c, x, y + n * line, size, flags, rgb, buf);
        n++;
        s += good;
        while (*s == ' ') s++;
        if (*s == '\n') s++;
    }
    return n;
}
