/* Jobs as they should go: results, the cache, fairness, cancellation, stopping and starting. */
#include "api/job/job_params.h"
#include "tests/unit/server/worker/rig.h"

#include <ftw.h>
#include <unistd.h>

#include "server/worker/lease_owner.h"

static const uint32_t middle = RIG_WIDTH / 2;

static const char encoded[] = "chipshot_chips_encoded_total";

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
        const double n_left = rig_statistic(&result, 0, "n_chips");
        assert_true(n_left == 6 * splits[i] / RIG_CHIP);
        assert_true(n_left + rig_statistic(&result, 1, "n_chips") == RIG_CHIPS);
        assert_true(rig_statistic(&result, 0, "area_fraction") == n_left / RIG_CHIPS);
        assert_true(rig_statistic(&result, 1, "n_regions_8") == 1);
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
    /* The grid's chips of each image, which say what it and its examples are measured by, and the
     * windows beside them. */
    assert_true(rig_metric(rig, encoded) == 3 * RIG_CHIPS + 4 + 4 + 4);
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

/* Each driver that finds a job wakes the next. */
static void one_notification_is_enough_for_several_jobs(void **state)
{
    struct rig *rig = *state;
    enum { JOBS = 3 };
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], ids[JOBS][DB_ID_SIZE];
    rig->lease_ms = RIG_PATIENCE_MS; /* nobody looks by himself meanwhile */
    rig_start(rig, JOBS);
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    for (size_t i = 0; i < JOBS; i++)
        rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, 1, ids[i]);
    worker_notify(rig->worker, ids[0]);
    for (size_t i = 0; i < JOBS; i++)
        rig_wait_until(rig, ids[i], rig_is_running);
    for (size_t i = 0; i < JOBS; i++) {
        struct db_job job = {0};
        rig_get(rig, ids[i], &job);
        assert_int_equal(job.state, DB_JOB_RUNNING);
        db_job_clear(&job);
    }
}

static void cancel(struct rig *rig, const char *id, enum db_job_state expected)
{
    enum db_job_state after;
    assert_ok(db_job_cancel(rig->db, id, &fixture_principal, &after, &rig->err));
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

/* Progress alone does not tell: the next image is encoded before a result is stored. */
static bool has_first_result(const struct db_job *job)
{
    return job->state == DB_JOB_RUNNING && job->attempts == 0;
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

/* Claims the next job for a process that had this one's number and started before it. */
static void claim_and_die(struct rig *rig)
{
    char owner[DB_OWNER_SIZE], before[DB_OWNER_SIZE];
    struct db_job job = {0};
    struct db_lease lease;
    lease_owner_create(owner);
    char *random = strrchr(owner, '/');
    *random++ = '\0';
    char *start = strrchr(owner, '/');
    *start++ = '\0';
    snprintf(before, sizeof(before), "%.80s/%llu/%s", owner, strtoull(start, NULL, 10) - 1, random);
    assert_ok(db_job_claim(rig->db, before, DB_LEASE_MAX_MS, &job, &lease, &rig->err));
    db_job_clear(&job);
}

static void a_dead_servers_job_is_run_again(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    claim_and_die(rig);
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
}

static void a_dead_servers_cancelled_job_is_not_run(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    enum db_job_state after;
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    claim_and_die(rig);
    assert_ok(db_job_cancel(rig->db, id, &fixture_principal, &after, &rig->err));
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_CANCELLED);
    assert_true(rig_metric(rig, encoded) == 0);
}

/* Another process queues a job, and nobody tells this one. */
static void a_job_is_found_without_being_told(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig->lease_ms = 300;
    rig_start(rig, 1);
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
}

/* Of chips of classes that have examples a few are beyond what these reach. */
static void labels_that_later_steps_change_are_kept_beside(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct rig_example examples[10];
    struct db_result result;
    const struct job_params params = {.grid = {RIG_CHIP, RIG_CHIP, RIG_CHIP, RIG_CHIP},
                                      .normalise = normalise_params_default,
                                      .classifier = classifier_params_default,
                                      .borders = BORDERS_ASSIGN,
                                      .unknown = true};
    uint16_t raw[RIG_CHIPS], labels[RIG_CHIPS];
    const struct db_result_part part = {.n_chips = RIG_CHIPS, .labels = labels, .raw_labels = raw};
    uint32_t n_unknown = 0;
    rig_start(rig, 1);
    rig_add_image(rig, 1, middle, images[0]);
    for (uint32_t i = 0; i < 10; i++)
        examples[i] = (struct rig_example){i % 2, images[0], i % 2 == 0 ? RIG_CHIP : 6 * RIG_CHIP,
                                           i / 2 * RIG_CHIP};
    rig_add_set(rig, examples, 10, set);
    char *text = job_params_to_text(&params);
    rig_insert_params(rig, set, (const char(*)[DB_ID_SIZE])images, 1, text, RIG_CHIPS, id);
    free(text);
    service_job_changed(&rig->service, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_result(rig, id, images[0], &result);
    assert_non_null(strstr(result.analysis, "\"unknown\":{\"threshold\":"));
    assert_non_null(strstr(result.analysis, "\"borders\":{\"n_assigned\":0}"));
    assert_true(result.has_raw_labels);
    assert_int_equal(db_result_read_part(rig->db, &result, &part, &rig->err), 0);
    for (uint32_t i = 0; i < RIG_CHIPS; i++) {
        n_unknown += labels[i] == DB_LABEL_UNKNOWN;
        assert_int_equal(raw[i], i % 8 >= 4);
        assert_true(labels[i] == raw[i] || labels[i] == DB_LABEL_UNKNOWN);
    }
    assert_true(n_unknown > 0 && n_unknown < RIG_CHIPS / 2);
    assert_true(rig_statistic(&result, -1, "unknown_chips") == n_unknown);
    db_result_clear(&result);
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(a_job_stores_right_labels),
        with_rig(labels_that_later_steps_change_are_kept_beside),
        with_rig(examples_may_lie_anywhere),
        with_rig(swapping_classes_swaps_labels),
        with_rig(an_equal_job_encodes_nothing),
        with_rig(a_deleted_cache_changes_no_byte),
        with_rig(a_damaged_cache_is_encoded_again),
        cmocka_unit_test(progress_counts_a_chip_once),
        with_rig(a_small_job_passes_a_large_one),
        with_rig(one_notification_is_enough_for_several_jobs),
        with_rig(a_running_job_is_cancelled_within_batches),
        with_rig(a_queued_job_is_cancelled_at_once),
        with_rig(a_late_notification_cancels_nothing),
        with_rig(a_stopped_job_goes_on_where_it_was),
        with_rig(a_job_that_is_just_claimed_stops_too),
        with_rig(draining_lets_a_job_end),
        with_rig(a_job_is_found_without_being_told),
        with_rig(a_dead_servers_job_is_run_again),
        with_rig(a_dead_servers_cancelled_job_is_not_run),
    };
    return test_run(tests);
}
