/* GGUF from untrusted bytes: container, settings, tokenizer. What parses must be safe to look at everywhere.
 */
#include "fuzz.h"

#include "model/family.h"
#include "text/tokenizer.h"

static volatile unsigned char sink;

static void touch(const struct tensor_dir *d)
{
    for (int i = 0; i < d->n; i++) {
        const struct tensor *t = &d->t[i];
        if (t->bytes) sink = (unsigned char)(sink + t->data[0] + t->data[t->bytes - 1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sac_err err = { SAC_OK, "" };
    struct model_files f = { .is_gguf = true, .path = fuzz_name() };
    if (gguf_parse(&f.gguf, data, size, "input", &err) == SAC_OK) {
        struct sac_arena arena = { 0 };
        struct config c = { 0 };
        struct tokenizer *t = NULL;
        touch(&f.gguf.dir);
        err.code = SAC_OK;
        config_gguf(&c, &f.gguf, &arena, &err);
        err.code = SAC_OK;
        if (tokenizer_load(&t, &f, &err) == SAC_OK && t)
            fuzz_encode(t, "the <s> quick\n\xf0\x9f\x98\x80 brown \xff fox", 30);
        tokenizer_free(t);
        sac_arena_free(&arena);
    }
    free(f.path);
    f.path = NULL;
    gguf_close(&f.gguf);
    return 0;
}
