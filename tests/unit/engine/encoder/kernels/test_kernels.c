/* The kernels of each instruction set that this processor has against the plain loops: products and
 * pooling. Winograd's transforms have a program of their own (test_winograd.c). */
#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <sys/mman.h>

#include "engine/encoder/kernels/kernels.h"
#include "tests/unit/engine/encoder/floats.h"

enum { ROWS_MAX = 20, TAPS_MAX = 3, OPTIONS = 16 };

static const char *const sets[] = {"avx512", "avx2", "neon", "portable", "scalar"};
enum { SETS = sizeof(sets) / sizeof(sets[0]), VECTOR_SETS = SETS - 1 };

/* Sums of up to 192 products, rounded in another order or without fused multiply-adds. */
static const double TOLERANCE = 2e-6;

/* ---- products ---- */

struct shape {
    uint32_t n_rows;
    uint32_t n_taps;
    uint32_t depth;
    uint32_t width;
    uint32_t column;
    uint32_t options; /* bits: residual, accumulate, finish, relu */
};

/* A product, and what it reads and writes: rows of `out` and of the residual have columns before
 * and after the panel's that must stay as they are. */
struct product {
    struct gemm gemm;
    const float *rows[TAPS_MAX * ROWS_MAX];
    const float *panels[TAPS_MAX];
    const float *residuals[ROWS_MAX];
    float *outs[ROWS_MAX];
    float *values;
    float *weights;
    float *bias;
    float *residual;
    float *out;
    size_t n_out;
};

/* Rows lie anywhere, so their order here is turned around, and at no alignment. */
static void point_at_data(struct product *product, const struct shape *shape, uint32_t row_floats)
{
    const uint32_t n_rows = shape->n_rows;
    for (uint32_t tap = 0; tap < shape->n_taps; tap++) {
        product->panels[tap] = product->weights + (size_t)tap * shape->depth * shape->width;
        for (uint32_t i = 0; i < n_rows; i++)
            product->rows[tap * n_rows + i] =
                product->values +
                (size_t)(shape->n_taps * n_rows - 1 - tap * n_rows - i) * shape->depth;
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        const size_t at = (size_t)(n_rows - 1 - i) * row_floats;
        product->outs[i] = product->out + at;
        product->residuals[i] = product->residual + at;
        /* The panel's columns are what a sum begins with. */
        for (uint32_t k = 0; k < shape->width; k++)
            product->outs[i][shape->column + k] = product->residuals[i][shape->width - k];
    }
}

static void make_product(struct product *product, const struct shape *shape, float scale)
{
    const uint32_t row_floats = shape->column + shape->width + KERNEL_LANES;
    *product = (struct product){
        .n_out = (size_t)shape->n_rows * row_floats,
        .values = floats_random((size_t)shape->n_taps * shape->n_rows * shape->depth, shape->n_rows,
                                -scale, scale),
        .weights = floats_random((size_t)shape->n_taps * shape->depth * shape->width, shape->depth,
                                 -1.0f, 1.0f),
        .bias = floats_random(shape->width, shape->width, -scale, scale),
    };
    product->residual = floats_random(product->n_out, shape->n_taps, -scale, scale);
    product->out = floats_filled(product->n_out, FLOATS_GUARD);
    product->gemm = (struct gemm){
        .n_rows = shape->n_rows,
        .n_taps = shape->n_taps,
        .depth = shape->depth,
        .width = shape->width,
        .rows = product->rows,
        .panels = product->panels,
        .out = product->outs,
        .residual = shape->options & 1 ? product->residuals : NULL,
        .column = shape->column,
        .bias = product->bias,
        .accumulate = shape->options & 2,
        .finish = shape->options & 4,
        .relu = shape->options & 8,
    };
    point_at_data(product, shape, row_floats);
}

static void clear_product(struct product *product)
{
    free(product->values);
    free(product->weights);
    free(product->bias);
    free(product->residual);
    free(product->out);
}

static void describe(const char *name, const struct shape *shape, char *text, size_t size)
{
    snprintf(text, size, "%s: %u rows, %u taps, depth %u, width %u, column %u, options %u", name,
             shape->n_rows, shape->n_taps, shape->depth, shape->width, shape->column,
             shape->options);
}

/* Each row on its own must have the bytes that it has among others. */
static void expect_rows_alone(const struct kernels *kernels, const struct product *begin,
                              const float *start, const float *together, const char *text)
{
    struct gemm gemm = begin->gemm;
    memcpy(begin->out, start, begin->n_out * sizeof(*start));
    gemm.n_rows = 1;
    for (uint32_t i = 0; i < begin->gemm.n_rows; i++) {
        const float *rows[TAPS_MAX];
        for (uint32_t tap = 0; tap < gemm.n_taps; tap++)
            rows[tap] = begin->rows[tap * begin->gemm.n_rows + i];
        gemm.rows = rows;
        gemm.out = begin->outs + i;
        gemm.residual = begin->gemm.residual == NULL ? NULL : begin->residuals + i;
        kernels->gemm(&gemm);
    }
    if (memcmp(begin->out, together, begin->n_out * sizeof(*together)) != 0)
        fail_msg("%s: a row alone has other bytes", text);
}

static void compare_product(const struct kernels *kernels, const struct shape *shape, float scale)
{
    char text[160];
    describe(kernels->name, shape, text, sizeof(text));
    struct product product;
    make_product(&product, shape, scale);
    float *start = floats_copy(product.out, product.n_out);
    kernels_named("scalar")->gemm(&product.gemm);
    float *wanted = floats_copy(product.out, product.n_out);
    memcpy(product.out, start, product.n_out * sizeof(*start));
    kernels->gemm(&product.gemm);
    const double error = floats_error(wanted, product.out, product.n_out);
    if (!(error < TOLERANCE))
        fail_msg("%s: error %g", text, error);
    float *together = floats_copy(product.out, product.n_out);
    expect_rows_alone(kernels, &product, start, together, text);
    free(together);
    free(wanted);
    free(start);
    clear_product(&product);
}

static const uint32_t depths[] = {1, 7, 33, 64};
static const uint32_t widths[] = {16, 32, 64};

static void products_of_any_shape(void **state)
{
    (void)state;
    for (size_t set = 0; set < VECTOR_SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        uint32_t options = 0;
        for (uint32_t i = 0; kernels != NULL && i < ROWS_MAX * TAPS_MAX * 4 * 3; i++) {
            struct shape shape = {.n_rows = 1 + i % ROWS_MAX,
                                  .n_taps = 1 + i / ROWS_MAX % TAPS_MAX,
                                  .depth = depths[i / ROWS_MAX / TAPS_MAX % 4],
                                  .width = widths[i / ROWS_MAX / TAPS_MAX / 4],
                                  .column = i % 5 * KERNEL_LANES};
            /* Seven and sixteen have no common divisor: rows meet all combinations. */
            shape.options = (options += 7) % OPTIONS;
            compare_product(kernels, &shape, 1.0f);
        }
    }
}

static void products_with_any_options(void **state)
{
    (void)state;
    for (size_t set = 0; set < VECTOR_SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        for (uint32_t i = 0; kernels != NULL && i < OPTIONS * 3 * 2; i++) {
            const struct shape shape = {.n_rows = 11,
                                        .n_taps = 2,
                                        .depth = 33,
                                        .width = widths[i / OPTIONS % 3],
                                        .column = i / OPTIONS / 3 * 64,
                                        .options = i % OPTIONS};
            compare_product(kernels, &shape, 1.0f);
        }
    }
}

/* What is fetched ahead need not be memory that may be read, and changes no byte. */
static void products_with_anything_ahead(void **state)
{
    (void)state;
    float *unreadable = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(unreadable, MAP_FAILED);
    for (size_t set = 0; set < VECTOR_SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        for (uint32_t i = 0; kernels != NULL && i < ROWS_MAX * 3; i++) {
            const struct shape shape = {.n_rows = 1 + i / 3,
                                        .n_taps = 2,
                                        .depth = 33,
                                        .width = widths[i % 3],
                                        .options = i % OPTIONS};
            struct product product;
            make_product(&product, &shape, 1.0f);
            float *start = floats_copy(product.out, product.n_out);
            kernels->gemm(&product.gemm);
            float *wanted = floats_copy(product.out, product.n_out);
            memcpy(product.out, start, product.n_out * sizeof(*start));
            product.gemm.ahead = unreadable;
            kernels->gemm(&product.gemm);
            assert_memory_equal(product.out, wanted, product.n_out * sizeof(*wanted));
            free(wanted);
            free(start);
            clear_product(&product);
        }
    }
    munmap(unreadable, 4096);
}

/* Flushed to zero they would be wrong by all of their value. */
static void products_of_denormal_numbers(void **state)
{
    (void)state;
    for (size_t set = 0; set < VECTOR_SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        for (uint32_t width = 0; kernels != NULL && width < 3; width++) {
            const struct shape shape = {
                .n_rows = 9, .n_taps = 1, .depth = 7, .width = widths[width], .options = 4};
            compare_product(kernels, &shape, 1e-40f);
        }
    }
    const struct shape shape = {.n_rows = 2, .n_taps = 1, .depth = 7, .width = 16, .options = 4};
    struct product product;
    make_product(&product, &shape, 1e-40f);
    kernels_named("scalar")->gemm(&product.gemm);
    const double largest = floats_largest(product.out, product.n_out);
    assert_true(largest > 1e-41 && largest < (double)FLT_MIN);
    clear_product(&product);
}

static void relu_makes_zero_of_what_is_not_a_number(void **state)
{
    (void)state;
    for (size_t set = 0; set < SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        for (uint32_t width = 0; kernels != NULL && width < 3; width++) {
            const struct shape shape = {
                .n_rows = 7, .n_taps = 1, .depth = 7, .width = widths[width], .options = 4 | 8};
            struct product product;
            make_product(&product, &shape, 1.0f);
            /* Of row 6, which lies first, and by a difference of infinities of row 5. */
            product.values[3] = NAN;
            product.values[7] = INFINITY;
            product.values[8] = -INFINITY;
            for (uint32_t i = 0; i < 2 * widths[width]; i++)
                product.weights[i] = 1.0f;
            kernels->gemm(&product.gemm);
            for (uint32_t i = 0; i < widths[width]; i++) {
                assert_true(product.outs[6][i] == 0.0f);
                assert_true(product.outs[5][i] == 0.0f);
            }
            assert_true(floats_largest(product.outs[0], widths[width]) > 0.0);
            clear_product(&product);
        }
    }
}

/* ---- pooling ---- */

static float window_maximum(const float *map, uint32_t side, uint32_t channels, uint32_t at,
                            uint32_t channel)
{
    const uint32_t out_side = (side + 1) / 2;
    const int32_t top = (int32_t)(at / out_side * 2) - 1;
    const int32_t left = (int32_t)(at % out_side * 2) - 1;
    float maximum = 0.0f;
    for (int32_t y = top; y < top + 3; y++) {
        for (int32_t x = left; x < left + 3; x++) {
            if (y >= 0 && y < (int32_t)side && x >= 0 && x < (int32_t)side)
                maximum = fmaxf(maximum, map[((size_t)y * side + (size_t)x) * channels + channel]);
        }
    }
    return maximum;
}

static void check_max_pool(const struct kernels *kernels, uint32_t side, uint32_t channels)
{
    const uint32_t out_side = (side + 1) / 2;
    const size_t row_floats = (size_t)side * channels, n_out = (size_t)out_side * channels;
    float *in = floats_random(side * row_floats, side, 0.0f, 1.0f);
    float *out = floats_filled(n_out + KERNEL_LANES, FLOATS_GUARD);
    for (uint32_t y = 0; y < out_side; y++) {
        const uint32_t first = y > 0 ? 2 * y - 1 : 0;
        const uint32_t end = 2 * y + 2 < side ? 2 * y + 2 : side;
        const float *rows[3];
        for (uint32_t row = first; row < end; row++)
            rows[row - first] = in + row * row_floats;
        kernels->max_pool(rows, end - first, side, channels, out);
        for (size_t i = 0; i < n_out; i++) {
            const float wanted =
                window_maximum(in, side, channels, y * out_side + (uint32_t)(i / channels),
                               (uint32_t)(i % channels));
            if (out[i] != wanted)
                fail_msg("%s: side %u, %u channels: value %zu of row %u is %g, not %g",
                         kernels->name, side, channels, i, y, (double)out[i], (double)wanted);
        }
        for (size_t i = n_out; i < n_out + KERNEL_LANES; i++)
            assert_true(out[i] == FLOATS_GUARD);
    }
    free(out);
    free(in);
}

static void max_pool_of_any_side(void **state)
{
    (void)state;
    for (size_t set = 0; set < SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        for (uint32_t side = 1; kernels != NULL && side <= 9; side++) {
            for (uint32_t n = 1; n <= 3; n++)
                check_max_pool(kernels, side, n * KERNEL_LANES);
        }
    }
}

/* ---- choice ---- */

static void kernels_are_found_by_their_names(void **state)
{
    (void)state;
    static const char *const unknown[] = {"", "avx", "AVX2", "avx512 ", "sse2"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        assert_null(kernels_named(unknown[i]));
    assert_ptr_equal(kernels_named("scalar"), &kernels_scalar);
    assert_ptr_equal(kernels_named("portable"), &kernels_portable);
    for (size_t set = 0; set < VECTOR_SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        if (kernels == NULL)
            print_message("note: this processor has no %s; those kernels are not tested\n",
                          sets[set]);
        else
            assert_string_equal(kernels->name, sets[set]);
    }
}

/* The first of the list, fastest first, that runs. */
static void best_kernels_run_here(void **state)
{
    (void)state;
    size_t set = 0;
    while (kernels_named(sets[set]) == NULL)
        set++;
    assert_ptr_equal(kernels_best(), kernels_named(sets[set]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_any_shape),
        cmocka_unit_test(products_with_any_options),
        cmocka_unit_test(products_with_anything_ahead),
        cmocka_unit_test(products_of_denormal_numbers),
        cmocka_unit_test(relu_makes_zero_of_what_is_not_a_number),
        cmocka_unit_test(max_pool_of_any_side),
        cmocka_unit_test(kernels_are_found_by_their_names),
        cmocka_unit_test(best_kernels_run_here),
    };
    return test_run(tests);
}
