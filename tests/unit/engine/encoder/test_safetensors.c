/* The safetensors reader: what it accepts, and that it refuses each way of lying about a file. */
#include "tests/test.h"

#include "engine/encoder/safetensors.h"

#include <math.h>

/* A file in a buffer of exactly its size, so that a sanitizer sees any read beyond. */
static uint8_t *make_file(const char *header, size_t header_size, size_t payload_size, size_t *size)
{
    *size = 8 + header_size + payload_size;
    uint8_t *file = malloc(*size);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)header_size >> (8 * i));
    memcpy(file + 8, header, header_size);
    for (size_t i = 0; i < payload_size; i++)
        file[8 + header_size + i] = (uint8_t)i;
    return file;
}

static void expect_bytes_refused(const uint8_t *data, size_t size, const char *message)
{
    struct error err = {0};
    struct safetensors *file = NULL;
    assert_int_equal(safetensors_create(&file, data, size, &err), ERROR_INVALID);
    assert_null(file);
    if (strstr(err.message, message) == NULL)
        fail_msg("message \"%s\" does not say \"%s\"", err.message, message);
}

static void expect_refused(const char *header, size_t payload_size, const char *message)
{
    size_t size = 0;
    uint8_t *data = make_file(header, strlen(header), payload_size, &size);
    expect_bytes_refused(data, size, message);
    free(data);
}

static void reads_tensors_and_metadata(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\": {\"k\": \"v\"},"
        " \"b\": {\"dtype\": \"F32\", \"shape\": [2, 1], \"data_offsets\": [2, 10]},"
        " \"a\": {\"dtype\": \"F16\", \"shape\": [], \"data_offsets\": [0, 2]},"
        " \"empty\": {\"dtype\": \"F32\", \"shape\": [0, 9], \"data_offsets\": [2, 2]},"
        " \"n\": {\"data_offsets\": [10, 18], \"shape\": [1], \"dtype\": \"I64\"}}   ";
    size_t size = 0;
    uint8_t *data = make_file(header, strlen(header), 18, &size);
    struct error err = {0};
    struct safetensors *file = NULL;
    assert_int_equal(safetensors_create(&file, data, size, &err), 0);
    assert_int_equal(safetensors_n_tensors(file), 4);
    const struct safetensors_tensor *b = safetensors_find(file, "b");
    assert_non_null(b);
    assert_int_equal(b->dtype, SAFETENSORS_F32);
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 1);
    assert_int_equal(b->n_elements, 2);
    assert_ptr_equal(b->data, data + 8 + strlen(header) + 2);
    assert_int_equal(safetensors_find(file, "a")->n_elements, 1);
    assert_int_equal(safetensors_find(file, "empty")->n_elements, 0);
    assert_null(safetensors_find(file, "c"));
    assert_null(safetensors_find(file, "__metadata__"));
    assert_string_equal(safetensors_metadata(file, "k"), "v");
    assert_null(safetensors_metadata(file, "z"));
    float value = 7.0f;
    assert_int_equal(safetensors_to_float(safetensors_find(file, "n"), &value, &err),
                     ERROR_INVALID);
    assert_non_null(strstr(err.message, "tensor n"));
    safetensors_destroy(file);
    free(data);
}

static void a_file_without_tensors_is_well_formed(void **state)
{
    (void)state;
    size_t size = 0;
    uint8_t *data = make_file("{}", 2, 0, &size);
    struct safetensors *file = NULL;
    assert_int_equal(safetensors_create(&file, data, size, NULL), 0);
    assert_int_equal(safetensors_n_tensors(file), 0);
    assert_null(safetensors_find(file, "a"));
    assert_null(safetensors_metadata(file, "a"));
    safetensors_destroy(file);
    free(data);
    safetensors_destroy(NULL);
}

static void refuses_bad_header_lengths(void **state)
{
    (void)state;
    uint8_t data[64] = {0};
    expect_bytes_refused(data, 0, "no header length");
    expect_bytes_refused(data, 7, "no header length");
    expect_bytes_refused(data, sizeof(data), "header length 0");
    data[0] = 57;
    expect_bytes_refused(data, sizeof(data), "header length 57 exceeds the file's 64 bytes");
    memset(data, 0xff, 8);
    expect_bytes_refused(data, sizeof(data), "header length 18446744073709551615 exceeds");
    const size_t large = (1 << 20) + 1;
    char *spaces = malloc(large);
    assert_non_null(spaces);
    memset(spaces, ' ', large);
    spaces[0] = '{';
    spaces[1] = '}';
    size_t size = 0;
    uint8_t *file = make_file(spaces, large, 0, &size);
    expect_bytes_refused(file, size, "header length 1048577 is not in 2..1048576");
    free(file);
    free(spaces);
}

static void refuses_headers_that_are_not_json_objects(void **state)
{
    (void)state;
    expect_refused("[]", 0, "does not start with '{'");
    expect_refused(" {}", 0, "does not start with '{'");
    expect_refused("{\"a\": ", 0, "header byte");
    expect_refused("{} x", 0, "header byte");
    expect_refused("{\"\xff\": {}}", 0, "header byte");
    expect_refused("{\"a\\u0000\": {}}", 0, "header byte");
    expect_refused("{\"__metadata__\": []}", 0, "__metadata__ is not an object");
    expect_refused("{\"__metadata__\": {\"k\": 1}}", 0, "__metadata__ k is not a string");
    char deep[100000] = "{\"a\": ";
    memset(deep + 6, '[', sizeof(deep) - 7);
    expect_refused(deep, 0, "header byte");
}

static void refuses_bad_names(void **state)
{
    (void)state;
    static const char entry[] = "{\"dtype\": \"F16\", \"shape\": [1], \"data_offsets\": [0, 2]}";
    char header[1024];
    snprintf(header, sizeof(header), "{\"a\": %s, \"a\": %s}", entry, entry);
    expect_refused(header, 2, "duplicate");
    snprintf(header, sizeof(header), "{\"\": %s}", entry);
    expect_refused(header, 2, "name has 0 bytes");
    snprintf(header, sizeof(header), "{\"%0129d\": %s}", 1, entry);
    expect_refused(header, 2, "name has 129 bytes");
    snprintf(header, sizeof(header), "{\"a\xc3\xa9\": %s}", entry);
    expect_refused(header, 2, "byte 0xc3");
    snprintf(header, sizeof(header), "{\"a\\n\": %s}", entry);
    expect_refused(header, 2, "byte 0x0a");
}

/* One tensor "t" with these JSON values over 8 bytes of payload. */
static void expect_entry_refused(const char *dtype, const char *shape, const char *offsets,
                                 const char *message)
{
    char header[512];
    snprintf(header, sizeof(header),
             "{\"t\": {\"dtype\": %s, \"shape\": %s, \"data_offsets\": %s}}", dtype, shape,
             offsets);
    expect_refused(header, 8, message);
}

static void refuses_bad_entries(void **state)
{
    (void)state;
    expect_refused("{\"t\": 1}", 0, "tensor t: its entry is not an object");
    expect_refused("{\"t\": {}}", 0, "dtype is missing");
    expect_refused("{\"t\": {\"dtype\": \"F32\"}}", 0, "shape is missing");
    expect_refused("{\"t\": {\"dtype\": \"F32\", \"shape\": []}}", 0, "data_offsets");
    expect_refused("{\"t\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8], "
                   "\"x\": 1}}",
                   8, "keys besides");
    expect_entry_refused("\"F64\"", "[1]", "[0, 8]", "dtype is not one of");
    expect_entry_refused("\"f32\"", "[2]", "[0, 8]", "dtype is not one of");
    expect_entry_refused("7", "[2]", "[0, 8]", "dtype is missing or not a string");
    expect_entry_refused("\"F32\"", "2", "[0, 8]", "shape is missing");
    expect_entry_refused("\"F32\"", "[-2]", "[0, 8]", "shape[0]");
    expect_entry_refused("\"F32\"", "[2, 1.0]", "[0, 8]", "shape[1]");
    expect_entry_refused("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0, 8]", "rank 9 exceeds 8");
    expect_entry_refused("\"F32\"", "[99999999999999999999]", "[0, 8]", "too big");
    expect_entry_refused("\"F32\"", "[4294967296, 4294967296]", "[0, 8]", "product overflows");
    expect_entry_refused("\"F32\"", "[4611686018427387906]", "[0, 8]", "do not fit");
    expect_entry_refused("\"F32\"", "[3]", "[0, 8]", "3 elements do not fit its 8 bytes");
    expect_entry_refused("\"F16\"", "[2]", "[0, 8]", "2 elements do not fit its 8 bytes");
}

static void refuses_bad_offsets(void **state)
{
    (void)state;
    expect_entry_refused("\"F32\"", "[2]", "[8, 0]", "[8, 0] are not a range within 8 bytes");
    expect_entry_refused("\"F32\"", "[2]", "[-8, 0]", "are not a range");
    expect_entry_refused("\"F32\"", "[2]", "[4, 12]", "are not a range");
    expect_entry_refused("\"F32\"", "[0]", "[9, 9]", "are not a range");
    expect_entry_refused("\"F32\"", "[2]", "[0, 9223372036854775807]", "are not a range");
    expect_entry_refused("\"F32\"", "[2]", "[0]", "not a pair");
    expect_entry_refused("\"F32\"", "[2]", "[0, \"8\"]", "not a pair");
    expect_entry_refused("\"F32\"", "[2]", "{\"0\": 0}", "not a pair");
    expect_entry_refused("\"F32\"", "[1]", "[0, 4]", "4 bytes at the end belong to no tensor");
    expect_entry_refused("\"F32\"", "[1]", "[4, 8]", "follow a gap");
    static const char two[] = "{\"a\": {\"dtype\": \"F32\", \"shape\": [%d], \"data_offsets\": "
                              "[0, %d]}, \"b\": {\"dtype\": \"F32\", \"shape\": [1], "
                              "\"data_offsets\": [%d, %d]}}";
    char header[512];
    snprintf(header, sizeof(header), two, 2, 8, 4, 8);
    expect_refused(header, 8, "tensor b: its bytes overlap");
    snprintf(header, sizeof(header), two, 1, 4, 0, 4);
    expect_refused(header, 4, "overlap");
    snprintf(header, sizeof(header), two, 1, 4, 8, 12);
    expect_refused(header, 12, "tensor b: its bytes follow a gap");
}

static float convert(enum safetensors_dtype dtype, uint32_t bits)
{
    const uint8_t bytes[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                              (uint8_t)(bits >> 24)};
    const struct safetensors_tensor tensor = {
        .name = "t", .dtype = dtype, .n_elements = 1, .data = bytes};
    float value = -1.0f;
    assert_int_equal(safetensors_to_float(&tensor, &value, NULL), 0);
    return value;
}

/* Every half is sign x fraction x 2^exponent, computed here in double. */
static void converts_every_half_exactly(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const int exponent = (int)(bits >> 10 & 31);
        const double fraction = (double)(bits & 1023);
        double wanted =
            exponent == 0 ? ldexp(fraction, -24) : ldexp(1024.0 + fraction, exponent - 25);
        if (exponent == 31)
            wanted = fraction == 0.0 ? INFINITY : NAN;
        if (bits >> 15 != 0)
            wanted = -wanted;
        const double found = (double)convert(SAFETENSORS_F16, bits);
        if (isnan(wanted) ? !isnan(found) : found != wanted || signbit(found) != signbit(wanted))
            fail_msg("half 0x%04x is %g, not %g", bits, found, wanted);
    }
}

static void converts_other_dtypes(void **state)
{
    (void)state;
    assert_true(convert(SAFETENSORS_F32, 0x40490fdbu) == 3.14159274f);
    assert_true(convert(SAFETENSORS_F32, 0x00000001u) == 0x1p-149f);
    assert_true(convert(SAFETENSORS_BF16, 0x3f80) == 1.0f);
    assert_true(convert(SAFETENSORS_BF16, 0xc049) == -3.140625f);
    assert_true(isinf(convert(SAFETENSORS_BF16, 0x7f80)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_tensors_and_metadata),
        cmocka_unit_test(a_file_without_tensors_is_well_formed),
        cmocka_unit_test(refuses_bad_header_lengths),
        cmocka_unit_test(refuses_headers_that_are_not_json_objects),
        cmocka_unit_test(refuses_bad_names),
        cmocka_unit_test(refuses_bad_entries),
        cmocka_unit_test(refuses_bad_offsets),
        cmocka_unit_test(converts_every_half_exactly),
        cmocka_unit_test(converts_other_dtypes),
    };
    return test_run(tests);
}
