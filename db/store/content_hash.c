#include "db/store/content_hash.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hex.h"
#include "db/store/files.h"

enum { PART_SIZE = 256 * 1024 };

void db_hash_text(struct sha256_ctx *hash, char out[DB_SHA256_SIZE])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof(digest), digest);
    hex_encode(digest, sizeof(digest), out);
}

int db_content_hash(int fd, char out[DB_SHA256_SIZE], struct error *err)
{
    struct sha256_ctx hash;
    uint8_t *part = malloc(PART_SIZE);
    off_t offset = 0;
    ssize_t n;
    if (part == NULL)
        return error_set_nomem(err, "a hash");
    sha256_init(&hash);
    while ((n = pread(fd, part, PART_SIZE, offset)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        sha256_update(&hash, (size_t)n, part);
        offset += n;
    }
    const int errno_value = errno;
    free(part);
    if (n < 0)
        return db_io_error(err, errno_value, "reading", "a blob");
    db_hash_text(&hash, out);
    return 0;
}
