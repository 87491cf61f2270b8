/* Loading: the architecture that is read off the shapes, the metadata, and that every fault of a
 * file is refused by name. */
#include "tests/test.h"

#include "engine/encoder/encoder.h"
#include "tests/unit/engine/encoder/weights.h"

#include <math.h>

static const struct weights_shape basic = {
    .in_channels = 1, .kernel = 3, .widths = {2, 3, 4, 5}, .depths = {1, 2, 1, 1}};
static const struct weights_shape bottleneck = {.bottleneck = true,
                                                .in_channels = 3,
                                                .kernel = 7,
                                                .widths = {2, 2, 3, 3},
                                                .depths = {3, 4, 6, 3}};

static int load(const struct weights *weights, struct encoder **out, struct error *err)
{
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    int rc = encoder_create(out, data, size, err);
    free(data);
    return rc;
}

static void expect_refused(struct weights *weights, const char *message)
{
    struct error err = {0};
    struct encoder *encoder = NULL;
    assert_int_equal(load(weights, &encoder, &err), ERROR_INVALID);
    assert_null(encoder);
    if (strstr(err.message, message) == NULL)
        fail_msg("message \"%s\" does not say \"%s\"", err.message, message);
    weights_destroy(weights);
}

static void reads_the_architecture_off_the_shapes(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&bottleneck);
    struct encoder *encoder = NULL;
    assert_int_equal(load(weights, &encoder, NULL), 0);
    const struct encoder_info *info = encoder_info(encoder);
    assert_string_equal(info->architecture, "resnet50");
    assert_string_equal(info->name, "resnet50");
    assert_true(info->bottleneck);
    assert_memory_equal(info->depths, bottleneck.depths, sizeof(info->depths));
    assert_memory_equal(info->widths, bottleneck.widths, sizeof(info->widths));
    assert_int_equal(info->in_channels, 3);
    assert_int_equal(info->input_size, 224);
    assert_true(info->mean[1] == 0.456f && info->std[2] == 0.225f);
    assert_true(info->pool_mean && !info->pool_std);
    assert_true(info->pool_stages[4] && !info->pool_stages[1] && !info->pool_stages[3]);
    assert_int_equal(info->dimension, 3);
    encoder_destroy(encoder);
    weights_destroy(weights);
}

static void counts_parameters_and_work(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&basic);
    weights->metadata = "{\"format\": 1, \"input_size\": 32}";
    struct encoder *encoder = NULL;
    assert_int_equal(load(weights, &encoder, NULL), 0);
    const struct encoder_info *info = encoder_info(encoder);
    assert_string_equal(info->architecture, "resnet");
    /* Convolutions in order: stem; one block of 2; 2 to 3 with downsample and a second block of 3;
     * 3 to 4 and 4 to 5 with downsample. Maps of 16, 8, 4, 2 and 1 pixels a side. */
    const uint64_t convs =
        18 + 36 + 36 + (54 + 81 + 6 + 81 + 81) + (108 + 144 + 12) + (180 + 225 + 20);
    const uint64_t norms = 2 * (2 + 2 + 2 + 5 * 3 + 3 * 4 + 3 * 5);
    assert_int_equal(info->n_parameters, convs + norms);
    const uint64_t products =
        256 * 18 + 64 * 72 + 16 * (54 + 81 + 6 + 81 + 81) + 4 * (108 + 144 + 12) + (180 + 225 + 20);
    assert_int_equal(info->flops_per_chip, 2 * products);
    /* A grey network without mean and std takes its chips as they are. */
    assert_true(info->mean[0] == 0.0f && info->std[0] == 1.0f);
    encoder_destroy(encoder);
    weights_destroy(weights);
}

static void reads_metadata(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&basic);
    weights->metadata =
        "{\"format\": 1, \"name\": \"n\", \"input_size\": 48, \"mean\": [0.25], "
        "\"std\": [2], \"pool\": {\"stages\": [0, 1, 3], \"statistics\": [\"mean\", "
        "\"std\"]}, \"licence\": {\"any\": null}}";
    struct encoder *encoder = NULL;
    assert_int_equal(load(weights, &encoder, NULL), 0);
    const struct encoder_info *info = encoder_info(encoder);
    assert_string_equal(info->name, "n");
    assert_int_equal(info->input_size, 48);
    assert_true(info->mean[0] == 0.25f && info->std[0] == 2.0f);
    assert_true(info->pool_stages[0] && info->pool_stages[1] && !info->pool_stages[2] &&
                info->pool_stages[3] && !info->pool_stages[4]);
    assert_true(info->pool_mean && info->pool_std);
    assert_int_equal(info->dimension, ENCODER_MEAN_COPIES + ENCODER_CONTRAST_COPIES + 2 * (2 + 4));
    assert_int_equal(encoder_stage_width(info, 0, ENCODER_MEAN), ENCODER_MEAN_COPIES);
    assert_int_equal(encoder_stage_width(info, 0, ENCODER_STD), ENCODER_CONTRAST_COPIES);
    assert_int_equal(encoder_stage_width(info, 3, ENCODER_STD), 4);
    assert_int_equal(info->encoding, ENCODING_CHIPS); /* as when there was no choice */
    encoder_destroy(encoder);
    weights_destroy(weights);
}

static void reads_how_images_are_encoded(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        enum encoding encoding;
    } cases[] = {
        {NULL, ENCODING_CHIPS},
        {"{\"format\": 1}", ENCODING_CHIPS},
        {"{\"format\": 1, \"encoding\": \"chips\", \"input_size\": 512}", ENCODING_CHIPS},
        {"{\"format\": 1, \"encoding\": \"dense\"}", ENCODING_DENSE},
        {"{\"format\": 1, \"encoding\": \"dense\", \"input_size\": 384}", ENCODING_DENSE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weights *weights = weights_create(&basic);
        struct encoder *encoder = NULL;
        weights->metadata = cases[i].metadata;
        assert_int_equal(load(weights, &encoder, NULL), 0);
        assert_int_equal(encoder_info(encoder)->encoding, cases[i].encoding);
        encoder_destroy(encoder);
        weights_destroy(weights);
    }
}

static void reads_how_often_the_chips_numbers_stand(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&basic);
    struct encoder *encoder = NULL;
    weights->metadata = "{\"format\": 1, \"pool\": {\"stages\": [0, 3], \"statistics\": [\"mean\", "
                        "\"std\"], \"chip_copies\": [1, 256]}}";
    assert_int_equal(load(weights, &encoder, NULL), 0);
    const struct encoder_info *info = encoder_info(encoder);
    assert_int_equal(encoder_stage_width(info, 0, ENCODER_MEAN), 1);
    assert_int_equal(encoder_stage_width(info, 0, ENCODER_STD), 256);
    assert_int_equal(info->dimension, 1 + 256 + 2 * 4);
    encoder_destroy(encoder);
    weights_destroy(weights);
}

/* What is not there counts nothing, and the last stage is the last one that is there. */
static void a_file_may_lack_the_last_stages(void **state)
{
    (void)state;
    static const uint32_t last_widths[] = {3, 3, 2, 2}; /* of 1 to 4 stages */
    for (uint32_t n = 1; n <= ENCODER_STAGES; n++) {
        struct weights_shape shape = bottleneck;
        memset(shape.depths + n, 0, (ENCODER_STAGES - n) * sizeof(shape.depths[0]));
        struct weights *weights = weights_create(&shape);
        struct encoder *encoder = NULL;
        assert_int_equal(load(weights, &encoder, NULL), 0);
        const struct encoder_info *info = encoder_info(encoder);
        assert_string_equal(info->architecture, n == ENCODER_STAGES ? "resnet50" : "resnet");
        assert_int_equal(info->n_stages, n);
        assert_memory_equal(info->depths, shape.depths, sizeof(info->depths));
        for (uint32_t stage = 1; stage <= ENCODER_STAGES; stage++) {
            assert_int_equal(info->widths[stage - 1],
                             stage <= n ? bottleneck.widths[stage - 1] : 0);
            assert_int_equal(info->pool_stages[stage], stage == n);
        }
        assert_int_equal(info->dimension, last_widths[ENCODER_STAGES - n]);
        encoder_destroy(encoder);
        weights_destroy(weights);
    }
}

static void refuses_what_needs_a_stage_that_is_not_there(void **state)
{
    (void)state;
    struct weights_shape shape = basic;
    shape.depths[3] = 0;
    struct weights *weights = weights_create(&shape);
    weights->metadata = "{\"format\": 1, \"pool\": {\"stages\": [3, 4]}}";
    expect_refused(weights, "chipshot.pool.stages[1] is stage 4, of which the file has no tensors");

    weights = weights_create(&shape);
    weights_add(weights, "fc.weight", 2, (const uint32_t[]){10, 5});
    weights_add(weights, "fc.bias", 1, (const uint32_t[]){10});
    expect_refused(weights, "tensor fc.weight has shape [10, 5], not [10, 4]");

    weights = weights_create(&shape);
    weights_add(weights, "layer4.1.conv1.weight", 4, (const uint32_t[]){5, 5, 3, 3});
    expect_refused(weights, "tensor layer4.0.conv1.weight is missing");

    shape = basic;
    shape.depths[1] = shape.depths[2] = 0;
    expect_refused(weights_create(&shape), "tensor layer2.0.conv1.weight is missing");

    shape = basic;
    memset(shape.depths, 0, sizeof(shape.depths));
    expect_refused(weights_create(&shape), "tensor layer1.0.conv1.weight is missing");
}

static void refuses_wrong_metadata(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        const char *message;
    } cases[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"[1]", "chipshot is not a JSON object"},
        {"{}", "chipshot.format is not 1"},
        {"{\"format\": \"1\"}", "chipshot.format"},
        {"{\"format\": 2}", "chipshot.format"},
        {"{\"format\": 1, \"format\": 1}", "duplicate"},
        {"{\"format\": 1, \"name\": 3}", "chipshot.name is not a string"},
        {"{\"format\": 1, \"name\": \"\"}", "chipshot.name has 0 bytes"},
        {"{\"format\": 1, \"name\": "
         "\"0123456789012345678901234567890123456789012345678901234567890123\"}",
         "chipshot.name has 64 bytes, not in 1..63"},
        {"{\"format\": 1, \"name\": \"a\\nb\"}", "chipshot.name holds a control character"},
        {"{\"format\": 1, \"input_size\": 15}", "chipshot.input_size is not an integer in 16..512"},
        {"{\"format\": 1, \"input_size\": 513}", "chipshot.input_size"},
        {"{\"format\": 1, \"input_size\": 64.0}", "chipshot.input_size"},
        {"{\"format\": 1, \"input_size\": \"64\"}", "chipshot.input_size"},
        {"{\"format\": 1, \"mean\": 0.4}", "chipshot.mean is not an array of 1"},
        {"{\"format\": 1, \"mean\": [0.4, 0.4, 0.4]}", "chipshot.mean is not an array of 1"},
        {"{\"format\": 1, \"mean\": [\"0.4\"]}", "chipshot.mean[0]"},
        {"{\"format\": 1, \"mean\": [1e300]}", "chipshot.mean[0]"},
        {"{\"format\": 1, \"mean\": [1e400]}", "not JSON"},
        {"{\"format\": 1, \"mean\": [NaN]}", "not JSON"},
        {"{\"format\": 1, \"std\": [0]}", "chipshot.std[0]"},
        {"{\"format\": 1, \"std\": [-1]}", "chipshot.std[0]"},
        {"{\"format\": 1, \"std\": [null]}", "chipshot.std[0]"},
        {"{\"format\": 1, \"pool\": [4]}", "chipshot.pool is not an object"},
        {"{\"format\": 1, \"pool\": {\"stage\": [4]}}", "chipshot.pool has keys besides"},
        {"{\"format\": 1, \"pool\": {\"stages\": 4}}", "chipshot.pool.stages is not an array with"},
        {"{\"format\": 1, \"pool\": {\"stages\": []}}",
         "chipshot.pool.stages is not an array with"},
        {"{\"format\": 1, \"pool\": {\"stages\": [0]}}", "is not an array with a stage in 1..4"},
        {"{\"format\": 1, \"pool\": {\"stages\": [-1]}}", "chipshot.pool.stages[0]"},
        {"{\"format\": 1, \"pool\": {\"stages\": [0, 0]}}", "chipshot.pool.stages[1]"},
        {"{\"format\": 1, \"pool\": {\"stages\": [5]}}", "chipshot.pool.stages[0]"},
        {"{\"format\": 1, \"pool\": {\"stages\": [3, 3]}}", "chipshot.pool.stages[1]"},
        {"{\"format\": 1, \"pool\": {\"stages\": [4, 2]}}", "chipshot.pool.stages[1]"},
        {"{\"format\": 1, \"pool\": {\"stages\": [\"4\"]}}", "chipshot.pool.stages[0]"},
        {"{\"format\": 1, \"pool\": {\"statistics\": []}}", "chipshot.pool.statistics"},
        {"{\"format\": 1, \"pool\": {\"statistics\": \"mean\"}}", "chipshot.pool.statistics"},
        {"{\"format\": 1, \"pool\": {\"statistics\": [\"max\"]}}", "chipshot.pool.statistics"},
        {"{\"format\": 1, \"pool\": {\"statistics\": [\"std\", \"mean\"]}}",
         "chipshot.pool.statistics"},
        {"{\"format\": 1, \"pool\": {\"statistics\": [\"mean\", \"mean\"]}}",
         "chipshot.pool.statistics"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weights *weights = weights_create(&basic);
        weights->metadata = cases[i].metadata;
        expect_refused(weights, cases[i].message);
    }
}

static void refuses_wrong_numbers_of_copies(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *message;
    } cases[] = {
        {"64", "chipshot.pool.chip_copies is not an array of 2 integers"},
        {"[]", "chipshot.pool.chip_copies is not an array of 2 integers"},
        {"[48]", "chipshot.pool.chip_copies is not an array of 2 integers"},
        {"[48, 64, 1]", "chipshot.pool.chip_copies is not an array of 2 integers"},
        {"[0, 64]", "chipshot.pool.chip_copies[0] is not an integer in 1..256"},
        {"[48, 257]", "chipshot.pool.chip_copies[1] is not an integer in 1..256"},
        {"[48, -1]", "chipshot.pool.chip_copies[1]"},
        {"[48.0, 64]", "chipshot.pool.chip_copies[0]"},
        {"[48, \"64\"]", "chipshot.pool.chip_copies[1]"},
        {"[4294967344, 64]", "chipshot.pool.chip_copies[0]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char metadata[128];
        struct weights *weights = weights_create(&basic);
        snprintf(metadata, sizeof(metadata), "{\"format\": 1, \"pool\": {\"chip_copies\": %s}}",
                 cases[i].value);
        weights->metadata = metadata;
        expect_refused(weights, cases[i].message);
    }
}

static void refuses_wrong_encodings(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        const char *message;
    } cases[] = {
        {"{\"format\": 1, \"encoding\": 1}", "chipshot.encoding is not a string"},
        {"{\"format\": 1, \"encoding\": null}", "chipshot.encoding is not a string"},
        {"{\"format\": 1, \"encoding\": \"Dense\"}",
         "chipshot.encoding: encoding 'Dense' is not chips or dense"},
        {"{\"format\": 1, \"encoding\": \"dense\", \"input_size\": 385}",
         "chipshot.encoding: input size 385 is above 384, the largest that dense encoding takes"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weights *weights = weights_create(&basic);
        weights->metadata = cases[i].metadata;
        expect_refused(weights, cases[i].message);
    }
}

/* Whichever tensor is absent, the file is refused and the message names a tensor of its block. */
static void refuses_a_file_that_lacks_any_one_tensor(void **state)
{
    (void)state;
    const struct weights_shape shapes[] = {
        basic,
        {.bottleneck = true,
         .in_channels = 1,
         .kernel = 3,
         .widths = {2, 3, 3, 3},
         .depths = {1, 1, 2, 1}},
    };
    for (size_t s = 0; s < 2; s++) {
        struct weights *whole = weights_create(&shapes[s]);
        for (size_t i = 0; i < whole->n_tensors; i++) {
            struct weights *weights = weights_create(&shapes[s]);
            weights_remove(weights, whole->tensors[i].name);
            char block[64];
            snprintf(block, sizeof(block), "tensor %.8s", whole->tensors[i].name);
            expect_refused(weights, strncmp(block, "tensor layer", 12) == 0 ? block : "tensor ");
        }
        weights_destroy(whole);
    }
}

static void refuses_tensors_that_do_not_belong(void **state)
{
    (void)state;
    static const char *const names[] = {"x",
                                        "fc.weights",
                                        "layer1.1.conv2.weight",
                                        "layer1.00.conv1.weight",
                                        "layer5.0.conv1.weight",
                                        "layer1.0.downsample.1.weight",
                                        "layer1.0.conv1.bias",
                                        "bn1.num_batches",
                                        "layer1.0.bn3.num_batches_tracked"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct weights *weights = weights_create(&basic);
        weights_add(weights, names[i], 1, (const uint32_t[]){2});
        char message[128];
        snprintf(message, sizeof(message), "tensor %s does not belong", names[i]);
        expect_refused(weights, message);
    }
}

static void accepts_what_published_files_hold_besides(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&basic);
    weights_add(weights, "fc.weight", 2, (const uint32_t[]){1000, 5});
    weights_add(weights, "fc.bias", 1, (const uint32_t[]){1000});
    weights_add(weights, "bn1.num_batches_tracked", 0, (const uint32_t[]){0});
    weights_add(weights, "layer2.0.downsample.1.num_batches_tracked", 0, (const uint32_t[]){0});
    struct encoder *encoder = NULL;
    assert_int_equal(load(weights, &encoder, NULL), 0);
    encoder_destroy(encoder);
    weights_find(weights, "fc.weight")->shape[1] = 4;
    expect_refused(weights, "tensor fc.weight has shape [1000, 4], not [1000, 5]");

    weights = weights_create(&basic);
    weights_add(weights, "fc.weight", 2, (const uint32_t[]){10, 5});
    expect_refused(weights, "tensor fc.bias is missing");
}

static void replace(struct weights *weights, const char *name, uint32_t rank, const uint32_t *shape)
{
    weights_remove(weights, name);
    weights_add(weights, name, rank, shape);
}

static void refuses_wrong_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t rank;
        uint32_t shape[4];
        const char *message;
    } cases[] = {
        {"conv1.weight", 3, {2, 1, 3}, "conv1.weight: rank 3"},
        {"conv1.weight", 4, {2, 2, 3, 3}, "conv1.weight: rank 4, 2 input channels"},
        {"conv1.weight", 4, {2, 1, 4, 4}, "conv1.weight: kernel side 4"},
        {"conv1.weight", 4, {2, 1, 1, 1}, "conv1.weight: kernel side 1"},
        {"conv1.weight", 4, {2, 1, 17, 17}, "conv1.weight: kernel side 17"},
        {"conv1.weight", 4, {2, 1, 3, 5}, "conv1.weight has shape [2, 1, 3, 5], not [2, 1, 3, 3]"},
        {"conv1.weight", 4, {0, 1, 3, 3}, "conv1.weight: rank 4, 0 output channels"},
        {"conv1.weight", 4, {8193, 1, 3, 3}, "conv1.weight: rank 4, 8193 output channels"},
        {"conv1.weight", 4, {3, 1, 3, 3}, "tensor bn1.weight has shape [2], not [3]"},
        {"bn1.running_var", 1, {3}, "tensor bn1.running_var has shape [3], not [2]"},
        {"bn1.bias", 0, {0}, "tensor bn1.bias has shape [], not [2]"},
        {"bn1.bias", 2, {2, 1}, "tensor bn1.bias has shape [2, 1], not [2]"},
        {"layer1.0.conv1.weight", 4, {2, 3, 3, 3}, "layer1.0.conv1.weight has shape"},
        {"layer1.0.conv2.weight", 4, {2, 2, 5, 5}, "layer1.0.conv2.weight has shape"},
        {"layer2.0.conv2.weight", 4, {3, 3, 1, 1}, "layer2.0.conv2.weight has shape"},
        {"layer2.0.downsample.0.weight", 4, {3, 2, 3, 3}, "layer2.0.downsample.0.weight has shape"},
        {"layer2.0.downsample.0.weight", 4, {3, 3, 1, 1}, "layer2.0.downsample.0.weight has shape"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weights *weights = weights_create(&basic);
        replace(weights, cases[i].name, cases[i].rank, cases[i].shape);
        expect_refused(weights, cases[i].message);
    }
}

static void refuses_a_change_of_width_without_downsample(void **state)
{
    (void)state;
    static const char *const parts[] = {"0.weight", "1.weight", "1.bias", "1.running_mean",
                                        "1.running_var"};
    struct weights *weights = weights_create(&basic);
    for (size_t i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof(name), "layer2.0.downsample.%s", parts[i]);
        weights_remove(weights, name);
    }
    expect_refused(weights, "tensor layer2.0.downsample.0.weight is missing: the block changes 2 "
                            "channels to 3 at stride 2");
}

static void refuses_values_that_are_not_finite(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        float value;
        const char *message;
    } cases[] = {
        {"conv1.weight", NAN, "tensor conv1.weight: element 1 is not finite"},
        {"layer3.0.conv2.weight", INFINITY, "tensor layer3.0.conv2.weight: element 1"},
        {"layer3.0.bn2.bias", -INFINITY, "tensor layer3.0.bn2.bias: element 1"},
        {"bn1.running_mean", NAN, "tensor bn1.running_mean: element 1"},
        {"bn1.running_var", -0.5f, "tensor bn1.running_var: element 1 is negative"},
        {"bn1.weight", 3e38f, "tensor conv1.weight overflows float32"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weights *weights = weights_create(&basic);
        weights_find(weights, cases[i].name)->values[1] = cases[i].value;
        for (size_t k = 0; k < 18; k++)
            weights_find(weights, "conv1.weight")->values[k] += 3.0f;
        expect_refused(weights, cases[i].message);
    }
    struct weights *weights = weights_create(&basic);
    weights_find(weights, "bn1.weight")->values[0] = 3e38f;
    weights_find(weights, "bn1.running_mean")->values[0] = 1e10f;
    expect_refused(weights, "batch norm bn1: channel 0 overflows");
}

static void refuses_absurd_sizes(void **state)
{
    (void)state;
    struct weights_shape deep = basic;
    deep.depths[3] = 197;
    struct weights *weights = weights_create(&deep);
    expect_refused(weights, "tensor layer4.196.conv1.weight: the network exceeds 200 blocks");

    /* A few kilobytes of weights whose activations would take gigabytes. */
    const struct weights_shape wide = {
        .in_channels = 1, .kernel = 3, .widths = {1, 1, 1, 1}, .depths = {1, 1, 1, 1}};
    weights = weights_create(&wide);
    weights->metadata = "{\"format\": 1, \"input_size\": 512}";
    replace(weights, "layer1.0.conv1.weight", 4, (const uint32_t[]){8192, 1, 3, 3});
    replace(weights, "layer1.0.conv2.weight", 4, (const uint32_t[]){1, 8192, 3, 3});
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    for (size_t i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof(name), "layer1.0.bn1.%s", parts[i]);
        replace(weights, name, 1, (const uint32_t[]){8192});
    }
    expect_refused(weights, "bytes a thread at input size 512");
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&basic);
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 97) {
        uint8_t *copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, data, cut);
        struct encoder *encoder = NULL;
        assert_int_equal(encoder_create(&encoder, copy, cut, NULL), ERROR_INVALID);
        free(copy);
    }
    free(data);
    weights_destroy(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_architecture_off_the_shapes),
        cmocka_unit_test(counts_parameters_and_work),
        cmocka_unit_test(reads_metadata),
        cmocka_unit_test(reads_how_images_are_encoded),
        cmocka_unit_test(reads_how_often_the_chips_numbers_stand),
        cmocka_unit_test(a_file_may_lack_the_last_stages),
        cmocka_unit_test(refuses_what_needs_a_stage_that_is_not_there),
        cmocka_unit_test(refuses_wrong_metadata),
        cmocka_unit_test(refuses_wrong_numbers_of_copies),
        cmocka_unit_test(refuses_wrong_encodings),
        cmocka_unit_test(refuses_a_file_that_lacks_any_one_tensor),
        cmocka_unit_test(refuses_tensors_that_do_not_belong),
        cmocka_unit_test(accepts_what_published_files_hold_besides),
        cmocka_unit_test(refuses_wrong_shapes),
        cmocka_unit_test(refuses_a_change_of_width_without_downsample),
        cmocka_unit_test(refuses_values_that_are_not_finite),
        cmocka_unit_test(refuses_absurd_sizes),
        cmocka_unit_test(refuses_every_truncation),
    };
    return test_run(tests);
}
