#include "tests/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include "server/http/client_name.h"

static struct client_name name_v4(uint32_t address)
{
    const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(address)}};
    return client_name_of_address((const struct sockaddr *)&v4);
}

static struct client_name name_v6(const char *text)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return client_name_of_address((const struct sockaddr *)&v6);
}

static bool is_same(struct client_name one, struct client_name other)
{
    return client_name_compare(&one, &other) == 0;
}

static void a_client_is_an_address_a_network_or_a_key(void **state)
{
    (void)state;
    assert_true(is_same(name_v4(0x7f000001), name_v4(0x7f000001)));
    assert_false(is_same(name_v4(0x7f000001), name_v4(0x7f000002)));
    assert_true(is_same(name_v4(0x7f000001), name_v6("::ffff:127.0.0.1")));
    assert_false(is_same(name_v6("::ffff:127.0.0.2"), name_v6("::ffff:127.0.0.1")));
    assert_true(is_same(name_v6("2001:db8:1:2::1"), name_v6("2001:db8:1:2:ffff:1::")));
    assert_false(is_same(name_v6("2001:db8:1:2::1"), name_v6("2001:db8:1:3::1")));
    assert_true(is_same(client_name_of_key("key_1"), client_name_of_key("key_1")));
    assert_false(is_same(client_name_of_key("key_1"), client_name_of_key("key_2")));
    assert_false(is_same(client_name_of_key("\x7f"), name_v4(0x7f000000)));
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    assert_true(is_same(client_name_of_address(&none), client_name_of_address(&none)));
    assert_false(is_same(client_name_of_address(&none), name_v4(0)));
}

static void keys_are_told_from_addresses(void **state)
{
    (void)state;
    const struct client_name key = client_name_of_key("key_1"), address = name_v4(1);
    assert_true(client_name_is_key(&key));
    assert_false(client_name_is_key(&address));
}

/* Sockets that have no address share a name. */
static void the_other_end_of_a_socket_has_a_name(void **state)
{
    (void)state;
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    assert_true(is_same(client_name_of_peer(-1), client_name_of_address(&none)));
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(here);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&here, sizeof(here)), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&here, &size), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&here, sizeof(here)), 0);
    assert_true(is_same(client_name_of_peer(fd), name_v4(INADDR_LOOPBACK)));
    close(fd);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_is_an_address_a_network_or_a_key),
        cmocka_unit_test(keys_are_told_from_addresses),
        cmocka_unit_test(the_other_end_of_a_socket_has_a_name),
    };
    return test_run(tests);
}
