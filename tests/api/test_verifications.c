#include "tests/api/rig.h"

#include <math.h>

#include "db/events.h"

enum { N_CHIPS = 15, N_DRAWN = 14 }; /* of the rig's image; one is an example */

static void finished(struct rig *rig, char job[DB_ID_SIZE])
{
    rig_fill(rig);
    rig_add_job(rig, job);
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
}

static void draw(struct rig *rig, const char *job, const char *body, char id[DB_ID_SIZE])
{
    if (rig_send(rig, "POST", body, "/v1/jobs/%s/verifications?labels=true", job) != 201)
        fail_msg("%s", rig->response.body);
    snprintf(id, DB_ID_SIZE, "%s", rig_text(rig, "/id"));
}

/* Chips of the last answer by label; each is there once, and none is chip 0, which is an example.
 */
static void count_labels(const struct rig *rig, int counts[2])
{
    json_t *chips = rig_at(rig, "/chips");
    bool seen[N_CHIPS] = {false};
    counts[0] = counts[1] = 0;
    for (size_t i = 0; i < json_array_size(chips); i++) {
        json_t *chip = json_array_get(chips, i);
        const json_int_t index = json_integer_value(json_object_get(chip, "chip"));
        const char *label = json_string_value(json_object_get(chip, "label"));
        assert_true(index > 0 && index < N_CHIPS && !seen[index]);
        seen[index] = true;
        assert_int_equal(json_integer_value(json_object_get(chip, "index")), i);
        assert_int_equal(json_integer_value(json_object_get(chip, "x")), index % 5 * 8);
        assert_int_equal(json_integer_value(json_object_get(chip, "y")), index / 5 * 8);
        assert_int_equal(strcmp(label, "film") == 0, index % 2 == 0);
        counts[index % 2]++;
    }
}

static void chips_are_drawn_in_equal_parts_of_each_label(void **state)
{
    struct rig *rig = *state;
    char job[DB_ID_SIZE], id[DB_ID_SIZE], location[100];
    int counts[2];
    finished(rig, job);
    draw(rig, job, "{\"n\": 7, \"seed\": 1}", id);
    snprintf(location, sizeof(location), "/v1/verifications/%s", id);
    assert_string_equal(rig_got(rig, "Location"), location);
    assert_string_equal(rig_got(rig, "ETag"), "\"1\"");
    count_labels(rig, counts);
    assert_int_equal(counts[0], 4);
    assert_int_equal(counts[1], 3);
    assert_true(json_is_null(rig_at(rig, "/estimate")));
    assert_int_equal((int)rig_number(rig, "/labels/0/n_chips"), 7);
    assert_int_equal((int)rig_number(rig, "/labels/0/n_examples"), 1);
    assert_int_equal((int)rig_number(rig, "/labels/0/n_drawn"), 4);
    assert_int_equal((int)rig_number(rig, "/labels/1/n_chips"), 7);
    assert_int_equal((int)rig_number(rig, "/labels/1/n_examples"), 0);
    assert_int_equal((int)rig_number(rig, "/labels/2/n_chips"), 0);
    assert_true(json_is_null(rig_at(rig, "/labels/2/label")));
    /* 15 chips of 8 x 8 pixels of 0.5 nm. */
    assert_true(rig_number(rig, "/area_nm2") == 240);
    char *first = json_dumps(rig_at(rig, "/chips"), 0);
    draw(rig, job, "{\"n\": 7, \"seed\": 1}", id);
    char *again = json_dumps(rig_at(rig, "/chips"), 0);
    assert_string_equal(again, first);
    draw(rig, job, "{\"n\": 7, \"seed\": 2}", id);
    char *other = json_dumps(rig_at(rig, "/chips"), 0);
    assert_string_not_equal(other, first);
    free(first);
    free(again);
    free(other);
}

static void each_chip_has_a_picture(void **state)
{
    struct rig *rig = *state;
    char job[DB_ID_SIZE], picture[160], place[64];
    finished(rig, job);
    assert_int_equal(rig_send(rig, "POST", "{}", "/v1/jobs/%s/verifications", job), 201);
    snprintf(picture, sizeof(picture), "%s", rig_text(rig, "/chips/1/links/picture"));
    snprintf(place, sizeof(place), "&offset_x=%d&offset_y=%d", (int)rig_number(rig, "/chips/1/x"),
             (int)rig_number(rig, "/chips/1/y"));
    assert_non_null(strstr(picture, place));
    assert_int_equal(rig_send(rig, "GET", NULL, "%s", picture), 200);
}

static void labels_are_told_only_on_demand(void **state)
{
    struct rig *rig = *state;
    char job[DB_ID_SIZE], id[DB_ID_SIZE];
    finished(rig, job);
    assert_int_equal(rig_send(rig, "POST", "{}", "/v1/jobs/%s/verifications", job), 201);
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    assert_int_equal(json_array_size(rig_at(rig, "/chips")), N_DRAWN);
    assert_null(json_object_get(rig_at(rig, "/chips/0"), "label"));
    assert_string_equal(rig_text(rig, "/chips/0/verdict"), "open");
    assert_true(json_is_null(rig_at(rig, "/chips/0/class")));
    assert_int_equal((int)rig_number(rig, "/chips/0/width"), 8);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/verifications/%s?labels=true", id), 200);
    assert_true(strlen(rig_text(rig, "/chips/0/label")) > 0);
    rig_header(rig, "If-None-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/verifications/%s", id), 304);
}

/* Answers that each chip is what its label says, but for the first of label 0. */
static void answer_all(struct rig *rig, const char *id)
{
    json_t *answers = json_array(), *chips = rig_at(rig, "/chips");
    bool first = true;
    for (size_t i = 0; i < json_array_size(chips); i++) {
        const char *label = json_string_value(json_object_get(json_array_get(chips, i), "label"));
        if (strcmp(label, "film") == 0 && first) {
            first = false;
            label = "a/b, \"c\"";
        }
        json_array_append_new(answers, json_pack("{s:i, s:s}", "index", (int)i, "class", label));
    }
    json_t *body = json_pack("{s:o}", "answers", answers);
    char *text = json_dumps(body, 0);
    assert_int_equal(rig_send(rig, "PATCH", text, "/v1/verifications/%s", id), 200);
    free(text);
    json_decref(body);
}

static void assert_interval(const struct rig *rig, const char *pointer, double value)
{
    static const char *const parts[] = {"value", "low", "high"};
    char part[200];
    for (int i = 0; i < 3; i++) {
        snprintf(part, sizeof(part), "%s/%s", pointer, parts[i]);
        assert_true(fabs(rig_number(rig, part) - value) < 1e-9);
    }
}

/* All 14 chips are answered, so that nothing is left to chance: film has the example and 6. */
static void what_was_all_answered_is_certain(void **state)
{
    struct rig *rig = *state;
    char job[DB_ID_SIZE], id[DB_ID_SIZE];
    finished(rig, job);
    draw(rig, job, "{\"n\": 1000}", id);
    answer_all(rig, id);
    assert_int_equal((int)rig_number(rig, "/n_answered"), N_DRAWN);
    assert_string_equal(rig_text(rig, "/estimate/classes/0/name"), "film");
    assert_interval(rig, "/estimate/classes/0/fraction", 7.0 / 15);
    assert_interval(rig, "/estimate/classes/0/area_nm2", 240 * 7.0 / 15);
    assert_interval(rig, "/estimate/classes/0/precision", 6.0 / 7);
    assert_interval(rig, "/estimate/classes/0/recall", 1);
    assert_interval(rig, "/estimate/classes/1/fraction", 8.0 / 15);
    assert_interval(rig, "/estimate/classes/1/recall", 7.0 / 8);
    assert_interval(rig, "/estimate/accuracy", 13.0 / 14);
    assert_interval(rig, "/estimate/none/fraction", 0);
    assert_int_equal((int)rig_number(rig, "/labels/0/classes/0"), 6);
    assert_int_equal((int)rig_number(rig, "/labels/0/classes/1"), 1);
    assert_int_equal((int)rig_number(rig, "/labels/1/classes/1"), 7);
}

static void patch(struct rig *rig, const char *id, const char *answers)
{
    char body[600];
    snprintf(body, sizeof(body), "{\"answers\": [%s]}", answers);
    rig_send(rig, "PATCH", body, "/v1/verifications/%s", id);
}

static void answers_come_in_any_number_of_calls(void **state)
{
    struct rig *rig = *state;
    char job[DB_ID_SIZE], id[DB_ID_SIZE];
    finished(rig, job);
    draw(rig, job, "{\"n\": 4}", id);
    patch(rig, id, "{\"index\": 2, \"class\": \"film\"}, {\"index\": 0, \"verdict\": \"none\"}");
    assert_int_equal(rig->response.status, 200);
    assert_int_equal((int)rig_number(rig, "/n_answered"), 2);
    assert_int_equal((int)rig_number(rig, "/revision"), 2);
    assert_string_equal(rig_text(rig, "/chips/0/verdict"), "none");
    assert_string_equal(rig_text(rig, "/chips/2/verdict"), "class");
    assert_string_equal(rig_text(rig, "/chips/2/class"), "film");
    assert_true(rig_number(rig, "/estimate/none/fraction/value") > 0.05);
    char *before = json_dumps(rig_at(rig, "/estimate"), 0);
    /* The same again changes nothing; of two about one chip the last holds. */
    patch(rig, id,
          "{\"index\": 2, \"verdict\": \"open\"}, {\"index\": 2, \"class\": \"film\"},"
          "{\"index\": 0, \"verdict\": \"none\"}");
    assert_int_equal((int)rig_number(rig, "/n_answered"), 2);
    char *after = json_dumps(rig_at(rig, "/estimate"), 0);
    assert_string_equal(after, before);
    patch(rig, id,
          "{\"index\": 0, \"verdict\": \"open\"}, {\"index\": 1, \"verdict\": \"unsure\"}");
    assert_int_equal((int)rig_number(rig, "/n_answered"), 2);
    assert_true(rig_number(rig, "/estimate/none/fraction/high") == 0);
    assert_int_equal(
        (int)(rig_number(rig, "/labels/0/unsure") + rig_number(rig, "/labels/1/unsure")), 1);
    patch(rig, id, "{\"index\": 2, \"verdict\": \"open\"}");
    assert_true(json_is_null(rig_at(rig, "/estimate")));
    free(before);
    free(after);
}

static void faults_are_named(void **state)
{
    struct rig *rig = *state;
    char job[DB_ID_SIZE], id[DB_ID_SIZE], body[200];
    rig_fill(rig);
    rig_add_job(rig, job);
    rig_send(rig, "POST", "{}", "/v1/jobs/%s/verifications", job);
    rig_assert_problem(rig, 409, "conflict");
    rig_finish_job(rig, DB_JOB_SUCCEEDED);
    rig_send(rig, "POST", "{\"n\": 0, \"seeds\": 1}", "/v1/jobs/%s/verifications", job);
    rig_assert_fault(rig, 2, "/n", "1 to 1000");
    snprintf(body, sizeof(body), "{\"image_ids\": [\"%s\", \"img_01JABCDEFGHJKMNPQRSTVWXYZ9\"]}",
             rig->image);
    rig_send(rig, "POST", body, "/v1/jobs/%s/verifications", job);
    rig_assert_fault(rig, 1, "/image_ids", "no result of image 'img_01JABCDEFGHJKMNPQRSTVWXYZ9'");
    snprintf(body, sizeof(body), "{\"image_ids\": [\"%s\", \"%s\"]}", rig->image, rig->image);
    assert_int_equal(rig_send(rig, "POST", body, "/v1/jobs/%s/verifications", job), 201);
    assert_int_equal((int)rig_number(rig, "/n_images"), 1);
    draw(rig, job, "{\"n\": 4}", id);
    patch(rig, id,
          "{\"index\": 4, \"class\": \"film\"}, {\"index\": 0, \"class\": \"gas\"},"
          "{\"index\": 0, \"verdict\": \"maybe\"}, {\"index\": 0},"
          "{\"index\": 1, \"class\": \"film\", \"verdict\": \"none\"}");
    rig_assert_fault(rig, 5, "/answers/0/index", "0 to 3");
    rig_assert_fault(rig, 5, "/answers/1/class", "no class");
    rig_assert_fault(rig, 5, "/answers/2/verdict", "none, unsure or open");
    rig_assert_fault(rig, 5, "/answers/3", "either");
    rig_assert_fault(rig, 5, "/answers/4", "either");
    rig_header(rig, "If-Match", "\"2\"");
    patch(rig, id, "{\"index\": 0, \"class\": \"film\"}");
    rig_assert_problem(rig, 412, "precondition-failed");
    rig_send(rig, "POST", "{}", "/v1/jobs/job_01JABCDEFGHJKMNPQRSTVWXYZ9/verifications");
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "GET", NULL, "/v1/verifications/ver_01JABCDEFGHJKMNPQRSTVWXYZ9");
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "GET", NULL, "/v1/verifications/%s", job);
    rig_assert_problem(rig, 404, "not-found");
}

static void a_job_lists_its_verifications_until_they_are_deleted(void **state)
{
    struct rig *rig = *state;
    char job[DB_ID_SIZE], first[DB_ID_SIZE], second[DB_ID_SIZE];
    finished(rig, job);
    draw(rig, job, "{\"n\": 2}", first);
    draw(rig, job, "{\"n\": 3}", second);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/jobs/%s/verifications?limit=1", job), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
    assert_string_equal(rig_text(rig, "/items/0/id"), first);
    char *next = strdup(rig_text(rig, "/next"));
    rig_send(rig, "GET", NULL, "/v1/jobs/%s/verifications?limit=1&cursor=%s", job, next);
    free(next);
    assert_string_equal(rig_text(rig, "/items/0/id"), second);
    assert_int_equal((int)rig_number(rig, "/items/0/n_chips"), 3);
    assert_true(json_is_null(rig_at(rig, "/next")));
    rig_header(rig, "If-Match", "\"7\"");
    rig_send(rig, "DELETE", NULL, "/v1/verifications/%s", first);
    rig_assert_problem(rig, 412, "precondition-failed");
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/verifications/%s", first), 204);
    rig_send(rig, "GET", NULL, "/v1/verifications/%s", first);
    rig_assert_problem(rig, 404, "not-found");
    struct db_event_list events;
    assert_int_equal(db_event_list(rig->db, 0, 1000, &events, &rig->err), 0);
    const struct db_event *last = &events.items[events.n_items - 1];
    assert_int_equal(last->type, DB_EVENT_VERIFICATION_DELETED);
    assert_string_equal(last->principal, RIG_PRINCIPAL);
    assert_string_equal(last->project_id, rig->project);
    db_event_list_clear(&events);
    /* What is left goes with its project. */
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/projects/%s", rig->project), 204);
    rig_send(rig, "GET", NULL, "/v1/verifications/%s", second);
    rig_assert_problem(rig, 404, "not-found");
}

/* A result of 15 chips for one image of a claimed job: what is not said is label 0. */
static void store_labels(struct rig *rig, const struct db_job *job, const struct db_lease *lease,
                         size_t image, const uint16_t *labels)
{
    static const char *const names[] = {"undecided_chips", "unknown_chips", "not_analysed_chips"};
    float probabilities[2 * N_CHIPS] = {0}, distances[N_CHIPS] = {0};
    struct db_quantity quantities[5];
    int counts[5] = {0};
    for (int i = 0; i < N_CHIPS; i++)
        counts[labels[i] < 2 ? labels[i] : labels[i] - DB_LABEL_UNDECIDED + 2]++;
    for (int i = 0; i < 5; i++) {
        quantities[i] = (struct db_quantity){.class_index = i < 3 ? -1 : i - 3,
                                             .value = counts[i < 3 ? i + 2 : i - 3],
                                             .low = NAN,
                                             .high = NAN};
        snprintf(quantities[i].name, sizeof(quantities[i].name), "%s",
                 i < 3 ? names[i] : "n_chips");
    }
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
                               .n_quantities = 5,
                               .labels = (uint16_t *)labels,
                               .probabilities = probabilities,
                               .distances = distances};
    memcpy(result.job_id, job->id, DB_ID_SIZE);
    memcpy(result.image_id, job->image_ids[image], DB_ID_SIZE);
    assert_int_equal(db_result_insert(rig->db, &result, lease, N_CHIPS, &rig->err), 0);
}

/* Two images: the one with the examples, all film, and one with each label there is. */
static void many_images_are_one_population(void **state)
{
    static const uint16_t all_film[N_CHIPS] = {0};
    static const uint16_t mixed[N_CHIPS] = {
        0, 1, 0, DB_LABEL_UNKNOWN, DB_LABEL_NOT_ANALYSED, 1, DB_LABEL_UNDECIDED, 0, 0, 0};
    struct rig *rig = *state;
    char id[DB_ID_SIZE], other[DB_ID_SIZE], body[300];
    size_t size;
    struct db_job job;
    struct db_lease lease;
    rig_fill(rig);
    void *png = rig_png(40, 30, 9, &size);
    rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images?name=b.png", rig->project);
    free(png);
    snprintf(other, sizeof(other), "%s", rig_text(rig, "/id"));
    snprintf(body, sizeof(body), "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\",\"%s\"]}",
             rig->set, rig->image, other);
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects/%s/jobs", rig->project), 202);
    assert_int_equal(db_job_claim(rig->db, "rig", 10000, &job, &lease, &rig->err), 0);
    store_labels(rig, &job, &lease, 0, all_film);
    store_labels(rig, &job, &lease, 1, mixed);
    assert_int_equal(db_job_finish(rig->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &rig->err), 0);
    draw(rig, job.id, "{\"n\": 10, \"seed\": 5}", id);
    /* Film: 14 without the example, and 10; the rare labels give what they have. */
    assert_int_equal((int)rig_number(rig, "/labels/0/n_chips"), 24);
    assert_int_equal((int)rig_number(rig, "/labels/0/n_drawn"), 6);
    assert_int_equal((int)rig_number(rig, "/labels/1/n_drawn"), 2);
    assert_int_equal((int)rig_number(rig, "/labels/2/n_drawn"), 2);
    json_t *chips = rig_at(rig, "/chips");
    for (size_t i = 0; i < json_array_size(chips); i++) {
        json_t *chip = json_array_get(chips, i);
        const char *label = json_string_value(json_object_get(chip, "label"));
        const json_int_t index = json_integer_value(json_object_get(chip, "chip"));
        const uint16_t is = strcmp(json_string_value(json_object_get(chip, "image_id")), other) == 0
                                ? mixed[index]
                                : all_film[index];
        assert_int_equal(is >= DB_LABEL_UNDECIDED, label == NULL);
        assert_true(label == NULL || (is == 0) == (strcmp(label, "film") == 0));
        assert_int_not_equal(is, DB_LABEL_NOT_ANALYSED);
    }
    snprintf(body, sizeof(body), "{\"image_ids\": [\"%s\"]}", other);
    draw(rig, job.id, body, id);
    assert_int_equal((int)rig_number(rig, "/n_images"), 1);
    assert_int_equal((int)rig_number(rig, "/n_chips"), N_DRAWN);
    assert_int_equal((int)rig_number(rig, "/labels/0/n_examples"), 0);
    db_job_clear(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chips_are_drawn_in_equal_parts_of_each_label, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(labels_are_told_only_on_demand, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(each_chip_has_a_picture, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(what_was_all_answered_is_certain, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(answers_come_in_any_number_of_calls, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(faults_are_named, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_job_lists_its_verifications_until_they_are_deleted,
                                        rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(many_images_are_one_population, rig_setup, rig_teardown),
    };
    return test_run(tests);
}
