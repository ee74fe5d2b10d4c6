/* Detects the CPU and fills the table of operations: scalar twins first, better levels over them.
 *
 * A level counts only when the CPU has its instructions and the system saves its registers. Nothing here
 * depends on how the program was compiled: files with intrinsics are called only through the table. */
#include "twins.h"

#include <stdatomic.h>
#include <string.h>

#if defined __x86_64__ || defined _M_X64
#define CPU_X86 1
#include <cpuid.h>
#if defined __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

static struct k_ops table;
static atomic_int ready_limit = -2;   /* limit the table was filled for; -2: not yet */

#ifdef CPU_X86
static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Tiles are 8 KiB of registers that Linux keeps for a process only after it has asked for them. Builds with
 * sanitizers have them in plain memory instead. */
static bool amx_ready(void)
{
#ifdef KERNELS_PLAIN_TILES
    return true;
#else
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 22) || !(d & 1u << 24)) return false;
    if ((xcr0() & 0x60000) != 0x60000) return false;
#if defined __linux__
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
#endif
}

static enum k_level detect(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return K_SCALAR;
    bool osxsave = c & 1u << 27, fma = c & 1u << 12, f16c = c & 1u << 29;
    if (!osxsave || !fma || !f16c || (xcr0() & 6) != 6) return K_SCALAR;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & 1u << 5)) return K_SCALAR;
    const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    if ((b & f_dq_bw_vl) != f_dq_bw_vl || (xcr0() & 0xe6) != 0xe6) return K_AVX2;
    if (!(c & 1u << 11)) return K_AVX512;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1u << 5)) return K_AVX512_VNNI;
    return amx_ready() ? K_AMX : K_AVX512_BF16;
}
#elif defined __aarch64__
static enum k_level detect(void) { return K_NEON; }
#else
static enum k_level detect(void) { return K_SCALAR; }
#endif

#ifdef KERNELS_PLAIN_TILES
#define AMX_NAME "avx512 vnni bf16 amx (tiles in plain memory)"
#else
#define AMX_NAME "avx512 vnni bf16 amx"
#endif

static const char *const level_name[] = {
    [K_SCALAR] = "scalar", [K_AVX2] = "avx2", [K_AVX512] = "avx512", [K_AVX512_VNNI] = "avx512 vnni",
    [K_AVX512_BF16] = "avx512 vnni bf16", [K_AMX] = AMX_NAME, [K_NEON] = "neon",
};

static void fill(enum k_level level)
{
    const struct k_attn attn = { .name = "f32 scalar",
                                 .elem = sizeof(float),
                                 .pack_q = attn_pack_q_c,
                                 .pack_group = attn_pack_group_c,
                                 .step = attn_step_c,
                                 .step_rows = attn_step_rows_c,
                                 .finish = attn_finish_c,
                                 .fold = fold_c };
    table = (struct k_ops){
        .level = level, .name = level_name[level],
        .dequant = dequant_row_c, .dot = dot_c, .rms_norm = rms_norm_c, .silu_mul = silu_mul_c,
        .gelu_mul = gelu_mul_c, .add = add_c, .rotate = rotate_c,
        .score_f32 = score_f32_c, .score_f16 = score_f16_c, .score_bf16 = score_bf16_c,
        .exp_sum = exp_sum_c, .max = max_c, .softcap = softcap_c,
        .cols_max = cols_max_c, .cols_exp2 = cols_exp2_c, .pool = pool_c, .add_rows = add_rows_c,
        .above = above_c, .readers = readers_c, .keep = keep_c, .part = part_c, .nibbles = nibbles_c,
        .to_f16 = to_f16_c, .from_f16 = from_f16_c, .to_bf16 = to_bf16_c, .from_bf16 = from_bf16_c,
        .scores = scores_c, .values = values_c, .unpack = unpack_c,
        .int8 = { "int16 scalar", 4, sizeof(int16_t), 32767, quant_c, pack_int8_c, tile_int8_c, NULL,
                  dot_int8_c, NULL },
        .f32 = { "f32 scalar", sizeof(float), convert_f32_c, pack_f32_c, tile_f32_c },
        .attn = attn,
        .attn_fast = attn,
    };
#ifdef CPU_X86
    if (level >= K_AVX2 && level <= K_AMX) level_avx2(&table);
    if (level >= K_AVX512 && level <= K_AMX) level_avx512(&table);
    if (level >= K_AVX512_VNNI && level <= K_AMX) level_vnni(&table);
    if (level >= K_AVX512_BF16 && level <= K_AMX) level_bf16(&table);
    if (level == K_AMX) level_amx(&table);
#elif defined __aarch64__
    if (level == K_NEON) level_neon(&table);
#endif
}

const struct k_ops *k_cpu_init(int limit)
{
    enum k_level best = detect();
    if (limit >= 0 && limit < (int)best) best = best == K_NEON ? K_SCALAR : (enum k_level)limit;
    if (atomic_load(&ready_limit) != (int)best) {
        fill(best);
        atomic_store(&ready_limit, (int)best);
    }
    return &table;
}

const struct k_ops *k_ops(void) { return &table; }

int k_level_find(const char *name)
{
    static const struct { const char *name; enum k_level level; } row[] = {
        { "scalar", K_SCALAR }, { "avx2", K_AVX2 }, { "avx512", K_AVX512 }, { "vnni", K_AVX512_VNNI },
        { "bf16", K_AVX512_BF16 }, { "amx", K_AMX }, { "neon", K_NEON },
    };
    for (size_t i = 0; name && i < sizeof row / sizeof *row; i++)
        if (!strcmp(name, row[i].name)) return (int)row[i].level;
    return -1;
}
