/* Weights for tests: a list of tensors that a test can spoil before it is written as safetensors,
 * and the golden fixtures. Failures of the helpers themselves fail the test that calls them. */
#ifndef CHIPSHOT_TESTS_UNIT_ENGINE_ENCODER_WEIGHTS_H
#define CHIPSHOT_TESTS_UNIT_ENGINE_ENCODER_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIGHTS_TENSORS_MAX = 2200, WEIGHTS_RANK_MAX = 4 };

struct weights_tensor {
    char name[64];
    uint32_t rank;
    uint32_t shape[WEIGHTS_RANK_MAX];
    float *values; /* owned */
};

struct weights {
    size_t n_tensors;
    struct weights_tensor tensors[WEIGHTS_TENSORS_MAX];
    const char *metadata; /* the "chipshot" key's text, or NULL; borrowed */
};

/* Architecture of a generated network; Bottlenecks are `width` wide throughout. */
struct weights_shape {
    bool bottleneck;
    uint32_t in_channels;
    uint32_t kernel;
    uint32_t widths[4];
    uint32_t depths[4];
};

/* A ResNet with arbitrary weights, the same ones in every call. */
struct weights *weights_create(const struct weights_shape *shape);
void weights_destroy(struct weights *weights);

/* Random values of a sensible scale. The result may be changed, until the next add or remove. */
struct weights_tensor *weights_add(struct weights *weights, const char *name, uint32_t rank,
                                   const uint32_t *shape);
struct weights_tensor *weights_find(struct weights *weights, const char *name);
void weights_remove(struct weights *weights, const char *name);
uint64_t weights_n_elements(const struct weights_tensor *tensor);

/* The file (F32); to be freed. */
uint8_t *weights_write(const struct weights *weights, size_t *size);

/* A file of the repository; to be freed. */
uint8_t *weights_read_file(const char *path, size_t *size);

/* n chips of noise in 0..1, the same for the same seed; to be freed. */
float *weights_noise(uint32_t n, uint32_t size, uint32_t seed);

#endif
