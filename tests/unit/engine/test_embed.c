/* Embedding on the pool: the same bytes whatever the number of threads and other work, progress per
 * batch, cancellation within a batch. A narrow network keeps it quick under the thread sanitizer.
 */
#include "tests/test.h"

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
    int status = encoder_create(&encoder, data, size, NULL);
    free(data);
    weights_destroy(weights);
    if (status < 0 || pixels == NULL)
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
        *status = embedder_create(&embedder, pool, encoder, 0, NULL);
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
    int status = 0;
    uint64_t n_chips = 0;
    float *one = embed(1, add_chips, &n_chips, &status);
    assert_int_equal(status, 0);
    assert_int_equal(n_chips, GRID_CHIPS);
    for (uint32_t n = 2; n <= 4; n += 2) {
        float *many = embed(n, NULL, NULL, &status);
        assert_int_equal(status, 0);
        assert_memory_equal(one, many, matrix_size());
        free(many);
    }
    free(one);
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
    int status = 0;
    float *alone = embed(1, NULL, NULL, &status);
    struct pool *pool = NULL;
    struct embedder *embedder = NULL;
    assert_int_equal(pool_create(&pool, 2, 64, NULL), 0);
    assert_int_equal(embedder_create(&embedder, pool, encoder, 0, NULL), 0);
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

static bool refuse(void *context, uint64_t n_chips)
{
    *(uint64_t *)context += n_chips;
    return false;
}

static void progress_can_cancel(void **state)
{
    (void)state;
    int status = 0;
    uint64_t n_chips = 0;
    float *out = embed(1, refuse, &n_chips, &status);
    assert_int_equal(status, ERROR_CANCELLED);
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
    assert_int_equal(embedder_create(&embedder, pool, encoder, 0, NULL), 0);
    float *all = calloc(3 * dimension, sizeof(float));
    float *one = calloc(dimension, sizeof(float));
    assert_int_equal(embed_rects(embedder, lane, pixels, SIDE, rects, 3, 1, all, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(embed_rects(embedder, lane, pixels, SIDE, &rects[i], 1, 1, one, NULL), 0);
        assert_memory_equal(one, all + i * dimension, dimension * sizeof(float));
    }
    free(all);
    free(one);
    pool_lane_destroy(lane);
    embedder_destroy(embedder);
    pool_destroy(pool);
}

static void grids_differ_where_the_image_differs(void **state)
{
    (void)state;
    struct grid grid = make_grid();
    int status = 0;
    float *matrix = embed(2, NULL, NULL, &status);
    uint32_t dimension = encoder_info(encoder)->dimension;
    assert_int_equal(grid.columns, 13);
    assert_memory_not_equal(matrix, matrix + dimension, dimension * sizeof(float));
    free(matrix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_the_bytes),
        cmocka_unit_test(other_jobs_do_not_change_the_bytes),
        cmocka_unit_test(progress_can_cancel),
        cmocka_unit_test(a_window_alone_does_not_depend_on_the_others),
        cmocka_unit_test(grids_differ_where_the_image_differs),
    };
    return test_run_with(tests, set_up, tear_down);
}
