/* What the fuzz targets share. Each target is a libFuzzer program of its own; the normal tests include them
 * all and replay the corpus. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "text/tokenizer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline char *fuzz_name(void)
{
    char *s = strdup("input");
    if (!s) abort();
    return s;
}

/* Every span lies inside the text and they follow each other. */
static inline void fuzz_encode(const struct tokenizer *t, const char *text, size_t n)
{
    struct sac_tokens out = { 0 };
    struct tok_part part = { 0, n, true };
    if (tokenizer_encode(t, text, &part, 1, true, &out, NULL) != SAC_OK) return;
    int at = 0;
    for (int i = 0; i < out.n; i++) {
        if (out.id[i] < 0 || out.id[i] >= tokenizer_size(t)) abort();
        if (out.span[i].lo < at || out.span[i].hi < out.span[i].lo || out.span[i].hi > (int)n) abort();
        at = out.span[i].lo;
    }
    sac_tokens_free(&out);
}
#endif
