/* Reads a head as libmicrohttpd 0.9.75 does, with its mistakes: in place, lines ended by LF or CR
 * LF that it overwrites by NULs, names and values that end at the first NUL, folded lines copied
 * elsewhere, a line that begins with NUL taken for the empty one. For what checks it afterwards. */
#ifndef CHIPSHOT_TESTS_UNIT_LOOSE_HEAD_H
#define CHIPSHOT_TESTS_UNIT_LOOSE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "server/http/head_check.h"

enum { LOOSE_HEAD_MAX_FIELDS = 64, LOOSE_HEAD_FOLDED_SIZE = 4096 };

struct loose_head {
    struct head head;
    struct head_field fields[LOOSE_HEAD_MAX_FIELDS];
    char folded[LOOSE_HEAD_FOLDED_SIZE]; /* where joined lines go */
    size_t folded_size;
    size_t end; /* of the head, from the first byte given */
};

/* Reads the bytes, and writes into them. False when there is no whole head, or one that the library
 * refuses itself or that is too large for this. */
bool loose_head_read(struct loose_head *out, char *bytes, size_t size);

#endif
