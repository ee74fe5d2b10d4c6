/* Stored weights to integers or to f32, NEON.
 *
 * The loops of unpack.h are plain enough for the compiler, which has NEON by default on this CPU; only the
 * last step, integers times scale, is written out. Products and sums are rounded as in the twin. */
#include "unpack.h"
#include "neon.h"
#include "levels.h"

int k_unpack_neon(enum k_type type, const void *row, int n, int8_t *q, float *d, float *m, bool *has_m)
{
    return unpack_row(type, row, n, q, d, m, has_m);
}

void k_dequant_neon(enum k_type type, const void *row, int n, float *out)
{
    enum { PIECE = 256 }; /* fits the first-level cache */
    int8_t q[PIECE];
    float d[PIECE / 16], m[PIECE / 16];
    if (type == K_F16) k_from_f16_neon(row, n, out);
    else if (type == K_BF16) k_from_bf16_neon(row, n, out);
    else if (type == K_F32) memcpy(out, row, (size_t)n * sizeof *out);
    else
        for (int i = 0; i < n; i += PIECE) {
            bool has_m;
            int len = n - i < PIECE ? n - i : PIECE;
            const uint8_t *b = (const uint8_t *)row +
                               (size_t)(i / k_type_info[type].block) * (size_t)k_type_info[type].bytes;
            int sub = k_unpack_neon(type, b, len, q, d, m, &has_m);
            for (int j = 0; j < len; j += 8) {
                int16x8_t w = vmovl_s8(vld1_s8(q + j));
                float32x4_t lo = vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(w))), d[j / sub]);
                float32x4_t hi = vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(w)), d[j / sub]);
                if (has_m) {
                    lo = vaddq_f32(lo, vdupq_n_f32(m[j / sub]));
                    hi = vaddq_f32(hi, vdupq_n_f32(m[j / sub]));
                }
                vst1q_f32(out + i + j, lo);
                vst1q_f32(out + i + j + 4, hi);
            }
        }
}
