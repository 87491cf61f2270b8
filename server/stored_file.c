#include "server/stored_file.h"

#include <nettle/sha2.h>

static void hash(const void *data, size_t size, char out[DB_SHA256_SIZE])
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    sha256_update(&context, size, data);
    sha256_digest(&context, sizeof(digest), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

int stored_file_open(struct db *db, const char *what, const char *sha256, struct db_blob *out,
                     struct error *err)
{
    struct db_blob blob = {0};
    struct error inner = {0};
    char found[DB_SHA256_SIZE];
    int status = db_blob_open(db, sha256, &blob, &inner);
    if (status == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "%s: its file %s is gone", what, sha256);
    if (status < 0)
        return error_set(err, inner.code, "%s: %.400s", what, inner.message);
    hash(blob.data, blob.size, found);
    if (strcmp(found, sha256) != 0) {
        db_blob_close(&blob);
        return error_set(err, ERROR_CORRUPT,
                         "%s: its file was changed: its SHA-256 is %s and not %s", what, found,
                         sha256);
    }
    *out = blob;
    return 0;
}
