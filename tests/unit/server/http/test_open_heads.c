#include "tests/test.h"

#include "server/http/open_heads.h"

static bool is_complete(void *connection)
{
    return *(bool *)connection;
}

static void the_complete_head_is_taken_once(void **state)
{
    (void)state;
    struct open_heads heads = {0};
    struct open_head entries[3] = {0};
    bool complete[3] = {false, false, false};
    for (size_t i = 0; i < 3; i++)
        open_heads_add(&heads, &entries[i], &complete[i], &entries[i]);
    assert_null(open_heads_take(&heads, is_complete));
    complete[1] = true;
    struct open_head *taken = open_heads_take(&heads, is_complete);
    assert_ptr_equal(taken, &entries[1]);
    assert_ptr_equal(taken->owner, &entries[1]);
    assert_null(open_heads_take(&heads, is_complete));
    for (size_t i = 0; i < 3; i++)
        open_heads_remove(&entries[i]);
    complete[0] = complete[2] = true;
    assert_null(open_heads_take(&heads, is_complete));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_complete_head_is_taken_once),
    };
    return test_run(tests);
}
