/* Reads through the format's functions and keeps count of the rows. */
#include "engine/image/source.h"

#include <assert.h>
#include <stdlib.h>

int image_source_open(struct image_source *out, const struct image_format *format,
                      const struct image_request *request, struct error *err)
{
    struct image_source source = {.n_rows = 0};
    int rc = format->open(request, &source.reader, &source.info, err);
    if (rc < 0)
        return rc;
    assert(!source.info.is_unordered || source.info.type == SAMPLE_F32);
    source.info.format = format;
    *out = source;
    return 0;
}

int image_source_read(struct image_source *source, uint32_t n_max, void *rows, uint32_t *n_rows,
                      struct error *err)
{
    const uint32_t n_left = source->info.height - source->n_rows;
    assert(n_left > 0 && n_max > 0);
    assert(!source->info.is_unordered || n_max >= n_left);
    uint32_t n = 0;
    int rc =
        source->info.format->read(source->reader, n_max < n_left ? n_max : n_left, rows, &n, err);
    if (rc < 0)
        return rc;
    assert(n > 0 && n <= n_max && n <= n_left);
    source->n_rows += n;
    *n_rows = n;
    return 0;
}

void image_source_close(struct image_source *source)
{
    if (source->reader != NULL)
        source->info.format->close(source->reader);
    source->reader = NULL;
}

/* ---- all rows ---- */

/* Into the plane itself. */
static int read_floats(struct image_source *source, float *plane, struct error *err)
{
    const struct image_info *info = &source->info;
    int rc = 0;
    while (source->n_rows < info->height && rc == 0) {
        uint32_t n;
        rc = image_source_read(source, info->height, plane + (size_t)source->n_rows * info->width,
                               &n, err);
    }
    return rc;
}

/* Row by row: the limits allow for little beside the plane. */
static int read_samples(struct image_source *source, float *plane, struct error *err)
{
    const struct image_info *info = &source->info;
    void *row = malloc((size_t)info->width * sample_type_size(info->type));
    int rc = row == NULL ? error_set_nomem(err, "the image's pixels") : 0;
    while (source->n_rows < info->height && rc == 0) {
        const size_t first = (size_t)source->n_rows * info->width;
        uint32_t n;
        rc = image_source_read(source, 1, row, &n, err);
        if (rc == 0)
            samples_to_floats(info->type, row, info->width, plane + first);
    }
    free(row);
    return rc;
}

/* Counts the samples, where `counts` is not NULL, and looks at the rows. */
static int scan_samples(struct image_source *source, uint32_t *counts, struct bars_scan *scan,
                        struct error *err)
{
    const struct image_info *info = &source->info;
    void *row = malloc((size_t)info->width * sample_type_size(info->type));
    float *floats = malloc(info->width * sizeof(*floats));
    int rc = row == NULL || floats == NULL ? error_set_nomem(err, "the image's pixels") : 0;
    while (source->n_rows < info->height && rc == 0) {
        uint32_t n;
        rc = image_source_read(source, 1, row, &n, err);
        if (rc < 0)
            break;
        if (counts != NULL)
            samples_add_counts(info->type, row, info->width, counts);
        samples_to_floats(info->type, row, info->width, floats);
        bars_scan_add_row(scan, floats);
    }
    free(row);
    free(floats);
    return rc;
}

/* Rows that come in no order are looked at when all are there. */
static int scan_floats(struct image_source *source, struct bars_scan *scan, struct error *err)
{
    struct image image;
    int rc = image_source_decode(source, &image, err);
    if (rc < 0)
        return rc;
    for (uint32_t y = 0; y < image.info.height; y++)
        bars_scan_add_row(scan, image.pixels + (size_t)y * image.info.width);
    image_clear(&image);
    return 0;
}

int image_source_decode(struct image_source *source, struct image *out, struct error *err)
{
    const struct image_info *info = &source->info;
    struct image image = {.info = *info};
    image.pixels = malloc((size_t)info->width * info->height * sizeof(float));
    int rc = image.pixels == NULL ? error_set_nomem(err, "the image's pixels") : 0;
    if (rc == 0)
        rc = info->type == SAMPLE_F32 ? read_floats(source, image.pixels, err)
                                      : read_samples(source, image.pixels, err);
    if (rc < 0)
        image_clear(&image);
    else
        *out = image;
    return rc;
}

int image_source_scan(struct image_source *source, uint32_t *counts, struct bars_scan *scan,
                      struct error *err)
{
    return source->info.is_unordered ? scan_floats(source, scan, err)
                                     : scan_samples(source, counts, scan, err);
}

int image_source_verify(struct image_source *source, struct error *err)
{
    int rc = 0;
    while (source->n_rows < source->info.height && rc == 0) {
        uint32_t n;
        rc = image_source_read(source, source->info.height, NULL, &n, err);
    }
    return rc;
}

void image_clear(struct image *image)
{
    if (image == NULL)
        return;
    free(image->pixels);
    image->pixels = NULL;
}
