/* Checks of a request's head, before anything looks at its meaning.
 *
 * The HTTP library parses loosely: Transfer-Encoding beside Content-Length, several lengths, blanks
 * before a colon, odd targets. A proxy in front may read such requests differently than we do
 * (request smuggling, RFC 9112 section 11.2), so they are refused here, from the fields alone.
 */
#ifndef CHIPSHOT_SERVER_REQUEST_CHECK_H
#define CHIPSHOT_SERVER_REQUEST_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"

enum {
    REQUEST_MAX_TARGET_SIZE = 8192,
    REQUEST_MAX_HEADERS_SIZE = 32768, /* request line and header lines together */
    REQUEST_MAX_HEADERS = 100,
};

/* What the head says about the message. */
struct request_facts {
    bool has_body; /* a length above 0, or chunked */
    bool chunked;
    uint64_t content_length; /* 0 when chunked or absent */
};

/* `version` "HTTP/1.1" or "HTTP/1.0"; `headers_size` bytes as received. Returns 0 and fills `out`,
 * or an HTTP status (400, 414, 417, 431, 501, 505) with a one-line reason in `detail`. */
int request_check(const struct api_request *request, const char *version, size_t headers_size,
                  struct request_facts *out, char *detail, size_t detail_size);

/* For metrics: the method's static name, or "other". */
const char *request_method_name(const char *method);

/* Splits an absolute-form target ("http://host/path", RFC 9112 section 3.2.2): returns where the
 * path begins and its authority's length in `*authority_size` (0 for origin-form, and then the
 * target itself). NULL for an absolute form without a path or of another scheme. The authority
 * starts 7 bytes into the target. */
const char *request_target_path(const char *target, size_t *authority_size);

/* 1..63 characters of [A-Za-z0-9._-]. */
bool request_id_is_valid(const char *id);

/* version 00 of https://www.w3.org/TR/trace-context/ */
bool request_traceparent_is_valid(const char *value);

#endif
