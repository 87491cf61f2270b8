#include "server/http/content_coding.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

static const char suffix[] = "-gzip\"";

enum {
    STREAM_INPUT_SIZE = 64 * 1024, /* given to zlib at once */
};

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

static int open_gzip(z_stream *stream, struct error *err)
{
    enum { GZIP_WINDOW = 15 + 16, LEVEL = 3, MEMORY = 8 };
    *stream = (z_stream){0};
    if (deflateInit2(stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return error_set_nomem(err, "gzip");
    return 0;
}

int content_coding_gzip(const void *data, size_t size, char **out, size_t *out_size,
                        struct error *err)
{
    z_stream stream;
    if (size > UINT_MAX / 2)
        return error_set(err, ERROR_INVALID, "a body of %zu bytes is too large for gzip", size);
    int rc = open_gzip(&stream, err);
    if (rc != 0)
        return rc;
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

/* ---- streams ---- */

struct gzip_stream {
    struct api_stream source;
    z_stream zlib;
    bool source_ended;
    bool ended;
    char input[STREAM_INPUT_SIZE];
};

/* Fills the input before zlib sees it: where the source's pieces end must not show in the result.
 */
static int fill_input(struct gzip_stream *gzip, struct error *err)
{
    size_t used = 0;
    while (used < sizeof(gzip->input) && !gzip->source_ended) {
        size_t n = 0;
        int rc = gzip->source.next(gzip->source.context, gzip->input + used,
                                   sizeof(gzip->input) - used, &n, err);
        if (rc != 0)
            return rc;
        used += n;
        gzip->source_ended = n == 0;
    }
    gzip->zlib.next_in = (Bytef *)gzip->input;
    gzip->zlib.avail_in = (uInt)used;
    return 0;
}

static int gzip_next(void *context, char *buffer, size_t size, size_t *n, struct error *err)
{
    struct gzip_stream *gzip = context;
    z_stream *zlib = &gzip->zlib;
    const uInt space = size < UINT_MAX ? (uInt)size : UINT_MAX;
    zlib->next_out = (Bytef *)buffer;
    zlib->avail_out = space;
    while (zlib->avail_out > 0 && !gzip->ended) {
        int rc = zlib->avail_in == 0 && !gzip->source_ended ? fill_input(gzip, err) : 0;
        if (rc != 0)
            return rc;
        int status = deflate(zlib, gzip->source_ended ? Z_FINISH : Z_NO_FLUSH);
        if (status != Z_OK && status != Z_STREAM_END)
            return error_set(err, ERROR_NOMEM, "gzip ended with status %d", status);
        gzip->ended = status == Z_STREAM_END;
    }
    *n = space - zlib->avail_out;
    return 0;
}

static void gzip_close(void *context)
{
    struct gzip_stream *gzip = context;
    gzip->source.close(gzip->source.context);
    deflateEnd(&gzip->zlib);
    free(gzip);
}

int content_coding_gzip_stream(struct api_stream *stream, struct error *err)
{
    struct gzip_stream *gzip = calloc(1, sizeof(*gzip));
    if (gzip == NULL)
        return error_set_nomem(err, "gzip");
    int rc = open_gzip(&gzip->zlib, err);
    if (rc != 0) {
        free(gzip);
        return rc;
    }
    gzip->source = *stream;
    *stream = (struct api_stream){
        .context = gzip, .size = API_SIZE_UNKNOWN, .next = gzip_next, .close = gzip_close};
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
