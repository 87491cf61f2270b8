/* Files of the cache, DIR/cache/ab/<SHA-256 of the key>.emb. Numbers are in the host's byte order
 * (a file from another one is a miss):
 *
 *     offset  size
 *          0     8  "chipemb3" as a number
 *          8    32  SHA-256 of the key
 *         40     8  rows
 *         48     8  columns
 *         56     8  checksum of the checksums
 *         64        rows x columns words of 32 bits
 *                   a checksum of 8 bytes for each block of rows
 *
 * The checksums are in memory for as long as the entry is open, so that a block is checked each
 * time it is read, whatever happens to the file meanwhile: 8 bytes for 32 rows.
 *
 * Nothing is synced: after a power cut a file with missing bytes fails its checksums and is a miss.
 */
#include "db/store/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/cache_index.h"
#include "db/store/temporary.h"

enum { WORD_SIZE = sizeof(uint32_t) };

static const uint64_t magic = 0x33626d6570696863; /* "chipemb3" on a little-endian host */

struct header {
    uint64_t magic;
    uint8_t key[SHA256_DIGEST_SIZE];
    uint64_t n_rows, n_columns;
    uint64_t checksum;
};
_Static_assert(sizeof(struct header) == 64, "the header is as described above");

struct cache {
    struct cache_index *index;    /* locks for itself; the rest never changes */
    char directory[DB_PATH_SIZE]; /* of the data */
    struct room *room;            /* NULL: of no concern */
};

struct cache_entry {
    struct cache *cache;
    struct header header;
    int fd;
    char path[DB_PATH_SIZE]; /* in DIR/tmp; "": it has none, or not any more */
    atomic_bool is_entry;    /* of the cache */
    uint64_t n_blocks;
    uint64_t checksums[]; /* of the blocks */
};

int cache_create(struct cache **out, const char *directory, uint64_t max_size, struct error *err)
{
    struct cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return error_set_nomem(err, "the cache");
    int rc = db_path(cache->directory, err, "%s", directory);
    if (rc == 0)
        rc = cache_index_create(&cache->index, directory, max_size, err);
    if (rc == 0)
        *out = cache;
    else
        free(cache);
    return rc;
}

void cache_keep_room(struct cache *cache, struct room *room)
{
    cache->room = room;
}

void cache_destroy(struct cache *cache)
{
    if (cache == NULL)
        return;
    cache_index_destroy(cache->index);
    free(cache);
}

void cache_usage(struct cache *cache, uint64_t *size, uint64_t *n_entries)
{
    cache_index_usage(cache->index, size, n_entries);
}

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

/* Half of what a file's offsets can say is left for the checksums. */
static bool is_too_large(uint64_t n_rows, uint64_t n_columns)
{
    return n_rows == 0 || n_columns == 0 || n_columns > INT64_MAX / 2 / WORD_SIZE / n_rows;
}

static uint64_t row_size(const struct cache_entry *entry)
{
    return entry->header.n_columns * WORD_SIZE;
}

static uint64_t row_offset(const struct cache_entry *entry, uint64_t row)
{
    return sizeof(struct header) + row * row_size(entry);
}

static uint64_t checksums_offset(const struct cache_entry *entry)
{
    return row_offset(entry, entry->header.n_rows);
}

static uint64_t checksums_size(const struct cache_entry *entry)
{
    return entry->n_blocks * sizeof(entry->checksums[0]);
}

static uint64_t file_size(const struct cache_entry *entry)
{
    return checksums_offset(entry) + checksums_size(entry);
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
            return db_io_error(err, errno, "reading", "a cache entry");
        if (n == 0)
            return error_set(err, ERROR_CORRUPT, "a cache entry is cut off at byte %" PRIu64,
                             offset);
        bytes += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

static int write_at(const struct cache_entry *entry, const void *data, uint64_t size,
                    uint64_t offset, struct error *err)
{
    const char *bytes = data;
    while (size > 0) {
        const size_t part = size < DB_WRITE_PART ? size : DB_WRITE_PART;
        const ssize_t n = pwrite(entry->fd, bytes, part, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return db_io_error(err, errno, "writing", "a cache entry");
        bytes += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

/* So that a disk that is too small is noticed before anything is computed, where the file system
 * can tell. */
static int reserve(const struct cache_entry *entry, struct error *err)
{
    int rc = entry->cache->room == NULL
                 ? 0
                 : room_require(entry->cache->room, ROOM_CACHE, file_size(entry), err);
    if (rc != 0)
        return rc;
    int result;
    do {
        result = fallocate(entry->fd, 0, 0, (off_t)file_size(entry));
    } while (result != 0 && errno == EINTR);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return 0;
    return error_set_errno(err, errno, "reserving %" PRIu64 " MB of disk for a cache entry",
                           (file_size(entry) + 999999) / 1000000);
}

/* ---- making ---- */

static int entry_new(struct cache_entry **out, struct cache *cache, const char *key,
                     uint64_t n_rows, uint64_t n_columns, struct error *err)
{
    if (is_too_large(n_rows, n_columns))
        return error_set(err, ERROR_INVALID,
                         "a cache entry of %" PRIu64 " x %" PRIu64 " values cannot be stored",
                         n_rows, n_columns);
    const uint64_t n_blocks = (n_rows - 1) / CACHE_BLOCK_ROWS + 1;
    struct cache_entry *entry =
        n_blocks > (PTRDIFF_MAX - sizeof(*entry)) / sizeof(entry->checksums[0])
            ? NULL
            : calloc(1, sizeof(*entry) + n_blocks * sizeof(entry->checksums[0]));
    if (entry == NULL)
        return error_set_nomem(err, "a cache entry");
    entry->cache = cache;
    entry->fd = -1;
    entry->n_blocks = n_blocks;
    entry->header = (struct header){.magic = magic, .n_rows = n_rows, .n_columns = n_columns};
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, strlen(key), (const uint8_t *)key);
    sha256_digest(&hash, SHA256_DIGEST_SIZE, entry->header.key);
    *out = entry;
    return 0;
}

int cache_entry_create(struct cache_entry **out, struct cache *cache, const char *key,
                       uint64_t n_rows, uint64_t n_columns, struct error *err)
{
    struct cache_entry *entry = NULL;
    int rc = entry_new(&entry, cache, key, n_rows, n_columns, err);
    if (rc == 0)
        rc = db_temporary_create(cache->directory, &entry->fd, entry->path, err);
    if (rc != 0)
        goto out;
    if (file_size(entry) > cache_index_max_size(cache->index)) {
        unlink(entry->path); /* nothing is left of it after a crash */
        entry->path[0] = '\0';
    }
    rc = reserve(entry, err);
out:
    if (rc != 0)
        cache_entry_destroy(entry);
    else
        *out = entry;
    return rc;
}

static int open_entry(struct cache_entry *entry, struct error *err)
{
    struct header header;
    struct stat status;
    char path[DB_PATH_SIZE];
    int rc = cache_index_path(entry->cache->index, entry->header.key, path, err);
    if (rc != 0)
        return rc;
    entry->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (entry->fd < 0 || fstat(entry->fd, &status) != 0)
        return db_io_error(err, errno, "opening", path);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != file_size(entry))
        return error_set(err, ERROR_CORRUPT, "%s is no such entry", path);
    rc = read_at(entry->fd, &header, sizeof(header), 0, err);
    if (rc == 0)
        rc = read_at(entry->fd, entry->checksums, checksums_size(entry), checksums_offset(entry),
                     err);
    if (rc != 0)
        return rc;
    entry->header.checksum = checksum_of(entry->checksums, checksums_size(entry));
    if (memcmp(&header, &entry->header, sizeof(header)) != 0)
        return error_set(err, ERROR_CORRUPT, "%s is not what was written", path);
    /* The next start takes the order of use from here. */
    futimens(entry->fd, NULL);
    return 0;
}

int cache_entry_open(struct cache_entry **out, struct cache *cache, const char *key,
                     uint64_t n_rows, uint64_t n_columns, struct error *err)
{
    struct cache_entry *entry = NULL;
    int rc = entry_new(&entry, cache, key, n_rows, n_columns, err);
    if (rc == ERROR_NOMEM)
        return rc;
    bool is_hit = false;
    if (rc == 0 && cache_index_use(cache->index, entry->header.key)) {
        is_hit = open_entry(entry, NULL) == 0;
        if (!is_hit)
            cache_index_forget(cache->index, entry->header.key);
    }
    if (!is_hit) {
        cache_entry_destroy(entry);
        return error_set(err, ERROR_NOT_FOUND, "the cache has no such entry");
    }
    atomic_store(&entry->is_entry, true);
    *out = entry;
    return 0;
}

/* ---- blocks ---- */

/* Of the block that begins `skipped` rows behind the first of n. */
static uint64_t checksum_of_block(const struct cache_entry *entry, uint64_t skipped, uint64_t n,
                                  const void *rows)
{
    const uint64_t left = n - skipped;
    return checksum_of((const char *)rows + skipped * row_size(entry),
                       (left < CACHE_BLOCK_ROWS ? left : CACHE_BLOCK_ROWS) * row_size(entry));
}

int cache_entry_write(struct cache_entry *entry, uint64_t first, uint64_t n, const void *rows,
                      struct error *err)
{
    uint64_t *checksums = entry->checksums + first / CACHE_BLOCK_ROWS;
    for (uint64_t row = 0; row < n; row += CACHE_BLOCK_ROWS)
        *checksums++ = checksum_of_block(entry, row, n, rows);
    return write_at(entry, rows, n * row_size(entry), row_offset(entry, first), err);
}

int cache_entry_read(struct cache_entry *entry, uint64_t first, uint64_t n, void *rows,
                     struct error *err)
{
    const uint64_t *checksums = entry->checksums + first / CACHE_BLOCK_ROWS;
    int rc = read_at(entry->fd, rows, n * row_size(entry), row_offset(entry, first), err);
    for (uint64_t row = 0; rc == 0 && row < n; row += CACHE_BLOCK_ROWS) {
        if (checksum_of_block(entry, row, n, rows) != *checksums++)
            rc = error_set(err, ERROR_CORRUPT,
                           "a cache entry is not what was written, from row %" PRIu64 " on",
                           first + row);
    }
    if (rc != 0 && atomic_load(&entry->is_entry))
        cache_index_forget(entry->cache->index, entry->header.key);
    return rc;
}

/* ---- ending ---- */

int cache_entry_keep(struct cache_entry *entry, struct error *err)
{
    if (entry->path[0] == '\0')
        return 0;
    entry->header.checksum = checksum_of(entry->checksums, checksums_size(entry));
    int rc = write_at(entry, entry->checksums, checksums_size(entry), checksums_offset(entry), err);
    if (rc == 0)
        rc = write_at(entry, &entry->header, sizeof(entry->header), 0, err);
    if (rc == 0)
        rc = cache_index_place(entry->cache->index, entry->header.key, file_size(entry),
                               entry->path, err);
    if (rc != 0)
        return rc;
    entry->path[0] = '\0';
    atomic_store(&entry->is_entry, true);
    return 0;
}

void cache_entry_destroy(struct cache_entry *entry)
{
    if (entry == NULL)
        return;
    if (entry->fd >= 0)
        close(entry->fd);
    if (entry->path[0] != '\0')
        unlink(entry->path);
    free(entry);
}

/* ---- whole tables ---- */

int cache_get(struct cache *cache, const char *key, uint64_t n_rows, uint64_t n_columns, void *out,
              struct error *err)
{
    struct cache_entry *entry = NULL;
    int rc = cache_entry_open(&entry, cache, key, n_rows, n_columns, err);
    if (rc == 0)
        rc = cache_entry_read(entry, 0, n_rows, out, err);
    cache_entry_destroy(entry);
    return rc == 0 ? 0 : error_set(err, ERROR_NOT_FOUND, "the cache has no such entry");
}

/* Whether a table is larger than the cache. What no file could hold cache_entry_create refuses. */
static bool is_over(const struct cache *cache, uint64_t n_rows, uint64_t n_columns)
{
    const uint64_t n_words_max = UINT64_MAX / WORD_SIZE;
    return n_rows > 0 && n_columns <= n_words_max / n_rows &&
           n_rows * n_columns * WORD_SIZE > cache_index_max_size(cache->index);
}

int cache_put(struct cache *cache, const char *key, uint64_t n_rows, uint64_t n_columns,
              const void *words, struct error *err)
{
    struct cache_entry *entry = NULL;
    if (is_over(cache, n_rows, n_columns))
        return 0;
    int rc = cache_entry_create(&entry, cache, key, n_rows, n_columns, err);
    if (rc == 0)
        rc = cache_entry_write(entry, 0, n_rows, words, err);
    if (rc == 0)
        rc = cache_entry_keep(entry, err);
    cache_entry_destroy(entry);
    return rc;
}
