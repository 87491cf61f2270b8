#include "tests/unit/engine/encoder/golden.h"

#include "tests/test.h"

#include <math.h>
#include <nettle/sha2.h>

#include "engine/encoder/encoder.h"
#include "tests/unit/engine/encoder/weights.h"

static const double limit = 1e-4;

double golden_error(const float *found, const float *wanted, size_t n)
{
    double difference = 0.0;
    double square = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)found[i] - (double)wanted[i];
        difference += d * d;
        square += (double)wanted[i] * (double)wanted[i];
    }
    return sqrt(difference / square);
}

/* The parts of a fixture, in the file's order; the arrays are owned. */
struct golden {
    uint8_t sha256[SHA256_DIGEST_SIZE];
    uint32_t n;
    uint32_t size;
    uint32_t dimension;
    float *chips;
    float *wanted;
};

static struct golden read_golden(const char *path)
{
    size_t n_bytes = 0;
    uint8_t *data = weights_read_file(path, &n_bytes);
    struct golden golden;
    uint32_t head[3];
    const size_t begin = sizeof(golden.sha256) + sizeof(head);
    assert_true(n_bytes > begin);
    memcpy(golden.sha256, data, sizeof(golden.sha256));
    memcpy(head, data + sizeof(golden.sha256), sizeof(head));
    golden.n = head[0];
    golden.size = head[1];
    golden.dimension = head[2];
    const size_t n_pixels = (size_t)golden.n * golden.size * golden.size;
    const size_t n_wanted = (size_t)golden.n * golden.dimension;
    assert_int_equal(n_bytes, begin + n_pixels + n_wanted * sizeof(float));
    golden.chips = calloc(n_pixels, sizeof(float));
    golden.wanted = calloc(n_wanted, sizeof(float));
    assert_true(golden.chips != NULL && golden.wanted != NULL);
    for (size_t i = 0; i < n_pixels; i++)
        golden.chips[i] = (float)data[begin + i] / 255.0f;
    memcpy(golden.wanted, data + begin + n_pixels, n_wanted * sizeof(float));
    free(data);
    return golden;
}

static struct encoder *load_checked(const char *path, const uint8_t *sha256, const char *golden)
{
    size_t size = 0;
    uint8_t *data = weights_read_file(path, &size);
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, size, data);
    sha256_digest(&hash, sizeof(digest), digest);
    if (memcmp(digest, sha256, sizeof(digest)) != 0)
        fail_msg("%s was made from other weights than %s: run make golden", golden, path);
    struct encoder *encoder = NULL;
    struct error err = {0};
    if (encoder_create(&encoder, data, size, &err) != 0)
        fail_msg("%s: %s", path, err.message);
    free(data);
    return encoder;
}

void golden_compare(const char *weights_path, const char *golden_path, uint32_t dimension)
{
    struct golden golden = read_golden(golden_path);
    struct encoder *encoder = load_checked(weights_path, golden.sha256, golden_path);
    struct encoder_workspace *workspace = NULL;
    float *found = calloc((size_t)golden.n * dimension, sizeof(*found));
    assert_non_null(found);
    assert_int_equal(golden.dimension, dimension);
    assert_int_equal(encoder_info(encoder)->dimension, dimension);
    assert_in_range(golden.n, 1, ENCODER_BATCH);
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, golden.size, PRECISION_FLOAT32, NULL, NULL),
        0);
    encoder_embed(encoder, workspace, golden.chips, golden.n, found);
    for (uint32_t i = 0; i < golden.n; i++) {
        const size_t at = (size_t)i * dimension;
        const double error = golden_error(found + at, golden.wanted + at, dimension);
        if (!(error < limit))
            fail_msg("%s: chip %u: relative L2 error %g", golden_path, i, error);
    }
    free(found);
    encoder_workspace_destroy(workspace);
    encoder_destroy(encoder);
    free(golden.wanted);
    free(golden.chips);
}
