/* ITU-R BT.709: 0.2126 R + 0.7152 G + 0.0722 B, in the form that leaves grey exactly as it is. A
 * pixel of alpha 0 has a colour in the file, which nobody ever saw: it is no part of the image.
 */
#include "engine/image/png_floats.h"

#include <math.h>
#include <string.h>

static float luminance(double red, double green, double blue)
{
    return (float)(green + 0.2126 * (red - green) + 0.0722 * (blue - green));
}

void png_floats_add_color(struct png_floats *floats, uint8_t red, uint8_t green, uint8_t blue,
                          uint8_t alpha)
{
    floats->palette[floats->n_palette++] = alpha == 0 ? NAN : luminance(red, green, blue);
}

uint32_t png_floats_n_channels(const struct png_floats *floats)
{
    return (floats->is_color && !floats->is_palette ? 3u : 1u) + floats->has_alpha;
}

static float sample(const uint8_t *row, size_t index, bool wide)
{
    uint16_t value;
    if (!wide)
        return row[index];
    memcpy(&value, row + 2 * index, sizeof(value));
    return value;
}

static bool convert_palette(const struct png_floats *floats, const uint8_t *row, uint32_t n,
                            float *out, size_t step)
{
    for (uint32_t i = 0; i < n; i++) {
        if (row[i] >= floats->n_palette)
            return false;
        out[i * step] = floats->palette[row[i]];
    }
    return true;
}

bool png_floats_convert(const struct png_floats *floats, const uint8_t *row, uint32_t n, float *out,
                        size_t step)
{
    const size_t n_channels = png_floats_n_channels(floats);
    const bool wide = floats->is_wide;
    if (floats->is_palette)
        return convert_palette(floats, row, n, out, step);
    for (size_t i = 0; i < n && !floats->is_color; i++)
        out[i * step] = sample(row, i * n_channels, wide);
    for (size_t i = 0; i < n && floats->is_color; i++) {
        const size_t first = i * n_channels;
        out[i * step] = luminance(sample(row, first, wide), sample(row, first + 1, wide),
                                  sample(row, first + 2, wide));
    }
    for (size_t i = 0; i < n && floats->has_alpha; i++) {
        if (sample(row, (i + 1) * n_channels - 1, wide) == 0)
            out[i * step] = NAN;
    }
    return true;
}
