/* What every fuzz target has: the entry point that libFuzzer and replay.c call, and what a target
 * says of an input that breaks a promise. */
#ifndef CHIPSHOT_TESTS_FUZZ_FUZZ_H
#define CHIPSHOT_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One input; returns 0. The bytes are borrowed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_expect(bool condition)
{
    if (!condition)
        __builtin_trap();
}

#endif
