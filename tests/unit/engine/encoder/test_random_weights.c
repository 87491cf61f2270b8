/* Random weights: networks of the published shapes whose activations stay in range. */
#include "tests/test.h"

#include <math.h>

#include "engine/encoder/encoder.h"
#include "engine/encoder/random_weights.h"

enum { SIZE = 33, CHIPS = 2 };

/* Parameters as torchvision counts them, less those of the classifier (1000 x dimension + 1000). */
static const struct {
    const char *name;
    uint64_t n_parameters;
    uint32_t dimension;
} published[] = {
    {"resnet18", 11689512 - 513000, 512},
    {"resnet34", 21797672 - 513000, 512},
    {"resnet50", 25557032 - 2049000, 2048},
    {"resnet101", 44549160 - 2049000, 2048},
};

static void check_embeddings(const struct encoder *encoder)
{
    const uint32_t dimension = encoder_info(encoder)->dimension;
    struct encoder_workspace *workspace = NULL;
    static float chips[CHIPS * SIZE * SIZE];
    float *out = calloc((size_t)CHIPS * dimension, sizeof(float));
    assert_non_null(out);
    for (int i = 0; i < CHIPS * SIZE * SIZE; i++)
        chips[i] = (float)(i * 7919 % 1000) / 1000;
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, SIZE, PRECISION_FLOAT32, NULL, NULL), 0);
    encoder_embed(encoder, workspace, chips, CHIPS, out);
    double sum = 0, difference = 0;
    for (uint32_t i = 0; i < dimension; i++) {
        sum += (double)out[i];
        difference += fabs((double)out[i] - (double)out[dimension + i]);
    }
    /* Neither vanished nor overflowed, and not the same whatever the chip. */
    assert_true(sum / dimension > 1e-3 && sum / dimension < 1e3);
    assert_true(difference > 1e-3 * sum);
    encoder_workspace_destroy(workspace);
    free(out);
}

static void published_shapes_are_made(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
        void *data = NULL;
        size_t size = 0;
        struct encoder *encoder = NULL;
        assert_int_equal(random_weights_create(published[i].name, &data, &size, NULL), 0);
        assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
        free(data);
        const struct encoder_info *info = encoder_info(encoder);
        assert_string_equal(info->architecture, published[i].name);
        assert_int_equal(info->n_parameters, published[i].n_parameters);
        assert_int_equal(info->dimension, published[i].dimension);
        assert_int_equal(info->in_channels, 3);
        check_embeddings(encoder);
        encoder_destroy(encoder);
    }
}

static void weights_are_the_same_in_every_call(void **state)
{
    (void)state;
    void *a = NULL, *b = NULL;
    size_t size_a = 0, size_b = 0;
    assert_int_equal(random_weights_create("resnet18", &a, &size_a, NULL), 0);
    assert_int_equal(random_weights_create("resnet18", &b, &size_b, NULL), 0);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    free(a);
    free(b);
}

static void other_names_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"", "resnet", "resnet19", "ResNet18", "resnet152"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        void *data = NULL;
        size_t size = 0;
        struct error err = {0};
        assert_int_equal(random_weights_create(names[i], &data, &size, &err), ERROR_INVALID);
        assert_null(data);
        assert_non_null(strstr(err.message, "resnet18, resnet34, resnet50 or resnet101"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_shapes_are_made),
        cmocka_unit_test(weights_are_the_same_in_every_call),
        cmocka_unit_test(other_names_are_refused),
    };
    return test_run(tests);
}
