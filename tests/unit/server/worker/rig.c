#include "tests/unit/server/worker/rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/job/job_params.h"
#include "engine/image/png_write.h"
#include "engine/random.h"
#include "server/cli/assets.h"

enum { N_THREADS = 2 };

static void fail_with(const struct rig *rig, const char *what)
{
    fail_msg("%s: %s", what, rig->err.message);
}

static void join(struct rig *rig, const char *directory, uint64_t cache_size, uint32_t n_threads)
{
    *rig = (struct rig){.limits = api_limits_default, .log = {.fd = -1}, .log_fd = -1};
    snprintf(rig->directory, sizeof(rig->directory), "%s", directory);
    const struct service_config config = {.directory = rig->directory,
                                          .cache_max_size = cache_size,
                                          .n_threads = n_threads,
                                          .max_idle_encoders = 1,
                                          .limits = &rig->limits};
    struct error *err = &rig->err;
    if (service_open(&rig->service, &config, err) < 0 ||
        encoder_store_register_default(rig->service.db, rig->service.data->store, asset_encoder,
                                       (size_t)(asset_encoder_end - asset_encoder), err) < 0)
        fail_with(rig, "opening a rig");
    rig->db = rig->service.db;
    rig->store = rig->service.data->store;
    rig->cache = rig->service.data->cache;
    rig->pool = rig->service.pool;
    rig->encoders = rig->service.encoders;
    rig->metrics = rig->service.metrics;
    rig->waits = rig->service.waits;
}

void rig_join(struct rig *rig, const char *directory, uint64_t cache_size)
{
    join(rig, directory, cache_size, N_THREADS);
}

void rig_open(struct rig *rig, uint64_t cache_size)
{
    rig_open_threads(rig, cache_size, N_THREADS);
}

void rig_open_threads(struct rig *rig, uint64_t cache_size, uint32_t n_threads)
{
    char directory[sizeof(rig->directory)];
    fixture_directory(directory);
    join(rig, directory, cache_size, n_threads);
    struct error *err = &rig->err;
    struct db_project project = {.name = (char *)"rig"};
    assert_ok(db_project_insert(rig->db, &project, err));
    memcpy(rig->project_id, project.id, DB_ID_SIZE);
    struct db_encoder encoder = {0};
    assert_ok(db_encoder_get_default(rig->db, &encoder, err));
    memcpy(rig->encoder_id, encoder.id, DB_ID_SIZE);
    db_encoder_clear(&encoder);
}

void rig_close(struct rig *rig)
{
    if (rig->worker != NULL)
        rig_stop(rig, 0);
    if (rig->log_fd >= 0) {
        close(rig->log_fd);
        close(rig->log.fd);
    }
    service_close(&rig->service);
    fixture_remove_directory(rig->directory);
}

int rig_set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig_open(rig, RIG_CACHE_SIZE);
    *state = rig;
    return 0;
}

int rig_tear_down(void **state)
{
    struct rig *rig = *state;
    rig_close(rig);
    free(rig);
    return 0;
}

void rig_start(struct rig *rig, uint32_t n_drivers)
{
    const struct service_work work = {.max_running_jobs = n_drivers,
                                      .log = rig->log_fd >= 0 ? &rig->log : NULL,
                                      .lease_ms = rig->lease_ms,
                                      .retry = rig->retry,
                                      .small_size = rig->small_size,
                                      .max_maps_size = rig->max_maps_size,
                                      .max_result_size = rig->max_result_size};
    if (service_start(&rig->service, &work, &rig->err) < 0)
        fail_with(rig, "service_start");
    rig->worker = rig->service.worker;
}

void rig_stop(struct rig *rig, uint32_t drain_ms)
{
    service_stop(&rig->service, drain_ms);
    rig->worker = NULL;
}

void rig_capture_log(struct rig *rig)
{
    int ends[2];
    assert_ok(pipe2(ends, O_CLOEXEC));
    rig->log_fd = ends[0];
    rig->log = (struct log){.fd = ends[1], .level = LOG_LEVEL_INFO};
}

void rig_wait_log(struct rig *rig, const char *mark)
{
    char line[LOG_LINE_SIZE + 1];
    for (size_t n = 0;;) {
        struct pollfd waiting = {.fd = rig->log_fd, .events = POLLIN};
        if (poll(&waiting, 1, RIG_PATIENCE_MS) != 1)
            fail_msg("the log never said '%s'", mark);
        assert_int_equal(read(rig->log_fd, &line[n], 1), 1);
        if (line[n++] != '\n' && n < LOG_LINE_SIZE)
            continue;
        line[n] = '\0';
        if (strstr(line, mark) != NULL)
            return;
        n = 0;
    }
}

/* ---- images ---- */

void rig_add_file(struct rig *rig, const void *data, size_t size, uint32_t width, uint32_t height,
                  char id[DB_ID_SIZE])
{
    struct db_image image = {.format = "png",
                             .conversion = "none",
                             .width = width,
                             .height = height,
                             .bit_depth = 16,
                             .n_channels = 1,
                             .byte_size = size};
    struct store_writer *writer = NULL;
    bool existed = false;
    memcpy(image.project_id, rig->project_id, DB_ID_SIZE);
    image.name = strdup("image.png");
    assert_ok(store_writer_create(&writer, rig->store, &rig->err));
    assert_ok(store_writer_write(writer, data, size, &rig->err));
    store_writer_sha256(writer, image.sha256);
    assert_ok(store_writer_commit(writer, &rig->err));
    assert_ok(db_image_insert(rig->db, rig->store, &image, &existed, &rig->err));
    store_writer_destroy(writer);
    memcpy(id, image.id, DB_ID_SIZE);
    db_image_clear(&image);
}

void rig_add_image(struct rig *rig, uint64_t seed, uint32_t split, char id[DB_ID_SIZE])
{
    static uint16_t pixels[RIG_HEIGHT * RIG_WIDTH];
    struct random random;
    struct png_bytes png = {0};
    random_seed(&random, seed, 0);
    for (uint32_t y = 0; y < RIG_HEIGHT; y++) {
        for (uint32_t x = 0; x < RIG_WIDTH; x++) {
            uint32_t noise = random_below(&random, 8000);
            uint32_t stripe = x >= split && x / 2 % 2 == 0 ? 40000 : 0;
            pixels[y * RIG_WIDTH + x] = (uint16_t)(10000 + noise + stripe);
        }
    }
    assert_ok(png_write_grey16(pixels, RIG_WIDTH, RIG_HEIGHT, 0, &png, &rig->err));
    rig_add_file(rig, png.data, png.size, RIG_WIDTH, RIG_HEIGHT, id);
    png_bytes_clear(&png);
}

void rig_image_path(struct rig *rig, const char *image_id, char *path, size_t size)
{
    struct db_image image = {0};
    assert_ok(db_image_get(rig->db, image_id, &image, &rig->err));
    snprintf(path, size, "%s/blobs/%.2s/%s", rig->directory, image.sha256, image.sha256);
    assert_ok(access(path, F_OK));
    db_image_clear(&image);
}

/* ---- support sets ---- */

void rig_add_set(struct rig *rig, const struct rig_example *examples, size_t n, char id[DB_ID_SIZE])
{
    enum { MAX = 64 };
    struct db_example lists[2][MAX] = {{{{0}, 0, 0}}};
    struct db_class classes[2] = {
        {.name = (char *)"noise", .examples = lists[0]},
        {.name = (char *)"stripes", .examples = lists[1]},
    };
    struct db_support_set set = {.name = (char *)"set",
                                 .chip_width = RIG_CHIP,
                                 .chip_height = RIG_CHIP,
                                 .classes = classes,
                                 .n_classes = 2};
    memcpy(set.project_id, rig->project_id, DB_ID_SIZE);
    for (size_t i = 0; i < n; i++) {
        struct db_class *class = &classes[examples[i].class_index];
        assert_true(class->n_examples < MAX);
        struct db_example *example = &class->examples[class->n_examples++];
        memcpy(example->image_id, examples[i].image_id, DB_ID_SIZE);
        example->x = examples[i].x;
        example->y = examples[i].y;
    }
    if (db_support_set_insert(rig->db, &set, &rig->err) < 0)
        fail_with(rig, "a support set");
    memcpy(id, set.id, DB_ID_SIZE);
}

void rig_add_plain_set(struct rig *rig, const char *image_id, char id[DB_ID_SIZE])
{
    struct rig_example examples[6];
    for (uint32_t i = 0; i < 6; i++)
        examples[i] = (struct rig_example){i % 2, image_id, i % 2 == 0 ? RIG_CHIP : 6 * RIG_CHIP,
                                           i * RIG_CHIP};
    rig_add_set(rig, examples, 6, id);
}

/* ---- jobs ---- */

void rig_insert_params(struct rig *rig, const char *set_id, const char (*images)[DB_ID_SIZE],
                       size_t n, const char *params, uint64_t n_chips, char id[DB_ID_SIZE])
{
    struct db_job job = {.support_set_version = 1,
                         .params = (char *)params,
                         .image_ids = (char(*)[DB_ID_SIZE])images,
                         .n_images = n,
                         .n_chips_total = n_chips};
    memcpy(job.project_id, rig->project_id, DB_ID_SIZE);
    memcpy(job.support_set_id, set_id, DB_ID_SIZE);
    memcpy(job.encoder_id, rig->encoder_id, DB_ID_SIZE);
    if (db_job_insert(rig->db, &job, 10000, NULL, NULL, &rig->err) < 0)
        fail_with(rig, "a job");
    memcpy(id, job.id, DB_ID_SIZE);
}

void rig_insert(struct rig *rig, const char *set_id, const char (*images)[DB_ID_SIZE], size_t n,
                uint32_t stride, char id[DB_ID_SIZE])
{
    const struct job_params params = {
        .grid = {.chip_width = RIG_CHIP,
                 .chip_height = RIG_CHIP,
                 .stride_x = stride,
                 .stride_y = stride},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
        /* A large job must outlast what a test does meanwhile, a few commits to a slow disk. */
        .input_sizes = {.n = 1, .sides = {stride == 1 ? 112 : 48}},
    };
    char *text = job_params_to_text(&params);
    assert_non_null(text);
    uint64_t columns = (RIG_WIDTH - RIG_CHIP) / stride + 1;
    uint64_t rows = (RIG_HEIGHT - RIG_CHIP) / stride + 1;
    rig_insert_params(rig, set_id, images, n, text, n * rows * columns, id);
    free(text);
}

void rig_submit(struct rig *rig, const char *set_id, const char (*images)[DB_ID_SIZE], size_t n,
                uint32_t stride, char id[DB_ID_SIZE])
{
    rig_insert(rig, set_id, images, n, stride, id);
    service_job_changed(&rig->service, id);
}

void rig_get(struct rig *rig, const char *job_id, struct db_job *out)
{
    if (db_job_get(rig->db, job_id, out, &rig->err) < 0)
        fail_with(rig, "reading a job");
}

void rig_wait(struct rig *rig, const char *job_id, enum db_job_state state)
{
    struct db_job job = {0};
    if (service_wait_for_job(&rig->service, job_id, RIG_PATIENCE_MS) != JOB_WAIT_DONE)
        fail_msg("the job does not end");
    rig_get(rig, job_id, &job);
    if (job.state != state)
        fail_msg("the job ended as %s, not %s: %s", db_job_state_name(job.state),
                 db_job_state_name(state), job.error_message != NULL ? job.error_message : "");
    db_job_clear(&job);
}

struct condition {
    struct rig *rig;
    bool (*reached)(const struct db_job *job);
};

static bool is_reached(void *context, const char *job_id)
{
    struct condition *condition = context;
    struct db_job job = {0};
    rig_get(condition->rig, job_id, &job);
    bool reached = condition->reached(&job);
    if (!reached && db_job_state_is_final(job.state))
        fail_msg("the job ended as %s before that", db_job_state_name(job.state));
    db_job_clear(&job);
    return reached;
}

void rig_wait_until(struct rig *rig, const char *job_id, bool (*reached)(const struct db_job *job))
{
    enum { LOOK_MS = 2 };
    struct condition condition = {rig, reached};
    for (int i = 0; i < RIG_PATIENCE_MS / LOOK_MS; i++) {
        if (job_waits_for(rig->waits, job_id, LOOK_MS, is_reached, &condition) == JOB_WAIT_DONE)
            return;
    }
    fail_msg("the job never comes so far");
}

bool rig_is_running(const struct db_job *job)
{
    return job->state == DB_JOB_RUNNING;
}

/* ---- results ---- */

void rig_result(struct rig *rig, const char *job_id, const char *image_id, struct db_result *out)
{
    if (db_result_get(rig->db, job_id, image_id, DB_RESULT_WITH_MAPS, out, &rig->err) < 0)
        fail_with(rig, "a result");
}

double rig_statistic(const struct db_result *result, int32_t class_index, const char *name)
{
    for (size_t i = 0; i < result->n_quantities; i++) {
        const struct db_quantity *quantity = &result->quantities[i];
        if (quantity->class_index == class_index && strcmp(quantity->name, name) == 0)
            return quantity->value;
    }
    fail_msg("no %s of class %d", name, (int)class_index);
    return 0;
}

double rig_accuracy(const struct db_result *result, uint32_t split)
{
    uint32_t n = 0, right = 0;
    for (uint32_t i = 0; i < result->rows * result->columns; i++) {
        uint32_t x = i % result->columns * result->stride_x;
        if (x < split && x + result->chip_width > split)
            continue;
        n++;
        right += result->labels[i] == (x >= split ? 1 : 0);
    }
    assert_true(n > 0);
    return (double)right / n;
}

void rig_assert_same(const struct db_result *a, const struct db_result *b)
{
    size_t n = (size_t)a->rows * a->columns;
    assert_int_equal(b->rows, a->rows);
    assert_int_equal(b->columns, a->columns);
    assert_int_equal(b->n_classes, a->n_classes);
    assert_memory_equal(a->labels, b->labels, n * sizeof(a->labels[0]));
    assert_memory_equal(a->probabilities, b->probabilities, n * a->n_classes * sizeof(float));
    assert_memory_equal(a->distances, b->distances, n * sizeof(float));
}

double rig_metric(struct rig *rig, const char *series)
{
    char *text = metrics_render(rig->metrics);
    assert_non_null(text);
    double value = -1;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        size_t length = strlen(series);
        if (strncmp(line, series, length) == 0 && line[length] == ' ')
            value = strtod(line + length, NULL);
    }
    free(text);
    if (value < 0)
        fail_msg("no series '%s'", series);
    return value;
}

uint64_t rig_run_several(uint64_t cache_size, uint64_t small_size, uint32_t stride,
                         struct db_result out[4])
{
    struct rig rig;
    char images[4][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_open(&rig, cache_size);
    for (uint64_t i = 0; i < 4; i++)
        rig_add_image(&rig, i + 1, RIG_WIDTH / 2, images[i]);
    const struct rig_example examples[] = {
        {0, images[2], 0, 0},   {1, images[2], 6 * RIG_CHIP, 0},
        {0, images[1], 16, 32}, {1, images[1], 6 * RIG_CHIP, 32},
        {0, images[2], 3, 5},   {1, images[3], 81, 33},
    };
    rig_add_set(&rig, examples, 6, set);
    rig.small_size = small_size;
    rig_start(&rig, 1);
    rig_submit(&rig, set, (const char(*)[DB_ID_SIZE])images, 4, stride, id);
    rig_wait(&rig, id, DB_JOB_SUCCEEDED);
    struct db_job job = {0};
    rig_get(&rig, id, &job);
    const uint64_t n_chips = job.n_chips_done;
    db_job_clear(&job);
    for (size_t i = 0; i < 4; i++)
        rig_result(&rig, id, images[i], &out[i]);
    rig_close(&rig);
    return n_chips;
}

off_t rig_largest_cached(const struct rig *rig, char path[RIG_PATH])
{
    off_t largest = 0;
    for (int i = 0; i < 256; i++) {
        char folder[700];
        snprintf(folder, sizeof(folder), "%s/cache/%02x", rig->directory, i);
        DIR *directory = opendir(folder);
        const struct dirent *e = directory != NULL ? readdir(directory) : NULL;
        for (; e != NULL; e = readdir(directory)) {
            char name[RIG_PATH];
            struct stat status;
            snprintf(name, sizeof(name), "%s/%.100s", folder, e->d_name);
            if (e->d_name[0] != '.' && stat(name, &status) == 0 && status.st_size > largest) {
                largest = status.st_size;
                snprintf(path, RIG_PATH, "%s", name);
            }
        }
        if (directory != NULL)
            closedir(directory);
    }
    return largest;
}
