/* The int8 kernels of each instruction set that this processor has against the plain loops, whose
 * bytes they must give: whole numbers are summed, and float32 is computed in the same order. */
#include "tests/test.h"

#include <float.h>

#include "engine/encoder/kernels/int8.h"
#include "tests/unit/engine/encoder/floats.h"

enum { ROWS = 19, TAPS = 3, DEPTH = 21, WIDTH = 64, COLUMN = 32, STRIDE = COLUMN + WIDTH + 16 };

static void skip_without_int8(void)
{
    if (int8_kernels() == NULL) {
        print_message("note: this processor has no int8 kernels; they are not tested\n");
        skip();
    }
}

/* ---- products ---- */

/* Operands of any bytes, and where the products go: columns before and after the panel's must stay
 * as they are. */
struct product {
    struct gemm gemm;
    float *values, *weights, *row_scales, *column_scales, *bias, *residual, *out;
    const float *rows[TAPS * ROWS];
    const float *panels[TAPS];
    const float *residuals[ROWS];
    float *outs[ROWS];
};

static float *random_words(size_t n, uint32_t seed)
{
    float *words = floats_filled(n, 0.0f);
    uint8_t *bytes = (uint8_t *)words;
    for (size_t i = 0; i < n * 4; i++) {
        seed = seed * 1664525 + 1013904223;
        /* The extremes are frequent. */
        const uint32_t choice = seed >> 28;
        bytes[i] = choice == 0 ? 0 : choice == 1 ? 255 : choice == 2 ? 128 : (uint8_t)(seed >> 16);
    }
    return words;
}

static void make_product(struct product *product)
{
    *product = (struct product){
        .values = random_words((size_t)TAPS * ROWS * DEPTH, 1),
        .weights = random_words((size_t)TAPS * DEPTH * WIDTH, 2),
        .row_scales = floats_random(ROWS, 3, 1e-4f, 1e-2f),
        .column_scales = floats_random(WIDTH, 4, 1e-4f, 1e-2f),
        .bias = floats_random(WIDTH, 5, -1.0f, 1.0f),
        .residual = floats_random(ROWS * STRIDE, 6, -1.0f, 1.0f),
        .out = random_words(ROWS * STRIDE, 7),
    };
    for (uint32_t i = 0; i < ROWS; i++) {
        product->residuals[i] = product->residual + (size_t)(ROWS - 1 - i) * STRIDE;
        product->outs[i] = product->out + (size_t)(ROWS - 1 - i) * STRIDE;
    }
}

static void clear_product(struct product *product)
{
    float *const all[] = {product->values, product->weights,  product->row_scales,
                          product->bias,   product->residual, product->column_scales,
                          product->out};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]);
}

/* options: bits: residual, accumulate, finish, relu. */
static void set_shape(struct product *product, uint32_t n_rows, uint32_t n_taps, uint32_t depth,
                      uint32_t width, uint32_t options)
{
    product->gemm = (struct gemm){
        .n_rows = n_rows,
        .n_taps = n_taps,
        .depth = depth,
        .width = width,
        .rows = product->rows,
        .panels = product->panels,
        .out = product->outs,
        .residual = options & 1 ? product->residuals : NULL,
        .column = COLUMN,
        .bias = product->bias,
        .row_scales = product->row_scales,
        .column_scales = product->column_scales,
        .accumulate = options & 2,
        .finish = options & 4,
        .relu = options & 8,
    };
    for (uint32_t tap = 0; tap < n_taps; tap++) {
        product->panels[tap] = product->weights + (size_t)tap * depth * width;
        for (uint32_t i = 0; i < n_rows; i++)
            product->rows[tap * n_rows + i] =
                product->values + (size_t)(n_taps * n_rows - 1 - tap * n_rows - i) * depth;
    }
}

static void products_are_those_of_plain_loops(void **state)
{
    (void)state;
    static const uint32_t widths[] = {16, 32, 64};
    static const uint32_t depths[] = {1, 4, DEPTH};
    const struct int8_kernels *kernels = int8_kernels();
    skip_without_int8();
    struct product product;
    make_product(&product);
    float *start = floats_copy(product.out, ROWS * STRIDE);
    for (uint32_t i = 0; i < ROWS * TAPS * 9 * 16; i++) {
        set_shape(&product, 1 + i % ROWS, 1 + i / ROWS % TAPS, depths[i / ROWS / TAPS % 3],
                  widths[i / ROWS / TAPS / 3 % 3], i / ROWS / TAPS / 9);
        memcpy(product.out, start, ROWS * STRIDE * sizeof(*start));
        int8_scalar.gemm(&product.gemm);
        float *wanted = floats_copy(product.out, ROWS * STRIDE);
        memcpy(product.out, start, ROWS * STRIDE * sizeof(*start));
        kernels->gemm(&product.gemm);
        if (memcmp(product.out, wanted, ROWS * STRIDE * sizeof(*wanted)) != 0)
            fail_msg("%s: case %u", kernels->name, i);
        free(wanted);
    }
    free(start);
    clear_product(&product);
}

/* One row and column by hand: unsigned values, signed weights, four a word. */
static void a_word_holds_four_values_and_weights(void **state)
{
    (void)state;
    const struct int8_kernels *const sets[] = {&int8_scalar, int8_kernels()};
    struct product product;
    make_product(&product);
    static const uint8_t values[4] = {255, 200, 0, 1};
    static const int8_t weights[4] = {-127, 127, 5, -128};
    memcpy(product.values, values, sizeof(values));
    memcpy(product.weights, weights, sizeof(weights));
    product.row_scales[0] = 0.5f;
    product.column_scales[0] = 0.25f;
    product.bias[0] = 3.0f;
    set_shape(&product, 1, 1, 1, 16, 4);
    for (size_t set = 0; set < 2 && sets[set] != NULL; set++) {
        sets[set]->gemm(&product.gemm);
        assert_true(product.outs[0][COLUMN] ==
                    (float)(255 * -127 + 200 * 127 - 128) * 0.125f + 3.0f);
    }
    clear_product(&product);
}

/* ---- rounding ---- */

static void values_are_rounded_to_the_nearest_even(void **state)
{
    (void)state;
    const struct int8_kernels *const sets[] = {&int8_scalar, int8_kernels()};
    _Alignas(64) static const float values[KERNEL_LANES] = {
        0.0f,   1.0f,   0.5f,     1.5f,     2.5f,    2.5000002f, 127.5f, 128.5f,
        254.5f, 255.0f, 254.499f, 0x1p-149, FLT_MIN, 0.4999999f, 77.0f,  -0.0f};
    static const uint8_t rounded[KERNEL_LANES] = {0,   1,   0,   2, 2, 3, 128, 128,
                                                  254, 255, 254, 0, 0, 0, 77,  0};
    for (size_t set = 0; set < 2 && sets[set] != NULL; set++) {
        _Alignas(64) float words[KERNEL_LANES / 4];
        sets[set]->quantise(values, KERNEL_LANES, 1.0f, words);
        assert_memory_equal(words, rounded, sizeof(rounded));
        _Alignas(64) float halves[KERNEL_LANES];
        for (size_t i = 0; i < KERNEL_LANES; i++)
            halves[i] = values[i] * 0x1p-20f;
        sets[set]->quantise(halves, KERNEL_LANES, 0x1p20f, words);
        assert_memory_equal(words, rounded, sizeof(rounded));
        assert_true(sets[set]->maximum(values, KERNEL_LANES) == 255.0f);
    }
}

static void maximum_is_found_anywhere(void **state)
{
    (void)state;
    const struct int8_kernels *const sets[] = {&int8_scalar, int8_kernels()};
    for (size_t set = 0; set < 2 && sets[set] != NULL; set++) {
        for (size_t n = KERNEL_LANES; n <= 10 * KERNEL_LANES; n += KERNEL_LANES) {
            float *values = floats_random(n, 1, 0.0f, 1.0f);
            for (size_t i = 0; i < n; i++) {
                const float before = values[i];
                values[i] = 2.0f + (float)i;
                assert_true(sets[set]->maximum(values, n) == 2.0f + (float)i);
                values[i] = before;
            }
            memset(values, 0, n * sizeof(*values));
            assert_true(sets[set]->maximum(values, n) == 0.0f);
            free(values);
        }
    }
}

static void bytes_of_many_values_are_equal(void **state)
{
    (void)state;
    enum { N = 4096 };
    skip_without_int8();
    float *values = floats_random(N, 9, 0.0f, 3.0f);
    float *wanted = floats_filled(N / 4, 0.0f);
    float *found = floats_filled(N / 4, 1.0f);
    const float factor = INT8_VALUE_MAX / int8_scalar.maximum(values, N);
    int8_scalar.quantise(values, N, factor, wanted);
    int8_kernels()->quantise(values, N, factor, found);
    assert_memory_equal(found, wanted, N);
    free(found);
    free(wanted);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_plain_loops),
        cmocka_unit_test(a_word_holds_four_values_and_weights),
        cmocka_unit_test(values_are_rounded_to_the_nearest_even),
        cmocka_unit_test(maximum_is_found_anywhere),
        cmocka_unit_test(bytes_of_many_values_are_equal),
    };
    return test_run(tests);
}
