#include "server/http/wire_tap.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { MAX_DESCRIPTORS = 65536 };

/* By descriptor. Pages that no descriptor is on take no memory. */
static _Atomic(struct wire *) wires[MAX_DESCRIPTORS];

struct wire *wire_tap_of(int fd)
{
    if (fd < 0 || fd >= MAX_DESCRIPTORS)
        return NULL;
    return atomic_load_explicit(&wires[fd], memory_order_acquire);
}

struct wire *wire_tap_open(int fd)
{
    if (fd < 0 || fd >= MAX_DESCRIPTORS)
        return NULL;
    struct wire *wire = calloc(1, sizeof(*wire));
    atomic_store_explicit(&wires[fd], wire, memory_order_release);
    return wire;
}

void wire_tap_close(int fd)
{
    struct wire *wire = wire_tap_of(fd);
    if (wire == NULL)
        return;
    atomic_store_explicit(&wires[fd], NULL, memory_order_release);
    wire_clear(wire);
    free(wire);
}

/* The library takes a read that filled less than its room for all there is until epoll reports
 * something new. When the client's end came together with what was just read, that has been
 * reported: shutting the side that is shut already reports it again. */
static void report_end_again(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    if (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLRDHUP) != 0)
        shutdown(fd, SHUT_RD);
}

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    ssize_t n = recvfrom(fd, buffer, size, flags, NULL, NULL);
    struct wire *wire = n > 0 && flags == 0 ? wire_tap_of(fd) : NULL;
    if (wire != NULL) {
        wire_feed(wire, buffer, (size_t)n);
        if ((size_t)n < size)
            report_end_again(fd);
    }
    return n;
}
