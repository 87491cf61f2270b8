#include "tests/api/rig.h"

#include <math.h>

#include "engine/fewshot/statistics.h"

enum { N_CHIPS = 15, IMAGES_MAX = 8 };

/* What is stored of an image about class 0; the rest of its 960 pixels is class 1. */
struct stored {
    double area, n_regions, nn, interface; /* below 0: the result has none */
};

static void add(struct db_quantity *quantities, size_t *n, int32_t class_index, const char *name,
                double value)
{
    quantities[*n] =
        (struct db_quantity){.class_index = class_index, .value = value, .low = NAN, .high = NAN};
    snprintf(quantities[*n].name, sizeof(quantities[*n].name), "%s", name);
    ++*n;
}

static void store(struct rig *rig, const struct db_job *job, const struct db_lease *lease,
                  size_t image, const struct stored *stored, char *analysis)
{
    uint16_t labels[N_CHIPS] = {0};
    float probabilities[2 * N_CHIPS] = {0}, distances[N_CHIPS] = {0};
    struct db_quantity quantities[32];
    size_t n = 0;
    add(quantities, &n, 0, STATISTIC_CHIPS, 10);
    add(quantities, &n, 0, STATISTIC_AREA_PIXELS, stored->area);
    add(quantities, &n, 0, STATISTIC_FRACTION_ESTIMATE, 0.5);
    add(quantities, &n, 0, STATISTIC_REGIONS_8, stored->n_regions);
    add(quantities, &n, 0, STATISTIC_REGIONS_BORDER, 1);
    add(quantities, &n, 0, statistic_region_sizes[6 + image % 2], stored->n_regions);
    if (stored->nn >= 0)
        add(quantities, &n, 0, STATISTIC_NN_DISTANCE, stored->nn);
    if (stored->interface >= 0) {
        add(quantities, &n, 0, STATISTIC_INTERFACE_NEXT, 1);
        add(quantities, &n, 0, STATISTIC_INTERFACE_AXIS, 0);
        add(quantities, &n, 0, STATISTIC_INTERFACE_POSITION, stored->interface);
    }
    add(quantities, &n, 1, STATISTIC_CHIPS, 5);
    add(quantities, &n, 1, STATISTIC_AREA_PIXELS, 960 - stored->area);
    add(quantities, &n, 1, STATISTIC_REGIONS_8, 0);
    struct db_result result = {.rows = 3,
                               .columns = 5,
                               .chip_width = 8,
                               .chip_height = 8,
                               .stride_x = 8,
                               .stride_y = 8,
                               .edge = "drop",
                               .n_classes = 2,
                               .temperature = 1,
                               .quantities = quantities,
                               .n_quantities = n,
                               .analysis = analysis,
                               .labels = labels,
                               .probabilities = probabilities,
                               .distances = distances};
    memcpy(result.job_id, job->id, DB_ID_SIZE);
    memcpy(result.image_id, job->image_ids[image], DB_ID_SIZE);
    assert_int_equal(db_result_insert(rig->db, &result, lease, N_CHIPS, &rig->err), 0);
}

/* A finished job over so many new images of 40 x 30 pixels of 0.5 nm. */
static void finish_filled(struct rig *rig, const struct stored *stored, size_t n_images,
                          char *const *analyses, char id[DB_ID_SIZE])
{
    struct db_job job;
    struct db_lease lease;
    json_t *ids = json_array();
    for (size_t i = 0; i < n_images; i++) {
        size_t size;
        void *png = rig_png(40, 30, 100 + (unsigned)i, &size);
        rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images?name=i.png", rig->project);
        free(png);
        json_array_append_new(ids, json_string(rig_text(rig, "/id")));
    }
    json_t *body = json_pack("{s:s, s:o}", "support_set_id", rig->set, "image_ids", ids);
    char *text = json_dumps(body, 0);
    assert_int_equal(rig_send(rig, "POST", text, "/v1/projects/%s/jobs", rig->project), 202);
    assert_int_equal(db_job_claim(rig->db, "rig", 10000, &job, &lease, &rig->err), 0);
    for (size_t i = 0; i < n_images; i++)
        store(rig, &job, &lease, i, &stored[i], analyses != NULL ? analyses[i] : NULL);
    assert_int_equal(db_job_finish(rig->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &rig->err), 0);
    memcpy(id, job.id, DB_ID_SIZE);
    db_job_clear(&job);
    free(text);
    json_decref(body);
}

static void finish(struct rig *rig, const struct stored *stored, size_t n_images,
                   char *const *analyses, char id[DB_ID_SIZE])
{
    rig_fill(rig);
    finish_filled(rig, stored, n_images, analyses, id);
}

/* The row of a quantity of class 0; NULL: there is none. */
static json_t *row(const struct rig *rig, const char *quantity)
{
    json_t *rows = rig_at(rig, "/classes/0/quantities");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *found = json_array_get(rows, i);
        if (strcmp(json_string_value(json_object_get(found, "quantity")), quantity) == 0)
            return found;
    }
    return NULL;
}

static void assert_row(const struct rig *rig, const char *quantity, const char *unit,
                       json_int_t n_images, double value, double mean)
{
    json_t *found = row(rig, quantity);
    assert_non_null(found);
    assert_string_equal(json_string_value(json_object_get(found, "unit")), unit);
    assert_int_equal(json_integer_value(json_object_get(found, "n_images")), n_images);
    const double said = json_number_value(json_object_get(found, "value"));
    const double of_images = json_number_value(json_object_get(found, "mean"));
    if (!(fabs(said - value) < 1e-9 && fabs(of_images - mean) < 1e-9))
        fail_msg("%s: %.12g and %.12g, not %.12g and %.12g", quantity, said, of_images, value,
                 mean);
}

static const struct stored two[] = {{640, 4, 10, 12}, {320, 2, 20, -1}};

static void two_images_are_summed_up(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    char *analyses[] = {NULL, (char *)"{\"drift\":{\"distance\":3.5,\"flagged\":true,"
                                      "\"limit\":1.25}}"};
    finish(rig, two, 2, analyses, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id), 200);
    assert_int_equal((int)rig_number(rig, "/n_results"), 2);
    assert_true(rig_number(rig, "/analysed_area/value") == 480); /* 2 x 960 pixels of 0.25 nm2 */
    assert_string_equal(rig_text(rig, "/analysed_area/unit"), "nm2");
    assert_row(rig, "n_chips", "", 2, 10, 10);
    assert_int_equal(json_integer_value(json_object_get(row(rig, "n_chips"), "total")), 20);
    assert_row(rig, "area_fraction", "", 2, 0.5, 0.5);
    assert_true(fabs(json_number_value(json_object_get(row(rig, "area_fraction"), "sd")) -
                     sqrt(1.0 / 18)) < 1e-9);
    assert_true(json_is_null(json_object_get(row(rig, "area_fraction"), "low")));
    assert_row(rig, "density", "1/um2", 2, 6 / 480e-6, 6 / 480e-6);
    assert_row(rig, "region_area", "nm2", 2, 40, 40);
    assert_row(rig, "regions_at_border", "", 2, 2.0 / 6, (0.25 + 0.5) / 2);
    assert_row(rig, "nn_distance", "nm", 2, (4 * 5 + 2 * 10) / 6.0, 7.5);
    assert_row(rig, "interface_position", "nm", 1, 6, 6);
    assert_null(row(rig, "nn_ratio"));
    assert_string_equal(rig_text(rig, "/classes/0/interface/next"), "a/b, \"c\"");
    assert_string_equal(rig_text(rig, "/classes/0/interface/along"), "x");
    assert_true(json_is_null(rig_at(rig, "/classes/1/interface")));
    /* 4 regions of 64 to 128 pixels, 2 of up to 256. */
    assert_string_equal(rig_text(rig, "/classes/0/region_sizes/unit"), "nm2");
    assert_true(rig_number(rig, "/classes/0/region_sizes/bins/0/from") == 16);
    assert_true(rig_number(rig, "/classes/0/region_sizes/bins/0/n") == 4);
    assert_true(rig_number(rig, "/classes/0/region_sizes/bins/1/to") == 64);
    assert_true(
        fabs(rig_number(rig, "/classes/0/region_sizes/quantiles/p50") - 16 * exp2(3.0 / 4)) < 1e-9);
    assert_true(json_is_null(rig_at(rig, "/classes/1/region_sizes/quantiles/p50")));
    assert_int_equal((int)rig_number(rig, "/drift/n_measured"), 1);
    assert_int_equal(json_array_size(rig_at(rig, "/drift/flagged")), 1);
    assert_true(rig_number(rig, "/drift/flagged/0/distance") == 3.5);
}

/* An octave says next to nothing of where in it a region or two lie. */
static void few_regions_have_no_quantiles(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    static const struct stored one = {640, 4, -1, -1};
    finish(rig, &one, 1, NULL, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id), 200);
    assert_int_equal((int)rig_number(rig, "/classes/0/region_sizes/n"), 4);
    assert_true(rig_number(rig, "/classes/0/region_sizes/bins/0/n") == 4);
    assert_true(json_is_null(rig_at(rig, "/classes/0/region_sizes/quantiles/p10")));
    assert_true(json_is_null(rig_at(rig, "/classes/0/region_sizes/quantiles/p50")));
}

static void many_images_have_an_interval(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    struct stored stored[IMAGES_MAX];
    for (int i = 0; i < IMAGES_MAX; i++)
        stored[i] = (struct stored){400 + 20 * i, 1 + i % 3, -1, -1};
    finish(rig, stored, IMAGES_MAX, NULL, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id), 200);
    const double low = json_number_value(json_object_get(row(rig, "area_fraction"), "low"));
    const double high = json_number_value(json_object_get(row(rig, "area_fraction"), "high"));
    /* Areas of 470 on average, with a standard error of 49 / sqrt(8) = 17.3, and t = 2.36. */
    assert_true(fabs(low - (470 - 41) / 960.0) < 0.01);
    assert_true(fabs(high - (470 + 41) / 960.0) < 0.01);
    assert_null(row(rig, "nn_distance"));
    assert_null(row(rig, "interface_position"));
    char *first = json_dumps(rig->json, 0);
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id);
    char *again = json_dumps(rig->json, 0);
    assert_string_equal(again, first);
    free(first);
    free(again);
}

static void the_table_comes_as_csv(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finish(rig, two, 2, NULL, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations.csv", id), 200);
    assert_non_null(strstr(rig->response.content_type, "text/csv"));
    char *text = strndup(rig->response.body, rig->response.body_size);
    assert_int_equal(strncmp(text,
                             "class,quantity,unit,n_images,total,value,low,high,mean,sd,min,median,"
                             "max\nfilm,n_chips,,2,20,10.0,,,10.0,0.0,10.0,10.0,10.0\n",
                             120),
                     0);
    assert_non_null(strstr(text, "\nfilm,area_fraction,,2,,0.5,,,0.5,0.23570226,0.333333333,0.5,"
                                 "0.666666667\n"));
    assert_non_null(strstr(text, "\n\"a/b, \"\"c\"\"\",n_chips,,2,10,5.0,"));
    free(text);
    rig_header(rig, "Accept", "text/csv");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id), 200);
    assert_non_null(strstr(rig->response.content_type, "text/csv"));
}

static void lengths_are_pixels_where_a_size_is_unknown(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    finish(rig, two, 2, NULL, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s", id), 200);
    char image[DB_ID_SIZE];
    snprintf(image, sizeof(image), "%s", rig_text(rig, "/image_ids/1"));
    assert_int_equal(rig_send(rig, "PATCH", "{\"pixel_size\": null}", "/v1/images/%s", image), 200);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id), 200);
    assert_string_equal(rig_text(rig, "/analysed_area/unit"), "px2");
    assert_row(rig, "region_area", "px2", 2, 160, 160);
    assert_row(rig, "nn_distance", "px", 2, 80 / 6.0, 15);
    assert_true(rig_number(rig, "/classes/0/region_sizes/bins/0/from") == 64);
}

static void what_is_not_counted_is_in_no_fraction(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE], body[500];
    rig_fill(rig);
    snprintf(body, sizeof(body),
             "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
             "{\"name\":\"film\",\"examples\":[{\"image_id\":\"%s\",\"x\":0,\"y\":0}]},"
             "{\"name\":\"bar\",\"counted\":false,\"examples\":[{\"image_id\":\"%s\",\"x\":32,"
             "\"y\":22}]}]}",
             rig->image, rig->image);
    assert_int_equal(rig_send(rig, "PUT", body, "/v1/support-sets/%s", rig->set), 200);
    finish_filled(rig, two, 2, NULL, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id), 200);
    assert_true(rig_number(rig, "/analysed_area/value") == 240); /* 960 pixels of film */
    assert_row(rig, "area_fraction", "", 2, 1, 1);
    assert_row(rig, "fraction_estimate", "", 2, 0.5, 0.5);
    json_t *rows = rig_at(rig, "/classes/1/quantities");
    for (size_t i = 0; i < json_array_size(rows); i++)
        assert_string_not_equal(
            json_string_value(json_object_get(json_array_get(rows, i), "quantity")),
            "area_fraction");
}

static void a_job_without_results_has_an_empty_population(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    rig_add_job(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/populations", id), 200);
    assert_string_equal(rig_text(rig, "/state"), "queued");
    assert_int_equal((int)rig_number(rig, "/n_results"), 0);
    assert_int_equal(json_array_size(rig_at(rig, "/classes/0/quantities")), 0);
    rig_send(rig, "GET", NULL, "/v1/jobs/job_01JABCDEFGHJKMNPQRSTVWXYZ9/populations");
    rig_assert_problem(rig, 404, "not-found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_images_are_summed_up, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(few_regions_have_no_quantiles, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(many_images_have_an_interval, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_table_comes_as_csv, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(lengths_are_pixels_where_a_size_is_unknown, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_counted_is_in_no_fraction, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_job_without_results_has_an_empty_population, rig_setup,
                                        rig_teardown),
    };
    return test_run(tests);
}
