/* Rounding to 16 bits, against the definition in double precision. */
#include "tests/test.h"

#include <float.h>
#include <math.h>

#include "engine/dense/half.h"
#include "tests/unit/engine/dense/plain.h"

enum { HALF_FIRST = 0x0400, HALF_LAST = 0x7bff }; /* but for 0 */

static uint16_t half_of(float value)
{
    uint16_t half = 0xffff;
    half_from_floats(&value, 1, &half);
    return half;
}

/* By the fields of the format. */
static double value_of(uint32_t half)
{
    return half == 0 ? 0 : ldexp(1024 + (half & 1023), (int)(half >> 10) - 15 - 10);
}

static void every_half_is_kept(void **state)
{
    (void)state;
    enum { N = HALF_LAST - HALF_FIRST + 1 };
    static float values[N];
    static uint16_t halves[N];
    for (uint32_t i = 0; i < N; i++) {
        values[i] = half_value((uint16_t)(HALF_FIRST + i));
        assert_true(values[i] == value_of(HALF_FIRST + i));
    }
    half_from_floats(values, N, halves);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(halves[i], HALF_FIRST + i);
    assert_true(half_value(0) == 0 && half_of(0.0f) == 0);
}

/* Half way from one to the next the even one is nearest, a float beside it the one on its side. */
static void ties_go_to_the_even_one(void **state)
{
    (void)state;
    for (uint32_t half = HALF_FIRST; half < HALF_LAST; half++) {
        const float middle = (float)((value_of(half) + value_of(half + 1)) / 2);
        assert_int_equal(half_of(middle), half + (half & 1));
        assert_int_equal(half_of(nextafterf(middle, 0)), half);
        assert_int_equal(half_of(nextafterf(middle, INFINITY)), half + 1);
    }
}

static void any_value_goes_to_the_nearest(void **state)
{
    (void)state;
    uint32_t random = 5;
    for (uint32_t i = 0; i < 1000000; i++) {
        const float value = ldexpf(1 + (float)plain_random(&random, 1 << 23) / (1 << 23),
                                   (int)plain_random(&random, 30) - 14);
        const double step = ldexp(1, ilogbf(value) - 10);
        const double nearest = fmin(nearbyint(value / step) * step, 65504);
        assert_true(half_value(half_of(value)) == nearest);
    }
}

static void what_cannot_be_told_is_the_largest_or_zero(void **state)
{
    (void)state;
    static const float large[] = {65504.0f, 65519.0f, 65520.0f, 1e6f, FLT_MAX, INFINITY};
    static const float zero[] = {0x1p-15f, 6e-5f, FLT_MIN,   FLT_TRUE_MIN, 0.0f,      -0.0f,
                                 -1.0f,    -1e9f, -HALF_MIN, NAN,          -INFINITY, -NAN};
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
        assert_int_equal(half_of(large[i]), HALF_LAST);
    for (size_t i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
        assert_int_equal(half_of(zero[i]), 0);
    assert_int_equal(half_of(HALF_MIN), HALF_FIRST);
    assert_int_equal(half_of(nextafterf(HALF_MIN, 0)), 0);
}

/* The same wherever a value stands, and nothing beyond the last. */
static void arrays_of_any_length(void **state)
{
    (void)state;
    enum { MOST = 70 };
    float values[MOST];
    uint16_t halves[MOST + 1];
    for (uint32_t i = 0; i < MOST; i++)
        values[i] = i % 7 == 3 ? NAN : (float)i * 1.2345f;
    for (uint32_t n = 0; n <= MOST; n++) {
        memset(halves, 0xee, sizeof(halves));
        half_from_floats(values, n, halves);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(halves[i], half_of(values[i]));
        assert_int_equal(halves[n], 0xeeee);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_is_kept),
        cmocka_unit_test(ties_go_to_the_even_one),
        cmocka_unit_test(any_value_goes_to_the_nearest),
        cmocka_unit_test(what_cannot_be_told_is_the_largest_or_zero),
        cmocka_unit_test(arrays_of_any_length),
    };
    return test_run(tests);
}
