#include "tests/test.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/http/connections.h"
#include "server/http/listen.h"

/* Two ends of a TCP connection over loopback. */
struct pair {
    int client;
    int server;
};

static void open_pair(struct pair *pair)
{
    struct listener listener;
    assert_int_equal(listen_open(&listener, "127.0.0.1:0", NULL), 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(listener.port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    pair->client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(pair->client, (struct sockaddr *)&address, sizeof(address)), 0);
    struct pollfd waiting = {.fd = listener.fd, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, 10000), 1);
    pair->server = accept(listener.fd, NULL, NULL);
    assert_true(pair->server >= 0);
    close(listener.fd);
}

static void close_pair(struct pair *pair)
{
    close(pair->client);
    close(pair->server);
}

/* What the client reads until the end of the stream, which must come within ten seconds; 0 at an
 * orderly end, else errno. */
static int read_to_end(int fd, char *out, size_t size)
{
    size_t n = 0;
    for (;;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (poll(&waiting, 1, 10000) != 1)
            fail_msg("the connection was not closed");
        ssize_t got = recv(fd, out + n, size - 1 - n, 0);
        if (got <= 0) {
            out[n] = '\0';
            return got == 0 ? 0 : errno;
        }
        n += (size_t)got;
    }
}

static struct connections *create(uint64_t header_ms, uint64_t body_ms, uint64_t idle_ms)
{
    struct connections *connections = NULL;
    const struct connection_timeouts timeouts = {header_ms, body_ms, idle_ms};
    const struct connection_limits limits = {.max = 2, .max_per_client = 2};
    assert_int_equal(connections_create(&connections, &timeouts, &limits, NULL), 0);
    return connections;
}

static struct connection *add(struct connections *connections, int fd)
{
    return connections_add(connections, fd, SHARE_RESERVE_NONE);
}

enum { LONG = 3600 * 1000 };

static void each_phase_has_its_deadline(void **state)
{
    (void)state;
    static const struct {
        enum connection_phase phase;
        struct connection_timeouts timeouts;
        const char *text; /* what the client is told */
    } trials[] = {
        {CONNECTION_NEW, {30, LONG, LONG}, ""},
        {CONNECTION_HEADERS, {30, LONG, LONG}, ""},
        {CONNECTION_IDLE, {LONG, LONG, 30}, ""},
        {CONNECTION_BODY, {LONG, 30, LONG}, "HTTP/1.1 408 "},
        {CONNECTION_SENDING, {LONG, 30, LONG}, ""},
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        const struct connection_timeouts *t = &trials[i].timeouts;
        struct connections *connections = create(t->header_ms, t->body_ms, t->idle_ms);
        struct pair pair;
        open_pair(&pair);
        int64_t start = clock_now_ms();
        struct connection *connection = add(connections, pair.server);
        assert_non_null(connection);
        /* It was new before: should this thread have had to wait, that phase's time may be over. */
        assert_true(connection_enter(connections, connection, trials[i].phase) ||
                    clock_now_ms() - start >= (int64_t)t->header_ms);
        char text[1024];
        read_to_end(pair.client, text, sizeof(text));
        assert_memory_equal(text, trials[i].text, strlen(trials[i].text));
        assert_true(clock_now_ms() - start >= 30);
        assert_true(connection_is_expired(connections, connection));
        /* Too late to go on: nobody is there. */
        assert_false(connection_enter(connections, connection, CONNECTION_SENDING));
        connections_remove(connections, connection);
        connections_destroy(connections);
        close_pair(&pair);
    }
}

static void the_timeout_answer_has_its_length(void **state)
{
    (void)state;
    struct connections *connections = create(LONG, 10, LONG);
    struct pair pair;
    open_pair(&pair);
    struct connection *connection = add(connections, pair.server);
    connection_enter(connections, connection, CONNECTION_BODY);
    char text[1024];
    read_to_end(pair.client, text, sizeof(text));
    const char *length = strstr(text, "Content-Length: ");
    const char *body = strstr(text, "\r\n\r\n");
    assert_non_null(length);
    assert_int_equal(strtoul(length + 16, NULL, 10), strlen(body + 4));
    connections_remove(connections, connection);
    connections_destroy(connections);
    close_pair(&pair);
}

static void bytes_extend_a_body_but_drips_do_not(void **state)
{
    (void)state;
    enum { BODY_MS = 1000 }; /* long for this thread, should it have to wait */
    struct connections *connections = create(LONG, BODY_MS, LONG);
    struct pair fast, slow;
    open_pair(&fast);
    open_pair(&slow);
    struct connection *one = add(connections, fast.server);
    struct connection *other = add(connections, slow.server);
    int64_t start = clock_now_ms();
    connection_enter(connections, one, CONNECTION_BODY);
    connection_enter(connections, other, CONNECTION_BODY);
    connection_received(connections, one, 64 * 1024); /* worth four seconds */
    /* A drip every millisecond until the slow one is cut: a timeout that restarts never ends. */
    struct pollfd cut = {.fd = slow.client, .events = POLLIN};
    while (poll(&cut, 1, 1) == 0) {
        connection_received(connections, other, 1);
        connection_received(connections, one, 1024);
        assert_true(clock_now_ms() - start < 10000);
    }
    assert_true(connection_is_expired(connections, other));
    assert_true(clock_now_ms() - start >= BODY_MS);
    assert_false(connection_is_expired(connections, one));
    connections_remove(connections, one);
    connections_remove(connections, other);
    connections_destroy(connections);
    close_pair(&fast);
    close_pair(&slow);
}

static void handling_has_no_deadline(void **state)
{
    (void)state;
    struct connections *connections = create(1, 1, 1);
    struct pair handled, other;
    open_pair(&handled);
    open_pair(&other);
    struct connection *one = add(connections, handled.server);
    (void)connection_enter(connections, one, CONNECTION_HANDLING);
    if (!connection_is_expired(connections, one)) { /* not cut before we got that far */
        struct connection *two = add(connections, other.server);
        char text[64];
        read_to_end(other.client, text, sizeof(text)); /* the watcher has looked */
        assert_false(connection_is_expired(connections, one));
        connections_remove(connections, two);
    }
    connections_remove(connections, one);
    assert_int_equal(connections_count(connections), 0);
    connections_destroy(connections);
    close_pair(&handled);
    close_pair(&other);
}

static void draining_closes_what_is_idle_and_waits_for_the_rest(void **state)
{
    (void)state;
    struct connections *connections = create(LONG, LONG, LONG);
    struct pair idle, busy;
    open_pair(&idle);
    open_pair(&busy);
    struct connection *one = add(connections, idle.server);
    struct connection *two = add(connections, busy.server);
    connection_enter(connections, one, CONNECTION_IDLE);
    connection_enter(connections, two, CONNECTION_HANDLING);
    assert_int_equal(connections_count(connections), 2);
    assert_false(connections_is_draining(connections));
    connections_drain(connections);
    assert_true(connections_is_draining(connections));
    char byte;
    assert_int_equal(recv(idle.server, &byte, 1, MSG_DONTWAIT), 0); /* end of stream */
    assert_int_equal(recv(busy.server, &byte, 1, MSG_DONTWAIT), -1);
    assert_false(connections_wait_idle(connections, 1));
    connection_enter(connections, two, CONNECTION_SENDING);
    assert_false(connections_wait_idle(connections, 1));
    connection_enter(connections, two, CONNECTION_IDLE);
    assert_true(connections_wait_idle(connections, 10000));
    assert_int_equal(recv(busy.server, &byte, 1, MSG_DONTWAIT), 0);
    connections_remove(connections, one);
    connections_remove(connections, two);
    connections_destroy(connections);
    close_pair(&idle);
    close_pair(&busy);
}

static void an_answer_that_is_cut_has_no_orderly_end(void **state)
{
    (void)state;
    enum { CUT, CUT_ALL, EXPIRED, N_WAYS };
    for (int way = 0; way < N_WAYS; way++) {
        struct connections *connections = create(LONG, way == EXPIRED ? 30 : LONG, LONG);
        struct pair sending, idle;
        open_pair(&sending);
        open_pair(&idle);
        struct connection *one = add(connections, sending.server);
        struct connection *two = add(connections, idle.server);
        connection_enter(connections, two, CONNECTION_IDLE);
        connection_enter(connections, one, CONNECTION_SENDING);
        char text[64];
        assert_int_equal(send(sending.server, "half an ans", 11, 0), 11);
        if (way == CUT)
            connection_cut(one);
        else if (way == CUT_ALL)
            connections_cut_answers(connections);
        assert_int_equal(read_to_end(sending.client, text, sizeof(text)), ECONNRESET);
        /* Asked first, as the watcher answers only once its own call on the socket is over. */
        assert_int_equal(connection_is_expired(connections, one), way == EXPIRED);
        /* Its thread sees the end, too. */
        char byte;
        assert_true(recv(sending.server, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
        assert_int_equal(recv(idle.server, &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
        connections_remove(connections, one);
        connections_remove(connections, two);
        connections_destroy(connections);
        close_pair(&sending);
        close_pair(&idle);
    }
    connection_cut(NULL);
}

/* A handler that ends between the cut and the end of the server. */
static void no_answer_begins_after_the_cut(void **state)
{
    (void)state;
    struct connections *connections = create(LONG, LONG, LONG);
    struct pair late;
    char text[64];
    open_pair(&late);
    struct connection *connection = add(connections, late.server);
    connection_enter(connections, connection, CONNECTION_HANDLING);
    connections_cut_answers(connections);
    assert_false(connection_enter(connections, connection, CONNECTION_SENDING));
    assert_int_equal(read_to_end(late.client, text, sizeof(text)), ECONNRESET);
    connections_remove(connections, connection);
    connections_destroy(connections);
    close_pair(&late);
}

/* By whom the connection was left and closed long before the client's last byte. */
static void lingering_reads_what_the_client_still_sends(void **state)
{
    (void)state;
    struct connections *connections = create(LONG, LONG, LONG);
    struct pair pair;
    open_pair(&pair);
    struct connection *connection = add(connections, pair.server);
    assert_int_equal(send(pair.server, "answer", 6, 0), 6);
    connection_linger(connections, connection);
    connections_remove(connections, connection);
    close(pair.server);
    static char upload[1 << 20];
    assert_int_equal(send(pair.client, upload, sizeof(upload), MSG_NOSIGNAL), sizeof(upload));
    shutdown(pair.client, SHUT_WR);
    /* No reset has destroyed the answer. */
    char text[64];
    assert_int_equal(read_to_end(pair.client, text, sizeof(text)), 0);
    assert_string_equal(text, "answer");
    close(pair.client);
    connections_destroy(connections);
}

/* Whether the end of the stream is there to be read. */
static bool is_shut(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void who_is_idle_makes_room_at_once(void **state)
{
    (void)state;
    struct connections *connections = create(LONG, LONG, LONG);
    struct pair pairs[3];
    struct connection *all[3];
    for (int i = 0; i < 3; i++)
        open_pair(&pairs[i]);
    for (int i = 0; i < 2; i++)
        all[i] = add(connections, pairs[i].server);
    assert_true(connection_enter(connections, all[1], CONNECTION_IDLE));
    assert_true(connection_enter(connections, all[0], CONNECTION_IDLE));
    /* The one that has been idle for longer is still in the table, but the place is free. */
    all[2] = add(connections, pairs[2].server);
    assert_int_equal(connection_identify(connections, all[2], NULL), SHARE_HELD);
    assert_true(is_shut(pairs[1].client));
    assert_false(is_shut(pairs[0].client) || is_shut(pairs[2].client));
    assert_int_equal(connections_count(connections), 3);
    /* Its request may have come meanwhile: too late. No deadline has passed, though. */
    assert_false(connection_enter(connections, all[1], CONNECTION_HEADERS));
    assert_false(connection_enter(connections, all[1], CONNECTION_BODY));
    assert_false(connection_is_expired(connections, all[1]));
    for (int i = 0; i < 3; i++) {
        connections_remove(connections, all[i]);
        close_pair(&pairs[i]);
    }
    connections_destroy(connections);
}

static void who_has_a_request_stays(void **state)
{
    (void)state;
    static const enum connection_phase phases[] = {CONNECTION_BODY, CONNECTION_HANDLING,
                                                   CONNECTION_SENDING, CONNECTION_LINGERING};
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        struct connections *connections = create(LONG, LONG, LONG);
        struct pair pairs[3];
        struct connection *all[3];
        for (int k = 0; k < 3; k++) {
            open_pair(&pairs[k]);
            all[k] = add(connections, pairs[k].server);
            assert_true(connection_enter(connections, all[k], phases[i]));
        }
        assert_int_equal(connection_identify(connections, all[2], NULL), SHARE_CLIENT_FULL);
        assert_int_equal(connection_identify(connections, all[0], NULL), SHARE_HELD);
        for (int k = 0; k < 3; k++) {
            assert_false(is_shut(pairs[k].client));
            connections_remove(connections, all[k]);
            close_pair(&pairs[k]);
        }
        connections_destroy(connections);
    }
}

/* A connection that was cut gives its place away before it is gone. */
static void who_is_too_late_has_no_place(void **state)
{
    (void)state;
    struct connections *connections = create(LONG, 30, LONG);
    struct pair pairs[4];
    struct connection *all[4];
    for (int i = 0; i < 2; i++) {
        open_pair(&pairs[i]);
        all[i] = add(connections, pairs[i].server);
        connection_enter(connections, all[i], CONNECTION_BODY);
    }
    char text[1024];
    for (int i = 0; i < 2; i++)
        read_to_end(pairs[i].client, text, sizeof(text));
    for (int i = 2; i < 4; i++) {
        open_pair(&pairs[i]);
        all[i] = add(connections, pairs[i].server);
        assert_true(connection_enter(connections, all[i], CONNECTION_HANDLING));
        assert_int_equal(connection_identify(connections, all[i], NULL), SHARE_HELD);
    }
    for (int i = 0; i < 4; i++) {
        connections_remove(connections, all[i]);
        close_pair(&pairs[i]);
    }
    connections_destroy(connections);
}

static void a_key_has_a_share_of_its_own(void **state)
{
    (void)state;
    struct connections *connections = NULL;
    const struct connection_timeouts timeouts = {LONG, LONG, LONG};
    const struct connection_limits limits = {.max = 16, .max_per_client = 2};
    assert_int_equal(connections_create(&connections, &timeouts, &limits, NULL), 0);
    struct pair pairs[5];
    struct connection *all[5];
    for (int i = 0; i < 5; i++) {
        open_pair(&pairs[i]);
        all[i] = connections_add(connections, pairs[i].server, SHARE_RESERVE_KEYS);
        assert_true(connection_enter(connections, all[i], CONNECTION_HANDLING));
        assert_int_equal(connection_identify(connections, all[i], i % 2 == 0 ? "key_1" : "key_2"),
                         i < 4 ? SHARE_HELD : SHARE_CLIENT_FULL);
    }
    assert_int_equal(connection_identify(connections, NULL, NULL), SHARE_HELD);
    for (int i = 0; i < 5; i++) {
        connections_remove(connections, all[i]);
        close_pair(&pairs[i]);
    }
    connections_destroy(connections);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_phase_has_its_deadline),
        cmocka_unit_test(the_timeout_answer_has_its_length),
        cmocka_unit_test(bytes_extend_a_body_but_drips_do_not),
        cmocka_unit_test(handling_has_no_deadline),
        cmocka_unit_test(draining_closes_what_is_idle_and_waits_for_the_rest),
        cmocka_unit_test(an_answer_that_is_cut_has_no_orderly_end),
        cmocka_unit_test(no_answer_begins_after_the_cut),
        cmocka_unit_test(lingering_reads_what_the_client_still_sends),
        cmocka_unit_test(who_is_idle_makes_room_at_once),
        cmocka_unit_test(who_has_a_request_stays),
        cmocka_unit_test(who_is_too_late_has_no_place),
        cmocka_unit_test(a_key_has_a_share_of_its_own),
    };
    return test_run(tests);
}
