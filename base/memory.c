#include "base/memory.h"

#include <malloc.h>
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

/* Puts `memory`, or nothing, in the place of what is kept, which it returns. */
static void *exchange(struct memory_spare *spare, void *memory)
{
    pthread_mutex_lock(&spare->mutex);
    void *kept = spare->memory;
    spare->memory = memory;
    pthread_mutex_unlock(&spare->mutex);
    return kept;
}

void memory_spare_init(struct memory_spare *spare)
{
    pthread_mutex_init(&spare->mutex, NULL);
    spare->memory = NULL;
}

void memory_spare_clear(struct memory_spare *spare)
{
    memory_spare_drop(spare);
    pthread_mutex_destroy(&spare->mutex);
}

void *memory_spare_take(struct memory_spare *spare, uint64_t n_bytes)
{
    void *kept = spare != NULL ? exchange(spare, NULL) : NULL;
    const uint64_t size = kept != NULL ? malloc_usable_size(kept) : 0;
    if (size >= n_bytes && size / 2 <= n_bytes && kept != NULL)
        return kept;
    free(kept);
    return allocate_bytes(n_bytes);
}

void memory_spare_give(struct memory_spare *spare, void *memory)
{
    const bool is_kept = spare != NULL && memory != NULL &&
                         malloc_usable_size(memory) <= MEMORY_SPARE_MAX + HUGE_PAGE;
    free(is_kept ? exchange(spare, memory) : memory);
}

void memory_spare_drop(struct memory_spare *spare)
{
    if (spare != NULL)
        free(exchange(spare, NULL));
}
