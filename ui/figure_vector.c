/* What Cairo leaves to be done in SVG and PDF files: the recipe goes in, and what would differ from one
 * process to the next comes out.
 *
 * In an SVG the recipe is an element of <metadata>. In a PDF it is comment lines before "startxref", where
 * no offset of the file's table moves; they begin with "%saccade " and together hold the same element. The
 * recipe is read back by ui/export_recipe.c. */
#include "figure_vector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the recipe as an XML element ---- */

/* May the text stand in XML as it is? Otherwise (control characters, broken UTF-8) it goes in as base64. */
static bool plain_xml(const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        int more = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : (*p & 0xf0) == 0xe0 ? 2
                   : *p >= 0xf0 && *p < 0xf5 ? 3 : -1;
        if (more < 0 || (*p < 32 && *p != '\n' && *p != '\t') || *p == 127) return false;
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
            (*p == 0xf4 && p[1] > 0x8f) || (*p == 0xef && p[1] == 0xbf && p[2] >= 0xbe))
            return false;
        for (int i = 1; i <= more; i++)
            if ((p[i] & 0xc0) != 0x80) return false;
        p += 1 + more;
    }
    return true;
}

/* one_line: line ends as references, for a PDF's comments. */
static void put_xml(FILE *f, const char *s, bool one_line)
{
    for (; *s; s++) {
        if (*s == '<') fputs("&lt;", f);
        else if (*s == '>') fputs("&gt;", f);
        else if (*s == '&') fputs("&amp;", f);
        else if (*s == '\n' && one_line) fputs("&#10;", f);
        else if ((unsigned char)*s >= 32 || *s == '\n' || *s == '\t') fputc(*s, f);
    }
}

static void put_base64(FILE *f, const char *s)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)s;
    for (size_t n = strlen(s); n > 0; n -= n < 3 ? n : 3, p += 3) {
        unsigned v = (unsigned)p[0] << 16 | (n > 1 ? (unsigned)p[1] << 8 : 0) | (n > 2 ? p[2] : 0u);
        fputc(digit[v >> 18], f);
        fputc(digit[v >> 12 & 63], f);
        fputc(n > 1 ? digit[v >> 6 & 63] : '=', f);
        fputc(n > 2 ? digit[v & 63] : '=', f);
        if (n < 3) break;
    }
}

static void put_recipe(FILE *f, const struct figure_meta *m, bool one_line)
{
    const char *end = one_line ? "" : "\n";
    static const char *const tag[] = { "title", "comment", "command", "prompt" };
    const char *text[] = { one_line ? m->title : NULL, m->comment, m->command, m->prompt };
    fprintf(f, "<saccade xmlns=\"urn:saccade\" version=\"" SACCADE_VERSION "\">%s", end);
    for (int i = 0; i < 4; i++) {
        if (!text[i]) continue;
        bool plain = plain_xml(text[i]);
        fprintf(f, "<%s%s>", tag[i], plain ? "" : " encoding=\"base64\"");
        if (plain) put_xml(f, text[i], one_line);
        else put_base64(f, text[i]);
        fprintf(f, "</%s>%s", tag[i], end);
    }
    fputs("</saccade>", f);
}

/* Close a memory stream: *buf and *n are right only then. */
static enum sac_code finish(FILE *f, char *const *buf, const size_t *n, struct figure_bytes *out,
                            struct sac_err *err)
{
    bool bad = ferror(f) != 0;
    if (fclose(f) || bad) {
        free(*buf);
        return sac_fail(err, SAC_ENOMEM, "out of memory while writing a figure");
    }
    *out = (struct figure_bytes){ (unsigned char *)*buf, *n };
    return SAC_OK;
}

/* ---- SVG ---- */

/* The attributes of shapes that are cells, as Cairo 1.16 and as 1.18 write them: see canvas_crisp. */
static const struct { const char *from, *to; } crisp[] = {
    { "fill-rule:evenodd;", "shape-rendering:crispEdges;" },
    { "fill-rule=\"evenodd\"", "shape-rendering=\"crispEdges\"" },
};

/* From p to end, cells marked as crisp, and without the numbers that depend on what the process drew before.
 */
static void put_body(FILE *f, const char *p, const char *end)
{
    static const char id[] = "id=\"surface";
    const char *mark[3] = { NULL, NULL, NULL }, *what[3] = { id, crisp[0].from, crisp[1].from };
    for (;;) {
        int first = -1;
        for (int i = 0; i < 3; i++) {
            if (!mark[i] || mark[i] < p) {
                mark[i] = memmem(p, (size_t)(end - p), what[i], strlen(what[i]));
                if (!mark[i]) mark[i] = end;
            }
            if (mark[i] < end && (first < 0 || mark[i] < mark[first])) first = i;
        }
        if (first < 0) break;
        const char *hit = mark[first], *after = hit + strlen(what[first]);
        fwrite(p, 1, (size_t)((first ? hit : after) - p), f);
        if (first) fputs(crisp[first - 1].to, f);
        else
            while (after < end && *after >= '0' && *after <= '9') after++;
        p = after;
    }
    fwrite(p, 1, (size_t)(end - p), f);
}

enum sac_code vector_svg(const struct figure_bytes *drawn, const struct figure_meta *m,
                         struct figure_bytes *out, struct sac_err *err)
{
    char *buf = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&buf, &n);
    if (!f) return sac_fail(err, SAC_ENOMEM, "out of memory while writing an SVG figure");
    const char *p = (const char *)drawn->data, *end = p + drawn->n;
    const char *svg = memmem(p, drawn->n, "<svg", 4);
    const char *body = svg ? memchr(svg, '>', (size_t)(end - svg)) : NULL;
    if (body) {
        static const char *const tag[] = { "title", "desc" };
        const char *text[] = { m->title, m->description };
        body++;
        fwrite(p, 1, (size_t)(body - p), f);
        for (int i = 0; i < 2; i++) {
            if (!text[i]) continue;
            fprintf(f, "\n<%s>", tag[i]);
            put_xml(f, text[i], false);
            fprintf(f, "</%s>", tag[i]);
        }
        fputs("\n<metadata>\n", f);
        put_recipe(f, m, false);
        fputs("\n</metadata>", f);
        p = body;
    }
    put_body(f, p, end);
    return finish(f, &buf, &n, out, err);
}

/* ---- PDF ---- */

enum { LINE = 200 };     /* bytes of a comment line: readers of old may refuse lines over 255 */

static const char *last_of(const struct figure_bytes *b, const char *word)
{
    const char *p = (const char *)b->data, *hit = NULL, *next;
    size_t left = b->n;
    while ((next = memmem(p, left, word, strlen(word))) != NULL) {
        hit = next;
        left -= (size_t)(next + 1 - p);
        p = next + 1;
    }
    return hit;
}

enum sac_code vector_pdf(const struct figure_bytes *drawn, const struct figure_meta *m,
                         struct figure_bytes *out, struct sac_err *err)
{
    char *recipe = NULL, *buf = NULL;
    size_t len = 0, n = 0;
    FILE *r = open_memstream(&recipe, &len), *f = r ? open_memstream(&buf, &n) : NULL;
    const char *p = (const char *)drawn->data, *tail = last_of(drawn, "startxref");
    if (!f) {
        if (r) fclose(r);
        free(recipe);
        return sac_fail(err, SAC_ENOMEM, "out of memory while writing a PDF figure");
    }
    put_recipe(r, m, true);
    bool whole = fclose(r) == 0;
    if (!tail) tail = p + drawn->n;
    fwrite(p, 1, (size_t)(tail - p), f);
    for (size_t at = 0; whole && m->comment && at < len; at += LINE)
        fprintf(f, "%s%.*s\n", VECTOR_PDF_MARK, (int)(len - at < LINE ? len - at : LINE), recipe + at);
    fwrite(tail, 1, (size_t)(p + drawn->n - tail), f);
    free(recipe);
    return finish(f, &buf, &n, out, err);
}

/* ---- reading ---- */

char *vector_pdf_recipe(const char *data, size_t n)
{
    const struct figure_bytes b = { (unsigned char *)(uintptr_t)data, n };
    const char *p = last_of(&b, "trailer"), *end = data + n;
    char *out = malloc(n + 1);
    size_t k = 0;
    if (!p) p = data;
    while (out && p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        size_t len = (size_t)(stop - p), skip = sizeof VECTOR_PDF_MARK - 1;
        if (len >= skip && !memcmp(p, VECTOR_PDF_MARK, skip)) {
            memcpy(out + k, p + skip, len - skip);
            k += len - skip;
        }
        p = stop + 1;
    }
    if (out) out[k] = 0;
    return out;
}

static int value64(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void take_base64(const char *a, const char *b, char *w)
{
    unsigned v = 0;
    int bits = 0;
    for (; a < b; a++) {
        int d = value64(*a);
        if (d < 0) continue;
        v = (v << 6 | (unsigned)d) & 0xffffffu;
        bits += 6;
        if (bits >= 8) bits -= 8, *w++ = (char)(v >> bits & 255);
    }
    *w = 0;
}

static void take_xml(const char *a, const char *b, char *w)
{
    static const struct { const char *name; char c; } entity[] = {
        { "&lt;", '<' }, { "&gt;", '>' }, { "&amp;", '&' }, { "&#10;", '\n' } };
    while (a < b) {
        int hit = -1;
        for (int i = 0; i < 4 && *a == '&'; i++)
            if (!strncmp(a, entity[i].name, strlen(entity[i].name))) hit = i;
        *w++ = hit < 0 ? *a : entity[hit].c;
        a += hit < 0 ? 1 : strlen(entity[hit].name);
    }
    *w = 0;
}

char *vector_part(const char *xml, const char *tag)
{
    char open[48], packed[64], shut[48];
    snprintf(open, sizeof open, "<%s>", tag);
    snprintf(packed, sizeof packed, "<%s encoding=\"base64\">", tag);
    snprintf(shut, sizeof shut, "</%s>", tag);
    const char *a = strstr(xml, open), *b64 = strstr(xml, packed);
    if (!a && !b64) return NULL;
    a = a ? a + strlen(open) : b64 + strlen(packed);
    const char *b = strstr(a, shut);
    char *out = b ? malloc((size_t)(b - a) + 1) : NULL;
    if (!out) return NULL;
    if (b64 && a == b64 + strlen(packed)) take_base64(a, b, out);
    else take_xml(a, b, out);
    return out;
}
