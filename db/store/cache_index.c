/* The index of the cache: a hash table over a doubly linked list, most recently used first, with
 * the size of each file.
 *
 * Invariant: an entry is in the bucket of its key and in the list; total_size is the sum of the
 * entries' sizes, and at most max_size whenever the mutex is free. A file is renamed into place and
 * entered under the mutex, so eviction cannot meet a file that is being written. What was deleted
 * behind our back is noticed when it is asked for.
 */
#include "db/store/cache_index.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "db/id.h"
#include "db/store/files.h"

enum { N_BUCKETS = 4096 };

struct entry {
    uint8_t key[SHA256_DIGEST_SIZE];
    uint64_t size;   /* of the file */
    int64_t used_ns; /* while opening: modification time */
    struct entry *next_in_bucket;
    struct entry *newer, *older;
};

struct cache_index {
    char *directory; /* of the data */
    uint64_t max_size;
    pthread_mutex_t mutex; /* guards what follows */
    struct entry *buckets[N_BUCKETS];
    struct entry *newest, *oldest;
    uint64_t total_size;
    uint64_t n_entries;
};

uint64_t cache_index_max_size(const struct cache_index *index)
{
    return index->max_size;
}

int cache_index_path(const struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE],
                     char out[DB_PATH_SIZE], struct error *err)
{
    char name[DB_SHA256_SIZE];
    hex_encode(key, SHA256_DIGEST_SIZE, name);
    return db_path(out, err, "%s/cache/%.2s/%s.emb", index->directory, name, name);
}

/* ---- the index, under the mutex ---- */

static struct entry **find_link(struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE])
{
    struct entry **link = &index->buckets[(key[0] | key[1] << 8) % N_BUCKETS];
    while (*link != NULL && memcmp((*link)->key, key, SHA256_DIGEST_SIZE) != 0)
        link = &(*link)->next_in_bucket;
    return link;
}

/* The invariant; for assert. It walks the whole list: at the begin and the end of the index. */
static bool index_check(struct cache_index *index)
{
    uint64_t n = 0, size = 0;
    const struct entry *newer = NULL;
    for (const struct entry *entry = index->newest; entry != NULL; entry = entry->older) {
        if (entry->newer != newer || *find_link(index, entry->key) != entry)
            return false;
        n++;
        size += entry->size;
        newer = entry;
    }
    return index->oldest == newer && index->n_entries == n && index->total_size == size &&
           size <= index->max_size;
}

/* What of the invariant shows at the ends of the list; for assert, whenever the mutex is freed. */
static bool ends_check(const struct cache_index *index)
{
    if (index->newest == NULL || index->oldest == NULL)
        return index->newest == index->oldest && index->n_entries == 0 && index->total_size == 0;
    return index->newest->newer == NULL && index->oldest->older == NULL && index->n_entries > 0 &&
           index->total_size <= index->max_size;
}

static void unlink_use(struct cache_index *index, struct entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &index->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &index->oldest) = entry->newer;
}

static void link_newest(struct cache_index *index, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = index->newest;
    *(index->newest != NULL ? &index->newest->newer : &index->oldest) = entry;
    index->newest = entry;
}

static void remove_entry(struct cache_index *index, struct entry **link)
{
    struct entry *entry = *link;
    *link = entry->next_in_bucket;
    unlink_use(index, entry);
    index->total_size -= entry->size;
    index->n_entries--;
    free(entry);
}

/* Enters a key as the most recently used, or gives the one that exists its new size. Takes `fresh`
 * (owned). */
static void enter(struct cache_index *index, struct entry *fresh)
{
    struct entry **link = find_link(index, fresh->key);
    if (*link != NULL)
        remove_entry(index, link);
    link = find_link(index, fresh->key);
    fresh->next_in_bucket = *link;
    *link = fresh;
    link_newest(index, fresh);
    index->total_size += fresh->size;
    index->n_entries++;
}

static void evict(struct cache_index *index)
{
    char path[DB_PATH_SIZE];
    while (index->total_size > index->max_size) {
        struct entry *entry = index->oldest;
        if (cache_index_path(index, entry->key, path, NULL) == 0)
            unlink(path);
        remove_entry(index, find_link(index, entry->key));
    }
}

void cache_index_forget(struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE])
{
    char path[DB_PATH_SIZE];
    pthread_mutex_lock(&index->mutex);
    struct entry **link = find_link(index, key);
    if (*link != NULL) {
        if (cache_index_path(index, key, path, NULL) == 0)
            unlink(path);
        remove_entry(index, link);
    }
    assert(ends_check(index));
    pthread_mutex_unlock(&index->mutex);
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

int cache_index_create(struct cache_index **out, const char *directory, uint64_t max_size,
                       struct error *err)
{
    struct scan scan = {.directory = directory};
    struct cache_index *index = calloc(1, sizeof(*index));
    if (index == NULL)
        return error_set_nomem(err, "the cache's index");
    pthread_mutex_init(&index->mutex, NULL);
    index->max_size = max_size;
    index->directory = strdup(directory);
    int rc =
        index->directory == NULL ? error_set_nomem(err, "the cache's index") : scan_all(&scan, err);
    if (rc == 0) {
        if (scan.n_entries > 0)
            qsort(scan.entries, scan.n_entries, sizeof(struct entry *), by_use);
        for (size_t i = 0; i < scan.n_entries; i++)
            enter(index, scan.entries[i]);
        evict(index);
        assert(index_check(index));
        *out = index;
    } else {
        for (size_t i = 0; i < scan.n_entries; i++)
            free(scan.entries[i]);
        cache_index_destroy(index);
    }
    free(scan.entries);
    return rc;
}

void cache_index_destroy(struct cache_index *index)
{
    if (index == NULL)
        return;
    assert(index_check(index));
    while (index->newest != NULL)
        remove_entry(index, find_link(index, index->newest->key));
    pthread_mutex_destroy(&index->mutex);
    free(index->directory);
    free(index);
}

/* ---- entries ---- */

bool cache_index_use(struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE])
{
    pthread_mutex_lock(&index->mutex);
    struct entry *entry = *find_link(index, key);
    if (entry != NULL) {
        unlink_use(index, entry);
        link_newest(index, entry);
    }
    assert(ends_check(index));
    pthread_mutex_unlock(&index->mutex);
    return entry != NULL;
}

/* Makes DIR/cache/ab, also when DIR/cache was deleted. */
static int create_folder(const struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE],
                         struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/cache", index->directory);
    if (rc == 0)
        rc = db_directory_create(path, err);
    if (rc == 0)
        rc = db_path(path, err, "%s/cache/%02x", index->directory, key[0]);
    return rc != 0 ? rc : db_directory_create(path, err);
}

int cache_index_place(struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE],
                      uint64_t size, const char *temporary, struct error *err)
{
    char path[DB_PATH_SIZE];
    struct entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return error_set_nomem(err, "a cache entry");
    memcpy(entry->key, key, sizeof(entry->key));
    entry->size = size;
    int rc = create_folder(index, key, err);
    if (rc == 0)
        rc = cache_index_path(index, key, path, err);
    if (rc != 0) {
        free(entry);
        return rc;
    }
    pthread_mutex_lock(&index->mutex);
    if (rename(temporary, path) != 0) {
        rc = db_io_error(err, errno, "renaming", temporary);
        free(entry);
    } else {
        enter(index, entry);
        evict(index);
    }
    assert(ends_check(index));
    pthread_mutex_unlock(&index->mutex);
    return rc;
}

void cache_index_usage(struct cache_index *index, uint64_t *size, uint64_t *n_entries)
{
    pthread_mutex_lock(&index->mutex);
    *size = index->total_size;
    *n_entries = index->n_entries;
    pthread_mutex_unlock(&index->mutex);
}
