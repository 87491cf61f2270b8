/* Did the HTTP library read the head that was sent?
 *
 * libmicrohttpd 0.9.75 reads loosely. It drops a value that is folded onto the next line, takes a
 * line that begins with a colon or a NUL for the end of the head, ends targets and values at a NUL
 * and takes a bare LF for a line's end. Whoever stands in front and reads the same bytes strictly
 * sees another request (RFC 9112, section 11.2). So what the library reports is held against the
 * bytes as they came (wire.h): they must be what a strict client sends that means these parts, but
 * for the blanks that the grammar leaves free.
 *
 * What the parts are is not looked at: request_check.h does that. No state; any thread.
 */
#ifndef CHIPSHOT_SERVER_HEAD_CHECK_H
#define CHIPSHOT_SERVER_HEAD_CHECK_H

#include <stddef.h>

#include "api/api.h"

/* A piece of the head, not NUL-terminated by right. */
struct head_part {
    const char *text;
    size_t size;
};

struct head_field {
    struct head_part name;
    struct head_part value; /* may have blanks at its end: 0.9.75 leaves them there */
};

/* All borrowed. */
struct head {
    struct head_part method;
    struct head_part target; /* before any decoding */
    struct head_part version;
    const struct head_field *fields; /* in the order received */
    size_t n_fields;
    size_t size; /* as the library says, from the method to the end of the empty line */
};

/* `bytes` begin with the head, or with one empty line before it (RFC 9112, section 2.2). Returns
 * NULL and where the head ends in `*end`, or in one line, static, why the head is another one. */
const char *head_check(const struct head *head, const char *bytes, size_t size, size_t *end);

/* The fields as texts of their own, without blanks at the ends of values (RFC 9112, section 5.1):
 * one allocation, for free(), with n_fields entries. NULL on allocation failure. */
struct api_header *head_copy_fields(const struct head *head);

#endif
