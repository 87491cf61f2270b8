#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/borders.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/space.h"
#include "engine/random.h"

enum { DIMENSION = 3, CLASSES = 3, SIDE = 8, CHIPS_MAX = 64 };

/* Classes a and b, and a third that lies near the middle between them, aside. */
static const float means[CLASSES][DIMENSION] = {{10, 0, 0}, {0, 10, 0}, {4, 4, 3}};
static const uint32_t class_of[CLASSES] = {0, 1, 2};
static const struct support support = {means[0], class_of, CLASSES, CLASSES, DIMENSION};
static const struct classifier_params as_they_are = {.transform = CLASSIFIER_TRANSFORM_NONE,
                                                     .temperature = 1.0};

/* An image drawn by letters: a, b, c are chips of a class; 1 to 9 hold so many tenths of a, the
 * rest of b; ? is one of c that is not analysed. */
struct image {
    struct grid grid;
    float chips[CHIPS_MAX * DIMENSION];
    struct embeddings embeddings;
    struct space space;
    struct classification result;
};

static void draw_chip(float *out, char letter)
{
    for (int d = 0; d < DIMENSION; d++) {
        const float tenths = (float)(letter - '0') * 0.1f;
        if (letter >= 'a')
            out[d] = means[letter - 'a'][d];
        else if (letter == '?')
            out[d] = means[2][d];
        else
            out[d] = tenths * means[0][d] + (1.0f - tenths) * means[1][d];
    }
}

static void set_up(struct image *image, const char *letters, uint32_t columns, uint32_t stride)
{
    const uint32_t n = (uint32_t)strlen(letters), rows = n / columns;
    const struct grid_params params = {
        .chip_width = SIDE, .chip_height = SIDE, .stride_x = stride, .stride_y = stride};
    *image = (struct image){.result = {0}};
    assert_int_equal(grid_plan(&params, SIDE + (columns - 1) * stride, SIDE + (rows - 1) * stride,
                               CHIPS_MAX, &image->grid, NULL),
                     0);
    assert_int_equal(grid_n_chips(&image->grid), n);
    for (uint32_t i = 0; i < n; i++)
        draw_chip(image->chips + (size_t)i * DIMENSION, letters[i]);
    image->embeddings =
        (struct embeddings){.n_chips = n, .dimension = DIMENSION, .values = image->chips};
    assert_int_equal(classifier_run_in(&image->space, &as_they_are, &support, &image->embeddings,
                                       NULL, &image->result, NULL),
                     0);
    for (uint32_t i = 0; i < n; i++) {
        if (letters[i] == '?')
            image->result.labels[i] = LABEL_NOT_ANALYSED;
    }
}

static void tear_down(struct image *image)
{
    classification_clear(&image->result);
    space_clear(&image->space);
}

/* As letters. */
static void check_labels(const struct image *image, const char *expected)
{
    char letters[CHIPS_MAX + 1] = "";
    for (uint64_t i = 0; i < image->result.n_chips; i++) {
        const uint16_t label = image->result.labels[i];
        letters[i] = label == LABEL_NOT_ANALYSED ? '?' : (char)('a' + label);
    }
    assert_string_equal(letters, expected);
}

static uint64_t assign(struct image *image, bool *is_mixture)
{
    uint64_t n_assigned = 0;
    assert_int_equal(borders_assign(&image->space, &image->grid, &image->embeddings, NULL,
                                    &image->result, is_mixture, &n_assigned, NULL),
                     0);
    return n_assigned;
}

static void check(const char *letters, uint32_t columns, uint32_t stride, const char *before,
                  const char *after)
{
    struct image image;
    uint64_t n = 0;
    set_up(&image, letters, columns, stride);
    check_labels(&image, before);
    for (size_t i = 0; before[i] != '\0'; i++)
        n += before[i] != after[i];
    assert_int_equal(assign(&image, NULL), n);
    check_labels(&image, after);
    tear_down(&image);
}

static void a_mixture_goes_to_what_it_has_more_of(void **state)
{
    (void)state;
    check("aa6bb", 5, SIDE, "aacbb", "aaabb");
    check("aa4bb", 5, SIDE, "aacbb", "aabbb");
    check("bb4aa", 5, SIDE, "bbcaa", "bbbaa"); /* whichever lies first */
    check("a6b", 1, SIDE, "acb", "aab");       /* downwards */
    check("a?a"
          "?4?"
          "b?b",
          3, SIDE, "a?a?c?b?b", "a?a?b?b?b"); /* across */
}

static void its_probabilities_are_the_shares(void **state)
{
    (void)state;
    struct image image;
    set_up(&image, "a6b", 3, SIDE);
    assert_int_equal(assign(&image, NULL), 1);
    assert_true(fabs((double)image.result.probabilities[3] - 0.6) < 1e-6);
    assert_true(fabs((double)image.result.probabilities[4] - 0.4) < 1e-6);
    assert_true(image.result.probabilities[5] == 0.0f);
    tear_down(&image);
}

static void a_third_class_that_is_one_stays(void **state)
{
    (void)state;
    check("aacbb", 5, SIDE, "aacbb", "aacbb"); /* a thin layer between the two */
    check("aa5aa", 5, SIDE, "aacaa", "aacaa"); /* nothing says that there is b */
    check("5", 1, SIDE, "c", "c");
    check("a5?", 3, SIDE, "ac?", "ac?"); /* what was not analysed is no neighbour */
    check("a5", 2, SIDE, "ac", "ac");    /* nor is what lies outside */
}

/* Where windows overlap by half, a border is seen by three: the neighbours are those beside. */
static void overlapping_windows_are_no_neighbours(void **state)
{
    (void)state;
    check("aaa64bbb", 8, SIDE / 2, "aaaccbbb", "aaaabbbb");
    check("aaa64bbb", 8, SIDE, "aaaccbbb", "aaaccbbb");
    check("aaaaa76543bbbbb", 15, SIDE / 4, "aaaaaacccbbbbbb", "aaaaaaaabbbbbbb");
}

/* A chip of one of the two keeps its label, and is known to be a mixture. */
static void mixtures_of_the_own_class_are_told_of(void **state)
{
    (void)state;
    struct image image;
    bool is_mixture[5] = {false};
    set_up(&image, "aa9bb", 5, SIDE);
    check_labels(&image, "aaabb");
    assert_int_equal(assign(&image, is_mixture), 0);
    check_labels(&image, "aaabb");
    const bool expected[5] = {false, false, true, false, false};
    assert_memory_equal(is_mixture, expected, sizeof(expected));
    tear_down(&image);
}

static void names_round_trip(void **state)
{
    (void)state;
    enum borders borders;
    struct error err;
    assert_int_equal(borders_parse(borders_name(BORDERS_OFF), &borders, NULL), 0);
    assert_int_equal(borders, BORDERS_OFF);
    assert_int_equal(borders_parse(borders_name(BORDERS_ASSIGN), &borders, NULL), 0);
    assert_int_equal(borders, BORDERS_ASSIGN);
    assert_int_equal(borders_parse("mark", &borders, &err), ERROR_INVALID);
    assert_string_equal(err.message, "borders must be off or assign, but is 'mark'");
}

/* Three noisy phases side by side in many dimensions, the borders of the outer two mixtures:
 * what they become does not depend on who helps, nor on bands. */
static int read_chips(void *context, uint64_t first, uint32_t n, float *out, struct error *err)
{
    (void)err;
    const struct embeddings *all = context;
    memcpy(out, all->values + first * all->dimension, (size_t)n * all->dimension * sizeof(float));
    return 0;
}

static void who_helps_does_not_change_a_byte(void **state)
{
    (void)state;
    enum { WIDE = 40, ROWS = 50, COLUMNS = 9, N = ROWS * COLUMNS, SHOTS = 5 };
    static float chips[N * WIDE], shown[CLASSES * SHOTS * WIDE];
    static uint32_t classes[CLASSES * SHOTS];
    const struct grid_params params = {.chip_width = 4, .chip_height = 4};
    struct random random;
    struct grid grid;
    random_seed(&random, 4, 0);
    assert_int_equal(grid_plan(&params, COLUMNS * 4, ROWS * 4, N, &grid, NULL), 0);
    for (uint32_t i = 0; i < N * WIDE; i++) {
        const uint32_t column = i / WIDE % COLUMNS, d = i % WIDE;
        const double share = column < 4 ? 1.0 : column == 4 ? 0.65 : 0.0; /* of phase 0 */
        const double third = i / WIDE / COLUMNS >= 45 && column < 3 ? 1.0 : 0.0;
        chips[i] = (float)(random_normal(&random) +
                           (1.0 - third) * (share * (d < 20 ? 6.0 : 0.0) +
                                            (1.0 - share) * (d >= 20 ? 6.0 : 0.0)) +
                           third * (d % 8 == 0 ? 7.0 : 3.0));
    }
    for (uint32_t i = 0; i < CLASSES * SHOTS; i++) {
        const uint32_t from = i / SHOTS == 0   ? i * COLUMNS
                              : i / SHOTS == 1 ? i * COLUMNS + 6
                                               : (45 + i % SHOTS) * COLUMNS;
        classes[i] = i / SHOTS;
        memcpy(shown + (size_t)i * WIDE, chips + (size_t)from * WIDE, WIDE * sizeof(float));
    }
    const struct support of = {shown, classes, CLASSES * SHOTS, CLASSES, WIDE};
    struct embeddings whole = {.n_chips = N, .dimension = WIDE, .values = chips};
    const struct embeddings read = {
        .n_chips = N, .dimension = WIDE, .read = read_chips, .context = &whole};
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    assert_int_equal(pool_create(&pool, 3, 8, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    struct classification results[2];
    for (int i = 0; i < 2; i++) {
        struct space space;
        uint64_t n_assigned, n_third = 0;
        assert_int_equal(
            classifier_run_in(&space, &as_they_are, &of, &whole, NULL, &results[i], NULL), 0);
        for (uint32_t row = 0; row < 44; row++)
            n_third += results[i].labels[row * COLUMNS + 4] == 2;
        assert_true(n_third > 30);
        assert_int_equal(borders_assign(&space, &grid, i == 0 ? &whole : &read,
                                        i == 0 ? NULL : lane, &results[i], NULL, &n_assigned, NULL),
                         0);
        assert_true(n_assigned >= n_third);
        for (uint32_t row = 0; row < 44; row++)
            assert_int_equal(results[i].labels[row * COLUMNS + 4], 0);
        space_clear(&space);
    }
    assert_memory_equal(results[0].labels, results[1].labels, N * sizeof(uint16_t));
    assert_memory_equal(results[0].probabilities, results[1].probabilities,
                        N * CLASSES * sizeof(float));
    classification_clear(&results[0]);
    classification_clear(&results[1]);
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mixture_goes_to_what_it_has_more_of),
        cmocka_unit_test(its_probabilities_are_the_shares),
        cmocka_unit_test(a_third_class_that_is_one_stays),
        cmocka_unit_test(overlapping_windows_are_no_neighbours),
        cmocka_unit_test(mixtures_of_the_own_class_are_told_of),
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(who_helps_does_not_change_a_byte),
    };
    return test_run(tests);
}
