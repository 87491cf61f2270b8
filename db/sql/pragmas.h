/* What SQLite is asked and told by PRAGMA and not by SQL: a second engine has its own ways. */
#ifndef CHIPSHOT_DB_PRAGMAS_H
#define CHIPSHOT_DB_PRAGMAS_H

#include "db/sql/stmt.h"

/* The version of the schema that a file says it has; 0: it is empty. ERROR_CORRUPT: somebody else's
 * database. */
int db_schema_version(struct db_connection *connection, int64_t *out, struct error *err);
/* Within a transaction. */
int db_schema_set_version(struct db_connection *connection, int64_t version, struct error *err);

/* Not within a transaction: from now on nothing is refused or removed for the sake of a reference,
 * until db_schema_hold_references. */
int db_schema_release_references(struct db_connection *connection, struct error *err);
int db_schema_hold_references(struct db_connection *connection, struct error *err);

/* ERROR_CORRUPT when a row refers to one that does not exist. */
int db_schema_check_references(struct db_connection *connection, struct error *err);
/* ERROR_CORRUPT with the first finding of the engine's own check, references included. */
int db_schema_check_integrity(struct db_connection *connection, struct error *err);

#endif
