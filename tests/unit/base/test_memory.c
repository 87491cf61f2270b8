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

static void what_is_given_is_taken_again(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    struct memory_spare spare;
    memory_spare_init(&spare);
    uint8_t *first = memory_spare_take(&spare, SIZE);
    assert_non_null(first);
    first[SIZE - 1] = 7;
    memory_spare_give(&spare, first);
    uint8_t *again = memory_spare_take(&spare, SIZE - SIZE / 4);
    assert_ptr_equal(again, first); /* large enough, and not by much */
    uint8_t *other = memory_spare_take(&spare, SIZE);
    assert_ptr_not_equal(other, first); /* somebody has it */
    other[SIZE - 1] = 7;
    memory_spare_give(&spare, other);
    memory_spare_give(&spare, again); /* in its place */
    assert_ptr_equal(memory_spare_take(&spare, SIZE), again);
    memory_spare_give(&spare, again);
    memory_spare_drop(&spare);
    assert_null(spare.memory);
    memory_spare_drop(&spare);
    memory_spare_clear(&spare);
}

static void what_does_not_fit_is_not_kept(void **state)
{
    (void)state;
    enum { SMALL = 1 << 20 };
    struct memory_spare spare;
    memory_spare_init(&spare);
    memory_spare_give(&spare, memory_spare_take(&spare, SMALL));
    assert_non_null(spare.memory);
    uint8_t *larger = memory_spare_take(&spare, 2 * SMALL);
    assert_null(spare.memory);
    larger[2 * SMALL - 1] = 7;
    memory_spare_give(&spare, larger);
    uint8_t *smaller = memory_spare_take(&spare, SMALL / 4);
    assert_ptr_not_equal(smaller, larger);
    memory_spare_give(&spare, smaller);
    memory_spare_give(&spare, NULL);
    assert_ptr_equal(spare.memory, smaller);
    memory_spare_clear(&spare);

    memory_spare_init(&spare);
    memory_spare_give(&spare, memory_spare_take(&spare, 2 * (uint64_t)MEMORY_SPARE_MAX));
    assert_null(spare.memory);
    memory_spare_clear(&spare);
    memory_spare_give(NULL, memory_spare_take(NULL, SMALL));
    memory_spare_drop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_whole),
        cmocka_unit_test(what_is_given_is_taken_again),
        cmocka_unit_test(what_does_not_fit_is_not_kept),
    };
    return test_run(tests);
}
