/* Files named by their SHA-256, stored as uploaded, never re-encoded.
 *
 * A file comes before its row and goes after its row, so a row is never without its file; a file
 * without a row (a crash between the two, an upload that was refused) is removed.
 *
 * Order of use: create, write, commit, insert the row (db_image_insert, db_encoder_insert),
 * destroy. From commit to destroy the writer pins its bytes: deleting another row with the same
 * bytes leaves the file. Destroying removes the file when no row needs it.
 */
#ifndef CHIPSHOT_DB_BLOBS_H
#define CHIPSHOT_DB_BLOBS_H

#include "db/db.h"

struct db_blob_writer;

/* Starts a file in DIR/tmp. ERROR_IO, ERROR_FULL. */
int db_blob_writer_create(struct db_blob_writer **out, struct db *db, struct error *err);
/* Appends and hashes. ERROR_FULL, ERROR_IO; the writer can then only be destroyed. */
int db_blob_write(struct db_blob_writer *writer, const void *data, size_t size, struct error *err);
uint64_t db_blob_writer_size(const struct db_blob_writer *writer);
/* Ends the hash; may be called once all is written, before commit. */
void db_blob_writer_sha256(struct db_blob_writer *writer, char out[DB_SHA256_SIZE]);
/* Maps what was written so far read-only, for checking it before commit; NULL and 0 for an empty
 * file. Borrowed until destroy. */
int db_blob_writer_map(struct db_blob_writer *writer, const void **data, size_t *size,
                       struct error *err);
/* fsyncs, renames into place, fsyncs the folder. A blob with these bytes that exists is kept. */
int db_blob_writer_commit(struct db_blob_writer *writer, struct error *err);
/* Removes what was not committed, and what was committed but got no row. NULL allowed. */
void db_blob_writer_destroy(struct db_blob_writer *writer);

/* A blob mapped read-only. */
struct db_blob {
    const void *data;
    size_t size;
};

/* ERROR_NOT_FOUND, ERROR_IO. An open blob stays readable when it is deleted. */
int db_blob_open(struct db *db, const char *sha256, struct db_blob *out, struct error *err);
void db_blob_close(struct db_blob *blob);
/* Lets go of the memory that `size` bytes from `first` on take; whoever reads them again gets them
 * back from the file. Any thread. */
void db_blob_forget(const struct db_blob *blob, size_t first, size_t size);
/* An open file descriptor for streaming; the caller closes it. */
int db_blob_open_fd(struct db *db, const char *sha256, int *fd, uint64_t *size, struct error *err);

#endif
