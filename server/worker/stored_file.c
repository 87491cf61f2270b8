#include "server/worker/stored_file.h"

#include <nettle/sha2.h>

#include "base/hex.h"

/* A large file is in memory part by part. */
static void hash(const struct store_file *file, char out[DB_SHA256_SIZE])
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    for (size_t first = 0; first < file->size; first += STORED_FILE_PART) {
        const size_t left = file->size - first;
        const size_t size = left < STORED_FILE_PART ? left : STORED_FILE_PART;
        sha256_update(&context, size, (const uint8_t *)file->data + first);
        if (file->size > STORED_FILE_PART)
            store_file_forget(file, first, size);
    }
    sha256_digest(&context, sizeof(digest), digest);
    hex_encode(digest, sizeof(digest), out);
}

int stored_file_open_unchecked(struct store *store, const char *what, const char *sha256,
                               struct store_file *out, struct error *err)
{
    struct error inner = {0};
    int rc = store_file_open(store, sha256, out, &inner);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "%s: its file %s is gone", what, sha256);
    if (rc < 0)
        return error_set(err, inner.code, "%s: %.400s", what, inner.message);
    return 0;
}

int stored_file_check(const struct store_file *file, const char *what, const char *sha256,
                      struct error *err)
{
    char found[DB_SHA256_SIZE];
    hash(file, found);
    if (strcmp(found, sha256) == 0)
        return 0;
    return error_set(err, ERROR_CORRUPT, "%s: its file was changed: its SHA-256 is %s and not %s",
                     what, found, sha256);
}

int stored_file_open(struct store *store, const char *what, const char *sha256,
                     struct store_file *out, struct error *err)
{
    struct store_file blob = {0};
    int rc = stored_file_open_unchecked(store, what, sha256, &blob, err);
    if (rc == 0)
        rc = stored_file_check(&blob, what, sha256, err);
    if (rc < 0)
        store_file_close(&blob);
    else
        *out = blob;
    return rc;
}
