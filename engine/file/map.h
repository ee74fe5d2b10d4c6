/* A file mapped read-only, and a cursor that cannot leave it. */
#ifndef FILE_MAP_H
#define FILE_MAP_H

#include <saccade/err.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_map { const unsigned char *data; size_t size; char *path; bool heap; };

/* A regular file, mapped private and read-only; path is copied. An empty file maps to size 0. */
enum sac_code map_open(struct file_map *m, const char *path, struct sac_err *err);
/* Bytes in memory as if they were a file (fuzzing); data is copied. */
enum sac_code map_bytes(struct file_map *m, const void *data, size_t size, const char *name,
                        struct sac_err *err);
void map_close(struct file_map *m);
/* Bytes of a mapped file that nobody reads soon: they may leave memory and come back on the next read. */
void map_idle(const void *data, size_t bytes);
/* The size of the file now; false when it is no longer what was mapped (a later read would be fatal). */
bool map_unchanged(const struct file_map *m);

/* Sequential reads. The first read past the end fails the cursor, later ones return zeros: one check for each
 * section replaces one for each field. */
struct cursor { const unsigned char *data; size_t size, at; bool failed; };

static inline size_t cursor_left(const struct cursor *c) { return c->size - c->at; }
const unsigned char *cursor_take(struct cursor *c, uint64_t n);   /* NULL: beyond the end */
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);

bool mul_size(uint64_t a, uint64_t b, uint64_t *out);   /* false: does not fit 63 bits */
#endif
