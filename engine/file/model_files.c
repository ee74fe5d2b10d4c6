/* Finding and opening what belongs to a model.
 *
 * A Hugging Face folder has config.json, weights in model.safetensors or in the shards that
 * model.safetensors.index.json names, and a tokenizer. Nothing is executed and no pickle is read. */
#include "file/model_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 4096, MAX_SHARDS = 1024 };
#define JSON_FILE_MAX ((size_t)512 << 20)

static bool in_folder(const char *folder, const char *name, char out[PATH_LEN])
{
    int n = snprintf(out, PATH_LEN, "%s/%s", folder, name);
    return n > 0 && n < PATH_LEN;
}

/* Parses folder/name; an absent file is no error. flags: of the JSON reader. */
static enum sac_code read_json(const char *folder, const char *name, size_t flags, json_t **out,
                               struct sac_err *err)
{
    char path[PATH_LEN];
    *out = NULL;
    if (!in_folder(folder, name, path) || access(path, F_OK) != 0) return SAC_OK;
    struct file_map m;
    enum sac_code rc = map_open(&m, path, err);
    if (rc) return rc;
    json_error_t je = { .text = "too large" };
    *out = m.size && m.size < JSON_FILE_MAX
               ? json_loadb((const char *)m.data, m.size, JSON_REJECT_DUPLICATES | flags, &je) : NULL;
    map_close(&m);
    if (json_is_object(*out)) return SAC_OK;
    json_decref(*out);
    *out = NULL;
    return sac_fail(err, SAC_EFORMAT, "%s: not a JSON object (line %d: %.120s)", path, je.line, je.text);
}

static enum sac_code read_text(const char *folder, const char *name, char **out, struct sac_err *err)
{
    char path[PATH_LEN];
    *out = NULL;
    if (!in_folder(folder, name, path) || access(path, F_OK) != 0) return SAC_OK;
    struct file_map m;
    enum sac_code rc = map_open(&m, path, err);
    if (rc) return rc;
    *out = m.size < 1 << 20 ? strndup(m.size ? (const char *)m.data : "", m.size) : NULL;
    if (!*out) rc = sac_fail(err, SAC_EFORMAT, "%s: too large for a chat template", path);
    map_close(&m);
    return rc;
}

/* ---- tensors of a folder ---- */

static enum sac_code add_tensors(struct model_files *f, int file, const char *path, struct sac_err *err)
{
    const struct st_file *st = &f->st[file];
    enum sac_code rc = SAC_OK;
    for (int i = 0; i < st->n && !rc; i++) {
        const struct st_tensor *s = &st->tensor[i];
        if (s->n_dims > TENSOR_DIMS || s->bytes == 0) continue;   /* no weight this program could use */
        struct tensor t = { .ne = { 1, 1, 1, 1 }, .file = file, .data = s->data, .bytes = s->bytes,
                            .n_dims = s->n_dims ? s->n_dims : 1, .type_name = st_dtype_name(s->dtype) };
        t.type = s->dtype == ST_F32    ? K_F32
                 : s->dtype == ST_F16  ? K_F16
                 : s->dtype == ST_BF16 ? K_BF16
                                       : K_N_TYPES;
        for (int d = 0; d < s->n_dims; d++) t.ne[s->n_dims - 1 - d] = s->shape[d];
        rc = dir_add(&f->hf_dir, &t, s->name, strlen(s->name), path, err);
    }
    return rc;
}

static enum sac_code open_shard(struct model_files *f, const char *name, struct sac_err *err)
{
    char path[PATH_LEN];
    if (!in_folder(f->path, name, path)) return sac_fail(err, SAC_EARG, "%s: the path is too long", f->path);
    struct st_file *st = realloc(f->st, (size_t)(f->n_st + 1) * sizeof *st);
    if (!st) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", f->path);
    f->st = st;
    enum sac_code rc = st_open(&f->st[f->n_st], path, err);
    if (rc) return rc;
    f->n_st++;
    return add_tensors(f, f->n_st - 1, path, err);
}

static bool plain_name(const char *s)
{
    return s && *s && !strchr(s, '/') && !strchr(s, '\\') && !strstr(s, "..") && strlen(s) < 256;
}

static enum sac_code open_index(struct model_files *f, const json_t *index, struct sac_err *err)
{
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *key, *file;
    if (!json_is_object(map))
        return sac_fail(err, SAC_EFORMAT, "%s/model.safetensors.index.json: has no weight_map", f->path);
    json_t *seen = json_object();   /* file name -> shard number */
    enum sac_code rc = seen ? SAC_OK : sac_fail(err, SAC_ENOMEM, "%s: out of memory", f->path);
    json_object_foreach(map, key, value) {
        file = json_string_value(value);
        if (rc) break;
        if (!plain_name(file)) {
            rc = sac_fail(err, SAC_EFORMAT,
                          "%s/model.safetensors.index.json: tensor '%.100s' is in '%.100s', which is "
                          "not a file name",
                          f->path, key, file ? file : "nothing");
        } else if (!json_object_get(seen, file)) {
            if (json_object_size(seen) >= MAX_SHARDS)
                rc = sac_fail(err, SAC_EFORMAT, "%s: more than %d weight files", f->path, MAX_SHARDS);
            else rc = open_shard(f, file, err);
            if (!rc && json_object_set_new(seen, file, json_integer(f->n_st - 1)))
                rc = sac_fail(err, SAC_ENOMEM, "%s: out of memory", f->path);
        }
    }
    json_object_foreach(map, key, value) {
        if (rc) break;
        file = json_string_value(value);
        if (!st_find(&f->st[json_integer_value(json_object_get(seen, file))], key))
            rc = sac_fail(err, SAC_EFORMAT, "%s/%s: lacks tensor '%.100s', which the index places there",
                          f->path, file, key);
    }
    json_decref(seen);
    return rc;
}

static bool exists(const char *folder, const char *name)
{
    char path[PATH_LEN];
    return in_folder(folder, name, path) && access(path, F_OK) == 0;
}

static enum sac_code open_folder_tensors(struct model_files *f, struct sac_err *err)
{
    if (exists(f->path, "model.safetensors")) return open_shard(f, "model.safetensors", err);
    if (exists(f->path, "model.safetensors.index.json")) {
        json_t *index;
        enum sac_code rc = read_json(f->path, "model.safetensors.index.json", 0, &index, err);
        if (!rc) rc = open_index(f, index, err);
        json_decref(index);
        return rc;
    }
    if (exists(f->path, "pytorch_model.bin") || exists(f->path, "pytorch_model.bin.index.json"))
        return sac_fail(err, SAC_ENOTSUP,
                        "%s: has its weights only as a Python pickle, which could run code when it "
                        "is read; convert it to safetensors",
                        f->path);
    return SAC_OK;   /* a folder with only a tokenizer; whoever needs weights finds none */
}

static enum sac_code open_folder(struct model_files *f, bool settings, struct sac_err *err)
{
    enum sac_code rc = SAC_OK;
    if (settings) {
        rc = read_json(f->path, "config.json", 0, &f->config, err);
        if (!rc && !f->config)
            rc = sac_fail(err, SAC_EFORMAT,
                          "%s: a folder without config.json; give a GGUF file or a Hugging Face model "
                          "folder",
                          f->path);
        if (!rc) rc = read_json(f->path, "generation_config.json", 0, &f->generation, err);
        if (!rc) rc = read_json(f->path, "tokenizer.json", 0, &f->tokenizer, err);
        /* Its model_max_length is often 10^30, which no integer holds. */
        if (!rc)
            rc = read_json(f->path, "tokenizer_config.json", JSON_DECODE_INT_AS_REAL, &f->tokenizer_config,
                           err);
        if (!rc) rc = read_text(f->path, "chat_template.jinja", &f->chat_template, err);
    }
    return rc ? rc : open_folder_tensors(f, err);
}

enum sac_code model_files_open(struct model_files *f, const char *path, bool settings, struct sac_err *err)
{
    *f = (struct model_files){ 0 };
    struct stat st;
    if (!*path || stat(path, &st) != 0)
        return sac_fail(err, SAC_EFORMAT, "%s: cannot open: %s", path, strerror(*path ? errno : ENOENT));
    size_t len = strlen(path);
    bool weights_file = S_ISREG(st.st_mode) && len > 12 && !strcmp(path + len - 12, ".safetensors");
    if (!(f->path = strdup(path))) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    enum sac_code rc;
    if (S_ISDIR(st.st_mode)) {
        while (len > 1 && f->path[len - 1] == '/') f->path[--len] = 0;
        rc = open_folder(f, settings, err);
    } else if (weights_file && settings) {
        char *slash = strrchr(f->path, '/');
        if (slash) slash[slash == f->path] = 0;
        else strcpy(f->path, ".");
        rc = open_folder(f, settings, err);
    } else if (weights_file) {
        f->st = calloc(1, sizeof *f->st);
        rc = f->st ? st_open(f->st, path, err) : sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
        if (!rc) f->n_st = 1;
        if (!rc) rc = add_tensors(f, 0, path, err);
    } else {
        f->is_gguf = true;
        rc = gguf_open(&f->gguf, path, err);
    }
    if (rc) model_files_close(f);
    return rc;
}

void model_files_close(struct model_files *f)
{
    if (f->is_gguf) gguf_close(&f->gguf);
    for (int i = 0; i < f->n_st; i++) st_close(&f->st[i]);
    free(f->st);
    dir_free(&f->hf_dir);
    json_decref(f->config);
    json_decref(f->generation);
    json_decref(f->tokenizer);
    json_decref(f->tokenizer_config);
    free(f->chat_template);
    free(f->path);
    *f = (struct model_files){ 0 };
}

const struct tensor_dir *model_files_dir(const struct model_files *f)
{
    return f->is_gguf ? &f->gguf.dir : &f->hf_dir;
}
