/* Tiles, against the whole image resampled in double precision by the definition and mirrored. */
#include "tests/test.h"

#include <math.h>

#include "engine/dense/tile.h"
#include "tests/unit/engine/dense/plain.h"

static const struct plain_sizes cases[] = {
    {260, 210, 20, 20, 32},   /* enlarged */
    {900, 700, 100, 100, 32}, /* made smaller */
    {150, 500, 30, 70, 48},   /* both axes apart */
    {400, 90, 61, 17, 40},    /* one enlarged, one made smaller */
    {48, 48, 48, 48, 48},     /* one chip, of which nothing changes */
    {4, 4, 4, 4, 384},        /* the margin is mirrored inside the image */
    {4, 4, 4, 4, 16},         /* the margin is as wide as the image */
    {5, 9, 4, 8, 16},         /* hardly more than one */
    {4, 1100, 4, 4, 32},      /* narrow */
    {4096, 4099, 4096, 4096, 16},
    {1024, 640, 64, 64, 64},
};

enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

static float *plane_of(const struct plain_sizes *sizes)
{
    const size_t n = (size_t)sizes->width * sizes->height;
    float *plane = malloc(n * sizeof(float));
    uint32_t random = sizes->width;
    assert_non_null(plane);
    for (size_t i = 0; i < n; i++)
        plane[i] = (float)plain_random(&random, 1 << 24) / (1 << 24);
    return plane;
}

static double triangle(double distance, double half_width)
{
    return fmax(0, 1 - fabs(distance) / half_width);
}

/* Rows of n_in numbers, `step` from number to number and `row_step` from row to row, are brought to
 * the axis's scaled length. */
static double *scale_axis(const double *in, uint32_t n_rows, size_t row_step, size_t step,
                          const struct dense_axis *axis, uint32_t input)
{
    const double scale = (double)axis->chip / input, half_width = fmax(1, scale);
    double *out = calloc((size_t)n_rows * axis->n_scaled, sizeof(double));
    assert_non_null(out);
    for (uint32_t j = 0; j < axis->n_scaled; j++) {
        const double centre = (j + 0.5) * scale;
        const uint32_t first = (uint32_t)fmax(0, centre - half_width - 1);
        double sum = 0;
        for (uint32_t i = first; i < axis->n_pixels && i < centre + half_width; i++)
            sum += triangle(i + 0.5 - centre, half_width);
        for (uint32_t i = first; i < axis->n_pixels && i < centre + half_width; i++) {
            const double weight = triangle(i + 0.5 - centre, half_width) / sum;
            for (uint32_t row = 0; row < n_rows; row++)
                out[(size_t)row * axis->n_scaled + j] += weight * in[row * row_step + i * step];
        }
    }
    return out;
}

/* Of n_scaled columns of y's n_scaled: column by column. */
static double *scale_image(const struct dense_geometry *geometry, const float *plane)
{
    const uint32_t width = geometry->x.n_pixels, height = geometry->y.n_pixels;
    double *wide = malloc((size_t)width * height * sizeof(double));
    assert_non_null(wide);
    for (size_t i = 0; i < (size_t)width * height; i++)
        wide[i] = (double)plane[i];
    double *rows = scale_axis(wide, height, width, 1, &geometry->x, geometry->input);
    double *image = scale_axis(rows, geometry->x.n_scaled, 1, geometry->x.n_scaled, &geometry->y,
                               geometry->input);
    free(wide);
    free(rows);
    return image;
}

/* Step by step: at the end of the image it turns round, and beyond the margin it stands still. */
static uint32_t mirror(int64_t at, uint32_t n, uint32_t margin)
{
    if (at > (int64_t)n + margin - 1)
        at = (int64_t)n + margin - 1;
    while (at < 0 || at >= n)
        at = at < 0 ? -1 - at : 2 * (int64_t)n - 1 - at;
    return (uint32_t)at;
}

static void compare(const struct dense_geometry *geometry, const double *image, uint32_t tile_x,
                    uint32_t tile_y, const float *tile)
{
    const int64_t left = (int64_t)tile_x * geometry->core - geometry->margin;
    const int64_t top = (int64_t)tile_y * geometry->core - geometry->margin;
    for (uint32_t i = 0; i < geometry->side * geometry->side; i++) {
        const uint32_t x = i % geometry->side, y = i / geometry->side;
        const uint32_t column = mirror(left + x, geometry->x.n_scaled, geometry->margin);
        const uint32_t row = mirror(top + y, geometry->y.n_scaled, geometry->margin);
        const double wanted = image[(size_t)column * geometry->y.n_scaled + row];
        if (!(fabs(tile[i] - wanted) < 2e-6))
            fail_msg("tile %u, %u of %u pixels: at %u, %u is %g, not %g", tile_x, tile_y,
                     geometry->side, x, y, (double)tile[i], wanted);
    }
}

/* A thread's memory, for any tile. */
struct maker {
    struct dense_tile_scratch scratch;
    float *tile;
};

static struct maker maker_create(void)
{
    const struct maker maker = {
        .tile = calloc(ENCODER_INPUT_SIZE_MAX * ENCODER_INPUT_SIZE_MAX, sizeof(float))};
    assert_non_null(maker.tile);
    return maker;
}

static void maker_clear(struct maker *maker)
{
    dense_tile_scratch_clear(&maker->scratch);
    free(maker->tile);
}

static size_t make(struct maker *maker, const struct dense_geometry *geometry,
                   const struct chip_source *source, uint32_t tile_x, uint32_t tile_y)
{
    struct error err = {0};
    const int rc =
        dense_tile_make(geometry, source, tile_x, tile_y, &maker->scratch, NULL, maker->tile, &err);
    if (rc != 0)
        fail_msg("tile %u, %u: %s", tile_x, tile_y, err.message);
    return (size_t)geometry->side * geometry->side * sizeof(float);
}

static void tiles_are_parts_of_the_scaled_image(void **state)
{
    (void)state;
    struct maker maker = maker_create();
    for (uint32_t i = 0; i < N_CASES; i++) {
        const struct dense_geometry geometry = plain_geometry(&cases[i]);
        float *plane = plane_of(&cases[i]);
        double *image = scale_image(&geometry, plane);
        const struct chip_source source = {.pixels = plane, .image_width = cases[i].width};
        for (uint32_t y = 0; y < geometry.y.n_tiles; y++) {
            for (uint32_t x = 0; x < geometry.x.n_tiles; x++) {
                make(&maker, &geometry, &source, x, y);
                compare(&geometry, image, x, y, maker.tile);
            }
        }
        free(image);
        free(plane);
    }
    maker_clear(&maker);
}

/* What is not among its rows is not a number, which whatever is made of it would be, too. */
static void a_tile_is_made_of_its_rows(void **state)
{
    (void)state;
    struct maker maker = maker_create(), other = maker_create();
    for (uint32_t i = 0; i < N_CASES; i++) {
        const struct dense_geometry geometry = plain_geometry(&cases[i]);
        const size_t row_size = cases[i].width * sizeof(float);
        float *plane = plane_of(&cases[i]), *part = malloc(cases[i].height * row_size);
        assert_non_null(part);
        for (uint32_t y = 0; y < geometry.y.n_tiles; y++) {
            uint32_t first, end;
            dense_tile_rows(&geometry, y, &first, &end);
            assert_true(first < end && end <= cases[i].height);
            for (size_t k = 0; k < (size_t)cases[i].width * cases[i].height; k++)
                part[k] = NAN;
            memcpy(part + (size_t)first * cases[i].width, plane + (size_t)first * cases[i].width,
                   (end - first) * row_size);
            for (uint32_t x = 0; x < geometry.x.n_tiles; x++) {
                const struct chip_source whole = {.pixels = plane, .image_width = cases[i].width};
                const struct chip_source some = {.pixels = part, .image_width = cases[i].width};
                const size_t size = make(&maker, &geometry, &whole, x, y);
                make(&other, &geometry, &some, x, y);
                assert_memory_equal(maker.tile, other.tile, size);
            }
        }
        free(plane);
        free(part);
    }
    maker_clear(&maker);
    maker_clear(&other);
}

/* Rows of tiles go down the image, and little more is held than they are made of. */
static void check_rows(const struct plain_sizes *sizes)
{
    const struct dense_geometry geometry = plain_geometry(sizes);
    const double scale = (double)sizes->chip_height / sizes->input;
    uint32_t first_before = 0, end_before = 0, first = 0, end = 0;
    for (uint32_t y = 0; y < geometry.y.n_tiles; y++) {
        dense_tile_rows(&geometry, y, &first, &end);
        assert_true(y > 0 || first == 0);
        assert_true(first >= first_before && first <= end_before && end >= end_before);
        assert_true(end - first <= (geometry.side + 2) * scale + 4);
        first_before = first;
        end_before = end;
    }
    assert_int_equal(end, sizes->height);
}

static void rows_of_tiles_go_down_the_image(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_CASES; i++)
        check_rows(&cases[i]);
    check_rows(&(struct plain_sizes){48, 100000, 48, 48, 48});
    check_rows(&(struct plain_sizes){4, 100000, 4, 4, 384});
    check_rows(&(struct plain_sizes){4096, 100000, 4096, 4096, 16});
}

/* A sample's bits as the level that it is. */
static void fill_samples(enum sample_type type, uint32_t n_levels, size_t n, void *samples,
                         const float *levels, float *plane)
{
    uint32_t random = 11;
    for (size_t i = 0; i < n; i++) {
        const uint32_t level = plain_random(&random, n_levels);
        if (type == SAMPLE_U8)
            ((uint8_t *)samples)[i] = (uint8_t)level;
        else
            ((uint16_t *)samples)[i] = (uint16_t)(type == SAMPLE_I16 ? level ^ 0x8000 : level);
        plane[i] = levels[level];
    }
}

static void samples_give_the_bytes_of_floats(void **state)
{
    (void)state;
    static const enum sample_type types[] = {SAMPLE_U8, SAMPLE_U16, SAMPLE_I16};
    struct maker maker = maker_create(), other = maker_create();
    for (uint32_t i = 0; i < 3 * 4; i++) {
        const enum sample_type type = types[i % 3];
        const struct plain_sizes *sizes = &cases[i / 3];
        const struct dense_geometry geometry = plain_geometry(sizes);
        const size_t n = (size_t)sizes->width * sizes->height;
        const uint32_t n_levels = sample_type_n_levels(type);
        float *levels = malloc(n_levels * sizeof(float)), *plane = malloc(n * sizeof(float));
        void *samples = malloc(n * sample_type_size(type));
        for (uint32_t level = 0; level < n_levels; level++)
            levels[level] = sqrtf((float)level / (float)n_levels);
        fill_samples(type, n_levels, n, samples, levels, plane);
        const struct chip_source floats = {.pixels = plane, .image_width = sizes->width};
        const struct chip_source source = {
            .samples = samples, .type = type, .levels = levels, .image_width = sizes->width};
        for (uint32_t tile = 0; tile < geometry.x.n_tiles * geometry.y.n_tiles; tile++) {
            const uint32_t x = tile % geometry.x.n_tiles, y = tile / geometry.x.n_tiles;
            const size_t size = make(&maker, &geometry, &floats, x, y);
            make(&other, &geometry, &source, x, y);
            assert_memory_equal(maker.tile, other.tile, size);
        }
        free(levels);
        free(plane);
        free(samples);
    }
    maker_clear(&maker);
    maker_clear(&other);
}

/* No more than a tile's rows are in memory, each at its place in a ring. */
static void a_ring_of_rows_gives_the_same_bytes(void **state)
{
    (void)state;
    struct maker maker = maker_create(), other = maker_create();
    for (uint32_t i = 0; i < N_CASES; i++) {
        const struct dense_geometry geometry = plain_geometry(&cases[i]);
        const uint32_t width = cases[i].width;
        float *plane = plane_of(&cases[i]);
        const struct chip_source whole = {.pixels = plane, .image_width = width};
        for (uint32_t y = 0; y < geometry.y.n_tiles; y++) {
            uint32_t first, end;
            dense_tile_rows(&geometry, y, &first, &end);
            const uint32_t n_held = end - first;
            float *held = malloc((size_t)n_held * width * sizeof(float));
            assert_non_null(held);
            for (uint32_t row = first; row < end; row++)
                memcpy(held + (size_t)(row % n_held) * width, plane + (size_t)row * width,
                       width * sizeof(float));
            const struct chip_source ring = {
                .pixels = held, .image_width = width, .n_held = n_held};
            const size_t size = make(&maker, &geometry, &whole, geometry.x.n_tiles - 1, y);
            make(&other, &geometry, &ring, geometry.x.n_tiles - 1, y);
            assert_memory_equal(maker.tile, other.tile, size);
            free(held);
        }
        free(plane);
    }
    maker_clear(&maker);
    maker_clear(&other);
}

static bool is_over(void *n_asked)
{
    return ++*(uint32_t *)n_asked > 2;
}

static void a_tile_that_nobody_wants_is_left(void **state)
{
    (void)state;
    const struct dense_geometry geometry = plain_geometry(&cases[0]);
    const size_t n = (size_t)geometry.side * geometry.side;
    uint32_t n_asked = 0;
    const struct cancel cancel = {is_over, &n_asked};
    struct maker maker = maker_create();
    float *plane = plane_of(&cases[0]);
    const struct chip_source source = {.pixels = plane, .image_width = cases[0].width};
    maker.tile[n - 1] = -7;
    assert_int_equal(
        dense_tile_make(&geometry, &source, 0, 0, &maker.scratch, &cancel, maker.tile, NULL), 0);
    assert_int_equal(n_asked, 3);
    assert_true(maker.tile[n - 1] == -7);
    free(plane);
    maker_clear(&maker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_parts_of_the_scaled_image),
        cmocka_unit_test(a_tile_is_made_of_its_rows),
        cmocka_unit_test(rows_of_tiles_go_down_the_image),
        cmocka_unit_test(samples_give_the_bytes_of_floats),
        cmocka_unit_test(a_ring_of_rows_gives_the_same_bytes),
        cmocka_unit_test(a_tile_that_nobody_wants_is_left),
    };
    return test_run(tests);
}
