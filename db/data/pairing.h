/* Which store belongs to which database.
 *
 * A start under the wrong database would take every file for one that nobody needs, and every image
 * for one without its file. So each store has a name, in a file that goes with its files
 * (db/store/marker.h), and its database knows that name (the setting store_id). The first start
 * makes both. Directories of versions before this have neither: they are paired when files of the
 * rows are there. In any other case the start is refused, and an administrator decides.
 */
#ifndef CHIPSHOT_DB_DATA_PAIRING_H
#define CHIPSHOT_DB_DATA_PAIRING_H

#include "db/db.h"
#include "db/store/store.h"

struct pairing {
    char database[DB_ID_SIZE]; /* the store that the database names; "": none */
    char store[DB_ID_SIZE];    /* the store's name; "": it has none */
};

/* Files that rows name, by their bytes. */
struct pairing_files {
    uint64_t n_images, n_images_there;
    uint64_t n_encoders, n_encoders_there;
    bool has_files; /* the store has any, known or not */
};

/* ERROR_CORRUPT: the store's name cannot be read. */
int pairing_read(struct pairing *out, struct db *db, const char *directory, struct error *err);
/* The two belong to each other. */
bool pairing_is_made(const struct pairing *pairing);

/* Counts the files; `missing` (NULL allowed) is told of each that is not there. */
int pairing_count(struct pairing_files *out, struct db *db, struct store *store,
                  void (*missing)(void *context, const char *sha256), void *context,
                  struct error *err);

/* 0 when they may be paired; else ERROR_CONFLICT, with what was found and what to do. */
int pairing_check(const struct pairing *pairing, const struct pairing_files *files,
                  const char *directory, struct error *err);
/* What pairing_check says of files under a database that is new. */
int pairing_refuse_unknown_files(const char *directory, struct error *err);

/* Whatever was found: the database takes the store's name. `pairing` becomes what is then true. */
int pairing_write(struct pairing *pairing, struct db *db, const char *directory, struct error *err);

#endif
