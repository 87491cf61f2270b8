/* Large memory, megabytes of which are read end to end again and again: weights, feature maps,
 * embeddings. */
#ifndef CHIPSHOT_BASE_MEMORY_H
#define CHIPSHOT_BASE_MEMORY_H

#include <stdint.h>

enum { MEMORY_ALIGNMENT = 64 }; /* bytes: a cache line, and the largest vector */

/* Uninitialised, aligned; NULL: out of memory. Freed with free(). From a few megabytes on it asks
 * the system for huge pages: with small ones much time goes to looking addresses up, and to
 * getting the pages, one by one, when they are written first. */
void *allocate_bytes(uint64_t n_bytes);
float *allocate_floats(uint64_t n_floats);

#endif
