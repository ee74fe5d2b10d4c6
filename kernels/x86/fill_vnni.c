/* What AVX512_VNNI brings to the table. */
#include "levels.h"

void level_vnni(struct k_ops *ops)
{
    ops->int8 = int8_vnni;
    ops->words = words_vnni;
    ops->nibbles = k_nibbles_vnni;
}
