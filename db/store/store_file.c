/* Files of a store that are mapped, and what is known of what is in them. */
#include "db/store/inside.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "db/store/content_hash.h"
#include "db/store/files.h"
#include "db/text.h"

/* ---- verdicts ---- */

static int damaged(const char *sha256, const char *hash, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, "its file is damaged: its SHA-256 is %s and not %s", hash,
                     sha256);
}

int store_note_hash(struct store *store, const char *sha256, const struct file_identity *identity,
                    const char *hash, struct error *err)
{
    bool is_news = false;
    const bool is_whole =
        verdicts_note(store->verdicts, sha256, identity, hash, &is_news) == VERDICT_WHOLE;
    if (is_news)
        store_tell(store, is_whole ? STORE_HEALED : STORE_DAMAGED, sha256);
    return is_whole ? 0 : damaged(sha256, hash, err);
}

int store_known_hash(struct store *store, const char *sha256, const struct file_identity *identity,
                     struct error *err)
{
    char hash[DB_SHA256_SIZE];
    switch (verdicts_find(store->verdicts, sha256, identity, hash)) {
    case VERDICT_NONE:
        break;
    case VERDICT_WHOLE:
        return 0;
    case VERDICT_DAMAGED:
        return damaged(sha256, hash, err);
    }
    return ERROR_NOT_FOUND;
}

void store_verified(struct store *store, uint64_t *n_verified, uint64_t *n_damaged)
{
    verdicts_count(store->verdicts, n_verified, n_damaged);
}

/* ---- mapped files ---- */

static int require_name(const char *sha256, struct error *err)
{
    return db_text_is_sha256(sha256)
               ? 0
               : error_set(err, ERROR_NOT_FOUND, "a blob's name is not a SHA-256");
}

int store_file_size(struct store *store, const char *sha256, uint64_t *size, struct error *err)
{
    int rc = require_name(sha256, err);
    return rc != 0 ? rc : store->driver->size(store->place, sha256, size, err);
}

int store_file_open_unchecked(struct store *store, const char *sha256, struct store_file *out,
                              struct error *err)
{
    struct store_file file = {.store = store};
    int fd = -1;
    void *map = NULL;
    int rc = require_name(sha256, err);
    if (rc == 0)
        rc = store->driver->open(store->place, sha256, &fd, &file.size, err);
    if (rc != 0)
        return rc;
    rc = file_identity_read(&file.identity, fd, err);
    if (rc == 0 && file.size > 0) {
        map = mmap(NULL, file.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            rc = db_io_error(err, errno, "mapping the blob", sha256);
    }
    close(fd);
    if (rc != 0)
        return rc;
    memcpy(file.sha256, sha256, DB_SHA256_SIZE);
    file.data = map;
    *out = file;
    return 0;
}

/* A large file is in memory part by part. */
static int hash_map(const struct store_file *file, const struct cancel *cancel,
                    char out[DB_SHA256_SIZE], struct error *err)
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    for (size_t first = 0; first < file->size; first += STORE_FILE_PART) {
        const size_t left = file->size - first;
        const size_t size = left < STORE_FILE_PART ? left : STORE_FILE_PART;
        if (cancel_is_asked(cancel))
            return error_set(err, ERROR_CANCELLED, "checking its file was called off");
        sha256_update(&hash, size, (const uint8_t *)file->data + first);
        if (file->size > STORE_FILE_PART)
            store_file_forget(file, first, size);
    }
    db_hash_text(&hash, out);
    return 0;
}

int store_file_check(const struct store_file *file, const struct cancel *cancel, struct error *err)
{
    char hash[DB_SHA256_SIZE];
    int rc = store_known_hash(file->store, file->sha256, &file->identity, err);
    if (rc != ERROR_NOT_FOUND)
        return rc;
    rc = hash_map(file, cancel, hash, err);
    return rc != 0 ? rc : store_note_hash(file->store, file->sha256, &file->identity, hash, err);
}

int store_file_open(struct store *store, const char *sha256, const struct cancel *cancel,
                    struct store_file *out, struct error *err)
{
    struct store_file file = {.store = store};
    int rc = store_file_open_unchecked(store, sha256, &file, err);
    if (rc == 0)
        rc = store_file_check(&file, cancel, err);
    if (rc == 0)
        *out = file;
    else
        store_file_close(&file);
    return rc;
}

void store_file_close(struct store_file *file)
{
    if (file->data != NULL)
        munmap((void *)file->data, file->size);
    file->data = NULL;
    file->size = 0;
}

void store_file_forget(const struct store_file *file, size_t first, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (first >= file->size || size > file->size - first)
        return;
    /* Whole pages, of which the last one of the file may be less. */
    const size_t begin = (first + page - 1) / page * page;
    const size_t end = first + size == file->size ? file->size : (first + size) / page * page;
    if (begin < end)
        madvise((char *)file->data + begin, end - begin, MADV_DONTNEED);
}
