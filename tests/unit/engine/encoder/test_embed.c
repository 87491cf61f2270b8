/* Embedding: agreement with PyTorch on the golden fixtures, and that an embedding depends on its
 * chips alone. */
#include "tests/test.h"

#include "engine/encoder/encoder.h"
#include "engine/encoder/random_weights.h"
#include "tests/unit/engine/encoder/floats.h"
#include "tests/unit/engine/encoder/golden.h"
#include "tests/unit/engine/encoder/weights.h"

#include <math.h>
#include <pthread.h>

static const struct weights_shape medium = {
    .in_channels = 1, .kernel = 7, .widths = {16, 16, 24, 32}, .depths = {2, 1, 1, 1}};

static struct encoder *make_encoder(const struct weights_shape *shape, const char *metadata)
{
    struct weights *weights = weights_create(shape);
    weights->metadata = metadata;
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    struct encoder *encoder = NULL;
    assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
    free(data);
    weights_destroy(weights);
    return encoder;
}

static struct encoder_workspace *make_workspace(const struct encoder *encoder, uint32_t size)
{
    struct encoder_workspace *workspace = NULL;
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, size, PRECISION_FLOAT32, NULL, NULL), 0);
    return workspace;
}

/* In a fresh workspace; to be freed. */
static float *embed(const struct encoder *encoder, uint32_t size, const float *chips, uint32_t n)
{
    const size_t dimension = encoder_info(encoder)->dimension;
    struct encoder_workspace *workspace = make_workspace(encoder, size);
    float *out = calloc(n * dimension, sizeof(*out));
    assert_non_null(out);
    encoder_embed(encoder, workspace, chips, n, out);
    encoder_workspace_destroy(workspace);
    return out;
}

static void agrees_with_pytorch(const char *name, uint32_t dimension)
{
    char weights[256];
    char golden[256];
    snprintf(weights, sizeof(weights), "tests/fixtures/encoder/%s.safetensors", name);
    snprintf(golden, sizeof(golden), "tests/fixtures/encoder/%s.bin", name);
    golden_compare(weights, golden, dimension);
}

static void agrees_with_pytorch_on_basic_blocks(void **state)
{
    (void)state;
    agrees_with_pytorch("basic_grey", 2 * (8 + 10 + 12));
    agrees_with_pytorch("basic_colour", 20);
}

static void agrees_with_pytorch_on_bottlenecks(void **state)
{
    (void)state;
    agrees_with_pytorch("bottleneck_grey", 20);
    agrees_with_pytorch("bottleneck_colour", 2 * 24);
}

/* The weights that the program carries; the dimension is that of the model card. */
static void agrees_with_pytorch_on_the_default_encoder(void **state)
{
    (void)state;
    golden_compare("models/default.safetensors", "tests/fixtures/encoder/default.bin", 504);
}

static const char pooled[] = "{\"format\": 1, \"input_size\": 40, \"mean\": [0.4], \"std\": [0.3], "
                             "\"pool\": {\"stages\": [2, 4], \"statistics\": [\"mean\", \"std\"]}}";

static void same_bytes_in_a_used_workspace(void **state)
{
    (void)state;
    struct encoder *encoder = make_encoder(&medium, pooled);
    const size_t n_bytes = ENCODER_BATCH * encoder_info(encoder)->dimension * sizeof(float);
    float *chips = weights_noise(ENCODER_BATCH, 40, 1);
    float *others = weights_noise(ENCODER_BATCH, 40, 2);
    float *fresh = embed(encoder, 0, chips, ENCODER_BATCH);
    struct encoder_workspace *workspace = make_workspace(encoder, 0);
    float *used = malloc(n_bytes);
    assert_non_null(used);
    encoder_embed(encoder, workspace, others, 17, used);
    encoder_embed(encoder, workspace, others, ENCODER_BATCH, used);
    assert_memory_not_equal(used, fresh, n_bytes);
    encoder_embed(encoder, workspace, chips, ENCODER_BATCH, used);
    assert_memory_equal(used, fresh, n_bytes);
    encoder_workspace_destroy(workspace);
    free(used);
    free(fresh);
    free(others);
    free(chips);
    encoder_destroy(encoder);
}

struct thread_work {
    const struct encoder *encoder;
    const float *chips;
    float *out;
};

static void *embed_repeatedly(void *argument)
{
    const struct thread_work *work = argument;
    struct encoder_workspace *workspace = NULL;
    if (encoder_workspace_create(&workspace, work->encoder, 0, PRECISION_FLOAT32, NULL, NULL) != 0)
        return NULL;
    for (int i = 0; i < 4; i++)
        encoder_embed(work->encoder, workspace, work->chips, ENCODER_BATCH, work->out);
    encoder_workspace_destroy(workspace);
    return NULL;
}

static void same_bytes_from_any_thread(void **state)
{
    (void)state;
    enum { N_THREADS = 4 };
    struct encoder *encoder = make_encoder(&medium, pooled);
    const size_t n_floats = (size_t)ENCODER_BATCH * encoder_info(encoder)->dimension;
    float *chips = weights_noise(ENCODER_BATCH, 40, 3);
    float *wanted = embed(encoder, 0, chips, ENCODER_BATCH);
    struct thread_work work[N_THREADS];
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        float *out = calloc(n_floats, sizeof(*out));
        assert_non_null(out);
        work[i] = (struct thread_work){encoder, chips, out};
        assert_int_equal(pthread_create(&threads[i], NULL, embed_repeatedly, &work[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_memory_equal(work[i].out, wanted, n_floats * sizeof(float));
        free(work[i].out);
    }
    free(wanted);
    free(chips);
    encoder_destroy(encoder);
}

struct size_work {
    const struct encoder *encoder;
    uint32_t size;
    float *chips;
    float *out;
};

static void *embed_at_size(void *argument)
{
    const struct size_work *work = argument;
    struct encoder_workspace *workspace = NULL;
    if (encoder_workspace_create(&workspace, work->encoder, work->size, PRECISION_FLOAT32, NULL,
                                 NULL) != 0)
        return NULL;
    encoder_embed(work->encoder, workspace, work->chips, ENCODER_BATCH, work->out);
    encoder_workspace_destroy(workspace);
    return NULL;
}

/* Sizes need weights of different algorithms, which one thread makes while others compute. */
static void same_bytes_while_other_sizes_begin(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {100, 16, 40, 72, 48, 224};
    enum { N_THREADS = sizeof(sizes) / sizeof(sizes[0]) };
    struct encoder *encoder = make_encoder(&medium, pooled);
    struct encoder *another = make_encoder(&medium, pooled);
    const size_t n_floats = (size_t)ENCODER_BATCH * encoder_info(encoder)->dimension;
    struct size_work work[N_THREADS];
    pthread_t threads[N_THREADS];
    for (uint32_t i = 0; i < N_THREADS; i++) {
        float *out = calloc(n_floats, sizeof(*out));
        assert_non_null(out);
        work[i] =
            (struct size_work){encoder, sizes[i], weights_noise(ENCODER_BATCH, sizes[i], i), out};
    }
    for (uint32_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, embed_at_size, &work[i]), 0);
    for (uint32_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        float *wanted = embed(another, sizes[i], work[i].chips, ENCODER_BATCH);
        assert_memory_equal(work[i].out, wanted, n_floats * sizeof(float));
        free(wanted);
        free(work[i].out);
        free(work[i].chips);
    }
    encoder_destroy(another);
    encoder_destroy(encoder);
}

/* Batches are cut into groups and row blocks inside: no chip may take part in another's vector.
 * Every `step`th chip from the last backwards is compared with itself alone. */
static void expect_independent_of_batch(const struct weights_shape *shape, uint32_t size,
                                        uint32_t n, uint32_t step)
{
    struct encoder *encoder = make_encoder(shape, pooled);
    const size_t dimension = encoder_info(encoder)->dimension;
    float *chips = weights_noise(n, size, size);
    float *together = embed(encoder, size, chips, n);
    for (int32_t i = (int32_t)n - 1; i >= 0; i -= (int32_t)step) {
        float *alone = embed(encoder, size, chips + (size_t)i * size * size, 1);
        const double error = golden_error(together + (size_t)i * dimension, alone, dimension);
        if (!(error < 1e-5))
            fail_msg("size %u: chip %d of %u: error %g", size, i, n, error);
        free(alone);
    }
    free(together);
    free(chips);
    encoder_destroy(encoder);
}

static void a_chip_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    expect_independent_of_batch(&medium, ENCODER_INPUT_SIZE_MIN, ENCODER_BATCH, 1);
    expect_independent_of_batch(&medium, 17, 31, 1);
    expect_independent_of_batch(&medium, 100, ENCODER_BATCH, 1);
    /* So wide and large that 26 chips do not go through the network together. */
    const struct weights_shape wide = {
        .in_channels = 1, .kernel = 3, .widths = {40, 4, 4, 4}, .depths = {1, 1, 1, 1}};
    expect_independent_of_batch(&wide, ENCODER_INPUT_SIZE_MAX, 26, 12);
}

static float *find_value(struct weights_tensor *tensor, uint32_t out, uint32_t in, uint32_t tap)
{
    const uint32_t n_in = tensor->rank == 4 ? tensor->shape[1] : 1;
    const uint32_t n_taps = tensor->rank == 4 ? tensor->shape[2] * tensor->shape[3] : 1;
    return &tensor->values[((size_t)out * n_in + in) * n_taps + tap];
}

/* Gives a tensor more channels, all of them zero. */
static void widen(struct weights *weights, const char *name, uint32_t out, uint32_t in)
{
    const struct weights_tensor *found = weights_find(weights, name);
    struct weights_tensor old = *found;
    old.values = floats_copy(found->values, weights_n_elements(found));
    weights_remove(weights, name);
    const uint32_t shape[] = {out, in, old.shape[2], old.shape[3]};
    struct weights_tensor *new = weights_add(weights, name, old.rank, shape);
    memset(new->values, 0, weights_n_elements(new) * sizeof(float));
    const uint32_t n_in = old.rank == 4 ? old.shape[1] : 1;
    const uint32_t n_taps = old.rank == 4 ? old.shape[2] * old.shape[3] : 1;
    for (uint32_t i = 0; i < old.shape[0] * n_in * n_taps; i++)
        *find_value(new, i / n_taps / n_in, i / n_taps % n_in, i % n_taps) = old.values[i];
    free(old.values);
}

/* A downsample that hands on the channels that there are before and after it. */
static void add_identity(struct weights *weights, const char *block, uint32_t out, uint32_t in)
{
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    char name[64];
    snprintf(name, sizeof(name), "%s.downsample.0.weight", block);
    struct weights_tensor *matrix =
        weights_add(weights, name, 4, (const uint32_t[]){out, in, 1, 1});
    memset(matrix->values, 0, weights_n_elements(matrix) * sizeof(float));
    for (uint32_t i = 0; i < out && i < in; i++)
        *find_value(matrix, i, i, 0) = 1.0f;
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s.downsample.1.%s", block, parts[i]);
        struct weights_tensor *norm = weights_add(weights, name, 1, &out);
        for (uint32_t k = 0; k < out; k++)
            norm->values[k] = i % 3 == 0 ? 1.0f : 0.0f;
    }
}

/* The blocks of a stage share its maps. One of them may be wider than the stage's last, and any may
 * have a downsample: with channels of zeros and identities the embeddings stay what they were. */
static void blocks_of_a_stage_may_differ_in_width(void **state)
{
    (void)state;
    enum { SIZE = 100, WIDE = 90, N = ENCODER_BATCH };
    struct encoder *plain = make_encoder(&medium, pooled);
    struct weights *weights = weights_create(&medium);
    weights->metadata = pooled;
    const uint32_t width = medium.widths[0];
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    widen(weights, "layer1.0.conv2.weight", WIDE, width);
    for (uint32_t i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof(name), "layer1.0.bn2.%s", parts[i]);
        widen(weights, name, WIDE, 0);
    }
    add_identity(weights, "layer1.0", WIDE, width);
    widen(weights, "layer1.1.conv1.weight", width, WIDE);
    add_identity(weights, "layer1.1", width, WIDE);
    size_t n_bytes = 0;
    uint8_t *data = weights_write(weights, &n_bytes);
    struct encoder *wide = NULL;
    assert_int_equal(encoder_create(&wide, data, n_bytes, NULL), 0);
    float *chips = weights_noise(N, SIZE, 1);
    float *wanted = embed(plain, SIZE, chips, N);
    float *found = embed(wide, SIZE, chips, N);
    for (uint32_t i = 0; i < N; i++) {
        const size_t dimension = encoder_info(plain)->dimension;
        const double error = golden_error(found + i * dimension, wanted + i * dimension, dimension);
        if (!(error < 2e-5))
            fail_msg("chip %u: error %g", i, error);
    }
    free(found);
    free(wanted);
    free(chips);
    free(data);
    weights_destroy(weights);
    encoder_destroy(wide);
    encoder_destroy(plain);
}

/* In batches of 2, 7 and all; a batch of one may take other algorithms. */
static void expect_same_bytes_in_batches(const struct encoder *encoder, uint32_t size, uint32_t n)
{
    static const uint32_t batches[] = {2, 7};
    const size_t dimension = encoder_info(encoder)->dimension;
    float *chips = weights_noise(n, size, size);
    float *together = embed(encoder, size, chips, n);
    struct encoder_workspace *workspace = make_workspace(encoder, size);
    float *out = calloc(n * dimension, sizeof(*out));
    assert_non_null(out);
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        const uint32_t batch = batches[i];
        for (uint32_t first = 0; first + batch <= n; first += batch) {
            encoder_embed(encoder, workspace, chips + (size_t)first * size * size, batch, out);
            if (memcmp(out, together + first * dimension, batch * dimension * sizeof(*out)) != 0)
                fail_msg("size %u: chips %u + %u of %u have other bytes in a batch of %u", size,
                         first, batch, n, batch);
        }
    }
    for (size_t i = 0; i < n * dimension; i++)
        assert_true(isfinite(together[i]));
    assert_memory_not_equal(together, together + dimension, dimension * sizeof(*together));
    encoder_workspace_destroy(workspace);
    free(out);
    free(together);
    free(chips);
}

static void same_bytes_in_any_batch(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {16, 17, 40, 100, 224};
    struct encoder *encoder = make_encoder(&medium, pooled);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        expect_same_bytes_in_batches(encoder, sizes[i], ENCODER_BATCH);
    expect_same_bytes_in_batches(encoder, ENCODER_INPUT_SIZE_MAX, 7);
    encoder_destroy(encoder);
}

static void same_bytes_in_any_batch_of_a_published_network(void **state)
{
    (void)state;
    static const char *const names[] = {"resnet18", "resnet50"};
    for (size_t i = 0; i < 2; i++) {
        void *data = NULL;
        size_t size = 0;
        struct encoder *encoder = NULL;
        assert_int_equal(random_weights_create(names[i], &data, &size, NULL), 0);
        assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
        free(data);
        expect_same_bytes_in_batches(encoder, ENCODER_INPUT_SIZE_MIN, ENCODER_BATCH);
        expect_same_bytes_in_batches(encoder, 72, 16);
        encoder_destroy(encoder);
    }
}

static void statistics_are_unit_vectors_mean_before_std(void **state)
{
    (void)state;
    struct encoder *encoder = make_encoder(&medium, pooled);
    const uint32_t widths[] = {16, 16, 32, 32};
    float *chips = weights_noise(1, 40, 5);
    float *vector = embed(encoder, 0, chips, 1);
    const float *part = vector;
    for (size_t i = 0; i < 4; i++) {
        double square = 0.0;
        for (uint32_t c = 0; c < widths[i]; c++)
            square += (double)part[c] * (double)part[c];
        assert_true(fabs(square - 1.0) < 1e-5);
        part += widths[i];
    }
    free(vector);
    free(chips);
    encoder_destroy(encoder);
}

/* The mean, and brightest less darkest of 9 x 9 windows of a third of the chip, in the plainest
 * way.
 */
static void chip_numbers(const float *chip, uint32_t side, double *mean, double *contrast)
{
    const uint32_t width = (side + 1) / 3;
    double low = 1e9, high = -1e9;
    *mean = 0.0;
    for (uint32_t i = 0; i < side * side; i++)
        *mean += (double)chip[i] / (side * side);
    for (uint32_t window = 0; window < 81; window++) {
        const uint32_t top = window / 9 * (side - width) / 8,
                       left = window % 9 * (side - width) / 8;
        double sum = 0.0;
        for (uint32_t i = 0; i < width * width; i++)
            sum += (double)chip[(top + i / width) * side + left + i % width];
        low = fmin(low, sum / (width * width));
        high = fmax(high, sum / (width * width));
    }
    *contrast = high - low;
}

static void expect_copies(const float *part, uint32_t n_copies, double number)
{
    for (uint32_t i = 0; i < n_copies; i++)
        assert_true(fabs((double)part[i] * sqrt(n_copies) - number) < 1e-6);
}

/* Before the network's normalisation, at sizes that 3 and 8 divide or not; other parts stay as they
 * are. */
static void stage_0_is_the_chip_itself(void **state)
{
    (void)state;
    enum { N = 3, CHIP = ENCODER_MEAN_COPIES + ENCODER_CONTRAST_COPIES, REST = 2 * (16 + 32) };
    static const uint32_t sizes[] = {48, 40, 17};
    struct encoder *with = make_encoder(&medium, "{\"format\": 1, \"mean\": [0.4], \"std\": [0.3], "
                                                 "\"pool\": {\"stages\": [0, 2, 4], "
                                                 "\"statistics\": [\"mean\", \"std\"]}}");
    struct encoder *without =
        make_encoder(&medium, "{\"format\": 1, \"mean\": [0.4], \"std\": [0.3], "
                              "\"pool\": {\"stages\": [2, 4], "
                              "\"statistics\": [\"mean\", \"std\"]}}");
    assert_int_equal(encoder_info(with)->dimension, CHIP + REST);
    for (size_t i = 0; i < 3; i++) {
        const uint32_t n_pixels = sizes[i] * sizes[i];
        float *chips = weights_noise(N, sizes[i], 11);
        float *vectors = embed(with, sizes[i], chips, N),
              *rest = embed(without, sizes[i], chips, N);
        for (uint32_t chip = 0; chip < N; chip++) {
            const float *vector = vectors + (size_t)chip * (CHIP + REST);
            double mean, contrast;
            chip_numbers(chips + (size_t)chip * n_pixels, sizes[i], &mean, &contrast);
            assert_true(contrast > 0.001);
            expect_copies(vector, ENCODER_MEAN_COPIES, mean);
            expect_copies(vector + ENCODER_MEAN_COPIES, ENCODER_CONTRAST_COPIES, contrast);
            assert_memory_equal(vector + CHIP, rest + (size_t)chip * REST, REST * sizeof(float));
        }
        free(rest);
        free(vectors);
        free(chips);
    }
    encoder_destroy(without);
    encoder_destroy(with);
}

/* As often as the file says. One part beside it is of unit length, as beside any other. */
static void stage_0_has_the_statistics_that_are_pooled(void **state)
{
    (void)state;
    struct encoder *encoder =
        make_encoder(&medium, "{\"format\": 1, \"pool\": {\"stages\": [0, 1], \"statistics\": "
                              "[\"std\"], \"chip_copies\": [3, 5]}}");
    float *chips = weights_noise(1, 40, 12);
    float *vector = embed(encoder, 40, chips, 1);
    const float *rest = vector + 5;
    double mean, contrast, square = 0.0;
    chip_numbers(chips, 40, &mean, &contrast);
    assert_int_equal(encoder_info(encoder)->dimension, 5 + 16);
    expect_copies(vector, 5, contrast);
    for (uint32_t c = 0; c < 16; c++)
        square += (double)rest[c] * (double)rest[c];
    assert_true(fabs(square - 1.0) < 1e-5);
    free(vector);
    free(chips);
    encoder_destroy(encoder);
}

/* Down to the work that is counted and the layers that are measured. */
static void stages_that_are_not_pooled_may_be_absent(void **state)
{
    (void)state;
    static const char metadata[] = "{\"format\": 1, \"pool\": {\"stages\": [0, 1, 2], "
                                   "\"statistics\": [\"mean\", \"std\"]}}";
    struct weights_shape shape = medium;
    struct encoder *whole = make_encoder(&shape, metadata);
    shape.depths[2] = shape.depths[3] = 0;
    struct encoder *first = make_encoder(&shape, metadata);
    const size_t dimension = encoder_info(whole)->dimension;
    assert_int_equal(encoder_info(first)->dimension, dimension);
    assert_int_equal(encoder_info(first)->flops_per_chip, encoder_info(whole)->flops_per_chip);
    for (uint32_t n = 1; n <= ENCODER_BATCH; n += ENCODER_BATCH - 1) {
        float *chips = weights_noise(n, 40, 13);
        float *expected = embed(whole, 40, chips, n), *found = embed(first, 40, chips, n);
        assert_memory_equal(found, expected, n * dimension * sizeof(float));
        free(found);
        free(expected);
        free(chips);
    }
    struct encoder_workspace *workspace = make_workspace(first, 40);
    struct encoder_layer layer;
    assert_int_equal(encoder_workspace_measure(workspace, NULL), 0);
    /* The stem, six convolutions of three blocks, a shortcut. */
    assert_true(encoder_workspace_layer(workspace, 7, &layer));
    assert_string_equal(layer.name, "layer2.0.downsample.0");
    assert_true(encoder_workspace_layer(workspace, 8, &layer));
    assert_string_equal(layer.name, "pooling");
    assert_false(encoder_workspace_layer(workspace, 9, &layer));
    encoder_workspace_destroy(workspace);
    encoder_destroy(first);
    encoder_destroy(whole);
}

/* Weights may be finite and still overflow in sums: the embedding stays finite. */
static void stays_finite_when_sums_overflow(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&medium);
    weights->metadata =
        "{\"format\": 1, \"input_size\": 40, \"pool\": {\"statistics\": [\"mean\", \"std\"]}}";
    for (size_t i = 0; i < weights->n_tensors; i++) {
        struct weights_tensor *tensor = &weights->tensors[i];
        for (uint64_t k = 0; tensor->rank == 4 && k < weights_n_elements(tensor); k++)
            tensor->values[k] = fabsf(tensor->values[k]) * 1e37f;
    }
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    struct encoder *encoder = NULL;
    assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
    float *chips = weights_noise(2, 40, 6);
    float *vectors = embed(encoder, 0, chips, 2);
    for (size_t i = 0; i < 2 * encoder_info(encoder)->dimension; i++)
        assert_true(isfinite(vectors[i]));
    free(vectors);
    free(chips);
    encoder_destroy(encoder);
    free(data);
    weights_destroy(weights);
}

static void refuses_input_sizes_out_of_range(void **state)
{
    (void)state;
    struct encoder *encoder = make_encoder(&medium, pooled);
    struct encoder_workspace *workspace = NULL;
    struct error err = {0};
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, 15, PRECISION_FLOAT32, NULL, &err),
        ERROR_INVALID);
    assert_string_equal(err.message, "input size 15 is not in 16..512");
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, 513, PRECISION_FLOAT32, NULL, &err),
        ERROR_INVALID);
    assert_null(workspace);
    encoder_workspace_destroy(NULL);
    encoder_destroy(encoder);
    encoder_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_pytorch_on_basic_blocks),
        cmocka_unit_test(agrees_with_pytorch_on_bottlenecks),
        cmocka_unit_test(agrees_with_pytorch_on_the_default_encoder),
        cmocka_unit_test(same_bytes_in_a_used_workspace),
        cmocka_unit_test(same_bytes_from_any_thread),
        cmocka_unit_test(same_bytes_while_other_sizes_begin),
        cmocka_unit_test(a_chip_does_not_depend_on_its_batch),
        cmocka_unit_test(blocks_of_a_stage_may_differ_in_width),
        cmocka_unit_test(same_bytes_in_any_batch),
        cmocka_unit_test(same_bytes_in_any_batch_of_a_published_network),
        cmocka_unit_test(statistics_are_unit_vectors_mean_before_std),
        cmocka_unit_test(stage_0_is_the_chip_itself),
        cmocka_unit_test(stage_0_has_the_statistics_that_are_pooled),
        cmocka_unit_test(stages_that_are_not_pooled_may_be_absent),
        cmocka_unit_test(stays_finite_when_sums_overflow),
        cmocka_unit_test(refuses_input_sizes_out_of_range),
    };
    return test_run(tests);
}
