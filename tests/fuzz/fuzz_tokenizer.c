/* tokenizer.json from untrusted bytes; what follows a NUL byte is text for the tokenizer. */
#include "fuzz.h"

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sac_err err = { SAC_OK, "" };
    const uint8_t *gap = size ? memchr(data, 0, size) : NULL;
    size_t n = gap ? (size_t)(gap - data) : size;
    struct model_files f = { .path = fuzz_name() };
    struct tokenizer *t = NULL;
    f.tokenizer = json_loadb((const char *)data, n, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(f.tokenizer) && tokenizer_load(&t, &f, &err) == SAC_OK && t) {
        if (gap) fuzz_encode(t, (const char *)gap + 1, size - n - 1);
        else fuzz_encode(t, "Hello  world\n\t123 \xe2\x96\x81 e\xcc\x81 \xff", 27);
    }
    tokenizer_free(t);
    json_decref(f.tokenizer);
    free(f.path);
    return 0;
}
