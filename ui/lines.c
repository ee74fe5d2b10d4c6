/* Bars, sparklines and line plots as code points; see lines.h. */
#include "lines.h"

#include "heat.h"

#include <math.h>

static double clamp01(double t)
{
    return t < 0 ? 0 : t > 1 ? 1 : t;
}

void ui_bar(double f, int w, bool ascii, char32_t *out)
{
    double full = (isnan(f) ? 0 : clamp01(f)) * w;
    for (int i = 0; i < w; i++) {
        double part = full - i;
        if (ascii) {
            out[i] = part >= 0.5 ? U'#' : U'.';
            continue;
        }
        int e = (int)floor(clamp01(part) * 8 + 0.5);
        out[i] = e == 0 ? U' ' : (char32_t)(0x2590 - e);      /* 8/8 is U+2588, 1/8 is U+258F */
    }
}

char32_t ui_spark_glyph(double v, bool ascii)
{
    static const char ramp[] = " .:-=+*#%@";
    if (isnan(v)) return U' ';
    if (ascii) return (char32_t)ramp[ui_heat_level(v, 10)];
    return (char32_t)(0x2581 + ui_heat_level(v, 8));
}

void ui_spark(const float *v, int n, int w, bool ascii, char32_t *out)
{
    for (int x = 0; x < w; x++) {
        float best = NAN;
        for (int i = ui_bin_lo(x, n, w); n > 0 && i < ui_bin_hi(x, n, w) && i < n; i++)
            if (!isnan(v[i]) && (isnan(best) || v[i] > best)) best = v[i];
        out[x] = ui_spark_glyph((double)best, ascii);
    }
}

char32_t ui_shade_glyph(double t, bool ascii)
{
    static const char32_t shade[] = { U' ', 0x2591, 0x2592, 0x2593, 0x2588 };
    static const char ramp[] = " .:-=+*#%@";
    if (isnan(t)) return U' ';
    return ascii ? (char32_t)ramp[ui_heat_level(t, 10)] : shade[ui_heat_level(t, 5)];
}

static void dot(char32_t *out, int w, int h, int x, int y)
{
    static const unsigned char bit[4][2] = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } };
    if (x < 0 || y < 0 || x >= 2 * w || y >= 4 * h) return;
    out[(size_t)(y / 4) * (size_t)w + (size_t)(x / 2)] |= bit[y % 4][x % 2];
}

/* Mean of the values a column shows, NAN when it shows none. */
static double column(const float *v, int n, int x, int w)
{
    double sum = 0;
    int m = 0;
    for (int i = ui_bin_lo(x, n, w); i < ui_bin_hi(x, n, w) && i < n; i++)
        if (!isnan(v[i])) { sum += (double)v[i]; m++; }
    return m ? sum / m : (double)NAN;
}

void ui_plot(const float *v, int n, double lo, double hi, int w, int h, bool ascii, char32_t *out)
{
    for (int i = 0; i < w * h; i++) out[i] = ascii ? U' ' : 0x2800;
    if (n <= 0 || w <= 0 || h <= 0) return;
    int cols = ascii ? w : 2 * w, rows = ascii ? h : 4 * h, prev = -1;
    double span = hi > lo ? hi - lo : 1;
    for (int x = 0; x < cols; x++) {
        double m = column(v, n, x, cols);
        if (isnan(m)) { prev = -1; continue; }
        int y = (int)floor((1 - clamp01((m - lo) / span)) * (rows - 1) + 0.5);
        if (ascii) {
            out[y * w + x] = U'*';
            continue;
        }
        dot(out, w, h, x, y);
        for (int j = prev; prev >= 0 && j != y; j += y > prev ? 1 : -1) dot(out, w, h, x, j);
        prev = y;
    }
}

char32_t ui_quadrant(int bits)
{
    static const char32_t q[16] = { 0x0020, 0x2598, 0x259D, 0x2580, 0x2596, 0x258C, 0x259E, 0x259B,
                                    0x2597, 0x259A, 0x2590, 0x259C, 0x2584, 0x2599, 0x259F, 0x2588 };
    return q[bits & 15];
}
