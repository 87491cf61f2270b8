/* The one way a fallible function of this project reports failure.
 *
 * Convention: such a function returns 0 or a negative `enum error_code` and takes a `struct error
 * *` as its last parameter. The message is written where the fault is seen, passed up untouched and
 * logged once, in server/. Outputs are set only on success. The error pointer may be NULL when the
 * caller needs the code alone. api/message/problem.c is the one place where a code becomes an HTTP
 * status.
 */
#ifndef CHIPSHOT_BASE_ERROR_H
#define CHIPSHOT_BASE_ERROR_H

#include <stdbool.h>

enum error_code {
    ERROR_INVALID = -1, /* the caller's input is wrong; the message names field, limit and value */
    ERROR_NOT_FOUND = -2, /* no such thing */
    ERROR_CONFLICT = -3,  /* the thing's present state forbids it */
    ERROR_BUSY = -4,      /* a bounded resource is full; trying again later can succeed */
    ERROR_CANCELLED = -5, /* stopped on request */
    ERROR_NOMEM = -6,     /* allocation failed */
    ERROR_IO = -7,        /* the operating system refused */
    ERROR_FULL = -8,      /* no space left on the device that holds the data directory */
    ERROR_CORRUPT = -9,   /* stored data is not what was written */
};

enum { ERROR_MESSAGE_SIZE = 512 };

struct error {
    int code; /* 0 or an enum error_code */
    char message[ERROR_MESSAGE_SIZE];
};

/* Fills `err` (NULL allowed) with a formatted one-line message and returns `code`, so that
 * `return error_set(err, ERROR_INVALID, "...")` reads in one line. */
int error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, from `errno`: ENOSPC, EDQUOT and EFBIG give ERROR_FULL, ENOENT gives
 * ERROR_NOT_FOUND, ENOMEM gives ERROR_NOMEM, everything else ERROR_IO. The system's text is
 * appended to the message. */
int error_set_errno(struct error *err, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ERROR_NOMEM with a standard message; `what` names what the memory was for. */
int error_set_nomem(struct error *err, const char *what);

/* Whether the same may work later although nobody does anything about it: the system refused,
 * memory was short, or something was in use. Not ERROR_FULL, which lasts until there is room again,
 * and nothing that is wrong with what was asked for or stored. */
bool error_is_transient(int code);

/* "invalid", "not_found", ...: stable names for logs and stored job errors. */
const char *error_code_name(int code);

#endif
