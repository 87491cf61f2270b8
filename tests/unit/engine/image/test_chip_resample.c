/* Golden values: PyTorch 1.13, interpolate(mode='bilinear', antialias=True, align_corners=False),
 * of the image ((37 x + 101 y + 13 x y) mod 64) / 64; Pillow 9.4 in mode F gives the same to 2e-7.
 */
#include "tests/test.h"

#include <math.h>

#include "engine/image/chip_grid.h"

struct golden {
    uint32_t sizes[4]; /* width, height, output width and height */
    float values[48];
};

static const struct golden goldens[] = {
    {{6, 5, 4, 9},
     {0.21679689f,  0.361111134f, 0.529513836f, 0.673828125f, 0.309895843f, 0.340856493f,
      0.607060134f, 0.638020813f, 0.465060771f, 0.307098776f, 0.736303985f, 0.578342021f,
      0.342447877f, 0.223958343f, 0.470486015f, 0.351996481f, 0.150390625f, 0.128472239f,
      0.105902769f, 0.083984375f, 0.513889074f, 0.279899806f, 0.235146657f, 0.37152791f,
      0.766276002f, 0.394290149f, 0.364390433f, 0.589626729f, 0.57421869f,  0.360532433f,
      0.493634313f, 0.529947877f, 0.458984405f, 0.340277821f, 0.571180522f, 0.494140655f}},
    {{13, 4, 5, 4}, {0.316666692f, 0.520359814f, 0.46875003f,  0.417140126f, 0.620833218f,
                     0.411458403f, 0.630208313f, 0.35133934f,  0.537405252f, 0.486458242f,
                     0.139583334f, 0.10369318f,  0.0625f,      0.051609762f, 0.685416579f,
                     0.634375095f, 0.395359844f, 0.545089304f, 0.353693098f, 0.784374893f}},
    {{34, 35, 3, 4},
     {0.403249383f, 0.487758249f, 0.493209779f, 0.443432391f, 0.434845537f, 0.479083747f,
      0.483457983f, 0.487891287f, 0.500887513f, 0.473425925f, 0.505473435f, 0.494616419f}},
    {{4, 4, 7, 6},
     {0.0f,         0.206473261f, 0.536830366f, 0.3671875f,   0.197544754f, 0.527901888f,
      0.734375f,    0.2890625f,   0.353236616f, 0.455915183f, 0.30859375f,  0.19698675f,
      0.585379601f, 0.828125f,    0.50781244f,  0.441778213f, 0.336123496f, 0.230468735f,
      0.184337944f, 0.554873586f, 0.786458254f, 0.22656244f,  0.208891302f, 0.180617526f,
      0.152343735f, 0.13597472f,  0.202938914f, 0.244791538f, 0.4453125f,   0.476004481f,
      0.525111616f, 0.32421875f,  0.123325914f, 0.172433048f, 0.203125f,    0.734375f,
      0.801339328f, 0.908482134f, 0.515625f,    0.122767895f, 0.229910746f, 0.296875f}},
    {{95, 95, 2, 2}, {0.484364212f, 0.481765181f, 0.481765091f, 0.479200959f}},
    {{9, 11, 9, 3},
     {0.358035743f, 0.472767889f, 0.130357146f,  0.530803621f, 0.445535749f, 0.474553615f,
      0.389285713f, 0.046875f,    0.447321415f,  0.524771333f, 0.48437503f,  0.0781250075f,
      0.501143336f, 0.460746974f, 0.493521363f,  0.45312503f,  0.046875f,    0.469893336f,
      0.423214287f, 0.495982111f, 0.0258928519f, 0.384375006f, 0.45714286f,  0.444196403f,
      0.516964316f, 0.046875f,    0.405357152f}},
};

static float pixel(uint32_t x, uint32_t y)
{
    return (float)((x * 37 + y * 101 + x * y * 13) % 64) / 64;
}

/* Resamples window (x, y) of a plane; the output is to be freed. */
static float *resample(const float *plane, uint32_t plane_width, uint32_t x, uint32_t y,
                       const uint32_t sizes[4])
{
    struct chip_resampler *resampler = NULL;
    assert_int_equal(
        chip_resampler_create(&resampler, sizes[0], sizes[1], sizes[2], sizes[3], NULL), 0);
    size_t n_out = (size_t)sizes[2] * sizes[3];
    float *scratch = malloc(chip_resampler_scratch(resampler) * sizeof(float));
    float *out = malloc(n_out * sizeof(float));
    assert_non_null(scratch);
    assert_non_null(out);
    chip_resample(resampler, plane, plane_width, x, y, scratch, out);
    free(scratch);
    chip_resampler_destroy(resampler);
    return out;
}

static void matches_pytorch_and_pillow(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
        const struct golden *golden = &goldens[i];
        const uint32_t width = golden->sizes[0], height = golden->sizes[1];
        /* Inside a plane of NaN: a read outside the window would show. */
        const uint32_t left = 3, top = 2, plane_width = width + 7;
        size_t plane_size = (size_t)plane_width * (height + 5);
        float *plane = malloc(plane_size * sizeof(float));
        assert_non_null(plane);
        for (size_t j = 0; j < plane_size; j++)
            plane[j] = NAN;
        for (uint32_t y = 0; y < height; y++) {
            for (uint32_t x = 0; x < width; x++)
                plane[(size_t)(top + y) * plane_width + left + x] = pixel(x, y);
        }
        float *out = resample(plane, plane_width, left, top, golden->sizes);
        for (uint32_t j = 0; j < golden->sizes[2] * golden->sizes[3]; j++) {
            if (!(fabsf(out[j] - golden->values[j]) < 1e-6f))
                fail_msg("golden %zu, value %u: %.9g, not %.9g", i, j, (double)out[j],
                         (double)golden->values[j]);
        }
        free(out);
        free(plane);
    }
}

static void same_size_is_a_copy(void **state)
{
    (void)state;
    float plane[20 * 9];
    for (uint32_t i = 0; i < 20 * 9; i++)
        plane[i] = pixel(i % 20, i / 20) * 1.1f;
    float *out = resample(plane, 20, 5, 1, (const uint32_t[4]){11, 7, 11, 7});
    for (uint32_t y = 0; y < 7; y++)
        assert_memory_equal(out + y * 11, plane + (y + 1) * 20 + 5, 11 * sizeof(float));
    free(out);
}

static void a_constant_stays_constant(void **state)
{
    (void)state;
    static const uint32_t sizes[][4] = {
        {95, 95, 96, 96}, {95, 95, 64, 64}, {34, 35, 96, 96}, {4, 4, 224, 224}, {300, 200, 1, 1}};
    float *plane = malloc(300 * 200 * sizeof(float));
    assert_non_null(plane);
    for (size_t i = 0; i < 300 * 200; i++)
        plane[i] = 0.7f;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        float *out = resample(plane, 300, 0, 0, sizes[s]);
        for (size_t i = 0; i < (size_t)sizes[s][2] * sizes[s][3]; i++)
            assert_true(fabsf(out[i] - 0.7f) < 1e-5f);
        free(out);
    }
    free(plane);
}

static void bytes_do_not_depend_on_the_place_or_the_scratch(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    float plane[SIDE * SIDE];
    struct chip_resampler *resampler = NULL;
    assert_int_equal(chip_resampler_create(&resampler, 13, 17, 10, 24, NULL), 0);
    float first[10 * 24], again[10 * 24];
    float *scratch = malloc(chip_resampler_scratch(resampler) * sizeof(float));
    assert_non_null(scratch);
    for (uint32_t shift = 0; shift < 20; shift++) {
        for (uint32_t i = 0; i < SIDE * SIDE; i++)
            plane[i] = pixel(i % SIDE - shift, i / SIDE - 2 * shift);
        memset(scratch, (int)shift * 13, chip_resampler_scratch(resampler) * sizeof(float));
        chip_resample(resampler, plane, SIDE, shift, 2 * shift, scratch,
                      shift == 0 ? first : again);
        if (shift > 0)
            assert_memory_equal(first, again, sizeof(first));
    }
    free(scratch);
    chip_resampler_destroy(resampler);
    chip_resampler_destroy(NULL);
}

/* Samples of every type that has levels, with a table of what each level is, against the floats
 * themselves. */
static void samples_give_the_bytes_of_floats(void **state)
{
    (void)state;
    enum { SIDE = 40, OUT = 24 * 10 };
    static float plane[SIDE * SIDE], levels[1 << 16];
    static uint16_t samples[SIDE * SIDE];
    static const enum sample_type types[] = {SAMPLE_U8, SAMPLE_U16, SAMPLE_I16};
    for (uint32_t i = 0; i < 1 << 16; i++)
        levels[i] = (float)(i * 0.37 - 5);
    struct chip_resampler *resampler = NULL;
    assert_int_equal(chip_resampler_create(&resampler, 13, 17, 10, 24, NULL), 0);
    float *scratch = malloc(chip_resampler_scratch(resampler) * sizeof(float));
    assert_non_null(scratch);
    for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        const enum sample_type type = types[t];
        uint8_t *bytes = (uint8_t *)samples;
        for (uint32_t i = 0; i < SIDE * SIDE; i++) {
            const uint32_t level = i * 2654435761u >> (type == SAMPLE_U8 ? 24 : 16);
            if (type == SAMPLE_U8)
                bytes[i] = (uint8_t)level;
            else /* -32768 is a signed sample's level 0 */
                samples[i] = (uint16_t)(type == SAMPLE_U16 ? level : level - 32768);
            plane[i] = levels[level];
        }
        const struct chip_source source = {
            .samples = samples, .type = type, .levels = levels, .image_width = SIDE};
        float expected[OUT], found[OUT];
        for (uint32_t x = 0; x + 13 <= SIDE; x += 9) {
            chip_resample(resampler, plane, SIDE, x, 23, scratch, expected);
            chip_resample_source(resampler, &source, x, 23, scratch, found);
            assert_memory_equal(expected, found, sizeof(expected));
        }
        /* Only twenty rows in memory: 23 to 39 lie at 3 to 19, 20 to 22 would lie before them. */
        const struct chip_source held = {.samples =
                                             bytes + (size_t)20 * SIDE * sample_type_size(type),
                                         .type = type,
                                         .levels = levels,
                                         .image_width = SIDE,
                                         .n_held = 20};
        chip_resample_source(resampler, &held, 9, 23, scratch, found);
        chip_resample(resampler, plane, SIDE, 9, 23, scratch, expected);
        assert_memory_equal(expected, found, sizeof(expected));
        /* Rows 30 to 46 of an image: ten at the end, then seven at the beginning. */
        static float wrapped[17 * SIDE];
        memcpy(wrapped, plane + (20 + 10) * SIDE, 10 * SIDE * sizeof(float));
        memcpy(wrapped + 10 * SIDE, plane + 20 * SIDE, 7 * SIDE * sizeof(float));
        chip_resample_source(resampler, &held, 9, 30, scratch, found);
        chip_resample(resampler, wrapped, SIDE, 9, 0, scratch, expected);
        assert_memory_equal(expected, found, sizeof(expected));
    }
    free(scratch);
    chip_resampler_destroy(resampler);
}

/* Bytes are taken sixteen rows and sixteen columns at once: widths and heights around that, in the
 * last corner of memory that has nothing behind it. */
static void windows_of_bytes_of_any_size_give_the_bytes_of_floats(void **state)
{
    (void)state;
    enum { SIDE = 70, OUT = 6 * 5 };
    static const uint32_t sides[] = {4, 15, 16, 17, 31, 32, 33, 63, 64, 65, SIDE};
    const size_t n_sides = sizeof(sides) / sizeof(sides[0]);
    float *plane = malloc(SIDE * SIDE * sizeof(float)), levels[256];
    uint8_t *samples = malloc(SIDE * SIDE);
    assert_true(plane != NULL && samples != NULL);
    for (uint32_t i = 0; i < 256; i++)
        levels[i] = (float)(sin(i * 0.7) * (i % 3 == 0 ? 1e-20 : 3.0));
    for (uint32_t i = 0; i < SIDE * SIDE; i++) {
        samples[i] = (uint8_t)(i * 2654435761u >> 24);
        plane[i] = levels[samples[i]];
    }
    const struct chip_source source = {
        .samples = samples, .type = SAMPLE_U8, .levels = levels, .image_width = SIDE};
    for (size_t i = 0; i < n_sides * n_sides; i++) {
        const uint32_t width = sides[i % n_sides], height = sides[i / n_sides];
        const uint32_t sizes[4] = {width, height, 6, 5};
        struct chip_resampler *resampler = NULL;
        float found[OUT];
        float *expected = resample(plane, SIDE, SIDE - width, SIDE - height, sizes);
        assert_int_equal(chip_resampler_create(&resampler, width, height, 6, 5, NULL), 0);
        float *scratch = malloc(chip_resampler_scratch(resampler) * sizeof(float));
        assert_non_null(scratch);
        chip_resample_source(resampler, &source, SIDE - width, SIDE - height, scratch, found);
        assert_memory_equal(expected, found, sizeof(found));
        free(scratch);
        free(expected);
        chip_resampler_destroy(resampler);
    }
    free(samples);
    free(plane);
}

static void sides_out_of_range_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t sizes[4];
        const char *message;
    } cases[] = {
        {{0, 5, 5, 5}, "resampling: width must be 1 to 4096 pixels, but is 0"},
        {{5, 4097, 5, 5}, "resampling: height must be 1 to 4096 pixels, but is 4097"},
        {{5, 5, 0, 5}, "resampling: output width must be 1 to 4096 pixels, but is 0"},
        {{5, 5, 5, UINT32_MAX},
         "resampling: output height must be 1 to 4096 pixels, but is 4294967295"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        struct chip_resampler *resampler = NULL;
        const uint32_t *sizes = cases[i].sizes;
        assert_int_equal(
            chip_resampler_create(&resampler, sizes[0], sizes[1], sizes[2], sizes[3], &err),
            ERROR_INVALID);
        assert_null(resampler);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void resample_part(const struct chip_resampler *resampler, const float *plane,
                          uint32_t plane_width, float *out)
{
    const struct chip_rect window = chip_resampler_window(resampler);
    float *scratch = malloc(chip_resampler_scratch(resampler) * sizeof(float));
    assert_non_null(scratch);
    chip_resample(resampler, plane, plane_width, window.x, window.y, scratch, out);
    free(scratch);
}

static void other_rows_give_the_bytes_of_a_resampler_made_for_them(void **state)
{
    (void)state;
    enum { SIDE = 40, N_COLUMNS = 7, N_ROWS = 3 };
    float plane[SIDE * SIDE], wanted[N_ROWS * N_COLUMNS], found[N_ROWS * N_COLUMNS];
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        plane[i] = pixel(i % SIDE, i / SIDE);
    const uint32_t columns[N_COLUMNS] = {2, 1, 0, 0, 1, 2, 3}, first_rows[] = {0};
    const uint32_t rows[][N_ROWS] = {{0, 0, 1}, {9, 10, 11}, {24, 24, 23}, {40, 0, 0}};
    const struct resample_span horizontal = {SIDE, 1.6, columns, N_COLUMNS};
    struct resample_span vertical = {SIDE, 1.6, first_rows, 1};
    struct chip_resampler *resampler = NULL;
    assert_int_equal(chip_resampler_create_part(&resampler, &horizontal, &vertical, NULL), 0);
    vertical.n_out = N_ROWS;
    for (size_t i = 0; i < 3; i++) {
        struct chip_resampler *other = NULL;
        vertical.outputs = rows[i];
        assert_int_equal(chip_resampler_create_part(&other, &horizontal, &vertical, NULL), 0);
        assert_int_equal(chip_resampler_set_rows(resampler, &vertical, NULL), 0);
        resample_part(other, plane, SIDE, wanted);
        resample_part(resampler, plane, SIDE, found);
        assert_memory_equal(found, wanted, sizeof(wanted));
        chip_resampler_destroy(other);
    }
    /* Rows beyond the image are refused, and those before stay. */
    vertical.outputs = rows[3];
    assert_int_equal(chip_resampler_set_rows(resampler, &vertical, NULL), ERROR_INVALID);
    memset(found, 0, sizeof(found));
    resample_part(resampler, plane, SIDE, found);
    assert_memory_equal(found, wanted, sizeof(wanted));
    chip_resampler_destroy(resampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_pytorch_and_pillow),
        cmocka_unit_test(same_size_is_a_copy),
        cmocka_unit_test(a_constant_stays_constant),
        cmocka_unit_test(bytes_do_not_depend_on_the_place_or_the_scratch),
        cmocka_unit_test(samples_give_the_bytes_of_floats),
        cmocka_unit_test(windows_of_bytes_of_any_size_give_the_bytes_of_floats),
        cmocka_unit_test(sides_out_of_range_are_refused),
        cmocka_unit_test(other_rows_give_the_bytes_of_a_resampler_made_for_them),
    };
    return test_run(tests);
}
