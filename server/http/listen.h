/* The listening socket, from "ADDRESS:PORT". */
#ifndef CHIPSHOT_SERVER_LISTEN_H
#define CHIPSHOT_SERVER_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct listener {
    int fd; /* owned by the caller */
    uint16_t port;
    bool loopback; /* reachable from this machine only */
    char url[80];  /* "http://127.0.0.1:8080" */
};

/* Forms: "127.0.0.1:8080", "[::1]:8080", "localhost:8080" (127.0.0.1), ":8080" (all addresses,
 * IPv6 and IPv4 where the system has both). Port 0: a free one. Host names are not looked up.
 * ERROR_INVALID: not of these forms. ERROR_IO: the system refused, e.g. the port is taken. */
int listen_open(struct listener *out, const char *address, struct error *err);

#endif
