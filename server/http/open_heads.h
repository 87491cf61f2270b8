/* The requests whose head is still being read: its request line has come, its empty line has not.
 *
 * The library tells of a head that it refuses by itself only in its log, and there not whose it is.
 * Used by one thread, the one that serves the sockets.
 */
#ifndef CHIPSHOT_SERVER_OPEN_HEADS_H
#define CHIPSHOT_SERVER_OPEN_HEADS_H

#include <stdbool.h>

/* A part of what it belongs to; zeroed: in no list. */
struct open_head {
    void *connection; /* the library's */
    void *owner;
    struct open_head *next;
    struct open_head **link; /* what points to this; NULL: in no list */
};

/* Zeroed: empty. */
struct open_heads {
    struct open_head *first;
};

/* The head of `owner` is being read. It stays borrowed until it is removed. */
void open_heads_add(struct open_heads *heads, struct open_head *head, void *connection,
                    void *owner);
/* Does nothing when it is in no list. */
void open_heads_remove(struct open_head *head);
/* Removes the first head that `is_wanted` names, and returns it; NULL when there is none. */
struct open_head *open_heads_take(struct open_heads *heads, bool (*is_wanted)(void *connection));

#endif
