/* Counts are kept for each frame of a file. */
#include "tests/unit/db/fixture.h"

#include "api/job/image_counts.h"

enum { N_LEVELS = 4 };

static void frames_have_counts_of_their_own(void **state)
{
    struct fixture *f = *state;
    const uint32_t first[N_LEVELS] = {1, 2, 3, 4}, second[N_LEVELS] = {40, 30, 20, 10};
    uint32_t found[N_LEVELS] = {0};
    char sha256[DB_SHA256_SIZE], key[128];
    fixture_sha256("a stack", sha256);
    image_counts_put(f->cache, sha256, 0, "", first, N_LEVELS);
    assert_false(image_counts_get(f->cache, sha256, 1, "", 100, found, N_LEVELS));
    image_counts_put(f->cache, sha256, 1, "", second, N_LEVELS);
    assert_true(image_counts_get(f->cache, sha256, 0, "", 10, found, N_LEVELS));
    assert_memory_equal(found, first, sizeof(first));
    assert_true(image_counts_get(f->cache, sha256, 1, "", 100, found, N_LEVELS));
    assert_memory_equal(found, second, sizeof(second));
    /* Of another image. */
    assert_false(image_counts_get(f->cache, sha256, 1, "", 99, found, N_LEVELS));
    /* Under a mask. */
    assert_false(image_counts_get(f->cache, sha256, 0, "some", 10, found, N_LEVELS));
    image_counts_put(f->cache, sha256, 0, "some", second, N_LEVELS);
    assert_true(image_counts_get(f->cache, sha256, 0, "some", 100, found, N_LEVELS));
    assert_true(image_counts_get(f->cache, sha256, 0, "", 10, found, N_LEVELS));
    /* Caches from before there were frames stay of use. */
    snprintf(key, sizeof(key), "counts 1|%s", sha256);
    assert_ok(cache_get(f->cache, key, 1, N_LEVELS, found, &f->err));
    assert_memory_equal(found, first, sizeof(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_have_counts_of_their_own, fixture_setup,
                                        fixture_teardown),
    };
    return test_run(tests);
}
