#include "server/http/content_coding.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

static const char suffix[] = "-gzip\"";

/* True when the parameters of a coding ("; q=0.5") give it a weight above 0. */
static bool weight_is_positive(const char *parameters, const char *end)
{
    const char *q = memchr(parameters, '=', (size_t)(end - parameters));
    if (q == NULL)
        return true;
    for (q++; q < end; q++) {
        if (*q >= '1' && *q <= '9')
            return true;
    }
    return false;
}

bool content_coding_accepts_gzip(const char *accept_encoding)
{
    bool any = false;
    for (const char *item = accept_encoding; item != NULL && *item != '\0';) {
        item += strspn(item, " \t,");
        size_t size = strcspn(item, ",");
        size_t name_size = strcspn(item, ",; \t");
        bool positive = weight_is_positive(item + name_size, item + size);
        if ((name_size == 4 && strncasecmp(item, "gzip", 4) == 0) ||
            (name_size == 6 && strncasecmp(item, "x-gzip", 6) == 0))
            return positive;
        if (name_size == 1 && item[0] == '*')
            any = positive;
        item += size;
    }
    return any;
}

bool content_coding_is_text(const char *content_type)
{
    static const char *const types[] = {
        "text/",           "application/json", "application/problem+json", "application/yaml",
        "application/xml", "image/svg+xml",    "application/openapi+yaml", "application/javascript",
    };
    for (size_t i = 0; content_type != NULL && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strncasecmp(content_type, types[i], strlen(types[i])) == 0)
            return true;
    }
    return false;
}

int content_coding_gzip(const void *data, size_t size, char **out, size_t *out_size,
                        struct error *err)
{
    enum { GZIP_WINDOW = 15 + 16, LEVEL = 3, MEMORY = 8 };
    z_stream stream = {0};
    if (size > UINT_MAX / 2)
        return error_set(err, ERROR_INVALID, "a body of %zu bytes is too large for gzip", size);
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return error_set_nomem(err, "gzip");
    size_t capacity = deflateBound(&stream, (uLong)size);
    char *compressed = malloc(capacity);
    if (compressed == NULL) {
        deflateEnd(&stream);
        return error_set_nomem(err, "gzip");
    }
    stream.next_in = (Bytef *)(uintptr_t)data; /* zlib's pointer lacks a const */
    stream.avail_in = (uInt)size;
    stream.next_out = (Bytef *)compressed;
    stream.avail_out = (uInt)capacity;
    int status = deflate(&stream, Z_FINISH);
    *out_size = stream.total_out;
    deflateEnd(&stream);
    if (status != Z_STREAM_END) {
        free(compressed);
        return error_set(err, ERROR_NOMEM, "gzip ended with status %d", status);
    }
    *out = compressed;
    return 0;
}

char *content_coding_add_suffix(const char *etag)
{
    size_t size = strlen(etag);
    char *out = malloc(size + sizeof(suffix));
    if (out == NULL)
        return NULL;
    memcpy(out, etag, size + 1);
    if (size >= 2 && etag[size - 1] == '"')
        memcpy(out + size - 1, suffix, sizeof(suffix));
    return out;
}

char *content_coding_drop_suffix(const char *etags, bool *changed)
{
    char *out = strdup(etags);
    if (changed != NULL)
        *changed = false;
    for (char *found = out; found != NULL && (found = strstr(found, suffix)) != NULL; found++) {
        const char *rest = found + strlen(suffix) - 1;
        memmove(found, rest, strlen(rest) + 1);
        if (changed != NULL)
            *changed = true;
    }
    return out;
}
