/* Large memory, megabytes of which are read end to end again and again: weights, feature maps,
 * embeddings. */
#ifndef CHIPSHOT_BASE_MEMORY_H
#define CHIPSHOT_BASE_MEMORY_H

#include <pthread.h>
#include <stdint.h>

enum {
    MEMORY_ALIGNMENT = 64,       /* bytes: a cache line, and the largest vector */
    MEMORY_SPARE_MAX = 64 << 20, /* bytes that are kept */
};

/* Uninitialised, aligned; NULL: out of memory. Freed with free(). From a few megabytes on it asks
 * the system for huge pages: with small ones much time goes to looking addresses up, and to
 * getting the pages, one by one, when they are written first. */
void *allocate_bytes(uint64_t n_bytes);
float *allocate_floats(uint64_t n_floats);

/* One piece of memory that is kept for the next that wants as much. The system zeroes each page
 * that it gives, which for some megabytes takes longer than what is made of them often does. */
struct memory_spare {
    pthread_mutex_t mutex; /* guards what follows */
    void *memory;          /* owned; NULL: none is kept */
};

void memory_spare_init(struct memory_spare *spare);
/* Frees what is kept; to be called once nobody takes or gives any more. */
void memory_spare_clear(struct memory_spare *spare);

/* The rest from any thread; NULL is a spare that keeps nothing. */

/* What is kept, where it has n_bytes and at most twice as many, or else new memory, as
 * allocate_bytes gives it. */
void *memory_spare_take(struct memory_spare *spare, uint64_t n_bytes);
/* Keeps what was taken, or frees it when it is over MEMORY_SPARE_MAX; what was kept before is
 * freed. NULL allowed. */
void memory_spare_give(struct memory_spare *spare, void *memory);
/* Frees what is kept, to make room for something else. */
void memory_spare_drop(struct memory_spare *spare);

#endif
