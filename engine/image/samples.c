/* A band is a ring of whole blocks, so that no block of rows is cut in two. */
#include "engine/image/samples.h"

#include <stdlib.h>
#include <string.h>

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

static uint8_t *row_at(const struct samples *samples, uint32_t y)
{
    return samples->data + y % samples->n_held * row_size(samples);
}

static void count_between(const struct samples *samples, uint32_t y, uint32_t first, uint32_t end,
                          uint32_t *counts)
{
    samples_add_counts(samples->type,
                       row_at(samples, y) + (size_t)first * sample_type_size(samples->type),
                       end - first, counts);
}

void samples_count(const struct samples *samples, const struct mask *mask, uint32_t first,
                   uint32_t end, uint32_t *counts)
{
    for (uint32_t y = first; y < end; y++) {
        uint32_t counted = 0, x = 0, run_end;
        for (; mask != NULL && mask_next_run(mask, y, &x, &run_end); x = run_end) {
            count_between(samples, y, counted, x, counts);
            counted = run_end;
        }
        count_between(samples, y, counted, samples->width, counts);
    }
}

/* Levels of 16 bits are stored as they are, or, of signed ones, with another zero. */
static void fill_between(const struct samples *samples, uint32_t y, uint32_t first, uint32_t end,
                         uint32_t level)
{
    uint8_t *row = row_at(samples, y);
    const uint16_t wide =
        (uint16_t)(samples->type == SAMPLE_I16 ? level + (uint32_t)INT16_MIN : level);
    if (samples->type == SAMPLE_U8)
        memset(row + first, (int)level, end - first);
    for (uint32_t x = first; samples->type != SAMPLE_U8 && x < end; x++)
        memcpy(row + sizeof(wide) * x, &wide, sizeof(wide));
}

void samples_fill(struct samples *samples, const struct mask *mask, uint32_t first, uint32_t end,
                  uint32_t level)
{
    for (uint32_t y = first; y < end; y++) {
        uint32_t x = 0, run_end;
        for (; mask_next_run(mask, y, &x, &run_end); x = run_end)
            fill_between(samples, y, x, run_end, level);
    }
}

void samples_clear(struct samples *samples)
{
    free(samples->data);
    samples->data = NULL;
}
