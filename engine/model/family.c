/* The table of families.
 *
 * Everything the layer loop does differently for a model is a value in struct hparams; everything a file
 * leaves unsaid because "the architecture" implies it is a value here. */
#include "model/family.h"

#include <string.h>

static const struct family families[] = {
    { .name = "llama",
      .hf_class = { "LlamaForCausalLM" },
      .hf_type = { "llama" },
      .qkv_bias = BIAS_OPTIONAL,
      .gguf_adjacent = true },
    /* In GGUF a Mistral is a llama; from a folder its window counts. */
    { .name = "llama",
      .hf_class = { "MistralForCausalLM" },
      .hf_type = { "mistral" },
      .gguf_adjacent = true,
      .window = WINDOW_ALL,
      .hf_window_default = 4096 },
    { .name = "qwen2",
      .hf_class = { "Qwen2ForCausalLM" },
      .hf_type = { "qwen2" },
      .qkv_bias = BIAS_REQUIRED,
      .window = WINDOW_QWEN,
      .hf_window_default = 4096 },
    { .name = "qwen3",
      .hf_class = { "Qwen3ForCausalLM" },
      .hf_type = { "qwen3" },
      .qkv_bias = BIAS_OPTIONAL,
      .qk_norm = true,
      .window = WINDOW_QWEN,
      .hf_window_default = 4096 },
    { .name = "gemma2",
      .hf_class = { "Gemma2ForCausalLM" },
      .hf_type = { "gemma2" },
      .act = ACT_GELU_TANH,
      .post_norms = true,
      .plus_one = true,
      .scale_embd = true,
      .tied = true,
      .window = WINDOW_PERIOD,
      .window_period = 2,
      .window_default = 4096,
      .hf_window_default = 4096,
      .softcap_attn = 50,
      .softcap_final = 30,
      .layers_27b = 46 },
    { .name = "gemma3",
      .hf_class = { "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration" },
      .hf_type = { "gemma3_text", "gemma3" },
      .act = ACT_GELU_TANH,
      .qk_norm = true,
      .post_norms = true,
      .plus_one = true,
      .scale_embd = true,
      .tied = true,
      .window = WINDOW_PERIOD,
      .window_period = 6,
      .hf_window_default = 4096,
      .layers_27b = 62,
      .rope_local_base = 10000 },
    { .name = "phi3",
      .hf_class = { "Phi3ForCausalLM" },
      .hf_type = { "phi3" },
      .fused = true,
      .window = WINDOW_ALL },
};

enum { N_FAMILIES = sizeof families / sizeof *families };

const struct family *family_by_gguf(const char *arch, size_t len)
{
    for (int i = 0; i < N_FAMILIES; i++)
        if (strlen(families[i].name) == len && !memcmp(families[i].name, arch, len)) return &families[i];
    return NULL;
}

const struct family *family_by_hf(const char *hf_class, const char *hf_type)
{
    for (int i = 0; i < N_FAMILIES; i++)
        for (int j = 0; j < 3; j++) {
            const char *name = hf_class ? families[i].hf_class[j] : families[i].hf_type[j];
            if (name && !strcmp(name, hf_class ? hf_class : hf_type)) return &families[i];
        }
    return NULL;
}

const char *family_names(void)
{
    return "llama (with Mistral and SmolLM), qwen2, qwen3, gemma2, gemma3 and phi3";
}
