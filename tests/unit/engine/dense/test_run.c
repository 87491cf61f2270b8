/* Runs of images that are encoded as a whole, on their way: rows that come and go, what is stored
 * and kept, cancellation. */
#include "tests/test.h"

#include <math.h>
#include <stdatomic.h>

#include "engine/image/source.h"
#include "tests/unit/engine/dense/scene.h"

static struct encoder *encoder;
static float *pixels; /* of the scene */
static float *whole;  /* the embeddings of its grid, by one thread */

static const struct scene_choice usual;

static int set_up(void **state)
{
    (void)state;
    encoder = scene_encoder(NULL);
    pixels = scene_pixels(SCENE_WIDTH, SCENE_HEIGHT);
    whole = scene_embed(encoder, pixels, &usual);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    encoder_destroy(encoder);
    free(pixels);
    free(whole);
    return 0;
}

static void stage_set(struct scene_stage *stage, uint32_t n_threads)
{
    scene_stage_set(stage, encoder, pixels, &(struct scene_choice){.n_threads = n_threads});
}

static struct embed_run *begin_at(struct scene_stage *stage, uint32_t n_rows,
                                  const struct embed_output *output)
{
    struct embed_run *run = NULL;
    assert_int_equal(embed_grid_begin(&run, stage->embedder, stage->lane, &stage->source,
                                      &stage->grid, n_rows, NULL, NULL, output, NULL),
                     0);
    return run;
}

/* ---- rows ---- */

static void rows_allowed_bit_by_bit_give_the_same_bytes(void **state)
{
    (void)state;
    static const uint32_t steps[] = {1, 33, 170, SCENE_HEIGHT};
    for (uint32_t i = 0; i < 3 * 4; i++) {
        const uint32_t step = steps[i % 4];
        struct scene_stage stage;
        struct embed_times times = {-1, -1, -1};
        stage_set(&stage, 1 + i / 4);
        const struct embed_output output = {.embeddings = stage.out,
                                            .max_maps_size = i % 2 == 0 ? 0 : 1};
        struct embed_run *run = begin_at(&stage, 0, &output);
        for (uint32_t n = step; n < SCENE_HEIGHT; n += step)
            embed_allow(run, n);
        embed_allow(run, SCENE_HEIGHT);
        assert_int_equal(embed_finish(run, &times, NULL), 0);
        assert_memory_equal(whole, stage.out, stage.size);
        assert_true(times.resample > 0 && times.encode > 0 && times.store == 0);
        scene_stage_clear(&stage);
    }
}

/* Rows that a run does not need any more may be anything. */
static void a_wait_is_for_the_tiles_of_these_rows(void **state)
{
    (void)state;
    float *plane = malloc(SCENE_WIDTH * SCENE_HEIGHT * sizeof(float));
    assert_non_null(plane);
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct scene_stage stage;
        stage_set(&stage, n_threads);
        memcpy(plane, pixels, SCENE_WIDTH * SCENE_HEIGHT * sizeof(float));
        stage.source.pixels = plane;
        const struct embed_output output = {.embeddings = stage.out};
        struct embed_run *run = begin_at(&stage, 0, &output);
        assert_true(embed_wait(run, 0));
        embed_allow(run, SCENE_HEIGHT);
        for (uint32_t n = 0; n <= SCENE_HEIGHT; n += 100) {
            assert_true(embed_wait(run, n));
            for (uint32_t i = 0; i < n * SCENE_WIDTH; i++)
                plane[i] = NAN;
        }
        assert_int_equal(embed_finish(run, NULL, NULL), 0);
        assert_memory_equal(whole, stage.out, stage.size);
        scene_stage_clear(&stage);
    }
    free(plane);
}

/* Feeds a run with rows as they would be read: the next ones take the places of those that are held
 * longest. */
static void feed(struct embed_run *run, const float *plane, uint32_t width, uint32_t height,
                 float *held, uint32_t n_held)
{
    const uint32_t row_size = width * sizeof(float);
    for (uint32_t n = 0, n_next; n < height; n = n_next) {
        n_next = n + SOURCE_BLOCK_ROWS < height ? n + SOURCE_BLOCK_ROWS : height;
        if (n_next > n_held)
            assert_true(embed_wait(run, n_next - n_held));
        for (uint32_t y = n; y < n_next; y++)
            memcpy(held + (size_t)(y % n_held) * width, plane + (size_t)y * width, row_size);
        embed_allow(run, n_next);
    }
}

static void check_held_rows(const struct scene_choice *choice, uint64_t max_maps_size)
{
    float *plane = scene_pixels(choice->width, choice->height);
    float *wanted = scene_embed(encoder, plane, choice);
    struct scene_stage stage;
    uint64_t n_held = 0;
    scene_stage_set(&stage, encoder, plane, choice);
    assert_int_equal(embed_rows_held(stage.embedder, &stage.grid, &n_held, NULL), 0);
    assert_true(n_held < choice->height);
    float *held = malloc(n_held * choice->width * sizeof(float));
    assert_non_null(held);
    stage.source.pixels = held;
    stage.source.n_held = (uint32_t)n_held;
    const struct embed_output output = {.embeddings = stage.out, .max_maps_size = max_maps_size};
    struct embed_run *run = begin_at(&stage, 0, &output);
    feed(run, plane, choice->width, choice->height, held, (uint32_t)n_held);
    assert_int_equal(embed_finish(run, NULL, NULL), 0);
    assert_memory_equal(wanted, stage.out, stage.size);
    free(held);
    free(wanted);
    free(plane);
    scene_stage_clear(&stage);
}

static void a_band_of_rows_gives_the_same_bytes(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct scene_choice choice = {.n_threads = 1 + i % 3, .width = 130, .height = 2400};
        check_held_rows(&choice, i / 3);
        choice.sizes = (struct input_sizes){2, {24, 48}};
        choice.stride = 15;
        check_held_rows(&choice, i / 3);
    }
    /* A batch of chips goes down over more than all that is held. */
    check_held_rows(
        &(struct scene_choice){
            .n_threads = 2, .width = SCENE_CHIP, .height = 6000, .stride = 4 * SCENE_CHIP},
        1);
}

/* ---- what is stored and kept ---- */

struct store {
    float *out;
    atomic_uint n_batches;
    uint32_t n_wanted; /* then storing fails; 0: never */
    uint64_t n_chips;
    size_t row_size;
};

static int store_batch(void *context, uint64_t first, uint32_t n, const float *embeddings,
                       struct error *err)
{
    struct store *store = context;
    const uint32_t n_before = atomic_fetch_add(&store->n_batches, 1);
    if (first % ENCODER_BATCH != 0 || n > ENCODER_BATCH || first + n > store->n_chips ||
        (n < ENCODER_BATCH && first + n < store->n_chips))
        return error_set(err, ERROR_INVALID, "%d chips from %d on are no batch", (int)n,
                         (int)first);
    if (store->n_wanted > 0 && n_before >= store->n_wanted)
        return error_set(err, ERROR_FULL, "no room for chip %d", (int)first);
    memcpy((char *)store->out + first * store->row_size, embeddings, n * store->row_size);
    return 0;
}

/* Of chips of which the last batch is not full. */
static int run_stored(const float *plane, const struct scene_choice *choice, uint64_t max_maps_size,
                      struct store *store, struct error *err)
{
    struct scene_stage stage;
    struct embed_times times;
    scene_stage_set(&stage, encoder, plane, choice);
    assert_true(stage.n_chips % ENCODER_BATCH != 0);
    store->n_chips = stage.n_chips;
    store->row_size = stage.row_size;
    store->out = calloc(1, stage.size);
    const struct embed_output output = {
        .store = store_batch, .context = store, .max_maps_size = max_maps_size};
    const int rc = embed_finish(scene_begin(&stage, &output), &times, err);
    assert_true(times.store > 0);
    scene_stage_clear(&stage);
    return rc;
}

static void check_stored(const float *plane, const struct scene_choice *choice,
                         uint64_t max_maps_size)
{
    struct store store = {0};
    float *wanted = scene_embed(encoder, plane, choice);
    assert_int_equal(run_stored(plane, choice, max_maps_size, &store, NULL), 0);
    assert_int_equal(atomic_load(&store.n_batches),
                     (store.n_chips + ENCODER_BATCH - 1) / ENCODER_BATCH);
    assert_memory_equal(wanted, store.out, store.n_chips * store.row_size);
    free(wanted);
    free(store.out);
}

static void stored_batches_are_the_same_bytes(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        const struct scene_choice choice = {
            .n_threads = 1 + i % 3, .sizes = {i / 3 * 2, {24, 48}}, .stride = 19};
        check_stored(pixels, &choice, i % 2);
    }
}

/* Chips of a batch that lie too far apart for a ring of maps are pooled in parts. */
static void batches_are_whole_that_are_made_of_parts(void **state)
{
    (void)state;
    enum { LONG = 5000 };
    float *column = scene_pixels(SCENE_CHIP + 3, LONG);
    for (uint32_t i = 0; i < 8; i++) {
        const struct scene_choice choice = {.n_threads = 1 + i % 4,
                                            .sizes = {i % 2 * 2, {24, 48}},
                                            .width = SCENE_CHIP + 3,
                                            .height = LONG,
                                            .stride = (1 + i / 4 * 3) * SCENE_CHIP};
        check_stored(column, &choice, 1);
    }
    free(column);
}

static void a_batch_that_cannot_be_stored_ends_the_run(void **state)
{
    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct error err = {0};
        struct store store = {.n_wanted = 1};
        const struct scene_choice choice = {.n_threads = n_threads, .stride = 19};
        assert_int_equal(run_stored(pixels, &choice, 0, &store, &err), ERROR_FULL);
        assert_non_null(strstr(err.message, "no room for chip"));
        assert_in_range(atomic_load(&store.n_batches), 2, 1 + n_threads);
        free(store.out);
    }
}

/* Also those of tiles that no chip sees. */
static void kept_maps_are_of_the_whole_image(void **state)
{
    (void)state;
    struct scene_stage stage;
    struct embed_maps maps = {0};
    scene_stage_set(&stage, encoder, pixels,
                    &(struct scene_choice){.n_threads = 2, .stride = SCENE_HEIGHT});
    assert_int_equal(stage.n_chips, 1);
    float *found = malloc(stage.row_size);
    const struct embed_output output = {.embeddings = stage.out, .maps = &maps};
    assert_int_equal(embed_finish(scene_begin(&stage, &output), NULL, NULL), 0);
    assert_int_equal(maps.n, 1);
    struct grid grid = stage.grid;
    grid.params.stride_x = grid.params.stride_y = SCENE_CHIP;
    assert_int_equal(grid_plan(&grid.params, SCENE_WIDTH, SCENE_HEIGHT, 100000, &grid, NULL), 0);
    for (uint64_t i = 0; i < grid_n_chips(&grid); i++) {
        const struct chip_rect rect = grid_chip(&grid, i);
        embed_from_maps(stage.embedder, &maps, rect.x, rect.y, found);
        assert_memory_equal((char *)whole + i * stage.row_size, found, stage.row_size);
    }
    embed_maps_clear(&maps);
    free(found);
    scene_stage_clear(&stage);
}

static void maps_are_kept_only_whole(void **state)
{
    (void)state;
    struct scene_stage stage;
    struct embed_maps maps = {0};
    scene_stage_set(&stage, encoder, pixels,
                    &(struct scene_choice){.n_threads = 2, .sizes = {2, {24, 48}}});
    /* Enough for the smaller size alone, so that the other one's lie in a ring. */
    struct dense_geometry geometry;
    assert_int_equal(dense_geometry_init(&geometry, &stage.grid, 24, NULL), 0);
    const struct dense_tiles tiles = dense_tiles_all(&geometry);
    const uint64_t size = dense_maps_size(&geometry, encoder_info(encoder), &tiles);
    struct embed_output output = {
        .embeddings = stage.out, .maps = &maps, .max_maps_size = 2 * size};
    assert_int_equal(embed_finish(scene_begin(&stage, &output), NULL, NULL), 0);
    assert_int_equal(maps.n, 0);
    assert_null(maps.sizes[0].values);
    assert_null(maps.sizes[1].values);
    output.max_maps_size = 0;
    struct embed_run *run = begin_at(&stage, SCENE_HEIGHT - 1, &output);
    embed_cancel(run);
    assert_int_equal(embed_finish(run, NULL, NULL), ERROR_CANCELLED);
    assert_int_equal(maps.n, 0);
    assert_null(maps.sizes[0].values);
    assert_null(maps.sizes[1].values);
    scene_stage_clear(&stage);
}

static void two_runs_share_a_lane(void **state)
{
    (void)state;
    struct scene_stage stage;
    stage_set(&stage, 2);
    float *out = calloc(1, stage.size);
    struct embed_run *first = scene_begin(&stage, &(struct embed_output){.embeddings = stage.out});
    struct embed_run *second = scene_begin(&stage, &(struct embed_output){.embeddings = out});
    assert_int_equal(embed_finish(second, NULL, NULL), 0);
    assert_int_equal(embed_finish(first, NULL, NULL), 0);
    assert_memory_equal(whole, out, stage.size);
    assert_memory_equal(whole, stage.out, stage.size);
    free(out);
    scene_stage_clear(&stage);
}

/* ---- progress and cancellation ---- */

static bool add_chips(void *context, uint64_t n_chips)
{
    *(uint64_t *)context += n_chips;
    return true;
}

static bool refuse(void *context, uint64_t n_chips)
{
    *(uint64_t *)context += n_chips;
    return false;
}

static void progress_counts_chips_and_can_cancel(void **state)
{
    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct scene_stage stage;
        uint64_t n_chips = 0;
        stage_set(&stage, n_threads);
        assert_int_equal(embed_grid(stage.embedder, stage.lane, pixels, &stage.grid, add_chips,
                                    &n_chips, stage.out, NULL),
                         0);
        assert_int_equal(n_chips, stage.n_chips);
        n_chips = 0;
        assert_int_equal(embed_grid(stage.embedder, stage.lane, pixels, &stage.grid, refuse,
                                    &n_chips, stage.out, NULL),
                         ERROR_CANCELLED);
        assert_in_range(n_chips, 1, ENCODER_BATCH);
        scene_stage_clear(&stage);
    }
}

static void a_run_that_is_cancelled_waits_for_no_pixels(void **state)
{
    (void)state;
    for (uint32_t n_rows = 0; n_rows <= SCENE_HEIGHT; n_rows += SCENE_HEIGHT / 2) {
        struct scene_stage stage;
        stage_set(&stage, 2);
        const struct embed_output output = {.embeddings = stage.out};
        struct embed_run *run = begin_at(&stage, n_rows, &output);
        embed_cancel(run);
        assert_false(embed_wait(run, 1));
        assert_int_equal(embed_finish(run, NULL, NULL), ERROR_CANCELLED);
        scene_stage_clear(&stage);
    }
    assert_int_equal(embed_finish(NULL, NULL, NULL), 0);
}

/* Says no `n_no` times. */
struct asked {
    int n_no;
    atomic_int n;
};

static bool is_over(void *context)
{
    struct asked *asked = context;
    return atomic_fetch_add(&asked->n, 1) >= asked->n_no;
}

/* A run of a new encoder, whose weights are not packed. */
static int run_asking(uint32_t n_threads, struct asked *asked)
{
    struct scene_stage stage;
    struct encoder *fresh = scene_encoder(NULL);
    scene_stage_set(&stage, fresh, pixels,
                    &(struct scene_choice){.n_threads = n_threads, .sizes = {2, {24, 48}}});
    const struct cancel cancel = {is_over, asked};
    const struct embed_output output = {.embeddings = stage.out, .cancel = &cancel};
    const int rc = embed_finish(scene_begin(&stage, &output), NULL, NULL);
    scene_stage_clear(&stage);
    encoder_destroy(fresh);
    return rc;
}

/* Whenever it is called off: while weights are packed, within tiles, between units. */
static void a_run_is_left_when_it_is_called_off(void **state)
{
    (void)state;
    enum { AFTERWARDS = 12, STEP = 31 }; /* questions of a worker that was told so */
    struct asked all = {.n_no = INT32_MAX};
    assert_int_equal(run_asking(1, &all), 0);
    const int n_asked = atomic_load(&all.n);
    assert_true(n_asked > 8 * STEP);
    for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
        for (int n_no = 0; n_no < n_asked; n_no += n_no < 4 || n_no > n_asked - 4 ? 1 : STEP) {
            struct asked asked = {.n_no = n_no};
            const int rc = run_asking(n_threads, &asked);
            if (n_threads == 1)
                assert_int_equal(rc, ERROR_CANCELLED);
            else
                assert_true(rc == ERROR_CANCELLED || atomic_load(&asked.n) <= n_no);
            assert_true(atomic_load(&asked.n) <= n_no + (int)n_threads * AFTERWARDS);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_allowed_bit_by_bit_give_the_same_bytes),
        cmocka_unit_test(a_wait_is_for_the_tiles_of_these_rows),
        cmocka_unit_test(a_band_of_rows_gives_the_same_bytes),
        cmocka_unit_test(stored_batches_are_the_same_bytes),
        cmocka_unit_test(batches_are_whole_that_are_made_of_parts),
        cmocka_unit_test(a_batch_that_cannot_be_stored_ends_the_run),
        cmocka_unit_test(kept_maps_are_of_the_whole_image),
        cmocka_unit_test(maps_are_kept_only_whole),
        cmocka_unit_test(two_runs_share_a_lane),
        cmocka_unit_test(progress_counts_chips_and_can_cancel),
        cmocka_unit_test(a_run_that_is_cancelled_waits_for_no_pixels),
        cmocka_unit_test(a_run_is_left_when_it_is_called_off),
    };
    return test_run_with(tests, set_up, tear_down);
}
