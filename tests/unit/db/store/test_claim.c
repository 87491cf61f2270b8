/* One claim on a directory at a time, and what was exchanged is noticed. */
#include "tests/unit/db/fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "db/store/claim.h"

struct place {
    char directory[512], lock[600], file[600];
    struct db_claim claim;
    struct error err;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    fixture_directory(place->directory);
    snprintf(place->lock, sizeof(place->lock), "%s/lock", place->directory);
    snprintf(place->file, sizeof(place->file), "%s/file", place->directory);
    assert_ok(db_claim_take(&place->claim, place->directory, &place->err));
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    db_claim_release(&place->claim);
    fixture_remove_directory(place->directory);
    free(place);
    return 0;
}

static void a_second_claim_is_refused_also_without_the_file(void **state)
{
    struct place *place = *state;
    struct db_claim second;
    assert_int_equal(db_claim_take(&second, place->directory, &place->err), ERROR_CONFLICT);
    db_claim_release(&second);
    assert_ok(unlink(place->lock));
    assert_int_equal(db_claim_take(&second, place->directory, &place->err), ERROR_CONFLICT);
    assert_non_null(strstr(place->err.message, place->directory));
    db_claim_release(&second);
    db_claim_release(&place->claim);
    assert_ok(db_claim_take(&place->claim, place->directory, &place->err));
}

/* As versions did that know no other lock. */
static void the_file_alone_is_a_claim_too(void **state)
{
    struct place *place = *state;
    struct db_claim second;
    int fd = -1;
    db_claim_release(&place->claim);
    assert_ok(db_lock_take(place->lock, DB_LOCK_TRY, &fd, &place->err));
    assert_int_equal(db_claim_take(&second, place->directory, &place->err), ERROR_CONFLICT);
    db_claim_release(&second);
    close(fd);
}

static void what_was_exchanged_is_noticed(void **state)
{
    struct place *place = *state;
    char aside[600];
    assert_int_equal(db_claim_add(&place->claim, "file", &place->err), ERROR_IO);
    FILE *file = fopen(place->file, "wb");
    assert_non_null(file);
    fclose(file);
    assert_ok(db_claim_add(&place->claim, "file", &place->err));
    assert_ok(db_claim_check(&place->claim, &place->err));
    snprintf(aside, sizeof(aside), "%s/aside", place->directory);
    assert_ok(rename(place->file, aside));
    assert_int_equal(db_claim_check(&place->claim, &place->err), ERROR_IO);
    assert_non_null(strstr(place->err.message, "file was removed or replaced"));
    assert_null(strstr(place->err.message, "/"));
    assert_ok(mkdir(place->file, 0700));
    assert_int_equal(db_claim_check(&place->claim, &place->err), ERROR_IO);
    assert_ok(rmdir(place->file));
    assert_ok(rename(aside, place->file));
    assert_ok(db_claim_check(&place->claim, &place->err));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_second_claim_is_refused_also_without_the_file),
        TEST(the_file_alone_is_a_claim_too),
        TEST(what_was_exchanged_is_noticed),
    };
    return test_run(tests);
}
