#include "tests/test.h"

#include <sys/socket.h>
#include <unistd.h>

#include "server/http/wire_tap.h"

static void what_is_received_is_fed(void **state)
{
    (void)state;
    int ends[2];
    char buffer[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_null(wire_tap_of(ends[0]));
    struct wire *wire = wire_tap_open(ends[0]);
    assert_non_null(wire);
    assert_ptr_equal(wire_tap_of(ends[0]), wire);

    assert_int_equal(send(ends[1], "abcdef", 6, 0), 6);
    assert_int_equal(recv(ends[0], buffer, 2, MSG_PEEK), 2);
    assert_int_equal(recv(ends[0], buffer, 2, 0), 2);
    assert_int_equal(recv(ends[0], buffer, sizeof(buffer), 0), 4);
    assert_memory_equal(buffer, "cdef", 4);
    assert_int_equal(wire->held_size, 6);
    assert_memory_equal(wire->held, "abcdef", 6);

    /* Neither the other end nor, later, this one. */
    assert_int_equal(send(ends[0], "x", 1, 0), 1);
    assert_int_equal(recv(ends[1], buffer, sizeof(buffer), 0), 1);
    assert_int_equal(wire->held_size, 6);
    wire_tap_close(ends[0]);
    assert_null(wire_tap_of(ends[0]));
    wire_tap_close(ends[0]);
    assert_int_equal(send(ends[1], "y", 1, 0), 1);
    assert_int_equal(recv(ends[0], buffer, sizeof(buffer), 0), 1);
    close(ends[1]);
    assert_int_equal(recv(ends[0], buffer, sizeof(buffer), 0), 0);
    close(ends[0]);
}

static void other_descriptors_have_none(void **state)
{
    (void)state;
    assert_null(wire_tap_open(-1));
    assert_null(wire_tap_of(-1));
    assert_null(wire_tap_open(1 << 20));
    assert_null(wire_tap_of(1 << 20));
    wire_tap_close(1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_received_is_fed),
        cmocka_unit_test(other_descriptors_have_none),
    };
    return test_run(tests);
}
