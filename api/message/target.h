/* The raw request target, taken apart (RFC 9112 section 3.2, RFC 3986).
 *
 * Path and query are split before anything is decoded, so that an encoded '/', '?' or '&' never
 * changes the structure; every segment, name and value is then decoded exactly once. What is left
 * is UTF-8 without NUL. '+' in a query is a space, as browsers' URLSearchParams writes it.
 */
#ifndef CHIPSHOT_API_TARGET_H
#define CHIPSHOT_API_TARGET_H

#include <stddef.h>

#include "base/error.h"

enum { TARGET_SEGMENTS_MAX = 8, TARGET_PARAMETERS_MAX = 16 };

struct target_parameter {
    const char *name;
    const char *value;
};

struct target {
    char *storage; /* owned; everything below points into it */
    char *path;    /* the raw path, for the problem's `instance`; owned */
    const char *segments[TARGET_SEGMENTS_MAX]; /* "/v1/jobs" has two */
    size_t n_segments; /* TARGET_SEGMENTS_MAX + 1 when there were more: no route is that deep */
    struct target_parameter parameters[TARGET_PARAMETERS_MAX];
    size_t n_parameters;
};

/* Accepts origin-form ("/v1/jobs?x=1") and absolute-form ("http://host/v1/jobs"). ERROR_INVALID: an
 * escape is malformed or gives NUL, text is not UTF-8, a '#', too many parameters. ERROR_NOMEM. */
int target_parse(struct target *out, const char *raw, struct error *err);
void target_clear(struct target *target);

/* Percent-encodes everything but RFC 3986's unreserved characters; malloc'd, NULL when out of
 * memory. */
char *target_encode(const char *text);

#endif
