/* Planes: how quantised weights of less than 8 bits are repacked, 16 rows together, at no more bytes than the
 * file takes (K types: 1 to 5 % more, where six-bit scales become bytes).
 *
 * A panel of n inputs holds, for each block of 32 of them, a plane of low bits (4 or 2 of each value) and
 * perhaps one of high bits (1 or 2). A plane is made of vectors of 64 bytes. Their lanes are what the level's
 * packed panels have there (k_int8.pack: four bytes of a row, or two 16-bit words), and the bits of a lane
 * are fields for other inputs of that row: input group g, which is vector g of the block's packed panel, is
 * field g / V of vector g % V of the V vectors of the plane. So a mask and a shift of whole vectors yield 16
 * rows in the order the products want, whatever the type, and no sum has to cross lanes.
 *
 * Scales are f16 d[16] and perhaps m[16], for each block of 32 and behind all planes; with the K types for
 * each 256 inputs and right behind their planes, followed by the integer scales of their sub-blocks (bytes
 * [16] each, with those of the minima behind them, or in the same byte for Q2_K). Superblocks take a multiple
 * of 64 bytes. w = d*s*(q - offset) - m*t, or d*(q - offset) + m. */
#ifndef KERNELS_PLANES_H
#define KERNELS_PLANES_H

#include "unpack.h"

struct planes {
    int low, high;          /* bits in either plane */
    int sub, offset;        /* inputs that share a scale; what is taken off an unsigned value */
    bool super, min;        /* a K type; has minima */
};

/* type, low, high, sub, offset, super, min */
#define PLANES_TYPES(X)                                                                                      \
    X(Q4_0, 4, 0, 32, 8, false, false)                                                                       \
    X(Q4_1, 4, 0, 32, 0, false, true)                                                                        \
    X(Q5_0, 4, 1, 32, 16, false, false)                                                                      \
    X(Q5_1, 4, 1, 32, 0, false, true)                                                                        \
    X(Q2_K, 2, 0, 16, 0, true, true)                                                                         \
    X(Q3_K, 2, 1, 16, 4, true, false)                                                                        \
    X(Q4_K, 4, 0, 32, 0, true, true)                                                                         \
    X(Q5_K, 4, 1, 32, 0, true, true)                                                                         \
    X(Q6_K, 4, 2, 16, 32, true, false)

#define PLANES_ROW(TYPE, ...) [K_##TYPE] = { __VA_ARGS__ },
static const struct planes planes_of[K_N_TYPES] = { PLANES_TYPES(PLANES_ROW) };

enum { PLANES_VEC = 64 };   /* bytes of a vector */

static inline int planes_block(enum k_type t) { return PLANES_VEC * (planes_of[t].low + planes_of[t].high); }
static inline int planes_unit(enum k_type t) { return planes_of[t].super ? 256 : 32; }
/* Bytes of the scales of a unit; from one unit's planes to the next one's, and the same for scales. */
#define PLANES_SCALES(K) ((K).super ? PLANES_VEC + 256 : (K).min ? 64 : 32)
#define PLANES_STEP(K)                                                                                       \
    (PLANES_VEC * ((K).low + (K).high) * ((K).super ? 8 : 1) + ((K).super ? PLANES_SCALES(K) : 0))
#define PLANES_SCALES_STEP(K) ((K).super ? PLANES_STEP(K) : PLANES_SCALES(K))
/* Where the first scales are. */
static inline size_t planes_first_scales(const struct planes *k, int n)
{
    return (size_t)(PLANES_VEC * (k->low + k->high)) * (size_t)(k->super ? 8 : n / 32);
}

static inline size_t planes_bytes(enum k_type t, int n)
{
    if (!planes_of[t].low || n % planes_unit(t)) return 0;
    const struct planes *k = &planes_of[t];
    int unit = PLANES_STEP(*k) + (k->super ? 0 : PLANES_SCALES(*k));
    size_t bytes = (size_t)(n / planes_unit(t)) * (size_t)unit;
    return (bytes + PLANES_VEC - 1) / PLANES_VEC * PLANES_VEC;
}

/* The integer scales of a block of a K type: [16] or [8]; t: of the minima. */
static inline void planes_integers(enum k_type type, const uint8_t *b, uint8_t *s, uint8_t *t)
{
    switch (type) {
    case K_Q2_K: memcpy(s, b, 16); break;   /* those of the minima are their high nibbles */
    case K_Q3_K: unpack_scales_q3_k(b, (int8_t *)s); break;
    case K_Q6_K: memcpy(s, b + 192, 16); break;
    default: unpack_scales_q45_k(b, s, t); break;
    }
}

static inline void planes_halves(enum k_type type, const uint8_t *b, uint16_t *d, uint16_t *m)
{
    int at = type == K_Q2_K ? 80 : type == K_Q3_K ? 108 : type == K_Q6_K ? 208 : 0;
    memcpy(d, b + at, sizeof *d);
    memcpy(m, b + at + 2, planes_of[type].min ? sizeof *m : 0);
}

/* Scales of row r of the panel, whose weights lie at b. */
static inline void planes_pack_scales(enum k_type type, const uint8_t *b, int n, int r, uint8_t *out)
{
    const struct planes *k = &planes_of[type];
    int unit = planes_unit(type), subs = k->sub == 32 ? 8 : 16;
    for (int i = 0; i < n; i += unit, b += k_type_info[type].bytes * (unit / k_type_info[type].block)) {
        uint16_t d, m = 0;
        uint8_t s[16], t[16];
        uint8_t *ints = out + (k->min ? 64 : 32);
        planes_halves(type, b, &d, &m);
        memcpy(out + 2 * r, &d, sizeof d);
        if (k->min) memcpy(out + 32 + 2 * r, &m, sizeof m);
        if (k->super) planes_integers(type, b, s, t);
        for (int j = 0; k->super && j < subs; j++) {
            ints[j * (256 / subs) + r] = s[j];
            if (subs == 8) ints[j * 32 + 16 + r] = t[j];
        }
        out += PLANES_SCALES_STEP(*k);
    }
}

/* The scales of n inputs as f32 [n / sub][16], from unit u on; m NULL: the type has none. */
static inline void planes_open_scales(enum k_type type, const uint8_t *scales, int u, int n, float *d,
                                      float *m)
{
    const struct planes *k = &planes_of[type];
    int unit = planes_unit(type), subs = unit / k->sub;
    const uint8_t *s = scales + (size_t)u * (size_t)PLANES_SCALES_STEP(*k);
    for (int i = 0; i < n; i += unit, s += PLANES_SCALES_STEP(*k)) {
        const uint8_t *ints = s + (k->min ? 64 : 32);
        float all[16], min[16] = { 0 };
        for (int r = 0; r < 16; r++) {
            all[r] = unpack_half(s + 2 * r);
            if (k->min) min[r] = unpack_half(s + 32 + 2 * r);
        }
        for (int j = 0; j < subs; j++, d += 16, m += k->min ? 16 : 0)
            for (int r = 0; r < 16; r++) {
                const uint8_t *at = ints + j * (256 / subs) + r;
                if (!k->super) d[r] = all[r];
                else if (type == K_Q2_K) d[r] = all[r] * (float)(*at & 15);
                else d[r] = all[r] * (k->min ? (float)*at : (float)(int8_t)*at);
                if (!k->min) continue;
                if (!k->super) m[r] = min[r];
                else m[r] = -min[r] * (float)(type == K_Q2_K ? *at >> 4 : at[16]);
            }
    }
}

/* Planes of a block from its unsigned values u, [groups][lanes], and back. LANE: an integer as wide as a
 * lane. */
#define DEFINE_PLANES(LANE)                                                                                  \
    enum { LANES = PLANES_VEC / (int)sizeof(LANE) };                                                         \
    static inline void pack_fields(const uint8_t *u, int bits, int shift, LANE *dst)                         \
    {                                                                                                        \
        for (int v = 0; v < bits; v++, dst += LANES)                                                         \
            for (int f = 0; f < 8 * (int)sizeof(LANE) / bits; f++) {                                         \
                const uint8_t *from = u + (v + bits * f) * LANES;                                            \
                for (int i = 0; i < LANES; i++) {                                                            \
                    int x = from[i] >> shift & ((1 << bits) - 1);                                            \
                    dst[i] = (LANE)((f ? dst[i] : 0) | x << (bits * f));                                     \
                }                                                                                            \
            }                                                                                                \
    }                                                                                                        \
    static inline void open_fields(const LANE *src, int bits, int shift, uint8_t *u)                         \
    {                                                                                                        \
        for (int v = 0; v < bits; v++, src += LANES)                                                         \
            for (int f = 0; f < 8 * (int)sizeof(LANE) / bits; f++) {                                         \
                uint8_t *to = u + (v + bits * f) * LANES;                                                    \
                for (int i = 0; i < LANES; i++) {                                                            \
                    int x = src[i] >> (bits * f) & ((1 << bits) - 1);                                        \
                    to[i] = (uint8_t)((shift ? to[i] : 0) | x << shift);                                     \
                }                                                                                            \
            }                                                                                                \
    }                                                                                                        \
    /* the widths as constants, for the compiler */                                                          \
    static void pack_plane(const uint8_t *u, int bits, int shift, LANE *dst)                                 \
    {                                                                                                        \
        if (bits == 4) pack_fields(u, 4, shift, dst);                                                        \
        else if (bits == 2) pack_fields(u, 2, shift, dst);                                                   \
        else pack_fields(u, 1, shift, dst);                                                                  \
    }                                                                                                        \
    static void open_plane(const LANE *src, int bits, int shift, uint8_t *u)                                 \
    {                                                                                                        \
        if (bits == 4) open_fields(src, 4, shift, u);                                                        \
        else if (bits == 2) open_fields(src, 2, shift, u);                                                   \
        else open_fields(src, 1, shift, u);                                                                  \
    }

/* What k_planes wants, from the level's rows to integers (UNPACK), its packing of panels (PACK), and what it
 * flips in them (FLIP). */
#define DEFINE_PLANES_PACK(LANE, UNPACK, PACK, FLIP)                                                         \
    static void planes_pack(enum k_type type, const void *w, size_t stride, int rows, int n, void *dst)      \
    {                                                                                                        \
        enum { MOST = 256 };                                                                                 \
        const struct planes *k = &planes_of[type];                                                           \
        const uint8_t *row = w;                                                                              \
        uint8_t *out = dst, *scales = out + planes_first_scales(k, n);                                       \
        int unit = planes_unit(type);                                                                        \
        size_t unit_bytes = (size_t)(unit / k_type_info[type].block) * (size_t)k_type_info[type].bytes;      \
        int8_t q[16 * MOST], p[16 * MOST];                                                                   \
        uint8_t u[16 * 32];                                                                                  \
        float d[MOST / 16], m[MOST / 16];                                                                    \
        for (int r = 0; r < 16; r++) /* rows past the end repeat the last */                                 \
            planes_pack_scales(type, row + (size_t)(r < rows ? r : rows - 1) * stride, n, r, scales);        \
        for (int i = 0; i < n; i += unit, row += unit_bytes) {                                               \
            bool has_m;                                                                                      \
            for (int r = 0; r < 16; r++)                                                                     \
                UNPACK(type, row + (size_t)(r < rows ? r : rows - 1) * stride, unit, q + r * unit, d, m,     \
                       &has_m);                                                                              \
            PACK(q, unit, p);                                                                                \
            for (int b = 0; b < unit / 32; b++, out += planes_block(type)) {                                 \
                for (int j = 0; j < 16 * 32; j++)                                                            \
                    u[j] = (uint8_t)((uint8_t)(p[b * 16 * 32 + j] ^ (FLIP)) + k->offset);                    \
                pack_plane(u, k->low, 0, (LANE *)out);                                                       \
                if (k->high) pack_plane(u, k->high, k->low, (LANE *)(out + PLANES_VEC * k->low));            \
            }                                                                                                \
            if (k->super) out += PLANES_SCALES(*k);                                                          \
        }                                                                                                    \
    }                                                                                                        \
    static int planes_open(enum k_type type, const void *src, int n, int k0, int count, int8_t *q, float *d, \
                           float *m, bool *has_m)                                                            \
    {                                                                                                        \
        const struct planes *k = &planes_of[type];                                                           \
        size_t unit = (size_t)(k0 / planes_unit(type));                                                      \
        const uint8_t *in = (const uint8_t *)src + unit * (size_t)PLANES_STEP(*k);                           \
        const uint8_t *scales = (const uint8_t *)src + planes_first_scales(k, n);                            \
        for (int b = 0; b < count / 32; b++, in += planes_block(type), q += 16 * 32) {                       \
            uint8_t u[16 * 32];                                                                              \
            open_plane((const LANE *)in, k->low, 0, u);                                                      \
            if (k->high) open_plane((const LANE *)(in + PLANES_VEC * k->low), k->high, k->low, u);           \
            for (int j = 0; j < 16 * 32; j++) q[j] = (int8_t)((u[j] - k->offset) ^ (FLIP));                  \
            if (k->super && b % 8 == 7) in += PLANES_SCALES(*k);                                             \
        }                                                                                                    \
        planes_open_scales(type, scales, k0 / planes_unit(type), count, d, m);                               \
        *has_m = k->min;                                                                                     \
        return k->sub;                                                                                       \
    }
#endif
