/* Attention of 32 rows over a strip of keys, added up where it is made: a block of 32 x 32 scores goes from
 * tiles to a corner of the nearest cache, becomes exponentials and is summed there. Tiles work on the next
 * block meanwhile: their instructions are few and long, so they are given out in portions between those of
 * the vectors. Scores are the three products hi.hi + hi.lo + lo.hi of halves (gemm_amx.c). */
#include "amx.h"
#include "attn512.h"
#include "levels.h"

enum { ROWS = K_STRIP_ROWS, SIDE = 32, CHUNK = 4 * SIDE, LD = CHUNK + SIDE, PARTS = 8, TILE = 512 };

/* Scores of four blocks, with zeros between rows: row r begins at room + SIDE + r * LD. */
struct room { float room[SIDE + ROWS * LD] __attribute__((aligned(64))), start[ROWS * K_PANEL]; };

/* 2^x, relative error 3e-6; below 2^-125 that, so that no denormal number is made. */
INLINE __m512 exp2_short(__m512 x)
{
    x = _mm512_max_ps(x, _mm512_set1_ps(-125.0f));
    __m512 f = _mm512_reduce_ps(x, 9), p = _mm512_set1_ps(1.353416806e-2f);   /* x - floor(x) */
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.201146030e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.414427571e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.930038344e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.000002593f));
    return _mm512_scalef_ps(p, x);
}

/* Which of 16 keys from `key` on row r sees. */
INLINE __mmask16 seen(const struct k_strip *s, int r, int key)
{
    int n = s->seen + r < s->keys ? s->seen + r - key : s->keys - key;
    return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

INLINE bool at_edge(const struct k_strip *s, int key)
{
    return key + SIDE > s->keys || key + SIDE > s->seen;
}

/* A part of a block of scores: four rows. sum[r][16] += their exponentials. */
INLINE void sum_part(const struct k_strip *s, const float *at, int key, int part, float *sum, bool edge)
{
    UNROLL for (int i = 0; i < 4; i++)
    {
        int r = part * 4 + i;
        __m512 a = exp2_short(_mm512_loadu_ps(at + r * LD)),
               b = exp2_short(_mm512_loadu_ps(at + r * LD + 16));
        if (edge) {
            a = _mm512_maskz_mov_ps(seen(s, r, key), a);
            b = _mm512_maskz_mov_ps(seen(s, r, key + 16), b);
        }
        _mm512_storeu_ps(sum + r * 16, _mm512_add_ps(_mm512_loadu_ps(sum + r * 16), _mm512_add_ps(a, b)));
    }
}

/* A part of a block: 16 keys of eight rows. The exponentials stay in their place and are added over rows. */
INLINE void add_part(const struct k_strip *s, float *at, int key, int part, float *by_key, bool edge)
{
    int col = part / 4 * 16, r0 = part % 4 * 8;
    __m512 v[2] = { _mm512_loadu_ps(by_key + col), _mm512_setzero_ps() };
    UNROLL for (int i = 0; i < 8; i++)
    {
        float *x = at + (r0 + i) * LD + col;
        __m512 e = exp2_short(_mm512_loadu_ps(x));
        if (edge) e = _mm512_maskz_mov_ps(seen(s, r0 + i, key + col), e);
        _mm512_storeu_ps(x, e);
        v[i % 2] = _mm512_add_ps(v[i % 2], e);
    }
    _mm512_storeu_ps(by_key + col, _mm512_add_ps(v[0], v[1]));
}

/* The same where not all rows see all keys: out of the way of the others. */
static __attribute__((noinline)) void sum_edge(const struct k_strip *s, const float *at, int key, int part,
                                               float *sum)
{
    sum_part(s, at, key, part, sum, true);
}

static __attribute__((noinline)) void add_edge(const struct k_strip *s, float *at, int key, int part,
                                               float *by_key)
{
    add_part(s, at, key, part, by_key, true);
}

/* Diagonals of the four blocks: row r counts r places further left. */
INLINE void add_diagonals(const float *room, float *by_offset)
{
    for (int t = 0; t < LD; t += 80) {
        __m512 v[5];
        UNROLL for (int i = 0; i < 5; i++) v[i] = _mm512_loadu_ps(by_offset + t + 16 * i);
        const float *x = room + 1 + t;
        for (int r = 0; r < ROWS; r++, x += LD + 1)
            UNROLL for (int i = 0; i < 5; i++) v[i] = _mm512_add_ps(v[i], _mm512_loadu_ps(x + 16 * i));
        UNROLL for (int i = 0; i < 5; i++) _mm512_storeu_ps(by_offset + t + 16 * i, v[i]);
    }
}

INLINE void shapes(void)
{
    struct tile_shape s;
    memset(&s, 0, sizeof s);
    s.palette = 1;
    for (int t = 0; t < 8; t++) tile_set(&s, t, 16, 64);
    tile_config(&s);
}

/* Scores less the reference: sums begin at its negative. */
INLINE void start_block(const struct room *room)
{
    TILE_LOAD(0, room->start, 64);
    TILE_LOAD(1, room->start, 64);
    TILE_LOAD(2, room->start + 16 * 16, 64);
    TILE_LOAD(3, room->start + 16 * 16, 64);
}

/* One of the three products of inputs i .. i+31, in this order: x hi . w lo, x hi . w hi, x lo . w hi. Each
 * loads what the one before has not left in tiles. */
INLINE void multiply(const struct k_strip *s, const uint16_t *w0, const uint16_t *w1, int i, int which)
{
    const uint16_t *x = s->q + (i / 16 + which / 2) * 2 * TILE;
    long at = (i + (which == 0 ? s->dim : 0)) * (long)K_PANEL;
    if (which != 1) TILE_LOAD(4, x, 64);
    if (which != 2) TILE_LOAD(6, w0 + at, 64);
    TILE_DOT(0, 4, 6);
    if (which != 2) TILE_LOAD(7, w1 + at, 64);
    TILE_DOT(1, 4, 7);
    if (which != 1) TILE_LOAD(5, x + TILE, 64);
    TILE_DOT(2, 5, 6);
    TILE_DOT(3, 5, 7);
}

INLINE void store_block(float *at)
{
    TILE_STORE(0, at, 4 * LD);
    TILE_STORE(1, at + 16, 4 * LD);
    TILE_STORE(2, at + 16 * LD, 4 * LD);
    TILE_STORE(3, at + 16 * LD + 16, 4 * LD);
}

/* Block b is multiplied while the vectors take block b - 1; where it begins a chunk, they also take the
 * diagonals of the last chunk before it is stored there. sum: of rows, or NULL: by key and offset. */
INLINE void strip(const struct k_strip *s, float *sum, float *by_key, float *by_offset, int steps)
{
    struct room room;
    if (!sum) memset(room.room, 0, sizeof room.room);
    for (int i = 0; i < ROWS * K_PANEL; i++) room.start[i] = -s->ref[i / K_PANEL];
    const uint16_t *w = s->k;
    size_t panel = 2 * (size_t)s->dim * K_PANEL;
    int blocks = (s->keys + SIDE - 1) / SIDE;
    shapes();
    for (int b = 0; b <= blocks; b++) {
        int key = (b - 1) * SIDE;
        float *at = room.room + SIDE + (b ? (b - 1) % 4 * SIDE : 0);
        bool edge = b && at_edge(s, key), more = b < blocks;
        const uint16_t *w0 = w + (size_t)b * 2 * panel, *w1 = b * SIDE + 16 < s->keys ? w0 + panel : w0;
        if (more) start_block(&room);
        int part = b ? 0 : PARTS, due = 0;   /* parts of the last block, spread over the products */
        UNROLL for (int i = 0; i < steps; i++)
            UNROLL for (int which = 0; which < 3; which++)
            {
                if (more) multiply(s, w0, w1, i * 32, which);
                for (due += PARTS; due >= 3 * steps && part < PARTS; due -= 3 * steps, part++)
                    if (sum && edge) sum_edge(s, at, key, part, sum);
                    else if (sum) sum_part(s, at, key, part, sum, false);
                    else if (edge) add_edge(s, at, key, part, by_key + key);
                    else add_part(s, at, key, part, by_key + key, false);
            }
        if (!sum && b && (b % 4 == 0 || !more)) {
            add_diagonals(room.room, by_offset + (b - 1) / 4 * CHUNK);
            if (!more) break;
            if (blocks - b < 4) memset(room.room, 0, sizeof room.room);
        }
        if (more) store_block(room.room + SIDE + b % 4 * SIDE);
    }
    TILE_RELEASE();
}

/* 32 x 32 scores into out; one: the second panel is not there. */
INLINE void score_block(const struct k_strip *s, const uint16_t *w0, const uint16_t *w1, float *out, long ld,
                        bool one)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int i = 0; i < s->dim; i += 32)
        UNROLL for (int which = 0; which < 3; which++) multiply(s, w0, w1, i, which);
    TILE_STORE(0, out, 4 * ld);
    TILE_STORE(2, out + 16 * ld, 4 * ld);
    if (one) return;
    TILE_STORE(1, out + 16, 4 * ld);
    TILE_STORE(3, out + 16 * ld + 16, 4 * ld);
}

void k_strip_score_amx(const void *k, int keys, int dim, const uint16_t *q, float *out, size_t ld)
{
    const struct k_strip s = { .q = q, .dim = dim };
    size_t panel = 2 * (size_t)dim * K_PANEL;
    const uint16_t *w = k;
    shapes();
    for (int j = 0; j < keys; j += SIDE, w += 2 * panel, out += SIDE) {
        bool one = keys - j <= K_PANEL;
        score_block(&s, w, one ? w : w + panel, out, (long)ld, one);
    }
    TILE_RELEASE();
}

/* Halves of 32 inputs of 16 rows are a tile; the tiles of hi lie before those of lo, for each 32 inputs. */
void k_strip_pack_amx(const float *x, int rows, int dim, uint16_t *q)
{
    if (rows < ROWS) memset(q, 0, sizeof *q * 2 * ROWS * (size_t)dim);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < dim; i += 32) {
            uint16_t *to = q + i / 32 * 4 * TILE + r / 16 * TILE + r % 16 * 32;
            gemm_amx.split_row(x + (size_t)r * (size_t)dim + i, 32, to, to + 2 * TILE);
        }
}

void k_strip_sum_amx(const struct k_strip *s, float *sum)
{
    if (s->dim == 64) strip(s, sum, NULL, NULL, 2);
    else strip(s, sum, NULL, NULL, s->dim / 32);
}

void k_strip_add_amx(const struct k_strip *s, float *by_key, float *by_offset)
{
    if (s->dim == 64) strip(s, NULL, by_key, by_offset, 2);
    else strip(s, NULL, by_key, by_offset, s->dim / 32);
}
