/* Connections whose client still sends when the answer is out and nothing more is read: closing one
 * with unread data would reset it and could destroy the answer on its way (RFC 9112, section 9.6).
 * One thread reads and discards what comes on all of them, each for at most two seconds and 64 MiB.
 */
#ifndef CHIPSHOT_SERVER_LINGER_H
#define CHIPSHOT_SERVER_LINGER_H

#include "base/error.h"

enum {
    LINGER_MAX = 64,     /* sockets at a time; further ones are closed as they are */
    LINGER_MS = 2000,    /* of one socket */
    LINGER_MAX_MIB = 64, /* of one socket */
};

struct lingerers;

/* Starts the thread. */
int linger_create(struct lingerers **out, struct error *err);
/* Closes what still lingers. NULL allowed. */
void linger_destroy(struct lingerers *lingerers);

/* Tells the other end that no more comes, and reads on a duplicate: `fd` stays the caller's, to be
 * closed at any time. Does not block; any thread. */
void linger_add(struct lingerers *lingerers, int fd);

#endif
