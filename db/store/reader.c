#include "db/store/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/store/content_hash.h"
#include "db/store/files.h"
#include "db/store/inside.h"
#include "db/text.h"

struct store_reader {
    struct store *store;
    char sha256[DB_SHA256_SIZE];
    enum store_reader_use use;
    int fd;
    uint64_t size, position;
    bool is_finished;              /* its hash was looked at */
    struct file_identity identity; /* when it was opened */
    struct sha256_ctx hash;
};

/* What is known before anything is given. */
static int check_first(struct store_reader *reader, struct error *err)
{
    char hash[DB_SHA256_SIZE];
    int rc = store_known_hash(reader->store, reader->sha256, &reader->identity, err);
    if (rc != ERROR_NOT_FOUND || reader->use == STORE_READER_MEASURE ||
        reader->size > STORE_READER_SMALL)
        return rc == ERROR_NOT_FOUND ? 0 : rc;
    rc = db_content_hash(reader->fd, hash, err);
    return rc != 0 ? rc
                   : store_note_hash(reader->store, reader->sha256, &reader->identity, hash, err);
}

static int open_file(struct store_reader *reader, struct error *err)
{
    const struct store *store = reader->store;
    int rc = store->driver->open(store->place, reader->sha256, &reader->fd, &reader->size, err);
    if (rc == 0)
        rc = file_identity_read(&reader->identity, reader->fd, err);
    if (rc == 0 && reader->use != STORE_READER_SCRUB)
        rc = check_first(reader, err);
    if (rc == 0 && reader->use == STORE_READER_SCRUB)
        posix_fadvise(reader->fd, 0, 0, POSIX_FADV_DONTNEED);
    return rc;
}

int store_reader_open(struct store_reader **out, struct store *store, const char *sha256,
                      enum store_reader_use use, struct error *err)
{
    if (!db_text_is_sha256(sha256))
        return error_set(err, ERROR_NOT_FOUND, "a blob's name is not a SHA-256");
    struct store_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return error_set_nomem(err, "a reader");
    reader->store = store;
    reader->use = use;
    reader->fd = -1;
    memcpy(reader->sha256, sha256, DB_SHA256_SIZE);
    sha256_init(&reader->hash);
    int rc = open_file(reader, err);
    if (rc == 0)
        *out = reader;
    else
        store_reader_close(reader);
    return rc;
}

uint64_t store_reader_size(const struct store_reader *reader)
{
    return reader->size;
}

/* All is read but not all of it is given. */
static int finish(struct store_reader *reader, struct error *err)
{
    char hash[DB_SHA256_SIZE];
    reader->is_finished = true;
    db_hash_text(&reader->hash, hash);
    return store_note_hash(reader->store, reader->sha256, &reader->identity, hash, err);
}

int store_reader_read(struct store_reader *reader, void *out, size_t size, size_t *n,
                      struct error *err)
{
    const uint64_t left = reader->size - reader->position;
    const size_t wanted = left < size ? (size_t)left : size;
    ssize_t got;
    do {
        got = pread(reader->fd, out, wanted, (off_t)reader->position);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return db_io_error(err, errno, "reading the blob", reader->sha256);
    if (got == 0 && wanted > 0)
        return error_set(err, ERROR_CORRUPT,
                         "its file was cut off after %" PRIu64 " of %" PRIu64 " bytes",
                         reader->position, reader->size);
    sha256_update(&reader->hash, (size_t)got, out);
    if (reader->use == STORE_READER_SCRUB)
        posix_fadvise(reader->fd, (off_t)reader->position, got, POSIX_FADV_DONTNEED);
    reader->position += (uint64_t)got;
    int rc = 0;
    if (reader->position == reader->size && !reader->is_finished)
        rc = finish(reader, err);
    if (rc == 0)
        *n = (size_t)got;
    return rc;
}

void store_reader_close(struct store_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader);
}
