/* The files of one model, whichever container they come in: one tensor directory and the settings beside it.
 */
#ifndef FILE_MODEL_FILES_H
#define FILE_MODEL_FILES_H

#include "file/gguf.h"
#include "file/tensors.h"

#include <jansson.h>

struct model_files {
    bool is_gguf;
    char *path;                    /* as given; of a folder without a trailing slash */
    struct gguf gguf;
    /* Hugging Face folder: */
    struct st_file *st;
    int n_st;
    struct tensor_dir hf_dir;
    json_t *config; /* config.json; NULL in a GGUF file and where `settings` was not asked for */
    json_t *generation;            /* generation_config.json, or NULL */
    json_t *tokenizer;             /* tokenizer.json, or NULL */
    json_t *tokenizer_config;      /* or NULL */
    char *chat_template;           /* chat_template.jinja, or NULL */
};

/* path: a GGUF file, a folder, or a .safetensors file inside a folder. settings: a folder must have a
 * config.json, and what describes text is read too; otherwise only tensors are looked at. */
enum sac_code model_files_open(struct model_files *f, const char *path, bool settings, struct sac_err *err);
void model_files_close(struct model_files *f);
const struct tensor_dir *model_files_dir(const struct model_files *f);
#endif
