/* Dense jobs and the maps that the cache keeps of their images: whatever is found there, of
 * whichever job before, the bytes are those of a server that has nothing; what is found is not
 * encoded again, and what is lost is. */
#include "tests/unit/server/worker/rig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/job/job_params.h"
#include "engine/dense/geometry.h"

enum {
    SPLIT = RIG_WIDTH / 2,
    IMAGES = 3,
    JOBS = 4,
    NO_MAPS = 1,      /* rig.max_maps_size: none is so small */
    ALL_IN_FILES = 1, /* rig.small_size */
    INPUT = 48,       /* side of the chips on the scaled image */
    STRIPS = RIG_HEIGHT * INPUT / RIG_CHIP / DENSE_STRIP,
};

static const char *const encoded = "chipshot_chips_encoded_total";

/* ---- jobs ---- */

struct job {
    size_t images[IMAGES];
    size_t n_images;
    uint32_t stride, offset;
    struct input_sizes sizes;
};

/* Images of a rig, and a support set. */
struct place {
    struct rig rig;
    char images[IMAGES][DB_ID_SIZE];
    char set[DB_ID_SIZE];
};

/* Runs a job over the images; `out` has n_images results. Returns how many chips were encoded. */
static double run(struct place *place, const char *set, const struct job *job,
                  struct db_result *out)
{
    struct rig *rig = &place->rig;
    char id[DB_ID_SIZE], images[IMAGES][DB_ID_SIZE];
    const struct job_params params = {
        .grid = {.chip_width = RIG_CHIP,
                 .chip_height = RIG_CHIP,
                 .stride_x = job->stride,
                 .stride_y = job->stride,
                 .offset_x = job->offset,
                 .offset_y = job->offset},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
        .input_sizes = job->sizes,
        .encoding = ENCODING_DENSE,
    };
    for (size_t i = 0; i < job->n_images; i++)
        memcpy(images[i], place->images[job->images[i]], DB_ID_SIZE);
    const double before = rig_metric(rig, encoded);
    char *text = job_params_to_text(&params);
    assert_non_null(text);
    rig_insert_params(rig, set, (const char(*)[DB_ID_SIZE])images, job->n_images, text, 1, id);
    free(text);
    worker_notify(rig->worker, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    for (size_t i = 0; i < job->n_images; i++) {
        rig_result(rig, id, images[i], &out[i]);
        /* Beside the border a chip sees the other side, too. */
        assert_true(rig_accuracy(&out[i], SPLIT) > 0.8);
    }
    return rig_metric(rig, encoded) - before;
}

static double run_one(struct place *place, const char *set, uint32_t stride, uint32_t offset,
                      struct db_result *out)
{
    return run(place, set, &(struct job){{0}, 1, stride, offset, {1, {INPUT}}}, out);
}

static void open_place(struct place *place, uint64_t cache_size, uint32_t n_threads)
{
    rig_open_threads(&place->rig, cache_size, n_threads);
    for (size_t i = 0; i < IMAGES; i++)
        rig_add_image(&place->rig, i + 1, SPLIT, place->images[i]);
    rig_add_plain_set(&place->rig, place->images[0], place->set);
}

/* The plain set and one example more. */
static void click(struct place *place, uint32_t x, uint32_t y, char set[DB_ID_SIZE])
{
    struct rig_example examples[7] = {{x >= SPLIT ? 1 : 0, place->images[0], x, y}};
    for (uint32_t i = 0; i < 6; i++)
        examples[1 + i] = (struct rig_example){i % 2, place->images[0],
                                               i % 2 == 0 ? RIG_CHIP : 6 * RIG_CHIP, i * RIG_CHIP};
    rig_add_set(&place->rig, examples, 7, set);
}

/* ---- the cache's files ---- */

/* The maps: grids of few chips and examples take less. */
static void maps_path(const struct place *place, char path[RIG_PATH])
{
    assert_true(rig_largest_cached(&place->rig, path) > 1 << 19);
}

enum damage { DAMAGE_REMOVED, DAMAGE_CUT_OFF, DAMAGE_FIRST_BYTE, DAMAGE_LAST_BYTE, DAMAGES };

static void flip(const char *path, off_t at)
{
    char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (char)(byte ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void do_damage(const struct place *place, enum damage damage)
{
    enum { HEADER = 64 };
    char path[1400];
    struct stat status;
    maps_path(place, path);
    assert_ok(stat(path, &status));
    switch (damage) {
    case DAMAGE_REMOVED:
        assert_ok(unlink(path));
        break;
    case DAMAGE_CUT_OFF:
        assert_ok(truncate(path, status.st_size - 1));
        break;
    case DAMAGE_FIRST_BYTE:
        flip(path, HEADER);
        break;
    case DAMAGE_LAST_BYTE: /* before the table of checksums */
        flip(path, status.st_size - 8 * STRIPS - 1);
        break;
    case DAMAGES:
        break;
    }
}

/* ---- nothing is encoded twice ---- */

/* Places on the grid and off it, in the corners, at the edges. */
static const uint32_t places[][2] = {
    {32, 32},
    {35, 37},
    {1, 1},
    {RIG_WIDTH - RIG_CHIP, 3},
    {RIG_WIDTH - RIG_CHIP - 1, RIG_HEIGHT - RIG_CHIP - 1},
    {5, RIG_HEIGHT - RIG_CHIP},
};
enum { PLACES = sizeof(places) / sizeof(places[0]) };

/* What a server gives that has only seen this. */
static void click_alone(size_t i, uint64_t cache_size, uint64_t max_maps_size, uint64_t small_size,
                        struct db_result *out)
{
    struct place place;
    char set[DB_ID_SIZE];
    open_place(&place, cache_size, 1);
    click(&place, places[i][0], places[i][1], set);
    place.rig.max_maps_size = max_maps_size;
    place.rig.small_size = small_size;
    rig_start(&place.rig, 1);
    run_one(&place, set, RIG_CHIP, 0, out);
    rig_close(&place.rig);
}

static void a_click_encodes_nothing(void **state)
{
    (void)state;
    struct place place;
    struct db_result results[1 + PLACES] = {{.rows = 0}};
    open_place(&place, RIG_CACHE_SIZE, 2);
    rig_start(&place.rig, 1);
    assert_true(run_one(&place, place.set, RIG_CHIP, 0, &results[PLACES]) == RIG_CHIPS);
    for (size_t i = 0; i < PLACES; i++) {
        char set[DB_ID_SIZE];
        click(&place, places[i][0], places[i][1], set);
        assert_true(run_one(&place, set, RIG_CHIP, 0, &results[i]) == 0);
        assert_memory_not_equal(results[i].distances, results[PLACES].distances,
                                RIG_CHIPS * sizeof(float));
    }
    rig_close(&place.rig);
    for (size_t i = 0; i < PLACES; i++) {
        struct db_result other = {0};
        click_alone(i, i % 2 == 0 ? 0 : RIG_CACHE_SIZE, i % 3 == 0 ? 0 : NO_MAPS,
                    i % 3 == 1 ? 0 : ALL_IN_FILES, &other);
        rig_assert_same(&results[i], &other);
        db_result_clear(&other);
    }
    for (size_t i = 0; i <= PLACES; i++)
        db_result_clear(&results[i]);
}

/* Without the maps the window alone is encoded, from the pixels. */
static void a_click_without_maps_encodes_its_window(void **state)
{
    (void)state;
    struct place place;
    struct db_result plain = {0}, clicked = {0}, again = {0}, alone = {0};
    char set[DB_ID_SIZE];
    open_place(&place, RIG_CACHE_SIZE, 2);
    place.rig.max_maps_size = NO_MAPS;
    rig_start(&place.rig, 1);
    assert_true(run_one(&place, place.set, RIG_CHIP, 0, &plain) == RIG_CHIPS);
    click(&place, places[1][0], places[1][1], set);
    assert_true(run_one(&place, set, RIG_CHIP, 0, &clicked) == 1);
    assert_true(run_one(&place, set, RIG_CHIP, 0, &again) == 0);
    rig_close(&place.rig);
    click_alone(1, RIG_CACHE_SIZE, 0, 0, &alone);
    rig_assert_same(&alone, &clicked);
    rig_assert_same(&alone, &again);
    db_result_clear(&plain);
    db_result_clear(&clicked);
    db_result_clear(&again);
    db_result_clear(&alone);
}

static const uint32_t grids[][2] = {{RIG_CHIP, 0}, {5, 0}, {RIG_CHIP, 7}, {11, 3}};
enum { GRIDS = sizeof(grids) / sizeof(grids[0]) };

static void another_grid_encodes_nothing(void **state)
{
    (void)state;
    struct place place;
    struct db_result results[GRIDS] = {{.rows = 0}};
    open_place(&place, RIG_CACHE_SIZE, 2);
    rig_start(&place.rig, 1);
    for (size_t i = 0; i < GRIDS; i++) {
        const double n = run_one(&place, place.set, grids[i][0], grids[i][1], &results[i]);
        assert_true(n == (i == 0 ? RIG_CHIPS : 0));
    }
    rig_close(&place.rig);
    for (size_t i = 0; i < GRIDS; i++) {
        struct db_result alone = {0};
        open_place(&place, 0, 1);
        rig_start(&place.rig, 1);
        run_one(&place, place.set, grids[i][0], grids[i][1], &alone);
        rig_close(&place.rig);
        rig_assert_same(&results[i], &alone);
        db_result_clear(&results[i]);
        db_result_clear(&alone);
    }
}

/* ---- what is lost is encoded again ---- */

static void lost_maps_are_encoded_again(void **state)
{
    (void)state;
    struct place place;
    struct db_result first = {0}, before = {0};
    open_place(&place, RIG_CACHE_SIZE, 2);
    rig_start(&place.rig, 1);
    run_one(&place, place.set, RIG_CHIP, 0, &first);
    for (uint32_t damage = 0; damage < DAMAGES; damage++) {
        struct db_result with = {0}, after = {0};
        do_damage(&place, (enum damage)damage);
        /* Grids that nobody has asked for. */
        assert_true(run_one(&place, place.set, RIG_CHIP, 1 + 2 * damage, &with) > 0);
        assert_true(run_one(&place, place.set, RIG_CHIP, 2 + 2 * damage, &after) == 0);
        db_result_clear(&with);
        db_result_clear(&after);
    }
    assert_true(run_one(&place, place.set, RIG_CHIP, 0, &before) == 0);
    rig_assert_same(&first, &before);
    rig_close(&place.rig);
    db_result_clear(&first);
    db_result_clear(&before);
}

/* The chips are there and the maps are not: a click is encoded from the pixels, with its bytes. */
static void clicks_survive_lost_maps(void **state)
{
    (void)state;
    struct db_result alone = {0};
    click_alone(4, 0, 0, 0, &alone);
    for (uint32_t damage = 0; damage < DAMAGES; damage++) {
        struct place place;
        struct db_result first = {0}, clicked = {0};
        char set[DB_ID_SIZE];
        open_place(&place, RIG_CACHE_SIZE, 2);
        rig_start(&place.rig, 1);
        run_one(&place, place.set, RIG_CHIP, 0, &first);
        do_damage(&place, (enum damage)damage);
        click(&place, places[4][0], places[4][1], set);
        /* The window sees the last strips alone: the first byte is none of its concern. */
        const double n = run_one(&place, set, RIG_CHIP, 0, &clicked);
        assert_true(n == (damage == DAMAGE_FIRST_BYTE ? 0 : 1));
        rig_assert_same(&alone, &clicked);
        rig_close(&place.rig);
        db_result_clear(&first);
        db_result_clear(&clicked);
    }
    db_result_clear(&alone);
}

/* ---- many windows ---- */

enum { MANY = 70, MANY_IN_A_ROW = 10 };

static void add_many(struct place *place, char set[DB_ID_SIZE])
{
    struct rig_example examples[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        const uint32_t x = i % MANY_IN_A_ROW * 4, y = i / MANY_IN_A_ROW * 11 + 1;
        examples[i] = (struct rig_example){i % 2, place->images[0], i % 2 == 0 ? x : SPLIT + x, y};
    }
    rig_add_set(&place->rig, examples, MANY, set);
}

static uint64_t n_entries(const struct place *place)
{
    uint64_t size, n;
    cache_usage(place->rig.cache, &size, &n);
    return n;
}

/* They are pooled from the maps in each job, and have entries once the maps are lost. */
static void many_windows_have_no_entries_beside_maps(void **state)
{
    (void)state;
    struct place place;
    struct db_result plain = {0}, results[5] = {{.rows = 0}};
    char set[DB_ID_SIZE];
    open_place(&place, RIG_CACHE_SIZE, 2);
    add_many(&place, set);
    rig_start(&place.rig, 1);
    run_one(&place, place.set, RIG_CHIP, 0, &plain);
    const uint64_t n_before = n_entries(&place);
    for (size_t i = 0; i < 2; i++)
        assert_true(run_one(&place, set, RIG_CHIP, 0, &results[i]) == 0);
    assert_int_equal(n_entries(&place), n_before);
    do_damage(&place, DAMAGE_LAST_BYTE);
    assert_true(run_one(&place, set, RIG_CHIP, 0, &results[2]) == MANY);
    assert_int_equal(n_entries(&place), n_before - 1 + MANY);
    assert_true(run_one(&place, set, RIG_CHIP, 0, &results[3]) == 0);
    rig_close(&place.rig);
    open_place(&place, RIG_CACHE_SIZE, 1);
    add_many(&place, set);
    rig_start(&place.rig, 1);
    assert_true(run_one(&place, set, RIG_CHIP, 0, &results[4]) == RIG_CHIPS);
    rig_close(&place.rig);
    for (size_t i = 0; i < 5; i++) {
        rig_assert_same(&results[0], &results[i]);
        if (i > 0)
            db_result_clear(&results[i]);
    }
    db_result_clear(&results[0]);
    db_result_clear(&plain);
}

/* ---- several images ---- */

/* Examples in three images, on grids and off them; the last image is in no job but the last. */
static void add_wide_set(struct place *place, char set[DB_ID_SIZE])
{
    const char(*images)[DB_ID_SIZE] = (const char(*)[DB_ID_SIZE])place->images;
    const struct rig_example examples[] = {
        {0, images[1], 0, 0},   {1, images[0], 6 * RIG_CHIP, 16},
        {0, images[2], 16, 32}, {1, images[1], 6 * RIG_CHIP, 32},
        {0, images[0], 3, 5},   {1, images[2], 93, 33},
        {0, images[1], 7, 79},  {1, images[0], RIG_WIDTH - RIG_CHIP - 1, 1},
        {0, images[2], 17, 1},  {1, images[1], 81, 63},
    };
    rig_add_set(&place->rig, examples, sizeof(examples) / sizeof(examples[0]), set);
}

struct choice {
    uint64_t cache_size, max_maps_size, small_size;
    uint32_t n_threads;
    bool backwards; /* the order of the jobs */
};

static const struct job several[JOBS] = {
    {{0, 1}, 2, RIG_CHIP, 0, {0}},
    {{1, 0}, 2, 8, 3, {0}},
    {{1}, 1, RIG_CHIP, 0, {0}},
    {{2, 0, 1}, 3, 12, 1, {0}},
};

static void run_several(const struct choice *choice, const struct input_sizes *sizes,
                        struct db_result out[JOBS][IMAGES])
{
    struct place place;
    char set[DB_ID_SIZE];
    open_place(&place, choice->cache_size, choice->n_threads);
    add_wide_set(&place, set);
    place.rig.max_maps_size = choice->max_maps_size;
    place.rig.small_size = choice->small_size;
    rig_start(&place.rig, 1);
    for (size_t i = 0; i < JOBS; i++) {
        const size_t k = choice->backwards ? JOBS - 1 - i : i;
        struct job job = several[k];
        job.sizes = *sizes;
        run(&place, set, &job, out[k]);
    }
    rig_close(&place.rig);
}

static void compare_choices(const struct choice *choices, size_t n, const struct input_sizes *sizes)
{
    struct db_result first[JOBS][IMAGES] = {{{.rows = 0}}};
    run_several(&choices[0], sizes, first);
    for (size_t c = 1; c < n; c++) {
        struct db_result other[JOBS][IMAGES] = {{{.rows = 0}}};
        run_several(&choices[c], sizes, other);
        for (size_t i = 0; i < JOBS; i++) {
            for (size_t k = 0; k < several[i].n_images; k++) {
                rig_assert_same(&first[i][k], &other[i][k]);
                db_result_clear(&other[i][k]);
            }
        }
    }
    for (size_t i = 0; i < JOBS; i++) {
        for (size_t k = 0; k < several[i].n_images; k++)
            db_result_clear(&first[i][k]);
    }
}

static void several_images_give_the_same_bytes(void **state)
{
    (void)state;
    static const struct choice choices[] = {
        {RIG_CACHE_SIZE, 0, 0, 2, false},
        {RIG_CACHE_SIZE, 0, 0, 1, true},
        {0, 0, 0, 2, true},
        {RIG_CACHE_SIZE, NO_MAPS, 0, 2, true},
        {RIG_CACHE_SIZE, 0, ALL_IN_FILES, 1, false},
        {0, NO_MAPS, ALL_IN_FILES, 2, false},
        {1 << 20, 0, 0, 2, false}, /* entries push each other out */
    };
    compare_choices(choices, sizeof(choices) / sizeof(choices[0]), &(struct input_sizes){0});
}

static void two_input_sizes_give_the_same_bytes(void **state)
{
    (void)state;
    static const struct choice choices[] = {
        {RIG_CACHE_SIZE, 0, 0, 2, false},
        {RIG_CACHE_SIZE, 0, ALL_IN_FILES, 1, true},
        {0, 0, 0, 1, false},
        {RIG_CACHE_SIZE, NO_MAPS, 0, 2, true},
    };
    compare_choices(choices, sizeof(choices) / sizeof(choices[0]),
                    &(struct input_sizes){2, {32, 48}});
}

/* Maps of an image that another job has left serve the examples of one that it is not in. */
static void examples_of_other_images_are_found(void **state)
{
    (void)state;
    struct place place;
    struct db_result results[3] = {{.rows = 0}}, cold = {0};
    char set[DB_ID_SIZE];
    open_place(&place, RIG_CACHE_SIZE, 2);
    add_wide_set(&place, set);
    rig_start(&place.rig, 1);
    /* Of ten examples six lie in images that are not in the job; their images are encoded, too. */
    const struct job only = {{1}, 1, RIG_CHIP, 0, {0}}, all = {{0, 1, 2}, 3, RIG_CHIP, 0, {0}};
    assert_true(run(&place, set, &only, &cold) == 3 * RIG_CHIPS);
    rig_close(&place.rig);
    open_place(&place, RIG_CACHE_SIZE, 2);
    add_wide_set(&place, set);
    rig_start(&place.rig, 1);
    assert_true(run(&place, set, &all, results) == 3 * RIG_CHIPS);
    db_result_clear(&results[0]);
    assert_true(run(&place, set, &only, results) == 0);
    rig_assert_same(&cold, results);
    rig_close(&place.rig);
    for (size_t i = 0; i < 3; i++)
        db_result_clear(&results[i]);
    db_result_clear(&cold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_click_encodes_nothing),
        cmocka_unit_test(a_click_without_maps_encodes_its_window),
        cmocka_unit_test(another_grid_encodes_nothing),
        cmocka_unit_test(lost_maps_are_encoded_again),
        cmocka_unit_test(clicks_survive_lost_maps),
        cmocka_unit_test(many_windows_have_no_entries_beside_maps),
        cmocka_unit_test(several_images_give_the_same_bytes),
        cmocka_unit_test(two_input_sizes_give_the_same_bytes),
        cmocka_unit_test(examples_of_other_images_are_found),
    };
    return test_run(tests);
}
