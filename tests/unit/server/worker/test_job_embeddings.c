/* Embeddings in a file: the same bytes as from memory, with and without the cache, cold and warm;
 * and what becomes of a job whose file is damaged or has no room. */
#include "tests/unit/server/worker/rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/job/job_params.h"
#include "db/store/cache.h"
#include "engine/image/png_write.h"

enum {
    MIDDLE = RIG_WIDTH / 2,
    STRIDE = 2,
    CHIPS = 57 * 41, /* three bands of 1,088, the last one cut short */
    HEADER = 64,
    ALL_IN_FILES = 1, /* rig.small_size */
    TALL = 6 * RIG_HEIGHT,
    TALL_CHIPS = 113 * (TALL - RIG_CHIP + 1), /* at stride 1 */
};

static const char *const encoded = "chipshot_chips_encoded_total";

static struct job_params params_of(enum classifier_transform transform)
{
    struct job_params params = {
        .grid = {.chip_width = RIG_CHIP,
                 .chip_height = RIG_CHIP,
                 .stride_x = STRIDE,
                 .stride_y = STRIDE},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
    };
    params.classifier.transform = transform;
    return params;
}

/* An image, a support set and a worker that holds images up to `small_size` in memory. */
struct place {
    struct rig rig;
    char images[1][DB_ID_SIZE];
    char set[DB_ID_SIZE];
};

static void place_open(struct place *place, uint64_t cache_size, uint64_t small_size)
{
    rig_open(&place->rig, cache_size);
    rig_add_image(&place->rig, 1, MIDDLE, place->images[0]);
    rig_add_plain_set(&place->rig, place->images[0], place->set);
    place->rig.small_size = small_size;
    rig_start(&place->rig, 1);
}

static void place_restart(struct place *place, uint64_t small_size)
{
    rig_stop(&place->rig, 0);
    place->rig.small_size = small_size;
    rig_start(&place->rig, 1);
}

static void place_submit_chips(struct place *place, const struct job_params *params,
                               uint64_t n_chips, char id[DB_ID_SIZE])
{
    char *text = job_params_to_text(params);
    assert_non_null(text);
    rig_insert_params(&place->rig, place->set, (const char(*)[DB_ID_SIZE])place->images, 1, text,
                      n_chips, id);
    free(text);
    worker_notify(place->rig.worker, id);
}

static void place_submit(struct place *place, const struct job_params *params, char id[DB_ID_SIZE])
{
    place_submit_chips(place, params, CHIPS, id);
}

static void place_run(struct place *place, const struct job_params *params, struct db_result *out)
{
    char id[DB_ID_SIZE];
    place_submit(place, params, id);
    rig_wait(&place->rig, id, DB_JOB_SUCCEEDED);
    rig_result(&place->rig, id, place->images[0], out);
}

/* ---- the same bytes ---- */

static void run_transforms(uint64_t cache_size, uint64_t small_size, bool clahe,
                           const struct input_sizes *sizes, struct db_result out[4])
{
    struct place place;
    place_open(&place, cache_size, small_size);
    for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
        struct job_params params = params_of((enum classifier_transform)t);
        params.normalise.clahe.enabled = clahe;
        params.input_sizes = *sizes;
        place_run(&place, &params, &out[t]);
        assert_true(rig_accuracy(&out[t], MIDDLE) > 0.9);
    }
    /* After the first job all are warm, where there is a cache. */
    assert_true(rig_metric(&place.rig, encoded) == (cache_size > 0 ? 1 : 4) * CHIPS);
    assert_int_equal(fixture_n_temporary(place.rig.directory), 0);
    rig_close(&place.rig);
}

static void assert_same_from_files(const uint64_t *cache_sizes, size_t n, bool clahe,
                                   const struct input_sizes *sizes)
{
    struct db_result whole[4] = {{.rows = 0}};
    run_transforms(RIG_CACHE_SIZE, 0, clahe, sizes, whole);
    for (size_t i = 0; i < n; i++) {
        struct db_result stored[4] = {{.rows = 0}};
        run_transforms(cache_sizes[i], ALL_IN_FILES, clahe, sizes, stored);
        for (int t = 0; t < 4; t++) {
            rig_assert_same(&whole[t], &stored[t]);
            db_result_clear(&stored[t]);
        }
    }
    for (int t = 0; t < 4; t++)
        db_result_clear(&whole[t]);
}

static void files_give_the_same_bytes(void **state)
{
    (void)state;
    static const uint64_t cache_sizes[] = {RIG_CACHE_SIZE, 0};
    assert_same_from_files(cache_sizes, 2, false, &(struct input_sizes){0});
}

static void files_give_the_same_bytes_at_two_sizes_and_with_clahe(void **state)
{
    (void)state;
    static const uint64_t cache_sizes[] = {RIG_CACHE_SIZE};
    assert_same_from_files(cache_sizes, 1, true, &(struct input_sizes){2, {32, 48}});
}

/* One kind of entry, wherever the embeddings were. */
static void entries_serve_both_ways(void **state)
{
    (void)state;
    const struct job_params params = params_of(CLASSIFIER_TRANSFORM_STANDARDISE);
    for (uint64_t first = 0; first < 2; first++) {
        struct place place;
        struct db_result cold = {0}, warm = {0};
        place_open(&place, RIG_CACHE_SIZE, first);
        place_run(&place, &params, &cold);
        place_restart(&place, 1 - first);
        place_run(&place, &params, &warm);
        assert_true(rig_metric(&place.rig, encoded) == CHIPS);
        rig_assert_same(&cold, &warm);
        db_result_clear(&cold);
        db_result_clear(&warm);
        rig_close(&place.rig);
    }
}

static void several_images_come_from_files(void **state)
{
    (void)state;
    static const uint64_t cache_sizes[] = {RIG_CACHE_SIZE, 0};
    struct db_result whole[4] = {{.rows = 0}};
    rig_run_several(RIG_CACHE_SIZE, 0, 4, whole);
    for (size_t i = 0; i < 2; i++) {
        struct db_result stored[4] = {{.rows = 0}};
        rig_run_several(cache_sizes[i], ALL_IN_FILES, 4, stored);
        for (size_t k = 0; k < 4; k++) {
            rig_assert_same(&whole[k], &stored[k]);
            db_result_clear(&stored[k]);
        }
    }
    for (size_t k = 0; k < 4; k++)
        db_result_clear(&whole[k]);
}

/* ---- damage ---- */

/* The other files of the cache are counts and examples. */
static void entry_path(const struct place *place, char path[RIG_PATH])
{
    assert_true(rig_largest_cached(&place->rig, path) > (off_t)(CHIPS * sizeof(float)));
}

/* A file that is changed after it was opened: its size and its table are right, so the damage is
 * met in the midst of reading, before or after the examples' blocks and in each band. The job
 * encodes anew. */
static void a_damaged_entry_is_encoded_anew(void **state)
{
    (void)state;
    struct place place;
    struct db_result cold = {0};
    const struct job_params params = params_of(CLASSIFIER_TRANSFORM_STANDARDISE);
    uint64_t size, n, n_before;
    place_open(&place, RIG_CACHE_SIZE, ALL_IN_FILES);
    place_run(&place, &params, &cold);
    cache_usage(place.rig.cache, &size, &n_before);
    static const double parts[] = {0, 0.3, 0.6, 1};
    for (size_t i = 0; i < 4; i++) {
        struct db_result again = {0};
        struct stat status;
        char path[1400], byte;
        entry_path(&place, path);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_ok(fstat(fd, &status));
        /* Before the table of checksums. */
        const off_t last = status.st_size - 8 * ((CHIPS + 31) / 32) - 1;
        const off_t at = HEADER + (off_t)(parts[i] * (double)(last - HEADER));
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte = (char)(byte ^ 1);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        place_run(&place, &params, &again);
        rig_assert_same(&cold, &again);
        db_result_clear(&again);
        assert_true(rig_metric(&place.rig, encoded) == (double)(i + 2) * CHIPS);
        cache_usage(place.rig.cache, &size, &n);
        assert_int_equal(n, n_before);
        assert_int_equal(fixture_n_temporary(place.rig.directory), 0);
    }
    /* Cut off: no such entry. */
    struct db_result again = {0};
    char path[1400];
    entry_path(&place, path);
    assert_ok(truncate(path, 100000));
    place_run(&place, &params, &again);
    rig_assert_same(&cold, &again);
    db_result_clear(&again);
    db_result_clear(&cold);
    rig_close(&place.rig);
}

/* ---- disks ---- */

static void limit_files(rlim_t size, struct rlimit *old)
{
    signal(SIGXFSZ, SIG_IGN); /* writing then fails with EFBIG */
    assert_ok(getrlimit(RLIMIT_FSIZE, old));
    const struct rlimit limit = {.rlim_cur = size, .rlim_max = old->rlim_max};
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
}

static bool waits_for_space(const struct db_job *job)
{
    return job->waiting_for == DB_WAIT_DISK_SPACE;
}

/* The attempt has ended, its files are gone, and the job waits for the next one. */
static void assert_waits_for_space(struct place *place, const char *id)
{
    struct db_job job = {0};
    rig_wait_until(&place->rig, id, waits_for_space);
    rig_get(&place->rig, id, &job);
    assert_string_equal(job.error_code, "full");
    assert_non_null(strstr(job.error_message, place->images[0]));
    assert_non_null(strstr(job.error_message, "its embeddings"));
    assert_int_equal(job.n_failures, 0);
    db_job_clear(&job);
    assert_int_equal(fixture_n_temporary(place->rig.directory), 0);
}

/* The database's files stay below the limit, the embeddings do not. */
static void a_disk_without_room_ends_the_attempt_at_once(void **state)
{
    (void)state;
    const struct job_params params = params_of(CLASSIFIER_TRANSFORM_STANDARDISE);
    static const uint64_t cache_sizes[] = {RIG_CACHE_SIZE, 0};
    for (size_t i = 0; i < 2; i++) {
        struct place place;
        struct rlimit old, same;
        char id[DB_ID_SIZE];
        place_open(&place, cache_sizes[i], ALL_IN_FILES);
        limit_files(CHIPS * 504 * sizeof(float), &old);
        place_submit(&place, &params, id);
        assert_waits_for_space(&place, id);
        assert_true(rig_metric(&place.rig, encoded) == 0);
        limit_files(old.rlim_cur, &same);
        rig_wait(&place.rig, id, DB_JOB_SUCCEEDED);
        rig_close(&place.rig);
    }
}

static bool has_begun(const struct db_job *job)
{
    return job->n_chips_done > 0;
}

/* An image of which a tenth is in memory at a time takes the first one's place. */
static void add_tall_image(struct place *place)
{
    static uint8_t grey[TALL * RIG_WIDTH];
    struct png_bytes png = {0};
    for (size_t i = 0; i < sizeof(grey); i++)
        grey[i] = (uint8_t)(i * i / 7 % 251);
    assert_ok(png_write_grey8(grey, RIG_WIDTH, TALL, &png, NULL));
    rig_add_file(&place->rig, png.data, png.size, RIG_WIDTH, TALL, place->images[0]);
    png_bytes_clear(&png);
}

/* What was reserved can still fail, on file systems that copy what is written. The thread that
 * reads the image waits for the workers then: the attempt has failed, and nobody cancelled it. */
static void a_disk_that_fills_up_ends_the_attempt(void **state)
{
    (void)state;
    struct place place;
    struct rlimit old, same;
    char id[DB_ID_SIZE];
    struct job_params params = params_of(CLASSIFIER_TRANSFORM_STANDARDISE);
    params.grid.stride_x = params.grid.stride_y = 1;
    place_open(&place, RIG_CACHE_SIZE, ALL_IN_FILES);
    add_tall_image(&place);
    place_submit_chips(&place, &params, TALL_CHIPS, id);
    rig_wait_until(&place.rig, id, has_begun);
    limit_files(16 << 20, &old);
    assert_waits_for_space(&place, id);
    limit_files(old.rlim_cur, &same);
    assert_true(rig_metric(&place.rig, encoded) < TALL_CHIPS);
    rig_close(&place.rig);
}

static void a_cancelled_job_leaves_no_file(void **state)
{
    (void)state;
    static const uint64_t cache_sizes[] = {RIG_CACHE_SIZE, 0};
    for (size_t i = 0; i < 2; i++) {
        struct place place;
        char id[DB_ID_SIZE];
        enum db_job_state after;
        place_open(&place, cache_sizes[i], ALL_IN_FILES);
        rig_submit(&place.rig, place.set, (const char(*)[DB_ID_SIZE])place.images, 1, 1, id);
        rig_wait_until(&place.rig, id, has_begun);
        assert_int_equal(fixture_n_temporary(place.rig.directory), cache_sizes[i] > 0 ? 1 : 0);
        assert_ok(db_job_cancel(place.rig.db, id, &fixture_principal, &after, &place.rig.err));
        worker_notify(place.rig.worker, id);
        rig_wait(&place.rig, id, DB_JOB_CANCELLED);
        assert_int_equal(fixture_n_temporary(place.rig.directory), 0);
        assert_true(rig_metric(&place.rig, encoded) < RIG_MANY_CHIPS);
        rig_close(&place.rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_give_the_same_bytes),
        cmocka_unit_test(files_give_the_same_bytes_at_two_sizes_and_with_clahe),
        cmocka_unit_test(entries_serve_both_ways),
        cmocka_unit_test(several_images_come_from_files),
        cmocka_unit_test(a_damaged_entry_is_encoded_anew),
        cmocka_unit_test(a_disk_without_room_ends_the_attempt_at_once),
        cmocka_unit_test(a_disk_that_fills_up_ends_the_attempt),
        cmocka_unit_test(a_cancelled_job_leaves_no_file),
    };
    return test_run(tests);
}
