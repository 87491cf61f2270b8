#include "tests/unit/server/rig.h"

#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/image/png_write.h"

static const uint32_t middle = RIG_WIDTH / 2;

static const char encoded[] = "chipshot_chips_encoded_total";

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig_open(rig, RIG_CACHE_SIZE);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    rig_close(rig);
    free(rig);
    return 0;
}

/* `codes` holds the job's error code, or several of which it is one. */
static void assert_job_fails(struct rig *rig, const char *job_id, const char *codes,
                             const char *message)
{
    struct db_job job = {0};
    rig_wait(rig, job_id, DB_JOB_FAILED);
    rig_get(rig, job_id, &job);
    if (strstr(codes, job.error_code) == NULL)
        fail_msg("the error's code is %s and not %s: %s", job.error_code, codes, job.error_message);
    if (strstr(job.error_message, message) == NULL)
        fail_msg("'%s' lacks '%s'", job.error_message, message);
    db_job_clear(&job);
}

/* ---- results ---- */

static void a_job_stores_right_labels(void **state)
{
    struct rig *rig = *state;
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    const uint32_t splits[2] = {middle, 2 * RIG_CHIP};
    rig_add_image(rig, 1, splits[0], images[0]);
    rig_add_image(rig, 2, splits[1], images[1]);
    rig_add_plain_set(rig, images[0], set);
    rig_start(rig, 1);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 2, RIG_CHIP, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    for (int i = 0; i < 2; i++) {
        struct db_result result = {0};
        rig_result(rig, id, images[i], &result);
        assert_int_equal(result.rows * result.columns, RIG_CHIPS);
        assert_true(rig_accuracy(&result, splits[i]) == 1);
        assert_int_equal(result.classes[0].n_chips, 6 * splits[i] / RIG_CHIP);
        assert_int_equal(result.classes[0].n_chips + result.classes[1].n_chips, RIG_CHIPS);
        db_result_clear(&result);
    }
    struct db_job job = {0};
    rig_get(rig, id, &job);
    assert_int_equal(job.n_chips_done, 2 * RIG_CHIPS);
    db_job_clear(&job);
    assert_true(rig_metric(rig, "chipshot_jobs_total{state=\"succeeded\"}") == 1);
}

/* Runs a job over `image` and returns its accuracy. */
static double run_with(struct rig *rig, const struct rig_example *examples, size_t n,
                       const char *image, uint32_t stride)
{
    char set[DB_ID_SIZE], id[DB_ID_SIZE], images[1][DB_ID_SIZE];
    struct db_result result = {0};
    memcpy(images[0], image, DB_ID_SIZE);
    rig_add_set(rig, examples, n, set);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, stride, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_result(rig, id, image, &result);
    double accuracy = rig_accuracy(&result, middle);
    db_result_clear(&result);
    return accuracy;
}

static void examples_may_lie_anywhere(void **state)
{
    struct rig *rig = *state;
    char a[DB_ID_SIZE], b[DB_ID_SIZE], c[DB_ID_SIZE];
    rig_add_image(rig, 1, middle, a);
    rig_add_image(rig, 2, middle, b);
    rig_add_image(rig, 3, middle, c);
    rig_start(rig, 1);
    const struct rig_example one_a_class[] = {{0, a, 16, 16}, {1, a, 96, 16}};
    const struct rig_example off_grid[] = {
        {0, a, 3, 5}, {0, a, 21, 30}, {1, a, 70, 7}, {1, a, 111, 80}};
    const struct rig_example of_another[] = {
        {0, b, 16, 16}, {0, b, 7, 7}, {1, b, 96, 16}, {1, b, 90, 9}};
    const struct rig_example of_several[] = {{1, c, 96, 16}, {0, b, 16, 16}, {0, a, 9, 9},
                                             {1, a, 96, 32}, {0, c, 0, 0},   {1, b, 99, 1}};
    assert_true(run_with(rig, one_a_class, 2, a, RIG_CHIP) == 1);
    assert_true(run_with(rig, off_grid, 4, a, RIG_CHIP) == 1);
    assert_true(run_with(rig, of_another, 4, a, RIG_CHIP) == 1);
    assert_true(run_with(rig, of_several, 6, a, RIG_CHIP) == 1);
    /* The grid's chips of each image that was classified, and the eight windows beside them. */
    assert_true(rig_metric(rig, encoded) == RIG_CHIPS + 4 + 4 + 4);
}

/* A support set's order is the order of its classes, whatever the order of the images' ids. */
static void swapping_classes_swaps_labels(void **state)
{
    struct rig *rig = *state;
    char a[1][DB_ID_SIZE], b[DB_ID_SIZE], sets[2][DB_ID_SIZE], ids[2][DB_ID_SIZE];
    struct db_result results[2];
    rig_add_image(rig, 1, middle, a[0]);
    rig_add_image(rig, 2, middle, b);
    rig_start(rig, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct rig_example examples[] = {
            {i, b, 16, 16}, {1 - i, a[0], 96, 16}, {i, a[0], 16, 16}, {1 - i, b, 91, 17}};
        rig_add_set(rig, examples, 4, sets[i]);
        rig_submit(rig, sets[i], (const char(*)[DB_ID_SIZE])a, 1, RIG_CHIP, ids[i]);
        rig_wait(rig, ids[i], DB_JOB_SUCCEEDED);
        rig_result(rig, ids[i], a[0], &results[i]);
    }
    for (uint32_t k = 0; k < RIG_CHIPS; k++) {
        assert_int_equal(results[0].labels[k], 1 - results[1].labels[k]);
        assert_float_equal(results[0].probabilities[2 * k], results[1].probabilities[2 * k + 1],
                           1e-4);
    }
    db_result_clear(&results[0]);
    db_result_clear(&results[1]);
}

/* ---- the cache ---- */

static void run_twice(struct rig *rig, void (*between)(struct rig *rig), double factor)
{
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], ids[2][DB_ID_SIZE];
    struct db_result results[2];
    rig_add_image(rig, 1, middle, images[0]);
    const struct rig_example examples[] = {
        {0, images[0], 16, 16}, {0, images[0], 5, 5}, {1, images[0], 96, 16}};
    rig_add_set(rig, examples, 3, set);
    rig_start(rig, 1);
    for (int i = 0; i < 2; i++) {
        rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, ids[i]);
        rig_wait(rig, ids[i], DB_JOB_SUCCEEDED);
        rig_result(rig, ids[i], images[0], &results[i]);
        if (i == 0)
            between(rig);
    }
    rig_assert_same(&results[0], &results[1]);
    assert_true(rig_metric(rig, encoded) == factor * (RIG_CHIPS + 1));
    db_result_clear(&results[0]);
    db_result_clear(&results[1]);
}

static void leave_alone(struct rig *rig)
{
    (void)rig;
}

static void delete_cache(struct rig *rig)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/cache", rig->directory);
    fixture_remove_directory(path);
    assert_int_equal(access(path, F_OK), -1);
}

static int flip_a_byte(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)walk;
    if (kind != FTW_F)
        return 0;
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)status->st_size / 2, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 0x40, file);
    assert_ok(fclose(file));
    return 0;
}

static void damage_cache(struct rig *rig)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/cache", rig->directory);
    assert_ok(nftw(path, flip_a_byte, 16, FTW_PHYS));
}

static void an_equal_job_encodes_nothing(void **state)
{
    run_twice(*state, leave_alone, 1);
}

static void a_deleted_cache_changes_no_byte(void **state)
{
    run_twice(*state, delete_cache, 2);
}

static void a_damaged_cache_is_encoded_again(void **state)
{
    run_twice(*state, damage_cache, 2);
}

/* Without a cache an image that holds examples is encoded for them and again for its chips. */
static void progress_counts_a_chip_once(void **state)
{
    (void)state;
    struct rig rig;
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_open(&rig, 0);
    rig_add_image(&rig, 1, middle, images[0]);
    rig_add_image(&rig, 2, middle, images[1]);
    const struct rig_example examples[] = {
        {0, images[0], 16, 16}, {1, images[0], 96, 16}, {0, images[1], 16, 16}};
    rig_add_set(&rig, examples, 3, set);
    rig_start(&rig, 1);
    rig_submit(&rig, set, (const char(*)[DB_ID_SIZE])images, 2, RIG_CHIP, id);
    rig_wait(&rig, id, DB_JOB_SUCCEEDED);
    struct db_job job = {0};
    rig_get(&rig, id, &job);
    assert_true(rig_metric(&rig, encoded) > 2 * RIG_CHIPS);
    assert_int_equal(job.n_chips_done, 2 * RIG_CHIPS);
    db_job_clear(&job);
    rig_close(&rig);
}

/* ---- fairness and cancellation ---- */

static bool has_progress(const struct db_job *job)
{
    return job->n_chips_done > 0;
}

/* Starts a job of thousands of chips and waits until some of them are done. */
static void start_large(struct rig *rig, char images[1][DB_ID_SIZE], char set[DB_ID_SIZE],
                        char id[DB_ID_SIZE])
{
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, 1, id);
    rig_wait_until(rig, id, has_progress);
}

static void a_small_job_passes_a_large_one(void **state)
{
    struct rig *rig = *state;
    char large_image[1][DB_ID_SIZE], small_image[1][DB_ID_SIZE], set[DB_ID_SIZE], large[DB_ID_SIZE],
        small[DB_ID_SIZE];
    struct db_job job = {0};
    rig_start(rig, 2);
    start_large(rig, large_image, set, large);
    rig_add_image(rig, 2, middle, small_image[0]);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])small_image, 1, RIG_CHIP, small);
    rig_wait(rig, small, DB_JOB_SUCCEEDED);
    rig_get(rig, large, &job);
    assert_int_equal(job.state, DB_JOB_RUNNING);
    assert_true(job.n_chips_done < RIG_MANY_CHIPS / 2);
    assert_true(worker_eta(rig->worker, large) > 0);
    assert_true(worker_eta(rig->worker, small) == -1);
    db_job_clear(&job);
}

static void cancel(struct rig *rig, const char *id, enum db_job_state expected)
{
    enum db_job_state after;
    assert_ok(db_job_cancel(rig->db, id, &after, &rig->err));
    assert_int_equal(after, expected);
    worker_notify(rig->worker, id);
}

static void a_running_job_is_cancelled_within_batches(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    bool exists = true;
    rig_start(rig, 1);
    start_large(rig, images, set, id);
    double before = rig_metric(rig, encoded);
    cancel(rig, id, DB_JOB_RUNNING);
    rig_wait(rig, id, DB_JOB_CANCELLED);
    /* Batches in flight while the request was written and read, of hundreds to come. */
    assert_true(rig_metric(rig, encoded) - before <= 32 * ENCODER_BATCH);
    assert_true(rig_metric(rig, "chipshot_jobs_total{state=\"cancelled\"}") == 1);
    assert_ok(db_result_exists(rig->db, id, images[0], &exists, &rig->err));
    assert_false(exists);
    struct db_job job = {0};
    rig_get(rig, id, &job);
    assert_true(job.n_chips_done > 0 && job.n_chips_done < RIG_MANY_CHIPS);
    assert_null(job.error_code);
    db_job_clear(&job);
}

static void a_queued_job_is_cancelled_at_once(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], running[DB_ID_SIZE], queued[DB_ID_SIZE];
    struct db_job job = {0};
    rig_start(rig, 1);
    start_large(rig, images, set, running);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, queued);
    cancel(rig, queued, DB_JOB_CANCELLED);
    rig_get(rig, queued, &job);
    assert_int_equal(job.state, DB_JOB_CANCELLED);
    assert_string_equal(job.started_at, "");
    db_job_clear(&job);
    cancel(rig, running, DB_JOB_RUNNING);
    rig_wait(rig, running, DB_JOB_CANCELLED);
    rig_get(rig, queued, &job);
    assert_string_equal(job.started_at, "");
    db_job_clear(&job);
}

/* Who inserts a job tells the worker after; a driver may have claimed it before. */
static void a_late_notification_cancels_nothing(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_start(rig, 1);
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, 4, id);
    rig_wait_until(rig, id, rig_is_running);
    worker_notify(rig->worker, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    struct db_job job = {0};
    rig_get(rig, id, &job);
    assert_int_equal(job.n_chips_done, RIG_SOME_CHIPS);
    db_job_clear(&job);
}

/* ---- stopping and starting ---- */

static bool has_first_result(const struct db_job *job)
{
    return job->n_chips_done > RIG_SOME_CHIPS;
}

static void a_stopped_job_goes_on_where_it_was(void **state)
{
    struct rig *rig = *state;
    char images[3][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct db_result before = {0}, after = {0};
    struct db_job job = {0};
    for (uint64_t i = 0; i < 3; i++)
        rig_add_image(rig, i + 1, middle, images[i]);
    rig_add_plain_set(rig, images[0], set);
    rig_start(rig, 1);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 3, 4, id);
    rig_wait_until(rig, id, has_first_result);
    rig_stop(rig, 0);
    rig_get(rig, id, &job);
    assert_int_equal(job.state, DB_JOB_QUEUED);
    assert_true(job.n_chips_done >= RIG_SOME_CHIPS && job.n_chips_done < 3 * RIG_SOME_CHIPS);
    db_job_clear(&job);
    rig_result(rig, id, images[0], &before);

    double n_encoded = rig_metric(rig, encoded);
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_result(rig, id, images[0], &after);
    assert_string_equal(before.created_at, after.created_at);
    rig_assert_same(&before, &after);
    assert_true(rig_metric(rig, encoded) - n_encoded <= 2 * RIG_SOME_CHIPS);
    db_result_clear(&before);
    db_result_clear(&after);
    rig_get(rig, id, &job);
    assert_int_equal(job.n_chips_done, 3 * RIG_SOME_CHIPS);
    db_job_clear(&job);
    for (int i = 0; i < 3; i++) {
        rig_result(rig, id, images[i], &after);
        assert_true(rig_accuracy(&after, middle) >= 0.95);
        db_result_clear(&after);
    }
}

/* The worker is told to stop while a driver may be between claiming a job and running it. */
static void a_job_that_is_just_claimed_stops_too(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct db_job job = {0};
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, 1, id);
    for (int i = 0; i < 20; i++) {
        rig_start(rig, 4);
        rig_stop(rig, 0);
        rig_get(rig, id, &job);
        assert_int_equal(job.state, DB_JOB_QUEUED);
        db_job_clear(&job);
    }
    assert_true(rig_metric(rig, encoded) < RIG_MANY_CHIPS);
}

static void draining_lets_a_job_end(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct db_job job = {0};
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_start(rig, 1);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    rig_wait_until(rig, id, rig_is_running);
    rig_stop(rig, RIG_PATIENCE_MS);
    rig_get(rig, id, &job);
    assert_int_equal(job.state, DB_JOB_SUCCEEDED);
    db_job_clear(&job);
}

static void a_dead_servers_job_is_run_again(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct db_job job = {0};
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    assert_ok(db_job_claim(rig->db, "the dead", 3600 * 1000, &job, &rig->err));
    db_job_clear(&job);
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
}

static void a_dead_servers_cancelled_job_is_not_run(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct db_job job = {0};
    enum db_job_state after;
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    assert_ok(db_job_claim(rig->db, "the dead", 3600 * 1000, &job, &rig->err));
    db_job_clear(&job);
    assert_ok(db_job_cancel(rig->db, id, &after, &rig->err));
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_CANCELLED);
    assert_true(rig_metric(rig, encoded) == 0);
}

/* ---- what fails ---- */

/* Runs a job over `bad` and one over `good`; the first fails and the second does not. */
static void assert_only_one_fails(struct rig *rig, const char *bad, const char *good,
                                  const char *message)
{
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE], ids[2][DB_ID_SIZE];
    memcpy(images[0], bad, DB_ID_SIZE);
    memcpy(images[1], good, DB_ID_SIZE);
    rig_add_plain_set(rig, good, set);
    for (int i = 0; i < 2; i++)
        rig_submit(rig, set, (const char(*)[DB_ID_SIZE]) & images[i], 1, RIG_CHIP, ids[i]);
    assert_job_fails(rig, ids[0], "corrupt", bad);
    assert_job_fails(rig, ids[0], "corrupt", message);
    rig_wait(rig, ids[1], DB_JOB_SUCCEEDED);
}

static void write_file(const char *path, const void *data, size_t size)
{
    assert_ok(unlink(path));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_ok(fclose(file));
}

static void a_lost_image_fails_its_job_alone(void **state)
{
    struct rig *rig = *state;
    char good[DB_ID_SIZE], bad[3][DB_ID_SIZE], path[3][700];
    rig_start(rig, 2);
    rig_add_image(rig, 1, middle, good);
    for (uint64_t i = 0; i < 3; i++) {
        rig_add_image(rig, 2 + i, middle, bad[i]);
        rig_image_path(rig, bad[i], path[i], sizeof(path[i]));
    }
    assert_ok(unlink(path[0]));
    assert_only_one_fails(rig, bad[0], good, "gone");
    static const char garbage[] = "this is no PNG any more";
    write_file(path[1], garbage, sizeof(garbage));
    assert_only_one_fails(rig, bad[1], good, "SHA-256");
    /* Another image: it decodes, and is not what was uploaded. */
    char other[DB_ID_SIZE], other_path[700];
    char bytes[1 << 16];
    rig_add_image(rig, 9, middle, other);
    rig_image_path(rig, other, other_path, sizeof(other_path));
    FILE *file = fopen(other_path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    write_file(path[2], bytes, size);
    assert_only_one_fails(rig, bad[2], good, "SHA-256");
}

/* The row promises more pixels than the file has: no chip may be read from outside of it. */
static void a_row_that_disagrees_with_its_file_fails(void **state)
{
    struct rig *rig = *state;
    static uint8_t pixels[8 * 8];
    struct png_bytes png = {0};
    char image[1][DB_ID_SIZE], good[DB_ID_SIZE];
    assert_ok(png_write_grey8(pixels, 8, 8, &png, &rig->err));
    rig_add_file(rig, png.data, png.size, RIG_WIDTH, RIG_HEIGHT, image[0]);
    png_bytes_clear(&png);
    rig_add_image(rig, 1, middle, good);
    rig_start(rig, 1);
    assert_only_one_fails(rig, image[0], good, "8 x 8 pixels");
}

static void an_example_outside_its_image_fails(void **state)
{
    struct rig *rig = *state;
    char image[1][DB_ID_SIZE], other[DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_add_image(rig, 1, middle, image[0]);
    rig_add_image(rig, 2, middle, other);
    const struct rig_example examples[] = {{0, other, 16, 16}, {1, other, RIG_WIDTH - 3, 2000}};
    rig_add_set(rig, examples, 2, set);
    rig_start(rig, 1);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])image, 1, RIG_CHIP, id);
    assert_job_fails(rig, id, "corrupt", other);
}

static void corrupt_parameters_fail(void **state)
{
    struct rig *rig = *state;
    static const char *const texts[] = {"", "{}", "nonsense", "[1, 2]"};
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_start(rig, 1);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        rig_insert_params(rig, set, (const char(*)[DB_ID_SIZE])images, 1, texts[i], RIG_CHIPS, id);
        worker_notify(rig->worker, id);
        assert_job_fails(rig, id, "corrupt", "parameters");
    }
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
}

/* A thousand million chips of hundreds of floats each are more than half of any machine's memory
 * that runs these tests. The file is never looked at. */
static void a_job_over_the_memory_fails(void **state)
{
    struct rig *rig = *state;
    enum { SIDE = 32768 };
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE], small[DB_ID_SIZE];
    rig->limits.max_chips_per_image = UINT64_MAX;
    rig_add_file(rig, "x", 1, SIDE, SIDE, images[0]);
    rig_add_image(rig, 1, middle, small);
    rig_add_plain_set(rig, small, set);
    rig_start(rig, 1);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, 1, id);
    assert_job_fails(rig, id, "invalid", "half of the memory");
}

/* Every write past a few bytes fails, as on a full disk, and works again later: the job has ended
 * exactly once, as failed. */
static void a_full_disk_ends_a_job_when_it_can(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct rlimit limit, old;
    rig_capture_log(rig);
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_start(rig, 1);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, 4, id);
    rig_wait_log(rig, "event=job_started");
    signal(SIGXFSZ, SIG_IGN); /* write() then fails with EFBIG */
    assert_ok(getrlimit(RLIMIT_FSIZE, &old));
    limit = (struct rlimit){.rlim_cur = 100, .rlim_max = old.rlim_max};
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    rig_wait_log(rig, "event=job_end_not_stored");
    assert_ok(setrlimit(RLIMIT_FSIZE, &old));
    /* SQLite tells a full disk (ENOSPC) from a file that may not grow (EFBIG). */
    assert_job_fails(rig, id, "full or io", "database");
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    assert_ok(db_integrity_check(rig->db, &rig->err));
}

static void drivers_have_a_limit(void **state)
{
    struct rig *rig = *state;
    const struct job_engine engine = {.db = rig->db};
    const uint32_t wrong[] = {0, 65};
    for (int i = 0; i < 2; i++) {
        const struct worker_config config = {.max_running_jobs = wrong[i]};
        char number[16];
        snprintf(number, sizeof(number), " %u ", wrong[i]);
        assert_int_equal(
            worker_create(&rig->worker, &config, &engine, rig->events, NULL, &rig->err),
            ERROR_INVALID);
        assert_non_null(strstr(rig->err.message, number));
        assert_non_null(strstr(rig->err.message, "1..64"));
        assert_null(rig->worker);
    }
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(a_job_stores_right_labels),
        with_rig(examples_may_lie_anywhere),
        with_rig(swapping_classes_swaps_labels),
        with_rig(an_equal_job_encodes_nothing),
        with_rig(a_deleted_cache_changes_no_byte),
        with_rig(a_damaged_cache_is_encoded_again),
        cmocka_unit_test(progress_counts_a_chip_once),
        with_rig(a_small_job_passes_a_large_one),
        with_rig(a_running_job_is_cancelled_within_batches),
        with_rig(a_queued_job_is_cancelled_at_once),
        with_rig(a_late_notification_cancels_nothing),
        with_rig(a_stopped_job_goes_on_where_it_was),
        with_rig(a_job_that_is_just_claimed_stops_too),
        with_rig(draining_lets_a_job_end),
        with_rig(a_dead_servers_job_is_run_again),
        with_rig(a_dead_servers_cancelled_job_is_not_run),
        with_rig(a_lost_image_fails_its_job_alone),
        with_rig(a_row_that_disagrees_with_its_file_fails),
        with_rig(an_example_outside_its_image_fails),
        with_rig(corrupt_parameters_fail),
        with_rig(a_job_over_the_memory_fails),
        with_rig(a_full_disk_ends_a_job_when_it_can),
        with_rig(drivers_have_a_limit),
    };
    return test_run(tests);
}
