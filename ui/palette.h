/* Colours: maps from a number to a colour, for every tier, and the rule that keeps text legible on them.
 *
 * A map gives `levels` steps at a tier; level 0 is the lowest value. 24-bit terminals get 64 steps,
 * 256-colour ones a curated ramp of strictly rising lightness, 16 colours and mono get shades of glyphs
 * instead (no colour). Figures use ui_map_rgb, which is continuous. */
#ifndef UI_PALETTE_H
#define UI_PALETTE_H

#include "cells.h"

enum ui_tier { UI_TIER_MONO, UI_TIER_16, UI_TIER_256, UI_TIER_RGB };
extern const char *const ui_tier_name[4];

enum ui_map { UI_MAP_VIRIDIS, UI_MAP_MAGMA, UI_MAP_INFERNO, UI_MAP_CIVIDIS, UI_MAP_GREY, UI_N_MAPS };
extern const char *const ui_map_name[UI_N_MAPS];
int ui_map_find(const char *name);                       /* -1: none */

/* Continuous colour at t in 0..1 (clamped). */
uint32_t ui_map_rgb(enum ui_map map, double t);
/* Diverging, t in -1..1: dark centre for dark backgrounds, light centre for light ones. */
uint32_t ui_div_rgb(double t, bool light);

/* Steps of a map at a tier: 64 (rgb), the ramp's length (256), 5 (16 and mono: shades, see ui_shade_glyph).
 */
int ui_map_levels(enum ui_map map, enum ui_tier tier);
/* Colour of a level as a cell colour; CELL_DEFAULT below 256 colours. */
uint32_t ui_map_colour(enum ui_map map, enum ui_tier tier, int level);
/* The two together: cell colour of t in 0..1. */
uint32_t ui_map_t(enum ui_map map, enum ui_tier tier, double t);
/* Cell colour of a difference, t in -1..1. */
uint32_t ui_div_t(enum ui_tier tier, double t, bool light);

/* Okabe-Ito: one colour per category, distinguishable with any colour vision. Give each a glyph as well. */
enum ui_cat { UI_CAT_ORANGE, UI_CAT_SKY, UI_CAT_GREEN, UI_CAT_YELLOW, UI_CAT_BLUE, UI_CAT_VERMILLION,
              UI_CAT_PURPLE, UI_CAT_GREY, UI_N_CATS };
uint32_t ui_cat_rgb(enum ui_cat c);
uint32_t ui_cat(enum ui_cat c, enum ui_tier tier);

/* 0xRRGGBB of any cell colour (palette entries resolved); CELL_DEFAULT stays. */
uint32_t ui_colour_rgb(uint32_t c);
/* A colour at the tier: rgb as it is, otherwise the nearest palette entry (256, 16), or CELL_DEFAULT. */
uint32_t ui_colour(enum ui_tier tier, uint32_t rgb);
/* Mixed towards `to` by share f, at the tier. */
uint32_t ui_colour_mix(enum ui_tier tier, uint32_t c, uint32_t to, double f);
double ui_luminance(uint32_t rgb);                       /* relative, 0..1 */
/* Black or white, whichever reads better on bg (Y > 0.18: black); CELL_DEFAULT on CELL_DEFAULT. */
uint32_t ui_contrast(enum ui_tier tier, uint32_t bg);
#endif
