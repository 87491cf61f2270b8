#include "tests/test.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/http/linger.h"
#include "server/http/listen.h"

static struct lingerers *create(void)
{
    struct lingerers *lingerers = NULL;
    assert_int_equal(linger_create(&lingerers, NULL), 0);
    return lingerers;
}

/* Connects, and leaves the server's side of it to linger after an answer. */
static int open_lingering(struct lingerers *lingerers, const struct listener *listener)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(listener->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    struct pollfd waiting = {.fd = listener->fd, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, 10000), 1);
    int server = accept(listener->fd, NULL, NULL);
    assert_true(server >= 0);
    assert_int_equal(send(server, "answer", 6, 0), 6);
    linger_add(lingerers, server);
    close(server);
    return client;
}

/* Reads the answer and its orderly end. */
static void expect_answer(int client)
{
    char text[16];
    size_t n = 0;
    for (ssize_t got; (got = recv(client, text + n, sizeof(text) - n, 0)) > 0;)
        n += (size_t)got;
    assert_int_equal(n, 6);
    assert_memory_equal(text, "answer", 6);
}

static void many_answers_arrive_whole(void **state)
{
    (void)state;
    struct lingerers *lingerers = create();
    struct listener listener;
    assert_int_equal(listen_open(&listener, "127.0.0.1:0", NULL), 0);
    static char upload[1 << 18];
    int clients[8];
    for (int i = 0; i < 8; i++)
        clients[i] = open_lingering(lingerers, &listener);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(send(clients[i], upload, sizeof(upload), MSG_NOSIGNAL), sizeof(upload));
        expect_answer(clients[i]);
        close(clients[i]);
    }
    linger_destroy(lingerers);
    close(listener.fd);
}

/* Sends until the other end is gone, and returns how much that was. */
static uint64_t send_until_cut(int client, size_t size)
{
    static char bytes[1 << 16];
    uint64_t sent = 0;
    for (ssize_t n; (n = send(client, bytes, size, MSG_NOSIGNAL)) > 0;)
        sent += (uint64_t)n;
    assert_true(errno == EPIPE || errno == ECONNRESET);
    return sent;
}

static void a_client_is_read_for_so_many_bytes(void **state)
{
    (void)state;
    struct lingerers *lingerers = create();
    struct listener listener;
    assert_int_equal(listen_open(&listener, "127.0.0.1:0", NULL), 0);
    int client = open_lingering(lingerers, &listener);
    /* What is sent and not read is in buffers of some megabytes. */
    assert_true(send_until_cut(client, 1 << 16) < (uint64_t)(LINGER_MAX_MIB + 64) << 20);
    close(client);
    linger_destroy(lingerers);
    close(listener.fd);
}

static void a_client_is_read_for_so_long(void **state)
{
    (void)state;
    struct lingerers *lingerers = create();
    struct listener listener;
    assert_int_equal(listen_open(&listener, "127.0.0.1:0", NULL), 0);
    int64_t start = clock_now_ms();
    int client = open_lingering(lingerers, &listener);
    /* A drip every millisecond: a time that restarts would never end. */
    struct pollfd cut = {.fd = client, .events = 0};
    while (poll(&cut, 1, 1) == 0)
        send(client, "x", 1, MSG_NOSIGNAL);
    assert_true((cut.revents & (POLLERR | POLLHUP)) != 0);
    assert_true(clock_now_ms() - start >= LINGER_MS);
    close(client);
    linger_destroy(lingerers);
    close(listener.fd);
}

/* They get their answer, too, unless they send on. */
static void one_too_many_does_not_linger(void **state)
{
    (void)state;
    struct lingerers *lingerers = create();
    struct listener listener;
    assert_int_equal(listen_open(&listener, "127.0.0.1:0", NULL), 0);
    int clients[LINGER_MAX + 1];
    for (int i = 0; i <= LINGER_MAX; i++)
        clients[i] = open_lingering(lingerers, &listener);
    expect_answer(clients[LINGER_MAX]);
    send_until_cut(clients[LINGER_MAX], 1);
    expect_answer(clients[LINGER_MAX - 1]);
    assert_int_equal(send(clients[LINGER_MAX - 1], "x", 1, MSG_NOSIGNAL), 1);
    for (int i = 0; i <= LINGER_MAX; i++)
        close(clients[i]);
    linger_destroy(lingerers); /* and does not wait for those that are still there */
    close(listener.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_answers_arrive_whole),
        cmocka_unit_test(a_client_is_read_for_so_many_bytes),
        cmocka_unit_test(a_client_is_read_for_so_long),
        cmocka_unit_test(one_too_many_does_not_linger),
    };
    return test_run(tests);
}
