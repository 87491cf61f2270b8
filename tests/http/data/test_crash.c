/* kill -9 at any moment, start again: every accepted job still ends exactly once, no image is half
 * there, and the database is whole. */
#include "tests/test.h"

#include <unistd.h>

#include "db/data.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

enum { N_KILLS = 50 };

struct accepted {
    char jobs[N_KILLS][WORKFLOW_ID_SIZE];
    size_t n_jobs;
};

/* Sends the head of an upload and `part` bytes of its body, and goes on without waiting. */
static int begin_upload(uint16_t port, const char *project, const char *data, size_t size,
                        size_t part)
{
    char head[512];
    snprintf(head, sizeof(head),
             "POST /v1/projects/%s/images?name=half.png HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Type: image/png\r\nContent-Length: %zu\r\n\r\n",
             project, size);
    int fd = raw_connect(port);
    raw_print(fd, head);
    raw_write(fd, data, part);
    return fd;
}

/* Work for one round; the kill follows at once, so each kind of round is hit in another phase:
 * while a body is read, right after a job was accepted, while it is claimed, encoded or ended. */
static void work(struct client *client, uint16_t port, size_t round, const char *project,
                 const char *set, const char *image, const char *data, size_t size,
                 struct accepted *accepted)
{
    char *job = accepted->jobs[accepted->n_jobs++];
    workflow_submit(client, project, set, image, job);
    int fd = -1;
    if (round % 5 == 1)
        fd = begin_upload(port, project, data, size, size / 2);
    if (round % 5 == 2)
        fd = begin_upload(port, project, data, size,
                          size); /* killed while it is decoded or stored */
    if (round % 5 == 3) {
        char target[256];
        snprintf(target, sizeof(target), "/v1/jobs/%s", job);
        json_decref(workflow_json(client, "GET", target, NULL, 0, 200));
    }
    if (round % 5 == 4)
        workflow_wait(client, job, "succeeded");
    if (fd >= 0)
        close(fd);
}

static void check_jobs(struct client *client, const struct accepted *accepted, const char *image)
{
    for (size_t i = 0; i < accepted->n_jobs; i++) {
        char target[256];
        workflow_wait(client, accepted->jobs[i], "succeeded");
        snprintf(target, sizeof(target), "/v1/jobs/%s/results", accepted->jobs[i]);
        json_t *results = workflow_json(client, "GET", target, NULL, 0, 200);
        json_t *items = json_object_get(results, "items");
        assert_int_equal(json_array_size(items), 1);
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(items, 0), "image_id")), image);
        json_decref(results);
    }
}

/* Every image that is listed can be fetched and is as long as was said. */
static void check_images(struct client *client, const char *project)
{
    char target[256];
    snprintf(target, sizeof(target), "/v1/projects/%s/images", project);
    json_t *list = workflow_json(client, "GET", target, NULL, 0, 200);
    size_t i;
    json_t *item;
    assert_true(json_array_size(json_object_get(list, "items")) >= 1);
    json_array_foreach(json_object_get(list, "items"), i, item)
    {
        snprintf(target, sizeof(target), "/v1/images/%s/content",
                 json_string_value(json_object_get(item, "id")));
        const struct client_request request = {.path = target};
        struct client_reply reply = {0};
        client_send(client, &request, &reply);
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.body_size, json_integer_value(json_object_get(item, "byte_size")));
        client_reply_clear(&reply);
    }
    json_decref(list);
}

static void nothing_is_lost_in_fifty_kills(void **state)
{
    (void)state;
    const char *root = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char directory[512], image_path[600], support_path[600], text[1024];
    snprintf(directory, sizeof(directory), "%s/scene", root);
    snprintf(image_path, sizeof(image_path), "%s/image.png", directory);
    snprintf(support_path, sizeof(support_path), "%s/support.json", directory);
    const char *arguments[] = {"simulate", "--scene", "perovskite-on-diamond",
                               "--out",    directory, NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    size_t size = 0;
    char *data = workflow_read_file(image_path, &size);

    /* No cache: a job that is resumed has to encode again. */
    const char *options_text[] = {"--cache-size", "0", NULL};
    const struct server_options options = {.arguments = options_text};
    struct server_process server;
    struct accepted accepted = {0};
    char project[WORKFLOW_ID_SIZE] = "", set[WORKFLOW_ID_SIZE] = "", image[WORKFLOW_ID_SIZE] = "";
    server_init(&server);
    for (size_t round = 0; round < N_KILLS; round++) {
        server_start(&server, &options);
        struct client *client = client_create(server.port);
        if (round == 0) {
            workflow_project(client, project);
            workflow_upload(client, project, image_path, image);
            workflow_support(client, project, image, support_path, 0, set);
        }
        work(client, server.port, round, project, set, image, data, size, &accepted);
        assert_int_equal(server_stop(&server, 9), 128 + 9);
        client_destroy(client);
    }
    server_start(&server, &options);
    struct client *client = client_create(server.port);
    check_jobs(client, &accepted, image);
    check_images(client, project);
    client_destroy(client);
    assert_int_equal(server_stop(&server, 15), 0);
    assert_int_equal(server_count_files(&server, "tmp"), 0);

    struct data *opened = NULL;
    struct error err = {0};
    const struct data_config config = {.directory = server.data};
    assert_int_equal(data_open(&opened, &config, &err), 0);
    if (db_integrity_check(opened->db, opened->store, &err) < 0)
        fail_msg("integrity: %s", err.message);
    data_close(opened);
    print_message("note: %d kills: %zu accepted jobs, all succeeded, database whole\n", N_KILLS,
                  accepted.n_jobs);
    server_clear(&server);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_in_fifty_kills),
    };
    return test_run(tests);
}
