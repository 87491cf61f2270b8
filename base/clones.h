/* Loops that the compiler makes once for each width of vectors; which one runs is decided when the
 * program is loaded. For functions whose sums have a fixed order: without fused operations, which
 * the Makefile forbids, they give the same bytes at any width. */
#ifndef CHIPSHOT_BASE_CLONES_H
#define CHIPSHOT_BASE_CLONES_H

#include <stdint.h>

/* Not under the thread sanitizer: its code would run before it is set up. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SANITIZE_THREAD__)
#define VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTOR_CLONES
#endif

#endif
