/* A tree finds a client by its name. For each number of members there is a list of the clients that
 * have so many, one of which at least waits: the last list that is not empty says who makes room.
 * There are two such rankings, because a key's members may not make room for others in the reserve.
 *
 * Invariants: a client is in the tree while it has members; in a ranking while one of them waits,
 * in the list of its number; n_held is the number of members of all clients, n_open of those
 * without a key; the door is a client that is in neither tree nor ranking.
 */
#include "server/http/connection_shares.h"

#include <assert.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>

TAILQ_HEAD(waiting_list, share_member);
TAILQ_HEAD(client_list, share_client);

struct share_client {
    struct client_name name; /* first: the tree compares names */
    TAILQ_ENTRY(share_client) ranked;
    struct waiting_list waiting[SHARE_N_WAITS]; /* who waits the longest comes first */
    uint32_t n_members;
    uint32_t rank; /* the list it is in; 0: none */
};

struct ranking {
    struct client_list *of_number; /* [max_per_client + 1] */
    uint32_t top;                  /* lists beyond are empty */
};

struct shares {
    uint32_t max;
    uint32_t max_per_client;
    uint32_t n_held;
    uint32_t n_open;
    void *tree;
    struct ranking keys;
    struct ranking addresses;
    struct share_client door;
};

/* ---- clients ---- */

static void init_waiting(struct share_client *client)
{
    for (int i = 0; i < SHARE_N_WAITS; i++)
        TAILQ_INIT(&client->waiting[i]);
}

static struct share_client *find_client(const struct shares *shares, const struct client_name *name)
{
    struct share_client *const *found = tfind(name, &shares->tree, client_name_compare);
    return found == NULL ? NULL : *found;
}

/* The client of the name, a new one if need be; NULL on allocation failure. */
static struct share_client *get_client(struct shares *shares, const struct client_name *name)
{
    struct share_client *client = find_client(shares, name);
    if (client != NULL)
        return client;
    client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->name = *name;
    init_waiting(client);
    if (tsearch(client, &shares->tree, client_name_compare) == NULL) {
        free(client);
        return NULL;
    }
    return client;
}

static struct share_member *longest_waiting(const struct share_client *client)
{
    for (int i = 0; i < SHARE_N_WAITS; i++) {
        if (!TAILQ_EMPTY(&client->waiting[i]))
            return TAILQ_FIRST(&client->waiting[i]);
    }
    return NULL;
}

/* Puts a client where it belongs after a change of its members. One that comes to a list goes to
 * its end, so that among equals, too, those go first who have waited. */
static void rank(struct shares *shares, struct share_client *client)
{
    if (client == &shares->door)
        return;
    struct ranking *ranking =
        client_name_is_key(&client->name) ? &shares->keys : &shares->addresses;
    uint32_t now = longest_waiting(client) != NULL ? client->n_members : 0;
    if (now == client->rank)
        return;
    if (client->rank > 0)
        TAILQ_REMOVE(&ranking->of_number[client->rank], client, ranked);
    if (now > 0)
        TAILQ_INSERT_TAIL(&ranking->of_number[now], client, ranked);
    if (now > ranking->top)
        ranking->top = now;
    client->rank = now;
}

static struct share_client *largest(struct ranking *ranking)
{
    while (ranking->top > 0 && TAILQ_EMPTY(&ranking->of_number[ranking->top]))
        ranking->top--;
    return ranking->top == 0 ? NULL : TAILQ_FIRST(&ranking->of_number[ranking->top]);
}

static bool check(const struct shares *shares)
{
    return shares->n_open <= shares->n_held && shares->n_held <= shares->max &&
           shares->door.n_members <= SHARES_DOOR_MAX;
}

/* ---- members ---- */

static void count(struct shares *shares, struct share_client *client, int change)
{
    client->n_members += (uint32_t)change;
    if (client == &shares->door)
        return;
    shares->n_held += (uint32_t)change;
    if (!client_name_is_key(&client->name))
        shares->n_open += (uint32_t)change;
}

static void join(struct shares *shares, struct share_client *client, struct share_member *member)
{
    member->client = client;
    if (member->wait != SHARE_BUSY)
        TAILQ_INSERT_TAIL(&client->waiting[member->wait], member, waiting);
    count(shares, client, 1);
    rank(shares, client);
    assert(check(shares));
}

void shares_leave(struct shares *shares, struct share_member *member)
{
    struct share_client *client = member->client;
    if (client == NULL)
        return;
    if (member->wait != SHARE_BUSY)
        TAILQ_REMOVE(&client->waiting[member->wait], member, waiting);
    member->client = NULL;
    count(shares, client, -1);
    rank(shares, client);
    if (client->n_members == 0 && client != &shares->door) {
        tdelete(client, &shares->tree, client_name_compare);
        free(client);
    }
}

void shares_wait(struct shares *shares, struct share_member *member, enum share_wait wait)
{
    struct share_client *client = member->client;
    if (client == NULL)
        return;
    if (member->wait != SHARE_BUSY)
        TAILQ_REMOVE(&client->waiting[member->wait], member, waiting);
    member->wait = wait;
    if (wait != SHARE_BUSY)
        TAILQ_INSERT_TAIL(&client->waiting[wait], member, waiting);
    rank(shares, client);
}

/* ---- places ---- */

/* The client of which one has to go; `among_open`: it has to be one without a key. */
static struct share_client *who_makes_room(struct shares *shares, bool among_open)
{
    struct share_client *address = largest(&shares->addresses);
    struct share_client *key = among_open ? NULL : largest(&shares->keys);
    if (address == NULL || key == NULL)
        return address != NULL ? address : key;
    return key->n_members > address->n_members ? key : address;
}

/* Whether a client may have one more member, who has no place yet unless `moves`; `open_max`: for
 * those without a key. `*makes_room`: the client that one has to go of, or NULL. */
static enum share_place find_place(struct shares *shares, const struct client_name *name,
                                   bool moves, uint32_t open_max, struct share_client **makes_room)
{
    struct share_client *client = find_client(shares, name);
    *makes_room = NULL;
    if (client != NULL && client->n_members >= shares->max_per_client) {
        *makes_room = client;
        return longest_waiting(client) != NULL ? SHARE_HELD : SHARE_CLIENT_FULL;
    }
    bool open_is_full = !client_name_is_key(name) && shares->n_open >= open_max;
    if (moves || (shares->n_held < shares->max && !open_is_full))
        return SHARE_HELD;
    *makes_room = who_makes_room(shares, open_is_full);
    if (*makes_room != NULL)
        return SHARE_HELD;
    return shares->n_held < shares->max ? SHARE_OPEN_FULL : SHARE_ALL_FULL;
}

static struct share_member *send_out(struct shares *shares, struct share_client *client)
{
    struct share_member *out = longest_waiting(client);
    if (out != NULL)
        shares_leave(shares, out);
    return out;
}

/* Gives `member` a place among the name's; sets member->place. Returns who has to go for it. */
static struct share_member *take_place(struct shares *shares, struct share_member *member,
                                       const struct client_name *name, uint32_t open_max)
{
    struct share_client *makes_room = NULL;
    struct share_member *out = NULL;
    bool moves = member->client != NULL && member->client != &shares->door;
    member->place = find_place(shares, name, moves, open_max, &makes_room);
    if (member->place != SHARE_HELD)
        return NULL;
    if (makes_room != NULL)
        out = send_out(shares, makes_room);
    struct share_client *client = get_client(shares, name);
    if (client == NULL) {
        member->place = SHARE_ALL_FULL;
        return out;
    }
    shares_leave(shares, member);
    join(shares, client, member);
    return out;
}

struct share_member *shares_enter(struct shares *shares, struct share_member *member,
                                  const struct client_name *name, enum share_reserve reserve)
{
    uint32_t kept = reserve == SHARE_RESERVE_KEYS ? shares->max / SHARES_RESERVE_DIVISOR : 0;
    member->client = NULL;
    member->wait = SHARE_WAIT_NEW;
    struct share_member *out = take_place(shares, member, name, shares->max - kept);
    if (member->client != NULL)
        return out;
    /* Nobody made room for it inside, short of an allocation that failed. */
    if (out == NULL && shares->door.n_members >= SHARES_DOOR_MAX)
        out = send_out(shares, &shares->door);
    if (shares->door.n_members >= SHARES_DOOR_MAX)
        return member;
    join(shares, &shares->door, member);
    return out;
}

struct share_member *shares_show(struct shares *shares, struct share_member *member,
                                 const struct client_name *key, enum share_place *place)
{
    struct share_member *out = NULL;
    if (member->client != NULL && key != NULL &&
        client_name_compare(&member->client->name, key) != 0)
        out = take_place(shares, member, key, shares->max);
    *place = member->place;
    return out;
}

/* ---- life ---- */

static bool init_ranking(struct ranking *ranking, uint32_t max)
{
    ranking->of_number = calloc((size_t)max + 1, sizeof(*ranking->of_number));
    for (uint32_t i = 0; ranking->of_number != NULL && i <= max; i++)
        TAILQ_INIT(&ranking->of_number[i]);
    return ranking->of_number != NULL;
}

int shares_create(struct shares **out, uint32_t max, uint32_t max_per_client, struct error *err)
{
    struct shares *shares = calloc(1, sizeof(*shares));
    if (shares == NULL)
        return error_set_nomem(err, "the shares of connections");
    shares->max = max;
    shares->max_per_client = max_per_client < max ? max_per_client : max;
    init_waiting(&shares->door);
    if (!init_ranking(&shares->keys, shares->max_per_client) ||
        !init_ranking(&shares->addresses, shares->max_per_client)) {
        shares_destroy(shares);
        return error_set_nomem(err, "the shares of connections");
    }
    *out = shares;
    return 0;
}

void shares_destroy(struct shares *shares)
{
    if (shares == NULL)
        return;
    assert(shares->n_held == 0 && shares->tree == NULL && shares->door.n_members == 0);
    free(shares->keys.of_number);
    free(shares->addresses.of_number);
    free(shares);
}
