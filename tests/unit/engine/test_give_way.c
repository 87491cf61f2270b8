/* Yielding when a request came lately, and only then. */
#include "tests/test.h"

#include "base/clock.h"
#include "engine/give_way.h"
#include "tests/unit/engine/yields.h"

static void nobody_yields_unasked(void **state)
{
    (void)state;
    yields_advance_clock(GIVE_WAY_MS);
    yields_take();
    assert_false(give_way_is_asked(clock_coarse_ms()));
    give_way();
    assert_int_equal(yields_take(), 0);
}

static void a_request_is_given_way_for_a_while(void **state)
{
    (void)state;
    yields_take();
    give_way_ask();
    give_way();
    yields_advance_clock(GIVE_WAY_MS - 1);
    give_way();
    assert_int_equal(yields_take(), 2);
    yields_advance_clock(1);
    give_way();
    assert_int_equal(yields_take(), 0);
}

static void the_last_request_counts(void **state)
{
    (void)state;
    give_way_ask();
    yields_advance_clock(GIVE_WAY_MS / 2);
    give_way_ask();
    assert_true(give_way_is_asked(clock_coarse_ms() + GIVE_WAY_MS - 1));
    assert_false(give_way_is_asked(clock_coarse_ms() + GIVE_WAY_MS));
    yields_advance_clock(GIVE_WAY_MS - 1);
    assert_true(give_way_is_asked(clock_coarse_ms()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_yields_unasked),
        cmocka_unit_test(a_request_is_given_way_for_a_while),
        cmocka_unit_test(the_last_request_counts),
    };
    return test_run(tests);
}
