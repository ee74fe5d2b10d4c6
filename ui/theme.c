/* The themes as one table: role by theme, with what remains of it in 16 colours and in mono.
 *
 * No background is painted except where a role needs one (cursor, tab, input), so that transparent terminals
 * stay transparent. Chrome text aims at 4.5 : 1 against a dark (or light) background. */
#include "theme.h"

#include <string.h>

const char *const ui_theme_name[UI_N_THEMES] = { "dark", "light", "contrast" };

#define DEF CELL_DEFAULT

struct look { uint32_t fg, bg; };
static const struct role {
    struct look of[UI_N_THEMES];   /* dark, light, contrast: rgb */
    int8_t fg16;                   /* palette entry in 16 colours, -1 default */
    uint16_t attr, mono;           /* attributes with colour, and without */
} roles[UI_N_ROLES] = {
    [UI_TEXT] = { { { DEF, DEF }, { DEF, DEF }, { DEF, DEF } }, -1, 0, 0 },
    [UI_DIM] = { { { 0x8a939f, DEF }, { 0x5f6b7a, DEF }, { DEF, DEF } }, -1, 0, CELL_DIM },
    [UI_STRONG] = { { { 0xf2f4f8, DEF }, { 0x10151c, DEF }, { DEF, DEF } }, -1, CELL_BOLD, CELL_BOLD },
    [UI_LINE] = { { { 0x4a5462, DEF }, { 0xa3adba, DEF }, { 0xffffff, DEF } }, -1, 0, CELL_DIM },
    [UI_LINE_FOCUS] = { { { 0x6cb6ff, DEF }, { 0x0b5cad, DEF }, { 0xffff00, DEF } }, 6, 0, CELL_BOLD },
    [UI_TITLE] = { { { 0xc9d1db, DEF }, { 0x2b3542, DEF }, { DEF, DEF } }, -1, CELL_BOLD, CELL_BOLD },
    [UI_TAB] = { { { 0x8a939f, DEF }, { 0x5f6b7a, DEF }, { DEF, DEF } }, -1, 0, 0 },
    [UI_TAB_ON] = { { { 0x0d1117, 0x6cb6ff }, { 0xffffff, 0x0b5cad }, { 0x000000, 0xffff00 } },
                    6,
                    CELL_BOLD,
                    CELL_REVERSE | CELL_BOLD },
    [UI_CURSOR] = { { { 0xf2f4f8, 0x2d4a6b }, { 0x10151c, 0xcfe3f8 }, { 0x000000, 0xffffff } },
                    -1,
                    CELL_BOLD,
                    CELL_REVERSE },
    [UI_KEYCAP] = { { { 0xe6c07b, DEF }, { 0x8a5a00, DEF }, { 0xffff00, DEF } }, 3, CELL_BOLD, CELL_BOLD },
    [UI_HINT] = { { { 0x8a939f, DEF }, { 0x5f6b7a, DEF }, { DEF, DEF } }, -1, 0, 0 },
    [UI_STATUS] = { { { 0xc9d1db, DEF }, { 0x2b3542, DEF }, { DEF, DEF } }, -1, 0, 0 },
    [UI_OK] = { { { 0x4fc98e, DEF }, { 0x00714f, DEF }, { 0x00ff80, DEF } }, 2, CELL_BOLD, CELL_BOLD },
    [UI_BAD] = { { { 0xff7a59, DEF }, { 0xb03a00, DEF }, { 0xff8060, DEF } },
                 1,
                 CELL_BOLD,
                 CELL_BOLD | CELL_REVERSE },
    [UI_WARN] = { { { 0xe69f00, DEF }, { 0x8a5a00, DEF }, { 0xffff00, DEF } }, 3, 0, CELL_BOLD },
    [UI_RUNNING] = { { { 0x56b4e9, DEF }, { 0x0b5cad, DEF }, { 0x80d0ff, DEF } }, 6, CELL_BOLD, CELL_BOLD },
    [UI_BAR] = { { { 0x3f8fd0, DEF }, { 0x2f78b7, DEF }, { 0xffffff, DEF } }, 6, 0, 0 },
    [UI_BAR_REST] = { { { 0x3a424d, 0x232a33 }, { 0xc4ccd6, 0xe3e8ee }, { 0x808080, DEF } },
                      -1,
                      0,
                      CELL_DIM },
    [UI_KEPT] = { { { 0x56b4e9, DEF }, { 0x0072b2, DEF }, { 0x80d0ff, DEF } }, 6, 0, CELL_UNDERLINE },
    [UI_FORCED] = { { { 0x999999, DEF }, { 0x666666, DEF }, { 0xc0c0c0, DEF } }, 7, 0, 0 },
    [UI_MISSED] = { { { 0xff7a59, DEF }, { 0xb03a00, DEF }, { 0xff8060, DEF } }, 1, CELL_BOLD, CELL_BOLD },
    [UI_GOLD] = { { { 0xf0e442, DEF }, { 0x7a6a00, DEF }, { 0xffff00, DEF } }, 3, CELL_BOLD, CELL_BOLD },
    [UI_QUERY] = { { { 0xcc79a7, DEF }, { 0x94346e, DEF }, { 0xffa0d8, DEF } }, 5, CELL_BOLD, CELL_REVERSE },
    [UI_LANE_A] = { { { 0x56b4e9, DEF }, { 0x0072b2, DEF }, { 0x80d0ff, DEF } }, 6, CELL_BOLD, CELL_BOLD },
    [UI_LANE_B] = { { { 0xe69f00, DEF }, { 0x9a5f00, DEF }, { 0xffc040, DEF } }, 3, CELL_BOLD, CELL_BOLD },
    [UI_INPUT] = { { { 0xf2f4f8, 0x1f2733 }, { 0x10151c, 0xe8eef5 }, { DEF, DEF } }, -1, 0, CELL_UNDERLINE },
    [UI_MATCH] = { { { 0x0d1117, 0xe6c07b }, { 0x10151c, 0xffe08a }, { 0x000000, 0xffff00 } },
                   3,
                   CELL_BOLD,
                   CELL_REVERSE },
};

int ui_theme_find(const char *name)
{
    if (!strcmp(name, "high-contrast")) return UI_THEME_CONTRAST;
    for (int i = 0; i < UI_N_THEMES; i++)
        if (!strcmp(name, ui_theme_name[i])) return i;
    return -1;
}

struct ui_style ui_style(const struct ui_look *l, enum ui_role role)
{
    const struct role *r = &roles[role];
    const struct look *k = &r->of[l->theme];
    bool filled = k->bg != DEF && role != UI_BAR_REST;      /* a role that lives by its background */
    switch (l->tier) {
    case UI_TIER_RGB: return (struct ui_style){ k->fg, k->bg, r->attr };
    case UI_TIER_256:
        return (struct ui_style){ ui_colour(UI_TIER_256, k->fg), ui_colour(UI_TIER_256, k->bg), r->attr };
    case UI_TIER_16: {
        /* Yellow, cyan and white cannot be read on white: magenta, blue and the terminal's own instead. */
        static const int8_t on_light[8] = { -1, 1, 2, 5, 4, 5, 4, -1 };
        int fg = r->fg16 >= 0 && l->theme == UI_THEME_LIGHT ? on_light[r->fg16] : r->fg16;
        return (struct ui_style){ fg < 0 ? DEF : CELL_INDEX(fg), DEF,
                                  (uint16_t)(r->attr | (filled ? CELL_REVERSE : 0)) };
    }
    case UI_TIER_MONO: break;
    }
    return (struct ui_style){ DEF, DEF, r->mono };
}

struct ui_style ui_style_on(const struct ui_look *l, uint32_t bg)
{
    return (struct ui_style){ ui_contrast(l->tier, bg), bg, 0 };
}

enum ui_map ui_look_map(const struct ui_look *l)
{
    return l->tier == UI_TIER_256 && !l->own_map ? UI_MAP_GREY : l->map;
}
