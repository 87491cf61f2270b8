/* Requests that no client means: every prefix and many mutations of good ones, and many at once. */
#include "tests/api/rig.h"

#include <pthread.h>

/* Whatever the bytes, the answer is one of the client's errors or a success, and whole. */
static void assert_sane(struct rig *rig, int status, const char *body)
{
    bool sane = status == 400 || status == 404 || status == 422 || (status >= 200 && status < 300);
    if (!sane)
        fail_msg("status %d for %s", status, body);
    if (status >= 400)
        assert_string_equal(rig->response.content_type, "application/problem+json");
}

static void mutate(struct rig *rig, const char *method, const char *body, const char *target)
{
    static const char bytes[] = {'"', '{', ']', ',', '0', '-', '\\', '\xff', '\x01', 'e'};
    size_t size = strlen(body);
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        memcpy(text, body, i);
        text[i] = '\0';
        assert_int_equal(rig_send(rig, method, text, "%s", target), 400);
        memcpy(text, body, size + 1);
        text[i] = bytes[i % sizeof(bytes)];
        assert_sane(rig, rig_send(rig, method, text, "%s", target), text);
        memmove(text + i, body + i + 1, size - i);
        assert_sane(rig, rig_send(rig, method, text, "%s", target), text);
    }
    free(text);
}

static void mutated_bodies_get_clean_answers(void **state)
{
    struct rig *rig = *state;
    char body[1000], target[200];
    rig_fill(rig);
    snprintf(body, sizeof(body),
             "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\"],\"stride\":{\"x\":8,\"y\":9},"
             "\"clahe\":{\"tiles\":3},\"classifier\":{\"temperature\":1.5e0}}",
             rig->set, rig->image);
    snprintf(target, sizeof(target), "/v1/projects/%s/jobs", rig->project);
    mutate(rig, "POST", body, target);
    snprintf(body, sizeof(body),
             "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":[{\"name\":\"a\","
             "\"examples\":[{\"image_id\":\"%s\",\"x\":3,\"y\":4}]},{\"name\":\"b\",\"color\":"
             "\"#112233\",\"examples\":[{\"image_id\":\"%s\",\"x\":1,\"y\":2}]}]}",
             rig->image, rig->image);
    snprintf(target, sizeof(target), "/v1/support-sets/%s", rig->set);
    mutate(rig, "PUT", body, target);
    snprintf(target, sizeof(target), "/v1/projects/%s", rig->project);
    mutate(rig, "PATCH", "{\"name\":\"\\u00e4\\ud83d\\ude00\",\"labels\":{\"a\":\"b\"}}", target);
}

static void mutated_targets_get_clean_answers(void **state)
{
    struct rig *rig = *state;
    char target[300];
    rig_fill(rig);
    int length = snprintf(target, sizeof(target), "/v1/images/%s/chips/1,2.png?width=8&height=%%38",
                          rig->image);
    char original[300];
    memcpy(original, target, sizeof(original));
    static const char bytes[] = {'/', '%', '?', '&', '=', ',', '.', '\xff', '{', '0', '#', ' '};
    assert_int_equal(rig_send(rig, "GET", NULL, "%s", target), 200);
    for (int i = 1; i < length; i++) {
        for (size_t k = 0; k < sizeof(bytes); k++) {
            memcpy(target, original, sizeof(target));
            target[i] = bytes[k];
            assert_sane(rig, rig_send(rig, "GET", NULL, "%s", target), target);
        }
        target[i] = '\0';
        assert_sane(rig, rig_send(rig, "GET", NULL, "%s", target), target);
    }
}

static void a_megabyte_of_faults_gets_a_bounded_answer(void **state)
{
    struct rig *rig = *state;
    enum { SIZE = 1000000 };
    char *body = malloc(SIZE + 100);
    size_t length = (size_t)snprintf(body, SIZE, "{\"name\":\"a\",\"labels\":{");
    for (int i = 0; length < SIZE - 100; i++)
        length += (size_t)snprintf(body + length, SIZE - length, "\"%d\":1,", i);
    snprintf(body + length, SIZE - length, "\"x\":1}}");
    rig_send(rig, "POST", body, "/v1/projects");
    rig_assert_fault(rig, 1, "/labels", "may have 64 labels");
    length = 0;
    body[length++] = '{';
    for (int i = 0; length < SIZE - 100; i++)
        length += (size_t)snprintf(body + length, SIZE - length, "\"%d\":1,", i);
    snprintf(body + length, SIZE - length, "\"x\":1}");
    rig_send(rig, "POST", body, "/v1/projects");
    rig_assert_fault(rig, 1000, "/name", "is required");
    assert_non_null(strstr(rig_text(rig, "/detail"), "the first 1000 are listed"));
    assert_true(rig->response.body_size < 200000);
    memset(body, '[', SIZE);
    body[SIZE] = '\0';
    rig_send(rig, "POST", body, "/v1/projects");
    rig_assert_problem(rig, 400, "malformed");
    free(body);
}

struct client {
    struct rig *rig;
    pthread_t thread;
    int n_right;
};

static void *work(void *argument)
{
    struct client *client = argument;
    char targets[4][200];
    snprintf(targets[0], 200, "/v1/images/%s/preview.png?max_side=9", client->rig->image);
    snprintf(targets[1], 200, "/v1/projects/%s/jobs", client->rig->project);
    snprintf(targets[2], 200, "/v1/support-sets/%s", client->rig->set);
    snprintf(targets[3], 200, "/readyz");
    for (int i = 0; i < 40; i++) {
        struct api_request request = {.method = "GET", .target = targets[i % 4]};
        struct api_response response;
        api_response_init(&response);
        api_handle(client->rig->api, &request, NULL, &response);
        client->n_right += response.status == 200;
        api_response_clear(&response);
    }
    return NULL;
}

static void many_requests_at_once_are_all_answered(void **state)
{
    struct rig *rig = *state;
    struct client clients[8];
    rig_fill(rig);
    for (int i = 0; i < 8; i++) {
        clients[i] = (struct client){.rig = rig};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, work, &clients[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].n_right, 40);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mutated_bodies_get_clean_answers),
        TEST(mutated_targets_get_clean_answers),
        TEST(a_megabyte_of_faults_gets_a_bounded_answer),
        TEST(many_requests_at_once_are_all_answered),
    };
    return test_run(tests);
}
