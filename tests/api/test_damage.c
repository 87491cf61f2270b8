/* Rows that someone edited or a disk damaged: what rests on them says so, and the rest is answered.
 */
#include "tests/api/rig.h"

#include <unistd.h>

#include "engine/image/png_write.h"

static void finished(struct rig *rig, char id[DB_ID_SIZE])
{
    rig_fill(rig);
    rig_add_job(rig, id);
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
}

static void assert_left_out(struct rig *rig, const char *job)
{
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", job), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 0);
    assert_int_equal((int)rig_number(rig, "/n_damaged"), 1);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s", job, rig->image);
    rig_assert_problem(rig, 500, "internal");
}

static void a_damaged_result_is_left_out_of_the_list(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    rig_edit(rig, "INSERT INTO result_analyses SELECT job_id, image_id, '[]' FROM results");
    assert_left_out(rig, id);
    rig_edit(rig, "UPDATE result_analyses SET analysis = '{}'");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results", id), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
    assert_null(json_object_get(rig->json, "n_damaged"));
    rig_edit(rig, "UPDATE results SET temperature = 9e999");
    assert_left_out(rig, id);
}

static void damaged_parameters_are_said_to_be(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    static const char *const texts[] = {"[]", "x", ""};
    finished(rig, id);
    for (size_t i = 0; i < 3; i++) {
        char sql[100];
        snprintf(sql, sizeof(sql), "UPDATE jobs SET params = '%s'", texts[i]);
        rig_edit(rig, sql);
        rig_send(rig, "GET", NULL, "/v1/jobs/%s", id);
        rig_assert_problem(rig, 500, "internal");
        assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects/%s/jobs", rig->project), 200);
        assert_int_equal(json_array_size(rig_at(rig, "/items")), 0);
        assert_int_equal((int)rig_number(rig, "/n_damaged"), 1);
        assert_left_out(rig, id);
    }
}

static void a_population_without_areas_is_said_to_be_damaged(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    rig_edit(rig, "DELETE FROM result_quantities");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id);
    rig_assert_problem(rig, 500, "internal");
}

/* 1e200 nm, 1e-300 nm and -1 nm: areas that no double holds, or that no pixel has. */
static void an_impossible_pixel_is_said_to_be_damaged(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    static const char *const edges[] = {"1e200", "1e-300", "-1"};
    finished(rig, id);
    for (size_t i = 0; i < 3; i++) {
        char sql[100];
        snprintf(sql, sizeof(sql), "UPDATE images SET pixel_x_nm = %s, pixel_y_nm = %s", edges[i],
                 edges[i]);
        rig_edit(rig, sql);
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=0", id, rig->image);
        rig_assert_problem(rig, 500, "internal");
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id);
        rig_assert_problem(rig, 500, "internal");
        assert_left_out(rig, id);
    }
}

static void a_mask_whose_picture_is_gone_can_be_mended(void **state)
{
    struct rig *rig = *state;
    uint8_t white[40 * 30];
    struct png_bytes png = {0};
    char path[700];
    rig_fill(rig);
    memset(white, 255, sizeof(white));
    assert_int_equal(png_write_grey8(white, 40, 30, &png, &rig->err), 0);
    assert_int_equal(
        rig_put_file(rig, "image/png", png.data, png.size, "/v1/images/%s/mask.png", rig->image),
        200);
    const char *sha256 = rig_text(rig, "/picture/sha256");
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", rig->directory, sha256, sha256);
    assert_int_equal(unlink(path), 0);
    rig_send(rig, "PUT", "{}", "/v1/images/%s/mask", rig->image);
    rig_assert_problem(rig, 409, "conflict");
    assert_non_null(strstr(rig_text(rig, "/detail"), "picture is gone"));
    assert_int_equal(
        rig_put_file(rig, "image/png", png.data, png.size, "/v1/images/%s/mask.png", rig->image),
        200);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rig_send(rig, "PUT", "{\"picture\":null}", "/v1/images/%s/mask", rig->image),
                     200);
    png_bytes_clear(&png);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_result_is_left_out_of_the_list),
        TEST(damaged_parameters_are_said_to_be),
        TEST(a_population_without_areas_is_said_to_be_damaged),
        TEST(an_impossible_pixel_is_said_to_be_damaged),
        TEST(a_mask_whose_picture_is_gone_can_be_mended),
    };
    return test_run(tests);
}
