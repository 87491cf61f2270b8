/* What fails, and fails alone: jobs over damaged images, wrong rows and full disks. */
#include "tests/unit/server/worker/rig.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/fewshot/statistics.h"
#include "engine/image/png_write.h"

static const uint32_t middle = RIG_WIDTH / 2;

enum { RETRY_MS = 20 };

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

/* The results of 48 chips: three times a label, the classifier's own, a distance and two
 * probabilities, and a cell of the map with its node and what is kept of a region. */
static void a_job_over_the_memory_fails(void **state)
{
    struct rig *rig = *state;
    enum { CHIP_SIZE = 3 * (2 + 2 + 4 + 2 * 4) + STATISTICS_CELL_SIZE };
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    for (uint64_t small_size = 0; small_size < 2; small_size++) {
        rig->small_size = small_size;
        rig->max_result_size = RIG_CHIPS * CHIP_SIZE - 1;
        rig_start(rig, 1);
        rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
        assert_job_fails(rig, id, "invalid", "half of the memory");
        assert_job_fails(rig, id, "invalid", " 48 chips");
        rig_stop(rig, 0);
        rig->max_result_size++;
        rig_start(rig, 1);
        rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
        rig_wait(rig, id, DB_JOB_SUCCEEDED);
        rig_stop(rig, 0);
    }
}

/* Every write past a few bytes fails, as on a full disk, and works again later: the job waits
 * meanwhile, and then it is done. */
static void a_job_waits_for_a_full_disk(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct rlimit limit, old;
    rig->retry.first_delay_ms = RETRY_MS;
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
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    assert_ok(db_integrity_check(rig->db, rig->store, &rig->err));
}

static void set_files_limit(rlim_t limit)
{
    struct rlimit files;
    assert_ok(getrlimit(RLIMIT_NOFILE, &files));
    files.rlim_cur = limit < files.rlim_max ? limit : files.rlim_max;
    assert_ok(setrlimit(RLIMIT_NOFILE, &files));
}

/* No file can be opened (EMFILE), neither an image nor one more reader of the database. */
static void a_job_is_tried_again_when_files_can_be_opened(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct db_job job = {0};
    struct rlimit old;
    rig->retry = (struct worker_retry){.max_attempts = 1000, .first_delay_ms = RETRY_MS};
    rig_capture_log(rig);
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    assert_ok(getrlimit(RLIMIT_NOFILE, &old));
    rig_start(rig, 1);
    set_files_limit(3);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    rig_wait_log(rig, "event=job_put_off");
    set_files_limit(old.rlim_cur);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_get(rig, id, &job);
    assert_null(job.error_code);
    assert_int_equal(job.n_failures, 0);
    db_job_clear(&job);
}

/* A folder that cannot be entered stands where the image was: opening it fails each time. */
static void a_job_ends_after_the_last_attempt(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE], path[700];
    rig->retry = (struct worker_retry){.max_attempts = 3, .first_delay_ms = RETRY_MS};
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_image_path(rig, images[0], path, sizeof(path));
    assert_ok(unlink(path));
    assert_ok(symlink(path, path)); /* ELOOP */
    rig_start(rig, 1);
    rig_submit(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    assert_job_fails(rig, id, "io", "(attempt 3 of 3)");
}

/* The database cannot be written while a driver claims; it goes on afterwards, and says so once. */
static void a_claim_outlives_the_database(void **state)
{
    struct rig *rig = *state;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct rlimit limit, old;
    rig_capture_log(rig);
    rig_add_image(rig, 1, middle, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, RIG_CHIP, id);
    signal(SIGXFSZ, SIG_IGN);
    assert_ok(getrlimit(RLIMIT_FSIZE, &old));
    limit = (struct rlimit){.rlim_cur = 100, .rlim_max = old.rlim_max};
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    rig_start(rig, 8);
    rig_wait_log(rig, "event=job_claim_failed");
    assert_ok(setrlimit(RLIMIT_FSIZE, &old));
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
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
        assert_int_equal(worker_create(&rig->worker, &config, &engine, rig->waits, NULL, &rig->err),
                         ERROR_INVALID);
        assert_non_null(strstr(rig->err.message, number));
        assert_non_null(strstr(rig->err.message, "1..64"));
        assert_null(rig->worker);
    }
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(a_lost_image_fails_its_job_alone),
        with_rig(a_row_that_disagrees_with_its_file_fails),
        with_rig(an_example_outside_its_image_fails),
        with_rig(corrupt_parameters_fail),
        with_rig(a_job_over_the_memory_fails),
        with_rig(a_job_waits_for_a_full_disk),
        with_rig(a_job_is_tried_again_when_files_can_be_opened),
        with_rig(a_job_ends_after_the_last_attempt),
        with_rig(a_claim_outlives_the_database),
        with_rig(drivers_have_a_limit),
    };
    return test_run(tests);
}
