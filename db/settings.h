/* What a database knows of itself: short texts by name, such as which store belongs to it. Not
 * configuration, which comes from the command line. */
#ifndef CHIPSHOT_DB_SETTINGS_H
#define CHIPSHOT_DB_SETTINGS_H

#include "db/db.h"

enum { DB_SETTING_SIZE = 128 }; /* bytes of a value with its NUL */

/* `name` is a constant of the caller. ERROR_NOT_FOUND: it was never set. */
int db_setting_get(struct db *db, const char *name, char out[DB_SETTING_SIZE], struct error *err);
/* Stores or replaces; on the disk when it returns. ERROR_INVALID: the value is too long. */
int db_setting_set(struct db *db, const char *name, const char *value, struct error *err);

#endif
