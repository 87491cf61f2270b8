/* What the two kinds of upload share. */
#ifndef CHIPSHOT_API_UPLOAD_H
#define CHIPSHOT_API_UPLOAD_H

#include "api/call.h"
#include "db/id.h"

/* Checks that there is a body and that it is what Content-Digest promises, and maps it. `data` is
 * borrowed from the request's writer. */
int upload_open(struct api_call *call, char sha256[DB_SHA256_SIZE], const void **data, size_t *size,
                struct error *err);

#endif
