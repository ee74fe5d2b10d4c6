/* config.json from untrusted bytes. */
#include "fuzz.h"

#include "model/family.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sac_err err = { SAC_OK, "" };
    struct sac_arena arena = { 0 };
    struct config c = { 0 };
    json_t *o = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(o) && config_hf(&c, o, "input", &arena, &err) == SAC_OK)
        config_round_frequencies(&c, &arena);
    json_decref(o);
    sac_arena_free(&arena);
    return 0;
}
