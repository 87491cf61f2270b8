/* Memory for weights and maps: megabytes that are read end to end again and again. Private to
 * engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_MEMORY_H
#define CHIPSHOT_ENGINE_ENCODER_MEMORY_H

#include <stdint.h>

/* Uninitialised, aligned for the kernels; NULL: out of memory. Freed with free(). From a few
 * megabytes on it asks the system for huge pages: with small ones much time goes to looking
 * addresses up. */
void *allocate_bytes(uint64_t n_bytes);
float *allocate_floats(uint64_t n_floats);

#endif
