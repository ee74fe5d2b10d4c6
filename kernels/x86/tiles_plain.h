/* The tile instructions of amx.h on plain memory, for builds with sanitizers (KERNELS_PLAIN_TILES).
 *
 * The sanitizers do not see what a tile instruction reads and writes, and most processors have none. Here the same
 * kernels run on every CPU with vdpbf16ps: shapes are checked as the processor checks them (it faults, this aborts),
 * rows past a tile's shape read as zero, and each loaded or stored row is an access that the sanitizers check.
 * Products are those of vdpbf16ps, whose two products of a pair are summed in another order than by tdpbf16ps. */
#ifndef KERNELS_TILES_PLAIN_H
#define KERNELS_TILES_PLAIN_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { TILES = 8, TILE_ROWS = 16, TILE_BYTES = 64 };

static _Thread_local struct plain_tiles {
    bool configured;
    struct tile_shape shape;
    _Alignas(64) uint8_t at[TILES][TILE_ROWS][TILE_BYTES];
} plain_tiles;

static inline void plain_expect(bool holds, const char *what, int tile)
{
    if (holds) return;
    fprintf(stderr, "tile %d: %s\n", tile, what);
    abort();
}

static inline void plain_expect_shape(int tile)
{
    const struct plain_tiles *t = &plain_tiles;
    plain_expect(t->configured, "used without a configuration", tile);
    plain_expect(t->shape.rows[tile] > 0 && t->shape.bytes[tile] > 0, "used without a shape", tile);
}

static inline void plain_config(const struct tile_shape *s)
{
    plain_expect(s->palette == 1 && s->start == 0, "the palette is not 1", 0);
    for (int t = 0; t < TILES; t++)
        plain_expect(s->rows[t] <= TILE_ROWS && s->bytes[t] <= TILE_BYTES && s->bytes[t] % 4 == 0, "shape", t);
    memset(&plain_tiles, 0, sizeof plain_tiles);
    plain_tiles.shape = *s;
    plain_tiles.configured = true;
}

static inline void plain_release(void) { plain_tiles.configured = false; }

static inline void plain_zero(int t)
{
    plain_expect_shape(t);
    memset(plain_tiles.at[t], 0, sizeof plain_tiles.at[t]);
}

static inline void plain_load(int t, const void *from, long stride)
{
    plain_zero(t);
    for (int r = 0; r < plain_tiles.shape.rows[t]; r++)
        memcpy(plain_tiles.at[t][r], (const char *)from + r * stride, plain_tiles.shape.bytes[t]);
}

static inline void plain_store(int t, void *to, long stride)
{
    plain_expect_shape(t);
    for (int r = 0; r < plain_tiles.shape.rows[t]; r++)
        memcpy((char *)to + r * stride, plain_tiles.at[t][r], plain_tiles.shape.bytes[t]);
}

/* Only own tiles, whose shape was checked, are touched: checked again they would take most of the tests' time. */
__attribute__((noinline, no_sanitize("address", "undefined")))
static void plain_dot(int c, int a, int b)
{
    const struct tile_shape *s = &plain_tiles.shape;
    plain_expect_shape(a), plain_expect_shape(b), plain_expect_shape(c);
    plain_expect(c != a && c != b && a != b, "is two operands of one product", c);
    plain_expect(s->rows[c] == s->rows[a] && s->bytes[c] == s->bytes[b] && s->bytes[a] == 4 * s->rows[b],
                 "shapes do not fit", c);
    for (int r = 0; r < s->rows[c]; r++) {
        __m512 sum = _mm512_load_ps(plain_tiles.at[c][r]);
        for (int pair = 0; pair < s->rows[b]; pair++) {
            int32_t two;
            memcpy(&two, plain_tiles.at[a][r] + 4 * pair, sizeof two);
            sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(two),
                                   (__m512bh)_mm512_load_si512(plain_tiles.at[b][pair]));
        }
        _mm512_store_ps(plain_tiles.at[c][r], sum);
    }
}

#define TILE_LOAD(t, from, stride) plain_load(t, from, stride)
#define TILE_STORE(t, to, stride) plain_store(t, to, stride)
#define TILE_ZERO(t) plain_zero(t)
#define TILE_DOT(c, a, b) plain_dot(c, a, b)
#define TILE_RELEASE() plain_release()

static inline void tile_config(const struct tile_shape *s) { plain_config(s); }
#endif
