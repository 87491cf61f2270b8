/* Matrix files. Numbers are in the host's byte order (a file from another one is a miss):
 *
 *     offset  size
 *          0     8  "chipemb3" as a number
 *          8    32  SHA-256 of the key
 *         40     8  rows
 *         48     8  columns
 *         56     8  checksum of the table
 *         64        rows x columns float32
 *                   a checksum of 8 bytes for each block of rows: the table
 *
 * The table is in memory for as long as the matrix is open, so that a block is checked each time it
 * is read, whatever happens to the file meanwhile: 8 bytes for 32 rows.
 *
 * Nothing is synced: after a power cut a file with missing bytes fails its checksums and is a miss.
 */
#include "db/matrix.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/cache_store.h"
#include "db/connection.h"
#include "db/files.h"

static const uint64_t magic = 0x33626d6570696863; /* "chipemb3" on a little-endian host */

struct header {
    uint64_t magic;
    uint8_t key[SHA256_DIGEST_SIZE];
    uint64_t n_rows, n_columns;
    uint64_t checksum;
};
_Static_assert(sizeof(struct header) == 64, "the header is what the table says");

struct db_matrix {
    struct db_cache *cache;
    struct header header;
    int fd;
    char path[DB_PATH_SIZE]; /* in DIR/tmp; "": it has none, or not any more */
    atomic_bool is_entry;    /* of the cache */
    uint64_t n_blocks;
    uint64_t checksums[]; /* of the blocks */
};

/* Guards against damage, not malice: FNV-1a over 64-bit words with a fold each, in so many lanes
 * that no multiplication waits for another and it keeps up with memory. */
static uint64_t checksum_of(const void *data, uint64_t size)
{
    enum { LANES = 8 };
    const uint64_t prime = 0x100000001b3;
    uint64_t lanes[LANES] = {0xcbf29ce484222325, 1, 2, 3, 4, 5, 6, 7}, words[LANES];
    const char *bytes = data;
    uint64_t left = size;
    for (; left >= sizeof(words); left -= sizeof(words), bytes += sizeof(words)) {
        memcpy(words, bytes, sizeof(words));
#pragma GCC unroll 8
        for (int k = 0; k < LANES; k++) {
            lanes[k] = (lanes[k] ^ words[k]) * prime;
            lanes[k] ^= lanes[k] >> 29;
        }
    }
    for (; left > 0; left--)
        lanes[0] = (lanes[0] ^ (uint8_t)*bytes++) * prime;
    uint64_t sum = size;
    for (int k = 0; k < LANES; k++) {
        sum = (sum ^ lanes[k]) * prime;
        sum ^= sum >> 32;
    }
    return sum;
}

/* ---- places ---- */

/* Half of what a file's offsets can say is left for the table. */
static bool is_too_large(uint64_t n_rows, uint64_t n_columns)
{
    return n_rows == 0 || n_columns == 0 || n_columns > INT64_MAX / 2 / sizeof(float) / n_rows;
}

static uint64_t row_size(const struct db_matrix *matrix)
{
    return matrix->header.n_columns * sizeof(float);
}

static uint64_t row_offset(const struct db_matrix *matrix, uint64_t row)
{
    return sizeof(struct header) + row * row_size(matrix);
}

static uint64_t table_offset(const struct db_matrix *matrix)
{
    return row_offset(matrix, matrix->header.n_rows);
}

static uint64_t table_size(const struct db_matrix *matrix)
{
    return matrix->n_blocks * sizeof(matrix->checksums[0]);
}

static uint64_t file_size(const struct db_matrix *matrix)
{
    return table_offset(matrix) + table_size(matrix);
}

/* ---- bytes ---- */

/* ERROR_CORRUPT: the file ends before. */
static int read_at(int fd, void *out, uint64_t size, uint64_t offset, struct error *err)
{
    char *bytes = out;
    while (size > 0) {
        const ssize_t n = pread(fd, bytes, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return db_io_error(err, errno, "reading", "a matrix");
        if (n == 0)
            return error_set(err, ERROR_CORRUPT, "a matrix is cut off at byte %" PRIu64, offset);
        bytes += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

static int write_at(const struct db_matrix *matrix, const void *data, uint64_t size,
                    uint64_t offset, struct error *err)
{
    const char *bytes = data;
    while (size > 0) {
        const size_t part = size < DB_WRITE_PART ? size : DB_WRITE_PART;
        const ssize_t n = pwrite(matrix->fd, bytes, part, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return db_io_error(err, errno, "writing", "a matrix");
        bytes += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

/* So that a disk that is too small is noticed before anything is computed, where the file system
 * can tell. */
static int reserve(const struct db_matrix *matrix, struct error *err)
{
    int result;
    do {
        result = fallocate(matrix->fd, 0, 0, (off_t)file_size(matrix));
    } while (result != 0 && errno == EINTR);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return 0;
    return error_set_errno(err, errno, "reserving %" PRIu64 " MB of disk for a matrix",
                           (file_size(matrix) + 999999) / 1000000);
}

/* ---- making ---- */

static int matrix_new(struct db_matrix **out, struct db *db, const char *key, uint64_t n_rows,
                      uint64_t n_columns, struct error *err)
{
    if (is_too_large(n_rows, n_columns))
        return error_set(err, ERROR_INVALID,
                         "a matrix of %" PRIu64 " x %" PRIu64 " values cannot be stored", n_rows,
                         n_columns);
    const uint64_t n_blocks = (n_rows - 1) / DB_MATRIX_BLOCK_ROWS + 1;
    struct db_matrix *matrix =
        n_blocks > (PTRDIFF_MAX - sizeof(*matrix)) / sizeof(matrix->checksums[0])
            ? NULL
            : calloc(1, sizeof(*matrix) + n_blocks * sizeof(matrix->checksums[0]));
    if (matrix == NULL)
        return error_set_nomem(err, "a matrix");
    matrix->cache = db->cache;
    matrix->fd = -1;
    matrix->n_blocks = n_blocks;
    matrix->header = (struct header){.magic = magic, .n_rows = n_rows, .n_columns = n_columns};
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, strlen(key), (const uint8_t *)key);
    sha256_digest(&hash, SHA256_DIGEST_SIZE, matrix->header.key);
    *out = matrix;
    return 0;
}

int db_matrix_create(struct db_matrix **out, struct db *db, const char *key, uint64_t n_rows,
                     uint64_t n_columns, struct error *err)
{
    struct db_matrix *matrix = NULL;
    int rc = matrix_new(&matrix, db, key, n_rows, n_columns, err);
    if (rc == 0)
        rc = db_temporary_create(db->directory, &matrix->fd, matrix->path, err);
    if (rc != 0)
        goto out;
    if (file_size(matrix) > db_cache_max_size(db->cache)) {
        unlink(matrix->path); /* nothing is left of it after a crash */
        matrix->path[0] = '\0';
    }
    rc = reserve(matrix, err);
out:
    if (rc != 0)
        db_matrix_destroy(matrix);
    else
        *out = matrix;
    return rc;
}

static int open_entry(struct db_matrix *matrix, struct error *err)
{
    struct header header;
    struct stat status;
    char path[DB_PATH_SIZE];
    int rc = db_cache_path(matrix->cache, matrix->header.key, path, err);
    if (rc != 0)
        return rc;
    matrix->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (matrix->fd < 0 || fstat(matrix->fd, &status) != 0)
        return db_io_error(err, errno, "opening", path);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != file_size(matrix))
        return error_set(err, ERROR_CORRUPT, "%s is no such matrix", path);
    rc = read_at(matrix->fd, &header, sizeof(header), 0, err);
    if (rc == 0)
        rc = read_at(matrix->fd, matrix->checksums, table_size(matrix), table_offset(matrix), err);
    if (rc != 0)
        return rc;
    matrix->header.checksum = checksum_of(matrix->checksums, table_size(matrix));
    if (memcmp(&header, &matrix->header, sizeof(header)) != 0)
        return error_set(err, ERROR_CORRUPT, "%s is not what was written", path);
    /* The next start takes the order of use from here. */
    futimens(matrix->fd, NULL);
    return 0;
}

int db_matrix_open(struct db_matrix **out, struct db *db, const char *key, uint64_t n_rows,
                   uint64_t n_columns, struct error *err)
{
    struct db_matrix *matrix = NULL;
    int rc = matrix_new(&matrix, db, key, n_rows, n_columns, err);
    if (rc == ERROR_NOMEM)
        return rc;
    bool is_hit = false;
    if (rc == 0 && db_cache_use(db->cache, matrix->header.key)) {
        is_hit = open_entry(matrix, NULL) == 0;
        if (!is_hit)
            db_cache_forget(db->cache, matrix->header.key);
    }
    if (!is_hit) {
        db_matrix_destroy(matrix);
        return error_set(err, ERROR_NOT_FOUND, "the cache has no such matrix");
    }
    atomic_store(&matrix->is_entry, true);
    *out = matrix;
    return 0;
}

/* ---- blocks ---- */

/* Of the block that begins `skipped` rows behind the first of n. */
static uint64_t checksum_of_block(const struct db_matrix *matrix, uint64_t skipped, uint64_t n,
                                  const float *rows)
{
    const uint64_t left = n - skipped;
    return checksum_of(rows + skipped * matrix->header.n_columns,
                       (left < DB_MATRIX_BLOCK_ROWS ? left : DB_MATRIX_BLOCK_ROWS) *
                           row_size(matrix));
}

int db_matrix_write(struct db_matrix *matrix, uint64_t first, uint64_t n, const float *rows,
                    struct error *err)
{
    uint64_t *checksums = matrix->checksums + first / DB_MATRIX_BLOCK_ROWS;
    for (uint64_t row = 0; row < n; row += DB_MATRIX_BLOCK_ROWS)
        *checksums++ = checksum_of_block(matrix, row, n, rows);
    return write_at(matrix, rows, n * row_size(matrix), row_offset(matrix, first), err);
}

int db_matrix_read(struct db_matrix *matrix, uint64_t first, uint64_t n, float *rows,
                   struct error *err)
{
    const uint64_t *checksums = matrix->checksums + first / DB_MATRIX_BLOCK_ROWS;
    int rc = read_at(matrix->fd, rows, n * row_size(matrix), row_offset(matrix, first), err);
    for (uint64_t row = 0; rc == 0 && row < n; row += DB_MATRIX_BLOCK_ROWS) {
        if (checksum_of_block(matrix, row, n, rows) != *checksums++)
            rc =
                error_set(err, ERROR_CORRUPT,
                          "a matrix is not what was written, from row %" PRIu64 " on", first + row);
    }
    if (rc != 0 && atomic_load(&matrix->is_entry))
        db_cache_forget(matrix->cache, matrix->header.key);
    return rc;
}

/* ---- ending ---- */

int db_matrix_keep(struct db_matrix *matrix, struct error *err)
{
    if (matrix->path[0] == '\0')
        return 0;
    matrix->header.checksum = checksum_of(matrix->checksums, table_size(matrix));
    int rc = write_at(matrix, matrix->checksums, table_size(matrix), table_offset(matrix), err);
    if (rc == 0)
        rc = write_at(matrix, &matrix->header, sizeof(matrix->header), 0, err);
    if (rc == 0)
        rc =
            db_cache_place(matrix->cache, matrix->header.key, file_size(matrix), matrix->path, err);
    if (rc != 0)
        return rc;
    matrix->path[0] = '\0';
    atomic_store(&matrix->is_entry, true);
    return 0;
}

void db_matrix_destroy(struct db_matrix *matrix)
{
    if (matrix == NULL)
        return;
    if (matrix->fd >= 0)
        close(matrix->fd);
    if (matrix->path[0] != '\0')
        unlink(matrix->path);
    free(matrix);
}
