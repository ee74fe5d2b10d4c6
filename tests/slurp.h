/* A whole file in memory, for tests. */
#ifndef SLURP_H
#define SLURP_H

#include <stdio.h>
#include <stdlib.h>

/* The bytes of a file, malloc'ed, with a zero byte behind them; *n (may be NULL): how many. NULL: it cannot be
 * read. */
static inline char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (n) *n = 0;
    if (!f) return NULL;
    long end = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    char *s = end >= 0 ? malloc((size_t)end + 1) : NULL;
    rewind(f);
    if (s && fread(s, 1, (size_t)end, f) != (size_t)end) free(s), s = NULL;
    if (s) s[end] = 0;
    if (n && s) *n = (size_t)end;
    fclose(f);
    return s;
}

#endif
