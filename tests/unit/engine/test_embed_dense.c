/* Images encoded as a whole: a window's bytes follow from the image and its place alone, whatever
 * the number of threads, other work, the memory for maps and the way it is asked for. */
#include "tests/test.h"

#include <math.h>
#include <pthread.h>

#include "engine/dense/tile.h"
#include "engine/dense/windows.h"
#include "engine/embed.h"
#include "tests/unit/engine/dense/plain.h"
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

static void stage_set(struct scene_stage *stage, const struct scene_choice *choice)
{
    scene_stage_set(stage, encoder, pixels, choice);
}

/* ---- a run ---- */

struct put {
    struct dense_maps *maps;
    uint32_t x, y;
};

static void put_map(void *context, uint32_t stage, const struct encoder_map *map)
{
    const struct put *put = context;
    dense_maps_put(put->maps, put->x, put->y, stage, map);
}

static void make_maps(const struct scene_stage *stage, struct dense_maps *maps)
{
    const struct dense_geometry *geometry = &maps->geometry;
    const size_t n_pixels = (size_t)geometry->side * geometry->side;
    struct encoder_workspace *workspace = NULL;
    struct dense_tile_scratch scratch = {0};
    float *tile = malloc(n_pixels * sizeof(float));
    assert_int_equal(encoder_workspace_create_tile(&workspace, encoder, geometry->side,
                                                   PRECISION_FLOAT32, NULL, NULL),
                     0);
    for (uint32_t i = 0; i < geometry->x.n_tiles * geometry->y.n_tiles; i++) {
        struct put put = {maps, i / geometry->y.n_tiles, i % geometry->y.n_tiles};
        assert_int_equal(
            dense_tile_make(geometry, &stage->source, put.x, put.y, &scratch, NULL, tile, NULL), 0);
        dense_maps_put_pixels(maps, put.x, put.y, tile);
        encoder_run_tile(encoder, workspace, tile, put_map, &put);
    }
    encoder_workspace_destroy(workspace);
    dense_tile_scratch_clear(&scratch);
    free(tile);
}

static void a_run_is_its_tiles_and_windows(void **state)
{
    (void)state;
    struct scene_stage stage;
    struct dense_geometry geometry;
    struct dense_maps maps;
    stage_set(&stage, &usual);
    assert_int_equal(dense_geometry_init(&geometry, &stage.grid, SCENE_INPUT, NULL), 0);
    assert_true(geometry.x.n_tiles > 1 && geometry.y.n_tiles > 2);
    const struct dense_tiles tiles = dense_tiles_all(&geometry);
    const struct encoder_info *info = encoder_info(encoder);
    assert_int_equal(dense_maps_init(&maps, &geometry, info, &tiles, UINT32_MAX, NULL), 0);
    make_maps(&stage, &maps);
    for (uint64_t i = 0; i < stage.n_chips; i++) {
        const struct chip_rect rect = grid_chip(&stage.grid, i);
        dense_pool_windows(&maps, info, &(struct chip_rect){.x = rect.x, .y = rect.y}, 1, 0,
                           stage.out + i * info->dimension);
    }
    assert_memory_equal(whole, stage.out, stage.size);
    assert_memory_not_equal(whole, whole + info->dimension, stage.row_size);
    dense_maps_clear(&maps);
    scene_stage_clear(&stage);
}

static void threads_do_not_change_the_bytes(void **state)
{
    (void)state;
    for (uint32_t n_threads = 2; n_threads <= 4; n_threads += 2) {
        struct scene_stage stage;
        stage_set(&stage, &(struct scene_choice){.n_threads = n_threads});
        assert_int_equal(embed_grid(stage.embedder, stage.lane, pixels, &stage.grid, NULL, NULL,
                                    stage.out, NULL),
                         0);
        assert_memory_equal(whole, stage.out, stage.size);
        scene_stage_clear(&stage);
    }
}

/* A job with tiles of its own size on the same workers. */
struct neighbour {
    const struct scene_stage *shared;
    struct grid grid;
    float *out;
    int status;
};

static void *embed_beside(void *argument)
{
    struct neighbour *neighbour = argument;
    struct pool_lane *lane = NULL;
    neighbour->status = pool_lane_create(&lane, neighbour->shared->pool, NULL);
    if (neighbour->status == 0)
        neighbour->status = embed_grid(neighbour->shared->embedder, lane, pixels, &neighbour->grid,
                                       NULL, NULL, neighbour->out, NULL);
    pool_lane_destroy(lane);
    return NULL;
}

static void other_jobs_do_not_change_the_bytes(void **state)
{
    (void)state;
    static const uint32_t chips[] = {SCENE_CHIP, 33, 50};
    struct scene_stage shared, stages[3];
    struct neighbour neighbours[3];
    float *alone[3];
    pthread_t threads[3];
    stage_set(&shared, &(struct scene_choice){.n_threads = 2});
    for (size_t i = 0; i < 3; i++) {
        const struct scene_choice choice = {.chip = chips[i]};
        stage_set(&stages[i], &choice);
        alone[i] = scene_embed(encoder, pixels, &choice);
        neighbours[i] = (struct neighbour){&shared, stages[i].grid, stages[i].out, 0};
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, embed_beside, &neighbours[i]), 0);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(neighbours[i].status, 0);
        assert_memory_equal(alone[i], stages[i].out, stages[i].size);
        free(alone[i]);
        scene_stage_clear(&stages[i]);
    }
    scene_stage_clear(&shared);
}

/* In a ring of strips, and in memory as a whole. */
static void check_ring(const struct encoder *of, const float *plane,
                       const struct scene_choice *choice)
{
    struct scene_stage stage;
    float *wanted = scene_embed(of, plane, choice);
    scene_stage_set(&stage, of, plane, choice);
    const struct embed_output output = {.embeddings = stage.out, .max_maps_size = 1};
    assert_int_equal(embed_finish(scene_begin(&stage, &output), NULL, NULL), 0);
    assert_memory_equal(wanted, stage.out, stage.size);
    scene_stage_clear(&stage);
    free(wanted);
}

static void a_ring_of_maps_gives_the_same_bytes(void **state)
{
    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads += n_threads) {
        check_ring(encoder, pixels, &(struct scene_choice){.n_threads = n_threads});
        check_ring(encoder, pixels, &(struct scene_choice){.n_threads = n_threads, .stride = 7});
        check_ring(encoder, pixels,
                   &(struct scene_choice){.n_threads = n_threads, .sizes = {2, {24, 48}}});
    }
}

/* The chips of a batch lie one below the other, farther apart than a ring of maps reaches. */
static void a_ring_of_maps_may_be_shorter_than_a_batch(void **state)
{
    (void)state;
    enum { LONG = 5000 };
    float *column = scene_pixels(SCENE_CHIP + 3, LONG);
    for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
        struct scene_choice choice = {
            .n_threads = n_threads, .width = SCENE_CHIP + 3, .height = LONG};
        check_ring(encoder, column, &choice);
        choice.stride = 4 * SCENE_CHIP;
        check_ring(encoder, column, &choice);
    }
    free(column);
}

/* ---- windows ---- */

enum { N_WINDOWS = 60 };

/* Anywhere, at the edges, and some of them twice. */
static void choose_windows(struct chip_rect *windows)
{
    const uint32_t last_x = SCENE_WIDTH - SCENE_CHIP, last_y = SCENE_HEIGHT - SCENE_CHIP;
    uint32_t random = 9;
    for (uint32_t i = 0; i < N_WINDOWS; i++) {
        windows[i] = (struct chip_rect){plain_random(&random, last_x + 1),
                                        plain_random(&random, last_y + 1), SCENE_CHIP, SCENE_CHIP};
        if (i < 4)
            windows[i] = (struct chip_rect){i % 2 * last_x, i / 2 * last_y, SCENE_CHIP, SCENE_CHIP};
        if (i % 20 == 19)
            windows[i] = windows[i - 11];
    }
}

/* One by one; to be freed. */
static float *embed_one_by_one(struct scene_stage *stage, const struct chip_rect *windows)
{
    float *out = calloc(N_WINDOWS, stage->row_size);
    const size_t dimension = embedder_dimension(stage->embedder);
    assert_non_null(out);
    for (uint32_t i = 0; i < N_WINDOWS; i++)
        assert_int_equal(embed_rects(stage->embedder, stage->lane, pixels, SCENE_WIDTH,
                                     SCENE_HEIGHT, &windows[i], 1, ENCODER_BATCH, NULL,
                                     out + i * dimension, NULL),
                         0);
    return out;
}

static void check_windows_beside_a_grid(struct scene_stage *stage, const struct chip_rect *windows,
                                        const float *wanted, uint64_t max_maps_size)
{
    float *grid = malloc(stage->size), *found = calloc(N_WINDOWS, stage->row_size);
    struct embed_output output = {.embeddings = grid};
    assert_int_equal(embed_finish(scene_begin(stage, &output), NULL, NULL), 0);
    output = (struct embed_output){.embeddings = stage->out,
                                   .windows = windows,
                                   .n_windows = N_WINDOWS,
                                   .window_embeddings = found,
                                   .max_maps_size = max_maps_size};
    assert_int_equal(embed_finish(scene_begin(stage, &output), NULL, NULL), 0);
    assert_memory_equal(wanted, found, N_WINDOWS * stage->row_size);
    assert_memory_equal(grid, stage->out, stage->size);
    free(grid);
    free(found);
}

static void windows_have_the_same_bytes_however_they_are_asked_for(void **state)
{
    (void)state;
    static const struct scene_choice choices[] = {
        {.n_threads = 1}, {.n_threads = 3}, {.n_threads = 2, .sizes = {2, {24, 48}}}};
    struct chip_rect windows[N_WINDOWS], shuffled[N_WINDOWS];
    choose_windows(windows);
    for (uint32_t i = 0; i < N_WINDOWS; i++)
        shuffled[i] = windows[i * 7 % N_WINDOWS];
    for (size_t k = 0; k < sizeof(choices) / sizeof(choices[0]); k++) {
        struct scene_stage stage;
        stage_set(&stage, &choices[k]);
        float *wanted = embed_one_by_one(&stage, windows);
        float *found = calloc(N_WINDOWS, stage.row_size);
        const size_t dimension = embedder_dimension(stage.embedder);
        assert_int_equal(embed_rects(stage.embedder, stage.lane, pixels, SCENE_WIDTH, SCENE_HEIGHT,
                                     shuffled, N_WINDOWS, 1, NULL, found, NULL),
                         0);
        for (size_t i = 0; i < N_WINDOWS; i++)
            assert_memory_equal(wanted + i * 7 % N_WINDOWS * dimension, found + i * dimension,
                                stage.row_size);
        assert_int_equal(embed_rects(stage.embedder, stage.lane, pixels, SCENE_WIDTH, SCENE_HEIGHT,
                                     windows, 0, 1, NULL, found, NULL),
                         0);
        check_windows_beside_a_grid(&stage, windows, wanted, 0);
        check_windows_beside_a_grid(&stage, windows, wanted, 1);
        free(wanted);
        free(found);
        scene_stage_clear(&stage);
    }
}

static void kept_maps_give_the_same_bytes(void **state)
{
    (void)state;
    struct chip_rect windows[N_WINDOWS];
    choose_windows(windows);
    for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
        const struct scene_choice choice = {
            .n_threads = n_threads, .sizes = {n_threads, {24, 48}}, .stride = 11};
        struct scene_stage first, second;
        struct embed_maps maps = {0};
        stage_set(&first, &(struct scene_choice){.n_threads = n_threads, .sizes = choice.sizes});
        stage_set(&second, &choice);
        float *wanted = embed_one_by_one(&first, windows),
              *grid = scene_embed(encoder, pixels, &choice);
        float *found = calloc(N_WINDOWS, first.row_size);
        struct embed_output output = {.embeddings = first.out, .maps = &maps};
        assert_int_equal(embed_finish(scene_begin(&first, &output), NULL, NULL), 0);
        assert_int_equal(maps.n, n_threads);
        for (uint32_t i = 0; i < N_WINDOWS; i++)
            embed_from_maps(first.embedder, &maps, windows[i].x, windows[i].y,
                            found + i * embedder_dimension(first.embedder));
        assert_memory_equal(wanted, found, N_WINDOWS * first.row_size);
        /* Another grid from the same maps: nothing of the image is read. */
        memset(found, 0, N_WINDOWS * first.row_size);
        second.source.pixels = NULL;
        output = (struct embed_output){.embeddings = second.out,
                                       .windows = windows,
                                       .n_windows = N_WINDOWS,
                                       .window_embeddings = found,
                                       .maps = &maps};
        assert_int_equal(embed_finish(scene_begin(&second, &output), NULL, NULL), 0);
        assert_memory_equal(grid, second.out, second.size);
        assert_memory_equal(wanted, found, N_WINDOWS * first.row_size);
        assert_int_equal(maps.n, n_threads);
        embed_maps_clear(&maps);
        free(wanted);
        free(grid);
        free(found);
        scene_stage_clear(&first);
        scene_stage_clear(&second);
    }
}

/* Maps of all tiles that both see would be too large to be in memory together. */
static void windows_far_apart_have_the_same_bytes(void **state)
{
    (void)state;
    enum { WIDE = 60000, HIGH = 24, CHIP = 4, LAST = WIDE - CHIP };
    static const struct chip_rect windows[] = {
        {LAST, 0, CHIP, CHIP}, {0, 9, CHIP, CHIP}, {LAST, HIGH - CHIP, CHIP, CHIP}};
    const struct scene_choice choice = {
        .width = CHIP, .height = CHIP, .chip = CHIP, .sizes = {1, {192}}};
    float *row = scene_pixels(WIDE, HIGH);
    struct scene_stage stage;
    scene_stage_set(&stage, encoder, row, &choice);
    const size_t dimension = embedder_dimension(stage.embedder);
    float *together = calloc(3, stage.row_size), *alone = calloc(1, stage.row_size);
    assert_int_equal(embed_rects(stage.embedder, stage.lane, row, WIDE, HIGH, windows, 3, 1, NULL,
                                 together, NULL),
                     0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(embed_rects(stage.embedder, stage.lane, row, WIDE, HIGH, &windows[i], 1, 1,
                                     NULL, alone, NULL),
                         0);
        assert_memory_equal(together + i * dimension, alone, stage.row_size);
    }
    free(together);
    free(alone);
    free(row);
    scene_stage_clear(&stage);
}

/* Of two grids, what both have. */
static void strides_do_not_change_the_bytes(void **state)
{
    (void)state;
    struct scene_stage coarse, fine;
    const struct scene_choice choice = {.n_threads = 2, .stride = SCENE_CHIP / 4};
    float *found = scene_embed(encoder, pixels, &choice);
    stage_set(&coarse, &usual);
    stage_set(&fine, &choice);
    const size_t dimension = embedder_dimension(fine.embedder);
    for (uint64_t i = 0; i < coarse.n_chips; i++) {
        const struct chip_rect rect = grid_chip(&coarse.grid, i);
        const int64_t same = grid_find(&fine.grid, &rect);
        assert_true(same >= 0);
        assert_memory_equal(whole + i * dimension, found + (size_t)same * dimension, fine.row_size);
    }
    free(found);
    scene_stage_clear(&coarse);
    scene_stage_clear(&fine);
}

/* ---- encoders and sizes ---- */

static void several_sizes_are_concatenated(void **state)
{
    (void)state;
    const struct scene_choice choice = {.n_threads = 3, .sizes = {3, {24, 33, 48}}};
    const size_t part = encoder_info(encoder)->dimension;
    struct scene_stage stage;
    stage_set(&stage, &choice);
    float *all = scene_embed(encoder, pixels, &choice);
    for (uint32_t k = 0; k < 3; k++) {
        const struct scene_choice one = {.sizes = {1, {choice.sizes.sides[k]}}};
        float *alone = scene_embed(encoder, pixels, &one);
        for (size_t chip = 0; chip < stage.n_chips; chip += 7) {
            double squares = 0;
            for (size_t i = 0; i < part; i++)
                squares += (double)alone[chip * part + i] * alone[chip * part + i];
            assert_true(squares > 0);
            for (size_t i = 0; i < part; i++)
                assert_float_equal(all[(chip * 3 + k) * part + i],
                                   alone[chip * part + i] / sqrt(squares), 1e-6);
        }
        free(alone);
    }
    free(all);
    scene_stage_clear(&stage);
}

static void check_encoder(const char *pool, uint32_t dimension)
{
    struct encoder *other = scene_encoder(pool);
    assert_int_equal(encoder_info(other)->dimension, dimension);
    check_ring(other, pixels, &(struct scene_choice){.n_threads = 2});
    encoder_destroy(other);
}

static void encoders_pool_what_they_say(void **state)
{
    (void)state;
    check_encoder("{\"stages\": [3], \"statistics\": [\"std\"]}", 24);
    check_encoder("{\"stages\": [4], \"statistics\": [\"mean\"]}", 32);
    check_encoder("{\"stages\": [0, 1, 4], \"statistics\": [\"std\"]}",
                  ENCODER_CONTRAST_COPIES + 8 + 32);
}

/* A part that is alone is as pooled, one beside others is divided by its norm. */
static void one_part_alone_is_not_normalised(void **state)
{
    (void)state;
    struct encoder *alone = scene_encoder("{\"stages\": [3], \"statistics\": [\"mean\"]}");
    float *plain = scene_embed(alone, pixels, &usual);
    struct encoder *both = scene_encoder("{\"stages\": [3], \"statistics\": [\"mean\", \"std\"]}");
    float *beside = scene_embed(both, pixels, &usual);
    for (size_t chip = 0; chip < 100; chip++) {
        double squares = 0;
        for (size_t i = 0; i < 24; i++)
            squares += (double)plain[chip * 24 + i] * plain[chip * 24 + i];
        assert_true(fabs(squares - 1) > 1e-3);
        for (size_t i = 0; i < 24; i++)
            assert_float_equal(plain[chip * 24 + i] / sqrt(squares), beside[chip * 48 + i], 1e-6);
    }
    encoder_destroy(alone);
    encoder_destroy(both);
    free(plain);
    free(beside);
}

/* The largest difference over the largest value. */
static double error_of(const float *found, size_t n)
{
    double largest = 0, difference = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)whole[i]));
        difference = fmax(difference, fabs((double)whole[i] - (double)found[i]));
    }
    return difference / largest;
}

static void precisions_have_bytes_of_their_own(void **state)
{
    (void)state;
    static const enum precision precisions[] = {PRECISION_BFLOAT16, PRECISION_INT8};
    for (size_t k = 0; k < 2; k++) {
        if (precision_check(precisions[k], NULL) != 0) {
            print_message("skipped: %s\n", precision_name(precisions[k]));
            continue;
        }
        struct scene_stage stage;
        const struct scene_choice choice = {.precision = precisions[k], .n_threads = 2};
        float *found = scene_embed(encoder, pixels, &choice);
        stage_set(&stage, &choice);
        const double error = error_of(found, stage.size / sizeof(float));
        assert_true(error > 1e-6 && error < 0.05);
        check_ring(encoder, pixels, &choice);
        free(found);
        scene_stage_clear(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_its_tiles_and_windows),
        cmocka_unit_test(threads_do_not_change_the_bytes),
        cmocka_unit_test(other_jobs_do_not_change_the_bytes),
        cmocka_unit_test(a_ring_of_maps_gives_the_same_bytes),
        cmocka_unit_test(a_ring_of_maps_may_be_shorter_than_a_batch),
        cmocka_unit_test(windows_have_the_same_bytes_however_they_are_asked_for),
        cmocka_unit_test(kept_maps_give_the_same_bytes),
        cmocka_unit_test(windows_far_apart_have_the_same_bytes),
        cmocka_unit_test(strides_do_not_change_the_bytes),
        cmocka_unit_test(several_sizes_are_concatenated),
        cmocka_unit_test(encoders_pool_what_they_say),
        cmocka_unit_test(one_part_alone_is_not_normalised),
        cmocka_unit_test(precisions_have_bytes_of_their_own),
    };
    return test_run_with(tests, set_up, tear_down);
}
