/* Memory is aligned and can be written to its last byte, small or large. */
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void memory_is_aligned_and_whole(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 63, 64, 4097, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *bytes = allocate_bytes(sizes[i]);
        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % MEMORY_ALIGNMENT, 0);
        memset(bytes, 0xa5, sizes[i]);
        assert_int_equal(bytes[sizes[i] - 1], 0xa5);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_whole),
    };
    return test_run(tests);
}
