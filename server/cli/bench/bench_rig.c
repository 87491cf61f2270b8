/* Images and pictures go through the API, as a client's do. Support sets and jobs are rows written
 * here; a job's normalisation can differ from others' in digits that change no pixel, so that it
 * finds nothing in the cache.
 */
#include "server/cli/bench/bench_rig.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/job/job_params.h"
#include "base/clock.h"
#include "db/encoders.h"
#include "db/jobs.h"
#include "db/projects.h"
#include "db/support_sets.h"
#include "engine/encoder/encoder.h"
#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/unknown.h"

enum { IDLE_ENCODERS = 1, CLASS_NAME_SIZE = 24, NO_TIMEOUT_MS = INT32_MAX };

static const uint64_t cache_max_size = UINT64_C(1) << 40;

/* ---- opening and closing ---- */

static int make_directory(struct bench_rig *rig, struct error *err)
{
    const char *parent = getenv("TMPDIR");
    int n = snprintf(rig->directory, sizeof(rig->directory), "%s/chipshot-bench-XXXXXX",
                     parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    if (n < 0 || (size_t)n >= sizeof(rig->directory) || mkdtemp(rig->directory) == NULL) {
        int rc = error_set_errno(err, errno, "a directory for the benchmark");
        rig->directory[0] = '\0';
        return rc;
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

static int add_project_and_encoder(struct bench_rig *rig, const void *weights, size_t size,
                                   enum encoding encoding, struct error *err)
{
    struct db_project project = {.name = (char *)"bench", .created_by = PRINCIPAL_COMMAND_LINE};
    struct db_encoder encoder = {0};
    int rc = db_project_insert(rig->service.db, &project, err);
    if (rc == 0)
        rc = encoder_store_register_default(rig->service.db, rig->service.data->store, weights,
                                            size, err);
    if (rc == 0)
        rc = db_encoder_get_default(rig->service.db, &encoder, err);
    if (rc < 0)
        return rc;
    memcpy(rig->project_id, project.id, sizeof(rig->project_id));
    memcpy(rig->encoder_id, encoder.id, sizeof(rig->encoder_id));
    db_encoder_clear(&encoder);
    const double start = clock_now_seconds();
    rc = encoder_store_acquire(rig->service.encoders, rig->encoder_id, NULL, encoding,
                               PRECISION_FLOAT32, NULL, &rig->encoder, err);
    rig->encoder_seconds = clock_now_seconds() - start;
    return rc;
}

int bench_rig_open(struct bench_rig *rig, const void *weights, size_t weights_size,
                   uint32_t n_threads, enum encoding encoding, struct error *err)
{
    *rig = (struct bench_rig){.limits = api_limits_default, .weights_size = weights_size};
    const struct service_config config = {.directory = rig->directory,
                                          .cache_max_size = cache_max_size,
                                          .n_threads = n_threads,
                                          .max_idle_encoders = IDLE_ENCODERS,
                                          .limits = &rig->limits};
    const struct service_work work = {.max_running_jobs = 1, .times = &rig->times};
    int rc = make_directory(rig, err);
    if (rc == 0)
        rc = service_open(&rig->service, &config, err);
    if (rc == 0)
        rc = add_project_and_encoder(rig, weights, weights_size, encoding, err);
    if (rc == 0)
        rc = service_start(&rig->service, &work, err);
    return rc;
}

void bench_rig_close(struct bench_rig *rig)
{
    service_stop(&rig->service, 0);
    encoder_store_release(rig->service.encoders, rig->encoder);
    service_close(&rig->service);
    if (rig->directory[0] != '\0')
        nftw(rig->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- inputs ---- */

/* A request as it is handled in a server, but for HTTP. The answer is to be cleared. */
static void ask(struct bench_rig *rig, const struct api_request *request,
                struct api_response *response)
{
    struct api_plan plan;
    api_response_init(response);
    if (api_begin(rig->service.api, request, &plan, response))
        api_handle(rig->service.api, request, NULL, response);
}

static int upload(struct bench_rig *rig, struct store_writer *writer, struct bench_image *out,
                  struct error *err)
{
    char target[64 + DB_ID_SIZE];
    const struct api_header type = {"Content-Type", "image/png"};
    const struct api_request request = {.method = "POST",
                                        .target = target,
                                        .headers = &type,
                                        .n_headers = 1,
                                        .upload = writer,
                                        .request_id = "bench",
                                        .principal = {.id = PRINCIPAL_COMMAND_LINE}};
    struct api_response response;
    const char *id = NULL;
    int width = 0, height = 0, rc = 0;
    snprintf(target, sizeof(target), "/v1/projects/%s/images?name=image.png", rig->project_id);
    ask(rig, &request, &response);
    json_t *image = json_loadb(response.body, response.body_size, 0, NULL);
    if (response.error_code != 0)
        rc = error_set(err, response.error_code, "%s", response.error_message);
    else if (json_unpack(image, "{s:s, s:i, s:i}", "id", &id, "width", &width, "height", &height))
        rc = error_set(err, ERROR_INVALID, "the upload was answered with %d", response.status);
    if (rc == 0) {
        *out = (struct bench_image){.width = (uint32_t)width, .height = (uint32_t)height};
        snprintf(out->id, sizeof(out->id), "%s", id);
    }
    json_decref(image);
    api_response_clear(&response);
    return rc;
}

int bench_rig_add_image(struct bench_rig *rig, const void *data, size_t size,
                        struct bench_image *out, struct error *err)
{
    struct store_writer *writer = NULL;
    int rc = store_writer_create(&writer, rig->service.data->store, err);
    if (rc == 0)
        rc = store_writer_write(writer, data, size, err);
    if (rc == 0)
        rc = upload(rig, writer, out, err);
    store_writer_destroy(writer);
    return rc;
}

/* The examples of the set, class by class, in the database's form. */
static void fill_classes(const struct bench_image *image, const struct bench_support *support,
                         enum bench_set which, struct db_class *classes,
                         struct db_example *examples)
{
    for (uint32_t i = 0; i < support->n_examples; i++) {
        const struct bench_example *from = &support->examples[i];
        struct db_class *class = &classes[from->class_index];
        if (class->examples == NULL)
            class->examples = &examples[i];
        struct db_example *example = &class->examples[class->n_examples++];
        memcpy(example->image_id, image->id, sizeof(example->image_id));
        example->x = from->x;
        example->y = from->y;
    }
    if (which == BENCH_SET_AS_GIVEN)
        return;
    for (uint32_t c = 0; c < support->n_classes; c++)
        classes[c].n_examples -= classes[c].n_examples > UNKNOWN_EXAMPLES_MIN ? 1 : 0;
    for (uint32_t c = 0; c < support->n_classes / 2; c++) {
        struct db_class swapped = classes[c];
        classes[c] = classes[support->n_classes - 1 - c];
        classes[support->n_classes - 1 - c] = swapped;
    }
}

int bench_rig_add_support(struct bench_rig *rig, const struct bench_image *image,
                          const struct bench_support *support, enum bench_set which,
                          char id[DB_ID_SIZE], struct error *err)
{
    struct db_class classes[CLASSIFIER_CLASSES_MAX] = {{0}};
    char names[CLASSIFIER_CLASSES_MAX][CLASS_NAME_SIZE];
    struct db_example *examples = calloc(support->n_examples, sizeof(examples[0]));
    if (examples == NULL)
        return error_set_nomem(err, "a support set");
    for (uint32_t c = 0; c < support->n_classes; c++) {
        snprintf(names[c], sizeof(names[c]), "class %" PRIu32, c);
        classes[c].name = names[c];
    }
    fill_classes(image, support, which, classes, examples);
    struct db_support_set set = {.name = (char *)"bench",
                                 .chip_width = support->chip_width,
                                 .chip_height = support->chip_height,
                                 .classes = classes,
                                 .n_classes = support->n_classes,
                                 .created_by = PRINCIPAL_COMMAND_LINE};
    memcpy(set.project_id, rig->project_id, sizeof(set.project_id));
    int rc = db_support_set_insert(rig->service.db, &set, err);
    if (rc == 0)
        memcpy(id, set.id, DB_ID_SIZE);
    free(examples);
    return rc;
}

/* ---- jobs ---- */

static int plan(const struct bench_rig *rig, const struct bench_image *image,
                const struct bench_support *support, uint32_t variant, struct job_params *out,
                uint64_t *n_chips, struct error *err)
{
    struct grid grid;
    struct error inner = {0};
    *out = (struct job_params){
        .grid = {.chip_width = support->chip_width,
                 .chip_height = support->chip_height,
                 .stride_x = rig->stride,
                 .stride_y = rig->stride},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
        .input_sizes = *embedder_input_sizes(rig->encoder->embedder),
        .encoding = embedder_encoding(rig->encoder->embedder),
        .borders = BORDERS_ASSIGN, /* as a request that says nothing */
    };
    if (rig->every_step) {
        out->classifier.head = &head_ridge;
        out->smoothing = SMOOTHING_ON;
        out->unknown = true;
    }
    out->normalise.low += variant * 1e-9;
    int rc = grid_plan(&out->grid, image->width, image->height, rig->limits.max_chips_per_image,
                       &grid, err);
    if (rc == 0) {
        out->grid = grid.params;
        *n_chips = grid_n_chips(&grid);
        rc = encoding_check_stride(out->encoding, &out->grid, out->input_sizes.sides[0], &inner);
        if (rc < 0)
            error_set(err, rc, "stride: %.300s", inner.message);
    }
    return rc;
}

static int check_end(struct bench_rig *rig, const char *job_id, struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_get(rig->service.db, job_id, &job, err);
    if (rc == 0 && job.state != DB_JOB_SUCCEEDED)
        rc = error_set(err, ERROR_INVALID, "the job ended as %s: %.400s",
                       db_job_state_name(job.state),
                       job.error_message != NULL ? job.error_message : "");
    db_job_clear(&job);
    return rc;
}

int bench_rig_run(struct bench_rig *rig, const struct bench_image *image,
                  const struct bench_support *support, const char *support_id, uint32_t variant,
                  struct bench_run *out, struct error *err)
{
    struct job_params params;
    struct db_job job = {
        .support_set_version = 1, .n_images = 1, .created_by = PRINCIPAL_COMMAND_LINE};
    int rc = plan(rig, image, support, variant, &params, &job.n_chips_total, err);
    if (rc < 0)
        return rc;
    char image_ids[1][DB_ID_SIZE];
    memcpy(image_ids[0], image->id, sizeof(image_ids[0]));
    job.image_ids = image_ids;
    memcpy(job.project_id, rig->project_id, sizeof(job.project_id));
    memcpy(job.encoder_id, rig->encoder_id, sizeof(job.encoder_id));
    memcpy(job.support_set_id, support_id, sizeof(job.support_set_id));
    job.params = job_params_to_text(&params);
    if (job.params == NULL)
        return error_set_nomem(err, "a job");
    rc = db_job_insert(rig->service.db, &job, 1, NULL, NULL, err);
    free(job.params);
    if (rc < 0)
        return rc;
    const double start = clock_now_seconds();
    service_job_changed(&rig->service, job.id);
    service_wait_for_job(&rig->service, job.id, NO_TIMEOUT_MS);
    const double end = clock_now_seconds();
    /* A driver that has just ended a job claims the next without being told: it may have begun. */
    const double queued = fmin(start, rig->times.began);
    *out = (struct bench_run){
        .seconds = end - queued,
        .start_seconds = rig->times.began - queued,
        .first_batch_seconds = rig->times.first_batch > 0 ? rig->times.first_batch - queued : 0,
        .n_chips = job.n_chips_total,
    };
    memcpy(out->parts, rig->times.seconds, sizeof(out->parts));
    memcpy(out->job_id, job.id, sizeof(out->job_id));
    return check_end(rig, job.id, err);
}

static int get(struct bench_rig *rig, const char *target, struct error *err)
{
    const struct api_request request = {.method = "GET",
                                        .target = target,
                                        .request_id = "bench",
                                        .principal = {.id = PRINCIPAL_COMMAND_LINE}};
    struct api_response response;
    ask(rig, &request, &response);
    int rc = response.status == 200
                 ? 0
                 : error_set(err, ERROR_INVALID, "%s: status %d", target, response.status);
    api_response_clear(&response);
    return rc;
}

int bench_rig_render(struct bench_rig *rig, const struct bench_image *image,
                     const struct bench_run *run, double *seconds, struct error *err)
{
    static const char *const maps[] = {"labels.png", "overlay.png"};
    int rc = 0;
    const double start = clock_now_seconds();
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]) && rc == 0; i++) {
        char target[256];
        snprintf(target, sizeof(target), "/v1/jobs/%s/results/%s/%s", run->job_id, image->id,
                 maps[i]);
        rc = get(rig, target, err);
    }
    *seconds = clock_now_seconds() - start;
    return rc;
}
