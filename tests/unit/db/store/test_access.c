/* What is worth a warning; what is refused is tested where it is refused (test_data, test_keys). */
#include "db/store/access.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/db/fixture.h"

static void rights_of_others_are_seen(void **state)
{
    (void)state;
    static const struct {
        mode_t mode;
        bool exposed;
    } trials[] = {
        {0700, false}, {0600, false}, {0750, false}, {0640, false}, {02750, false}, {0755, true},
        {0770, true},  {0660, true},  {0644, true},  {0701, true},  {02775, true},
    };
    char directory[512];
    fixture_directory(directory);
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        mode_t mode = 0;
        assert_ok(chmod(directory, trials[i].mode));
        if (access_is_exposed(directory, &mode) != trials[i].exposed)
            fail_msg("%04o", (unsigned)trials[i].mode);
        assert_int_equal(mode, trials[i].exposed ? trials[i].mode : 0);
    }
    assert_ok(chmod(directory, 0700));
    fixture_remove_directory(directory);
}

static void what_is_not_there_is_not_exposed(void **state)
{
    (void)state;
    mode_t mode = 0;
    struct error err = {0};
    assert_false(access_is_exposed("/nonexistent", &mode));
    assert_int_equal(access_check_writers("/nonexistent", &err), ERROR_IO);
    assert_int_equal(access_check_owner("/nonexistent", &err), ERROR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights_of_others_are_seen),
        cmocka_unit_test(what_is_not_there_is_not_exposed),
    };
    return test_run(tests);
}
