#include "tests/api/rig.h"

#include <math.h>

/* Class 1 in the middle (chip 6) and, of two chips, at the lower right border; the rig's image is a
 * slope without contrast, and its probability of class 1 is 0.75 where a chip's number is odd. */
static const uint16_t labels[15] = {[6] = 1, [13] = 1, [14] = 1};

static void finished(struct rig *rig, char id[DB_ID_SIZE])
{
    rig->labels = labels;
    rig_fill(rig);
    rig_add_job(rig, id);
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
}

static const char class_1[] = "a%2Fb%2C%20%22c%22";

static void each_object_has_its_place_and_sizes(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=%s", id,
                              rig->image, class_1),
                     200);
    assert_string_equal(rig_text(rig, "/job_id"), id);
    assert_string_equal(rig_text(rig, "/image_id"), rig->image);
    assert_string_equal(rig_text(rig, "/class"), "a/b, \"c\"");
    assert_string_equal(rig_text(rig, "/border"), "include");
    assert_int_equal((int)rig_number(rig, "/n_objects"), 2);
    assert_int_equal((int)rig_number(rig, "/n_map"), 2);
    assert_int_equal((int)rig_number(rig, "/n_grey"), 0);
    assert_int_equal((int)rig_number(rig, "/n_border"), 1);
    assert_true(rig_number(rig, "/mean_area_px") == 96);
    assert_true(rig_number(rig, "/mean_area_nm2") == 24);
    assert_int_equal(json_array_size(rig_at(rig, "/objects")), 2);
    assert_int_equal((int)rig_number(rig, "/objects/0/object"), 1);
    assert_true(rig_number(rig, "/objects/0/centroid/x") == 12);
    assert_true(rig_number(rig, "/objects/0/centroid/y") == 12);
    assert_int_equal((int)rig_number(rig, "/objects/0/box/x"), 8);
    assert_int_equal((int)rig_number(rig, "/objects/0/box/width"), 8);
    assert_string_equal(rig_text(rig, "/objects/0/boundary"), "map");
    assert_true(json_is_false(rig_at(rig, "/objects/0/touches_border")));
    assert_true(rig_number(rig, "/objects/0/mean_probability") == 0.25);
    assert_true(rig_number(rig, "/objects/0/area_nm2") == 16);
    assert_float_equal(rig_number(rig, "/objects/0/feret_max_nm"), 4 * sqrt(2), 1e-6);
    assert_true(rig_number(rig, "/objects/1/mean_probability") == 0.5);
    assert_true(rig_number(rig, "/objects/1/feret_min_px") == 8);
    assert_true(json_is_true(rig_at(rig, "/objects/1/touches_border")));
    /* Circles of 64 and 128 pixels of 0.25 nm2: 4.5 and 6.4 nm across, in bins of 0.5 nm. */
    assert_string_equal(rig_text(rig, "/histogram/unit"), "nm");
    assert_true(rig_number(rig, "/histogram/bin_width") == 0.5);
    assert_int_equal(json_array_size(rig_at(rig, "/histogram/counts")), 13);
    assert_int_equal((int)rig_number(rig, "/histogram/counts/9"), 1);
    assert_int_equal((int)rig_number(rig, "/histogram/counts/12"), 1);
}

static void they_can_be_chosen(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=1&border=exclude", id,
             rig->image);
    assert_int_equal((int)rig_number(rig, "/n_objects"), 1);
    assert_true(rig_number(rig, "/objects/0/area_px") == 64);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=1&min_area=65", id,
             rig->image);
    assert_int_equal((int)rig_number(rig, "/n_objects"), 1);
    assert_int_equal((int)rig_number(rig, "/min_area"), 65);
    assert_true(rig_number(rig, "/objects/0/area_px") == 128);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=1&min_area=1000", id,
             rig->image);
    assert_int_equal((int)rig_number(rig, "/n_objects"), 0);
    assert_true(json_is_null(rig_at(rig, "/mean_area_px")));
    assert_int_equal(json_array_size(rig_at(rig, "/histogram/counts")), 0);
    assert_int_equal(json_array_size(rig_at(rig, "/objects")), 0);
    char *etag = strdup(rig_got(rig, "ETag"));
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL,
                              "/v1/jobs/%s/results/%s/objects?class=1&min_area=1000", id,
                              rig->image),
                     304);
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(
        rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=1", id, rig->image), 200);
    free(etag);
}

/* The perimeter of a cell of 8 pixels: two crossings in each of the four directions, whose lines
 * are 8 and 8 / sqrt 2 apart: pi / 8 x (2 x 16 + 2 x 16 / sqrt 2). */
static void csv_comes_by_suffix_and_by_accept(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    static const char text[] =
        "class,object,x,y,left,top,width,height,boundary,touches_border,mean_probability,"
        "eccentricity,area_px,equivalent_diameter_px,perimeter_px,feret_max_px,feret_min_px,"
        "area_nm2,equivalent_diameter_nm,perimeter_nm,feret_max_nm,feret_min_nm\n"
        "\"a/b, \"\"c\"\"\",1,12.000000,12.000000,8,8,8,8,map,false,0.250000,0.000000,64.000000,"
        "9.027033,21.452136,11.313708,8.000000,16.000000,4.513517,10.726068,5.656854,4.000000\n";
    finished(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL,
                              "/v1/jobs/%s/results/%s/objects.csv?class=1&border=exclude", id,
                              rig->image),
                     200);
    assert_string_equal(rig->response.content_type, "text/csv; charset=utf-8; header=present");
    assert_int_equal(rig->response.body_size, sizeof(text) - 1);
    assert_memory_equal(rig->response.body, text, sizeof(text) - 1);
    rig_header(rig, "Accept", "text/csv");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=1&border=exclude", id,
             rig->image);
    assert_memory_equal(rig->response.body, text, sizeof(text) - 1);
}

static void what_is_wrong_is_said(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finished(rig, id);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects", id, rig->image);
    rig_assert_fault(rig, 1, "class", "required");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=0&border=maybe", id,
             rig->image);
    rig_assert_fault(rig, 1, "border", "include or exclude");
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/results/%s/objects?class=2", id, rig->image);
    rig_assert_problem(rig, 404, "not-found");
    assert_non_null(strstr(rig_text(rig, "/detail"), "0 to 1"));
    rig_send(rig, "GET", NULL,
             "/v1/jobs/%s/results/img_01JABCDEFGHJKMNPQRSTVWXYZ0/objects.csv?class=0", id);
    rig_assert_problem(rig, 404, "not-found");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_object_has_its_place_and_sizes),
        TEST(they_can_be_chosen),
        TEST(csv_comes_by_suffix_and_by_accept),
        TEST(what_is_wrong_is_said),
    };
    return test_run(tests);
}
