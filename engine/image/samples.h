/* The rows of an image in memory, as they come from its source: a half or a quarter of a float32
 * plane, usable row by row while others are read; of a large image a band of them. */
#ifndef CHIPSHOT_ENGINE_IMAGE_SAMPLES_H
#define CHIPSHOT_ENGINE_IMAGE_SAMPLES_H

#include "engine/image/mask/mask.h"
#include "engine/image/source.h"

struct samples {
    uint32_t width, height;
    enum sample_type type; /* one that has levels */
    uint32_t n_held; /* rows in memory; fewer than `height`: row y lies where y % n_held does */
    uint8_t *data;   /* n_held x width x sample_type_size; owned */
};

/* Allocates the samples of an image whose type has levels, of which at least `n_held` rows (or all)
 * are in memory at a time. ERROR_NOMEM. `out` is to be released with samples_clear. */
int samples_create(const struct image_info *info, uint32_t n_held, struct samples *out,
                   struct error *err);

/* How many rows the next read may write, at their places, when `n_rows` were read: whoever still
 * needs what is there is to be waited for. 0: all were read. */
uint32_t samples_next_rows(const struct samples *samples, uint32_t n_rows);

/* Reads the next rows of a source, whose n_rows grows, to their places. ERROR_INVALID: its image is
 * of another size or type; else as image_source_read. */
int samples_read(struct samples *samples, struct image_source *source, struct error *err);

/* Adds every sample of rows first .. end - 1, which are in memory, to `counts`
 * (sample_type_n_levels of them), but for those that `mask` (NULL: none) leaves out. */
void samples_count(const struct samples *samples, const struct mask *mask, uint32_t first,
                   uint32_t end, uint32_t *counts);
/* Gives the samples of these rows that `mask` leaves out a level. */
void samples_fill(struct samples *samples, const struct mask *mask, uint32_t first, uint32_t end,
                  uint32_t level);

/* May be cleared twice. */
void samples_clear(struct samples *samples);

#endif
