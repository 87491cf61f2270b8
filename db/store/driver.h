/* What a kind of store has to be able to do: db/store/directory.c keeps files in a directory. All
 * else, names, hashes and who may remove what, is the same for every kind and is in
 * db/store/store.c. */
#ifndef CHIPSHOT_DB_STORE_DRIVER_H
#define CHIPSHOT_DB_STORE_DRIVER_H

#include "db/store/store.h"

/* Where a store keeps files: those that it has, and those that nobody knew when it was opened. */
enum store_shelf { STORE_FILES, STORE_QUARANTINE };

/* What became of an upload. */
enum store_put {
    STORE_PUT_NEW,    /* nothing had its name */
    STORE_PUT_KEPT,   /* what had the name already is whole and kept */
    STORE_PUT_HEALED, /* what had the name was damaged, and is replaced */
};

/* `place` is where the files are; `upload` is one that is being written and has no name yet.
 * A `sha256` has the right form. All but `destroy` and `end` give ERROR_IO and, where they write,
 * ERROR_FULL. */
struct store_driver {
    void (*destroy)(void *place);

    int (*begin)(void *place, void **upload, struct error *err);
    int (*append)(void *upload, const void *data, size_t size, struct error *err);
    /* What was appended so far; NULL and 0 when that is nothing. Borrowed until the next call. */
    int (*map)(void *upload, const void **data, size_t *size, struct error *err);
    /* Makes the upload last, under its name; a whole file that has the name already, which is known
     * by its hash, is kept. At most once. After a failure the file may be there or not. */
    int (*put)(void *upload, const char *sha256, enum store_put *out, struct error *err);
    /* Frees `upload`, removing what was not put. */
    void (*end)(void *upload);

    /* A descriptor for reading, and the file's size. ERROR_NOT_FOUND. */
    int (*open)(void *place, const char *sha256, int *fd, uint64_t *size, struct error *err);
    /* ERROR_NOT_FOUND. */
    int (*size)(void *place, const char *sha256, uint64_t *out, struct error *err);
    /* Also when there is none. */
    int (*remove)(void *place, const char *sha256, struct error *err);
    /* Moves a file from its shelf to the other. *moved is false, and nothing is done, when the
     * other has one of the name already, or this one has none. */
    int (*move)(void *place, enum store_shelf from, const char *sha256, bool *moved,
                struct error *err);
    /* Calls `visit`, which may remove or move it, with the name of each file of a shelf; stops at
     * its first error. What this program did not write is left out. */
    int (*list)(void *place, enum store_shelf shelf, store_visit *visit, void *context,
                struct error *err);
    /* The first name of STORE_FILES after `after` ("": of all) in the order of bytes.
     * ERROR_NOT_FOUND: there is none. */
    int (*next)(void *place, const char *after, char out[DB_SHA256_SIZE], struct error *err);
};

/* Takes `place`, also when it fails. */
int store_create(struct store **out, const struct store_driver *driver, void *place,
                 const struct store_needs *needs, struct error *err);

#endif
