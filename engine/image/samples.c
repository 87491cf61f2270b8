/* A band is a ring of whole blocks, so that no block of rows is cut in two. */
#include "engine/image/samples.h"

#include <stdlib.h>

static size_t row_size(const struct samples *samples)
{
    return (size_t)samples->width * sample_type_size(samples->type);
}

int samples_create(const struct image_info *info, uint32_t n_held, struct samples *out,
                   struct error *err)
{
    /* Less than the float32 plane, which the limits admit. */
    struct samples made = {info->width, info->height, info->type, info->height, NULL};
    const uint64_t blocks = ((uint64_t)n_held + SOURCE_BLOCK_ROWS - 1) / SOURCE_BLOCK_ROWS;
    /* The block that is read and the one above it. */
    const uint64_t rows = (blocks > 2 ? blocks : 2) * SOURCE_BLOCK_ROWS;
    if (rows < info->height)
        made.n_held = (uint32_t)rows;
    made.data = malloc(made.n_held * row_size(&made));
    if (made.data == NULL)
        return error_set_nomem(err, "the image's pixels");
    *out = made;
    return 0;
}

uint32_t samples_next_rows(const struct samples *samples, uint32_t n_rows)
{
    const uint32_t n_left = samples->height - n_rows;
    const uint32_t n_block = SOURCE_BLOCK_ROWS - n_rows % SOURCE_BLOCK_ROWS;
    return n_block < n_left ? n_block : n_left;
}

int samples_read(struct samples *samples, struct image_source *source, struct error *err)
{
    const struct image_info *info = &source->info;
    const uint32_t first = source->n_rows;
    uint32_t n;
    if (info->width != samples->width || info->height != samples->height ||
        info->type != samples->type)
        return error_set(err, ERROR_INVALID, "image: not the file that the samples were made for");
    return image_source_read(source, samples_next_rows(samples, first),
                             samples->data + first % samples->n_held * row_size(samples), &n, err);
}

void samples_count(const struct samples *samples, uint32_t first, uint32_t end, uint32_t *counts)
{
    for (uint32_t y = first; y < end; y++)
        samples_add_counts(samples->type, samples->data + y % samples->n_held * row_size(samples),
                           samples->width, counts);
}

void samples_clear(struct samples *samples)
{
    free(samples->data);
    samples->data = NULL;
}
