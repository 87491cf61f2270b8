/* What the decoder makes of files that are wrong: ERROR_INVALID with one helpful line, and nothing
 * else (the sanitizer runs see to leaks and stray reads). */
#include "tests/test.h"

#include <sys/resource.h>
#include <zlib.h>

#include "engine/image/image.h"
#include "tests/unit/engine/image/png_builder.h"

static const uint16_t samples[64] = {1, 200, 3, 4, 250, 6, 7, 8, 9, 10, 11, 255, 0};

static const struct png_pixels grey8 = {
    .width = 8, .height = 8, .bit_depth = 8, .color_type = PNG_GREY, .samples = samples};

/* Decoding and verifying must both refuse, with the same words, and leave their outputs alone. */
static void assert_refused_within(const void *data, size_t size, const struct image_limits *limits,
                                  const char *expected)
{
    const struct image_request request = {.data = data, .size = size, .limits = limits};
    struct error err = {0};
    struct image image = {.info.width = 4711, .pixels = NULL};
    assert_int_equal(image_decode(&request, &image, &err), ERROR_INVALID);
    assert_int_equal(image.info.width, 4711);
    assert_null(image.pixels);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_null(strchr(err.message, '\n'));
    if (strstr(err.message, expected) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, expected);
    struct error verify_err = {0};
    struct image_info info = {.width = 4711};
    assert_int_equal(image_verify(&request, &info, &verify_err), ERROR_INVALID);
    assert_int_equal(info.width, 4711);
    assert_string_equal(verify_err.message, err.message);
}

static void assert_refused(const void *data, size_t size, const char *expected)
{
    assert_refused_within(data, size, &image_limits_default, expected);
}

static int verify(const struct png_file *file, struct image_info *info)
{
    const struct image_request request = {
        .data = file->data, .size = file->size, .limits = &image_limits_default};
    return image_verify(&request, info, NULL);
}

static struct png_file start(uint32_t width, uint32_t height, uint8_t bit_depth, uint8_t color_type,
                             uint8_t interlace)
{
    struct png_file file = {NULL, 0};
    png_add_signature(&file);
    png_add_ihdr(&file, width, height, bit_depth, color_type, interlace);
    return file;
}

static void refuse_and_clear(struct png_file *file, const char *expected)
{
    assert_refused(file->data, file->size, expected);
    png_file_clear(file);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (uint8_t interlace = 0; interlace < 2; interlace++) {
        struct png_pixels pixels = grey8;
        pixels.interlace = interlace;
        struct png_file file = png_build(&pixels);
        for (size_t size = 0; size < file.size; size++) {
            /* A copy of the exact size, so that a read beyond it is seen. */
            uint8_t *part = malloc(size > 0 ? size : 1);
            assert_non_null(part);
            memcpy(part, file.data, size);
            assert_refused(part, size, size == 0 ? "empty" : "truncated");
            free(part);
        }
        png_file_clear(&file);
    }
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct png_file file = png_build(&grey8);
    for (size_t bit = 0; bit < file.size * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused(file.data, file.size, "");
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    png_file_clear(&file);
}

static void other_formats_are_named(void **state)
{
    (void)state;
    assert_refused("\xff\xd8\xff\xe0\0\20JFIF", 10, "looks like a JPEG file; PNG is supported");
    assert_refused("II*\0\10\0\0\0", 8, "looks like a TIFF file; PNG is supported");
    assert_refused("MM\0*\0\0\0\10", 8, "looks like a TIFF file; PNG is supported");
    assert_refused("GIF89a\1\0", 8, "looks like a GIF file");
    assert_refused("\x89HDF\r\n\x1a\n", 8, "looks like a HDF5 file");
    assert_refused("\0\0\0\3\0\0\0\0", 8, "looks like a Gatan DM3 file");
    assert_refused("\x89PNG\n\x1a\n\0\0\0", 10, "text mode");
    assert_refused("hello, world", 12, "not a PNG file");
    assert_refused("x", 1, "not a PNG file");
    assert_refused("", 0, "empty");
    assert_refused("\x89", 1, "truncated");
}

static void sizes_are_held_against_the_limits_before_anything_else(void **state)
{
    (void)state;
    struct png_file file = start(0, 8, 8, PNG_GREY, 0);
    refuse_and_clear(&file, "size zero (width 0, height 8)");
    file = start(8, 0, 8, PNG_GREY, 0);
    refuse_and_clear(&file, "size zero (width 8, height 0)");
    file = start(32769, 8, 8, PNG_GREY, 0);
    refuse_and_clear(&file, "width 32769 is over the limit of 32768 pixels");
    file = start(8, UINT32_MAX, 8, PNG_GREY, 0);
    refuse_and_clear(&file, "height 4294967295 is over the limit of 32768 pixels");
    file = start(32768, 32768, 16, PNG_RGBA, 1);
    refuse_and_clear(&file, "= 1073741824 is over the limit of 268435456 pixels");

    file = png_build(&grey8);
    struct image_limits limits = {
        .max_side = 8, .max_pixels = 64, .max_decoded_size = 1 << 20, .decode_base_ms = UINT32_MAX};
    const struct image_request request = {.data = file.data, .size = file.size, .limits = &limits};
    struct image_info info;
    assert_int_equal(image_verify(&request, &info, NULL), 0);
    limits.max_pixels = 63;
    assert_refused_within(file.data, file.size, &limits, "8 x 8 = 64 is over the limit of 63");
    struct image_frames frames;
    assert_int_equal(image_probe(&request, &frames, NULL), ERROR_INVALID);
    limits.max_pixels = 64;
    limits.max_side = 7;
    assert_refused_within(file.data, file.size, &limits, "width 8 is over the limit of 7");
    limits.max_side = 8;
    limits.max_decoded_size = 255;
    assert_refused_within(file.data, file.size, &limits, "over the limit of 255 bytes");
    png_file_clear(&file);

    /* Limits as large as they come must not let a product wrap. */
    limits = (struct image_limits){UINT32_MAX, UINT64_MAX, 1 << 20, UINT32_MAX, 0};
    file = start(0x7fffffff, 0x7fffffff, 16, PNG_RGBA, 0);
    assert_refused_within(file.data, file.size, &limits, "over the limit of 1048576 bytes");
    png_file_clear(&file);
}

static void impossible_headers_are_refused(void **state)
{
    (void)state;
    static const uint8_t headers[][3] = {
        {3, PNG_GREY, 0},
        {32, PNG_GREY, 0},
        {0, PNG_GREY, 0},
        {4, PNG_RGB, 0},
        {4, PNG_RGBA, 0},
        {16, PNG_PALETTE, 0},
        {8, 1, 0},
        {8, 7, 0},
        {8, 255, 0},
        {8, PNG_GREY, 2},
        {2, PNG_GREY_ALPHA, 1},
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct png_file file = start(8, 8, headers[i][0], headers[i][1], headers[i][2]);
        png_add_pixels(&file, &grey8);
        refuse_and_clear(&file, "corrupt");
    }
    struct png_file file = {NULL, 0};
    png_add_signature(&file);
    png_add_pixels(&file, &grey8);
    refuse_and_clear(&file, "first chunk is not a header");
}

static void image_data_that_end_early_are_refused(void **state)
{
    (void)state;
    size_t size;
    uint8_t *raw = png_scanlines(&grey8, &size);
    for (size_t part = 0; part < size; part += 9) {
        struct png_file file = start(8, 8, 8, PNG_GREY, 0);
        png_add_idat(&file, raw, part);
        png_add_iend(&file);
        refuse_and_clear(&file, "corrupt");
    }
    /* A small file that claims much: no more than its rows are made before it is refused. */
    struct png_file file = start(16384, 16384, 16, PNG_GREY, 0);
    png_add_idat(&file, raw, size);
    png_add_iend(&file);
    struct image_info info;
    assert_int_equal(verify(&file, &info), ERROR_INVALID);
    png_file_clear(&file);
    free(raw);
}

static void broken_compression_is_refused(void **state)
{
    (void)state;
    struct png_file file = start(8, 8, 8, PNG_GREY, 0);
    png_add_chunk(&file, "IDAT", "this is not zlib data", 21);
    png_add_iend(&file);
    refuse_and_clear(&file, "corrupt");

    /* All pixels inflate, every chunk's checksum is right, but zlib's own is not. */
    size_t size;
    uint8_t *raw = png_scanlines(&grey8, &size);
    uint8_t compressed[512];
    uLongf compressed_size = sizeof(compressed);
    assert_int_equal(compress(compressed, &compressed_size, raw, (uLong)size), Z_OK);
    compressed[compressed_size - 1] ^= 1;
    file = start(8, 8, 8, PNG_GREY, 0);
    png_add_chunk(&file, "IDAT", compressed, compressed_size);
    png_add_iend(&file);
    refuse_and_clear(&file, "incorrect data check");

    /* A row filter that does not exist. */
    raw[9 * 3] = 5;
    file = start(8, 8, 8, PNG_GREY, 0);
    png_add_idat(&file, raw, size);
    png_add_iend(&file);
    refuse_and_clear(&file, "corrupt");
    free(raw);
}

static void missing_and_misplaced_chunks_are_refused(void **state)
{
    (void)state;
    struct png_file file = start(8, 8, 8, PNG_GREY, 0);
    png_add_iend(&file);
    refuse_and_clear(&file, "corrupt");

    file = start(8, 8, 8, PNG_PALETTE, 0);
    png_add_pixels(&file, &grey8); /* which adds no palette */
    refuse_and_clear(&file, "corrupt");

    file = start(8, 8, 8, PNG_GREY, 0);
    png_add_chunk(&file, "ABCD", "critical and unknown", 20);
    png_add_pixels(&file, &grey8);
    refuse_and_clear(&file, "corrupt");

    file = start(8, 8, 8, PNG_GREY, 0);
    png_add_ihdr(&file, 100, 100, 8, PNG_GREY, 0); /* a second header, of another size */
    png_add_pixels(&file, &grey8);
    refuse_and_clear(&file, "corrupt");

    file = start(8, 8, 8, PNG_GREY, 0);
    png_add_bytes(&file, "\xff\xff\xff\xffIDAT", 8); /* a length of 4 GiB */
    png_add_pixels(&file, &grey8);
    refuse_and_clear(&file, "corrupt");

    file = start(8, 8, 8, PNG_GREY, 0);
    png_add_bytes(&file, "\x7f\xff\xff\xfftEXt", 8);
    png_add_pixels(&file, &grey8);
    refuse_and_clear(&file, "");
}

static void palette_indices_beyond_the_palette_are_refused(void **state)
{
    (void)state;
    static const uint8_t palette[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const uint16_t indices[4] = {0, 1, 2, 3};
    for (uint8_t interlace = 0; interlace < 2; interlace++) {
        struct png_pixels pixels = {.width = 2,
                                    .height = 2,
                                    .bit_depth = 2,
                                    .color_type = PNG_PALETTE,
                                    .interlace = interlace,
                                    .samples = indices,
                                    .palette = palette,
                                    .palette_size = 9};
        struct png_file file = png_build(&pixels);
        refuse_and_clear(&file, "palette index");
    }
}

static void compressed_metadata_are_not_inflated(void **state)
{
    (void)state;
    /* 64 MiB of text in 64 KiB: skipped unread, so it neither takes memory nor is an error. */
    size_t text_size = 64u << 20;
    uint8_t *text = calloc(text_size, 1);
    uLongf size = compressBound((uLong)text_size);
    uint8_t *chunk = calloc(size + 3, 1);
    assert_non_null(text);
    assert_non_null(chunk);
    chunk[0] = 'a'; /* keyword, its end, compression method 0 */
    assert_int_equal(compress2(chunk + 3, &size, text, (uLong)text_size, 1), Z_OK);
    struct png_file file = start(8, 8, 8, PNG_GREY, 0);
    for (int i = 0; i < 20; i++) {
        png_add_chunk(&file, "zTXt", chunk, size + 3);
        png_add_chunk(&file, "iCCP", chunk, size + 3);
    }
    png_add_pixels(&file, &grey8);
    struct image_info info;
    assert_int_equal(verify(&file, &info), 0);
    png_file_clear(&file);
    free(chunk);
    free(text);
}

static long peak_memory_kib(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

static void a_claimed_chunk_length_takes_no_memory(void **state)
{
    (void)state;
    long before = peak_memory_kib();
    struct png_file file = start(8, 8, 8, PNG_GREY, 0);
    png_add_bytes(&file, "\x7f\0\0\0sCAL", 8); /* 2 GiB in a file of 200 bytes */
    png_add_pixels(&file, &grey8);
    refuse_and_clear(&file, "");
    assert_true(peak_memory_kib() - before < 32 << 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test(sizes_are_held_against_the_limits_before_anything_else),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(image_data_that_end_early_are_refused),
        cmocka_unit_test(broken_compression_is_refused),
        cmocka_unit_test(missing_and_misplaced_chunks_are_refused),
        cmocka_unit_test(palette_indices_beyond_the_palette_are_refused),
        cmocka_unit_test(a_claimed_chunk_length_takes_no_memory),
        cmocka_unit_test(compressed_metadata_are_not_inflated),
    };
    return test_run(tests);
}
