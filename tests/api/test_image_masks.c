#include "tests/api/rig.h"

#include "db/stored_files.h"
#include "engine/image/image.h"
#include "engine/image/png_write.h"
#include "tests/unit/engine/image/png_builder.h"

enum { WIDTH = 200, HEIGHT = 120, BAR = 20 };

/* Grey noise of so many levels over a data bar, uploaded. */
static void add_noise(struct rig *rig, uint32_t n_levels, char id[DB_ID_SIZE])
{
    static uint8_t grey[WIDTH * HEIGHT];
    struct png_bytes png = {0};
    uint32_t value = 1;
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) {
        const uint32_t x = i % WIDTH, y = i / WIDTH;
        value = value * 1664525u + 1013904223u;
        grey[i] = (uint8_t)(100 + (value >> 16) % n_levels);
        if (y >= HEIGHT - BAR)
            grey[i] = y >= HEIGHT - 14 && y < HEIGHT - 6 && x > 10 && x % 9 < 3 ? 255 : 0;
    }
    assert_int_equal(png_write_grey8(grey, WIDTH, HEIGHT, &png, NULL), 0);
    assert_int_equal(
        rig_upload(rig, "image/png", png.data, png.size, "/v1/projects/%s/images", rig->project),
        201);
    snprintf(id, DB_ID_SIZE, "%s", rig_text(rig, "/id"));
    png_bytes_clear(&png);
}

static void add_image(struct rig *rig, char id[DB_ID_SIZE])
{
    add_noise(rig, 40, id);
}

/* A picture that is black where x < n. */
static struct png_bytes make_picture(uint32_t width, uint32_t height, uint32_t n)
{
    struct png_bytes png = {0};
    uint8_t *grey = malloc((size_t)width * height);
    assert_non_null(grey);
    for (uint32_t i = 0; i < width * height; i++)
        grey[i] = i % width < n ? 0 : 200;
    assert_int_equal(png_write_grey8(grey, width, height, &png, NULL), 0);
    free(grey);
    return png;
}

static int put_picture(struct rig *rig, const char *id, uint32_t width, uint32_t height, uint32_t n)
{
    struct png_bytes png = make_picture(width, height, n);
    int status = rig_put_file(rig, "image/png", png.data, png.size, "/v1/images/%s/mask.png", id);
    png_bytes_clear(&png);
    return status;
}

static void the_text_of_a_bar_is_not_counted_as_hot_pixels(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    add_noise(rig, 4, id);
    assert_string_equal(rig_text(rig, "/mask/proposed/0/kind"), "bar");
    assert_true(json_is_null(rig_at(rig, "/n_outliers")));
}

/* Noise of 40 levels, which are all of the range although a data bar has 0 and 255. */
static void a_bar_has_no_say_in_the_greys_of_pictures(void **state)
{
    struct rig *rig = *state;
    struct image preview;
    struct error err = {0};
    char id[DB_ID_SIZE];
    rig_fill(rig);
    add_image(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/preview.png", id), 200);
    const struct image_request request = {.data = rig->response.body,
                                          .size = rig->response.body_size,
                                          .limits = &image_limits_default};
    assert_int_equal(image_decode(&request, &preview, &err), 0);
    uint32_t n_black = 0, n_white = 0;
    for (uint32_t i = 0; i < WIDTH * (HEIGHT - BAR); i++) {
        n_black += preview.pixels[i] < 26;
        n_white += preview.pixels[i] > 229;
    }
    /* A tenth of the range is a tenth of the noise. */
    assert_in_range(n_black, WIDTH * (HEIGHT - BAR) / 20, WIDTH * (HEIGHT - BAR) / 5);
    assert_in_range(n_white, WIDTH * (HEIGHT - BAR) / 20, WIDTH * (HEIGHT - BAR) / 5);
    image_clear(&preview);
}

static void what_was_found_is_proposed(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    add_image(rig, id);
    assert_int_equal((int)rig_number(rig, "/mask/transparent_pixels"), 0);
    assert_int_equal(json_array_size(rig_at(rig, "/mask/proposed")), 1);
    assert_string_equal(rig_text(rig, "/mask/proposed/0/kind"), "bar");
    assert_string_equal(rig_text(rig, "/mask/proposed/0/status"), "proposed");
    assert_int_equal((int)rig_number(rig, "/mask/proposed/0/y"), HEIGHT - BAR);
    assert_int_equal((int)rig_number(rig, "/mask/proposed/0/height"), BAR);
    assert_int_equal(rig_send(rig, "GET", NULL, "%s", rig_text(rig, "/links/mask")), 200);
    assert_int_equal((int)rig_number(rig, "/version"), 0);
    assert_string_equal(rig_got(rig, "ETag"), "\"0\"");
    assert_true(json_is_null(rig_at(rig, "/picture")));
    assert_true(json_is_null(rig_at(rig, "/created_at")));
    assert_string_equal(rig_text(rig, "/proposed/0/status"), "proposed");
    /* Nothing was found in this one. */
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s", rig->image), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/mask/proposed")), 0);
}

static void transparent_pixels_are_told(void **state)
{
    struct rig *rig = *state;
    static uint16_t samples[4 * 80 * 70];
    char id[DB_ID_SIZE];
    rig_fill(rig);
    for (size_t i = 0; i < 80 * 70; i++) {
        samples[4 * i] = samples[4 * i + 1] = samples[4 * i + 2] = (uint16_t)(i % 200);
        samples[4 * i + 3] = i % 80 < 7 ? 0 : 1;
    }
    const struct png_pixels pixels = {
        .width = 80, .height = 70, .bit_depth = 8, .color_type = PNG_RGBA, .samples = samples};
    struct png_file file = png_build(&pixels);
    assert_int_equal(
        rig_upload(rig, "image/png", file.data, file.size, "/v1/projects/%s/images", rig->project),
        201);
    png_file_clear(&file);
    assert_int_equal((int)rig_number(rig, "/mask/transparent_pixels"), 7 * 70);
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    /* They are no proposal, and in the picture. */
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask", id), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/proposed")), 0);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask.png", id), 200);
    struct image image;
    assert_int_equal(image_decode(&(struct image_request){.data = rig->response.body,
                                                          .size = rig->response.body_size,
                                                          .limits = &image_limits_default},
                                  &image, NULL),
                     0);
    for (size_t i = 0; i < 80 * 70; i++)
        assert_true(image.pixels[i] == (i % 80 < 7 ? 0 : 255));
    image_clear(&image);
}

static void each_change_is_a_version(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    add_image(rig, id);
    assert_int_equal(rig_send(rig, "PUT", "{\"accepted\":[0]}", "/v1/images/%s/mask", id), 200);
    assert_int_equal((int)rig_number(rig, "/version"), 1);
    assert_string_equal(rig_got(rig, "ETag"), "\"1\"");
    assert_string_equal(rig_text(rig, "/proposed/0/status"), "accepted");
    assert_int_equal(json_array_size(rig_at(rig, "/accepted")), 1);
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "PUT",
                              "{\"refused\":[0],\"rectangles\":[{\"x\":1,\"y\":2,\"width\":3,"
                              "\"height\":4}],\"polygons\":[[[0,0],[10,0],[0,10.5]]]}",
                              "/v1/images/%s/mask", id),
                     200);
    assert_int_equal((int)rig_number(rig, "/version"), 2);
    assert_string_equal(rig_text(rig, "/proposed/0/status"), "refused");
    assert_int_equal((int)rig_number(rig, "/rectangles/0/height"), 4);
    assert_true(rig_number(rig, "/polygons/0/2/1") == 10.5);
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "PUT", "{}", "/v1/images/%s/mask", id), 412);
    rig_header(rig, "If-None-Match", "\"2\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask", id), 304);
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/images/%s/mask", id), 412);
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/images/%s/mask", id), 204);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask", id), 200);
    assert_int_equal((int)rig_number(rig, "/version"), 3);
    assert_string_equal(rig_text(rig, "/proposed/0/status"), "proposed");
    assert_int_equal(json_array_size(rig_at(rig, "/rectangles")), 0);
}

static void faults_are_all_named(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    add_image(rig, id);
    assert_int_equal(rig_send(rig, "PUT",
                              "{\"refused\":[1],\"rectangles\":[{\"x\":200,\"y\":2,\"width\":3,"
                              "\"height\":4}],\"circles\":[]}",
                              "/v1/images/%s/mask", id),
                     422);
    rig_assert_fault(rig, 3, "/rectangles/0/x", "from 0 to 199, is 200");
    rig_assert_fault(rig, 3, "/refused/0", "from 0 to 0, is 1");
    rig_assert_fault(rig, 3, "/circles", "");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/img_01JABCDEFGHJKMNPQRSTVWXYZ9/mask"),
                     404);
    assert_int_equal(rig_send(rig, "PUT", "{}", "/v1/images/img_01JABCDEFGHJKMNPQRSTVWXYZ9/mask"),
                     404);
    assert_int_equal(
        rig_send(rig, "DELETE", NULL, "/v1/images/img_01JABCDEFGHJKMNPQRSTVWXYZ9/mask"), 404);
}

static void a_picture_has_the_images_size(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE], sha256[DB_SHA256_SIZE];
    bool needed = true;
    rig_fill(rig);
    add_image(rig, id);
    assert_int_equal(put_picture(rig, id, WIDTH, HEIGHT - 1, 7), 422);
    assert_non_null(strstr(rig_text(rig, "/detail"), "200 x 120 pixels, and has 200 x 119"));
    assert_int_equal(put_picture(rig, id, WIDTH, HEIGHT, 7), 200);
    assert_int_equal((int)rig_number(rig, "/picture/n_pixels"), 7 * HEIGHT);
    snprintf(sha256, sizeof(sha256), "%s", rig_text(rig, "/picture/sha256"));
    /* It stays when shapes are replaced, and goes when that is said. */
    assert_int_equal(rig_send(rig, "PUT", "{\"accepted\":[0]}", "/v1/images/%s/mask", id), 200);
    assert_string_equal(rig_text(rig, "/picture/sha256"), sha256);
    assert_int_equal(put_picture(rig, id, WIDTH, HEIGHT, 8), 200);
    assert_int_equal((int)rig_number(rig, "/picture/n_pixels"), 8 * HEIGHT);
    assert_string_equal(rig_text(rig, "/proposed/0/status"), "accepted");
    assert_int_equal(rig_send(rig, "PUT", "{\"picture\":null}", "/v1/images/%s/mask", id), 200);
    assert_true(json_is_null(rig_at(rig, "/picture")));
    /* Earlier versions have it still. */
    assert_int_equal(db_stored_file_is_needed(rig->db, sha256, &needed, &rig->err), 0);
    assert_true(needed);
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(put_picture(rig, id, WIDTH, HEIGHT, 9), 412);
    assert_int_equal(rig_put_file(rig, "image/png", "no PNG", 6, "/v1/images/%s/mask.png", id),
                     422);
}

/* Black pixels of the answered picture. */
static uint32_t count_black(struct rig *rig)
{
    struct image image;
    uint32_t n = 0;
    assert_int_equal(image_decode(&(struct image_request){.data = rig->response.body,
                                                          .size = rig->response.body_size,
                                                          .limits = &image_limits_default},
                                  &image, NULL),
                     0);
    assert_int_equal(image.info.width, WIDTH);
    assert_int_equal(image.info.height, HEIGHT);
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) {
        assert_true(image.pixels[i] == 0 || image.pixels[i] == 255);
        n += image.pixels[i] == 0;
    }
    image_clear(&image);
    return n;
}

static void all_that_is_left_out_is_shown(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    add_image(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask.png", id), 200);
    assert_int_equal(count_black(rig), WIDTH * BAR);
    assert_int_equal(put_picture(rig, id, WIDTH, HEIGHT, 5), 200);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask.png", id), 200);
    assert_int_equal(count_black(rig), WIDTH * BAR + 5 * (HEIGHT - BAR));
    assert_int_equal(rig_send(rig, "PUT",
                              "{\"refused\":[0],\"rectangles\":[{\"x\":0,\"y\":0,\"width\":10,"
                              "\"height\":1}]}",
                              "/v1/images/%s/mask", id),
                     200);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask.png", id), 200);
    assert_int_equal(count_black(rig), 5 * HEIGHT + 5);
    const char *etag = rig_got(rig, "ETag");
    char copy[80];
    snprintf(copy, sizeof(copy), "%s", etag);
    rig_header(rig, "If-None-Match", copy);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/images/%s/mask.png", id), 304);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_found_is_proposed),    TEST(the_text_of_a_bar_is_not_counted_as_hot_pixels),
        TEST(transparent_pixels_are_told),   TEST(a_bar_has_no_say_in_the_greys_of_pictures),
        TEST(each_change_is_a_version),      TEST(faults_are_all_named),
        TEST(a_picture_has_the_images_size), TEST(all_that_is_left_out_is_shown),
    };
    return test_run(tests);
}
