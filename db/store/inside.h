/* The inside of struct store, for the files that make it up: db/store/store.c writes and removes,
 * store_file.c and reader.c read. */
#ifndef CHIPSHOT_DB_STORE_INSIDE_H
#define CHIPSHOT_DB_STORE_INSIDE_H

#include <pthread.h>

#include "db/store/driver.h"
#include "db/store/verdicts.h"

/* Somebody's claim on a file, in a list of the store. */
struct hold {
    char sha256[DB_SHA256_SIZE];
    bool is_ours; /* of a pin: the file may be removed when nobody needs it */
    struct hold *next;
};

struct store {
    const struct store_driver *driver;
    void *place; /* owned; the driver's */
    struct store_needs needs;
    struct store_observer observer;
    struct verdicts *verdicts;
    struct room *room;     /* NULL: of no concern */
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t removed;
    struct hold *pins;     /* of writers */
    struct hold *removals; /* of files that are being removed */
    bool needs_sweep;      /* there may be files that nobody needs */
};

/* Under no lock. */
static inline void store_tell(const struct store *store, enum store_event event, const char *sha256)
{
    if (store->observer.event != NULL)
        store->observer.event(store->observer.context, event, sha256);
}

/* Notes the SHA-256 that a file was found to have in a state of it, and tells of what is new.
 * ERROR_CORRUPT: it is not its name. */
int store_note_hash(struct store *store, const char *sha256, const struct file_identity *identity,
                    const char *hash, struct error *err);
/* What is known of a file in a state of it: 0 when that is whole, ERROR_CORRUPT when it is damaged,
 * ERROR_NOT_FOUND when it has to be read. */
int store_known_hash(struct store *store, const char *sha256, const struct file_identity *identity,
                     struct error *err);

#endif
