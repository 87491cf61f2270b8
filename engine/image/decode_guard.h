/* What keeps one decode within bounds: it ends when nobody wants it any more, and when it takes
 * longer than any good file of its size can.
 *
 * The longest time follows from what is known before the first row: the bytes of all rows as the
 * header claims them, and the file's. It is time of the processor, of the thread that decodes, so
 * that a machine with too much to do refuses nothing that an idle one accepts. What is allowed is
 * far from what a decode takes: inflating and unfiltering give 100 to 400 MB of rows a second on a
 * processor of 2018, and the slowest known use of the time, a file of nothing but empty deflate
 * blocks, eats 12 MB a second; DECODE_MS_PER_MIB stands for 4, DECODE_BASE_MS for what does not
 * depend on the size. A file of 256 MiB with as many bytes of rows has 138 s and takes 1 to 3.
 *
 * A guard belongs to the thread that opened the file, and is asked by it alone.
 */
#ifndef CHIPSHOT_ENGINE_IMAGE_DECODE_GUARD_H
#define CHIPSHOT_ENGINE_IMAGE_DECODE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/image/format.h"

/* Bytes that are read or made between two looks at the clock and at the cancel: at the worst rate
 * above a fiftieth of a second. */
enum { DECODE_GUARD_STEP = 1 << 18 };

struct decode_guard {
    const struct cancel *cancel; /* borrowed; NULL: never */
    uint64_t limit_ms;
    uint64_t began_ms; /* of the thread's processor time */
    uint64_t spent_ms; /* when it was found to be over the limit */
    size_t n_left;     /* bytes until the next look */
    int code;          /* 0, or why to stop: ERROR_CANCELLED, ERROR_INVALID */
};

/* `work_size`: bytes of the rows and of the file. */
void decode_guard_init(struct decode_guard *guard, const struct image_request *request,
                       uint64_t work_size);
/* `n` more bytes were read or made. False: the decode is to stop, now and at every later call. */
bool decode_guard_pass(struct decode_guard *guard, size_t n);
/* 0, or the error for which a call of decode_guard_pass was false. */
int decode_guard_result(const struct decode_guard *guard, struct error *err);

#endif
