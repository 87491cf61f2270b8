/* The name of a store, in the file DIR/blobs/store.id: it goes where the files go. */
#ifndef CHIPSHOT_DB_STORE_MARKER_H
#define CHIPSHOT_DB_STORE_MARKER_H

#include "base/error.h"
#include "db/id.h"

/* ERROR_NOT_FOUND: the store has no name yet. ERROR_CORRUPT: the file holds something else. */
int db_marker_read(const char *directory, char out[DB_ID_SIZE], struct error *err);
/* Writes or replaces; on the disk when it returns. */
int db_marker_write(const char *directory, const char *id, struct error *err);
/* A new name. */
void db_marker_create(char out[DB_ID_SIZE]);

#endif
