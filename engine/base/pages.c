/* Large pages by request. With pages of 4 KiB a core spends a third of a pass over memory on finding them (13
 * against 19 GB/s on the machine of kernels/SPEED.md, where a hypervisor makes each search a double one). */
#include "base/pages.h"

#include <stdint.h>
#include <stdlib.h>
#if defined __linux__
#include <sys/mman.h>
#endif

static const size_t LINE = 64, LARGE = (size_t)2 << 20;

size_t pages_bytes(size_t bytes)
{
    size_t align = bytes >= LARGE ? LARGE : LINE;
    return bytes ? (bytes + align - 1) / align * align : LINE;
}

void *pages_alloc(size_t bytes)
{
    size_t align = bytes >= LARGE ? LARGE : LINE;
    if (bytes > SIZE_MAX - LARGE) return NULL;
    void *p = aligned_alloc(align, pages_bytes(bytes));
#if defined __linux__ && defined MADV_HUGEPAGE
    if (p && align == LARGE) (void)madvise(p, bytes / LARGE * LARGE, MADV_HUGEPAGE);
#endif
    return p;
}
