#include "tests/api/rig.h"

#include "db/results/support_health.h"

/* ---- health of a support set ---- */

static void without_a_job_places_are_looked_at(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/support-sets/%s/health", rig->set), 200);
    assert_int_equal((int)rig_number(rig, "/n_examples"), 2);
    assert_true(json_is_null(rig_at(rig, "/probabilities")));
    assert_non_null(strstr(rig_text(rig, "/reason"), "no job of this version"));
    assert_string_equal(rig_text(rig, "/job/support_set_id"), rig->set);
    assert_string_equal(rig_text(rig, "/job/image_ids/0"), rig->image);
    assert_int_equal(json_array_size(rig_at(rig, "/job/image_ids")), 1);
    assert_string_equal(rig_text(rig, "/too_few/0/class"), "film");
    assert_int_equal((int)rig_number(rig, "/too_few/0/n_examples"), 1);
    assert_int_equal(json_array_size(rig_at(rig, "/too_few/0/forbids")), 3);
    assert_int_equal(json_array_size(rig_at(rig, "/overlapping_examples")), 0);
    /* The job of the answer is one that can be made. */
    char *job = json_dumps(rig_at(rig, "/job"), 0);
    assert_int_equal(rig_send(rig, "POST", job, "/v1/projects/%s/jobs", rig->project), 202);
    free(job);
    rig_send(rig, "GET", NULL, "/v1/support-sets/%s/health?version=2", rig->set);
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "GET", NULL, "/v1/support-sets/sup_01JABCDEFGHJKMNPQRSTVWXYZ0/health");
    rig_assert_problem(rig, 404, "not-found");
}

/* Five examples of "a", of which two overlap by 6 x 8 of 8 x 8 pixels, and two of "b". */
static void add_set(struct rig *rig)
{
    static const unsigned places[7][2] = {{0, 0},  {2, 0}, {16, 0}, {24, 0},
                                          {32, 0}, {0, 9}, {9, 9}};
    char body[2000];
    size_t n = (size_t)snprintf(body, sizeof(body),
                                "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
                                "{\"name\":\"a\",\"examples\":[");
    for (int i = 0; i < 7; i++)
        n += (size_t)snprintf(body + n, sizeof(body) - n,
                              "%s{\"image_id\":\"%s\",\"x\":%u,\"y\":%u}",
                              i == 5   ? "]},{\"name\":\"b\",\"examples\":["
                              : i == 0 ? ""
                                       : ",",
                              rig->image, places[i][0], places[i][1]);
    snprintf(body + n, sizeof(body) - n, "]}]}");
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects/%s/support-sets", rig->project),
                     201);
    snprintf(rig->set, sizeof(rig->set), "%s", rig_text(rig, "/id"));
}

static void put_health(struct rig *rig, const char *text)
{
    struct db_support_health health = {.version = 1, .text = (char *)text};
    struct db_job job;
    struct db_lease lease;
    char id[DB_ID_SIZE];
    rig_add_job(rig, id);
    assert_int_equal(db_job_claim(rig->db, "rig", 10000, &job, &lease, &rig->err), 0);
    memcpy(health.support_set_id, rig->set, DB_ID_SIZE);
    memcpy(health.job_id, id, DB_ID_SIZE);
    assert_int_equal(db_support_health_put(rig->db, &health, &lease, &rig->err), 0);
    db_job_clear(&job);
}

static void what_a_job_measured_is_told(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    add_set(rig);
    put_health(rig, "{\"own\":[0.9,0.8,0.39,0.7,0.41,null,0.95],\"likely\":[0,0,1,0,0,1,1],"
                    "\"confusion\":[[0,1,0.25]]}");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/support-sets/%s/health?version=1", rig->set),
                     200);
    assert_int_equal((int)rig_number(rig, "/probabilities/n_asked"), 6);
    assert_int_equal(json_array_size(rig_at(rig, "/probabilities/flagged")), 1);
    assert_string_equal(rig_text(rig, "/probabilities/flagged/0/class"), "a");
    assert_int_equal((int)rig_number(rig, "/probabilities/flagged/0/example_index"), 2);
    assert_int_equal((int)rig_number(rig, "/probabilities/flagged/0/x"), 16);
    assert_string_equal(rig_text(rig, "/probabilities/flagged/0/likely"), "b");
    assert_true(rig_number(rig, "/probabilities/flagged/0/probability") == 0.39);
    assert_true(json_is_null(rig_at(rig, "/probabilities/classes/1/probabilities/0")));
    assert_true(rig_number(rig, "/probabilities/classes/1/probabilities/1") == 0.95);
    assert_true(rig_number(rig, "/probabilities/overlapping_classes/0/confusion") == 0.25);
    assert_non_null(strstr(rig_text(rig, "/reason"), "alone in their class"));
    assert_int_equal(json_array_size(rig_at(rig, "/overlapping_examples")), 1);
    assert_int_equal((int)rig_number(rig, "/overlapping_examples/0/second/x"), 2);
    assert_int_equal(json_array_size(rig_at(rig, "/too_few")), 1);
    assert_string_equal(rig_text(rig, "/too_few/0/forbids/0"), "unknown");
    put_health(rig, "{\"own\":[0.9],\"likely\":[0],\"confusion\":[]}");
    rig_send(rig, "GET", NULL, "/v1/support-sets/%s/health", rig->set);
    assert_int_equal(rig->response.status, 500);
}

/* ---- suggestions ---- */

static void suggestions_go_to_the_class_with_the_fewest_examples(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    add_set(rig); /* five of "a", two of "b" */
    rig_add_job(rig, id);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/suggestions", id), 200);
    assert_string_equal(rig_text(rig, "/reason"), "the job has no result yet");
    rig->suggestions = (char[]){"[[2,16,0,0,0.5,0.5,0.9],[4,32,0,0,0.5,0.5,0.2],"
                                "[7,16,8,1,0.5,0.25,0.7],[8,24,8,1,0.4,0.5,0.1]]"};
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/suggestions?n=3", id), 200);
    assert_true(json_is_null(rig_at(rig, "/reason")));
    assert_int_equal((int)rig_number(rig, "/n_results"), 1);
    /* "b" has 2, 3 and then 4 examples, but no third suggestion. */
    static const int chips[3] = {7, 8, 2};
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 3);
    for (int i = 0; i < 3; i++) {
        char pointer[40];
        snprintf(pointer, sizeof(pointer), "/items/%d/chip", i);
        assert_int_equal((int)rig_number(rig, pointer), chips[i]);
    }
    assert_string_equal(rig_text(rig, "/items/0/class"), "b");
    assert_string_equal(rig_text(rig, "/items/0/image_id"), rig->image);
    assert_string_equal(rig_text(rig, "/items/0/image_name"), "a.png");
    assert_int_equal((int)rig_number(rig, "/items/0/x"), 16);
    assert_int_equal((int)rig_number(rig, "/items/0/y"), 8);
    assert_float_equal(rig_number(rig, "/items/0/score"), 0.7, 1e-6);
    assert_non_null(strstr(rig_text(rig, "/items/0/reason"), "'b'"));
    assert_non_null(
        strstr(rig_text(rig, "/items/0/links/picture"), "width=8&height=8&offset_x=16&offset_y=8"));
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/suggestions?n=65", id);
    rig_assert_fault(rig, 1, "n", "1 to 64");
    rig_send(rig, "GET", NULL, "/v1/jobs/job_01JABCDEFGHJKMNPQRSTVWXYZ0/suggestions");
    rig_assert_problem(rig, 404, "not-found");
}

static void results_of_before_suggest_nothing_and_say_so(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_fill(rig);
    rig_add_job(rig, id);
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/suggestions", id), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 0);
    assert_non_null(strstr(rig_text(rig, "/reason"), "run the job again"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_job_places_are_looked_at),
        TEST(what_a_job_measured_is_told),
        TEST(suggestions_go_to_the_class_with_the_fewest_examples),
        TEST(results_of_before_suggest_nothing_and_say_so),
    };
    return test_run(tests);
}
