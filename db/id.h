/* What db/ uses of db/id.c besides the functions of db/db.h. */
#ifndef CHIPSHOT_DB_ID_H
#define CHIPSHOT_DB_ID_H

#include "db/db.h"

/* Milliseconds since 1970. */
uint64_t db_time_ms(void);

/* The time in an id. Rows take their created_at from it, so that (created_at, id) orders as id
 * does, also when the clock steps back. */
void db_id_time(const char *id, char out[DB_TIME_SIZE]);

#endif
