#include "tests/api/rig.h"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>
#include <nettle/base64.h>

#include "api/job/image_counts.h"
#include "db/events.h"
#include "engine/image/image.h"
#include "tests/unit/engine/image/png_builder.h"

static void an_upload_is_stored_and_read_back(void **state)
{
    struct rig *rig = *state;
    size_t size;
    char id[DB_ID_SIZE], sha256[DB_SHA256_SIZE];
    rig_fill(rig);
    void *png = rig_png(33, 21, 5, &size);
    assert_int_equal(rig_upload(rig, "image/png", png, size,
                                "/v1/projects/%s/images?name=%%C3%%A4%%22%%2F..%%2Fx.png",
                                rig->project),
                     201);
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    snprintf(sha256, sizeof(sha256), "%s", rig_text(rig, "/sha256"));
    assert_string_equal(rig_got(rig, "Location"), rig_text(rig, "/links/self"));
    assert_string_equal(rig_text(rig, "/name"), "\xc3\xa4\"/../x.png");
    assert_string_equal(rig_text(rig, "/format"), "png");
    assert_string_equal(rig_text(rig, "/conversion"), "none");
    assert_int_equal((int)rig_number(rig, "/width"), 33);
    assert_int_equal((int)rig_number(rig, "/height"), 21);
    assert_int_equal((int)rig_number(rig, "/bit_depth"), 16);
    assert_int_equal((int)rig_number(rig, "/byte_size"), (int)size);
    assert_true(rig_number(rig, "/pixel_size/value") == 0.5);
    assert_string_equal(rig_text(rig, "/pixel_size/unit"), "nm");
    /* The same bytes again, under another name: the same image. */
    assert_int_equal(rig_upload(rig, "application/octet-stream", png, size,
                                "/v1/projects/%s/images?name=other", rig->project),
                     200);
    assert_string_equal(rig_text(rig, "/id"), id);

    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/content", id), 200);
    assert_string_equal(rig->response.content_type, "image/png");
    const struct api_stream *stream = &rig->response.stream;
    assert_int_equal(stream->size, size);
    char *back = malloc(size);
    size_t n = 0;
    assert_int_equal(stream->next(stream->context, back, size, &n, &rig->err), 0);
    assert_int_equal(n, size);
    assert_memory_equal(back, png, size);
    assert_int_equal(stream->next(stream->context, back, size, &n, &rig->err), 0);
    assert_int_equal(n, 0);
    free(back);
    free(png);
    assert_string_equal(rig_got(rig, "Content-Disposition"),
                        "attachment; filename=\"____.._x.png\"; "
                        "filename*=UTF-8''%C3%A4%22%2F..%2Fx.png");
    char etag[80];
    snprintf(etag, sizeof(etag), "\"%s\"", sha256);
    assert_string_equal(rig_got(rig, "ETag"), etag);
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/content", id), 304);
    assert_null(rig->response.stream.next);
    assert_non_null(strstr(rig_got(rig, "Cache-Control"), "immutable"));
}

static void pixels_need_not_be_square(void **state)
{
    struct rig *rig = *state;
    const uint16_t samples[12] = {0, 9, 3, 7};
    const struct png_pixels pixels = {.width = 4, .height = 3, .bit_depth = 8, .samples = samples};
    struct png_file file = {0};
    rig_fill(rig);
    png_add_signature(&file);
    png_add_ihdr(&file, 4, 3, 8, PNG_GREY, 0);
    png_add_chunk(&file, "sCAL",
                  "\1"
                  "2e-9\0"
                  "3e-9",
                  10);
    png_add_pixels(&file, &pixels);
    assert_int_equal(
        rig_upload(rig, "image/png", file.data, file.size, "/v1/projects/%s/images", rig->project),
        201);
    assert_true(json_is_null(rig_at(rig, "/pixel_size/value")));
    assert_float_equal(rig_number(rig, "/pixel_size/x"), 2, 1e-9);
    assert_float_equal(rig_number(rig, "/pixel_size/y"), 3, 1e-9);
    assert_string_equal(rig_text(rig, "/pixel_size/source"), "sCAL");
    assert_true(json_is_null(rig_at(rig, "/pixel_size/set_by")));
    png_file_clear(&file);
}

static void who_uploads_may_say_how_large_pixels_are(void **state)
{
    struct rig *rig = *state;
    size_t size;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    void *png = rig_png(33, 21, 5, &size);
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images?pixel_size_nm=2%%2C0",
               rig->project);
    rig_assert_fault(rig, 1, "pixel_size_nm", "or two with a comma");
    assert_int_equal(rig_upload(rig, "image/png", png, size,
                                "/v1/projects/%s/images?pixel_size_nm=2%%2C3", rig->project),
                     201);
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    assert_true(rig_number(rig, "/pixel_size/x") == 2 && rig_number(rig, "/pixel_size/y") == 3);
    assert_string_equal(rig_text(rig, "/pixel_size/source"), "user");
    assert_string_equal(rig_text(rig, "/pixel_size/set_by"), RIG_PRINCIPAL);
    assert_string_equal(rig_text(rig, "/pixel_size/set_at"), rig_text(rig, "/created_at"));
    /* The same bytes with another size: neither is right without a word. */
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images?pixel_size_nm=4", rig->project);
    rig_assert_problem(rig, 409, "conflict");
    assert_non_null(strstr(rig->response.body, id));
    assert_int_equal(rig_upload(rig, "image/png", png, size,
                                "/v1/projects/%s/images?pixel_size_nm=2%%2C3", rig->project),
                     200);
    assert_int_equal(
        rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project), 200);
    free(png);
}

static void a_pixel_size_is_corrected_with_a_trace(void **state)
{
    struct rig *rig = *state;
    struct db_event_list events;
    rig_fill(rig);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s", rig->image), 200);
    assert_string_equal(rig_got(rig, "ETag"), "\"1\"");
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "PATCH", "{\"pixel_size\":{\"x\":2,\"unit\":\"nm\"}}",
                              "/v1/images/%s", rig->image),
                     200);
    assert_string_equal(rig_got(rig, "ETag"), "\"2\"");
    assert_true(rig_number(rig, "/pixel_size/value") == 2);
    assert_string_equal(rig_text(rig, "/pixel_size/set_by"), RIG_PRINCIPAL);
    rig_header(rig, "If-Match", "\"1\"");
    rig_send(rig, "PATCH", "{\"pixel_size\":null}", "/v1/images/%s", rig->image);
    rig_assert_problem(rig, 412, "precondition-failed");
    rig_header(rig, "If-None-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s", rig->image), 200);
    rig_header(rig, "If-None-Match", "\"2\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s", rig->image), 304);
    assert_int_equal(rig_send(rig, "PATCH", "{\"pixel_size\":null}", "/v1/images/%s", rig->image),
                     200);
    assert_true(json_is_null(rig_at(rig, "/pixel_size")));

    assert_int_equal(db_event_list(rig->db, 0, 1000, &events, &rig->err), 0);
    const struct db_event *last = &events.items[events.n_items - 2];
    assert_int_equal(last->type, DB_EVENT_IMAGE_UPDATED);
    assert_string_equal(last->subject_id, rig->image);
    assert_string_equal(last->principal, RIG_PRINCIPAL);
    assert_string_equal(last->data, "{\"revision\":2,\"x_nm\":2,\"y_nm\":2,"
                                    "\"before_x_nm\":0.5,\"before_y_nm\":0.5}");
    db_event_list_clear(&events);

    rig_send(rig, "PATCH", "{\"pixel_size\":{\"x\":0,\"y\":1,\"unit\":\"mm\"}}", "/v1/images/%s",
             rig->image);
    rig_assert_fault(rig, 2, "/pixel_size/x", "from 1e-05 to 10000000, is 0");
    rig_assert_fault(rig, 2, "/pixel_size/unit", "must be nm");
    rig_send(rig, "PATCH", "{}", "/v1/images/%s", rig->image);
    rig_assert_fault(rig, 1, "/pixel_size", "is required");
    rig_send(rig, "PATCH", "{\"pixel_size\":null}", "/v1/images/img_01JABCDEFGHJKMNPQRSTVWXYZ0");
    rig_assert_problem(rig, 404, "not-found");
}

/* 8 of 1000 pixels are hot. */
static void an_image_tells_its_outliers(void **state)
{
    struct rig *rig = *state;
    enum { WIDTH = 50, HEIGHT = 20 };
    uint16_t samples[WIDTH * HEIGHT];
    const struct png_pixels pixels = {
        .width = WIDTH, .height = HEIGHT, .bit_depth = 16, .samples = samples};
    rig_fill(rig);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s", rig->image), 200);
    assert_int_equal((int)rig_number(rig, "/n_outliers"), 0);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        samples[i] = (uint16_t)(i % 125 == 7 ? 65535 : 300 + i % 61);
    struct png_file file = png_build(&pixels);
    assert_int_equal(
        rig_upload(rig, "image/png", file.data, file.size, "/v1/projects/%s/images", rig->project),
        201);
    assert_int_equal((int)rig_number(rig, "/n_outliers"), 8);
    png_file_clear(&file);
}

/* Jobs that come find the values counted. */
static void an_uploads_values_are_counted(void **state)
{
    struct rig *rig = *state;
    enum { SIDE = 9, N_LEVELS = 1 << 16 };
    size_t size;
    rig_fill(rig);
    void *png = rig_png(SIDE, SIDE, 5, &size);
    assert_int_equal(
        rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project), 201);
    uint32_t *counts = calloc(N_LEVELS, sizeof(counts[0]));
    uint32_t *expected = calloc(N_LEVELS, sizeof(counts[0]));
    struct image image;
    assert_int_equal(
        image_decode(
            &(struct image_request){.data = png, .size = size, .limits = &image_limits_default},
            &image, NULL),
        0);
    for (size_t i = 0; i < SIDE * SIDE; i++)
        expected[(size_t)image.pixels[i]]++;
    assert_true(image_counts_get(rig->data->cache, rig_text(rig, "/sha256"), 0, "", SIDE * SIDE,
                                 counts, N_LEVELS));
    assert_memory_equal(counts, expected, N_LEVELS * sizeof(counts[0]));
    image_clear(&image);
    free(expected);
    free(counts);
    free(png);
}

static void a_name_is_made_when_none_is_given(void **state)
{
    struct rig *rig = *state;
    size_t size;
    char name[40];
    rig_fill(rig);
    void *png = rig_png(5, 5, 5, &size);
    assert_int_equal(
        rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project), 201);
    free(png);
    snprintf(name, sizeof(name), "%.12s.png", rig_text(rig, "/sha256"));
    assert_string_equal(rig_text(rig, "/name"), name);
}

static void a_content_digest_must_be_right(void **state)
{
    struct rig *rig = *state;
    size_t size;
    rig_fill(rig);
    void *png = rig_png(6, 6, 5, &size);
    rig_header(rig, "Content-Digest", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:");
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project);
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 1, "Content-Digest", "promises SHA-256 2cf24dba");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects/%s/images", rig->project), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
    free(png);
}

static void assert_no_image(struct rig *rig, const void *data, size_t size, const char *detail)
{
    rig_upload(rig, "image/png", data, size, "/v1/projects/%s/images", rig->project);
    rig_assert_problem(rig, 422, "invalid");
    if (strstr(rig_text(rig, "/detail"), detail) == NULL)
        fail_msg("'%s' does not say '%s'", rig_text(rig, "/detail"), detail);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects/%s/images", rig->project), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
}

static void what_is_no_image_is_refused(void **state)
{
    struct rig *rig = *state;
    size_t size;
    rig_fill(rig);
    char *png = rig_png(60, 60, 5, &size);
    assert_no_image(rig, png, 0, "empty");
    assert_no_image(rig, png, size / 2, "");
    assert_no_image(rig, png, 20, "");
    assert_no_image(rig, "GIF89a, renamed to .png", 23, "PNG");
    png[size / 2] ^= 0x55;
    assert_no_image(rig, png, size, "");
    free(png);
    struct png_file bomb = {0};
    png_add_signature(&bomb);
    png_add_ihdr(&bomb, 2000000000, 2000000000, 16, PNG_GREY, 0);
    png_add_idat(&bomb, "", 1);
    png_add_iend(&bomb);
    assert_no_image(rig, bomb.data, bomb.size, "32768");
    png_file_clear(&bomb);
}

static void limits_of_the_image_are_the_configured_ones(void **state)
{
    struct rig *rig = *state;
    size_t size;
    rig_fill(rig);
    rig->limits.image.max_side = 50;
    rig_restart_api(rig);
    void *png = rig_png(51, 5, 5, &size);
    assert_no_image(rig, png, size, "51");
    free(png);
}

static void an_upload_needs_its_project(void **state)
{
    struct rig *rig = *state;
    rig_upload(rig, "image/png", "x", 1, "/v1/projects/prj_01JABCDEFGHJKMNPQRSTVWXYZ0/images");
    rig_assert_problem(rig, 404, "not-found");
    rig_upload(rig, "image/png", "x", 1, "/v1/projects/nonsense/images");
    rig_assert_problem(rig, 404, "not-found");
    assert_int_equal(rig_upload(rig, "image/png", "x", 1, "/v1/projects/x/images?name="), 422);
    rig_assert_fault(rig, 1, "name", "must have 1 to 255 characters, has 0");
    rig_upload(rig, "image/png", "x", 1, "/v1/projects/x/images?name=%%0a");
    rig_assert_fault(rig, 1, "name", "control");
}

static void images_are_listed_by_name(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    for (unsigned i = 0; i < 3; i++) {
        size_t size;
        void *png = rig_png(8, 8, i, &size);
        assert_int_equal(rig_upload(rig, "image/png", png, size,
                                    "/v1/projects/%s/images?name=b%%26c", rig->project),
                         201);
        free(png);
    }
    assert_int_equal(
        rig_send(rig, "GET", NULL, "/v1/projects/%s/images?name=b%%26c&limit=2", rig->project),
        200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 2);
    assert_non_null(strstr(rig_got(rig, "Link"), "?limit=2&name=b%26c&cursor="));
    rig_send(rig, "GET", NULL, "/v1/projects/%s/images", rig->project);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 4);
    rig_send(rig, "GET", NULL, "/v1/projects/prj_01JABCDEFGHJKMNPQRSTVWXYZ0/images");
    rig_assert_problem(rig, 404, "not-found");
}

static void decode_answer(struct rig *rig, struct image *out)
{
    struct error err;
    assert_int_equal(rig->response.status, 200);
    assert_string_equal(rig->response.content_type, "image/png");
    assert_int_equal(image_decode(&(struct image_request){.data = rig->response.body,
                                                          .size = rig->response.body_size,
                                                          .limits = &image_limits_default},
                                  out, &err),
                     0);
}

static void previews_are_normalised_and_bounded(void **state)
{
    struct rig *rig = *state;
    struct image image;
    rig_fill(rig);
    rig_send(rig, "GET", NULL, "/v1/images/%s/preview.png?max_side=20", rig->image);
    decode_answer(rig, &image);
    assert_int_equal(image.info.width, 20);
    assert_int_equal(image.info.height, 15);
    assert_int_equal(image.info.bit_depth, 8);
    assert_true(image.pixels[0] < 20 && image.pixels[19] > 235);
    image_clear(&image);
    char etag[200];
    snprintf(etag, sizeof(etag), "%s", rig_got(rig, "ETag"));
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(
        rig_send(rig, "GET", NULL, "/v1/images/%s/preview.png?max_side=20", rig->image), 304);
    rig_header(rig, "If-None-Match", etag);
    rig_send(rig, "GET", NULL, "/v1/images/%s/preview.png", rig->image);
    decode_answer(rig, &image);
    assert_int_equal(image.info.width, 40);
    image_clear(&image);
    rig_send(rig, "GET", NULL, "/v1/images/%s/preview.png?max_side=4097", rig->image);
    rig_assert_fault(rig, 1, "max_side", "1 to 4096");
}

static void a_chip_is_the_grid_s_window(void **state)
{
    struct rig *rig = *state;
    struct image whole, chip;
    rig_fill(rig);
    rig_send(rig, "GET", NULL, "/v1/images/%s/preview.png", rig->image);
    decode_answer(rig, &whole);
    rig_send(rig, "GET", NULL, "/v1/images/%s/chips/2,3.png?width=9&height=8", rig->image);
    decode_answer(rig, &chip);
    assert_int_equal(chip.info.width, 9);
    assert_int_equal(chip.info.height, 8);
    for (uint32_t y = 0; y < 8; y++)
        assert_memory_equal(&chip.pixels[y * 9], &whole.pixels[(16 + y) * 40 + 27],
                            9 * sizeof(float));
    image_clear(&chip);
    rig_send(rig, "GET", NULL,
             "/v1/images/%s/chips/0,1.png?width=9&height=8&offset_x=5&offset_y=22", rig->image);
    decode_answer(rig, &chip);
    for (uint32_t y = 0; y < 8; y++)
        assert_memory_equal(&chip.pixels[y * 9], &whole.pixels[(22 + y) * 40 + 14],
                            9 * sizeof(float));
    image_clear(&whole);
    image_clear(&chip);
    rig_send(rig, "GET", NULL,
             "/v1/images/%s/chips/0,0.png?width=9&height=8&offset_x=0&offset_y=23", rig->image);
    rig_assert_problem(rig, 422, "invalid");
    assert_non_null(strstr(rig_text(rig, "/detail"), "offset.y"));
    rig_send(rig, "GET", NULL, "/v1/images/%s/chips/3,0.png?width=9&height=8", rig->image);
    rig_assert_problem(rig, 404, "not-found");
    assert_non_null(strstr(rig_text(rig, "/detail"), "rows 0 to 2"));
    rig_send(rig, "GET", NULL, "/v1/images/%s/chips/-1,a.png?width=9&height=8", rig->image);
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "GET", NULL, "/v1/images/%s/chips/0,0.png?width=3", rig->image);
    rig_assert_fault(rig, 2, "width", "4 to 4096");
    rig_assert_fault(rig, 2, "height", "is required");
    rig_send(rig, "GET", NULL, "/v1/images/%s/chips/0,0.png?width=41&height=8", rig->image);
    rig_assert_problem(rig, 422, "invalid");
}

static void remove_blob(struct rig *rig)
{
    char path[800];
    rig_send(rig, "GET", NULL, "/v1/images/%s", rig->image);
    const char *sha256 = rig_text(rig, "/sha256");
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", rig->directory, sha256, sha256);
    assert_int_equal(unlink(path), 0);
}

/* The answer's body; the caller frees it. */
static char *take_body(struct rig *rig, size_t *size)
{
    assert_int_equal(rig->response.status, 200);
    char *copy = malloc(rig->response.body_size);
    memcpy(copy, rig->response.body, rig->response.body_size);
    *size = rig->response.body_size;
    return copy;
}

/* The file is read for the first picture and for no other. */
static void pictures_are_drawn_of_what_the_first_one_left(void **state)
{
    struct rig *rig = *state;
    struct image image;
    rig_fill(rig);
    rig_send(rig, "GET", NULL, "/v1/images/%s/chips/0,0.png?width=8&height=8", rig->image);
    assert_int_equal(rig->response.status, 200);
    remove_blob(rig);
    rig_restart_api(rig);
    rig_send(rig, "GET", NULL, "/v1/images/%s/chips/1,1.png?width=8&height=8", rig->image);
    decode_answer(rig, &image);
    image_clear(&image);
    rig_send(rig, "GET", NULL, "/v1/images/%s/preview.png?max_side=10", rig->image);
    decode_answer(rig, &image);
    image_clear(&image);
}

static int damage_file(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F)
        return 0;
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, status->st_size / 2), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, status->st_size / 2), 1);
    close(fd);
    return 0;
}

/* Every file of the cache is damaged: the picture is the same, and is there again for the next. */
static void a_damaged_cache_shows_no_wrong_picture(void **state)
{
    struct rig *rig = *state;
    char cache[700];
    size_t size, size_after;
    rig_fill(rig);
    static const char target[] = "/v1/images/%s/preview.png";
    rig_send(rig, "GET", NULL, target, rig->image);
    char *before = take_body(rig, &size);
    snprintf(cache, sizeof(cache), "%s/cache", rig->directory);
    nftw(cache, damage_file, 16, FTW_PHYS);
    for (int i = 0; i < 2; i++) {
        rig_send(rig, "GET", NULL, target, rig->image);
        char *after = take_body(rig, &size_after);
        assert_int_equal(size, size_after);
        assert_memory_equal(before, after, size);
        free(after);
        if (i == 0)
            remove_blob(rig);
    }
    free(before);
}

static void an_image_in_use_is_kept(void **state)
{
    struct rig *rig = *state;
    size_t size;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    rig_send(rig, "DELETE", NULL, "/v1/images/%s", rig->image);
    rig_assert_problem(rig, 409, "conflict");
    void *png = rig_png(8, 8, 5, &size);
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project);
    free(png);
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s", id), 200);
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/images/%s", id), 204);
    rig_send(rig, "GET", NULL, "/v1/images/%s", id);
    rig_assert_problem(rig, 404, "not-found");
}

static void a_missing_file_is_an_internal_error_without_details(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    remove_blob(rig);
    static const char *const tails[] = {"content", "preview.png"};
    for (int i = 0; i < 2; i++) {
        rig_send(rig, "GET", NULL, "/v1/images/%s/%s", rig->image, tails[i]);
        rig_assert_problem(rig, 500, "internal");
        assert_null(strstr(rig_text(rig, "/detail"), "file"));
        assert_non_null(strstr(rig->response.error_message, "missing"));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_upload_is_stored_and_read_back),
        TEST(pixels_need_not_be_square),
        TEST(who_uploads_may_say_how_large_pixels_are),
        TEST(a_pixel_size_is_corrected_with_a_trace),
        TEST(an_image_tells_its_outliers),
        TEST(an_uploads_values_are_counted),
        TEST(a_name_is_made_when_none_is_given),
        TEST(a_content_digest_must_be_right),
        TEST(what_is_no_image_is_refused),
        TEST(limits_of_the_image_are_the_configured_ones),
        TEST(an_upload_needs_its_project),
        TEST(images_are_listed_by_name),
        TEST(previews_are_normalised_and_bounded),
        TEST(a_chip_is_the_grid_s_window),
        TEST(pictures_are_drawn_of_what_the_first_one_left),
        TEST(a_damaged_cache_shows_no_wrong_picture),
        TEST(an_image_in_use_is_kept),
        TEST(a_missing_file_is_an_internal_error_without_details),
    };
    return test_run(tests);
}
