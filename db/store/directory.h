/* A store in a directory of a file system. */
#ifndef CHIPSHOT_DB_STORE_DIRECTORY_H
#define CHIPSHOT_DB_STORE_DIRECTORY_H

#include "db/store/store.h"

/* Keeps files in DIR/blobs and writes them in DIR/tmp, which both exist. ERROR_NOMEM. */
int store_create_directory(struct store **out, const char *directory,
                           const struct store_needs *needs, struct error *err);

#endif
