/* One data directory: where a server keeps everything, and who may open it.
 *
 *     DIR/lock             held (flock) for as long as a server runs on the directory
 *     DIR/chipshot.sqlite  everything but the bytes (db/db.h)
 *     DIR/blobs/ab/abcd..  files named by SHA-256, written to DIR/tmp, fsynced and renamed
 *                          (db/store/store.h)
 *     DIR/cache/           embeddings; safe to delete at any time (db/store/cache.h)
 *     DIR/tmp/             emptied at start
 *     DIR/keys             API keys, only hashes (db/keys.h)
 */
#ifndef CHIPSHOT_DB_DATA_H
#define CHIPSHOT_DB_DATA_H

#include "db/db.h"
#include "db/store/cache.h"
#include "db/store/store.h"

struct data_config {
    const char *directory;   /* created when absent */
    uint64_t cache_max_size; /* bytes of the cache */
};

/* What is open until data_close. The parts do not know this struct: each is handed to who needs it.
 */
struct data {
    struct db *db;
    struct store *store;
    struct cache *cache;
    char *directory; /* absolute */
    /* The inside. */
    int lock_fd;      /* DIR/lock, locked; its content is empty after a clean end */
    bool needs_sweep; /* there may be files without rows, from before the start */
};

/* Opens the directory for a server: takes the lock, creates or migrates the database, empties tmp.
 * ERROR_INVALID: everybody may write in the directory, or it is somebody else's.
 * ERROR_CONFLICT: another server holds the lock (the message says so), or the database was written
 * by a newer version. ERROR_CORRUPT: not a database. ERROR_IO, ERROR_FULL. */
int data_open(struct data **out, const struct data_config *config, struct error *err);
/* What was made of the parts must have ended. NULL allowed. */
void data_close(struct data *data);

#endif
