/* Errors as answers: application/problem+json (RFC 9457). problem.c is the one place where an error
 * code becomes an HTTP status. */
#ifndef CHIPSHOT_API_PROBLEM_H
#define CHIPSHOT_API_PROBLEM_H

#include "api/api.h"
#include "api/message/fields.h"
#include "base/error.h"

/* The kinds of problem; each has one status, one title and one type, "urn:chipshot:problem:" and
 * its name. */
enum problem {
    PROBLEM_MALFORMED, /* target, header or JSON that cannot be parsed */
    PROBLEM_NOT_FOUND,
    PROBLEM_METHOD_NOT_ALLOWED,
    PROBLEM_NOT_ACCEPTABLE,
    PROBLEM_CONFLICT,
    PROBLEM_PRECONDITION_FAILED, /* If-Match names another version */
    PROBLEM_TOO_LARGE,
    PROBLEM_UNSUPPORTED_MEDIA_TYPE,
    PROBLEM_INVALID,    /* well-formed, but a value is wrong */
    PROBLEM_KEY_REUSED, /* an Idempotency-Key came with another body */
    PROBLEM_INTERNAL,
    PROBLEM_BUSY,
    PROBLEM_NOT_READY,
    PROBLEM_FULL,
    PROBLEM_NO_ROOM, /* the same to clients, but the message says what is free and names no path */
};

enum problem problem_of_code(int error_code);
/* The error code that stands for a kind raised by the API itself. */
enum error_code problem_code(enum problem kind);

/* Replaces what `response` holds (operation id and route stay) by the problem. The text of an
 * internal error is kept for the log and not shown. `fields` NULL: none. */
void problem_respond(const struct api_request *request, enum problem kind, const struct error *err,
                     const struct field_errors *fields, struct api_response *response);

#endif
