/* The safetensors reader.
 *
 * Invariant of an open file: its tensors are sorted by name, names are unique and printable, every
 * tensor's bytes lie inside the caller's data, and together they cover the bytes after the header
 * exactly once (no overlap, no gap). So nothing can hide in a file and no read needs a check.
 */
#include "engine/encoder/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_BYTES = 8,
    /* ResNet-152 needs about 0.1 MB of header; the limit bounds what parsing hostile JSON costs. */
    HEADER_SIZE_MAX = 1 << 20,
    NAME_SIZE_MAX = 128,
};

struct safetensors {
    json_t *header; /* owns every name and metadata string */
    size_t n_tensors;
    struct safetensors_tensor *tensors; /* sorted by name */
};

static const struct {
    const char *name;
    enum safetensors_dtype dtype;
    size_t element_size;
} dtypes[] = {
    {"F32", SAFETENSORS_F32, 4},
    {"F16", SAFETENSORS_F16, 2},
    {"BF16", SAFETENSORS_BF16, 2},
    {"I64", SAFETENSORS_I64, 8},
};

static size_t element_size(enum safetensors_dtype dtype)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (dtypes[i].dtype == dtype)
            return dtypes[i].element_size;
    }
    return 0;
}

static uint64_t load_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static int parse_header(json_t **out, const uint8_t *data, size_t size, size_t *header_size,
                        struct error *err)
{
    if (size < LENGTH_BYTES)
        return error_set(err, ERROR_INVALID, "safetensors: %zu bytes hold no header length", size);
    uint64_t length = load_u64(data);
    if (length > size - LENGTH_BYTES)
        return error_set(err, ERROR_INVALID,
                         "safetensors: header length %llu exceeds the file's %zu bytes",
                         (unsigned long long)length, size);
    if (length < 2 || length > HEADER_SIZE_MAX)
        return error_set(err, ERROR_INVALID, "safetensors: header length %llu is not in 2..%d",
                         (unsigned long long)length, HEADER_SIZE_MAX);
    if (data[LENGTH_BYTES] != '{')
        return error_set(err, ERROR_INVALID, "safetensors: the header does not start with '{'");
    json_error_t json_error;
    json_t *header = json_loadb((const char *)data + LENGTH_BYTES, (size_t)length,
                                JSON_REJECT_DUPLICATES, &json_error);
    if (header == NULL && json_error_code(&json_error) == json_error_out_of_memory)
        return error_set_nomem(err, "the safetensors header");
    if (header == NULL)
        return error_set(err, ERROR_INVALID, "safetensors: header byte %d: %s", json_error.position,
                         json_error.text);
    *out = header;
    *header_size = (size_t)length;
    return 0;
}

static int check_metadata(const json_t *metadata, struct error *err)
{
    if (metadata == NULL)
        return 0;
    if (!json_is_object(metadata))
        return error_set(err, ERROR_INVALID, "safetensors: __metadata__ is not an object");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return error_set(err, ERROR_INVALID, "safetensors: __metadata__ %.100s is not a string",
                             key);
    }
    return 0;
}

static int check_name(const char *name, struct error *err)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_SIZE_MAX)
        return error_set(err, ERROR_INVALID,
                         "safetensors: a tensor name has %zu bytes, not in 1..%d", length,
                         NAME_SIZE_MAX);
    for (const char *c = name; *c != '\0'; c++) {
        if (*c < 0x21 || *c > 0x7e)
            return error_set(err, ERROR_INVALID,
                             "safetensors: a tensor name holds the byte 0x%02x (printable ASCII "
                             "is accepted)",
                             (unsigned char)*c);
    }
    return 0;
}

static int read_dtype(struct safetensors_tensor *tensor, const json_t *value, struct error *err)
{
    const char *name = json_string_value(value);
    if (name == NULL)
        return error_set(err, ERROR_INVALID, "tensor %s: dtype is missing or not a string",
                         tensor->name);
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            tensor->dtype = dtypes[i].dtype;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID,
                     "tensor %s: dtype is not one of F32, F16, BF16, I64 (%zu characters)",
                     tensor->name, strlen(name));
}

static int read_shape(struct safetensors_tensor *tensor, const json_t *value, struct error *err)
{
    if (!json_is_array(value))
        return error_set(err, ERROR_INVALID, "tensor %s: shape is missing or not an array",
                         tensor->name);
    size_t rank = json_array_size(value);
    if (rank > SAFETENSORS_MAX_RANK)
        return error_set(err, ERROR_INVALID, "tensor %s: rank %zu exceeds %d", tensor->name, rank,
                         SAFETENSORS_MAX_RANK);
    uint64_t n_elements = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *side = json_array_get(value, i);
        if (!json_is_integer(side) || json_integer_value(side) < 0)
            return error_set(err, ERROR_INVALID,
                             "tensor %s: shape[%zu] is not a non-negative integer", tensor->name,
                             i);
        tensor->shape[i] = (uint64_t)json_integer_value(side);
        if (__builtin_mul_overflow(n_elements, tensor->shape[i], &n_elements))
            return error_set(err, ERROR_INVALID, "tensor %s: its shape's product overflows",
                             tensor->name);
    }
    tensor->rank = (uint32_t)rank;
    tensor->n_elements = n_elements;
    return 0;
}

static int read_offsets(struct safetensors_tensor *tensor, const json_t *value,
                        const uint8_t *payload, uint64_t payload_size, struct error *err)
{
    const json_t *first = json_array_get(value, 0);
    const json_t *last = json_array_get(value, 1);
    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(first) ||
        !json_is_integer(last))
        return error_set(err, ERROR_INVALID, "tensor %s: data_offsets is not a pair of integers",
                         tensor->name);
    long long begin = json_integer_value(first);
    long long end = json_integer_value(last);
    if (begin < 0 || end < begin || (uint64_t)end > payload_size)
        return error_set(err, ERROR_INVALID,
                         "tensor %s: data_offsets [%lld, %lld] are not a range within %llu bytes",
                         tensor->name, begin, end, (unsigned long long)payload_size);
    uint64_t wanted;
    if (__builtin_mul_overflow(tensor->n_elements, element_size(tensor->dtype), &wanted) ||
        wanted != (uint64_t)(end - begin))
        return error_set(err, ERROR_INVALID,
                         "tensor %s: %llu elements do not fit its %lld bytes exactly", tensor->name,
                         (unsigned long long)tensor->n_elements, end - begin);
    tensor->data = payload + begin;
    return 0;
}

static int read_tensor(struct safetensors_tensor *tensor, const json_t *value,
                       const uint8_t *payload, uint64_t payload_size, struct error *err)
{
    if (!json_is_object(value))
        return error_set(err, ERROR_INVALID, "tensor %s: its entry is not an object", tensor->name);
    int rc = read_dtype(tensor, json_object_get(value, "dtype"), err);
    if (rc == 0)
        rc = read_shape(tensor, json_object_get(value, "shape"), err);
    if (rc == 0)
        rc = read_offsets(tensor, json_object_get(value, "data_offsets"), payload, payload_size,
                          err);
    if (rc == 0 && json_object_size(value) != 3)
        rc = error_set(err, ERROR_INVALID,
                       "tensor %s: its entry has keys besides dtype, shape, data_offsets",
                       tensor->name);
    return rc;
}

static uint64_t byte_size(const struct safetensors_tensor *tensor)
{
    return tensor->n_elements * element_size(tensor->dtype);
}

static int compare_names(const void *a, const void *b)
{
    const struct safetensors_tensor *left = a;
    const struct safetensors_tensor *right = b;
    return strcmp(left->name, right->name);
}

static int compare_positions(const void *a, const void *b)
{
    const struct safetensors_tensor *left = a;
    const struct safetensors_tensor *right = b;
    if (left->data != right->data)
        return left->data < right->data ? -1 : 1;
    /* Of tensors at one place, the empty ones come first: they overlap nothing. */
    uint64_t left_size = byte_size(left);
    uint64_t right_size = byte_size(right);
    return (left_size > right_size) - (left_size < right_size);
}

/* Sorts the tensors by position. */
static int check_coverage(struct safetensors *file, const uint8_t *payload, uint64_t payload_size,
                          struct error *err)
{
    if (file->n_tensors > 0)
        qsort(file->tensors, file->n_tensors, sizeof(*file->tensors), compare_positions);
    uint64_t covered = 0;
    for (size_t i = 0; i < file->n_tensors; i++) {
        const struct safetensors_tensor *tensor = &file->tensors[i];
        uint64_t begin = (uint64_t)(tensor->data - payload);
        if (begin != covered)
            return error_set(err, ERROR_INVALID, "tensor %s: its bytes %s at offset %llu",
                             tensor->name,
                             begin < covered ? "overlap another tensor's" : "follow a gap",
                             (unsigned long long)begin);
        covered += byte_size(tensor);
    }
    if (covered != payload_size)
        return error_set(err, ERROR_INVALID,
                         "safetensors: %llu bytes at the end belong to no tensor",
                         (unsigned long long)(payload_size - covered));
    return 0;
}

static int read_tensors(struct safetensors *file, const uint8_t *payload, uint64_t payload_size,
                        struct error *err)
{
    size_t n_entries = json_object_size(file->header);
    file->tensors = calloc(n_entries > 0 ? n_entries : 1, sizeof(*file->tensors));
    if (file->tensors == NULL)
        return error_set_nomem(err, "the list of tensors");
    const char *key;
    json_t *value;
    json_object_foreach(file->header, key, value)
    {
        if (strcmp(key, "__metadata__") == 0)
            continue;
        struct safetensors_tensor *tensor = &file->tensors[file->n_tensors];
        tensor->name = key;
        int rc = check_name(key, err);
        if (rc == 0)
            rc = read_tensor(tensor, value, payload, payload_size, err);
        if (rc != 0)
            return rc;
        file->n_tensors++;
    }
    int rc = check_coverage(file, payload, payload_size, err);
    if (rc == 0 && file->n_tensors > 0)
        qsort(file->tensors, file->n_tensors, sizeof(*file->tensors), compare_names);
    return rc;
}

int safetensors_create(struct safetensors **out, const void *data, size_t size, struct error *err)
{
    struct safetensors *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return error_set_nomem(err, "the safetensors reader");
    size_t header_size = 0;
    int rc = parse_header(&file->header, data, size, &header_size, err);
    if (rc != 0)
        goto out;
    rc = check_metadata(json_object_get(file->header, "__metadata__"), err);
    if (rc != 0)
        goto out;
    size_t payload_begin = LENGTH_BYTES + header_size;
    rc = read_tensors(file, (const uint8_t *)data + payload_begin, size - payload_begin, err);
    if (rc != 0)
        goto out;
    *out = file;
    file = NULL;
out:
    safetensors_destroy(file);
    return rc;
}

void safetensors_destroy(struct safetensors *file)
{
    if (file == NULL)
        return;
    free(file->tensors);
    json_decref(file->header);
    free(file);
}

size_t safetensors_n_tensors(const struct safetensors *file)
{
    return file->n_tensors;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t index)
{
    return &file->tensors[index];
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    const struct safetensors_tensor key = {.name = name};
    if (file->n_tensors == 0)
        return NULL;
    return bsearch(&key, file->tensors, file->n_tensors, sizeof(key), compare_names);
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* IEEE 754 binary16 to binary32, exact for every value. */
static float float_from_half(uint32_t half)
{
    uint32_t sign = (half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 0x1f;
    uint32_t fraction = half & 0x3ff;
    if (exponent == 0x1f)
        return float_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    /* Subnormal: fraction x 2^-24, which binary32 holds exactly. */
    float magnitude = (float)fraction * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
}

int safetensors_to_float(const struct safetensors_tensor *tensor, float *out, struct error *err)
{
    const uint8_t *p = tensor->data;
    switch (tensor->dtype) {
    case SAFETENSORS_F32:
        for (uint64_t i = 0; i < tensor->n_elements; i++, p += 4)
            out[i] = float_from_bits((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                                     (uint32_t)p[3] << 24);
        return 0;
    case SAFETENSORS_F16:
        for (uint64_t i = 0; i < tensor->n_elements; i++, p += 2)
            out[i] = float_from_half((uint32_t)p[0] | (uint32_t)p[1] << 8);
        return 0;
    case SAFETENSORS_BF16:
        for (uint64_t i = 0; i < tensor->n_elements; i++, p += 2)
            out[i] = float_from_bits((uint32_t)p[0] << 16 | (uint32_t)p[1] << 24);
        return 0;
    case SAFETENSORS_I64:
        break;
    }
    return error_set(err, ERROR_INVALID, "tensor %s: dtype I64 holds no weights", tensor->name);
}
