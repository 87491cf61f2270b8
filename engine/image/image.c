/* The table of formats, and what is done with a file of any of them. */
#include "engine/image/image.h"

#include <stdio.h>
#include <string.h>

#include "engine/image/png_format.h"

static const struct image_format *const formats[] = {
    &png_format,
};

enum { N_FORMATS = sizeof(formats) / sizeof(formats[0]) };

/* What microscopes and browsers also write: named in the error, so that the user knows what to do.
 */
static const struct foreign_format {
    const char *name;
    uint8_t magic[8];
    size_t size;
} foreign_formats[] = {
    {"JPEG", {0xff, 0xd8, 0xff}, 3},
    {"TIFF", {'I', 'I', 42, 0}, 4},
    {"TIFF", {'M', 'M', 0, 42}, 4},
    {"BigTIFF", {'I', 'I', 43, 0}, 4},
    {"BigTIFF", {'M', 'M', 0, 43}, 4},
    {"GIF", {'G', 'I', 'F', '8'}, 4},
    {"BMP", {'B', 'M'}, 2},
    {"WebP", {'R', 'I', 'F', 'F'}, 4},
    {"HDF5", {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'}, 8},
    {"Gatan DM3", {0, 0, 0, 3}, 4},
    {"Gatan DM4", {0, 0, 0, 4}, 4},
    {"TIA SER", {'I', 'I', 0x97, 0x01}, 4},
    {"NumPy", {0x93, 'N', 'U', 'M', 'P', 'Y'}, 6},
    {"PDF", {'%', 'P', 'D', 'F'}, 4},
    {"ZIP", {'P', 'K', 3, 4}, 4},
    {"gzip", {0x1f, 0x8b}, 2},
};

const struct image_format *const *image_formats(size_t *n)
{
    *n = N_FORMATS;
    return formats;
}

const struct image_format *image_format_find(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    }
    return NULL;
}

/* "PNG is", "PNG, TIFF and SER are" supported. */
static void write_supported(char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < N_FORMATS && used < size; i++) {
        const char *before = i == 0 ? "" : i + 1 < N_FORMATS ? ", " : " and ";
        used += (size_t)snprintf(out + used, size - used, "%s%s", before, formats[i]->label);
    }
    if (used < size)
        snprintf(out + used, size - used, N_FORMATS == 1 ? " is supported" : " are supported");
}

static int refuse(const uint8_t *data, size_t size, struct error *err)
{
    char supported[128];
    write_supported(supported, sizeof(supported));
    if (size == 0)
        return error_set(err, ERROR_INVALID, "image: the file is empty; %s", supported);
    for (size_t i = 0; i < sizeof(foreign_formats) / sizeof(foreign_formats[0]); i++) {
        const struct foreign_format *format = &foreign_formats[i];
        if (size >= format->size && memcmp(data, format->magic, format->size) == 0)
            return error_set(err, ERROR_INVALID, "image: the file looks like a %s file; %s",
                             format->name, supported);
    }
    return error_set(err, ERROR_INVALID, "image: the file is not a %s file; %s",
                     N_FORMATS == 1 ? formats[0]->label : "supported", supported);
}

int image_format_identify(const void *data, size_t size, const struct image_format **out,
                          struct error *err)
{
    for (size_t i = 0; size > 0 && i < N_FORMATS; i++) {
        if (!formats[i]->matches(data, size))
            continue;
        *out = formats[i];
        return 0;
    }
    return refuse(data, size, err);
}

int image_probe(const struct image_request *request, struct image_frames *out, struct error *err)
{
    const struct image_format *format;
    int rc = image_format_identify(request->data, request->size, &format, err);
    if (rc == 0)
        rc = format->probe(request, out, err);
    for (uint32_t i = 0; rc == 0 && i < out->n; i++)
        out->items[i].format = format;
    return rc;
}

int image_open(const struct image_request *request, struct image_source *out, struct error *err)
{
    const struct image_format *format;
    int rc = image_format_identify(request->data, request->size, &format, err);
    return rc < 0 ? rc : image_source_open(out, format, request, err);
}

int image_decode(const struct image_request *request, struct image *out, struct error *err)
{
    struct image_source source;
    int rc = image_open(request, &source, err);
    if (rc < 0)
        return rc;
    rc = image_source_decode(&source, out, err);
    image_source_close(&source);
    return rc;
}

int image_verify(const struct image_request *request, struct image_info *out, struct error *err)
{
    struct image_source source;
    int rc = image_open(request, &source, err);
    if (rc < 0)
        return rc;
    rc = image_source_verify(&source, err);
    image_source_close(&source);
    if (rc == 0)
        *out = source.info;
    return rc;
}

int image_scan(const struct image_request *request, struct image_info *info, struct image_look *out,
               struct error *err)
{
    struct image_source source;
    struct bars_scan *scan = NULL;
    int rc = image_open(request, &source, err);
    if (rc < 0)
        return rc;
    rc = bars_scan_create(&scan, source.info.width, source.info.height, err);
    const uint32_t n_levels = sample_type_n_levels(source.info.type);
    if (rc == 0)
        rc = image_source_scan(&source, n_levels > 0 ? out->counts : NULL, scan, err);
    if (rc == 0) {
        *info = source.info;
        out->n_levels = n_levels;
        out->n_bars = bars_scan_find(scan, out->bars);
        out->n_missing = bars_scan_n_missing(scan);
    }
    image_source_close(&source);
    bars_scan_destroy(scan);
    return rc;
}
