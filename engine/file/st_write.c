/* Writing safetensors: data goes to a temporary file as it comes, the header is written when all is known.
 *
 * The file appears under its name only when it is complete and on disk: a run that is stopped leaves nothing.
 * A device or a pipe is written as it is: a file that took its name would replace it.
 */
#include "file/map.h"
#include "file/tensors.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct st_writer {
    char *path, *data_path, *tmp_path;
    FILE *data;
    json_t *header;
    uint64_t at;
    bool force, in_place;
};

static char *join(const char *path, const char *end)
{
    char *s = malloc(strlen(path) + strlen(end) + 1);
    if (s) sprintf(s, "%s%s", path, end);
    return s;
}

void st_abandon(struct st_writer *w)
{
    if (!w) return;
    if (w->data) fclose(w->data);
    if (w->data_path) unlink(w->data_path);
    if (w->tmp_path) unlink(w->tmp_path);
    json_decref(w->header);
    free(w->path);
    free(w->data_path);
    free(w->tmp_path);
    free(w);
}

/* The file that collects the data: beside the one to be, or in the folder for temporary files. */
static bool open_data(struct st_writer *w)
{
    int fd = w->in_place ? -1 : mkstemp(w->data_path);
    if (fd < 0) {                      /* there is none of that name */
        free(w->data_path);
        w->data_path = NULL;
    }
    w->data = w->in_place ? tmpfile() : fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (!w->data && fd >= 0) close(fd);
    return w->data != NULL;
}

enum sac_code st_create(struct st_writer **out, const char *path, bool force, struct sac_err *err)
{
    *out = NULL;
    if (!force && access(path, F_OK) == 0)
        return sac_fail(err, SAC_EIO, "%s: exists already; give --force to replace it, or another name",
                        path);
    struct st_writer *w = calloc(1, sizeof *w);
    if (!w) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    struct stat st;
    w->force = force;
    w->in_place = stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
    w->path = strdup(path);
    w->data_path = join(path, ".data-XXXXXX");
    w->header = json_object();
    if (!w->path || !w->data_path || !w->header) {
        free(w->data_path);
        w->data_path = NULL;
        st_abandon(w);
        return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    }
    if (!open_data(w)) {
        int e = errno;
        st_abandon(w);
        return sac_fail(err, SAC_EIO, "%s: cannot write there: %s", path, sac_write_reason(e));
    }
    *out = w;
    return SAC_OK;
}

enum sac_code st_add(struct st_writer *w, const char *name, enum st_dtype dtype, int n_dims,
                     const int64_t *shape, const void *data, struct sac_err *err)
{
    int size = st_dtype_bytes(dtype);
    if (!size)
        return sac_fail(err, SAC_EARG, "%s: tensor '%s' has a type that is not written", w->path, name);
    if (json_object_get(w->header, name))
        return sac_fail(err, SAC_EARG, "%s: tensor '%s' is added twice", w->path, name);
    uint64_t bytes = (uint64_t)size;
    json_t *dims = json_array();
    for (int i = 0; i < n_dims; i++) {
        if (shape[i] < 0 || !mul_size(bytes, (uint64_t)shape[i], &bytes)) {
            json_decref(dims);
            return sac_fail(err, SAC_EARG, "%s: tensor '%s' has an impossible shape", w->path, name);
        }
        json_array_append_new(dims, json_integer((json_int_t)shape[i]));
    }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", st_dtype_name(dtype), "shape", dims,
                              "data_offsets", (json_int_t)w->at, (json_int_t)(w->at + bytes));
    if (!entry || json_object_set_new(w->header, name, entry))
        return sac_fail(err, SAC_ENOMEM, "%s: cannot add tensor '%s'", w->path, name);
    if (bytes && fwrite(data, 1, (size_t)bytes, w->data) != bytes)
        return sac_fail(err, SAC_EIO, "%s: cannot write %llu bytes: %s", w->path, (unsigned long long)bytes,
                        sac_write_reason(errno));
    w->at += bytes;
    return SAC_OK;
}

/* Header, padding to 8 bytes, and the data behind it. */
static bool write_all(struct st_writer *w, FILE *out)
{
    char *text = json_dumps(w->header, JSON_COMPACT);
    if (!text) return false;
    size_t n = strlen(text);
    uint64_t padded = (n + 7) / 8 * 8;
    unsigned char len[8];
    for (int i = 0; i < 8; i++) len[i] = (unsigned char)(padded >> (8 * i));
    bool ok = fwrite(len, 1, 8, out) == 8 && fwrite(text, 1, n, out) == n;
    free(text);
    for (; ok && n < padded; n++) ok = putc(' ', out) != EOF;
    char *buf = ok ? malloc(1 << 20) : NULL;
    if (!buf || fflush(w->data) || fseeko(w->data, 0, SEEK_SET)) ok = false;
    for (uint64_t left = w->at; ok && left;) {
        size_t take = left < 1 << 20 ? (size_t)left : 1 << 20;
        ok = fread(buf, 1, take, w->data) == take && fwrite(buf, 1, take, out) == take;
        left -= take;
    }
    free(buf);
    return ok && fflush(out) == 0 && (w->in_place || fsync(fileno(out)) == 0);
}

/* Under another name first; mkstemp makes private files. */
static bool write_whole(struct st_writer *w)
{
    w->tmp_path = join(w->path, ".tmp-XXXXXX");
    int fd = w->tmp_path ? mkstemp(w->tmp_path) : -1;
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    mode_t mask = umask(0);
    umask(mask);
    bool ok = out && fchmod(fd, 0666 & ~mask) == 0 && write_all(w, out);
    if (out) ok = fclose(out) == 0 && ok;
    else if (fd >= 0) close(fd);
    if (ok && !w->force && access(w->path, F_OK) == 0) errno = EEXIST, ok = false;
    return ok && rename(w->tmp_path, w->path) == 0;
}

static bool write_in_place(struct st_writer *w)
{
    FILE *out = fopen(w->path, "wb");
    bool ok = out && write_all(w, out);
    int e = errno;
    if (out && fclose(out) != 0 && ok) ok = false, e = errno;
    errno = e;
    return ok;
}

enum sac_code st_finish(struct st_writer *w, struct sac_err *err)
{
    enum sac_code rc = SAC_OK;
    if (!(w->in_place ? write_in_place(w) : write_whole(w)))
        rc = sac_fail(err, SAC_EIO, "%s: cannot write it: %s", w->path, sac_write_reason(errno));
    st_abandon(w);
    return rc;
}
