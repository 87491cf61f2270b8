/* Embedding on the pool: the same bytes whatever the number of threads and other work, progress per
 * batch, cancellation within a batch. A narrow network keeps it quick under the thread sanitizer.
 */
#include "tests/test.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/embed.h"
#include "tests/unit/engine/encoder/weights.h"

enum { SIDE = 260, CHIP = 20, GRID_CHIPS = 13 * 13 };

static struct encoder *encoder;
static float *pixels; /* SIDE x SIDE */

static int set_up(void **state)
{
    (void)state;
    const struct weights_shape shape = {
        .in_channels = 1, .kernel = 7, .widths = {8, 16, 24, 32}, .depths = {1, 1, 1, 1}};
    struct weights *weights = weights_create(&shape);
    weights->metadata = "{\"format\":1,\"name\":\"narrow\",\"input_size\":32,\"mean\":[0.4],"
                        "\"std\":[0.3]}";
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    pixels = malloc(SIDE * SIDE * sizeof(float));
    int rc = encoder_create(&encoder, data, size, NULL);
    free(data);
    weights_destroy(weights);
    if (rc < 0 || pixels == NULL)
        return -1;
    uint32_t x = 1;
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        x = x * 1664525 + 1013904223;
        pixels[i] = (float)(x >> 8) / (float)(1 << 24);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    encoder_destroy(encoder);
    free(pixels);
    return 0;
}

static struct grid make_grid(void)
{
    const struct grid_params params = {.chip_width = CHIP, .chip_height = CHIP};
    struct grid grid;
    assert_int_equal(grid_plan(&params, SIDE, SIDE, 1000, &grid, NULL), 0);
    assert_int_equal(grid_n_chips(&grid), GRID_CHIPS);
    return grid;
}

static int make_embedder(struct embedder **out, struct pool *pool, const struct input_sizes *sizes)
{
    return embedder_create(out, pool, encoder, sizes, ENCODING_CHIPS, PRECISION_FLOAT32, NULL,
                           NULL);
}

static size_t matrix_size(void)
{
    return GRID_CHIPS * encoder_info(encoder)->dimension * sizeof(float);
}

/* Embeds the grid; the caller frees the matrix. Safe on any thread: no assertions. */
static float *embed(uint32_t n_threads, embed_progress progress, void *context, int *status)
{
    struct grid grid;
    const struct grid_params params = {.chip_width = CHIP, .chip_height = CHIP};
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    struct embedder *embedder = NULL;
    float *out = calloc(1, matrix_size());
    *status = grid_plan(&params, SIDE, SIDE, 1000, &grid, NULL);
    if (*status == 0)
        *status = pool_create(&pool, n_threads, 64, NULL);
    if (*status == 0)
        *status = pool_lane_create(&lane, pool, NULL);
    if (*status == 0)
        *status = make_embedder(&embedder, pool, NULL);
    if (*status == 0)
        *status = embed_grid(embedder, lane, pixels, &grid, progress, context, out, NULL);
    pool_lane_destroy(lane);
    embedder_destroy(embedder);
    pool_destroy(pool);
    return out;
}

static bool add_chips(void *context, uint64_t n_chips)
{
    *(uint64_t *)context += n_chips;
    return true;
}

static void threads_do_not_change_the_bytes(void **state)
{
    (void)state;
    int rc = 0;
    uint64_t n_chips = 0;
    float *one = embed(1, add_chips, &n_chips, &rc);
    assert_int_equal(rc, 0);
    assert_int_equal(n_chips, GRID_CHIPS);
    for (uint32_t n = 2; n <= 4; n += 2) {
        float *many = embed(n, NULL, NULL, &rc);
        assert_int_equal(rc, 0);
        assert_memory_equal(one, many, matrix_size());
        free(many);
    }
    free(one);
}

/* What a run needs. */
struct stage {
    struct pool *pool;
    struct pool_lane *lane;
    struct embedder *embedder;
    struct grid grid;
    struct chip_source source;
    float *out;
};

static void stage_set(struct stage *stage, uint32_t n_threads)
{
    *stage = (struct stage){.grid = make_grid(), .out = calloc(1, matrix_size())};
    assert_int_equal(pool_create(&stage->pool, n_threads, 64, NULL), 0);
    assert_int_equal(pool_lane_create(&stage->lane, stage->pool, NULL), 0);
    assert_int_equal(make_embedder(&stage->embedder, stage->pool, NULL), 0);
    stage->source = (struct chip_source){.pixels = pixels, .image_width = SIDE};
}

static void stage_clear(struct stage *stage)
{
    pool_lane_destroy(stage->lane);
    embedder_destroy(stage->embedder);
    pool_destroy(stage->pool);
    free(stage->out);
}

/* Windows by hand, in batches of `batch`. */
static void embed_by_hand(const struct chip_rect *rects, uint32_t n, uint32_t batch, float *out)
{
    const uint32_t side = encoder_info(encoder)->input_size;
    const size_t dimension = encoder_info(encoder)->dimension;
    struct encoder_workspace *workspace = NULL;
    struct chip_resampler *resampler = NULL;
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, side, PRECISION_FLOAT32, NULL, NULL), 0);
    assert_int_equal(chip_resampler_create(&resampler, CHIP, CHIP, side, side, NULL), 0);
    float *scratch = calloc(chip_resampler_scratch(resampler), sizeof(float));
    float *chips = calloc((size_t)batch * side * side, sizeof(float));
    assert_true(scratch != NULL && chips != NULL);
    for (uint32_t first = 0; first < n; first += batch) {
        const uint32_t n_batch = n - first < batch ? n - first : batch;
        for (uint32_t i = 0; i < n_batch; i++)
            chip_resample(resampler, pixels, SIDE, rects[first + i].x, rects[first + i].y, scratch,
                          chips + (size_t)i * side * side);
        encoder_embed(encoder, workspace, chips, n_batch, out + first * dimension);
    }
    free(chips);
    free(scratch);
    chip_resampler_destroy(resampler);
    encoder_workspace_destroy(workspace);
}

/* The last batches are shared by workers, but a chip that is alone in its batch stays so. */
static void batches_are_those_of_one_thread(void **state)
{
    (void)state;
    enum { MOST = 3 * ENCODER_BATCH };
    static const uint32_t counts[] = {1, 2, 7, 8, 9, 31, 32, 33, 34, 40, 63, 64, 65, 72, MOST};
    const size_t dimension = encoder_info(encoder)->dimension;
    struct chip_rect rects[MOST];
    float *expected = calloc(MOST * dimension, sizeof(float));
    float *found = calloc(MOST * dimension, sizeof(float));
    assert_true(expected != NULL && found != NULL);
    for (uint32_t i = 0; i < MOST; i++)
        rects[i] = (struct chip_rect){i * 37 % (SIDE - CHIP), i * 53 % (SIDE - CHIP), CHIP, CHIP};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const uint32_t n = counts[i];
        embed_by_hand(rects, n, ENCODER_BATCH, expected);
        for (uint32_t n_threads = 1; n_threads <= 5; n_threads += 2) {
            struct stage stage;
            stage_set(&stage, n_threads);
            memset(found, 0, n * dimension * sizeof(float));
            assert_int_equal(embed_rects(stage.embedder, stage.lane, pixels, SIDE, SIDE, rects, n,
                                         ENCODER_BATCH, NULL, found, NULL),
                             0);
            assert_memory_equal(expected, found, n * dimension * sizeof(float));
            stage_clear(&stage);
        }
    }
    free(expected);
    free(found);
}

struct neighbour {
    struct embedder *embedder;
    struct pool *pool;
    float *out;
    int status;
};

static void *embed_beside(void *argument)
{
    struct neighbour *neighbour = argument;
    struct grid grid;
    const struct grid_params params = {.chip_width = CHIP, .chip_height = CHIP};
    struct pool_lane *lane = NULL;
    neighbour->status = grid_plan(&params, SIDE, SIDE, 1000, &grid, NULL);
    if (neighbour->status == 0)
        neighbour->status = pool_lane_create(&lane, neighbour->pool, NULL);
    if (neighbour->status == 0)
        neighbour->status =
            embed_grid(neighbour->embedder, lane, pixels, &grid, NULL, NULL, neighbour->out, NULL);
    pool_lane_destroy(lane);
    return NULL;
}

static void other_jobs_do_not_change_the_bytes(void **state)
{
    (void)state;
    int rc = 0;
    float *alone = embed(1, NULL, NULL, &rc);
    struct pool *pool = NULL;
    struct embedder *embedder = NULL;
    assert_int_equal(pool_create(&pool, 2, 64, NULL), 0);
    assert_int_equal(make_embedder(&embedder, pool, NULL), 0);
    struct neighbour neighbours[3];
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        neighbours[i] = (struct neighbour){embedder, pool, calloc(1, matrix_size()), 0};
        assert_int_equal(pthread_create(&threads[i], NULL, embed_beside, &neighbours[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(neighbours[i].status, 0);
        assert_memory_equal(alone, neighbours[i].out, matrix_size());
        free(neighbours[i].out);
    }
    free(alone);
    embedder_destroy(embedder);
    pool_destroy(pool);
}

static int stage_begin(struct stage *stage, uint32_t n_rows, struct embed_run **run)
{
    const struct embed_output output = {.embeddings = stage->out};
    return embed_grid_begin(run, stage->embedder, stage->lane, &stage->source, &stage->grid, n_rows,
                            NULL, NULL, &output, NULL);
}

/* Rows become available in steps that are no multiple of a chip's. */
static void rows_allowed_bit_by_bit_give_the_same_bytes(void **state)
{
    (void)state;
    int rc = 0;
    float *at_once = embed(1, NULL, NULL, &rc);
    static const uint32_t steps[] = {1, 7, 33, SIDE};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct stage stage;
            struct embed_run *run = NULL;
            struct embed_times times = {-1, -1, -1};
            stage_set(&stage, n_threads);
            assert_int_equal(stage_begin(&stage, 0, &run), 0);
            for (uint32_t n = steps[i]; n < SIDE; n += steps[i])
                embed_allow(run, n);
            embed_allow(run, SIDE);
            assert_int_equal(embed_finish(run, &times, NULL), 0);
            assert_memory_equal(at_once, stage.out, matrix_size());
            assert_true(times.resample > 0 && times.encode > 0 && times.store == 0);
            stage_clear(&stage);
        }
    }
    free(at_once);
}

static void a_run_that_is_cancelled_waits_for_no_pixels(void **state)
{
    (void)state;
    struct stage stage;
    struct embed_run *run = NULL;
    stage_set(&stage, 2);
    assert_int_equal(stage_begin(&stage, SIDE / 2, &run), 0);
    embed_cancel(run);
    assert_int_equal(embed_finish(run, NULL, NULL), ERROR_CANCELLED);
    assert_int_equal(embed_finish(NULL, NULL, NULL), 0);
    stage_clear(&stage);
}

static bool is_over(void *n_left)
{
    return atomic_fetch_sub((atomic_int *)n_left, 1) <= 0;
}

/* Before the first chip, between chips and between layers: there are fewer batches than that. */
static void a_batch_is_left_when_it_is_called_off(void **state)
{
    (void)state;
    struct stage stage;
    stage_set(&stage, 1);
    for (int n_no = 0; n_no < 2 * ENCODER_BATCH; n_no += 9) {
        const struct cancel cancel = {is_over, &(atomic_int){n_no}};
        const struct embed_output output = {.embeddings = stage.out, .cancel = &cancel};
        struct embed_run *run = NULL;
        int rc = embed_grid_begin(&run, stage.embedder, stage.lane, &stage.source, &stage.grid,
                                  SIDE, NULL, NULL, &output, NULL);
        assert_int_equal(rc, 0);
        assert_int_equal(embed_finish(run, NULL, NULL), ERROR_CANCELLED);
    }
    stage_clear(&stage);
}

/* What is waited for is there, and its pixels may go. */
static void a_wait_is_for_the_first_chips(void **state)
{
    (void)state;
    int rc = 0;
    float *at_once = embed(1, NULL, NULL, &rc);
    const size_t vector_size = matrix_size() / GRID_CHIPS;
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct stage stage;
        struct embed_run *run = NULL;
        stage_set(&stage, n_threads);
        assert_int_equal(stage_begin(&stage, 0, &run), 0);
        assert_true(embed_wait(run, 0));
        embed_allow(run, SIDE);
        for (uint32_t n = 0; n <= SIDE; n += n + 1) {
            assert_true(embed_wait(run, n));
            assert_memory_equal(at_once, stage.out, grid_chips_above(&stage.grid, n) * vector_size);
        }
        embed_cancel(run);
        assert_false(embed_wait(run, 0));
        assert_int_equal(embed_finish(run, NULL, NULL), ERROR_CANCELLED);
        stage_clear(&stage);
    }
    free(at_once);
}

static void two_runs_share_a_lane(void **state)
{
    (void)state;
    int rc = 0;
    float *alone = embed(1, NULL, NULL, &rc);
    struct stage stage;
    struct embed_run *first = NULL, *second = NULL;
    stage_set(&stage, 2);
    float *out = calloc(1, matrix_size());
    const struct embed_output output = {.embeddings = out};
    assert_int_equal(stage_begin(&stage, SIDE, &first), 0);
    assert_int_equal(embed_grid_begin(&second, stage.embedder, stage.lane, &stage.source,
                                      &stage.grid, SIDE, NULL, NULL, &output, NULL),
                     0);
    assert_int_equal(embed_finish(second, NULL, NULL), 0);
    assert_int_equal(embed_finish(first, NULL, NULL), 0);
    assert_memory_equal(alone, out, matrix_size());
    assert_memory_equal(alone, stage.out, matrix_size());
    stage_clear(&stage);
    free(out);
    free(alone);
}

struct store {
    float *out;
    atomic_uint n_batches;
    uint32_t n_wanted; /* then storing fails; 0: never */
    size_t vector_size;
};

static int store_batch(void *context, uint64_t first, uint32_t n, const float *vectors,
                       struct error *err)
{
    struct store *store = context;
    const uint32_t n_before = atomic_fetch_add(&store->n_batches, 1);
    if (first % ENCODER_BATCH != 0 || (n < ENCODER_BATCH && first + n < GRID_CHIPS))
        return error_set(err, ERROR_INVALID, "%d chips from %d on are no batch", (int)n,
                         (int)first);
    if (store->n_wanted > 0 && n_before >= store->n_wanted)
        return error_set(err, ERROR_FULL, "no room for chip %d", (int)first);
    memcpy((char *)store->out + first * store->vector_size, vectors, n * store->vector_size);
    return 0;
}

static int run_stored(uint32_t n_threads, const struct input_sizes *sizes, struct store *store,
                      struct error *err)
{
    struct stage stage;
    struct embed_run *run = NULL;
    struct embed_times times;
    stage_set(&stage, n_threads);
    embedder_destroy(stage.embedder);
    assert_int_equal(make_embedder(&stage.embedder, stage.pool, sizes), 0);
    store->vector_size = embedder_dimension(stage.embedder) * sizeof(float);
    const struct embed_output output = {.store = store_batch, .context = store};
    assert_int_equal(embed_grid_begin(&run, stage.embedder, stage.lane, &stage.source, &stage.grid,
                                      SIDE, NULL, NULL, &output, err),
                     0);
    const int rc = embed_finish(run, &times, err);
    assert_true(times.store > 0);
    stage_clear(&stage);
    return rc;
}

static void stored_batches_are_the_same_bytes(void **state)
{
    (void)state;
    static const struct input_sizes choices[] = {{0}, {2, {32, 48}}};
    for (size_t i = 0; i < 2; i++) {
        struct stage stage;
        stage_set(&stage, 1);
        embedder_destroy(stage.embedder);
        assert_int_equal(embedder_create(&stage.embedder, stage.pool, encoder, &choices[i],
                                         ENCODING_CHIPS, PRECISION_FLOAT32, NULL, NULL),
                         0);
        const size_t size = GRID_CHIPS * embedder_dimension(stage.embedder) * sizeof(float);
        float *whole = malloc(size), *out = malloc(size);
        assert_int_equal(
            embed_grid(stage.embedder, stage.lane, pixels, &stage.grid, NULL, NULL, whole, NULL),
            0);
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            struct store store = {.out = out};
            memset(out, 0, size);
            assert_int_equal(run_stored(n_threads, &choices[i], &store, NULL), 0);
            assert_memory_equal(whole, out, size);
        }
        free(whole);
        free(out);
        stage_clear(&stage);
    }
}

static void a_batch_that_cannot_be_stored_ends_the_run(void **state)
{
    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        struct error err = {0};
        struct store store = {.out = malloc(matrix_size()), .n_wanted = 1};
        assert_int_equal(run_stored(n_threads, NULL, &store, &err), ERROR_FULL);
        assert_non_null(strstr(err.message, "no room for chip"));
        assert_in_range(atomic_load(&store.n_batches), 2, 1 + n_threads);
        free(store.out);
    }
}

static bool refuse(void *context, uint64_t n_chips)
{
    *(uint64_t *)context += n_chips;
    return false;
}

static void progress_can_cancel(void **state)
{
    (void)state;
    int rc = 0;
    uint64_t n_chips = 0;
    float *out = embed(1, refuse, &n_chips, &rc);
    assert_int_equal(rc, ERROR_CANCELLED);
    assert_int_equal(n_chips, ENCODER_BATCH); /* it took effect within one batch */
    free(out);
}

static void a_window_alone_does_not_depend_on_the_others(void **state)
{
    (void)state;
    uint32_t dimension = encoder_info(encoder)->dimension;
    struct chip_rect rects[3] = {{3, 5, CHIP, CHIP}, {100, 7, CHIP, CHIP}, {200, 230, CHIP, CHIP}};
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    struct embedder *embedder = NULL;
    assert_int_equal(pool_create(&pool, 2, 64, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    assert_int_equal(make_embedder(&embedder, pool, NULL), 0);
    float *all = calloc(3 * dimension, sizeof(float));
    float *one = calloc(dimension, sizeof(float));
    assert_int_equal(embed_rects(embedder, lane, pixels, SIDE, SIDE, rects, 3, 1, NULL, all, NULL),
                     0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(
            embed_rects(embedder, lane, pixels, SIDE, SIDE, &rects[i], 1, 1, NULL, one, NULL), 0);
        assert_memory_equal(one, all + i * dimension, dimension * sizeof(float));
    }
    free(all);
    free(one);
    pool_lane_destroy(lane);
    embedder_destroy(embedder);
    pool_destroy(pool);
}

/* Embeds the grid at these sizes; the caller frees the matrix. */
static float *embed_at(uint32_t n_threads, const struct input_sizes *sizes, uint32_t *dimension)
{
    struct grid grid = make_grid();
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    struct embedder *embedder = NULL;
    assert_int_equal(pool_create(&pool, n_threads, 64, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    assert_int_equal(make_embedder(&embedder, pool, sizes), 0);
    *dimension = embedder_dimension(embedder);
    assert_int_equal(*dimension, encoder_info(encoder)->dimension * sizes->n);
    float *out = calloc((size_t)GRID_CHIPS * *dimension, sizeof(float));
    assert_int_equal(embed_grid(embedder, lane, pixels, &grid, NULL, NULL, out, NULL), 0);
    pool_lane_destroy(lane);
    embedder_destroy(embedder);
    pool_destroy(pool);
    return out;
}

static void several_sizes_are_concatenated(void **state)
{
    (void)state;
    const struct input_sizes sizes = {3, {24, 33, 48}};
    uint32_t dimension, part;
    float *all = embed_at(1, &sizes, &dimension);
    float *again = embed_at(3, &sizes, &dimension);
    assert_memory_equal(all, again, (size_t)GRID_CHIPS * dimension * sizeof(float));
    for (uint32_t k = 0; k < sizes.n; k++) {
        const struct input_sizes one = {1, {sizes.sides[k]}};
        float *alone = embed_at(2, &one, &part);
        for (uint32_t chip = 0; chip < GRID_CHIPS; chip += 7) {
            double squares = 0;
            for (uint32_t i = 0; i < part; i++)
                squares += (double)alone[chip * part + i] * alone[chip * part + i];
            assert_true(squares > 0);
            for (uint32_t i = 0; i < part; i++)
                assert_float_equal(all[(size_t)chip * dimension + k * part + i],
                                   alone[chip * part + i] / sqrt(squares), 1e-6);
        }
        free(alone);
    }
    free(all);
    free(again);
}

static void grids_differ_where_the_image_differs(void **state)
{
    (void)state;
    struct grid grid = make_grid();
    int rc = 0;
    float *matrix = embed(2, NULL, NULL, &rc);
    uint32_t dimension = encoder_info(encoder)->dimension;
    assert_int_equal(grid.columns, 13);
    assert_memory_not_equal(matrix, matrix + dimension, dimension * sizeof(float));
    free(matrix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_the_bytes),
        cmocka_unit_test(batches_are_those_of_one_thread),
        cmocka_unit_test(other_jobs_do_not_change_the_bytes),
        cmocka_unit_test(rows_allowed_bit_by_bit_give_the_same_bytes),
        cmocka_unit_test(a_run_that_is_cancelled_waits_for_no_pixels),
        cmocka_unit_test(a_batch_is_left_when_it_is_called_off),
        cmocka_unit_test(a_wait_is_for_the_first_chips),
        cmocka_unit_test(two_runs_share_a_lane),
        cmocka_unit_test(stored_batches_are_the_same_bytes),
        cmocka_unit_test(a_batch_that_cannot_be_stored_ends_the_run),
        cmocka_unit_test(progress_can_cancel),
        cmocka_unit_test(a_window_alone_does_not_depend_on_the_others),
        cmocka_unit_test(several_sizes_are_concatenated),
        cmocka_unit_test(grids_differ_where_the_image_differs),
    };
    return test_run_with(tests, set_up, tear_down);
}
