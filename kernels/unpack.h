/* Quantised rows as small integers, scales and minima: w[i] = d[i/sub] * q[i] + m[i/sub].
 *
 * Included by unpack.c and by files built with more CPU flags, so that the compiler vectorises the same plain
 * loops for each level. Symmetric types come with their offset subtracted and no m. Layouts are those that
 * dequant.c defines; the tests compare the two. */
#ifndef KERNELS_UNPACK_H
#define KERNELS_UNPACK_H

#include "twins.h"

#include <string.h>

#ifdef __F16C__
#include <immintrin.h>
static inline float unpack_half(const uint8_t *b)
{
    uint16_t h;
    memcpy(&h, b, sizeof h);
    return _cvtsh_ss(h);
}
#else
static inline float unpack_half(const uint8_t *b)
{
    uint16_t h;
    float f;
    memcpy(&h, b, sizeof h);
    from_f16_c(&h, 1, &f);
    return f;
}
#endif

static inline void unpack_nibbles(const uint8_t *restrict qs, int n, int offset, int8_t *restrict lo,
                                  int8_t *restrict hi)
{
    for (int i = 0; i < n; i++) {
        lo[i] = (int8_t)((qs[i] & 15) - offset);
        hi[i] = (int8_t)((qs[i] >> 4) - offset);
    }
}

static inline void unpack_fifth(const uint8_t *qh, int offset,
                                int8_t *restrict q) /* bit i of qh: +16 for value i */
{
    uint32_t h;
    memcpy(&h, qh, sizeof h);
    for (int i = 0; i < 32; i++) q[i] = (int8_t)(q[i] + (int)((h >> i & 1) << 4) - offset);
}

static inline void unpack_32(enum k_type type, const uint8_t *b, int8_t *restrict q, float *d, float *m)
{
    *d = unpack_half(b);
    *m = type == K_Q4_1 || type == K_Q5_1 ? unpack_half(b + 2) : 0.0f;
    switch (type) {
    case K_Q8_0: memcpy(q, b + 2, 32); break;
    case K_Q4_0: unpack_nibbles(b + 2, 16, 8, q, q + 16); break;
    case K_Q4_1: unpack_nibbles(b + 4, 16, 0, q, q + 16); break;
    case K_Q5_0:
        unpack_nibbles(b + 6, 16, 0, q, q + 16);
        unpack_fifth(b + 2, 16, q);
        break;
    default:
        unpack_nibbles(b + 8, 16, 0, q, q + 16);
        unpack_fifth(b + 4, 0, q);
        break;
    }
}

static inline void unpack_q2_k(const uint8_t *b, int8_t *restrict q, float *d, float *m)
{
    float all = unpack_half(b + 80), min = unpack_half(b + 82);
    for (int i = 0; i < 16; i++) {
        d[i] = all * (float)(b[i] & 15);
        m[i] = -min * (float)(b[i] >> 4);
    }
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 4; j++)
            for (int l = 0; l < 32; l++)
                q[128 * half + 32 * j + l] = (int8_t)(b[16 + 32 * half + l] >> (2 * j) & 3);
}

static inline void unpack_scales_q3_k(const uint8_t *b, int8_t *s)
{
    const uint8_t *sc = b + 96;
    for (int i = 0; i < 16; i++) {   /* six bits: low four in bytes 0-7, high two in bytes 8-11 */
        int lo = i < 8 ? sc[i] & 15 : sc[i - 8] >> 4, hi = sc[8 + i % 4] >> (2 * (i / 4)) & 3;
        s[i] = (int8_t)((lo | hi << 4) - 32);
    }
}

static inline void unpack_q3_k(const uint8_t *b, int8_t *restrict q, float *d)
{
    const uint8_t *hm = b, *qs = b + 32;
    float all = unpack_half(b + 108);
    int8_t s[16];
    unpack_scales_q3_k(b, s);
    for (int i = 0; i < 16; i++) d[i] = all * (float)s[i];
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 4; j++)
            for (int l = 0; l < 32; l++) {
                int low = qs[32 * half + l] >> (2 * j) & 3, high = hm[l] >> (4 * half + j) & 1;
                q[128 * half + 32 * j + l] = (int8_t)(low + 4 * high - 4);
            }
}

/* Six-bit scales and minima of eight sub-blocks in twelve bytes. */
static inline void unpack_scales_q45_k(const uint8_t *b, uint8_t *x, uint8_t *y)
{
    const uint8_t *sc = b + 4;
    for (int s = 0; s < 8; s++) {
        x[s] = (uint8_t)(s < 4 ? sc[s] & 63 : (sc[s + 4] & 15) | (sc[s - 4] >> 6) << 4);
        y[s] = (uint8_t)(s < 4 ? sc[s + 4] & 63 : sc[s + 4] >> 4 | (sc[s] >> 6) << 4);
    }
}

static inline void unpack_q45_k(const uint8_t *b, bool five, int8_t *restrict q, float *d, float *m)
{
    const uint8_t *qh = b + 16, *qs = b + (five ? 48 : 16);
    float all = unpack_half(b), min = unpack_half(b + 2);
    uint8_t x[8], y[8];
    unpack_scales_q45_k(b, x, y);
    for (int s = 0; s < 8; s++) {
        d[s] = all * (float)x[s];
        m[s] = -min * (float)y[s];
    }
    for (int j = 0; j < 4; j++) unpack_nibbles(qs + 32 * j, 32, 0, q + 64 * j, q + 64 * j + 32);
    for (int s = 0; five && s < 8; s++)
        for (int l = 0; l < 32; l++) q[32 * s + l] = (int8_t)(q[32 * s + l] + ((qh[l] >> s & 1) << 4));
}

static inline void unpack_q6_k(const uint8_t *b, int8_t *restrict q, float *d)
{
    const uint8_t *ql = b, *qh = b + 128;
    float all = unpack_half(b + 208);
    for (int i = 0; i < 16; i++) d[i] = all * (float)(int8_t)b[192 + i];
    for (int half = 0; half < 2; half++, ql += 64, qh += 32, q += 128)
        for (int l = 0; l < 32; l++) {
            q[l] = (int8_t)(((ql[l] & 15) | (qh[l] & 3) << 4) - 32);
            q[l + 32] = (int8_t)(((ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4) - 32);
            q[l + 64] = (int8_t)((ql[l] >> 4 | (qh[l] >> 4 & 3) << 4) - 32);
            q[l + 96] = (int8_t)((ql[l + 32] >> 4 | (qh[l] >> 6) << 4) - 32);
        }
}

static inline int unpack_row(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m,
                             bool *has_m)
{
    const uint8_t *b = row;
    int block = k_type_info[type].block, bytes = k_type_info[type].bytes;
    int sub = type == K_Q2_K || type == K_Q3_K || type == K_Q6_K ? 16 : 32;
    *has_m = type == K_Q4_1 || type == K_Q5_1 || type == K_Q2_K || type == K_Q4_K || type == K_Q5_K;
    for (int i = 0; i < n; i += block, b += bytes) {
        switch (type) {
        case K_Q2_K: unpack_q2_k(b, q + i, d + i / 16, m + i / 16); break;
        case K_Q3_K: unpack_q3_k(b, q + i, d + i / 16); break;
        case K_Q4_K: unpack_q45_k(b, false, q + i, d + i / 32, m + i / 32); break;
        case K_Q5_K: unpack_q45_k(b, true, q + i, d + i / 32, m + i / 32); break;
        case K_Q6_K: unpack_q6_k(b, q + i, d + i / 16); break;
        default: unpack_32(type, b, q + i, d + i / 32, m + i / 32); break;
        }
    }
    return sub;
}
#endif
