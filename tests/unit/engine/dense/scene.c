#include "tests/unit/engine/dense/scene.h"

#include "tests/test.h"
#include "tests/unit/engine/dense/plain.h"
#include "tests/unit/engine/encoder/weights.h"

struct encoder *scene_encoder(const char *pool)
{
    const struct weights_shape shape = {
        .in_channels = 1, .kernel = 7, .widths = {8, 16, 24, 32}, .depths = {1, 1, 1, 1}};
    struct weights *weights = weights_create(&shape);
    struct encoder *encoder = NULL;
    char metadata[256];
    size_t size = 0;
    snprintf(metadata, sizeof(metadata),
             "{\"format\": 1, \"name\": \"narrow\", \"input_size\": %d, \"mean\": [0.4], "
             "\"std\": [0.3], \"encoding\": \"dense\", \"pool\": %s}",
             SCENE_INPUT,
             pool != NULL ? pool
                          : "{\"stages\": [0, 1, 2, 3], \"statistics\": [\"mean\", \"std\"]}");
    weights->metadata = metadata;
    uint8_t *data = weights_write(weights, &size);
    assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
    free(data);
    weights_destroy(weights);
    return encoder;
}

float *scene_pixels(uint32_t width, uint32_t height)
{
    const size_t n = (size_t)width * height;
    float *pixels = malloc(n * sizeof(float));
    uint32_t random = 1;
    assert_non_null(pixels);
    for (size_t i = 0; i < n; i++)
        pixels[i] = (float)plain_random(&random, 1 << 24) / (1 << 24);
    return pixels;
}

void scene_stage_set(struct scene_stage *stage, const struct encoder *encoder, const float *pixels,
                     const struct scene_choice *choice)
{
    const uint32_t width = choice->width > 0 ? choice->width : SCENE_WIDTH;
    const uint32_t height = choice->height > 0 ? choice->height : SCENE_HEIGHT;
    const uint32_t chip = choice->chip > 0 ? choice->chip : SCENE_CHIP;
    const struct grid_params params = {.chip_width = chip,
                                       .chip_height = chip,
                                       .stride_x = choice->stride,
                                       .stride_y = choice->stride};
    const uint32_t n_threads = choice->n_threads > 0 ? choice->n_threads : 1;
    *stage = (struct scene_stage){.source = {.pixels = pixels, .image_width = width}};
    assert_int_equal(grid_plan(&params, width, height, 100000, &stage->grid, NULL), 0);
    assert_int_equal(pool_create(&stage->pool, n_threads, 64, NULL), 0);
    assert_int_equal(pool_lane_create(&stage->lane, stage->pool, NULL), 0);
    assert_int_equal(embedder_create(&stage->embedder, stage->pool, encoder, &choice->sizes,
                                     ENCODING_DENSE, choice->precision, NULL, NULL),
                     0);
    stage->n_chips = grid_n_chips(&stage->grid);
    stage->row_size = embedder_dimension(stage->embedder) * sizeof(float);
    stage->size = stage->n_chips * stage->row_size;
    stage->out = calloc(1, stage->size);
    assert_non_null(stage->out);
}

void scene_stage_clear(struct scene_stage *stage)
{
    pool_lane_destroy(stage->lane);
    embedder_destroy(stage->embedder);
    pool_destroy(stage->pool);
    free(stage->out);
}

struct embed_run *scene_begin(struct scene_stage *stage, const struct embed_output *output)
{
    struct embed_run *run = NULL;
    assert_int_equal(embed_grid_begin(&run, stage->embedder, stage->lane, &stage->source,
                                      &stage->grid, stage->grid.image_height, NULL, NULL, output,
                                      NULL),
                     0);
    return run;
}

float *scene_embed(const struct encoder *encoder, const float *pixels,
                   const struct scene_choice *choice)
{
    struct scene_stage stage;
    scene_stage_set(&stage, encoder, pixels, choice);
    assert_int_equal(
        embed_grid(stage.embedder, stage.lane, pixels, &stage.grid, NULL, NULL, stage.out, NULL),
        0);
    float *out = stage.out;
    stage.out = NULL;
    scene_stage_clear(&stage);
    return out;
}
