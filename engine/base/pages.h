/* Memory for what is read from end to end again and again: weights, keys and values. */
#ifndef BASE_PAGES_H
#define BASE_PAGES_H

#include <stddef.h>

/* 64-byte aligned, on large pages where the system has them; free() gives it back. NULL: out of memory. */
void *pages_alloc(size_t bytes);
size_t pages_bytes(size_t bytes); /* what that takes: whole large pages once there is one */
#endif
