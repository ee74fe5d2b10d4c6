/* PNG files: encoding with the recipe in text chunks, reading it back, animations. The only file that
 * includes png.h.
 *
 * 8-bit RGB, sRGB chunk, iTXt chunks (UTF-8, long ones compressed). No time, no user, nothing that differs
 * from one run to the next. Animations are plain PNGs whose further frames follow in fdAT chunks: libpng
 * writes each frame, and the frames are joined here chunk by chunk. */
#include "figure_canvas.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

void figure_bytes_free(struct figure_bytes *b)
{
    free(b->data);
    *b = (struct figure_bytes){ NULL, 0 };
}

struct sink { struct figure_bytes b; size_t cap; };

static bool sink_put(struct sink *s, const void *data, size_t n)
{
    if (s->b.n + n > s->cap) {
        size_t cap = (s->b.n + n) * 2 + 4096;
        unsigned char *p = realloc(s->b.data, cap);
        if (!p) return false;
        s->b.data = p;
        s->cap = cap;
    }
    memcpy(s->b.data + s->b.n, data, n);
    s->b.n += n;
    return true;
}

static void write_some(png_structp png, png_bytep data, size_t n)
{
    if (!sink_put(png_get_io_ptr(png), data, n)) png_error(png, "out of memory");
}

static void flush_none(png_structp png) { (void)png; }

static void keep_message(png_structp png, png_const_charp msg)
{
    char *buf = png_get_error_ptr(png);
    if (buf) {
        strncpy(buf, msg, 159);
        buf[159] = 0;
    }
    png_longjmp(png, 1);
}

static void no_warning(png_structp png, png_const_charp msg) { (void)png, (void)msg; }

enum { N_TEXTS = 6 };
static const char *const keyword[N_TEXTS] = { "Title",   "Software", "Description",
                                              "Comment", "Command",  "Prompt" };

static int fill_texts(png_text *t, const struct figure_meta *m)
{
    const char *value[N_TEXTS] = { m->title,       "saccade " SACCADE_VERSION,
                                   m->description, m->comment,
                                   m->command,     m->prompt };
    int n = 0;
    for (int i = 0; i < N_TEXTS; i++) {
        if (!value[i]) continue;
        size_t len = strlen(value[i]);
        memset(&t[n], 0, sizeof t[n]);
        t[n].compression = len > 2048 ? PNG_ITXT_COMPRESSION_zTXt : PNG_ITXT_COMPRESSION_NONE;
        t[n].key = (char *)(uintptr_t)keyword[i];
        t[n].text = (char *)(uintptr_t)value[i];
        t[n].itxt_length = len;
        t[n].lang = (char *)(uintptr_t)"";
        t[n].lang_key = (char *)(uintptr_t)"";
        n++;
    }
    return n;
}

enum sac_code png_encode(const uint32_t *xrgb, int stride, int w, int h, const struct figure_meta *meta,
                         struct figure_bytes *out, struct sac_err *err)
{
    char msg[160] = "out of memory";
    struct sink s = { { NULL, 0 }, 0 };
    png_bytep row = malloc((size_t)w * 3);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, msg, keep_message, no_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!row || !info) goto fail;
    if (setjmp(png_jmpbuf(png))) goto fail;
    png_set_write_fn(png, &s, write_some, flush_none);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
    png_set_compression_level(png, 9);      /* flat cells repeat; filters would hide that */
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_text text[N_TEXTS];
    png_set_text(png, info, text, fill_texts(text, meta));
    png_write_info(png, info);
    for (int y = 0; y < h; y++) {
        const uint32_t *in = xrgb + (size_t)y * (size_t)stride;
        for (int x = 0; x < w; x++) {
            row[3 * x] = (png_byte)(in[x] >> 16);
            row[3 * x + 1] = (png_byte)(in[x] >> 8);
            row[3 * x + 2] = (png_byte)in[x];
        }
        png_write_row(png, row);
    }
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    free(row);
    *out = s.b;
    return SAC_OK;

fail:
    if (png) png_destroy_write_struct(&png, &info);
    free(row);
    free(s.b.data);
    return sac_fail(err, SAC_ENOMEM, "a PNG of %d x %d pixels could not be encoded: %s", w, h, msg);
}

/* ---- reading the texts ---- */

void figure_png_text_free(struct figure_png_text *t)
{
    char *const part[] = { t->title, t->software, t->description, t->comment, t->command, t->prompt };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) free(part[i]);
    memset(t, 0, sizeof *t);
}

enum sac_code figure_png_read(const char *path, struct figure_png_text *out, struct sac_err *err)
{
    char msg[160] = "damaged";
    memset(out, 0, sizeof *out);
    FILE *f = fopen(path, "rb");
    if (!f) return sac_fail(err, SAC_EFORMAT, "%s: cannot be opened: %s", path, strerror(errno));
    unsigned char sig[8];
    if (fread(sig, 1, 8, f) != 8 || png_sig_cmp(sig, 0, 8)) {
        fclose(f);
        return sac_fail(err, SAC_EFORMAT, "%s: not a PNG file", path);
    }
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, msg, keep_message, no_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        fclose(f);
        figure_png_text_free(out);
        return sac_fail(err, SAC_EFORMAT, "%s: not a readable PNG: %s", path, msg);
    }
    png_init_io(png, f);
    png_set_sig_bytes(png, 8);
    png_set_chunk_malloc_max(png, 64u << 20);
    png_read_info(png, info);
    png_textp text;
    int n = png_get_text(png, info, &text, NULL);
    char **slot[N_TEXTS] = { &out->title, &out->software, &out->description, &out->comment, &out->command,
                             &out->prompt };
    for (int i = 0; i < n; i++)
        for (int k = 0; k < N_TEXTS; k++)
            if (!strcmp(text[i].key, keyword[k]) && !*slot[k])
                *slot[k] = strdup(text[i].text ? text[i].text : "");
    png_destroy_read_struct(&png, &info, NULL);
    fclose(f);
    return SAC_OK;
}

/* ---- animation ---- */

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static uint32_t crc_of(const unsigned char *a, size_t na, const unsigned char *b, size_t nb)
{
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < na + nb; i++) {
        c ^= i < na ? a[i] : b[i - na];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static bool put_chunk(struct sink *s, const char *type, const unsigned char *pre, size_t n_pre,
                      const unsigned char *data, size_t n)
{
    unsigned char head[8], tail[4], *all = malloc(4 + n_pre + n + 1);
    if (!all) return false;
    put32(head, (uint32_t)(n_pre + n));
    memcpy(head + 4, type, 4);
    memcpy(all, type, 4);
    if (n_pre) memcpy(all + 4, pre, n_pre);
    if (n) memcpy(all + 4 + n_pre, data, n);
    put32(tail, crc_of(all, 4 + n_pre + n, NULL, 0));
    bool ok = sink_put(s, head, 8) && sink_put(s, all + 4, n_pre + n) && sink_put(s, tail, 4);
    free(all);
    return ok;
}

/* One frame's chunks: of the first everything, of the others the picture data only. */
static bool put_frame(struct sink *s, const struct figure_bytes *f, int index, int n_frames, int ms,
                      uint32_t *seq)
{
    unsigned char ctl[26] = { 0 };
    memcpy(ctl + 4, f->data + 16, 8);          /* width and height from IHDR */
    ctl[20] = (unsigned char)(ms >> 8), ctl[21] = (unsigned char)ms;
    ctl[22] = 1000 >> 8, ctl[23] = 1000 & 255;
    bool begun = false, ok = true;
    for (size_t at = 8; ok && at + 12 <= f->n;) {
        size_t n = be32(f->data + at);
        const unsigned char *type = f->data + at + 4, *data = type + 4;
        bool idat = !memcmp(type, "IDAT", 4), end = !memcmp(type, "IEND", 4);
        if (idat && !begun) {
            if (index == 0) {
                unsigned char actl[8];
                put32(actl, (uint32_t)n_frames);
                put32(actl + 4, 0);
                ok = put_chunk(s, "acTL", NULL, 0, actl, 8);
            }
            put32(ctl, (*seq)++);
            ok = ok && put_chunk(s, "fcTL", NULL, 0, ctl, 26);
            begun = true;
        }
        if (idat && index > 0) {
            unsigned char num[4];
            put32(num, (*seq)++);
            ok = ok && put_chunk(s, "fdAT", num, 4, data, n);
        } else if (index == 0 && !end) ok = ok && sink_put(s, f->data + at, n + 12);
        at += n + 12;
    }
    return ok;
}

enum sac_code figure_apng(const struct figure_bytes *frame, int n, int ms, struct figure_bytes *out,
                          struct sac_err *err)
{
    struct sink s = { { NULL, 0 }, 0 };
    uint32_t seq = 0;
    *out = (struct figure_bytes){ NULL, 0 };
    if (n < 1) return sac_fail(err, SAC_EARG, "an animation needs at least one frame");
    for (int i = 1; i < n; i++)
        if (memcmp(frame[i].data + 16, frame[0].data + 16, 8))
            return sac_fail(err, SAC_EARG, "frames of an animation differ in size (frame %d)", i + 1);
    bool ok = sink_put(&s, frame[0].data, 8);
    for (int i = 0; ok && i < n; i++) ok = put_frame(&s, &frame[i], i, n, ms, &seq);
    ok = ok && put_chunk(&s, "IEND", NULL, 0, NULL, 0);
    if (!ok) {
        free(s.b.data);
        return sac_fail(err, SAC_ENOMEM, "out of memory while joining %d frames", n);
    }
    *out = s.b;
    return SAC_OK;
}
