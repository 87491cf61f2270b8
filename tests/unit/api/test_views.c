/* What a view shows is what decoding, normalising and rounding the whole image gives; it is made
 * once, and heals. */
#include "tests/unit/db/fixture.h"

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "api/job/image_counts.h"
#include "api/views.h"
#include "tests/unit/engine/image/png_builder.h"

enum { WIDTH = 301, HEIGHT = 150, N = WIDTH * HEIGHT };

struct rig {
    struct fixture f;
    struct views *views;
};

static void open_views(struct rig *rig, uint64_t cache_max_size)
{
    views_destroy(rig->views);
    fixture_close(&rig->f);
    assert_ok(fixture_open_with(&rig->f, cache_max_size));
    assert_ok(
        views_create(&rig->views, rig->f.store, rig->f.cache, &image_limits_default, &rig->f.err));
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    fixture_directory(rig->f.directory);
    open_views(rig, 1 << 20);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    views_destroy(rig->views);
    fixture_close(&rig->f);
    fixture_remove_directory(rig->f.directory);
    free(rig);
    return 0;
}

/* ---- images ---- */

static struct png_file build(uint8_t color_type, uint8_t bit_depth, uint8_t interlace,
                             unsigned seed)
{
    static uint16_t samples[4 * N];
    static const uint8_t palette[] = {0, 0, 0, 255, 0, 0, 0, 255, 0, 40, 40, 250};
    const uint32_t n_channels = png_n_channels(color_type);
    const uint32_t mask = color_type == PNG_PALETTE ? 3 : (1u << bit_depth) - 1;
    for (uint32_t i = 0; i < N * n_channels; i++)
        samples[i] = (uint16_t)((i * 2654435761u + seed * 977 + i / 700) >> 7 & mask);
    const struct png_pixels pixels = {.width = WIDTH,
                                      .height = HEIGHT,
                                      .bit_depth = bit_depth,
                                      .color_type = color_type,
                                      .interlace = interlace,
                                      .samples = samples,
                                      .palette = color_type == PNG_PALETTE ? palette : NULL,
                                      .palette_size =
                                          color_type == PNG_PALETTE ? sizeof(palette) : 0};
    return png_build(&pixels);
}

static void store(struct rig *rig, const struct png_file *file, struct db_image *out)
{
    struct store_writer *writer = NULL;
    struct db_image row = {
        .name = strdup("scan.png"), .format = "png", .width = WIDTH, .height = HEIGHT};
    bool existed;
    if (rig->f.project_id[0] == '\0')
        fixture_add_project(&rig->f, "alloys", rig->f.project_id);
    snprintf(row.project_id, sizeof(row.project_id), "%s", rig->f.project_id);
    assert_ok(store_writer_create(&writer, rig->f.store, &rig->f.err));
    assert_ok(store_writer_write(writer, file->data, file->size, &rig->f.err));
    store_writer_sha256(writer, row.sha256);
    assert_ok(store_writer_commit(writer, &rig->f.err));
    assert_ok(db_image_insert(rig->f.db, rig->f.store, &row, &existed, &rig->f.err));
    store_writer_destroy(writer);
    *out = (struct db_image){.width = WIDTH, .height = HEIGHT};
    memcpy(out->id, row.id, sizeof(out->id));
    memcpy(out->sha256, row.sha256, sizeof(out->sha256));
    db_image_clear(&row);
}

static void store_grey(struct rig *rig, unsigned seed, struct db_image *out)
{
    struct png_file file = build(PNG_GREY, 8, 0, seed);
    store(rig, &file, out);
    png_file_clear(&file);
}

static void blob_path(const struct rig *rig, const struct db_image *image, char out[700])
{
    snprintf(out, 700, "%s/blobs/%.2s/%s", rig->f.directory, image->sha256, image->sha256);
}

static int open_default(struct rig *rig, const struct db_image *image, struct view **out)
{
    return view_open(out, rig->views, image, &normalise_params_default, NULL, &rig->f.err);
}

static int read_level(struct view *view, uint32_t k, uint8_t *out, struct error *err)
{
    const struct pyramid_level *level = &view_pyramid(view)->levels[k];
    const struct chip_rect all = {0, 0, level->width, level->height};
    return pyramid_read(view_pyramid(view), k, &all, view_read_tiles, view, out, err);
}

/* ---- what is shown ---- */

static void expect_view(struct rig *rig, const struct png_file *file, const struct db_image *stored,
                        const struct normalise_params *params)
{
    static uint8_t found[N], expected[N];
    struct image image;
    struct view *view = NULL;
    const struct image_request request = {
        .data = file->data, .size = file->size, .limits = &image_limits_default};
    assert_ok(image_decode(&request, &image, NULL));
    assert_ok(
        normalise_apply(params, image.pixels, WIDTH, HEIGHT, &image.info.full_scale, NULL, NULL));
    for (size_t i = 0; i < N; i++)
        expected[i] = (uint8_t)floor((double)image.pixels[i] * 255 + 0.5);
    image_clear(&image);
    for (int again = 0; again < 2; again++) {
        if (view_open(&view, rig->views, stored, params, NULL, &rig->f.err) != 0)
            fail_msg("%s", rig->f.err.message);
        assert_ok(read_level(view, 0, found, &rig->f.err));
        assert_memory_equal(found, expected, N);
        view_close(view);
    }
}

static void every_kind_of_image_is_shown_as_it_is(void **state)
{
    struct rig *rig = *state;
    static const uint8_t kinds[][3] = {
        {PNG_GREY, 8, 0},  {PNG_GREY, 16, 0},   {PNG_GREY, 1, 0}, {PNG_GREY, 8, 1},
        {PNG_GREY, 16, 1}, {PNG_PALETTE, 2, 0}, {PNG_RGB, 8, 0},  {PNG_RGBA, 16, 1},
    };
    static const struct normalise_params trials[] = {
        {.method = NORMALISE_PERCENTILE, .low = 0.5, .high = 99.5},
        {.method = NORMALISE_PERCENTILE, .low = 20, .high = 60},
        {.method = NORMALISE_MINMAX},
        {.method = NORMALISE_MINMAX, .flatten = {.method = FLATTEN_PLANE}},
        {.method = NORMALISE_NONE, .clahe = {.enabled = true, .clip_limit = 2, .tiles = 8}},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct png_file file = build(kinds[i][0], kinds[i][1], kinds[i][2], 1);
        struct db_image image;
        store(rig, &file, &image);
        for (size_t k = 0; k < sizeof(trials) / sizeof(trials[0]); k++)
            expect_view(rig, &file, &image, &trials[k]);
        png_file_clear(&file);
    }
}

static void counts_are_used_and_stored(void **state)
{
    struct rig *rig = *state;
    static uint32_t counts[256];
    struct view *view = NULL;
    struct db_image image;
    struct png_file file = build(PNG_GREY, 8, 0, 1);
    store(rig, &file, &image);
    /* They are not of this image. */
    counts[3] = N - 1;
    image_counts_put(rig->f.cache, image.sha256, 0, "", counts, 256);
    expect_view(rig, &file, &image, &normalise_params_default);
    assert_true(image_counts_get(rig->f.cache, image.sha256, 0, "", N, counts, 256));
    png_file_clear(&file);
    /* Counts that might be: they are believed. */
    static uint8_t found[N];
    memset(counts, 0, sizeof(counts));
    counts[255] = N;
    image_counts_put(rig->f.cache, image.sha256, 0, "", counts, 256);
    static const struct normalise_params other = {.method = NORMALISE_MINMAX};
    assert_ok(view_open(&view, rig->views, &image, &other, NULL, &rig->f.err));
    assert_ok(read_level(view, 0, found, &rig->f.err));
    for (size_t i = 0; i < N; i++)
        assert_int_equal(found[i], 0);
    view_close(view);
}

/* ---- what is kept ---- */

static void a_view_outlives_the_file(void **state)
{
    struct rig *rig = *state;
    static uint8_t before[N], after[N];
    struct view *view = NULL;
    struct db_image image;
    char path[700];
    store_grey(rig, 1, &image);
    assert_ok(open_default(rig, &image, &view));
    assert_ok(read_level(view, 0, before, &rig->f.err));
    view_close(view);
    blob_path(rig, &image, path);
    assert_int_equal(unlink(path), 0);
    open_views(rig, 1 << 20);
    assert_ok(open_default(rig, &image, &view));
    assert_ok(read_level(view, 0, after, &rig->f.err));
    assert_memory_equal(before, after, N);
    view_close(view);
    /* Of another normalisation there is none. */
    static const struct normalise_params other = {.method = NORMALISE_NONE};
    assert_int_equal(view_open(&view, rig->views, &image, &other, NULL, &rig->f.err),
                     ERROR_CORRUPT);
    assert_non_null(strstr(rig->f.err.message, "missing"));
}

static void nothing_is_made_of_a_file_that_was_changed(void **state)
{
    struct rig *rig = *state;
    struct view *view = NULL;
    struct db_image image;
    char path[700];
    uint64_t size, n, n_before;
    struct png_file file = build(PNG_GREY, 8, 0, 1), other = build(PNG_GREY, 8, 0, 2);
    store(rig, &file, &image);
    blob_path(rig, &image, path);
    cache_usage(rig->f.cache, &size, &n_before);
    assert_int_equal(unlink(path), 0);
    FILE *blob = fopen(path, "wb");
    assert_int_equal(fwrite(other.data, 1, other.size, blob), other.size);
    fclose(blob);
    assert_int_equal(open_default(rig, &image, &view), ERROR_CORRUPT);
    assert_non_null(strstr(rig->f.err.message, "its file is damaged"));
    cache_usage(rig->f.cache, &size, &n);
    assert_int_equal(n, n_before);
    assert_int_equal(fixture_n_temporary(rig->f.directory), 0);
    blob = fopen(path, "wb");
    assert_int_equal(fwrite(file.data, 1, file.size, blob), file.size);
    fclose(blob);
    expect_view(rig, &file, &image, &normalise_params_default);
    png_file_clear(&file);
    png_file_clear(&other);
}

/* Changes a byte of the only large file of the cache, in the middle of its tiles. */
static void damage(const struct rig *rig, const struct db_image *image)
{
    char key[300], sha256[DB_SHA256_SIZE], path[700];
    snprintf(key, sizeof(key), "view 1|%s#0|percentile 0.5 99.5 replace|0 2 8", image->sha256);
    fixture_sha256(key, sha256);
    snprintf(path, sizeof(path), "%s/cache/%.2s/%s.emb", rig->f.directory, sha256, sha256);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 64 + PYRAMID_TILE_SIZE + 100, SEEK_SET);
    const int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_view_is_made_anew(void **state)
{
    struct rig *rig = *state;
    static uint8_t before[N], after[N];
    struct view *view = NULL, *other = NULL;
    struct db_image image;
    store_grey(rig, 1, &image);
    assert_ok(open_default(rig, &image, &view));
    assert_ok(read_level(view, 0, before, &rig->f.err));
    assert_false(view_is_damaged(view));
    damage(rig, &image);
    assert_int_equal(read_level(view, 0, after, &rig->f.err), ERROR_CORRUPT);
    assert_true(view_is_damaged(view));
    assert_ok(open_default(rig, &image, &other));
    assert_ptr_not_equal(other, view);
    assert_ok(read_level(other, 0, after, &rig->f.err));
    assert_memory_equal(before, after, N);
    view_close(view);
    view_close(other);
}

static void one_too_large_for_the_cache_goes_with_who_has_it_open(void **state)
{
    struct rig *rig = *state;
    static uint8_t pixels[N];
    struct view *view = NULL, *other = NULL;
    struct db_image image;
    uint64_t size, n;
    char path[700];
    store_grey(rig, 1, &image);
    open_views(rig, 0);
    assert_ok(open_default(rig, &image, &view));
    assert_int_equal(fixture_n_temporary(rig->f.directory), 0);
    blob_path(rig, &image, path);
    assert_int_equal(unlink(path), 0);
    assert_ok(open_default(rig, &image, &other));
    assert_ptr_equal(other, view);
    assert_ok(read_level(view, 0, pixels, &rig->f.err));
    view_close(view);
    assert_ok(read_level(other, 1, pixels, &rig->f.err));
    view_close(other);
    cache_usage(rig->f.cache, &size, &n);
    assert_int_equal(n, 0);
    assert_int_equal(open_default(rig, &image, &view), ERROR_CORRUPT);
}

/* ---- at the same time ---- */

/* One thread makes, held up by its cancel until the other has come to wait for it. */
struct meeting {
    struct rig *rig;
    const struct db_image *image;
    sem_t maker_begun, waiter_waits;
    bool maker_stops, waiter_stops;
    bool is_over;           /* for the maker: it was held up once */
    struct db_image *third; /* NULL, or what the maker's thread opens meanwhile */
    struct view *maker_view, *waiter_view;
    int maker_rc, waiter_rc;
};

static bool ask_maker(void *context)
{
    struct meeting *m = context;
    struct view *view = NULL;
    if (!m->is_over) {
        m->is_over = true;
        sem_post(&m->maker_begun);
        sem_wait(&m->waiter_waits);
        if (m->third != NULL) {
            assert_ok(open_default(m->rig, m->third, &view));
            view_close(view);
        }
    }
    return m->maker_stops;
}

/* Asked while it waits, and while it makes what the other one left. */
static bool ask_waiter(void *context)
{
    struct meeting *m = context;
    if (!m->waiter_stops)
        sem_post(&m->waiter_waits);
    return m->waiter_stops;
}

static void *make_it(void *context)
{
    struct meeting *m = context;
    const struct cancel cancel = {ask_maker, m};
    m->maker_rc = view_open(&m->maker_view, m->rig->views, m->image, &normalise_params_default,
                            &cancel, NULL);
    return NULL;
}

/* Returns when both have ended. */
static void meet(struct meeting *m)
{
    pthread_t maker;
    const struct cancel cancel = {ask_waiter, m};
    sem_init(&m->maker_begun, 0, 0);
    sem_init(&m->waiter_waits, 0, 0);
    assert_int_equal(pthread_create(&maker, NULL, make_it, m), 0);
    sem_wait(&m->maker_begun);
    m->waiter_rc = view_open(&m->waiter_view, m->rig->views, m->image, &normalise_params_default,
                             &cancel, NULL);
    if (m->waiter_stops)
        sem_post(&m->waiter_waits);
    pthread_join(maker, NULL);
    sem_destroy(&m->maker_begun);
    sem_destroy(&m->waiter_waits);
}

static void who_asks_meanwhile_waits_for_the_same_view(void **state)
{
    struct rig *rig = *state;
    struct db_image image, third;
    store_grey(rig, 1, &image);
    store_grey(rig, 2, &third);
    struct meeting m = {.rig = rig, .image = &image, .third = &third};
    meet(&m);
    assert_ok(m.maker_rc);
    assert_ok(m.waiter_rc);
    assert_ptr_equal(m.maker_view, m.waiter_view);
    view_close(m.maker_view);
    view_close(m.waiter_view);
}

static void who_waits_can_be_called_off(void **state)
{
    struct rig *rig = *state;
    struct db_image image;
    store_grey(rig, 1, &image);
    struct meeting m = {.rig = rig, .image = &image, .waiter_stops = true};
    meet(&m);
    assert_ok(m.maker_rc);
    assert_int_equal(m.waiter_rc, ERROR_CANCELLED);
    view_close(m.maker_view);
}

static void who_waited_makes_what_the_other_left(void **state)
{
    struct rig *rig = *state;
    struct db_image image;
    store_grey(rig, 1, &image);
    struct meeting m = {.rig = rig, .image = &image, .maker_stops = true};
    meet(&m);
    assert_int_equal(m.maker_rc, ERROR_CANCELLED);
    assert_ok(m.waiter_rc);
    static uint8_t pixels[N];
    assert_ok(read_level(m.waiter_view, 0, pixels, &rig->f.err));
    view_close(m.waiter_view);
    assert_int_equal(fixture_n_temporary(rig->f.directory), 0);
}

static void a_failure_is_told_to_who_waits(void **state)
{
    struct rig *rig = *state;
    struct db_image image;
    char path[700];
    store_grey(rig, 1, &image);
    blob_path(rig, &image, path);
    assert_int_equal(truncate(path, 1000), 0);
    struct meeting m = {.rig = rig, .image = &image};
    meet(&m);
    assert_int_equal(m.maker_rc, ERROR_CORRUPT);
    assert_int_equal(m.waiter_rc, ERROR_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_kind_of_image_is_shown_as_it_is),
        TEST(counts_are_used_and_stored),
        TEST(a_view_outlives_the_file),
        TEST(nothing_is_made_of_a_file_that_was_changed),
        TEST(a_damaged_view_is_made_anew),
        TEST(one_too_large_for_the_cache_goes_with_who_has_it_open),
        TEST(who_asks_meanwhile_waits_for_the_same_view),
        TEST(who_waits_can_be_called_off),
        TEST(who_waited_makes_what_the_other_left),
        TEST(a_failure_is_told_to_who_waits),
    };
    return test_run(tests);
}
