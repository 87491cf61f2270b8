/* The schema, as the list of steps that made it. */
#ifndef CHIPSHOT_DB_MIGRATIONS_H
#define CHIPSHOT_DB_MIGRATIONS_H

#include <stddef.h>

#include "base/error.h"
#include "db/sql/stmt.h"

/* What becomes of references between tables during a step. */
enum db_references {
    DB_REFERENCES_HELD,
    /* The step makes a table anew that others refer to: nothing is refused or removed for the sake
     * of a reference meanwhile, and all are checked before the step counts. */
    DB_REFERENCES_CHECKED_AT_END,
};

/* Step i leads from version i to version i + 1. Steps that were released are never edited, moved or
 * removed: a change of the schema is a new step at the end. */
struct db_migration {
    const char *what;
    const char *sql; /* one or more statements; no transaction of its own */
    enum db_references references;
};

/* The first version of which rows name the pictures of masks: for who reads older ones, too. */
enum { DB_VERSION_WITH_MASKS = 15 };

/* Brings the database of a writer to this program's version and enables writes. ERROR_CONFLICT: the
 * file was written by a newer version; it is left as it was. */
int db_migrate(struct db_connection *writer, const char *path, struct error *err);

/* The steps that db_migrate takes, oldest first: the first n of them make a database of version n.
 */
const struct db_migration *db_migrations(size_t *n_migrations);

/* The same with a list of one's own, for tests. Each step is one transaction with its version, so a
 * crash between steps is continued by the next start. */
int db_migrate_with(struct db_connection *writer, const char *path,
                    const struct db_migration *migrations, size_t n_migrations, struct error *err);

#endif
