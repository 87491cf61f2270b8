/* The room that is left on the disk of a data directory, and what is kept of it.
 *
 * A disk that is full to the last byte takes no DELETE either: a deletion is written down before
 * it frees anything. So the last bytes are for what frees others:
 *
 *     below the floor                  nothing new is taken
 *     below half of the floor          nothing is cached, and no job takes room for its embeddings
 *     the last quarter of the floor    is a file of real bytes, DIR/reserve, so that nobody else
 *                                      takes it either; given up when what frees room has none
 *
 * The reserve counts as free, so that making it and giving it up changes nothing about the first
 * two. A floor of 0 asks for nothing and keeps nothing. Any thread.
 */
#ifndef CHIPSHOT_DB_STORE_ROOM_H
#define CHIPSHOT_DB_STORE_ROOM_H

#include <stdint.h>

#include "base/error.h"

struct room;

/* What wants room. */
enum room_use {
    ROOM_NEW,   /* what clients bring */
    ROOM_CACHE, /* what can be made again */
};

/* What was found last. */
struct room_state {
    uint64_t free_size; /* bytes, with the reserve */
    uint64_t reserve;   /* bytes of it */
    uint64_t floor;
};

/* Of a directory that exists; a reserve that is there is taken over. ERROR_IO. */
int room_create(struct room **out, const char *directory, uint64_t floor, struct error *err);
/* Leaves the reserve. NULL allowed. */
void room_destroy(struct room *room);

/* Asks the file system how much is free. ERROR_IO. */
int room_look(struct room *room, struct room_state *out, struct error *err);
/* What the last look found, without any waiting. */
struct room_state room_known(struct room *room);

/* ERROR_FULL when `size` more bytes would leave less than this use has to leave; the message names
 * both and no path. Looks anew; ERROR_IO. */
int room_require(struct room *room, enum room_use use, uint64_t size, struct error *err);
/* The same by what the last look found, without any waiting. */
int room_expect(struct room *room, enum room_use use, uint64_t size, struct error *err);

/* Frees the reserve, if there is one. */
void room_give_up_reserve(struct room *room);
/* Makes the reserve, or a larger one, of what is free, up to its full size: on a disk that is
 * nearly full it is what there is, so that nobody else takes it. A failure is none. */
void room_make_reserve(struct room *room);

#endif
