/* The main job through the real binary: accuracy on real and drawn micrographs, the same bytes at
 * any number of threads, and a second job that encodes nothing. */
#include "tests/test.h"

#include "db/data.h"
#include "db/results/results.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

static void draw_scene(const char *name, const char *directory)
{
    const char *arguments[] = {"simulate", "--scene", name, "--out", directory, NULL};
    char text[1024];
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
}

static void scene_path(char *out, size_t size, const char *name, const char *file)
{
    const char *root = getenv("TMPDIR");
    snprintf(out, size, "%s/%s%s%s", root != NULL ? root : "/tmp", name, file[0] != '\0' ? "/" : "",
             file);
}

/* Classifies the image and returns the accuracy against a truth file. */
static double classify(struct client *client, const char *image_path, const char *support_path,
                       const char *truth_path, size_t *n)
{
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE],
        job[WORKFLOW_ID_SIZE];
    workflow_project(client, project);
    workflow_upload(client, project, image_path, image);
    workflow_support(client, project, image, support_path, 0, set);
    workflow_submit(client, project, set, image, job);
    workflow_wait(client, job, "succeeded");
    return workflow_accuracy(client, job, image, truth_path, n);
}

static void check_scene(const char *name)
{
    char directory[512], image[600], support[600], truth[600];
    scene_path(directory, sizeof(directory), name, "");
    scene_path(image, sizeof(image), name, "image.png");
    scene_path(support, sizeof(support), name, "support.json");
    scene_path(truth, sizeof(truth), name, "truth.csv");
    draw_scene(name, directory);
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    size_t n = 0;
    double accuracy = classify(client, image, support, truth, &n);
    print_message("note: %s: accuracy %.4f on %zu chips\n", name, accuracy, n);
    assert_true(accuracy >= 0.97);
    client_destroy(client);
    server_clear(&server);
}

static void drawn_perovskite_is_mapped(void **state)
{
    (void)state;
    check_scene("perovskite-on-diamond");
}

static void drawn_oxide_is_mapped(void **state)
{
    (void)state;
    check_scene("ordered-oxide");
}

static void real_micrograph_is_mapped(void **state)
{
    (void)state;
    char image_path[1024], support_path[1024], clear_path[1024], published_path[1024];
    const char *names[] = {"data/sto-ge/sto-ge-haadf.png", "data/sto-ge/support.json",
                           "data/sto-ge/clear-chips.csv", "data/sto-ge/published-labels.csv"};
    char *paths[] = {image_path, support_path, clear_path, published_path};
    for (size_t i = 0; i < 4; i++) {
        const char *path = test_shared_path(names[i]);
        if (path == NULL)
            skip();
        snprintf(paths[i], sizeof(image_path), "%s", path);
    }
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE],
        job[WORKFLOW_ID_SIZE];
    workflow_project(client, project);
    workflow_upload(client, project, image_path, image);
    workflow_support(client, project, image, support_path, 0, set);
    workflow_submit(client, project, set, image, job);
    workflow_wait(client, job, "succeeded");
    size_t n_clear = 0, n_published = 0;
    double clear = workflow_accuracy(client, job, image, clear_path, &n_clear);
    double published = workflow_accuracy(client, job, image, published_path, &n_published);
    print_message(
        "note: STO/Ge: %.4f of %zu clear chips, agreement %.4f with %zu published labels\n", clear,
        n_clear, published, n_published);
    assert_int_equal(n_clear, 826);
    assert_int_equal(n_published, 1024);
    assert_true(clear >= 0.99);
    assert_true(published >= 0.90);
    client_destroy(client);
    server_clear(&server);
}

/* Runs the scene's job `n_jobs` times at once in a fresh server and hands over one stored result.
 */
static void run_at(const char *threads, size_t n_jobs, const char *image_path,
                   const char *support_path, struct db_result *out)
{
    enum { JOBS_MAX = 3 };
    struct server_process server;
    /* No cache: each job has to encode. */
    const char *arguments[] = {"--threads", threads, "--cache-size", "0", NULL};
    const struct server_options options = {.arguments = arguments};
    server_init(&server);
    server_start(&server, &options);
    struct client *client = client_create(server.port);
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE];
    char jobs[JOBS_MAX][WORKFLOW_ID_SIZE];
    workflow_project(client, project);
    workflow_upload(client, project, image_path, image);
    workflow_support(client, project, image, support_path, 0, set);
    for (size_t i = 0; i < n_jobs; i++)
        workflow_submit(client, project, set, image, jobs[i]);
    for (size_t i = 0; i < n_jobs; i++)
        workflow_wait(client, jobs[i], "succeeded");
    client_destroy(client);
    assert_int_equal(server_stop(&server, 15), 0);
    const struct data_config config = {.directory = server.data, .cache_max_size = 0};
    struct data *opened = NULL;
    assert_int_equal(data_open(&opened, &config, NULL), 0);
    assert_int_equal(
        db_result_get(opened->db, jobs[n_jobs - 1], image, DB_RESULT_WITH_MAPS, out, NULL), 0);
    data_close(opened);
    server_clear(&server);
}

static void threads_and_neighbours_do_not_change_the_bytes(void **state)
{
    (void)state;
    char directory[512], image[600], support[600];
    scene_path(directory, sizeof(directory), "threads", "");
    scene_path(image, sizeof(image), "threads", "image.png");
    scene_path(support, sizeof(support), "threads", "support.json");
    draw_scene("perovskite-on-diamond", directory);
    struct db_result first = {0};
    run_at("1", 1, image, support, &first);
    size_t n = (size_t)first.rows * first.columns;
    static const struct {
        const char *threads;
        size_t n_jobs;
    } others[] = {{"2", 1}, {"4", 1}, {"1", 2}, {"2", 3}, {"4", 2}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct db_result result = {0};
        run_at(others[i].threads, others[i].n_jobs, image, support, &result);
        assert_int_equal(result.rows * result.columns, n);
        assert_memory_equal(first.labels, result.labels, n * sizeof(uint16_t));
        assert_memory_equal(first.probabilities, result.probabilities,
                            n * first.n_classes * sizeof(float));
        assert_memory_equal(first.distances, result.distances, n * sizeof(float));
        db_result_clear(&result);
    }
    db_result_clear(&first);
}

static void second_support_set_encodes_nothing(void **state)
{
    (void)state;
    char directory[512], image_path[600], support_path[600];
    scene_path(directory, sizeof(directory), "second", "");
    scene_path(image_path, sizeof(image_path), "second", "image.png");
    scene_path(support_path, sizeof(support_path), "second", "support.json");
    draw_scene("ordered-oxide", directory);
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE],
        job[WORKFLOW_ID_SIZE];
    workflow_project(client, project);
    workflow_upload(client, project, image_path, image);
    workflow_support(client, project, image, support_path, 0, set);
    workflow_submit(client, project, set, image, job);
    workflow_wait(client, job, "succeeded");
    double encoded = workflow_metric(client, "chipshot_chips_encoded_total");
    double misses = workflow_metric(client, "chipshot_embedding_cache_misses_total");
    double hits = workflow_metric(client, "chipshot_embedding_cache_hits_total");
    assert_true(encoded > 0);

    workflow_support(client, project, image, support_path, 2, set);
    workflow_submit(client, project, set, image, job);
    workflow_wait(client, job, "succeeded");
    assert_true(workflow_metric(client, "chipshot_chips_encoded_total") == encoded);
    assert_true(workflow_metric(client, "chipshot_embedding_cache_misses_total") == misses);
    assert_true(workflow_metric(client, "chipshot_embedding_cache_hits_total") > hits);
    client_destroy(client);
    server_clear(&server);
}

/* The encoding that a job names, or that of its encoder, stands in the job and in its results. */
static void a_job_and_its_results_say_the_encoding(void **state)
{
    (void)state;
    static const char *const encodings[] = {"chips", "dense"};
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE],
        job[WORKFLOW_ID_SIZE], path[256], body[512];
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    workflow_scene(client, project, image, set);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "/v1/projects/%s/jobs", project);
        snprintf(body, sizeof(body),
                 "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\"],\"encoding\":\"%s\"}", set,
                 image, encodings[i]);
        json_t *json = workflow_json(client, "POST", path, body, 0, 202);
        snprintf(job, sizeof(job), "%s", json_string_value(json_object_get(json, "id")));
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(json, "params"), "encoding")),
            encodings[i]);
        json_decref(json);
        workflow_wait(client, job, "succeeded");
        snprintf(path, sizeof(path), "/v1/jobs/%s/results/%s", job, image);
        json = workflow_json(client, "GET", path, NULL, 0, 200);
        assert_string_equal(json_string_value(json_object_get(json, "encoding")), encodings[i]);
        json_decref(json);
    }
    /* None is named: the encoder's own. */
    workflow_submit(client, project, set, image, job);
    snprintf(path, sizeof(path), "/v1/jobs/%s", job);
    json_t *made = workflow_json(client, "GET", path, NULL, 0, 200);
    snprintf(path, sizeof(path), "/v1/encoders/%s",
             json_string_value(json_object_get(made, "encoder_id")));
    json_t *encoder = workflow_json(client, "GET", path, NULL, 0, 200);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(made, "params"), "encoding")),
        json_string_value(json_object_get(encoder, "encoding")));
    json_decref(made);
    json_decref(encoder);
    workflow_wait(client, job, "succeeded");
    client_destroy(client);
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_perovskite_is_mapped),
        cmocka_unit_test(drawn_oxide_is_mapped),
        cmocka_unit_test(real_micrograph_is_mapped),
        cmocka_unit_test(threads_and_neighbours_do_not_change_the_bytes),
        cmocka_unit_test(second_support_set_encodes_nothing),
        cmocka_unit_test(a_job_and_its_results_say_the_encoding),
    };
    return test_run(tests);
}
