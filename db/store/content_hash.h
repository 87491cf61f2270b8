/* The SHA-256 of what a file holds now. Only db/ uses this. */
#ifndef CHIPSHOT_DB_STORE_CONTENT_HASH_H
#define CHIPSHOT_DB_STORE_CONTENT_HASH_H

#include <nettle/sha2.h>

#include "base/error.h"
#include "db/id.h"

/* Ends a hash, as hexadecimal digits. */
void db_hash_text(struct sha256_ctx *hash, char out[DB_SHA256_SIZE]);
/* Reads the whole file; its position is not moved. ERROR_IO, ERROR_NOMEM. */
int db_content_hash(int fd, char out[DB_SHA256_SIZE], struct error *err);

#endif
