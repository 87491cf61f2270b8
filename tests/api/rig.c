#include "tests/api/rig.h"

#include <ftw.h>
#include <math.h>
#include <unistd.h>

#include "db/sql/connection.h"
#include "engine/fewshot/statistics.h"
#include "engine/image/png_write.h"

/* ---- hooks ---- */

static void job_changed(void *context, const char *job_id)
{
    struct rig *rig = context;
    rig->n_changed++;
    snprintf(rig->changed_id, sizeof(rig->changed_id), "%s", job_id);
}

static double job_eta(void *context, const char *job_id)
{
    (void)context;
    (void)job_id;
    return 12.5;
}

static bool shutting_down(void *context)
{
    return ((struct rig *)context)->shutting_down;
}

static char *metrics(void *context)
{
    (void)context;
    return strdup("# TYPE x counter\nx 1\n");
}

/* ---- setup ---- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

int rig_setup(void **state)
{
    static const char openapi[] = "openapi: 3.1.0\n";
    struct rig *rig = calloc(1, sizeof(*rig));
    const char *parent = getenv("TMPDIR");
    snprintf(rig->directory, sizeof(rig->directory), "%s/chipshot-api-XXXXXX",
             parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(rig->directory));
    const struct data_config config = {.directory = rig->directory, .cache_max_size = 1 << 20};
    if (data_open(&rig->data, &config, &rig->err) != 0)
        fail_msg("data_open: %s", rig->err.message);
    rig->db = rig->data->db;
    rig->limits = api_limits_default;
    rig->hooks = (struct api_hooks){.context = rig,
                                    .job_changed = job_changed,
                                    .job_eta = job_eta,
                                    .shutting_down = shutting_down,
                                    .metrics = metrics,
                                    .openapi = openapi,
                                    .openapi_size = sizeof(openapi) - 1};
    api_response_init(&rig->response);
    rig_restart_api(rig);
    *state = rig;
    return 0;
}

void rig_edit(struct rig *rig, const char *sql)
{
    char path[600];
    struct db_connection *connection = NULL;
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", rig->directory);
    if (db_connection_open(&connection, path, DB_CONNECTION_WRITER, &rig->err) != 0 ||
        db_connection_run_script(connection, "editing", sql, &rig->err) != 0)
        fail_msg("%s", rig->err.message);
    db_connection_close(connection);
}

void rig_restart_api(struct rig *rig)
{
    api_destroy(rig->api);
    rig->api = NULL;
    assert_int_equal(api_create(&rig->api, rig->data, &rig->limits, &rig->hooks, &rig->err), 0);
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    json_decref(rig->json);
    api_response_clear(&rig->response);
    api_destroy(rig->api);
    data_close(rig->data);
    nftw(rig->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(rig);
    return 0;
}

/* ---- requests ---- */

void rig_header(struct rig *rig, const char *name, const char *value)
{
    assert_true(rig->n_headers < RIG_HEADERS_MAX);
    rig->headers[rig->n_headers++] = (struct api_header){name, value};
}

static bool is_json(const char *content_type)
{
    return content_type != NULL && strstr(content_type, "json") != NULL;
}

/* Answers may come from a file; every answer must be whole. */
static void read_answer(struct rig *rig)
{
    struct api_response *response = &rig->response;
    assert_true(response->n_headers <= API_RESPONSE_HEADERS_MAX);
    assert_true(response->status >= 200 && response->status < 600);
    assert_true(response->body == NULL || response->stream.next == NULL);
    if (response->body != NULL && is_json(response->content_type)) {
        json_error_t error;
        rig->json = json_loadb(response->body, response->body_size, JSON_REJECT_DUPLICATES, &error);
        if (rig->json == NULL)
            fail_msg("the answer is no JSON: %s", error.text);
    }
}

/* A job that is waited for ends at the first look, or else the time is up. Without hooks nobody
 * waits. */
static void handle(struct rig *rig, const struct api_request *request)
{
    struct api_wait wait;
    struct api_wait *may_wait = rig->hooks.context == NULL ? NULL : &wait;
    if (api_handle(rig->api, request, may_wait, &rig->response) == API_ANSWERED)
        return;
    rig->waited_ms = wait.timeout_ms;
    assert_int_equal(api_resume(rig->api, request, &wait, &rig->response), API_WAITS);
    if (rig->finish_on_wait)
        rig_finish_job(rig, DB_JOB_SUCCEEDED);
    else
        wait.timeout_ms = 0;
    assert_int_equal(api_resume(rig->api, request, &wait, &rig->response), API_ANSWERED);
}

static int exchange(struct rig *rig, struct api_request *request, const void *data, size_t size)
{
    struct api_plan plan;
    struct store_writer *upload = NULL;
    json_decref(rig->json);
    rig->json = NULL;
    api_response_clear(&rig->response);
    rig->begun = api_begin(rig->api, request, &plan, &rig->response);
    if (rig->begun) {
        if (plan.body == API_BODY_UPLOAD) {
            assert_int_equal(store_writer_create(&upload, rig->data->store, &rig->err), 0);
            assert_int_equal(store_writer_write(upload, data, size, &rig->err), 0);
            request->upload = upload;
        } else if (plan.body == API_BODY_JSON) {
            request->body = data;
            request->body_size = size;
        }
        handle(rig, request);
        store_writer_destroy(upload);
    }
    read_answer(rig);
    rig->n_headers = 0;
    return rig->response.status;
}

static int send(struct rig *rig, const char *method, const char *type, const void *data,
                size_t size, const char *target)
{
    char length[32];
    snprintf(length, sizeof(length), "%zu", size);
    if (data != NULL)
        rig_header(rig, "content-length", length);
    if (data != NULL && type != NULL)
        rig_header(rig, "Content-Type", type);
    struct api_request request = {.method = method,
                                  .target = target,
                                  .headers = rig->headers,
                                  .n_headers = rig->n_headers,
                                  .request_id = "rig-1",
                                  .principal = {.id = RIG_PRINCIPAL}};
    return exchange(rig, &request, data, size);
}

int rig_send(struct rig *rig, const char *method, const char *body, const char *target, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, target);
    assert_true(vasprintf(&text, target, arguments) >= 0);
    va_end(arguments);
    int status = send(rig, method, "application/json; charset=utf-8", body,
                      body != NULL ? strlen(body) : 0, text);
    free(text);
    return status;
}

static int send_file(struct rig *rig, const char *method, const char *type, const void *data,
                     size_t size, const char *target, va_list arguments)
{
    char *text = NULL;
    assert_true(vasprintf(&text, target, arguments) >= 0);
    int status = send(rig, method, type, data, size, text);
    free(text);
    return status;
}

int rig_upload(struct rig *rig, const char *type, const void *data, size_t size, const char *target,
               ...)
{
    va_list arguments;
    va_start(arguments, target);
    int status = send_file(rig, "POST", type, data, size, target, arguments);
    va_end(arguments);
    return status;
}

int rig_put_file(struct rig *rig, const char *type, const void *data, size_t size,
                 const char *target, ...)
{
    va_list arguments;
    va_start(arguments, target);
    int status = send_file(rig, "PUT", type, data, size, target, arguments);
    va_end(arguments);
    return status;
}

const char *rig_got(const struct rig *rig, const char *name)
{
    for (size_t i = 0; i < rig->response.n_headers; i++) {
        if (strcmp(rig->response.headers[i].name, name) == 0)
            return rig->response.headers[i].value;
    }
    return "";
}

/* ---- answers ---- */

json_t *rig_at(const struct rig *rig, const char *pointer)
{
    json_t *at = rig->json;
    const char *rest = pointer;
    while (at != NULL && *rest == '/') {
        size_t length = strcspn(rest + 1, "/");
        char key[200];
        snprintf(key, sizeof(key), "%.*s", (int)length, rest + 1);
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
                               : json_object_get(at, key);
        rest += 1 + length;
    }
    if (at == NULL)
        fail_msg("no %s in %.*s", pointer, (int)rig->response.body_size,
                 rig->response.body != NULL ? rig->response.body : "");
    return at;
}

const char *rig_text(const struct rig *rig, const char *pointer)
{
    json_t *value = rig_at(rig, pointer);
    if (!json_is_string(value))
        fail_msg("%s is no string", pointer);
    return json_string_value(value);
}

double rig_number(const struct rig *rig, const char *pointer)
{
    json_t *value = rig_at(rig, pointer);
    if (!json_is_number(value))
        fail_msg("%s is no number", pointer);
    return json_number_value(value);
}

void rig_assert_problem(const struct rig *rig, int status, const char *type)
{
    char wanted[100];
    snprintf(wanted, sizeof(wanted), "urn:chipshot:problem:%s", type);
    if (rig->response.status != status)
        fail_msg("status %d, not %d: %.*s", rig->response.status, status,
                 (int)rig->response.body_size, rig->response.body);
    assert_string_equal(rig->response.content_type, "application/problem+json");
    assert_string_equal(rig_text(rig, "/type"), wanted);
    assert_int_equal((int)rig_number(rig, "/status"), status);
    assert_string_equal(rig_text(rig, "/request_id"), "rig-1");
    assert_true(strlen(rig_text(rig, "/title")) > 0);
    assert_true(strlen(rig_text(rig, "/detail")) > 0);
    assert_true(strlen(rig->response.error_message) > 0);
    assert_true(rig->response.error_code < 0);
}

void rig_assert_fault(const struct rig *rig, size_t n, const char *name, const char *detail)
{
    static const char *const places[] = {"pointer", "parameter", "header"};
    json_t *errors = rig_at(rig, "/errors");
    char *all = json_dumps(errors, JSON_INDENT(1));
    bool found = false;
    for (size_t i = 0; i < json_array_size(errors); i++) {
        json_t *error = json_array_get(errors, i);
        const char *said = json_string_value(json_object_get(error, "detail"));
        for (int k = 0; k < 3; k++) {
            const char *place = json_string_value(json_object_get(error, places[k]));
            if (place != NULL && strcmp(place, name) == 0 && strstr(said, detail) != NULL)
                found = true;
        }
    }
    if (!found || json_array_size(errors) != n)
        fail_msg("not %zu faults with '%s' at %s:\n%s", n, detail, name, all);
    free(all);
}

/* ---- things ---- */

void *rig_png(uint32_t width, uint32_t height, unsigned seed, size_t *size)
{
    uint16_t *pixels = malloc((size_t)width * height * sizeof(*pixels));
    struct png_bytes png;
    struct error err;
    for (uint32_t i = 0; i < width * height; i++)
        pixels[i] = (uint16_t)(i % width * 1000 + i / width * 7 + seed);
    assert_int_equal(png_write_grey16(pixels, width, height, 0.5, &png, &err), 0);
    free(pixels);
    *size = png.size;
    return png.data;
}

void rig_add_encoder(struct rig *rig, const char *encoding)
{
    struct db_encoder encoder = {.name = (char *)"test",
                                 .architecture = "resnet18",
                                 .in_channels = 1,
                                 .input_size = 32,
                                 .dimension = 8,
                                 .n_parameters = 100,
                                 .byte_size = strlen(encoding),
                                 .is_default = true};
    struct store_writer *writer = NULL;
    bool existed;
    snprintf(encoder.encoding, sizeof(encoder.encoding), "%s", encoding);
    assert_int_equal(store_writer_create(&writer, rig->data->store, &rig->err), 0);
    /* Other bytes for another encoder; they are never read. */
    assert_int_equal(store_writer_write(writer, encoding, strlen(encoding), &rig->err), 0);
    store_writer_sha256(writer, encoder.sha256);
    assert_int_equal(store_writer_commit(writer, &rig->err), 0);
    assert_int_equal(db_encoder_insert(rig->db, rig->data->store, &encoder, &existed, &rig->err),
                     0);
    store_writer_destroy(writer);
    snprintf(rig->encoder, sizeof(rig->encoder), "%s", encoder.id);
}

void rig_fill(struct rig *rig)
{
    char body[1000];
    size_t size;
    assert_int_equal(rig_send(rig, "POST", "{\"name\":\"p\"}", "/v1/projects"), 201);
    snprintf(rig->project, sizeof(rig->project), "%s", rig_text(rig, "/id"));
    void *png = rig_png(40, 30, 1, &size);
    assert_int_equal(
        rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images?name=a.png", rig->project),
        201);
    free(png);
    snprintf(rig->image, sizeof(rig->image), "%s", rig_text(rig, "/id"));
    snprintf(body, sizeof(body),
             "{\"name\":\"s\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
             "{\"name\":\"film\",\"color\":\"#0a0b0c\",\"examples\":[{\"image_id\":\"%s\","
             "\"x\":0,\"y\":0}]},"
             "{\"name\":\"a/b, \\\"c\\\"\",\"examples\":[{\"image_id\":\"%s\",\"x\":32,"
             "\"y\":22}]}]}",
             rig->image, rig->image);
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects/%s/support-sets", rig->project),
                     201);
    snprintf(rig->set, sizeof(rig->set), "%s", rig_text(rig, "/id"));
    rig_add_encoder(rig, "chips");
}

static void add_job(struct rig *rig, const char *image, char id[DB_ID_SIZE])
{
    char body[300];
    snprintf(body, sizeof(body), "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\"]}", rig->set,
             image);
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects/%s/jobs", rig->project), 202);
    snprintf(id, DB_ID_SIZE, "%s", rig_text(rig, "/id"));
}

void rig_add_job(struct rig *rig, char id[DB_ID_SIZE])
{
    add_job(rig, rig->image, id);
}

/* Stores a result of rows x columns chips for a claimed job's first image. */
static void store_result(struct rig *rig, const struct db_job *job, const struct db_lease *lease,
                         uint32_t rows, uint32_t columns, uint32_t stride)
{
    static const char *const names[] = {
        STATISTIC_CHIPS,     STATISTIC_AREA_FRACTION, STATISTIC_MEAN_PROBABILITY,
        STATISTIC_REGIONS_4, STATISTIC_REGIONS_8,     STATISTIC_MEAN_REGION_CHIPS};
    const uint32_t n = rows * columns, n_first = (n + 1) / 2;
    uint16_t *labels = calloc(n, sizeof(*labels));
    float *probabilities = calloc((size_t)2 * n, sizeof(*probabilities));
    float *distances = calloc(n, sizeof(*distances));
    const double values[2][6] = {
        {n_first, (double)n_first / n, 0.75, n_first, 1, n_first},
        {n - n_first, (double)(n - n_first) / n, 0.75, n - n_first, 1, n - n_first}};
    struct db_quantity quantities[12];
    assert_true(labels != NULL && probabilities != NULL && distances != NULL);
    for (int i = 0; i < 12; i++) {
        quantities[i] = (struct db_quantity){
            .class_index = i / 6, .value = values[i / 6][i % 6], .low = NAN, .high = NAN};
        snprintf(quantities[i].name, sizeof(quantities[i].name), "%s", names[i % 6]);
    }
    for (uint32_t i = 0; i < n; i++) {
        labels[i] = rig->labels != NULL ? rig->labels[i] : (uint16_t)(i % 2);
        probabilities[2 * i] = i % 2 == 0 ? 0.75F : 0.25F;
        probabilities[2 * i + 1] = 1 - probabilities[2 * i];
        distances[i] = (float)i;
    }
    struct db_result result = {.rows = rows,
                               .columns = columns,
                               .chip_width = 8,
                               .chip_height = 8,
                               .stride_x = stride,
                               .stride_y = stride,
                               .edge = "drop",
                               .n_classes = 2,
                               .temperature = 0.5,
                               .quantities = quantities,
                               .n_quantities = 12,
                               .labels = labels,
                               .probabilities = probabilities,
                               .distances = distances,
                               .raw_labels = (uint16_t *)rig->raw_labels,
                               .suggestions = rig->suggestions};
    snprintf(result.job_id, sizeof(result.job_id), "%s", job->id);
    snprintf(result.image_id, sizeof(result.image_id), "%s", job->image_ids[0]);
    assert_int_equal(db_result_insert(rig->db, &result, lease, n, &rig->err), 0);
    free(labels);
    free(probabilities);
    free(distances);
}

void rig_finish_job(struct rig *rig, enum db_job_state state)
{
    struct db_job job;
    struct db_lease lease;
    assert_int_equal(db_job_claim(rig->db, "rig", 10000, &job, &lease, &rig->err), 0);
    store_result(rig, &job, &lease, 3, 5, 8);
    bool failed = state == DB_JOB_FAILED;
    if (state != DB_JOB_RUNNING)
        assert_int_equal(db_job_finish(rig->db, &lease, state, failed ? "corrupt" : NULL,
                                       failed ? "it broke" : NULL, &rig->err),
                         0);
    db_job_clear(&job);
}

void rig_add_large_result(struct rig *rig, uint32_t width, uint32_t height, char id[DB_ID_SIZE],
                          char image[DB_ID_SIZE])
{
    struct db_job job;
    struct db_lease lease;
    size_t size;
    void *png = rig_png(width, height, 2, &size);
    assert_int_equal(rig_upload(rig, "image/png", png, size,
                                "/v1/projects/%s/images?name=large.png", rig->project),
                     201);
    free(png);
    snprintf(image, DB_ID_SIZE, "%s", rig_text(rig, "/id"));
    add_job(rig, image, id);
    assert_int_equal(db_job_claim(rig->db, "rig", 10000, &job, &lease, &rig->err), 0);
    store_result(rig, &job, &lease, height - 7, width - 7, 1);
    assert_int_equal(db_job_finish(rig->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &rig->err), 0);
    db_job_clear(&job);
}
