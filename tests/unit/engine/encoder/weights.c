#include "tests/unit/engine/encoder/weights.h"

#include <math.h>

#include "tests/test.h"

/* A small generator of its own, so that tests do not depend on the C library's. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static float uniform(uint32_t *state, float low, float high)
{
    return low + (high - low) * ((float)next_random(state) / (float)(1u << 24));
}

uint64_t weights_n_elements(const struct weights_tensor *tensor)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < tensor->rank; i++)
        n *= tensor->shape[i];
    return n;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n_text = strlen(text);
    const size_t n_end = strlen(end);
    return n_text >= n_end && strcmp(text + n_text - n_end, end) == 0;
}

struct weights_tensor *weights_add(struct weights *weights, const char *name, uint32_t rank,
                                   const uint32_t *shape)
{
    assert_true(weights->n_tensors < WEIGHTS_TENSORS_MAX);
    struct weights_tensor *tensor = &weights->tensors[weights->n_tensors];
    snprintf(tensor->name, sizeof(tensor->name), "%s", name);
    tensor->rank = rank;
    memcpy(tensor->shape, shape, rank * sizeof(*shape));
    const uint64_t n = weights_n_elements(tensor);
    tensor->values = calloc(n + 1, sizeof(*tensor->values));
    assert_non_null(tensor->values);
    uint32_t state = (uint32_t)weights->n_tensors + 1;
    const float reach = rank == 4 ? sqrtf(6.0f * (float)shape[0] / (float)n) : 0.5f;
    /* Batch norm's scales and variances are positive. */
    const bool positive = rank == 1 && (ends_with(name, ".weight") || ends_with(name, "_var"));
    for (uint64_t i = 0; i < n; i++)
        tensor->values[i] = uniform(&state, positive ? 0.5f : -reach, positive ? 1.5f : reach);
    weights->n_tensors++;
    return tensor;
}

static void add_conv(struct weights *weights, const char *conv, const char *norm, uint32_t out,
                     uint32_t in, uint32_t kernel)
{
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    char name[128];
    snprintf(name, sizeof(name), "%s.weight", conv);
    weights_add(weights, name, 4, (const uint32_t[]){out, in, kernel, kernel});
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s.%s", norm, parts[i]);
        weights_add(weights, name, 1, &out);
    }
}

static void add_block(struct weights *weights, const char *prefix, bool bottleneck, uint32_t in,
                      uint32_t out, bool downsample)
{
    static const uint32_t kernels[2][3] = {{3, 3, 0}, {1, 3, 1}};
    char conv[80];
    char norm[80];
    for (uint32_t i = 0; i < (bottleneck ? 3u : 2u); i++) {
        snprintf(conv, sizeof(conv), "%s.conv%u", prefix, i + 1);
        snprintf(norm, sizeof(norm), "%s.bn%u", prefix, i + 1);
        add_conv(weights, conv, norm, out, i == 0 ? in : out, kernels[bottleneck][i]);
    }
    snprintf(conv, sizeof(conv), "%s.downsample.0", prefix);
    snprintf(norm, sizeof(norm), "%s.downsample.1", prefix);
    if (downsample)
        add_conv(weights, conv, norm, out, in, 1);
}

struct weights *weights_create(const struct weights_shape *shape)
{
    struct weights *weights = calloc(1, sizeof(*weights));
    assert_non_null(weights);
    uint32_t in = shape->widths[0];
    add_conv(weights, "conv1", "bn1", in, shape->in_channels, shape->kernel);
    for (uint32_t stage = 0; stage < 4; stage++) {
        for (uint32_t i = 0; i < shape->depths[stage]; i++) {
            const uint32_t out = shape->widths[stage];
            char prefix[64];
            snprintf(prefix, sizeof(prefix), "layer%u.%u", stage + 1, i);
            add_block(weights, prefix, shape->bottleneck, in, out,
                      in != out || (stage > 0 && i == 0));
            in = out;
        }
    }
    return weights;
}

void weights_destroy(struct weights *weights)
{
    if (weights == NULL)
        return;
    for (size_t i = 0; i < weights->n_tensors; i++)
        free(weights->tensors[i].values);
    free(weights);
}

struct weights_tensor *weights_find(struct weights *weights, const char *name)
{
    for (size_t i = 0; i < weights->n_tensors; i++) {
        if (strcmp(weights->tensors[i].name, name) == 0)
            return &weights->tensors[i];
    }
    fail_msg("the test's network has no tensor %s", name);
    return NULL;
}

void weights_remove(struct weights *weights, const char *name)
{
    struct weights_tensor *tensor = weights_find(weights, name);
    free(tensor->values);
    weights->n_tensors--;
    *tensor = weights->tensors[weights->n_tensors];
}

static void write_metadata(FILE *out, const char *text)
{
    fputs("\"__metadata__\": {\"chipshot\": \"", out);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fputc('\\', out);
        fputc(*c, out);
    }
    fputs("\"}, ", out);
}

static void write_header(const struct weights *weights, FILE *out)
{
    fputc('{', out);
    if (weights->metadata != NULL)
        write_metadata(out, weights->metadata);
    uint64_t offset = 0;
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const struct weights_tensor *tensor = &weights->tensors[i];
        const uint64_t end = offset + weights_n_elements(tensor) * sizeof(float);
        fprintf(out, "%s\"%s\": {\"dtype\": \"F32\", \"shape\": [", i == 0 ? "" : ", ",
                tensor->name);
        for (uint32_t k = 0; k < tensor->rank; k++)
            fprintf(out, "%s%u", k == 0 ? "" : ", ", tensor->shape[k]);
        fprintf(out, "], \"data_offsets\": [%llu, %llu]}", (unsigned long long)offset,
                (unsigned long long)end);
        offset = end;
    }
    fputc('}', out);
}

uint8_t *weights_write(const struct weights *weights, size_t *size)
{
    char *header = NULL;
    size_t header_size = 0;
    FILE *out = open_memstream(&header, &header_size);
    assert_non_null(out);
    write_header(weights, out);
    assert_int_equal(fclose(out), 0);
    uint64_t payload = 0;
    for (size_t i = 0; i < weights->n_tensors; i++)
        payload += weights_n_elements(&weights->tensors[i]) * sizeof(float);
    uint8_t *file = malloc(8 + header_size + payload);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)header_size >> (8 * i));
    memcpy(file + 8, header, header_size);
    uint8_t *next = file + 8 + header_size;
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const size_t n_bytes = weights_n_elements(&weights->tensors[i]) * sizeof(float);
        memcpy(next, weights->tensors[i].values, n_bytes);
        next += n_bytes;
    }
    free(header);
    *size = (size_t)(next - file);
    return file;
}

uint8_t *weights_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s cannot be opened (tests run in the root of the repository)", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long length = ftell(file);
    assert_true(length > 0);
    rewind(file);
    uint8_t *data = malloc((size_t)length);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)length, file), length);
    fclose(file);
    *size = (size_t)length;
    return data;
}

float *weights_noise(uint32_t n, uint32_t size, uint32_t seed)
{
    const size_t n_values = (size_t)n * size * size;
    float *chips = malloc(n_values * sizeof(*chips));
    assert_non_null(chips);
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < n_values; i++)
        chips[i] = uniform(&state, 0.0f, 1.0f);
    return chips;
}
