/* Storage types of weights: name, elements and bytes of a block. */
#include "kernels.h"

const struct k_type_info k_type_info[K_N_TYPES] = {
    [K_F32] = { "F32", 1, 4 },      [K_F16] = { "F16", 1, 2 },      [K_BF16] = { "BF16", 1, 2 },
    [K_Q8_0] = { "Q8_0", 32, 34 },  [K_Q4_0] = { "Q4_0", 32, 18 },  [K_Q4_1] = { "Q4_1", 32, 20 },
    [K_Q5_0] = { "Q5_0", 32, 22 },  [K_Q5_1] = { "Q5_1", 32, 24 },  [K_Q2_K] = { "Q2_K", 256, 84 },
    [K_Q3_K] = { "Q3_K", 256, 110 }, [K_Q4_K] = { "Q4_K", 256, 144 }, [K_Q5_K] = { "Q5_K", 256, 176 },
    [K_Q6_K] = { "Q6_K", 256, 210 },
};
