/* One data directory: where a server keeps everything, and who may open it.
 *
 *     DIR/lock             held (flock), as DIR itself, for as long as a server runs
 *     DIR/chipshot.sqlite  everything but the bytes (db/db.h)
 *     DIR/blobs/ab/abcd..  files named by SHA-256, written to DIR/tmp, fsynced and renamed
 *                          (db/store/store.h)
 *     DIR/blobs/store.id   which store this is; the database names it (db/data/pairing.h)
 *     DIR/quarantine/      files of blobs/ that the database did not know; nothing removes them
 *     DIR/cache/           embeddings and views; safe to delete at any time (db/store/cache.h)
 *     DIR/tmp/             what this program made in it is removed at start
 *     DIR/keys             API keys, only hashes (db/keys.h)
 *     DIR/reserve          room for what frees room on a full disk (db/store/room.h)
 *
 * DIR itself may be a symbolic link, what is in it may not: nothing is written or removed
 * elsewhere.
 */
#ifndef CHIPSHOT_DB_DATA_H
#define CHIPSHOT_DB_DATA_H

#include <stdatomic.h>

#include "db/data/pairing.h"
#include "db/db.h"
#include "db/store/cache.h"
#include "db/store/claim.h"
#include "db/store/room.h"
#include "db/store/store.h"

/* What an administrator should hear of. */
enum data_note {
    DATA_NOTE_PAIRED,      /* database and files, which did not know each other; the store's id */
    DATA_NOTE_MISSING,     /* a file of the database was not there then; its SHA-256 */
    DATA_NOTE_LEFT_IN_TMP, /* what is in tmp and not of this program; its name */
    DATA_NOTE_GIVEN_UP,    /* so that a full disk can be served at all: "reserve", "tmp", "cache" */
    DATA_NOTE_SET_ASIDE,   /* this one and the next four: enum store_event; a SHA-256 */
    DATA_NOTE_BROUGHT_BACK,
    DATA_NOTE_IN_QUARANTINE,
    DATA_NOTE_DAMAGED,
    DATA_NOTE_HEALED,
    DATA_NOTE_COUNT,
};

/* Who hears of it until data_close. Called by any thread, under no lock. */
struct data_observer {
    void (*note)(void *context, enum data_note note, const char *name); /* NULL: nobody */
    void *context;
};

enum data_purpose {
    DATA_TO_SERVE, /* the directory is made when it is absent */
    /* Of a directory that is there. Nothing is removed or set aside, and there is no cache. */
    DATA_TO_ADOPT,   /* pairs its database and its files, whatever they are */
    DATA_TO_INSPECT, /* whatever they are */
};

struct data_config {
    const char *directory;
    enum data_purpose purpose;
    uint64_t cache_max_size; /* bytes of the cache */
    uint64_t min_free_size;  /* bytes of the disk: the floor of db/store/room.h */
    struct data_observer observer;
};

/* What is open until data_close. The parts do not know this struct: each is handed to who needs it.
 */
struct data {
    struct db *db;
    struct store *store;
    struct cache *cache;
    struct room *room;
    char *directory; /* absolute */
    struct pairing pairing;
    /* The inside. */
    struct db_claim claim; /* the content of DIR/lock is empty after a clean end */
    atomic_bool is_lost;
    bool is_marked;   /* DIR/lock says that a server runs */
    bool needs_sweep; /* there may be files without rows, from before the start */
    struct data_observer observer;
};

/* Opens the directory: takes the lock, creates or migrates the database; for a server also empties
 * tmp, brings back or sets aside files (db/store/store.h). A full disk is no hindrance: when there
 * is next to no room, a server gives up the reserve first, then what is left in tmp, then the
 * cache; what then cannot be written is left for later.
 * ERROR_INVALID: everybody may write in the directory, or it is somebody else's. ERROR_CONFLICT:
 * another server holds the lock, the database was written by a newer version, or database and files
 * are not known to belong together (the message says which, and what to do). ERROR_CORRUPT: not a
 * database. ERROR_IO: also a symbolic link where a directory has to be. ERROR_FULL: the disk is
 * full, and a file that is missing or a migration that is due could not be written. */
int data_open(struct data **out, const struct data_config *config, struct error *err);
/* ERROR_IO when the directory, its lock, its database or its blobs/ were removed or replaced since
 * they were opened: nothing new may be taken on then. The message names no path. A few system
 * calls; any thread. */
int data_check(struct data *data, struct error *err);
/* What the last data_check found, without any waiting. */
bool data_is_lost(const struct data *data);
/* What is due now and then while a server runs: looks at the disk, makes the reserve again when
 * there is room, and writes what the start could not write. One thread at a time. */
void data_tend(struct data *data);
/* What was made of the parts must have ended. NULL allowed. */
void data_close(struct data *data);

#endif
