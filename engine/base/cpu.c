/* SACCADE_CPU: see cpu.h. */
#include "base/cpu.h"

#include "kernels.h"

#include <stdlib.h>

enum sac_code cpu_choose(struct sac_err *err)
{
    const char *name = getenv("SACCADE_CPU");
    int level = k_level_find(name);
    if (name && *name && level < 0)
        return sac_fail(err, SAC_EARG, "SACCADE_CPU=%.40s: expected scalar, avx2, avx512, vnni, bf16, amx or neon",
                        name);
    k_cpu_init(level);
    return SAC_OK;
}
