/* Writing files that are either whole or not there.
 *
 * Bytes go to a temporary name in the same folder, are synced and take their final name by a link or rename,
 * so a full disk, a crash or a second writer never leaves half a figure. Without force an existing file is
 * refused even when it appeared while we were writing: link() fails then, rename() would not. */
#include "figure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const unsigned char *p, size_t n)
{
    while (n) {
        ssize_t k = write(fd, p, n < (1u << 24) ? n : 1u << 24);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) {
            if (k == 0) errno = ENOSPC;
            return false;
        }
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char dir[4096];
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    if (fsync(fd)) errno = 0;      /* some file systems cannot; the file itself is synced */
    close(fd);
}

/* Give the finished temporary file its name. */
static bool publish(const char *tmp, const char *path, bool force)
{
    if (force) return rename(tmp, path) == 0;
    if (link(tmp, path) == 0) {
        unlink(tmp);
        return true;
    }
    if (errno == EEXIST) return false;
    struct stat st;                /* a file system without links: the check and the rename are two steps */
    if (lstat(path, &st) == 0) {
        errno = EEXIST;
        return false;
    }
    return rename(tmp, path) == 0;
}

enum sac_code figure_write(const char *path, const void *data, size_t n, bool force, struct sac_err *err)
{
    struct stat st;
    char tmp[4096 + 32];
    if (!strcmp(path, "-")) {
        if (fwrite(data, 1, n, stdout) == n && fflush(stdout) == 0) return SAC_OK;
        return sac_fail(err, SAC_EIO, "standard output: cannot be written: %s", sac_write_reason(errno));
    }
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return sac_fail(err, SAC_EIO, "%s: that is a folder; give a file name", path);
        if (!force) return sac_fail(err, SAC_EIO, "%s: exists already; --force replaces it", path);
        if (!S_ISREG(st.st_mode)) {        /* a device or a pipe: nothing to rename over */
            int fd = open(path, O_WRONLY | O_CLOEXEC);
            bool ok = fd >= 0 && write_all(fd, data, n);
            int e = errno;
            if (fd >= 0 && close(fd) && ok) ok = false, e = errno;
            return ok ? SAC_OK : sac_fail(err, SAC_EIO, "%s: cannot be written: %s", path, sac_write_reason(e));
        }
    }
    if (snprintf(tmp, sizeof tmp, "%s.part-%ld", path, (long)getpid()) >= (int)sizeof tmp)
        return sac_fail(err, SAC_EIO, "%.80s...: the name is too long", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return sac_fail(err, SAC_EIO, "%s: cannot be written: %s", path, sac_write_reason(errno));
    bool ok = write_all(fd, data, n) && fsync(fd) == 0;
    int e = errno;
    if (close(fd) && ok) ok = false, e = errno;
    if (ok && !publish(tmp, path, force)) ok = false, e = errno;
    if (!ok) {
        unlink(tmp);
        if (e == EEXIST) return sac_fail(err, SAC_EIO, "%s: exists already; --force replaces it", path);
        return sac_fail(err, SAC_EIO, "%s: cannot be written: %s", path, sac_write_reason(e));
    }
    sync_folder(path);
    return SAC_OK;
}

void figure_free_name(const char *base, const char *ext, char *buf, size_t cap)
{
    struct stat st;
    snprintf(buf, cap, "%s%s", base, ext);
    for (int i = 2; lstat(buf, &st) == 0 && i < 100000; i++) snprintf(buf, cap, "%s-%d%s", base, i, ext);
}
