/* Tile instructions of AMX as statements, and the shape of the tiles.
 *
 * Written as assembly because the compilers' own macros of the time do not tell that a tile load reads memory
 * and a store writes it, so they could be moved across the plain code between them. Tile numbers are
 * literals. Every kernel sets the shapes when it starts and releases the tiles when it ends: no state is left
 * in a thread. */
#ifndef KERNELS_AMX_H
#define KERNELS_AMX_H

#include <stdint.h>
#include <string.h>

/* Palette 1: eight tiles of up to 16 rows of 64 bytes. */
struct tile_shape { uint8_t palette, start, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; };

static inline void tile_set(struct tile_shape *s, int tile, int rows, int bytes)
{
    s->rows[tile] = (uint8_t)rows;
    s->bytes[tile] = (uint16_t)bytes;
}

#ifdef KERNELS_PLAIN_TILES
#include "tiles_plain.h"
#else
#define TILE_LOAD(t, at, stride)                                                                             \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(at), "r"((long)(stride)) : "memory")
#define TILE_STORE(t, at, stride)                                                                            \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(at), "r"((long)(stride)) : "memory")
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
/* c[rows of a][columns of b] += a . b in bf16 pairs, f32 sums */
#define TILE_DOT(c, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)
#define TILE_RELEASE() __asm__ volatile("tilerelease" : :)

static inline void tile_config(const struct tile_shape *s) { __asm__ volatile("ldtilecfg %0" : : "m"(*s)); }
#endif
#endif
