/* A database's file gets shorter: what deleted rows leave free goes back to the file system.
 *
 * SQLite keeps free pages for rows to come and can move pages from the end of the file into them,
 * if the database was made so when it was new (db_pages_make_returnable). A server does that little
 * by little. A database of versions before that is copied once, while no server runs. */
#ifndef CHIPSHOT_DB_SQL_SHRINK_H
#define CHIPSHOT_DB_SQL_SHRINK_H

#include <stdbool.h>
#include <stdint.h>

#include "db/db.h"

enum {
    DB_SHRINK_MS = 20,             /* for which a step holds the writer, and some pages more */
    DB_SHRINK_KEPT_SIZE = 1 << 20, /* bytes of free pages that a server leaves, for rows to come */
};

/* One step. *more: there is more to give back. Does nothing to a database that cannot. */
int db_shrink(struct db *db, bool *more, struct error *err);

/* Bytes of a database's file. */
struct db_shrunk {
    uint64_t before, after;
};

/* Gives back all free pages of the database `path` that nobody has open. One that cannot give back
 * pages is copied to DIR/tmp, which takes as much room as what is in use, and replaced; it can from
 * then on. `directory` is DIR. ERROR_FULL: nothing was changed. */
int db_shrink_whole(const char *directory, const char *path, struct db_shrunk *out,
                    struct error *err);

#endif
