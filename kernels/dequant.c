/* Scalar dequantisers: the definition of what the bytes of a weight row mean.
 *
 * A row is a sequence of blocks without padding; blocks of odd size are not aligned, so every field is read
 * bytewise. Small blocks hold 32 values with one scale (and minimum); the K types hold 256 values whose
 * sub-blocks of 16 or 32 have small integer scales under one f16 scale. Layouts: llama.cpp's ggml-common.h.
 */
#include "twins.h"

#include <string.h>

typedef void block_fn(const uint8_t *b, float *out);

static float half_at(const uint8_t *b)
{
    uint16_t h;
    float f;
    memcpy(&h, b, sizeof h);
    from_f16_c(&h, 1, &f);
    return f;
}

/* Nibbles of a block of 32: the low ones are the first half. */
static int nib32(const uint8_t *qs, int e) { return e < 16 ? qs[e] & 15 : qs[e - 16] >> 4; }

static void block_q8_0(const uint8_t *b, float *out)
{
    float d = half_at(b);
    for (int e = 0; e < 32; e++) out[e] = d * (float)(int8_t)b[2 + e];
}

static void block_q4_0(const uint8_t *b, float *out)
{
    float d = half_at(b);
    for (int e = 0; e < 32; e++) out[e] = d * (float)(nib32(b + 2, e) - 8);
}

static void block_q4_1(const uint8_t *b, float *out)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int e = 0; e < 32; e++) out[e] = d * (float)nib32(b + 4, e) + m;
}

static int bit32(const uint8_t *qh, int e) { return qh[e / 8] >> (e % 8) & 1; }

static void block_q5_0(const uint8_t *b, float *out)
{
    float d = half_at(b);
    for (int e = 0; e < 32; e++) out[e] = d * (float)(nib32(b + 6, e) + 16 * bit32(b + 2, e) - 16);
}

static void block_q5_1(const uint8_t *b, float *out)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int e = 0; e < 32; e++) out[e] = d * (float)(nib32(b + 8, e) + 16 * bit32(b + 4, e)) + m;
}

/* The K types number their 256 elements as half n, quarter j of the half, lane l: e = 128n + 32j + l. */
static void block_q2_k(const uint8_t *b, float *out)
{
    const uint8_t *scales = b, *qs = b + 16;
    float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int e = 0; e < 256; e++) {
        int n = e / 128, j = e % 128 / 32, l = e % 32, s = scales[e / 16];
        int q = qs[32 * n + l] >> (2 * j) & 3;
        out[e] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
    }
}

static void block_q3_k(const uint8_t *b, float *out)
{
    const uint8_t *hmask = b, *qs = b + 32, *scales = b + 96;
    float d = half_at(b + 108);
    for (int e = 0; e < 256; e++) {
        int n = e / 128, j = e % 128 / 32, l = e % 32, k = e / 16;
        int q = (qs[32 * n + l] >> (2 * j) & 3) - (hmask[l] >> (4 * n + j) & 1 ? 0 : 4);
        int low = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4;
        int up = scales[8 + k % 4] >> (2 * (k / 4)) & 3;
        out[e] = d * (float)(low + 16 * up - 32) * (float)q;
    }
}

/* Six-bit scale and minimum of sub-block s (0..7) of Q4_K and Q5_K. */
static void scale_min(const uint8_t *scales, int s, int *sc, int *mn)
{
    if (s < 4) {
        *sc = scales[s] & 63;
        *mn = scales[s + 4] & 63;
    } else {
        *sc = (scales[s + 4] & 15) + 16 * (scales[s - 4] >> 6);
        *mn = (scales[s + 4] >> 4) + 16 * (scales[s] >> 6);
    }
}

static void block_q45_k(const uint8_t *scales, const uint8_t *qh, const uint8_t *qs, float d, float dmin,
                        float *out)
{
    for (int s = 0; s < 8; s++) {
        int sc, mn;
        scale_min(scales, s, &sc, &mn);
        float ds = d * (float)sc, ms = dmin * (float)mn;
        for (int l = 0; l < 32; l++) {
            int q = s % 2 ? qs[32 * (s / 2) + l] >> 4 : qs[32 * (s / 2) + l] & 15;
            if (qh) q += 16 * (qh[l] >> s & 1);
            out[32 * s + l] = ds * (float)q - ms;
        }
    }
}

static void block_q4_k(const uint8_t *b, float *out)
{
    block_q45_k(b + 4, NULL, b + 16, half_at(b), half_at(b + 2), out);
}
static void block_q5_k(const uint8_t *b, float *out)
{
    block_q45_k(b + 4, b + 16, b + 48, half_at(b), half_at(b + 2), out);
}

static void block_q6_k(const uint8_t *b, float *out)
{
    const uint8_t *ql = b, *qh = b + 128, *scales = b + 192;
    float d = half_at(b + 208);
    for (int e = 0; e < 256; e++) {
        int n = e / 128, j = e % 128 / 32, l = e % 32;
        int byte = ql[64 * n + l + 32 * (j & 1)];
        int low = j < 2 ? byte & 15 : byte >> 4, up = qh[32 * n + l] >> (2 * j) & 3;
        out[e] = d * (float)(int8_t)scales[e / 16] * (float)(low + 16 * up - 32);
    }
}

static block_fn *const block_of[K_N_TYPES] = {
    [K_Q8_0] = block_q8_0, [K_Q4_0] = block_q4_0, [K_Q4_1] = block_q4_1, [K_Q5_0] = block_q5_0,
    [K_Q5_1] = block_q5_1, [K_Q2_K] = block_q2_k, [K_Q3_K] = block_q3_k, [K_Q4_K] = block_q4_k,
    [K_Q5_K] = block_q5_k, [K_Q6_K] = block_q6_k,
};

void dequant_row_c(enum k_type type, const void *row, int n, float *out)
{
    const uint8_t *b = row;
    if (type == K_F32) {
        memcpy(out, row, (size_t)n * sizeof *out);
        return;
    }
    if (type == K_F16 || type == K_BF16) {
        for (int i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, b + 2 * (size_t)i, sizeof h);
            if (type == K_F16) from_f16_c(&h, 1, out + i);
            else from_bf16_c(&h, 1, out + i);
        }
        return;
    }
    const struct k_type_info *t = &k_type_info[type];
    for (int i = 0; i < n; i += t->block, b += t->bytes) block_of[type](b, out + i);
}
