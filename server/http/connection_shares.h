/* Who holds the places of the connection table, and who makes room.
 *
 * A client (client_name.h) is the API key that a connection's requests showed or, until one did,
 * the address it comes from. A client holds at most its share of the places; the last eighth of
 * them, the reserve, is kept for those that have shown a key, while the server asks for keys. Who
 * finds no place waits at the door, where a few more fit: its request may show a key that has one,
 * or is to be refused.
 *
 * Who comes when all is taken does not wait for somebody to go: of the client with the most members
 * (of its own, when its share is used up) the one that has waited the longest between two requests
 * goes, then one that has not begun its first, then one whose head is not complete. Who has a
 * request never has to go.
 *
 * All steps are O(1) but for the search of a client by its name, O(log n). Locks and sockets are
 * the caller's.
 */
#ifndef CHIPSHOT_SERVER_CONNECTION_SHARES_H
#define CHIPSHOT_SERVER_CONNECTION_SHARES_H

#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "server/http/client_name.h"

enum {
    SHARES_RESERVE_DIVISOR = 8, /* this part of the places is for keys */
    SHARES_DOOR_MAX = 32,       /* members without a place; of these too one makes room */
};

/* What a member is to its client; in the order in which one has to go. */
enum share_wait {
    SHARE_WAIT_IDLE, /* between two requests */
    SHARE_WAIT_NEW,  /* before the first */
    SHARE_WAIT_HEAD, /* its head is on its way */
    SHARE_N_WAITS,
    SHARE_BUSY = SHARE_N_WAITS, /* it has a request */
};

enum share_place {
    SHARE_HELD,        /* it has a place */
    SHARE_CLIENT_FULL, /* its client has all that a client may have */
    SHARE_OPEN_FULL,   /* what is left is kept for keys */
    SHARE_ALL_FULL,
};

enum share_reserve {
    SHARE_RESERVE_NONE, /* the server asks for no keys: all places are open to all */
    SHARE_RESERVE_KEYS,
};

/* Part of a connection; all fields are this unit's. */
struct share_member {
    TAILQ_ENTRY(share_member) waiting;
    struct share_client *client; /* NULL: it is out */
    enum share_wait wait;
    enum share_place place;
};

struct shares;

/* `max_per_client` above `max` is `max`. */
int shares_create(struct shares **out, uint32_t max, uint32_t max_per_client, struct error *err);
/* All members must be out. NULL allowed. */
void shares_destroy(struct shares *shares);

/* A member comes and waits for its first request, in a place or at the door. Returns who has to go
 * for it and is out already: NULL for nobody, or `member` itself, when the door is full too. */
struct share_member *shares_enter(struct shares *shares, struct share_member *member,
                                  const struct client_name *name, enum share_reserve reserve);
/* The head of a request is there: `key` names the key it shows, NULL for none. A member counts as
 * the last key's that it showed. `*place` says whether the request may go on. Returns who has to go
 * for it, or NULL. */
struct share_member *shares_show(struct shares *shares, struct share_member *member,
                                 const struct client_name *key, enum share_place *place);
/* Nothing for a member that is out, as shares_leave. */
void shares_wait(struct shares *shares, struct share_member *member, enum share_wait wait);
void shares_leave(struct shares *shares, struct share_member *member);

#endif
