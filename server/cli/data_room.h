/* The actions of `chipshot data` that are about room: what takes it, and freeing some. */
#ifndef CHIPSHOT_SERVER_DATA_ROOM_H
#define CHIPSHOT_SERVER_DATA_ROOM_H

#include <stdbool.h>

#include "db/data/upkeep.h"

/* Both print what they found or did, and return an exit status. */
int data_room_usage(const char *directory);
/* Frees the parts that are `chosen`. */
int data_room_free(const char *directory, const bool chosen[UPKEEP_PARTS]);

#endif
