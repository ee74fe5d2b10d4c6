/* Mapping of model files and bounded reading.
 *
 * Weights stay in the mapping: the system reads what is used and may drop it again. A file that shrinks while
 * it is mapped turns reads into a fatal signal, so its size is asked again after parsing and before weights
 * are used; what happens later is beyond a reader's power. */
#include "file/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum sac_code map_open(struct file_map *m, const char *path, struct sac_err *err)
{
    *m = (struct file_map){ .path = strdup(path) };
    if (!m->path) return sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   /* a FIFO must not block the open */
    struct stat st;
    enum sac_code rc = SAC_OK;
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = sac_fail(err, SAC_EFORMAT, "%s: cannot open: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        rc = sac_fail(err, SAC_EFORMAT, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            rc = sac_fail(err, SAC_EIO, "%s: cannot map %lld bytes: %s", path, (long long)st.st_size,
                          strerror(errno));
        } else {
            m->data = p;
            m->size = (size_t)st.st_size;
            if (!map_unchanged(m)) rc = sac_fail(err, SAC_EIO, "%s: changed while it was opened", path);
        }
    }
    if (fd >= 0) close(fd);
    if (rc) map_close(m);
    return rc;
}

enum sac_code map_bytes(struct file_map *m, const void *data, size_t size, const char *name,
                        struct sac_err *err)
{
    unsigned char *copy = malloc(size ? size : 1);
    *m = (struct file_map){ .path = strdup(name), .data = copy, .size = size, .heap = true };
    if (!copy || !m->path) {
        map_close(m);
        return sac_fail(err, SAC_ENOMEM, "%s: out of memory", name);
    }
    if (size) memcpy(copy, data, size);
    return SAC_OK;
}

void map_close(struct file_map *m)
{
    unsigned char *p;
    memcpy(&p, &m->data, sizeof p);   /* the only place that may give the memory back */
    if (m->heap) free(p);
    else if (p) munmap(p, m->size);
    free(m->path);
    *m = (struct file_map){ 0 };
}

void map_idle(const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)data, to = from + bytes;
    from = (from + page - 1) / page * page; /* its neighbours keep the pages they share */
    to = to / page * page;
    if (from < to) (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

bool map_unchanged(const struct file_map *m)
{
    struct stat st;
    if (m->heap) return true;
    return stat(m->path, &st) == 0 && (uint64_t)st.st_size >= m->size;
}

const unsigned char *cursor_take(struct cursor *c, uint64_t n)
{
    if (c->failed || n > cursor_left(c)) {
        c->failed = true;
        return NULL;
    }
    const unsigned char *p = c->data + c->at;
    c->at += (size_t)n;
    return p;
}

static uint64_t little(struct cursor *c, int bytes)
{
    const unsigned char *p = cursor_take(c, (uint64_t)bytes);
    uint64_t v = 0;
    for (int i = bytes - 1; p && i >= 0; i--) v = v << 8 | p[i];
    return v;
}

uint8_t cursor_u8(struct cursor *c) { return (uint8_t)little(c, 1); }
uint16_t cursor_u16(struct cursor *c) { return (uint16_t)little(c, 2); }
uint32_t cursor_u32(struct cursor *c) { return (uint32_t)little(c, 4); }
uint64_t cursor_u64(struct cursor *c) { return little(c, 8); }

bool mul_size(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r) || r > INT64_MAX) return false;
    *out = r;
    return true;
}
