/* Identifiers and times, and how much room their texts need. Any thread. */
#ifndef CHIPSHOT_DB_ID_H
#define CHIPSHOT_DB_ID_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DB_ID_SIZE = 32, /* "prj_" + 26 characters of a ULID + NUL, rounded up */
    DB_TIME_SIZE = 32,
    DB_SHA256_SIZE = 65, /* 64 hexadecimal digits + NUL */
};

/* Writes prefix + ULID (https://github.com/ulid/spec), monotonic within the process. */
void db_id_create(const char *prefix, char out[DB_ID_SIZE]);
/* True when `id` is `prefix` + 26 Crockford base32 characters. */
bool db_id_is(const char *id, const char *prefix);
/* The time in an id. Rows take their created_at from it, so that (created_at, id) orders as id
 * does, also when the clock steps back. */
void db_id_time(const char *id, char out[DB_TIME_SIZE]);

void db_time_now(char out[DB_TIME_SIZE]);
enum { DB_TIME_MS_BITS = 47 }; /* of milliseconds since 1970: up to the year 6429 */
/* The same for a time in milliseconds since 1970. */
void db_time_text(uint64_t ms, char out[DB_TIME_SIZE]);
/* Milliseconds since 1970. */
uint64_t db_time_ms(void);

#endif
