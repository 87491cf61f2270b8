/* The table is a list that the watching thread walks whenever the earliest deadline has come; a
 * thread that serves a connection takes the mutex for a moment at each change of phase.
 *
 * Invariants, under the mutex: n_connections is the list's length and n_running the number of its
 * connections in a phase of a request; a connection that was cut, which is handled or lingers, is
 * not looked at, and one that was cut has no place; bytes are never taken back within a phase.
 */
#include "server/http/connections.h"

#include <assert.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "server/http/linger.h"

enum {
    MIN_AVERAGE_RATE = 16 * 1024, /* bytes per second beyond the body timeout */
    MIN_WINDOW_RATE = 1024,       /* bytes per second over a window */
    WINDOW_MS = 30 * 1000,
};

/* All but fd under connections.mutex. */
struct connection {
    LIST_ENTRY(connection) in_list;
    struct share_member member;
    int fd;
    enum connection_phase phase;
    uint64_t entered_ms;      /* when the phase began */
    uint64_t look_at_ms;      /* when to examine it next; UINT64_MAX: never */
    uint64_t progress;        /* bytes of a body received in this phase */
    uint64_t acked_before;    /* TCP's count when sending began */
    uint64_t window_start_ms; /* of the minimal rate */
    uint64_t window_progress; /* progress when the window began */
    bool expired;             /* cut: its deadline passed */
    bool evicted;             /* cut: it made room */
};

struct connections {
    struct connection_timeouts timeouts; /* immutable */
    struct lingerers *lingerers;         /* immutable */
    pthread_t watcher;
    pthread_mutex_t mutex;   /* guards all below */
    pthread_cond_t wake;     /* the watcher: a deadline earlier than its plan, or the end */
    pthread_cond_t finished; /* a request ended */
    LIST_HEAD(, connection) list;
    struct shares *shares;
    uint32_t n_connections;
    uint32_t n_running; /* connections in a phase of a request */
    uint64_t planned_ms;
    bool draining;
    bool answers_cut; /* no answer begins any more */
    bool stopping;
};

static bool is_running(enum connection_phase phase)
{
    switch (phase) {
    case CONNECTION_NEW:
    case CONNECTION_IDLE:
    case CONNECTION_LINGERING:
        return false;
    case CONNECTION_HEADERS:
    case CONNECTION_BODY:
    case CONNECTION_HANDLING:
    case CONNECTION_SENDING:
        return true;
    }
    return false;
}

static enum share_wait wait_of(enum connection_phase phase)
{
    switch (phase) {
    case CONNECTION_NEW:
        return SHARE_WAIT_NEW;
    case CONNECTION_IDLE:
        return SHARE_WAIT_IDLE;
    case CONNECTION_HEADERS:
        return SHARE_WAIT_HEAD;
    case CONNECTION_BODY:
    case CONNECTION_HANDLING:
    case CONNECTION_SENDING:
    case CONNECTION_LINGERING:
        return SHARE_BUSY;
    }
    return SHARE_BUSY;
}

static bool is_cut(const struct connection *connection)
{
    return connection->expired || connection->evicted;
}

static bool connection_check(const struct connection *connection)
{
    bool unwatched = is_cut(connection) || connection->phase == CONNECTION_HANDLING ||
                     connection->phase == CONNECTION_LINGERING;
    return connection->fd >= 0 && (connection->look_at_ms == UINT64_MAX) == unwatched &&
           (connection->member.client == NULL) == is_cut(connection) &&
           connection->window_progress <= connection->progress &&
           connection->entered_ms <= connection->window_start_ms;
}

static bool connections_check(const struct connections *connections)
{
    uint32_t n_connections = 0, n_running = 0;
    const struct connection *c;
    LIST_FOREACH(c, &connections->list, in_list)
    {
        if (!connection_check(c))
            return false;
        n_connections++;
        n_running += is_running(c->phase);
    }
    return n_connections == connections->n_connections && n_running == connections->n_running;
}

/* Bytes the peer has acknowledged since the socket was opened; 0 when the system does not say. */
static uint64_t acknowledged(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return 0;
    return info.tcpi_bytes_acked;
}

static uint64_t window_ms(const struct connections *connections)
{
    uint64_t body_ms = connections->timeouts.body_ms;
    return body_ms < WINDOW_MS ? body_ms : WINDOW_MS;
}

static uint64_t transfer_deadline(const struct connections *connections,
                                  const struct connection *connection)
{
    return connection->entered_ms + connections->timeouts.body_ms +
           connection->progress * 1000 / MIN_AVERAGE_RATE;
}

/* Plans the next look at a connection in a phase with a minimal rate. */
static void plan_transfer(const struct connections *connections, struct connection *connection)
{
    uint64_t window_end = connection->window_start_ms + window_ms(connections);
    uint64_t deadline = transfer_deadline(connections, connection);
    connection->look_at_ms = window_end < deadline ? window_end : deadline;
}

/* Dissolving the association sends a reset, without waiting for what is unsent. */
static void reset(int fd)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (connect(fd, &nobody, sizeof(nobody)) != 0)
        shutdown(fd, SHUT_RDWR);
}

/* `member` NULL: nobody. */
static void evict(struct share_member *member)
{
    if (member == NULL)
        return;
    struct connection *connection =
        (struct connection *)((char *)member - offsetof(struct connection, member));
    connection->evicted = true;
    connection->look_at_ms = UINT64_MAX;
    shutdown(connection->fd, SHUT_RDWR);
}

static void expire(const struct connections *connections, struct connection *connection)
{
    /* The client may be waiting for an answer to its slow body; nothing else has been sent, so the
     * line is clean. Best effort: the socket may be full. */
    static const char timeout[] =
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
        "Content-Type: application/problem+json\r\nContent-Length: 101\r\n\r\n"
        "{\"type\":\"about:blank\",\"title\":\"Request Timeout\",\"status\":408,"
        "\"detail\":\"the body arrived too slowly\"}\n";
    if (connection->phase == CONNECTION_BODY) {
        ssize_t sent =
            send(connection->fd, timeout, sizeof(timeout) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sent;
    }
    connection->expired = true;
    shares_leave(connections->shares, &connection->member);
    connection->look_at_ms = UINT64_MAX;
    if (connection->phase == CONNECTION_SENDING)
        reset(connection->fd);
    else
        shutdown(connection->fd, SHUT_RDWR);
}

/* The count begins anew when a connection was cut, which its thread has yet to see. */
static void count_acknowledged(struct connection *connection)
{
    uint64_t acked = acknowledged(connection->fd);
    if (acked > connection->acked_before + connection->progress)
        connection->progress = acked - connection->acked_before;
}

/* A look at a connection whose time has come. Under the mutex. */
static void examine(const struct connections *connections, struct connection *connection,
                    uint64_t now)
{
    if (connection->phase != CONNECTION_BODY && connection->phase != CONNECTION_SENDING) {
        expire(connections, connection);
        return;
    }
    if (connection->phase == CONNECTION_SENDING)
        count_acknowledged(connection);
    uint64_t window = window_ms(connections);
    bool window_over = now >= connection->window_start_ms + window;
    uint64_t in_window = connection->progress - connection->window_progress;
    if (now >= transfer_deadline(connections, connection) ||
        (window_over && in_window < window * MIN_WINDOW_RATE / 1000)) {
        expire(connections, connection);
        return;
    }
    if (window_over) {
        connection->window_start_ms = now;
        connection->window_progress = connection->progress;
    }
    plan_transfer(connections, connection);
}

static void *watch(void *argument)
{
    struct connections *connections = argument;
    pthread_mutex_lock(&connections->mutex);
    while (!connections->stopping) {
        uint64_t now = (uint64_t)clock_now_ms(), next = now + 3600 * 1000;
        struct connection *c;
        LIST_FOREACH(c, &connections->list, in_list)
        {
            if (c->look_at_ms <= now)
                examine(connections, c, now);
            next = c->look_at_ms < next ? c->look_at_ms : next;
        }
        assert(connections_check(connections));
        connections->planned_ms = next;
        clock_cond_wait(&connections->wake, &connections->mutex, (int64_t)next);
    }
    pthread_mutex_unlock(&connections->mutex);
    return NULL;
}

static void init_locks(struct connections *connections)
{
    clock_cond_init(&connections->wake);
    clock_cond_init(&connections->finished);
    pthread_mutex_init(&connections->mutex, NULL);
}

static void free_all(struct connections *connections)
{
    pthread_cond_destroy(&connections->wake);
    pthread_cond_destroy(&connections->finished);
    pthread_mutex_destroy(&connections->mutex);
    linger_destroy(connections->lingerers);
    shares_destroy(connections->shares);
    free(connections);
}

int connections_create(struct connections **out, const struct connection_timeouts *timeouts,
                       const struct connection_limits *limits, struct error *err)
{
    struct connections *connections = calloc(1, sizeof(*connections));
    if (connections == NULL)
        return error_set_nomem(err, "connections");
    connections->timeouts = *timeouts;
    LIST_INIT(&connections->list);
    init_locks(connections);
    int rc = shares_create(&connections->shares, limits->max, limits->max_per_client, err);
    if (rc == 0)
        rc = linger_create(&connections->lingerers, err);
    if (rc == 0) {
        int status = pthread_create(&connections->watcher, NULL, watch, connections);
        rc = status == 0 ? 0 : error_set_errno(err, status, "cannot start a thread");
    }
    if (rc != 0) {
        free_all(connections);
        return rc;
    }
    *out = connections;
    return 0;
}

void connections_destroy(struct connections *connections)
{
    if (connections == NULL)
        return;
    pthread_mutex_lock(&connections->mutex);
    connections->stopping = true;
    pthread_cond_signal(&connections->wake);
    pthread_mutex_unlock(&connections->mutex);
    pthread_join(connections->watcher, NULL);
    free_all(connections);
}

/* Sets phase and deadline. Under the mutex. */
static void begin_phase(struct connections *connections, struct connection *connection,
                        enum connection_phase phase)
{
    bool was_running = is_running(connection->phase);
    connection->phase = phase;
    connection->entered_ms = connection->window_start_ms = (uint64_t)clock_now_ms();
    connection->progress = connection->window_progress = 0;
    switch (phase) {
    case CONNECTION_NEW:
    case CONNECTION_HEADERS:
        connection->look_at_ms = connection->entered_ms + connections->timeouts.header_ms;
        break;
    case CONNECTION_IDLE:
        connection->look_at_ms = connection->entered_ms + connections->timeouts.idle_ms;
        break;
    case CONNECTION_BODY:
        plan_transfer(connections, connection);
        break;
    case CONNECTION_SENDING:
        connection->acked_before = acknowledged(connection->fd);
        plan_transfer(connections, connection);
        break;
    case CONNECTION_HANDLING:
    case CONNECTION_LINGERING:
        connection->look_at_ms = UINT64_MAX;
        break;
    }
    if (is_cut(connection))
        connection->look_at_ms = UINT64_MAX;
    shares_wait(connections->shares, &connection->member, wait_of(phase));
    if (is_running(phase) && !was_running)
        connections->n_running++;
    if (!is_running(phase) && was_running && --connections->n_running == 0)
        pthread_cond_broadcast(&connections->finished);
    /* Only the reading side: an answer on its way still arrives. */
    if (connections->draining && !is_running(phase) && phase != CONNECTION_LINGERING)
        shutdown(connection->fd, SHUT_RD);
    if (connection->look_at_ms < connections->planned_ms)
        pthread_cond_signal(&connections->wake);
    assert(connection_check(connection));
}

struct connection *connections_add(struct connections *connections, int fd,
                                   enum share_reserve reserve)
{
    const struct client_name peer = client_name_of_peer(fd);
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        shutdown(fd, SHUT_RDWR);
        return NULL;
    }
    connection->fd = fd;
    connection->phase = CONNECTION_NEW;
    pthread_mutex_lock(&connections->mutex);
    LIST_INSERT_HEAD(&connections->list, connection, in_list);
    connections->n_connections++;
    evict(shares_enter(connections->shares, &connection->member, &peer, reserve));
    begin_phase(connections, connection, CONNECTION_NEW);
    pthread_mutex_unlock(&connections->mutex);
    return connection;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    if (connection == NULL)
        return;
    pthread_mutex_lock(&connections->mutex);
    begin_phase(connections, connection, CONNECTION_LINGERING); /* no longer running */
    shares_leave(connections->shares, &connection->member);
    LIST_REMOVE(connection, in_list);
    connections->n_connections--;
    pthread_mutex_unlock(&connections->mutex);
    free(connection);
}

uint32_t connections_count(struct connections *connections)
{
    pthread_mutex_lock(&connections->mutex);
    uint32_t n = connections->n_connections;
    pthread_mutex_unlock(&connections->mutex);
    return n;
}

bool connection_enter(struct connections *connections, struct connection *connection,
                      enum connection_phase phase)
{
    if (connection == NULL)
        return true;
    pthread_mutex_lock(&connections->mutex);
    bool alive = !is_cut(connection);
    begin_phase(connections, connection, phase);
    /* The server is about to shut all sockets down, which might be in the middle of this one's. */
    if (phase == CONNECTION_SENDING && connections->answers_cut) {
        reset(connection->fd);
        alive = false;
    }
    pthread_mutex_unlock(&connections->mutex);
    return alive;
}

void connection_received(struct connections *connections, struct connection *connection,
                         uint64_t size)
{
    if (connection == NULL)
        return;
    pthread_mutex_lock(&connections->mutex);
    connection->progress += size;
    pthread_mutex_unlock(&connections->mutex);
}

enum share_place connection_identify(struct connections *connections, struct connection *connection,
                                     const char *key_id)
{
    enum share_place place = SHARE_HELD;
    if (connection == NULL)
        return place;
    const struct client_name key = client_name_of_key(key_id != NULL ? key_id : "");
    pthread_mutex_lock(&connections->mutex);
    evict(shares_show(connections->shares, &connection->member, key_id != NULL ? &key : NULL,
                      &place));
    pthread_mutex_unlock(&connections->mutex);
    return place;
}

bool connection_is_expired(struct connections *connections, struct connection *connection)
{
    if (connection == NULL)
        return false;
    pthread_mutex_lock(&connections->mutex);
    bool expired = connection->expired;
    pthread_mutex_unlock(&connections->mutex);
    return expired;
}

void connections_drain(struct connections *connections)
{
    pthread_mutex_lock(&connections->mutex);
    connections->draining = true;
    struct connection *c;
    LIST_FOREACH(c, &connections->list, in_list)
    {
        if (c->phase == CONNECTION_NEW || c->phase == CONNECTION_IDLE)
            shutdown(c->fd, SHUT_RD);
    }
    pthread_mutex_unlock(&connections->mutex);
}

bool connections_is_draining(struct connections *connections)
{
    pthread_mutex_lock(&connections->mutex);
    bool draining = connections->draining;
    pthread_mutex_unlock(&connections->mutex);
    return draining;
}

bool connections_wait_idle(struct connections *connections, uint32_t timeout_ms)
{
    const int64_t deadline = clock_deadline_ms(timeout_ms);
    pthread_mutex_lock(&connections->mutex);
    while (connections->n_running > 0 &&
           clock_cond_wait(&connections->finished, &connections->mutex, deadline))
        continue;
    bool idle = connections->n_running == 0;
    pthread_mutex_unlock(&connections->mutex);
    return idle;
}

void connection_linger(struct connections *connections, struct connection *connection)
{
    if (connection_enter(connections, connection, CONNECTION_LINGERING) && connection != NULL)
        linger_add(connections->lingerers, connection->fd);
}

void connection_cut(const struct connection *connection)
{
    if (connection != NULL)
        reset(connection->fd);
}

void connections_cut_answers(struct connections *connections)
{
    pthread_mutex_lock(&connections->mutex);
    connections->answers_cut = true;
    struct connection *c;
    LIST_FOREACH(c, &connections->list, in_list)
    {
        if (c->phase == CONNECTION_SENDING)
            reset(c->fd);
    }
    pthread_mutex_unlock(&connections->mutex);
}

int connection_fd(const struct connection *connection)
{
    return connection == NULL ? -1 : connection->fd;
}
