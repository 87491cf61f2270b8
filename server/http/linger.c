/* The thread polls all sockets and an event that says that there is another one, or the end.
 *
 * Others append to `sockets` under the mutex; the thread alone reads and removes, so that the ones
 * it has seen are its own between two looks, and it polls and reads without the mutex.
 */
#include "server/http/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

struct lingering {
    int fd;
    int64_t end_ms;
    uint64_t bytes_left;
};

struct lingerers {
    pthread_t thread;
    int event;
    pthread_mutex_t mutex; /* guards all below */
    struct lingering sockets[LINGER_MAX];
    size_t n_sockets;
    bool stopping;
};

static void wake(const struct lingerers *lingerers)
{
    eventfd_write(lingerers->event, 1); /* cannot fail short of 2^64 of them */
}

/* Reads one piece. Returns false at the end, whichever comes first. */
static bool discard(struct lingering *socket)
{
    char bytes[64 * 1024];
    ssize_t n = recv(socket->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0 || (uint64_t)n >= socket->bytes_left)
        return false;
    socket->bytes_left -= (uint64_t)n;
    return true;
}

/* Milliseconds for poll: until the first of the sockets has lingered enough; -1 without one. */
static int time_left(const struct lingerers *lingerers, size_t n_sockets)
{
    int left = -1;
    int64_t now = clock_now_ms();
    for (size_t i = 0; i < n_sockets; i++) {
        int64_t own = lingerers->sockets[i].end_ms - now;
        own = own < 0 ? 0 : own;
        left = left < 0 || own < left ? (int)own : left;
    }
    return left;
}

/* Waits for something to happen to the sockets and closes those that are done (fd -1 then). */
static void serve(struct lingerers *lingerers, size_t n_sockets)
{
    struct pollfd polled[LINGER_MAX + 1] = {{.fd = lingerers->event, .events = POLLIN}};
    for (size_t i = 0; i < n_sockets; i++)
        polled[i + 1] = (struct pollfd){.fd = lingerers->sockets[i].fd, .events = POLLIN};
    if (poll(polled, n_sockets + 1, time_left(lingerers, n_sockets)) < 0)
        return;
    eventfd_t count;
    if (polled[0].revents != 0)
        eventfd_read(lingerers->event, &count);
    int64_t now = clock_now_ms();
    for (size_t i = 0; i < n_sockets; i++) {
        struct lingering *socket = &lingerers->sockets[i];
        if (now < socket->end_ms && (polled[i + 1].revents == 0 || discard(socket)))
            continue;
        close(socket->fd);
        socket->fd = -1;
    }
}

/* Under the mutex. */
static void remove_closed(struct lingerers *lingerers)
{
    size_t n = 0;
    for (size_t i = 0; i < lingerers->n_sockets; i++) {
        if (lingerers->sockets[i].fd >= 0)
            lingerers->sockets[n++] = lingerers->sockets[i];
    }
    lingerers->n_sockets = n;
}

static void *run(void *argument)
{
    struct lingerers *lingerers = argument;
    pthread_mutex_lock(&lingerers->mutex);
    while (!lingerers->stopping) {
        size_t n_sockets = lingerers->n_sockets;
        pthread_mutex_unlock(&lingerers->mutex);
        serve(lingerers, n_sockets);
        pthread_mutex_lock(&lingerers->mutex);
        remove_closed(lingerers);
    }
    pthread_mutex_unlock(&lingerers->mutex);
    return NULL;
}

int linger_create(struct lingerers **out, struct error *err)
{
    struct lingerers *lingerers = calloc(1, sizeof(*lingerers));
    if (lingerers == NULL)
        return error_set_nomem(err, "closing connections");
    lingerers->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lingerers->event < 0) {
        free(lingerers);
        return error_set_errno(err, errno, "cannot make an event");
    }
    pthread_mutex_init(&lingerers->mutex, NULL);
    int status = pthread_create(&lingerers->thread, NULL, run, lingerers);
    if (status != 0) {
        pthread_mutex_destroy(&lingerers->mutex);
        close(lingerers->event);
        free(lingerers);
        return error_set_errno(err, status, "cannot start a thread");
    }
    *out = lingerers;
    return 0;
}

void linger_destroy(struct lingerers *lingerers)
{
    if (lingerers == NULL)
        return;
    pthread_mutex_lock(&lingerers->mutex);
    lingerers->stopping = true;
    pthread_mutex_unlock(&lingerers->mutex);
    wake(lingerers);
    pthread_join(lingerers->thread, NULL);
    for (size_t i = 0; i < lingerers->n_sockets; i++)
        close(lingerers->sockets[i].fd);
    pthread_mutex_destroy(&lingerers->mutex);
    close(lingerers->event);
    free(lingerers);
}

void linger_add(struct lingerers *lingerers, int fd)
{
    shutdown(fd, SHUT_WR);
    pthread_mutex_lock(&lingerers->mutex);
    bool has_room = lingerers->n_sockets < LINGER_MAX;
    int copy = has_room ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0)
        lingerers->sockets[lingerers->n_sockets++] =
            (struct lingering){.fd = copy,
                               .end_ms = clock_deadline_ms(LINGER_MS),
                               .bytes_left = (uint64_t)LINGER_MAX_MIB << 20};
    pthread_mutex_unlock(&lingerers->mutex);
    if (copy >= 0)
        wake(lingerers);
}
