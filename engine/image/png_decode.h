/* The PNG decoder behind image.h: called by image.c alone, after it has seen PNG's signature. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_DECODE_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_DECODE_H

#include <stddef.h>

#include "base/error.h"
#include "engine/image/image.h"

enum png_decode_goal {
    PNG_DECODE_HEADER,  /* the chunks before the image data */
    PNG_DECODE_VERIFY,  /* the whole file, row by row; interlaced ones too, pass by pass */
    PNG_DECODE_PIXELS,  /* the whole file into out->pixels */
    PNG_DECODE_SAMPLES, /* the whole file, which has samples, into samples->data */
};

/* What is done with samples (image.h) while a file is read; all may be NULL. */
struct png_samples {
    bool present;     /* set: the file has samples */
    uint8_t *data;    /* PNG_DECODE_SAMPLES: where to */
    uint32_t n_held;  /* rows there is room for (image.h) */
    uint32_t *counts; /* PNG_DECODE_VERIFY: how often each value occurs */
    samples_progress progress;
    void *context;
    uint32_t n_rows_told; /* PNG_DECODE_SAMPLES: rows that are there already */
};

/* `data` is borrowed. `samples`: NULL, or as above. Fills out->info and, for PNG_DECODE_PIXELS,
 * out->pixels (NULL otherwise), on success only. Errors as in image.h. */
int png_decode(const void *data, size_t size, const struct image_limits *limits,
               enum png_decode_goal goal, struct png_samples *samples, struct image *out,
               struct error *err);

/* Fills samples->data of a file that has samples, with progress. Errors as in samples_read. */
int png_decode_samples(const void *data, size_t size, const struct image_limits *limits,
                       struct png_samples *samples, struct error *err);

#endif
