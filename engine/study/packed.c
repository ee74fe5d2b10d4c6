/* Unpacking results: see packed.h. */
#include "study/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

bool packed_magic(const void *bytes, size_t n)
{
    static const unsigned char zstd[4] = { 0x28, 0xB5, 0x2F, 0xFD };
    return n >= 4 && !memcmp(bytes, zstd, 4);
}

/* All of `in` to `out`; several frames in a row are one file, as for zstdcat. */
static enum sac_code unpack(FILE *in, FILE *out, const char *path, struct sac_err *err)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    size_t n_raw = ZSTD_DStreamOutSize(), n_in = ZSTD_DStreamInSize(), left = 1, got;
    char *raw = malloc(n_raw), *packed = malloc(n_in);
    enum sac_code rc = z && raw && packed ? SAC_OK : sac_fail(err, SAC_ENOMEM, "%s: out of memory", path);
    while (!rc && (got = fread(packed, 1, n_in, in)) > 0) {
        ZSTD_inBuffer from = { packed, got, 0 };
        for (bool more = true; !rc && more;) {
            ZSTD_outBuffer to = { raw, n_raw, 0 };
            left = ZSTD_decompressStream(z, &to, &from);
            if (ZSTD_isError(left))
                rc = sac_fail(err, SAC_EFORMAT, "%s: packed by zstd and damaged: %s", path,
                              ZSTD_getErrorName(left));
            else if (fwrite(raw, 1, to.pos, out) != to.pos)
                rc = sac_fail(err, SAC_EIO, "%s: cannot be unpacked to a temporary file: %s", path,
                              strerror(errno));
            more = from.pos < from.size || to.pos == to.size;
        }
    }
    if (!rc && ferror(in)) rc = sac_fail(err, SAC_EIO, "%s: cannot be read: %s", path, strerror(errno));
    if (!rc && left) rc = sac_fail(err, SAC_EFORMAT, "%s: packed by zstd and ends too early", path);
    if (!rc && fflush(out))
        rc = sac_fail(err, SAC_EIO, "%s: cannot be unpacked to a temporary file: %s", path, strerror(errno));
    free(raw);
    free(packed);
    ZSTD_freeDStream(z);
    return rc;
}

FILE *packed_open(const char *path, struct sac_err *err)
{
    FILE *f = fopen(path, "r");
    if (!f) {
        sac_fail(err, SAC_EFORMAT, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    char head[4];
    size_t n = fread(head, 1, sizeof head, f);
    rewind(f);
    if (!packed_magic(head, n)) return f;
    FILE *plain = tmpfile();
    if (!plain)
        sac_fail(err, SAC_EIO, "%s: no temporary file to unpack it to: %s", path, strerror(errno));
    else if (unpack(f, plain, path, err)) {
        fclose(plain);
        plain = NULL;
    } else
        rewind(plain);
    fclose(f);
    return plain;
}
