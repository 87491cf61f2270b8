/* Fuzz target of the image room: any bytes through the decoder and all that follows it. Each input
 * is tried as it is and with its chunks' checksums put right, so that mutations get past them.
 */
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/image/chip_grid.h"
#include "engine/image/image.h"
#include "engine/image/mask/mask.h"
#include "engine/image/normalise.h"
#include "engine/image/png_write.h"
#include "engine/image/preview.h"
#include "engine/image/samples.h"

/* Small, so that the time goes into parsing and not into pixels. */
static const struct image_limits limits = {.max_side = 512,
                                           .max_pixels = 1 << 16,
                                           .max_decoded_size = 1 << 20,
                                           .decode_base_ms = UINT32_MAX};

static void use_chips(const struct image *image)
{
    const struct grid_params params = {
        .chip_width = 4, .chip_height = 5, .stride_x = 3, .edge = GRID_EDGE_COVER};
    struct grid grid;
    struct chip_resampler *resampler = NULL;
    if (grid_plan(&params, image->info.width, image->info.height, 1 << 16, &grid, NULL) != 0)
        return;
    float scratch[(5 + 15) * (7 + 15) + 16 * (4 + 15)], out[3 * 7];
    fuzz_expect(chip_resampler_create(&resampler, 4, 5, 7, 3, NULL) == 0);
    fuzz_expect(chip_resampler_scratch(resampler) <= sizeof(scratch) / sizeof(scratch[0]));
    for (uint64_t i = 0; i < grid_n_chips(&grid); i++) {
        struct chip_rect rect = grid_chip(&grid, i);
        chip_resample(resampler, image->pixels, image->info.width, rect.x, rect.y, scratch, out);
        for (int j = 0; j < 3 * 7; j++)
            fuzz_expect(out[j] >= -1e-5f && out[j] <= 1 + 1e-5f);
    }
    chip_resampler_destroy(resampler);
}

static void use_preview(const struct image *image)
{
    uint32_t width, height;
    preview_size(image->info.width, image->info.height, 50, &width, &height);
    uint8_t *grey = malloc((size_t)width * height);
    fuzz_expect(grey != NULL);
    fuzz_expect(preview_of_plane(image->pixels, image->info.width, image->info.height, width,
                                 height, grey, NULL) == 0);
    struct png_bytes bytes = {NULL, 0};
    struct image again;
    fuzz_expect(png_write_grey8(grey, width, height, &bytes, NULL) == 0);
    fuzz_expect(
        image_decode(
            &(struct image_request){.data = bytes.data, .size = bytes.size, .limits = &limits},
            &again, NULL) == 0);
    for (size_t i = 0; i < (size_t)width * height; i++)
        fuzz_expect(again.pixels[i] == grey[i]);
    image_clear(&again);
    png_bytes_clear(&bytes);
    free(grey);
}

/* The decoder of plain grey rows agrees with libpng on what both accept: `image` is decoded and not
 * normalised yet, `rc` what decoding gave. */
static void use_samples(const uint8_t *data, size_t size, int rc, const struct image *image)
{
    const struct image_request request = {
        .data = data, .size = size, .limits = &limits, .trust = IMAGE_CHECKED};
    struct image_source source;
    struct samples samples = {.data = NULL};
    int opened = image_open(&request, &source, NULL);
    fuzz_expect(opened == 0 || opened == ERROR_INVALID);
    if (opened != 0)
        return;
    if (sample_type_n_levels(source.info.type) > 0) {
        int read = samples_create(&source.info, UINT32_MAX, &samples, NULL);
        while (read == 0 && source.n_rows < samples.height)
            read = samples_read(&samples, &source, NULL);
        fuzz_expect(read == rc || (read == 0 && rc == ERROR_INVALID)); /* as png_decode.h says */
        for (size_t i = 0; rc == 0 && i < (size_t)samples.width * samples.height; i++) {
            const uint16_t *wide = (const uint16_t *)(const void *)samples.data;
            fuzz_expect(image->pixels[i] ==
                        (samples.type == SAMPLE_U8 ? samples.data[i] : wide[i]));
        }
    }
    image_source_close(&source);
    samples_clear(&samples);
}

/* A look at an image sees what decoding gave: strips inside it, that do not overlap. */
static void use_look(const struct image_request *request, int rc, uint64_t n_missing)
{
    struct image_info info;
    struct image_look look = {.counts = calloc(SAMPLE_LEVELS_MAX, sizeof(look.counts[0]))};
    fuzz_expect(look.counts != NULL);
    fuzz_expect(image_scan(request, &info, &look, NULL) == rc);
    free(look.counts);
    if (rc != 0)
        return;
    fuzz_expect(look.n_missing == n_missing);
    struct mask mask;
    uint64_t n_pixels = 0;
    fuzz_expect(mask_init(&mask, info.width, info.height, NULL) == 0);
    for (uint32_t i = 0; i < look.n_bars; i++) {
        const struct chip_rect *rect = &look.bars[i].rect;
        fuzz_expect(rect->width > 0 && rect->x + rect->width <= info.width);
        fuzz_expect(rect->height > 0 && rect->y + rect->height <= info.height);
        mask_add_rectangle(&mask, rect);
        n_pixels += (uint64_t)rect->width * rect->height;
    }
    fuzz_expect(mask.n_pixels == n_pixels);
    mask_clear(&mask);
}

static void use(const uint8_t *data, size_t size)
{
    struct image image;
    struct image_info verified;
    struct image_frames probed;
    struct error err = {0};
    const struct image_request request = {.data = data, .size = size, .limits = &limits};
    int rc = image_decode(&request, &image, &err);
    fuzz_expect(rc == 0 || (rc == ERROR_INVALID && err.message[0] != '\0'));
    fuzz_expect(image_verify(&request, &verified, NULL) == rc);
    use_samples(data, size, rc, &image);
    if (rc != 0) {
        use_look(&request, rc, 0);
        return;
    }
    fuzz_expect(image_probe(&request, &probed, NULL) == 0);
    fuzz_expect(probed.n == 1 && probed.items[0].width == image.info.width);
    fuzz_expect(verified.width == image.info.width);
    image_frames_clear(&probed);
    size_t n = (size_t)image.info.width * image.info.height;
    float full = (float)((1u << image.info.bit_depth) - 1);
    uint64_t n_missing = 0;
    for (size_t i = 0; i < n; i++) {
        n_missing += isnan(image.pixels[i]);
        fuzz_expect(isnan(image.pixels[i]) || (image.pixels[i] >= 0 && image.pixels[i] <= full));
    }
    use_look(&request, rc, n_missing);
    struct normalise_params params = normalise_params_default;
    params.clahe.enabled = size % 2 == 0;
    params.method = (enum normalise_method)(size % 3);
    fuzz_expect(normalise_apply(&params, image.pixels, image.info.width, image.info.height,
                                &image.info.full_scale, NULL, NULL) == 0);
    for (size_t i = 0; i < n; i++)
        fuzz_expect(image.pixels[i] >= 0 && image.pixels[i] <= 1);
    use_chips(&image);
    use_preview(&image);
    image_clear(&image);
}

/* Walks the chunks as far as their lengths make sense. */
static void repair_checksums(uint8_t *data, size_t size)
{
    size_t position = 8;
    while (size >= 12 && position <= size - 12) {
        uint32_t length = (uint32_t)data[position] << 24 | (uint32_t)data[position + 1] << 16 |
                          (uint32_t)data[position + 2] << 8 | data[position + 3];
        if (length > size - 12 - position)
            return;
        uint32_t crc = (uint32_t)crc32(0, data + position + 4, length + 4);
        for (int i = 0; i < 4; i++)
            data[position + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        position += 12 + (size_t)length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    use(data, size);
    uint8_t *copy = malloc(size > 0 ? size : 1);
    fuzz_expect(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    repair_checksums(copy, size);
    use(copy, size);
    free(copy);
    return 0;
}
