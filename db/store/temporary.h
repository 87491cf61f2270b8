/* Files in DIR/tmp: what has no name yet. Only db/ uses this. */
#ifndef CHIPSHOT_DB_STORE_TEMPORARY_H
#define CHIPSHOT_DB_STORE_TEMPORARY_H

#include "db/store/files.h"

/* A new file with a random name in DIR/tmp, mode 0600: *fd for writing and reading, `path` its
 * name. */
int db_temporary_create(const char *directory, int *fd, char path[DB_PATH_SIZE], struct error *err);

/* Removes what db_temporary_create made and a crash has left. Everything else, that is names of
 * another form and whatever is no regular file, is left and `left` told of its name. */
int db_temporary_empty(const char *directory, void (*left)(void *context, const char *name),
                       void *context, struct error *err);

#endif
