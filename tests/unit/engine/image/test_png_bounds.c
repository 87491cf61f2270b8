/* What a PNG may take: what it has beyond what its header claims is refused and not inflated, and a
 * decode ends soon after it was called off, wherever it is. Time shows here as the number of times
 * that the cancel was asked: each stands for a bounded piece of work. */
#include "tests/test.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/image/decode_guard.h"
#include "engine/image/image.h"
#include "engine/image/normalise.h"
#include "tests/unit/engine/image/png_builder.h"

enum { SIDE = 1024, MIB = 1 << 20 };

/* Ways of reading, with and without libpng. */
static const struct kind {
    uint8_t bit_depth, color_type, interlace;
    enum image_trust trust;
} kinds[] = {
    {8, PNG_GREY, 0, IMAGE_UNCHECKED},  {8, PNG_GREY, 0, IMAGE_CHECKED},
    {16, PNG_GREY, 0, IMAGE_UNCHECKED}, {16, PNG_GREY, 0, IMAGE_CHECKED},
    {1, PNG_GREY, 0, IMAGE_UNCHECKED},  {4, PNG_GREY, 0, IMAGE_UNCHECKED},
    {8, PNG_GREY, 1, IMAGE_UNCHECKED},  {2, PNG_GREY, 1, IMAGE_UNCHECKED},
    {8, PNG_PALETTE, 0, IMAGE_CHECKED}, {1, PNG_PALETTE, 1, IMAGE_UNCHECKED},
    {8, PNG_RGB, 0, IMAGE_UNCHECKED},   {16, PNG_RGBA, 1, IMAGE_UNCHECKED},
};

enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* ---- files ---- */

static size_t raw_size(const struct kind *kind)
{
    static const uint32_t x0[] = {0, 4, 0, 2, 0, 1, 0}, y0[] = {0, 0, 4, 0, 2, 0, 1};
    static const uint32_t dx[] = {8, 8, 4, 4, 2, 2, 1}, dy[] = {8, 8, 8, 4, 4, 2, 2};
    const size_t bits = (size_t)kind->bit_depth * png_n_channels(kind->color_type);
    if (kind->interlace == 0)
        return SIDE * (1 + SIDE * bits / 8);
    size_t size = 0;
    for (int pass = 0; pass < 7; pass++)
        size += (SIDE - y0[pass] + dy[pass] - 1) / dy[pass] *
                (1 + ((SIDE - x0[pass] + dx[pass] - 1) / dx[pass] * bits + 7) / 8);
    return size;
}

static struct png_file begin(const struct kind *kind, uint32_t width, uint32_t height)
{
    static const uint8_t palette[3 * 256] = {0};
    struct png_file file = {NULL, 0};
    png_add_signature(&file);
    png_add_ihdr(&file, width, height, kind->bit_depth, kind->color_type, kind->interlace);
    if (kind->color_type == PNG_PALETTE)
        png_add_chunk(&file, "PLTE", palette, 3u << kind->bit_depth);
    return file;
}

/* Black rows and `n_more` zeros behind them. */
static struct png_file build(const struct kind *kind, size_t n_more)
{
    struct png_file file = begin(kind, SIDE, SIDE);
    const size_t size = raw_size(kind) + n_more;
    uint8_t *raw = calloc(size, 1);
    assert_non_null(raw);
    png_add_idat(&file, raw, size);
    png_add_iend(&file);
    free(raw);
    return file;
}

/* Deflate blocks without content, in front of what is compressed in `file`'s only IDAT chunk. */
static struct png_file with_empty_blocks(const struct kind *kind, uint32_t side, size_t n_blocks)
{
    static const uint8_t empty[5] = {0, 0, 0, 0xff, 0xff};
    const size_t size = side * (1 + (size_t)side * kind->bit_depth / 8);
    uint8_t *raw = calloc(size, 1), *packed = malloc(compressBound((uLong)size));
    uLongf packed_size = compressBound((uLong)size);
    uint8_t *all = malloc(packed_size + n_blocks * sizeof(empty));
    assert_true(raw != NULL && packed != NULL && all != NULL);
    assert_int_equal(compress(packed, &packed_size, raw, (uLong)size), Z_OK);
    memcpy(all, packed, 2);
    for (size_t i = 0; i < n_blocks; i++)
        memcpy(all + 2 + i * sizeof(empty), empty, sizeof(empty));
    memcpy(all + 2 + n_blocks * sizeof(empty), packed + 2, packed_size - 2);
    struct png_file file = begin(kind, side, side);
    png_add_chunk(&file, "IDAT", all, packed_size + n_blocks * sizeof(empty));
    png_add_iend(&file);
    free(all);
    free(packed);
    free(raw);
    return file;
}

/* ---- reading ---- */

/* A cancel that counts how often it is asked, and says yes from the n-th time on (0: never). */
struct count {
    size_t n_asked, yes_at;
};

static bool count_asked(void *context)
{
    struct count *count = context;
    return ++count->n_asked == count->yes_at;
}

static int read_with(const struct png_file *file, enum image_trust trust,
                     const struct image_limits *limits, struct count *count, struct error *err)
{
    const struct cancel cancel = {count_asked, count};
    const struct image_request request = {.data = file->data,
                                          .size = file->size,
                                          .limits = limits,
                                          .trust = trust,
                                          .cancel = &cancel};
    struct image_source source;
    int rc = image_open(&request, &source, err);
    if (rc < 0)
        return rc;
    const uint32_t n_max = source.info.is_unordered ? SIDE : SOURCE_BLOCK_ROWS;
    void *rows = malloc((size_t)n_max * source.info.width * sizeof(float));
    assert_non_null(rows);
    while (rc == 0 && source.n_rows < source.info.height) {
        uint32_t n;
        rc = image_source_read(&source, n_max, rows, &n, err);
    }
    free(rows);
    image_source_close(&source);
    return rc;
}

static int read_all(const struct png_file *file, enum image_trust trust, struct count *count,
                    struct error *err)
{
    return read_with(file, trust, &image_limits_default, count, err);
}

static void assert_refused(const struct png_file *file, enum image_trust trust,
                           const char *expected)
{
    struct error err = {0};
    struct count count = {0};
    assert_int_equal(read_all(file, trust, &count, &err), ERROR_INVALID);
    if (strstr(err.message, expected) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, expected);
}

/* ---- bytes ---- */

static void much_image_data_behind_the_last_row_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KINDS; i++) {
        struct png_file file = build(&kinds[i], 64 * MIB);
        assert_refused(&file, kinds[i].trust, "image data goes on after the last row");
        png_file_clear(&file);
    }
}

/* Encoders that write a row too many are known. */
static void a_row_too_many_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KINDS; i++) {
        struct png_file file = build(&kinds[i], SIDE);
        struct count count = {0};
        assert_int_equal(read_all(&file, kinds[i].trust, &count, NULL), 0);
        png_file_clear(&file);
    }
}

static void image_data_longer_than_rows_can_be_are_refused_unread(void **state)
{
    (void)state;
    struct png_file file = with_empty_blocks(&kinds[0], 4, 20000); /* 100 KB for 4 x 4 pixels */
    assert_refused(&file, IMAGE_UNCHECKED, "over the limit of 65832 for 20 bytes of rows");
    assert_refused(&file, IMAGE_CHECKED, "over the limit of 65832 for 20 bytes of rows");
    png_file_clear(&file);
    file = with_empty_blocks(&kinds[0], 4, 10000);
    struct count count = {0};
    assert_int_equal(read_all(&file, IMAGE_UNCHECKED, &count, NULL), 0);
    assert_int_equal(read_all(&file, IMAGE_CHECKED, &count, NULL), 0);
    png_file_clear(&file);
}

/* As large as an encoder can make it: nothing compresses, and each row is flushed. */
static void image_data_that_do_not_compress_are_read(void **state)
{
    (void)state;
    enum { NARROW = 1, TALL = 20000 };
    struct png_file file = begin(&kinds[0], NARROW, TALL);
    static uint8_t packed[TALL * 64];
    z_stream stream = {.next_out = packed, .avail_out = sizeof(packed)};
    assert_int_equal(deflateInit(&stream, 0), Z_OK);
    for (uint32_t y = 0; y < TALL; y++) {
        uint8_t row[1 + NARROW] = {0, (uint8_t)y};
        stream.next_in = row;
        stream.avail_in = sizeof(row);
        assert_int_equal(deflate(&stream, Z_FULL_FLUSH), Z_OK);
    }
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    png_add_chunk(&file, "IDAT", packed, stream.total_out);
    png_add_iend(&file);
    assert_true(stream.total_out > 5 * TALL * (1 + NARROW));
    deflateEnd(&stream);
    struct count count = {0};
    assert_int_equal(read_all(&file, IMAGE_UNCHECKED, &count, NULL), 0);
    assert_int_equal(read_all(&file, IMAGE_CHECKED, &count, NULL), 0);
    png_file_clear(&file);
}

/* ---- pages ---- */

/* A mapped file of hundreds of megabytes is not gone through before its first row is wanted: its
 * pages would all be in memory at once. Those behind the first cannot even be looked at here. */
static void opening_what_was_checked_touches_the_beginning_alone(void **state)
{
    (void)state;
    enum { N_CHUNKS = 64 };
    const struct kind *kind = &kinds[1];
    assert_int_equal(kind->trust, IMAGE_CHECKED);
    struct png_file file = begin(kind, SIDE, SIDE);
    const size_t raw = raw_size(kind);
    uLongf size = compressBound(raw);
    uint8_t *black = calloc(raw, 1), *packed = malloc(size);
    assert_int_equal(compress2(packed, &size, black, raw, Z_NO_COMPRESSION), Z_OK);
    for (size_t i = 0; i < N_CHUNKS; i++)
        png_add_chunk(&file, "IDAT", packed + size * i / N_CHUNKS,
                      size * (i + 1) / N_CHUNKS - size * i / N_CHUNKS);
    png_add_iend(&file);
    free(black);
    free(packed);

    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_true(file.size > 8 * page);
    uint8_t *map =
        mmap(NULL, file.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    memcpy(map, file.data, file.size);
    assert_int_equal(mprotect(map + page, file.size - page, PROT_NONE), 0);
    const struct image_request request = {
        .data = map, .size = file.size, .limits = &image_limits_default, .trust = IMAGE_CHECKED};
    struct image_source source;
    assert_int_equal(image_open(&request, &source, NULL), 0);
    assert_int_equal(source.info.height, SIDE);
    image_source_close(&source);
    munmap(map, file.size);
    png_file_clear(&file);
}

/* ---- being called off ---- */

/* Each time that it is asked stands for one step and what is made at once: a row, or a block of
 * them. */
static size_t fewest_asked(size_t size, size_t at_once)
{
    return size / (DECODE_GUARD_STEP + at_once);
}

static void a_decode_ends_when_it_is_called_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KINDS; i++) {
        struct png_file file = build(&kinds[i], 0);
        struct count all = {0};
        assert_int_equal(read_all(&file, kinds[i].trust, &all, NULL), 0);
        assert_true(all.n_asked >= fewest_asked(raw_size(&kinds[i]), SOURCE_BLOCK_ROWS * 8 * SIDE));
        for (size_t yes_at = 1; yes_at <= all.n_asked; yes_at++) {
            struct count count = {.yes_at = yes_at};
            struct error err = {0};
            assert_int_equal(read_all(&file, kinds[i].trust, &count, &err), ERROR_CANCELLED);
            assert_int_equal(err.code, ERROR_CANCELLED);
            assert_int_equal(count.n_asked, yes_at); /* nothing was done after it */
        }
        png_file_clear(&file);
    }
}

/* Whatever is read on the way to the first row. */
static void skipping_is_called_off(void **state)
{
    (void)state;
    enum { N_SMALL = 4 * MIB / 12, TEXT = 4 * MIB };
    static uint8_t text[TEXT];
    struct png_file files[3];
    for (size_t i = 0; i < 2; i++) {
        files[i] = begin(&kinds[0], 4, 4);
        if (i == 0)
            png_add_chunk(&files[i], "zTXt", text, sizeof(text));
        for (size_t k = 0; i == 1 && k < N_SMALL / 16; k++)
            png_add_chunk(&files[i], "tEXt", text, 16 * 12);
        png_add_idat(&files[i], text, 20);
        png_add_iend(&files[i]);
    }
    files[2] = with_empty_blocks(&kinds[0], SIDE, 4 * MIB / 5 / 2); /* within the first row */
    for (size_t i = 0; i < 3; i++) {
        for (enum image_trust trust = IMAGE_UNCHECKED; trust <= IMAGE_CHECKED; trust++) {
            struct count all = {0}, count = {.yes_at = 4};
            assert_int_equal(read_all(&files[i], trust, &all, NULL), 0);
            assert_true(all.n_asked >= fewest_asked(files[i].size, 1 << 16));
            assert_int_equal(read_all(&files[i], trust, &count, NULL), ERROR_CANCELLED);
            assert_int_equal(count.n_asked, 4);
        }
        png_file_clear(&files[i]);
    }
}

static void a_normalisation_ends_when_it_is_called_off(void **state)
{
    (void)state;
    enum { N = 4 * MIB };
    float *pixels = malloc(N * sizeof(float));
    assert_non_null(pixels);
    const struct sample_range full_scale = {0, 255};
    for (int clahe = 0; clahe < 2; clahe++) {
        struct normalise_params params = normalise_params_default;
        params.clahe.enabled = clahe;
        struct count all = {0};
        const struct cancel counting = {count_asked, &all};
        for (size_t i = 0; i < N; i++)
            pixels[i] = (float)(i % 256);
        assert_int_equal(
            normalise_apply(&params, pixels, N / SIDE, SIDE, &full_scale, &counting, NULL), 0);
        for (size_t yes_at = 1; yes_at <= all.n_asked; yes_at += 1 + yes_at / 4) {
            struct count count = {.yes_at = yes_at};
            const struct cancel cancel = {count_asked, &count};
            for (size_t i = 0; i < N; i++)
                pixels[i] = (float)(i % 256);
            assert_int_equal(
                normalise_apply(&params, pixels, N / SIDE, SIDE, &full_scale, &cancel, NULL),
                ERROR_CANCELLED);
        }
        assert_true(all.n_asked >= (clahe == 0 ? 16 : 16 + 2 * SIDE));
    }
    free(pixels);
}

/* ---- time ---- */

static void a_decode_over_its_time_is_refused(void **state)
{
    (void)state;
    struct image_limits limits = image_limits_default;
    struct count count = {0};
    for (size_t i = 0; i < N_KINDS; i++) {
        struct png_file file = build(&kinds[i], 0);
        assert_int_equal(read_with(&file, kinds[i].trust, &limits, &count, NULL), 0);
        png_file_clear(&file);
    }
    /* Nothing is inflated in no time. */
    limits.decode_base_ms = limits.decode_ms_per_mib = 0;
    struct error err = {0};
    const struct kind *largest = &kinds[N_KINDS - 1];
    struct png_file file = build(largest, 0);
    assert_int_equal(read_with(&file, largest->trust, &limits, &count, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "ms of processor time, over the limit of 0 ms"));
    png_file_clear(&file);
}

/* The clock is the thread's: what others compute, and waiting, do not count. */
static void the_limit_grows_with_the_size(void **state)
{
    (void)state;
    const struct image_request request = {.limits = &image_limits_default};
    struct decode_guard guard;
    decode_guard_init(&guard, &request, 0);
    assert_int_equal(guard.limit_ms, DECODE_BASE_MS);
    decode_guard_init(&guard, &request, 256 * (uint64_t)MIB);
    assert_int_equal(guard.limit_ms, DECODE_BASE_MS + 256 * DECODE_MS_PER_MIB);
    assert_true(decode_guard_pass(&guard, SIZE_MAX));
    assert_int_equal(decode_guard_result(&guard, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_image_data_behind_the_last_row_are_refused),
        cmocka_unit_test(a_row_too_many_is_none),
        cmocka_unit_test(image_data_longer_than_rows_can_be_are_refused_unread),
        cmocka_unit_test(image_data_that_do_not_compress_are_read),
        cmocka_unit_test(opening_what_was_checked_touches_the_beginning_alone),
        cmocka_unit_test(a_decode_ends_when_it_is_called_off),
        cmocka_unit_test(skipping_is_called_off),
        cmocka_unit_test(a_normalisation_ends_when_it_is_called_off),
        cmocka_unit_test(a_decode_over_its_time_is_refused),
        cmocka_unit_test(the_limit_grows_with_the_size),
    };
    return test_run(tests);
}
