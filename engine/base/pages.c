/* Large pages by request. With pages of 4 KiB a core spends a third of a pass over memory on finding them (13
 * against 19 GB/s on the machine of kernels/SPEED.md, where a hypervisor makes each search a double one). */
#include "base/pages.h"

#include <stdint.h>
#include <stdlib.h>
#if defined __linux__
#include <sys/mman.h>
#endif

void *pages_alloc(size_t bytes)
{
    const size_t line = 64, large = (size_t)2 << 20;
    size_t align = bytes >= large ? large : line;
    if (bytes > SIZE_MAX - large) return NULL;
    void *p = aligned_alloc(align, bytes ? (bytes + align - 1) / align * align : line);
#if defined __linux__ && defined MADV_HUGEPAGE
    if (p && align == large) (void)madvise(p, bytes / large * large, MADV_HUGEPAGE);
#endif
    return p;
}
