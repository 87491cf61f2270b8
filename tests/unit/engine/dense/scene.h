/* An image, an encoder and what a run needs, for tests of images that are encoded as a whole. The
 * image has several rows and columns of tiles, and a narrow network keeps it quick under the thread
 * sanitizer. Failures fail the test that calls. */
#ifndef CHIPSHOT_TESTS_UNIT_ENGINE_DENSE_SCENE_H
#define CHIPSHOT_TESTS_UNIT_ENGINE_DENSE_SCENE_H

#include "engine/embed.h"

enum {
    SCENE_WIDTH = 330, /* pixels */
    SCENE_HEIGHT = 700,
    SCENE_CHIP = 20, /* a side */
    SCENE_INPUT = 32,
};

/* Of one-channel images; all stages but the last are pooled, or what the JSON object `pool` says.
 * For encoder_destroy. */
struct encoder *scene_encoder(const char *pool);

/* width x height values of 0..1; to be freed. */
float *scene_pixels(uint32_t width, uint32_t height);

/* What may be chosen of a run; what is 0 is as usual. */
struct scene_choice {
    uint32_t n_threads; /* 0: one */
    struct input_sizes sizes;
    enum precision precision;
    uint32_t width, height; /* of the image; 0: the scene's */
    uint32_t chip, stride;  /* 0: the scene's chips side by side */
};

struct scene_stage {
    struct pool *pool;
    struct pool_lane *lane;
    struct embedder *embedder;
    struct grid grid;
    struct chip_source source;
    uint64_t n_chips;
    size_t row_size; /* bytes of an embedding */
    size_t size;     /* of those of the grid */
    float *out;
};

/* `pixels` and `encoder` are borrowed. */
void scene_stage_set(struct scene_stage *stage, const struct encoder *encoder, const float *pixels,
                     const struct scene_choice *choice);
void scene_stage_clear(struct scene_stage *stage);

/* Begins a run whose rows are all there. */
struct embed_run *scene_begin(struct scene_stage *stage, const struct embed_output *output);

/* The embeddings of a choice's grid; to be freed. */
float *scene_embed(const struct encoder *encoder, const float *pixels,
                   const struct scene_choice *choice);

#endif
