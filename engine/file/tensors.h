/* A checked tensor directory: what GGUF and safetensors readers produce and binding consumes. */
#ifndef FILE_TENSORS_H
#define FILE_TENSORS_H

#include <saccade/err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum st_dtype { ST_F32, ST_F16, ST_BF16, ST_I32, ST_I64, ST_U8, ST_BOOL, ST_F64, ST_OTHER };

/* safetensors for q/k/v in, selections and reference outputs out. */
struct st_tensor {
    char *name;
    enum st_dtype dtype;
    int n_dims;
    int64_t shape[8];
    const void *data;
    size_t bytes;
};
struct st_file { struct st_tensor *tensor; int n; void *impl; };
enum sac_code st_open(struct st_file *out, const char *path, struct sac_err *err);
/* The same from memory. */
enum sac_code st_parse(struct st_file *out, const void *data, size_t size, const char *name,
                       struct sac_err *err);
void st_close(struct st_file *f);
const struct st_tensor *st_find(const struct st_file *f, const char *name);

const char *st_dtype_name(enum st_dtype t);   /* "F32" */
int st_dtype_bytes(enum st_dtype t);          /* 0: ST_OTHER */

/* Writer: declare and stream. Data is written to a temporary name, synced and renamed on close. */
struct st_writer;
enum sac_code st_create(struct st_writer **out, const char *path, bool force, struct sac_err *err);
/* Data is copied or written at once; add in any order. */
enum sac_code st_add(struct st_writer *w, const char *name, enum st_dtype dtype, int n_dims,
                     const int64_t *shape, const void *data, struct sac_err *err);
enum sac_code st_finish(struct st_writer *w, struct sac_err *err);   /* frees w either way */
void st_abandon(struct st_writer *w);   /* throws the unfinished file away; accepts NULL */
#endif
