#include "engine/fewshot/map/stamp.h"

#include <stdlib.h>
#include <string.h>

int stamp_init(struct stamp *out, uint32_t width, uint32_t height, struct error *err)
{
    uint8_t *inks = malloc((size_t)width * height);
    if (inks == NULL)
        return error_set_nomem(err, "a legend");
    memset(inks, STAMP_PAPER, (size_t)width * height);
    *out = (struct stamp){.width = width, .height = height, .inks = inks};
    return 0;
}

void stamp_clear(struct stamp *stamp)
{
    free(stamp->inks);
    *stamp = (struct stamp){0};
}

static uint32_t end_of(uint32_t begin, uint32_t length, uint32_t limit)
{
    return begin >= limit ? begin : length < limit - begin ? begin + length : limit;
}

void stamp_fill(const struct stamp *stamp, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
                uint8_t ink)
{
    const uint32_t x_end = end_of(x, width, stamp->width), y_end = end_of(y, height, stamp->height);
    for (uint32_t row = y; row < y_end; row++)
        memset(stamp->inks + (size_t)row * stamp->width + x, ink, x_end - x);
}
