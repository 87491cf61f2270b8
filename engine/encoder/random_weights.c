/* Two walks over one list of tensors: the header's text, then the values. Convolutions are drawn
 * as He et al. (ICCV 2015) initialise them, and the last batch norm of a block scales its branch
 * down, so that activations neither vanish nor overflow through a hundred layers. */
#include "engine/encoder/random_weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/encoder/encoder.h"
#include "engine/random.h"

enum { NAME_SIZE = 48, HEADER_ALIGNMENT = 8, LENGTH_SIZE = 8, STEM_WIDTH = 64 };

struct architecture {
    const char *name;
    bool bottleneck;
    uint32_t depths[ENCODER_STAGES];
};

static const struct architecture architectures[] = {
    {"resnet18", false, {2, 2, 2, 2}},
    {"resnet34", false, {3, 4, 6, 3}},
    {"resnet50", true, {3, 4, 6, 3}},
    {"resnet101", true, {3, 4, 23, 3}},
};

struct tensor {
    char name[NAME_SIZE];
    uint32_t rank;
    uint32_t shape[4];
    float low, high; /* values are uniform between */
};

struct tensor_list {
    struct tensor *items; /* owned */
    size_t n;
    size_t capacity;
    bool failed; /* an allocation did */
};

static size_t n_elements(const struct tensor *tensor)
{
    size_t n = 1;
    for (uint32_t i = 0; i < tensor->rank; i++)
        n *= tensor->shape[i];
    return n;
}

static void add(struct tensor_list *list, const struct tensor *tensor)
{
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 128 : 2 * list->capacity;
        struct tensor *items = realloc(list->items, capacity * sizeof(*items));
        if (items == NULL) {
            list->failed = true;
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = *tensor;
}

static void add_vector(struct tensor_list *list, const char *norm, const char *part, uint32_t n,
                       float low, float high)
{
    struct tensor tensor = {.rank = 1, .shape = {n}, .low = low, .high = high};
    snprintf(tensor.name, sizeof(tensor.name), "%s.%s", norm, part);
    add(list, &tensor);
}

/* A convolution and its batch norm; `gain` is the largest weight of the latter. */
static void add_conv(struct tensor_list *list, const char *conv, const char *norm, uint32_t in,
                     uint32_t out, uint32_t kernel, float gain)
{
    const float reach = sqrtf(6.0f / (float)(in * kernel * kernel));
    struct tensor tensor = {
        .rank = 4, .shape = {out, in, kernel, kernel}, .low = -reach, .high = reach};
    snprintf(tensor.name, sizeof(tensor.name), "%s.weight", conv);
    add(list, &tensor);
    add_vector(list, norm, "weight", out, gain / 2, gain);
    add_vector(list, norm, "bias", out, -0.1f, 0.1f);
    add_vector(list, norm, "running_mean", out, -0.1f, 0.1f);
    add_vector(list, norm, "running_var", out, 0.5f, 1.5f);
}

/* Returns the channels that the block puts out. */
static uint32_t add_block(struct tensor_list *list, bool bottleneck, uint32_t stage, uint32_t index,
                          uint32_t in)
{
    static const uint32_t kernels[2][3] = {{3, 3, 0}, {1, 3, 1}};
    const uint32_t width = (uint32_t)STEM_WIDTH << stage;
    const uint32_t out = bottleneck ? 4 * width : width;
    const uint32_t n_convs = bottleneck ? 3 : 2;
    char conv[NAME_SIZE - 16], norm[NAME_SIZE - 16];
    uint32_t channels = in;
    for (uint32_t i = 0; i < n_convs; i++) {
        const bool last = i + 1 == n_convs;
        snprintf(conv, sizeof(conv), "layer%u.%u.conv%u", stage + 1, index, i + 1);
        snprintf(norm, sizeof(norm), "layer%u.%u.bn%u", stage + 1, index, i + 1);
        add_conv(list, conv, norm, channels, last ? out : width, kernels[bottleneck][i],
                 last ? 0.25f : 1.0f);
        channels = last ? out : width;
    }
    if (in != out || (stage > 0 && index == 0)) {
        snprintf(conv, sizeof(conv), "layer%u.%u.downsample.0", stage + 1, index);
        snprintf(norm, sizeof(norm), "layer%u.%u.downsample.1", stage + 1, index);
        add_conv(list, conv, norm, in, out, 1, 1.0f);
    }
    return out;
}

static void list_tensors(const struct architecture *architecture, struct tensor_list *list)
{
    uint32_t channels = STEM_WIDTH;
    add_conv(list, "conv1", "bn1", 3, STEM_WIDTH, 7, 1.0f);
    for (uint32_t stage = 0; stage < ENCODER_STAGES; stage++) {
        for (uint32_t i = 0; i < architecture->depths[stage]; i++)
            channels = add_block(list, architecture->bottleneck, stage, i, channels);
    }
}

/* The JSON header, padded with spaces; malloc'd. NULL on allocation failure. */
static char *write_header(const struct tensor_list *list, size_t *size, size_t *data_size)
{
    char *text = NULL;
    size_t offset = 0;
    FILE *stream = open_memstream(&text, size);
    if (stream == NULL)
        return NULL;
    for (size_t i = 0; i < list->n; i++) {
        const struct tensor *tensor = &list->items[i];
        fprintf(stream, "%c\"%s\":{\"dtype\":\"F32\",\"shape\":", i == 0 ? '{' : ',', tensor->name);
        for (uint32_t k = 0; k < tensor->rank; k++)
            fprintf(stream, "%c%" PRIu32, k == 0 ? '[' : ',', tensor->shape[k]);
        const size_t end = offset + n_elements(tensor) * sizeof(float);
        fprintf(stream, "],\"data_offsets\":[%zu,%zu]}", offset, end);
        offset = end;
    }
    fputc('}', stream);
    fflush(stream);
    while (!ferror(stream) && *size % HEADER_ALIGNMENT != 0) {
        fputc(' ', stream);
        fflush(stream);
    }
    *data_size = offset;
    if (fclose(stream) == 0)
        return text;
    free(text);
    return NULL;
}

static void write_values(const struct tensor_list *list, uint8_t *out)
{
    struct random random;
    random_seed(&random, 0, 0);
    for (size_t i = 0; i < list->n; i++) {
        const struct tensor *tensor = &list->items[i];
        const double span = (double)tensor->high - (double)tensor->low;
        for (size_t k = n_elements(tensor); k > 0; k--, out += sizeof(float)) {
            const float value = (float)((double)tensor->low + span * random_uniform(&random));
            memcpy(out, &value, sizeof(value)); /* little-endian hosts only, as everywhere here */
        }
    }
}

static int write_file(const struct tensor_list *list, void **data, size_t *size, struct error *err)
{
    size_t header_size = 0, data_size = 0;
    char *header = write_header(list, &header_size, &data_size);
    const size_t total = LENGTH_SIZE + header_size + data_size;
    uint8_t *bytes = header != NULL ? malloc(total) : NULL;
    if (bytes != NULL) {
        for (uint32_t i = 0; i < LENGTH_SIZE; i++)
            bytes[i] = (uint8_t)((uint64_t)header_size >> (8 * i));
        memcpy(bytes + LENGTH_SIZE, header, header_size);
        write_values(list, bytes + LENGTH_SIZE + header_size);
        *data = bytes;
        *size = total;
    }
    free(header);
    return bytes != NULL ? 0 : error_set_nomem(err, "random weights");
}

int random_weights_create(const char *architecture, void **data, size_t *size, struct error *err)
{
    const struct architecture *found = NULL;
    for (size_t i = 0; i < sizeof(architectures) / sizeof(architectures[0]); i++) {
        if (strcmp(architectures[i].name, architecture) == 0)
            found = &architectures[i];
    }
    if (found == NULL)
        return error_set(err, ERROR_INVALID,
                         "architecture '%.40s' is not resnet18, resnet34, resnet50 or resnet101",
                         architecture);
    struct tensor_list list = {0};
    list_tensors(found, &list);
    int rc =
        list.failed ? error_set_nomem(err, "random weights") : write_file(&list, data, size, err);
    free(list.items);
    return rc;
}
