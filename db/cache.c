/* The embedding cache.
 *
 * File DIR/cache/ab/<SHA-256 of the key>.emb, numbers in the host's byte order (a file from another
 * one is a miss):
 *
 *     offset  size
 *          0     8  "chipemb2" as a number
 *          8    32  SHA-256 of the key
 *         40     8  rows
 *         48     8  columns
 *         56     8  checksum of the payload
 *         64        rows x columns float32
 *
 * Which files there are, their sizes and their order of use are kept in memory: a hash table over a
 * doubly linked list, most recently used first. Invariant: total_size is the sum of the entries'
 * sizes, and at most max_size whenever the mutex is free. A file is renamed into place and entered
 * under the mutex, so eviction cannot meet a file that is being written. What was deleted behind
 * our back is noticed when it is asked for.
 *
 * Nothing is synced: after a power cut a file with missing bytes fails its checksum and is a miss.
 */
#include "db/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/sha2.h>

#include "db/cache_store.h"
#include "db/connection.h"
#include "db/text.h"

enum { N_BUCKETS = 4096 };

static const uint64_t magic = 0x32626d6570696863; /* "chipemb2" on a little-endian host */

struct header {
    uint64_t magic;
    uint8_t key[SHA256_DIGEST_SIZE];
    uint64_t n_rows, n_columns;
    uint64_t checksum;
};
_Static_assert(sizeof(struct header) == 64, "the header is what the table says");

struct entry {
    uint8_t key[SHA256_DIGEST_SIZE];
    uint64_t size;   /* of the file */
    int64_t used_ns; /* while opening: modification time */
    struct entry *next_in_bucket;
    struct entry *newer, *older;
};

struct db_cache {
    char *directory; /* of the data */
    uint64_t max_size;
    pthread_mutex_t mutex; /* guards what follows */
    struct entry *buckets[N_BUCKETS];
    struct entry *newest, *oldest;
    uint64_t total_size;
    uint64_t n_entries;
};

/* Guards against damage, not malice: FNV-1a over 64-bit words with a fold each, in so many lanes
 * that no multiplication waits for another and it keeps up with memory. */
static uint64_t checksum_of(const float *data, uint64_t n_values)
{
    enum { LANES = 8 };
    const uint64_t prime = 0x100000001b3;
    uint64_t lanes[LANES] = {0xcbf29ce484222325, 1, 2, 3, 4, 5, 6, 7}, words[LANES];
    const char *bytes = (const char *)data;
    uint64_t left = n_values * sizeof(float);
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
    uint64_t sum = n_values;
    for (int k = 0; k < LANES; k++) {
        sum = (sum ^ lanes[k]) * prime;
        sum ^= sum >> 32;
    }
    return sum;
}

static void hash_key(const char *key, uint8_t out[SHA256_DIGEST_SIZE])
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, strlen(key), (const uint8_t *)key);
    sha256_digest(&hash, SHA256_DIGEST_SIZE, out);
}

static int file_path(const struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE],
                     char out[DB_PATH_SIZE], struct error *err)
{
    char name[DB_SHA256_SIZE];
    db_text_from_digest(key, name);
    return db_path(out, err, "%s/cache/%.2s/%s.emb", cache->directory, name, name);
}

/* ---- the index, under the mutex ---- */

static struct entry **find_link(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE])
{
    struct entry **link = &cache->buckets[(key[0] | key[1] << 8) % N_BUCKETS];
    while (*link != NULL && memcmp((*link)->key, key, SHA256_DIGEST_SIZE) != 0)
        link = &(*link)->next_in_bucket;
    return link;
}

static void unlink_use(struct db_cache *cache, struct entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_newest(struct db_cache *cache, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void remove_entry(struct db_cache *cache, struct entry **link)
{
    struct entry *entry = *link;
    *link = entry->next_in_bucket;
    unlink_use(cache, entry);
    cache->total_size -= entry->size;
    cache->n_entries--;
    free(entry);
}

/* Enters a key as the most recently used, or gives the one that exists its new size. Takes `fresh`
 * (owned). */
static void enter(struct db_cache *cache, struct entry *fresh)
{
    struct entry **link = find_link(cache, fresh->key);
    if (*link != NULL)
        remove_entry(cache, link);
    link = find_link(cache, fresh->key);
    fresh->next_in_bucket = *link;
    *link = fresh;
    link_newest(cache, fresh);
    cache->total_size += fresh->size;
    cache->n_entries++;
}

static void evict(struct db_cache *cache)
{
    char path[DB_PATH_SIZE];
    while (cache->total_size > cache->max_size) {
        struct entry *entry = cache->oldest;
        if (file_path(cache, entry->key, path, NULL) == 0)
            unlink(path);
        remove_entry(cache, find_link(cache, entry->key));
    }
}

static void forget(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE])
{
    char path[DB_PATH_SIZE];
    pthread_mutex_lock(&cache->mutex);
    struct entry **link = find_link(cache, key);
    if (*link != NULL) {
        if (file_path(cache, key, path, NULL) == 0)
            unlink(path);
        remove_entry(cache, link);
    }
    pthread_mutex_unlock(&cache->mutex);
}

/* ---- opening ---- */

/* What one scan of DIR/cache found. */
struct scan {
    const char *directory;
    char folder[3];
    struct entry **entries;
    size_t n_entries, n_allocated;
};

static bool parse_name(const char *name, uint8_t key[SHA256_DIGEST_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(name) != 2 * SHA256_DIGEST_SIZE + 4 ||
        strcmp(name + 2 * SHA256_DIGEST_SIZE, ".emb") != 0 ||
        strspn(name, digits) < 2 * SHA256_DIGEST_SIZE)
        return false;
    for (size_t i = 0; i < SHA256_DIGEST_SIZE; i++)
        key[i] = (uint8_t)((strchr(digits, name[2 * i]) - digits) << 4 |
                           (strchr(digits, name[2 * i + 1]) - digits));
    return true;
}

static int scan_file(const char *name, void *context, struct error *err)
{
    struct scan *scan = context;
    char path[DB_PATH_SIZE];
    struct stat status;
    uint8_t key[SHA256_DIGEST_SIZE];
    if (!parse_name(name, key) || strncmp(name, scan->folder, 2) != 0)
        return 0;
    int rc = db_path(path, err, "%s/cache/%s/%s", scan->directory, scan->folder, name);
    if (rc != 0 || lstat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return rc;
    if (scan->n_entries == scan->n_allocated) {
        size_t n = scan->n_allocated == 0 ? 256 : scan->n_allocated * 2;
        void *entries = reallocarray(scan->entries, n, sizeof(struct entry *));
        if (entries == NULL)
            return error_set_nomem(err, "the cache's index");
        scan->entries = entries;
        scan->n_allocated = n;
    }
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return error_set_nomem(err, "the cache's index");
    memcpy(entry->key, key, sizeof(key));
    entry->size = (uint64_t)status.st_size;
    entry->used_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    scan->entries[scan->n_entries++] = entry;
    return 0;
}

static int by_use(const void *a, const void *b)
{
    const struct entry *first = *(struct entry *const *)a;
    const struct entry *second = *(struct entry *const *)b;
    return (first->used_ns > second->used_ns) - (first->used_ns < second->used_ns);
}

static int scan_all(struct scan *scan, struct error *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < 256; i++) {
        char path[DB_PATH_SIZE];
        snprintf(scan->folder, sizeof(scan->folder), "%02x", i & 0xff);
        rc = db_path(path, err, "%s/cache/%s", scan->directory, scan->folder);
        if (rc == 0)
            rc = db_directory_visit(path, scan_file, scan, err);
    }
    return rc;
}

int db_cache_open(struct db_cache **out, const char *directory, uint64_t max_size,
                  struct error *err)
{
    struct scan scan = {.directory = directory};
    struct db_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return error_set_nomem(err, "the cache");
    pthread_mutex_init(&cache->mutex, NULL);
    cache->max_size = max_size;
    cache->directory = strdup(directory);
    int rc = cache->directory == NULL ? error_set_nomem(err, "the cache") : scan_all(&scan, err);
    if (rc == 0) {
        if (scan.n_entries > 0)
            qsort(scan.entries, scan.n_entries, sizeof(struct entry *), by_use);
        for (size_t i = 0; i < scan.n_entries; i++)
            enter(cache, scan.entries[i]);
        evict(cache);
        *out = cache;
    } else {
        for (size_t i = 0; i < scan.n_entries; i++)
            free(scan.entries[i]);
        db_cache_close(cache);
    }
    free(scan.entries);
    return rc;
}

void db_cache_close(struct db_cache *cache)
{
    if (cache == NULL)
        return;
    while (cache->newest != NULL)
        remove_entry(cache, find_link(cache, cache->newest->key));
    pthread_mutex_destroy(&cache->mutex);
    free(cache->directory);
    free(cache);
}

/* ---- reading ---- */

static bool read_fully(int fd, void *out, uint64_t size)
{
    char *bytes = out;
    while (size > 0) {
        ssize_t n = read(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        size -= (uint64_t)n;
    }
    return true;
}

static bool read_file(int fd, const uint8_t key[SHA256_DIGEST_SIZE], uint64_t n_rows,
                      uint64_t n_columns, float *out)
{
    struct header header;
    char extra;
    if (!read_fully(fd, &header, sizeof(header)) || header.magic != magic ||
        memcmp(header.key, key, SHA256_DIGEST_SIZE) != 0 || header.n_rows != n_rows ||
        header.n_columns != n_columns)
        return false;
    return read_fully(fd, out, n_rows * n_columns * sizeof(float)) && read(fd, &extra, 1) == 0 &&
           checksum_of(out, n_rows * n_columns) == header.checksum;
}

/* Moves the key to the front; false when it is not in the index. */
static bool use(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE])
{
    pthread_mutex_lock(&cache->mutex);
    struct entry *entry = *find_link(cache, key);
    if (entry != NULL) {
        unlink_use(cache, entry);
        link_newest(cache, entry);
    }
    pthread_mutex_unlock(&cache->mutex);
    return entry != NULL;
}

static bool is_too_large(uint64_t n_rows, uint64_t n_columns)
{
    return n_rows == 0 || n_columns == 0 ||
           n_columns > (INT64_MAX - sizeof(struct header)) / sizeof(float) / n_rows;
}

int db_cache_get(struct db *db, const char *key, uint64_t n_rows, uint64_t n_columns, float *out,
                 struct error *err)
{
    struct db_cache *cache = db->cache;
    uint8_t digest[SHA256_DIGEST_SIZE];
    char path[DB_PATH_SIZE];
    bool hit = false;
    hash_key(key, digest);
    if (!is_too_large(n_rows, n_columns) && use(cache, digest) &&
        file_path(cache, digest, path, NULL) == 0) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd >= 0) {
            hit = read_file(fd, digest, n_rows, n_columns, out);
            /* The next start takes the order of use from here. */
            if (hit)
                futimens(fd, NULL);
            close(fd);
        }
        if (!hit)
            forget(cache, digest);
    }
    return hit ? 0 : error_set(err, ERROR_NOT_FOUND, "the cache has no such matrix");
}

/* ---- writing ---- */

static int write_file(const struct db_cache *cache, const struct header *header, const float *data,
                      char path[DB_PATH_SIZE], struct error *err)
{
    int fd = -1;
    int rc = db_temporary_create(cache->directory, &fd, path, err);
    if (rc != 0)
        return rc;
    rc = db_file_write(fd, path, header, sizeof(*header), err);
    if (rc == 0)
        rc = db_file_write(fd, path, data, header->n_rows * header->n_columns * sizeof(float), err);
    if (close(fd) != 0 && rc == 0)
        rc = db_io_error(err, errno, "closing", path);
    if (rc != 0)
        unlink(path);
    return rc;
}

/* Makes DIR/cache/ab, also when DIR/cache was deleted. */
static int create_folder(const struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE],
                         struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/cache/%02x", cache->directory, key[0]);
    return rc != 0 ? rc : db_directory_create_all(path, err);
}

static int place(struct db_cache *cache, const char *temporary, struct entry *entry,
                 struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = file_path(cache, entry->key, path, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&cache->mutex);
    if (rename(temporary, path) != 0) {
        rc = db_io_error(err, errno, "renaming", temporary);
    } else {
        enter(cache, entry);
        evict(cache);
    }
    pthread_mutex_unlock(&cache->mutex);
    return rc;
}

int db_cache_put(struct db *db, const char *key, uint64_t n_rows, uint64_t n_columns,
                 const float *data, struct error *err)
{
    struct db_cache *cache = db->cache;
    struct header header = {.magic = magic, .n_rows = n_rows, .n_columns = n_columns};
    char temporary[DB_PATH_SIZE];
    if (is_too_large(n_rows, n_columns))
        return error_set(err, ERROR_INVALID, "cache: %llu x %llu values cannot be stored",
                         (unsigned long long)n_rows, (unsigned long long)n_columns);
    uint64_t size = sizeof(header) + n_rows * n_columns * sizeof(float);
    if (size > cache->max_size)
        return 0;
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return error_set_nomem(err, "a cache entry");
    hash_key(key, header.key);
    header.checksum = checksum_of(data, n_rows * n_columns);
    memcpy(entry->key, header.key, sizeof(entry->key));
    entry->size = size;
    int rc = create_folder(cache, header.key, err);
    if (rc == 0)
        rc = write_file(cache, &header, data, temporary, err);
    if (rc != 0) {
        free(entry);
        return rc;
    }
    rc = place(cache, temporary, entry, err);
    if (rc != 0) {
        free(entry);
        unlink(temporary);
    }
    return rc;
}

void db_cache_usage(struct db *db, uint64_t *size, uint64_t *n_entries)
{
    pthread_mutex_lock(&db->cache->mutex);
    *size = db->cache->total_size;
    *n_entries = db->cache->n_entries;
    pthread_mutex_unlock(&db->cache->mutex);
}
