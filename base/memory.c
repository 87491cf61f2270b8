#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

static const uint64_t HUGE_PAGE = UINT64_C(2) << 20;

void *allocate_bytes(uint64_t n_bytes)
{
    const bool large = n_bytes >= HUGE_PAGE;
    const uint64_t alignment = large ? HUGE_PAGE : MEMORY_ALIGNMENT;
    void *memory = NULL;
    /* Not aligned_alloc, whose sizes must be multiples of the alignment. */
    if (posix_memalign(&memory, alignment, n_bytes) != 0)
        return NULL;
    /* Advice only: memory is as good without. */
    if (large)
        madvise(memory, n_bytes, MADV_HUGEPAGE);
    return memory;
}

float *allocate_floats(uint64_t n_floats)
{
    return allocate_bytes(n_floats * sizeof(float));
}
