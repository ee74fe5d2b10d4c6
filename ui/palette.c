/* Colour maps as tables of 16 samples, ramps of the 256-colour palette, and the contrast rule.
 *
 * The ramps were chosen by hand for strictly rising lightness: the nearest palette entries of a continuous
 * map go up and down. Entries 0-15 belong to the user's theme and are used for marks in the 16-colour tier
 * only. */
#include "palette.h"

#include <math.h>
#include <string.h>

const char *const ui_tier_name[4] = { "mono", "16", "256", "rgb" };
const char *const ui_map_name[UI_N_MAPS] = { "viridis", "magma", "inferno", "cividis", "grey" };

#define C(r, g, b) ((uint32_t)(r) << 16 | (uint32_t)(g) << 8 | (uint32_t)(b))

static const uint32_t table[UI_N_MAPS][16] = {
    { C(68, 1, 84), C(72, 26, 108), C(71, 47, 125), C(65, 68, 135), C(57, 86, 140), C(49, 104, 142),
      C(42, 120, 142), C(35, 136, 142), C(31, 152, 139), C(34, 168, 132), C(53, 183, 121), C(84, 197, 104),
      C(122, 209, 81), C(165, 219, 54), C(210, 226, 27), C(253, 231, 37) },
    { C(0, 0, 4), C(11, 9, 36), C(32, 17, 75), C(59, 15, 112), C(87, 21, 126), C(114, 31, 129),
      C(140, 41, 129), C(168, 50, 125), C(196, 60, 117), C(222, 73, 104), C(241, 96, 93), C(250, 127, 94),
      C(254, 159, 109), C(254, 191, 132), C(253, 222, 160), C(252, 253, 191) },
    { C(0, 0, 4), C(12, 8, 38), C(36, 12, 79), C(66, 10, 104), C(93, 18, 110), C(120, 28, 109),
      C(147, 38, 103), C(174, 48, 92), C(199, 62, 76), C(221, 81, 58), C(237, 105, 37), C(248, 133, 15),
      C(252, 165, 10), C(250, 198, 45), C(242, 230, 97), C(252, 255, 164) },
    { C(0, 34, 78), C(0, 46, 108), C(30, 58, 111), C(53, 69, 108), C(71, 81, 108), C(87, 93, 109),
      C(102, 105, 112), C(117, 117, 117), C(132, 130, 121), C(148, 142, 119), C(165, 156, 116),
      C(183, 169, 110), C(200, 184, 102), C(219, 199, 90), C(238, 214, 73), C(254, 232, 56) },
    { C(17, 17, 17), C(32, 32, 32), C(46, 46, 46), C(61, 61, 61), C(76, 76, 76), C(91, 91, 91),
      C(106, 106, 106), C(121, 121, 121), C(136, 136, 136), C(151, 151, 151), C(167, 167, 167),
      C(183, 183, 183), C(200, 200, 200), C(217, 217, 217), C(236, 236, 236), C(255, 255, 255) },
};
static const uint8_t ramp_viridis[] = { 53, 54, 24, 30, 36, 42, 148, 220 };
static const uint8_t ramp_magma[] = { 16, 233, 53, 54, 90, 126, 168, 203, 209, 216, 222, 229 };
static const uint8_t ramp_cividis[] = { 24, 60, 242, 243, 245, 144, 185, 220 };
static const uint8_t ramp_grey[] = { 16,  232, 233, 234, 235, 236, 237, 238, 239, 240, 241, 242, 243,
                                     244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255, 231 };
static const struct { const uint8_t *at; int n;
} ramp[UI_N_MAPS] = {
    { ramp_viridis, sizeof ramp_viridis }, { ramp_magma, sizeof ramp_magma },
    { ramp_magma, sizeof ramp_magma },     { ramp_cividis, sizeof ramp_cividis },
    { ramp_grey, sizeof ramp_grey },
};

static const uint32_t dark_neg[9] = { C(27, 27, 27),  C(29, 48, 62),   C(26, 69, 95),
                                      C(15, 91, 129), C(2, 114, 161),  C(3, 137, 193),
                                      C(4, 161, 226), C(52, 185, 255), C(139, 206, 255) };
static const uint32_t dark_pos[9] = { C(27, 27, 27),   C(58, 43, 30),   C(86, 59, 37),
                                      C(115, 77, 44),  C(144, 96, 53),  C(174, 115, 62),
                                      C(206, 135, 71), C(237, 156, 82), C(255, 183, 122) };
static const uint32_t light_div[11] = { C(5, 48, 97),     C(33, 102, 172),  C(67, 147, 195),
                                        C(146, 197, 222), C(209, 229, 240), C(247, 247, 247),
                                        C(253, 219, 199), C(244, 165, 130), C(214, 96, 77),
                                        C(178, 24, 43),   C(103, 0, 31) };
static const uint8_t div_neg[7] = { 234, 236, 24, 31, 68, 39, 117 },
                     div_pos[7] = { 234, 236, 95, 137, 173, 215, 222 };

static const struct { uint32_t rgb; uint8_t c256, c16;
} cats[UI_N_CATS] = {
    { C(230, 159, 0), 214, 3 },   { C(86, 180, 233), 74, 6 },   { C(0, 158, 115), 36, 2 },
    { C(240, 228, 66), 227, 3 },  { C(0, 114, 178), 32, 4 },    { C(213, 94, 0), 166, 1 },
    { C(204, 121, 167), 175, 5 }, { C(153, 153, 153), 247, 7 },
};
/* What terminals commonly show for 0-15; only used to find the nearest and to draw pictures of screens. */
static const uint32_t ansi16[16] = { C(0, 0, 0),       C(205, 49, 49),   C(13, 188, 121), C(229, 229, 16),
                                     C(36, 114, 200),  C(188, 63, 188),  C(17, 168, 205), C(229, 229, 229),
                                     C(102, 102, 102), C(241, 76, 76),   C(35, 209, 139), C(245, 245, 67),
                                     C(59, 142, 234),  C(214, 112, 214), C(41, 184, 219), C(255, 255, 255) };

int ui_map_find(const char *name)
{
    for (int i = 0; i < UI_N_MAPS; i++)
        if (!strcmp(name, ui_map_name[i])) return i;
    return -1;
}

static double clamp(double t, double lo, double hi)
{
    return !(t > lo) ? lo : t > hi ? hi : t;
}

static uint32_t mix(uint32_t a, uint32_t b, double f)
{
    uint32_t out = 0;
    for (int s = 0; s < 24; s += 8) {
        double x = (double)(a >> s & 0xff), y = (double)(b >> s & 0xff);
        out |= (uint32_t)floor(x + (y - x) * f + 0.5) << s;
    }
    return out;
}

static uint32_t along(const uint32_t *c, int n, double t)
{
    double at = clamp(t, 0, 1) * (n - 1);
    int i = (int)at < n - 1 ? (int)at : n - 2;
    return mix(c[i], c[i + 1], at - i);
}

uint32_t ui_map_rgb(enum ui_map map, double t)
{
    return along(table[map], 16, t);
}

uint32_t ui_div_rgb(double t, bool light)
{
    if (light) return along(light_div, 11, (clamp(t, -1, 1) + 1) / 2);
    return t < 0 ? along(dark_neg, 9, -t) : along(dark_pos, 9, t);
}

int ui_map_levels(enum ui_map map, enum ui_tier tier)
{
    return tier == UI_TIER_RGB ? 64 : tier == UI_TIER_256 ? ramp[map].n : 5;
}

uint32_t ui_map_colour(enum ui_map map, enum ui_tier tier, int level)
{
    int n = ui_map_levels(map, tier);
    level = level < 0 ? 0 : level >= n ? n - 1 : level;
    if (tier == UI_TIER_RGB) return ui_map_rgb(map, level / (double)(n - 1));
    if (tier == UI_TIER_256) return CELL_INDEX(ramp[map].at[level]);
    return CELL_DEFAULT;
}

uint32_t ui_map_t(enum ui_map map, enum ui_tier tier, double t)
{
    return ui_map_colour(map, tier, (int)floor(clamp(t, 0, 1) * (ui_map_levels(map, tier) - 1) + 0.5));
}

uint32_t ui_div_t(enum ui_tier tier, double t, bool light)
{
    t = clamp(t, -1, 1);
    if (tier == UI_TIER_RGB) return ui_div_rgb(floor(t * 32 + 0.5) / 32, light);
    if (tier != UI_TIER_256) return CELL_DEFAULT;
    if (light) return ui_colour(tier, ui_div_rgb(t, true));
    int i = (int)floor(fabs(t) * 6 + 0.5);
    return CELL_INDEX(t < 0 ? div_neg[i] : div_pos[i]);
}

uint32_t ui_cat_rgb(enum ui_cat c)
{
    return cats[c].rgb;
}

uint32_t ui_cat(enum ui_cat c, enum ui_tier tier)
{
    return tier == UI_TIER_RGB ? cats[c].rgb : tier == UI_TIER_256 ? CELL_INDEX(cats[c].c256)
         : tier == UI_TIER_16 ? CELL_INDEX(cats[c].c16) : CELL_DEFAULT;
}

static uint32_t index_rgb(int i)
{
    static const int step[6] = { 0, 95, 135, 175, 215, 255 };
    if (i < 16) return ansi16[i];
    if (i >= 232) return C(8 + 10 * (i - 232), 8 + 10 * (i - 232), 8 + 10 * (i - 232));
    return C(step[(i - 16) / 36], step[(i - 16) / 6 % 6], step[(i - 16) % 6]);
}

uint32_t ui_colour_rgb(uint32_t c)
{
    return CELL_IS_INDEX(c) ? index_rgb((int)(c & 0xff)) : c;
}

static double dist(uint32_t a, uint32_t b)
{
    double dr = (double)(a >> 16 & 0xff) - (double)(b >> 16 & 0xff);
    double dg = (double)(a >> 8 & 0xff) - (double)(b >> 8 & 0xff);
    double db = (double)(a & 0xff) - (double)(b & 0xff);
    return 2 * dr * dr + 4 * dg * dg + 3 * db * db;
}

uint32_t ui_colour(enum ui_tier tier, uint32_t rgb)
{
    if (tier == UI_TIER_RGB || rgb == CELL_DEFAULT || CELL_IS_INDEX(rgb)) return rgb;
    if (tier == UI_TIER_MONO) return CELL_DEFAULT;
    int lo = tier == UI_TIER_256 ? 16 : 0, hi = tier == UI_TIER_256 ? 256 : 8, best = lo;
    for (int i = lo + 1; i < hi; i++)
        if (dist(index_rgb(i), rgb) < dist(index_rgb(best), rgb)) best = i;
    return CELL_INDEX(best);
}

uint32_t ui_colour_mix(enum ui_tier tier, uint32_t c, uint32_t to, double f)
{
    if (c == CELL_DEFAULT || to == CELL_DEFAULT || tier < UI_TIER_256) return c;
    return ui_colour(tier, mix(ui_colour_rgb(c), ui_colour_rgb(to), clamp(f, 0, 1)));
}

double ui_luminance(uint32_t rgb)
{
    static const double weight[3] = { 0.0722, 0.7152, 0.2126 };
    double y = 0;
    for (int i = 0; i < 3; i++) {
        double v = (double)(rgb >> 8 * i & 0xff) / 255;
        y += weight[i] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return y;
}

uint32_t ui_contrast(enum ui_tier tier, uint32_t bg)
{
    if (bg == CELL_DEFAULT || tier == UI_TIER_MONO) return CELL_DEFAULT;
    bool black = ui_luminance(ui_colour_rgb(bg)) > 0.18;
    if (tier == UI_TIER_RGB) return black ? C(8, 8, 8) : C(255, 255, 255);
    return tier == UI_TIER_256 ? CELL_INDEX(black ? 16 : 231) : CELL_INDEX(black ? 0 : 7);
}
