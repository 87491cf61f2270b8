/* A stored file, read from its beginning to its end, whose last bytes are given only when all of
 * them together are what was stored. One thread at a time. */
#ifndef CHIPSHOT_DB_STORE_READER_H
#define CHIPSHOT_DB_STORE_READER_H

#include "db/store/store.h"

/* Files up to this many bytes are read twice unless they are known to be whole, so that a damaged
 * one is called that before any of it is given. */
enum { STORE_READER_SMALL = 4 << 20 };

enum store_reader_use {
    STORE_READER_SEND,    /* to be given away */
    STORE_READER_MEASURE, /* only the size: nothing is read */
    STORE_READER_SCRUB,   /* to look at what is on the disk: past what memory has of it */
};

struct store_reader;

/* ERROR_NOT_FOUND; ERROR_CORRUPT: it is known to be damaged (not for STORE_READER_SCRUB). */
int store_reader_open(struct store_reader **out, struct store *store, const char *sha256,
                      enum store_reader_use use, struct error *err);
uint64_t store_reader_size(const struct store_reader *reader);
/* The next bytes, at most `size` (> 0) of them, and their number to *n; 0 is the end. ERROR_CORRUPT
 * instead of the last bytes when the file is damaged, or shorter than it was. */
int store_reader_read(struct store_reader *reader, void *out, size_t size, size_t *n,
                      struct error *err);
/* NULL allowed. */
void store_reader_close(struct store_reader *reader);

#endif
