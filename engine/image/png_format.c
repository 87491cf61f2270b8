/* PNG's signature says when a transfer has damaged the file; the rest is png_decode.c's. */
#include "engine/image/png_format.h"

#include <stdlib.h>
#include <string.h>

#include "engine/image/png_decode.h"

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static bool matches(const uint8_t *data, size_t size)
{
    const size_t n = size < sizeof(signature) ? size : sizeof(signature);
    if (memcmp(data, signature, n) == 0)
        return true;
    return size >= 4 && (memcmp(data, signature, 4) == 0 || memcmp(data + 1, "PNG", 3) == 0);
}

static int check_signature(const struct image_request *request, struct error *err)
{
    const size_t size = request->size;
    if (size >= sizeof(signature) && memcmp(request->data, signature, sizeof(signature)) == 0)
        return 0;
    if (size < sizeof(signature) && memcmp(request->data, signature, size) == 0)
        return error_set(err, ERROR_INVALID, "image: the PNG file is truncated after %zu bytes",
                         size);
    return error_set(err, ERROR_INVALID,
                     "image: the PNG file's first 8 bytes are damaged, as a transfer in text mode "
                     "does");
}

static int probe(const struct image_request *request, struct image_frames *out, struct error *err)
{
    struct image_frames frames = {calloc(1, sizeof(frames.items[0])), 1};
    int rc = frames.items == NULL ? error_set_nomem(err, "an image's frames") : 0;
    if (rc == 0)
        rc = check_signature(request, err);
    if (rc == 0)
        rc = png_decode_probe(request, frames.items, err);
    if (rc < 0)
        image_frames_clear(&frames);
    else
        *out = frames;
    return rc;
}

static int open_frame(const struct image_request *request, void **reader, struct image_info *info,
                      struct error *err)
{
    int rc = check_signature(request, err);
    if (rc == 0)
        rc = image_frame_check("PNG", request->frame, 1, err);
    return rc < 0 ? rc : png_decode_open(request, reader, info, err);
}

const struct image_format png_format = {
    .name = "png",
    .label = "PNG",
    .media_types = (const char *const[]){"image/png", NULL},
    .extensions = (const char *const[]){"png", NULL},
    .matches = matches,
    .probe = probe,
    .open = open_frame,
    .read = png_decode_read,
    .close = png_decode_close,
};
