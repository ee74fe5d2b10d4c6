/* Results files as they are kept: plain lines, or packed by zstd (`zstd -19 results.jsonl`), told apart by the
 * first four bytes. */
#ifndef STUDY_PACKED_H
#define STUDY_PACKED_H

#include <saccade/err.h>
#include <stdbool.h>
#include <stdio.h>

/* Open to read from the start; a packed file is unpacked into a nameless temporary one, a piece at a time. NULL:
 * err says why. The caller closes it. */
FILE *packed_open(const char *path, struct sac_err *err);
/* Do the bytes at the start of the file say that it is packed? */
bool packed_magic(const void *bytes, size_t n);

#endif
