/* Is everything of a data directory there and whole? Reads all of it. */
#ifndef CHIPSHOT_DB_DATA_INSPECT_H
#define CHIPSHOT_DB_DATA_INSPECT_H

#include "db/db.h"
#include "db/store/store.h"

/* Files, by their bytes. */
struct inspection {
    uint64_t n_whole;
    uint64_t n_damaged, n_missing; /* rows name them */
    uint64_t n_unreadable;
    uint64_t n_unknown; /* in the store, and no row names them */
    uint64_t n_in_quarantine;
    struct error database; /* what is wrong with it; code 0: nothing */
};

enum inspect_finding {
    INSPECT_MISSING,
    INSPECT_DAMAGED,
    INSPECT_UNREADABLE,
    INSPECT_UNKNOWN,
    INSPECT_IN_QUARANTINE,
};

struct inspect_observer {
    void (*found)(void *context, enum inspect_finding finding, const char *sha256);
    void *context;
};

/* ERROR_IO, ERROR_NOMEM: it could not be looked at. What is wrong is no error of the function. */
int data_inspect(struct inspection *out, struct db *db, struct store *store,
                 const struct inspect_observer *observer, struct error *err);

#endif
