/* An encoder's life, and what its metadata says about it: the JSON in the file's "chipshot" key. */
#include "engine/encoder/encoder.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/encoder/resnet.h"
#include "engine/encoder/safetensors.h"

static const uint32_t DEFAULT_INPUT_SIZE = 224;
static const double NORMALISATION_MAX = 1e3;
static const double STD_MIN = 1e-3;

/* ImageNet's, as torchvision publishes them. */
static const float IMAGENET_MEAN[] = {0.485f, 0.456f, 0.406f};
static const float IMAGENET_STD[] = {0.229f, 0.224f, 0.225f};

static void set_defaults(struct encoder_info *info)
{
    snprintf(info->name, sizeof(info->name), "%s", info->architecture);
    info->input_size = DEFAULT_INPUT_SIZE;
    for (uint32_t c = 0; c < info->in_channels; c++) {
        info->mean[c] = info->in_channels == 3 ? IMAGENET_MEAN[c] : 0.0f;
        info->std[c] = info->in_channels == 3 ? IMAGENET_STD[c] : 1.0f;
    }
    info->pool_stages[info->n_stages] = true;
    info->pool_mean = true;
    info->chip_copies[ENCODER_MEAN] = ENCODER_MEAN_COPIES;
    info->chip_copies[ENCODER_STD] = ENCODER_CONTRAST_COPIES;
}

static int read_name(struct encoder_info *info, const json_t *value, struct error *err)
{
    if (value == NULL)
        return 0;
    const char *name = json_string_value(value);
    if (name == NULL)
        return error_set(err, ERROR_INVALID, "metadata chipshot.name is not a string");
    const size_t length = strlen(name);
    if (length == 0 || length >= sizeof(info->name))
        return error_set(err, ERROR_INVALID, "metadata chipshot.name has %zu bytes, not in 1..%zu",
                         length, sizeof(info->name) - 1);
    for (const char *c = name; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return error_set(err, ERROR_INVALID,
                             "metadata chipshot.name holds a control character");
    }
    memcpy(info->name, name, length + 1);
    return 0;
}

static int read_input_size(struct encoder_info *info, const json_t *value, struct error *err)
{
    if (value == NULL)
        return 0;
    const json_int_t size = json_integer_value(value);
    if (!json_is_integer(value) || size < ENCODER_INPUT_SIZE_MIN || size > ENCODER_INPUT_SIZE_MAX)
        return error_set(err, ERROR_INVALID,
                         "metadata chipshot.input_size is not an integer in %d..%d",
                         ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX);
    info->input_size = (uint32_t)size;
    return 0;
}

/* One number per input channel, each in minimum..NORMALISATION_MAX. */
static int read_per_channel(float *out, uint32_t n_channels, const json_t *value, const char *key,
                            double minimum, struct error *err)
{
    if (value == NULL)
        return 0;
    if (!json_is_array(value) || json_array_size(value) != n_channels)
        return error_set(err, ERROR_INVALID,
                         "metadata chipshot.%s is not an array of %u numbers, one per input "
                         "channel",
                         key, n_channels);
    for (uint32_t c = 0; c < n_channels; c++) {
        const json_t *item = json_array_get(value, c);
        const double number = json_number_value(item);
        if (!json_is_number(item) || !(number >= minimum && number <= NORMALISATION_MAX))
            return error_set(err, ERROR_INVALID,
                             "metadata chipshot.%s[%u] is not a number in %g..%g", key, c, minimum,
                             NORMALISATION_MAX);
        out[c] = (float)number;
    }
    return 0;
}

static int read_stages(struct encoder_info *info, const json_t *value, struct error *err)
{
    if (value == NULL)
        return 0;
    const size_t n = json_array_size(value);
    bool pooled[ENCODER_POOLED] = {false};
    json_int_t previous = -1;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        const json_int_t stage = json_integer_value(item);
        if (!json_is_integer(item) || stage <= previous || stage > ENCODER_STAGES)
            return error_set(err, ERROR_INVALID,
                             "metadata chipshot.pool.stages[%zu] is not a stage in 0..%d above the "
                             "one before",
                             i, ENCODER_STAGES);
        if (stage > info->n_stages)
            return error_set(
                err, ERROR_INVALID,
                "metadata chipshot.pool.stages[%zu] is stage %d, of which the file has "
                "no tensors",
                i, (int)stage);
        pooled[stage] = true;
        previous = stage;
    }
    if (previous < 1)
        return error_set(err, ERROR_INVALID,
                         "metadata chipshot.pool.stages is not an array with a stage in 1..%d",
                         ENCODER_STAGES);
    memcpy(info->pool_stages, pooled, sizeof(pooled));
    return 0;
}

static int read_statistics(struct encoder_info *info, const json_t *value, struct error *err)
{
    if (value == NULL)
        return 0;
    bool mean = false;
    bool std = false;
    const size_t n = json_array_size(value);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(value, i));
        if (name != NULL && strcmp(name, "mean") == 0 && !mean && !std)
            mean = true;
        else if (name != NULL && strcmp(name, "std") == 0 && !std)
            std = true;
        else
            return error_set(err, ERROR_INVALID,
                             "metadata chipshot.pool.statistics is not [\"mean\"], [\"std\"] or "
                             "[\"mean\", \"std\"]");
    }
    if (n == 0)
        return error_set(err, ERROR_INVALID,
                         "metadata chipshot.pool.statistics is not a non-empty array");
    info->pool_mean = mean;
    info->pool_std = std;
    return 0;
}

/* Absent: as many as they were before there was a choice. */
static int read_chip_copies(struct encoder_info *info, const json_t *value, struct error *err)
{
    if (value == NULL)
        return 0;
    if (!json_is_array(value) || json_array_size(value) != ENCODER_STATISTICS)
        return error_set(err, ERROR_INVALID,
                         "metadata chipshot.pool.chip_copies is not an array of %d integers, of "
                         "mean and contrast",
                         ENCODER_STATISTICS);
    for (size_t i = 0; i < ENCODER_STATISTICS; i++) {
        const json_t *item = json_array_get(value, i);
        const json_int_t n = json_integer_value(item);
        if (!json_is_integer(item) || n < 1 || n > ENCODER_COPIES_MAX)
            return error_set(err, ERROR_INVALID,
                             "metadata chipshot.pool.chip_copies[%zu] is not an integer in 1..%d",
                             i, ENCODER_COPIES_MAX);
        info->chip_copies[i] = (uint32_t)n;
    }
    return 0;
}

static int read_pool(struct encoder_info *info, const json_t *pool, struct error *err)
{
    if (pool == NULL)
        return 0;
    if (!json_is_object(pool))
        return error_set(err, ERROR_INVALID, "metadata chipshot.pool is not an object");
    const json_t *stages = json_object_get(pool, "stages");
    const json_t *statistics = json_object_get(pool, "statistics");
    const json_t *copies = json_object_get(pool, "chip_copies");
    /* A key that is not understood here would change what the embedding is. */
    if (json_object_size(pool) !=
        (size_t)(stages != NULL) + (size_t)(statistics != NULL) + (size_t)(copies != NULL))
        return error_set(err, ERROR_INVALID,
                         "metadata chipshot.pool has keys besides stages, statistics and "
                         "chip_copies");
    int rc = read_stages(info, stages, err);
    if (rc == 0)
        rc = read_statistics(info, statistics, err);
    return rc != 0 ? rc : read_chip_copies(info, copies, err);
}

/* Absent: chips, which is what files had that were made before there was a choice. */
static int read_encoding(struct encoder_info *info, const json_t *value, struct error *err)
{
    struct error inner = {0};
    if (value == NULL)
        return 0;
    const char *name = json_string_value(value);
    if (name == NULL)
        return error_set(err, ERROR_INVALID, "metadata chipshot.encoding is not a string");
    int rc = encoding_parse(name, &info->encoding, &inner);
    if (rc == 0)
        rc = encoding_check_side(info->encoding, info->input_size, &inner);
    if (rc < 0)
        error_set(err, ERROR_INVALID, "metadata chipshot.encoding: %.300s", inner.message);
    return rc;
}

static int read_fields(struct encoder_info *info, const json_t *root, struct error *err)
{
    if (!json_is_object(root))
        return error_set(err, ERROR_INVALID, "metadata chipshot is not a JSON object");
    const json_t *format = json_object_get(root, "format");
    if (!json_is_integer(format) || json_integer_value(format) != 1)
        return error_set(err, ERROR_INVALID, "metadata chipshot.format is not 1");
    int rc = read_name(info, json_object_get(root, "name"), err);
    if (rc == 0)
        rc = read_input_size(info, json_object_get(root, "input_size"), err);
    if (rc == 0)
        rc = read_per_channel(info->mean, info->in_channels, json_object_get(root, "mean"), "mean",
                              -NORMALISATION_MAX, err);
    if (rc == 0)
        rc = read_per_channel(info->std, info->in_channels, json_object_get(root, "std"), "std",
                              STD_MIN, err);
    if (rc == 0)
        rc = read_pool(info, json_object_get(root, "pool"), err);
    if (rc == 0)
        rc = read_encoding(info, json_object_get(root, "encoding"), err);
    return rc;
}

static int read_metadata(struct encoder_info *info, const char *text, struct error *err)
{
    if (text == NULL)
        return 0;
    json_error_t json_error;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &json_error);
    if (root == NULL && json_error_code(&json_error) == json_error_out_of_memory)
        return error_set_nomem(err, "the encoder's metadata");
    if (root == NULL)
        return error_set(err, ERROR_INVALID, "metadata chipshot is not JSON: byte %d: %s",
                         json_error.position, json_error.text);
    int rc = read_fields(info, root, err);
    json_decref(root);
    return rc;
}

uint32_t encoder_stage_width(const struct encoder_info *info, uint32_t stage,
                             enum encoder_statistic statistic)
{
    if (stage > 0)
        return info->widths[stage - 1];
    return info->chip_copies[statistic];
}

float *encoder_put_number(const struct encoder_info *info, enum encoder_statistic statistic,
                          float number, float *out)
{
    const uint32_t n_copies = info->chip_copies[statistic];
    const float copy = number / sqrtf((float)n_copies);
    for (uint32_t i = 0; i < n_copies; i++)
        *out++ = copy;
    return out;
}

bool encoder_pools_one_vector(const struct encoder_info *info)
{
    uint32_t n_stages = 0;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++)
        n_stages += info->pool_stages[stage] ? 1 : 0;
    return n_stages == 1 && !(info->pool_mean && info->pool_std);
}

uint32_t encoder_stage_floats(const struct encoder_info *info, uint32_t stage)
{
    if (!info->pool_stages[stage])
        return 0;
    return (info->pool_mean ? encoder_stage_width(info, stage, ENCODER_MEAN) : 0) +
           (info->pool_std ? encoder_stage_width(info, stage, ENCODER_STD) : 0);
}

static uint32_t embedding_dimension(const struct encoder_info *info)
{
    uint32_t dimension = 0;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++)
        dimension += encoder_stage_floats(info, stage);
    return dimension;
}

int encoder_create(struct encoder **out, const void *data, size_t size, struct error *err)
{
    struct safetensors *file = NULL;
    struct plan plan;
    struct encoder *encoder = calloc(1, sizeof(*encoder));
    if (encoder == NULL)
        return error_set_nomem(err, "the encoder");
    pthread_mutex_init(&encoder->packing, NULL);
    int rc = safetensors_create(&file, data, size, err);
    if (rc != 0)
        goto out;
    rc = resnet_init(encoder, file, err);
    if (rc != 0)
        goto out;
    set_defaults(&encoder->info);
    rc = read_metadata(&encoder->info, safetensors_metadata(file, "chipshot"), err);
    if (rc != 0)
        goto out;
    rc = stem_fold(&encoder->stem, encoder->info.mean, encoder->info.std, err);
    if (rc != 0)
        goto out;
    /* An encoder that cannot run at its own input size is refused now, not at the first job. */
    rc = plan_init(&plan, encoder, encoder->info.input_size, ENCODER_BATCH, PRECISION_FLOAT32, err);
    if (rc != 0)
        goto out;
    encoder->info.dimension = embedding_dimension(&encoder->info);
    encoder->info.flops_per_chip = plan.flops_per_chip;
    plan_clear(&plan);
    *out = encoder;
    encoder = NULL;
out:
    safetensors_destroy(file);
    encoder_destroy(encoder);
    return rc;
}

const char *encoder_kernels(void)
{
    return kernels_best()->name;
}

void encoder_destroy(struct encoder *encoder)
{
    if (encoder == NULL)
        return;
    resnet_clear(encoder);
    pthread_mutex_destroy(&encoder->packing);
    free(encoder);
}

const struct encoder_info *encoder_info(const struct encoder *encoder)
{
    return &encoder->info;
}
