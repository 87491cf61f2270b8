/* The embedding cache: which entries there are, and which goes first. db/matrix.c knows what is in
 * them.
 *
 * File DIR/cache/ab/<SHA-256 of the key>.emb. Which files there are, their sizes and their order of
 * use are kept in memory: a hash table over a doubly linked list, most recently used first.
 * Invariant: total_size is the sum of the entries' sizes, and at most max_size whenever the mutex
 * is free. A file is renamed into place and entered under the mutex, so eviction cannot meet a file
 * that is being written. What was deleted behind our back is noticed when it is asked for.
 */
#include "db/cache.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/sha2.h>

#include "base/hex.h"
#include "db/cache_store.h"
#include "db/connection.h"
#include "db/matrix.h"

enum { N_BUCKETS = 4096 };

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

uint64_t db_cache_max_size(const struct db_cache *cache)
{
    return cache->max_size;
}

int db_cache_path(const struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE],
                  char out[DB_PATH_SIZE], struct error *err)
{
    char name[DB_SHA256_SIZE];
    hex_encode(key, SHA256_DIGEST_SIZE, name);
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
        if (db_cache_path(cache, entry->key, path, NULL) == 0)
            unlink(path);
        remove_entry(cache, find_link(cache, entry->key));
    }
}

void db_cache_forget(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE])
{
    char path[DB_PATH_SIZE];
    pthread_mutex_lock(&cache->mutex);
    struct entry **link = find_link(cache, key);
    if (*link != NULL) {
        if (db_cache_path(cache, key, path, NULL) == 0)
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
    if (strlen(name) != 2 * SHA256_DIGEST_SIZE + 4 ||
        strcmp(name + 2 * SHA256_DIGEST_SIZE, ".emb") != 0 ||
        strspn(name, "0123456789abcdef") < 2 * SHA256_DIGEST_SIZE)
        return false;
    return hex_decode(name, SHA256_DIGEST_SIZE, key);
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

/* ---- entries ---- */

bool db_cache_use(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE])
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

/* Makes DIR/cache/ab, also when DIR/cache was deleted. */
static int create_folder(const struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE],
                         struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/cache/%02x", cache->directory, key[0]);
    return rc != 0 ? rc : db_directory_create_all(path, err);
}

int db_cache_place(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE], uint64_t size,
                   const char *temporary, struct error *err)
{
    char path[DB_PATH_SIZE];
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return error_set_nomem(err, "a cache entry");
    memcpy(entry->key, key, sizeof(entry->key));
    entry->size = size;
    int rc = create_folder(cache, key, err);
    if (rc == 0)
        rc = db_cache_path(cache, key, path, err);
    if (rc != 0) {
        free(entry);
        return rc;
    }
    pthread_mutex_lock(&cache->mutex);
    if (rename(temporary, path) != 0) {
        rc = db_io_error(err, errno, "renaming", temporary);
        free(entry);
    } else {
        enter(cache, entry);
        evict(cache);
    }
    pthread_mutex_unlock(&cache->mutex);
    return rc;
}

/* ---- whole matrices ---- */

int db_cache_get(struct db *db, const char *key, uint64_t n_rows, uint64_t n_columns, float *out,
                 struct error *err)
{
    struct db_matrix *matrix = NULL;
    int rc = db_matrix_open(&matrix, db, key, n_rows, n_columns, err);
    if (rc == 0)
        rc = db_matrix_read(matrix, 0, n_rows, out, err);
    db_matrix_destroy(matrix);
    return rc == 0 ? 0 : error_set(err, ERROR_NOT_FOUND, "the cache has no such matrix");
}

/* Whether a matrix is larger than the cache. What no file could hold db_matrix_create refuses. */
static bool is_over(const struct db_cache *cache, uint64_t n_rows, uint64_t n_columns)
{
    const uint64_t n_values_max = UINT64_MAX / sizeof(float);
    return n_rows > 0 && n_columns <= n_values_max / n_rows &&
           n_rows * n_columns * sizeof(float) > cache->max_size;
}

int db_cache_put(struct db *db, const char *key, uint64_t n_rows, uint64_t n_columns,
                 const float *data, struct error *err)
{
    struct db_matrix *matrix = NULL;
    if (is_over(db->cache, n_rows, n_columns))
        return 0;
    int rc = db_matrix_create(&matrix, db, key, n_rows, n_columns, err);
    if (rc == 0)
        rc = db_matrix_write(matrix, 0, n_rows, data, err);
    if (rc == 0)
        rc = db_matrix_keep(matrix, err);
    db_matrix_destroy(matrix);
    return rc;
}

void db_cache_usage(struct db *db, uint64_t *size, uint64_t *n_entries)
{
    pthread_mutex_lock(&db->cache->mutex);
    *size = db->cache->total_size;
    *n_entries = db->cache->n_entries;
    pthread_mutex_unlock(&db->cache->mutex);
}
