/* Content-Digest (RFC 9530): a client's promise about the bytes it sends. */
#ifndef CHIPSHOT_API_DIGEST_H
#define CHIPSHOT_API_DIGEST_H

#include "base/error.h"

/* Compares the sha-256 member of a Content-Digest value (NULL: nothing to check) with `sha256` (64
 * hexadecimal digits). Other algorithms are ignored, as the RFC says. ERROR_INVALID: the value is
 * malformed or the digests differ. */
int digest_check(const char *content_digest, const char *sha256, struct error *err);

#endif
