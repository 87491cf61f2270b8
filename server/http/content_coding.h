/* gzip for answers of text (RFC 9110, sections 8.4 and 12.5.3).
 *
 * The gzip form of something is another representation, so its strong ETag differs: "abc" becomes
 * "abc-gzip". The suffix is taken off again from the conditions a client sends, so that api/ knows
 * one tag only.
 */
#ifndef CHIPSHOT_SERVER_CONTENT_CODING_H
#define CHIPSHOT_SERVER_CONTENT_CODING_H

#include <stdbool.h>
#include <stddef.h>

#include "api/api.h"
#include "base/error.h"

/* Shorter bodies are sent as they are. */
enum { CONTENT_CODING_MIN_SIZE = 1024 };

/* True when an Accept-Encoding value (NULL: absent) allows gzip. */
bool content_coding_accepts_gzip(const char *accept_encoding);

/* True for text/..., JSON, YAML and XML types. */
bool content_coding_is_text(const char *content_type);

/* malloc'd. ERROR_NOMEM. */
int content_coding_gzip(const void *data, size_t size, char **out, size_t *out_size,
                        struct error *err);

/* Puts gzip over a stream, in place: the compressed stream owns the one it was. The bytes depend on
 * nothing but the stream's own; they are flushed at its end only. ERROR_NOMEM: the stream is as it
 * was. */
int content_coding_gzip_stream(struct api_stream *stream, struct error *err);

/* malloc'd copies, NULL on allocation failure: every tag with / without the suffix. `*changed`
 * (NULL allowed) says whether there was one to take off. */
char *content_coding_add_suffix(const char *etag);
char *content_coding_drop_suffix(const char *etags, bool *changed);

#endif
