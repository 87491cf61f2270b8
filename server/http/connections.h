/* The open connections: their deadlines, and who may have how many.
 *
 * The HTTP library's own timeout restarts at every byte, so that one byte a second holds a
 * connection for ever. Here every phase of a connection has an absolute deadline,
 * or a minimal rate, watched by one thread that shuts the socket down when it has passed; whoever
 * serves the connection then sees the end of the stream and cleans up. The socket is closed only
 * after connections_remove, so a descriptor in the table is never somebody else's.
 *
 *     new        until the first request line       header_timeout from accept
 *     idle       between two requests               idle_timeout
 *     headers    request line seen                  header_timeout
 *     body       head complete                      body_timeout + received / 16 KiB/s, and at
 *                                                   least 1 KiB/s over every 30 s
 *     handling   body complete                      none: handlers end by themselves
 *     sending    answer ready                       as body, by what the client acknowledged
 *     lingering  answered early, body unread        that of linger.h
 *
 * A connection that is shut down while sending is reset: where the length of an answer was not
 * told, an orderly end would be the answer's.
 *
 * The places are shared out as connection_shares.h says: a new, idle or slowly beginning connection
 * may have to make room for another and is then shut down as after a deadline. Its place is free at
 * once, whatever time its end takes.
 */
#ifndef CHIPSHOT_SERVER_CONNECTIONS_H
#define CHIPSHOT_SERVER_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "server/http/connection_shares.h"

/* Connections beyond `max` that are open for a moment: as many at the door (connection_shares.h),
 * and as many that were shut down and are not yet gone. */
enum { CONNECTIONS_BEYOND_MAX = 2 * SHARES_DOOR_MAX };

struct connections;
struct connection;

enum connection_phase {
    CONNECTION_NEW,
    CONNECTION_IDLE,
    CONNECTION_HEADERS,
    CONNECTION_BODY,
    CONNECTION_HANDLING,
    CONNECTION_SENDING,
    CONNECTION_LINGERING,
};

struct connection_timeouts {
    uint64_t header_ms;
    uint64_t body_ms;
    uint64_t idle_ms;
};

struct connection_limits {
    uint32_t max;            /* of all */
    uint32_t max_per_client; /* see connection_shares.h */
};

/* Starts the watching thread and the one of linger.h. */
int connections_create(struct connections **out, const struct connection_timeouts *timeouts,
                       const struct connection_limits *limits, struct error *err);
/* All connections must have been removed. NULL allowed. */
void connections_destroy(struct connections *connections);

/* `fd` is borrowed until remove. Shuts another connection down where that makes room, or this one
 * where there is none at all. NULL on allocation failure (then the connection is shut down). */
struct connection *connections_add(struct connections *connections, int fd,
                                   enum share_reserve reserve);
void connections_remove(struct connections *connections, struct connection *connection);
uint32_t connections_count(struct connections *connections);

/* Returns false when the deadline of the phase before has passed already, the connection had to
 * make room, or an answer would begin after connections_cut_answers, and it is shut down: there is
 * nobody to answer. `connection` NULL: true. */
bool connection_enter(struct connections *connections, struct connection *connection,
                      enum connection_phase phase);
/* Bytes of a body arrived. */
void connection_received(struct connections *connections, struct connection *connection,
                         uint64_t size);
/* The head of a request is there, and shows the key with the id `key_id`, or none (NULL). Says
 * whether the connection has a place (SHARE_HELD); else the request is to be refused and the
 * connection closed. May shut another one down. `connection` NULL: it has. */
enum share_place connection_identify(struct connections *connections, struct connection *connection,
                                     const char *key_id);
/* True once its deadline has passed. */
bool connection_is_expired(struct connections *connections, struct connection *connection);

/* From now on connections between requests are closed, and those of running requests after them. */
void connections_drain(struct connections *connections);
bool connections_is_draining(struct connections *connections);
/* Blocks until no request is running or `timeout_ms` have passed; returns whether none is. */
bool connections_wait_idle(struct connections *connections, uint32_t timeout_ms);

/* After an early answer: what the client still sends will be read and discarded (linger.h), also
 * when the socket is closed. Does not block. */
void connection_linger(struct connections *connections, struct connection *connection);

/* Ends a connection in the middle of an answer so that its client sees a reset: to HTTP/1.0 clients
 * the orderly end of a connection is the end of an answer whose length was not told. The
 * connection's own thread then sees the end as after a deadline. NULL allowed. */
void connection_cut(const struct connection *connection);
/* Cuts all connections that are in the middle of an answer; from then on none begins. */
void connections_cut_answers(struct connections *connections);

/* The descriptor, for an answer written past the library; -1 when `connection` is NULL. */
int connection_fd(const struct connection *connection);

#endif
