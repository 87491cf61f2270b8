#include "api/message/digest.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <nettle/base64.h>

#include "base/hex.h"

enum { SHA256_BYTES = 32 };

/* ":base64:" to 32 bytes; 0 on success. */
static int decode(const char *text, uint8_t out[SHA256_BYTES])
{
    if (*text != ':')
        return -1;
    const char *end = strchr(text + 1, ':');
    if (end == NULL)
        return -1;
    size_t length = (size_t)(end - text - 1);
    uint8_t bytes[64];
    size_t size = 0;
    struct base64_decode_ctx context;
    base64_decode_init(&context);
    if (BASE64_DECODE_LENGTH(length) > sizeof(bytes) ||
        base64_decode_update(&context, &size, bytes, length, text + 1) != 1 ||
        base64_decode_final(&context) != 1 || size != SHA256_BYTES)
        return -1;
    memcpy(out, bytes, SHA256_BYTES);
    return 0;
}

int digest_check(const char *content_digest, const char *sha256, struct error *err)
{
    for (const char *at = content_digest; at != NULL && *at != '\0';) {
        at += strspn(at, " \t");
        const char *end = at + strcspn(at, ",");
        const char *equals = strchr(at, '=');
        if (equals == NULL || equals > end)
            return error_set(err, ERROR_INVALID, "Content-Digest has a member without a value");
        if (equals - at == 7 && strncasecmp(at, "sha-256", 7) == 0) {
            uint8_t digest[SHA256_BYTES];
            if (decode(equals + 1, digest) != 0)
                return error_set(err, ERROR_INVALID,
                                 "Content-Digest sha-256 must be 32 bytes as :base64:");
            char text[2 * SHA256_BYTES + 1];
            hex_encode(digest, sizeof(digest), text);
            if (strcmp(text, sha256) != 0)
                return error_set(err, ERROR_INVALID,
                                 "Content-Digest promises SHA-256 %s, the body has %s", text,
                                 sha256);
        }
        at = *end == '\0' ? end : end + 1;
    }
    return 0;
}
