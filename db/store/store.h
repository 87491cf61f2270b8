/* Files named by their SHA-256, stored as uploaded, never re-encoded.
 *
 * The store knows no rows. It asks through a callback who needs a file, and relies on one rule of
 * those it asks: a file comes before its row and goes after its row, so a row is never without its
 * file. A file that nobody needs any more (its last row went, an upload was refused) is removed.
 *
 * One that is found and that nobody needs is not: after a crash it is an upload that came to no
 * row, but under a database that was restored from a backup, or is another's, it is somebody's
 * image. It is set aside, into quarantine, and is brought back when somebody needs it. Nothing here
 * ever removes what is in quarantine.
 *
 * Order of use: create, write, commit, insert the row (db_image_insert, db_encoder_insert),
 * destroy. From commit to destroy the writer pins its bytes: deleting another row with the same
 * bytes leaves the file. Destroying removes the file when nobody needs it.
 *
 * Threads: every function may be called from any thread; one writer belongs to one thread at a
 * time.
 */
#ifndef CHIPSHOT_DB_STORE_STORE_H
#define CHIPSHOT_DB_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "db/id.h"
#include "db/store/verdicts.h"

struct room;
struct store;
struct store_writer;

/* Called with the name of each of some files; an error ends it. */
typedef int store_visit(const char *sha256, void *context, struct error *err);

/* Who needs a file: what the store asks before it removes one. Called under no lock. */
struct store_needs {
    int (*is_needed)(void *context, const char *sha256, bool *out, struct error *err);
    void *context;
};

/* What an administrator should hear of. */
enum store_event {
    STORE_SET_ASIDE,     /* nobody needs this file: it is in quarantine now */
    STORE_BROUGHT_BACK,  /* from there: somebody needs it */
    STORE_IN_QUARANTINE, /* and stays there */
    STORE_DAMAGED,       /* this file is not what was stored */
    STORE_HEALED,        /* it was damaged, and is whole again */
};

/* Who hears of it. Called in the thread where it happens, under no lock. */
struct store_observer {
    void (*event)(void *context, enum store_event event, const char *sha256);
    void *context;
};

/* Before anyone else uses the store. */
void store_observe(struct store *store, const struct store_observer *observer);

/* Bytes of an upload after which the room is looked at again. */
enum { STORE_ROOM_PART = 8 << 20 };

/* From now on ERROR_FULL where an upload would not leave the room that ROOM_NEW is to leave
 * (db/store/room.h). `room` is borrowed until destroy. Before anyone else uses the store. */
void store_keep_room(struct store *store, struct room *room);

/* Made by the kind of store that it is (db/store/directory.h). Every writer and file must have been
 * destroyed or closed. NULL allowed. */
void store_destroy(struct store *store);

/* ---- writing ---- */

/* Starts a file that has no name yet. ERROR_IO, ERROR_FULL. */
int store_writer_create(struct store_writer **out, struct store *store, struct error *err);
/* Appends and hashes. ERROR_FULL, ERROR_IO; the writer can then only be destroyed. */
int store_writer_write(struct store_writer *writer, const void *data, size_t size,
                       struct error *err);
uint64_t store_writer_size(const struct store_writer *writer);
/* Ends the hash; may be called once all is written, before commit. */
void store_writer_sha256(struct store_writer *writer, char out[DB_SHA256_SIZE]);
/* Maps what was written so far read-only, for checking it before commit; NULL and 0 for an empty
 * file. Borrowed until destroy. */
int store_writer_map(struct store_writer *writer, const void **data, size_t *size,
                     struct error *err);
/* Makes the file last under its name. One that has the name is read: it is kept when it has these
 * bytes, and replaced when it is damaged. */
int store_writer_commit(struct store_writer *writer, struct error *err);
/* Removes what was not committed, and what was committed but is needed by nobody; a file that was
 * there before and that nobody needs is set aside. NULL allowed. */
void store_writer_destroy(struct store_writer *writer);

/* ---- reading ---- */

/* Bytes of a larger file after which whoever reads it from begin to end lets go of what was read.
 */
enum { STORE_FILE_PART = 16 << 20 };

/* A file mapped read-only. */
struct store_file {
    const void *data;
    size_t size;
    /* The inside. */
    struct store *store;
    char sha256[DB_SHA256_SIZE];
    struct file_identity identity; /* when it was opened */
};

/* ERROR_NOT_FOUND, ERROR_IO; ERROR_CORRUPT: it is not what was stored. The whole file is read for
 * that, once in the state that it is in; ERROR_CANCELLED: `cancel` (NULL: never) was asked amid it.
 * An open file stays readable when it is removed. */
int store_file_open(struct store *store, const char *sha256, const struct cancel *cancel,
                    struct store_file *out, struct error *err);
/* The two halves of it, for one who can do something else before the check is over: nothing that
 * was made of an unchecked file may be kept. */
int store_file_open_unchecked(struct store *store, const char *sha256, struct store_file *out,
                              struct error *err);
int store_file_check(const struct store_file *file, const struct cancel *cancel, struct error *err);
void store_file_close(struct store_file *file);
/* Lets go of the memory that `size` bytes from `first` on take; whoever reads them again gets them
 * back from the file. Any thread. */
void store_file_forget(const struct store_file *file, size_t first, size_t size);
/* Bytes of a file. ERROR_NOT_FOUND: there is none. ERROR_IO. */
int store_file_size(struct store *store, const char *sha256, uint64_t *size, struct error *err);

/* Files that were read and hashed since the store was opened, and those that are damaged now. */
void store_verified(struct store *store, uint64_t *n_verified, uint64_t *n_damaged);

/* ---- removing ---- */

/* Removes the file when nobody needs it and no writer pins it. Called after the transaction that
 * removed a row, outside any transaction. A failure leaves the file for the next sweep. */
void store_collect(struct store *store, const char *sha256);
/* Sets aside all files that nobody needs. At start, before anyone writes. */
int store_sweep(struct store *store, struct error *err);
/* Brings back what somebody needs and is in quarantine only. At start, before anyone writes. */
int store_bring_back(struct store *store, struct error *err);
/* Whether store_collect failed since the last sweep: there may be a file that nobody needs. */
bool store_needs_sweep(struct store *store);
int store_visit_quarantine(struct store *store, store_visit *visit, void *context,
                           struct error *err);
/* Whether there is any file, also in quarantine. */
int store_has_files(struct store *store, bool *out, struct error *err);

/* The first name after `after` ("": of all) in the order of bytes: to go through all files while
 * they come and go. ERROR_NOT_FOUND: there is none. */
int store_next(struct store *store, const char *after, char out[DB_SHA256_SIZE], struct error *err);

#endif
