#include "tests/http/workflow.h"

#include "tests/http/server.h"

#include "tests/test.h"

json_t *workflow_json(struct client *client, const char *method, const char *path, const char *body,
                      int prefer_wait, long status)
{
    const struct client_request request = {
        .method = method,
        .path = path,
        .headers = {prefer_wait ? "Prefer: wait=30" : "Accept: application/json",
                    body != NULL ? "Content-Type: application/json" : NULL},
        .body = body,
    };
    struct client_reply reply = {0};
    client_send(client, &request, &reply);
    if (reply.status != status)
        fail_msg("%s %s answered %ld, not %ld: %.300s", method, path, reply.status, status,
                 reply.body);
    json_error_t error;
    json_t *json = json_loads(reply.body, 0, &error);
    if (json == NULL)
        fail_msg("%s %s: the answer is not JSON: %s", method, path, error.text);
    client_reply_clear(&reply);
    return json;
}

static void take_id(json_t *json, char id[WORKFLOW_ID_SIZE])
{
    const char *text = json_string_value(json_object_get(json, "id"));
    assert_non_null(text);
    snprintf(id, WORKFLOW_ID_SIZE, "%s", text);
    json_decref(json);
}

void workflow_project(struct client *client, char id[WORKFLOW_ID_SIZE])
{
    take_id(workflow_json(client, "POST", "/v1/projects", "{\"name\": \"test\"}", 0, 201), id);
}

char *workflow_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    data[*size] = '\0';
    fclose(file);
    return data;
}

void workflow_upload(struct client *client, const char *project, const char *path,
                     char id[WORKFLOW_ID_SIZE])
{
    char target[256];
    snprintf(target, sizeof(target), "/v1/projects/%s/images?name=image.png", project);
    size_t size = 0;
    char *data = workflow_read_file(path, &size);
    const struct client_request request = {
        .method = "POST",
        .path = target,
        .headers = {"Content-Type: image/png"},
        .body = data,
        .body_size = size,
    };
    struct client_reply reply = {0};
    client_send(client, &request, &reply);
    free(data);
    if (reply.status != 201 && reply.status != 200)
        fail_msg("upload of %s answered %ld: %.300s", path, reply.status, reply.body);
    take_id(json_loads(reply.body, 0, NULL), id);
    client_reply_clear(&reply);
}

void workflow_support(struct client *client, const char *project, const char *image,
                      const char *path, size_t max_examples, char id[WORKFLOW_ID_SIZE])
{
    json_t *set = json_load_file(path, 0, NULL);
    assert_non_null(set);
    json_object_set_new(set, "name", json_string("test"));
    size_t i, k;
    json_t *class, *example;
    json_array_foreach(json_object_get(set, "classes"), i, class)
    {
        json_t *examples = json_object_get(class, "examples");
        while (max_examples > 0 && json_array_size(examples) > max_examples)
            json_array_remove(examples, json_array_size(examples) - 1);
        json_array_foreach(examples, k, example)
        {
            json_object_set_new(example, "image_id", json_string(image));
        }
    }
    char *body = json_dumps(set, 0);
    char target[256];
    snprintf(target, sizeof(target), "/v1/projects/%s/support-sets", project);
    take_id(workflow_json(client, "POST", target, body, 0, 201), id);
    free(body);
    json_decref(set);
}

void workflow_scene(struct client *client, char project[WORKFLOW_ID_SIZE],
                    char image[WORKFLOW_ID_SIZE], char set[WORKFLOW_ID_SIZE])
{
    const char *root = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char directory[512], path[600], support[600], text[1024];
    snprintf(directory, sizeof(directory), "%s/scene", root);
    snprintf(path, sizeof(path), "%s/image.png", directory);
    snprintf(support, sizeof(support), "%s/support.json", directory);
    const char *arguments[] = {"simulate", "--scene", "perovskite-on-diamond",
                               "--out",    directory, NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    workflow_project(client, project);
    workflow_upload(client, project, path, image);
    workflow_support(client, project, image, support, 0, set);
}

void workflow_submit(struct client *client, const char *project, const char *set, const char *image,
                     char id[WORKFLOW_ID_SIZE])
{
    char target[256], body[512];
    snprintf(target, sizeof(target), "/v1/projects/%s/jobs", project);
    snprintf(body, sizeof(body), "{\"support_set_id\": \"%s\", \"image_ids\": [\"%s\"]}", set,
             image);
    take_id(workflow_json(client, "POST", target, body, 0, 202), id);
}

void workflow_wait(struct client *client, const char *job, const char *state)
{
    char target[256], seen[32] = "";
    snprintf(target, sizeof(target), "/v1/jobs/%s", job);
    /* Each round waits in the service; a sanitizer build may need several. */
    for (int round = 0; round < 20; round++) {
        json_t *json = workflow_json(client, "GET", target, NULL, 1, 200);
        snprintf(seen, sizeof(seen), "%s", json_string_value(json_object_get(json, "state")));
        char *text = json_dumps(json_object_get(json, "error"), JSON_ENCODE_ANY);
        json_decref(json);
        if (strcmp(seen, "queued") != 0 && strcmp(seen, "running") != 0) {
            if (strcmp(seen, state) != 0)
                fail_msg("job %s ended as %s, not %s: %s", job, seen, state, text);
            free(text);
            return;
        }
        free(text);
    }
    fail_msg("job %s is still %s", job, seen);
}

/* Reads row, column and label of one CSV line; the label ends at the next comma. */
static int read_line(const char *line, unsigned *row, unsigned *column, char label[128])
{
    unsigned x, y;
    label[0] = '\0';
    return sscanf(line, "%u,%u,%u,%u,%127[^,\n]", row, column, &x, &y, label);
}

double workflow_accuracy(struct client *client, const char *job, const char *image,
                         const char *truth_path, size_t *n)
{
    enum { SIDE = 256 };
    static char truth[SIDE][SIDE][128];
    memset(truth, 0, sizeof(truth));
    size_t size = 0, right = 0;
    char *text = workflow_read_file(truth_path, &size);
    unsigned row, column;
    char label[128], *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (read_line(line, &row, &column, label) == 5 && row < SIDE && column < SIDE)
            snprintf(truth[row][column], sizeof(truth[row][column]), "%s", label);
    }
    free(text);

    char target[256];
    snprintf(target, sizeof(target), "/v1/jobs/%s/results/%s.csv", job, image);
    const struct client_request request = {.path = target};
    struct client_reply reply = {0};
    client_send(client, &request, &reply);
    assert_int_equal(reply.status, 200);
    *n = 0;
    rest = reply.body;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (read_line(line, &row, &column, label) != 5 || truth[row][column][0] == '\0')
            continue;
        ++*n;
        right += strcmp(truth[row][column], label) == 0;
    }
    client_reply_clear(&reply);
    assert_true(*n > 0);
    return (double)right / (double)*n;
}

double workflow_metric(struct client *client, const char *series)
{
    const struct client_request request = {.path = "/metrics"};
    struct client_reply reply = {0};
    client_send(client, &request, &reply);
    assert_int_equal(reply.status, 200);
    double value = -1;
    char *rest = reply.body;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        size_t length = strlen(series);
        if (strncmp(line, series, length) == 0 && line[length] == ' ')
            value = strtod(line + length, NULL);
    }
    client_reply_clear(&reply);
    if (value < 0)
        fail_msg("/metrics has no series '%s'", series);
    return value;
}
