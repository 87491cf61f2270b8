#include "tests/test.h"

#include <math.h>
#include <pthread.h>

#include "engine/linear.h"
#include "engine/random.h"

enum { ROWS = 37, COLUMNS = 53 };

static void draw(double *values, size_t n, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed, 0);
    for (size_t i = 0; i < n; i++)
        values[i] = random_normal(&random);
}

static double at(const struct linear_matrix *matrix, uint32_t row, uint32_t column)
{
    return matrix->form == LINEAR_AS_IS ? matrix->values[(size_t)row * matrix->columns + column]
                                        : matrix->values[(size_t)column * matrix->columns + row];
}

static void products_are_sums_of_products(void **state)
{
    (void)state;
    static double a[ROWS * COLUMNS], b[ROWS * COLUMNS], out[COLUMNS * COLUMNS];
    draw(a, ROWS * COLUMNS, 1);
    draw(b, ROWS * COLUMNS, 2);
    for (int form = 0; form < 4; form++) {
        const struct linear_matrix left = {a, ROWS, COLUMNS,
                                           form & 1 ? LINEAR_TRANSPOSED : LINEAR_AS_IS};
        struct linear_matrix right = {b, ROWS, COLUMNS,
                                      form & 1 ? LINEAR_AS_IS : LINEAR_TRANSPOSED};
        if (form & 2) { /* the same numbers in another shape */
            right.rows = COLUMNS;
            right.columns = ROWS;
            right.form = form & 1 ? LINEAR_TRANSPOSED : LINEAR_AS_IS;
        }
        const uint32_t n = form & 1 ? COLUMNS : ROWS, depth = form & 1 ? ROWS : COLUMNS;
        assert_int_equal(linear_multiply(&left, &right, out, NULL), 0);
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t j = 0; j < n; j++) {
                double sum = 0.0;
                for (uint32_t k = 0; k < depth; k++)
                    sum += at(&left, i, k) * at(&right, k, j);
                assert_true(fabs(out[i * n + j] - sum) < 1e-12);
            }
        }
    }
}

static void an_inverse_by_hand(void **state)
{
    (void)state;
    double matrix[] = {2, -99, 1, 3}; /* the upper triangle is not read */
    assert_int_equal(linear_invert(matrix, 2, NULL), 0);
    static const double inverse[] = {0.6, -0.2, -0.2, 0.4};
    for (int i = 0; i < 4; i++)
        assert_true(fabs(matrix[i] - inverse[i]) < 1e-15);
    double indefinite[] = {1, 2, 2, 1};
    struct error err;
    assert_int_equal(linear_invert(indefinite, 2, &err), ERROR_INVALID);
    assert_string_equal(err.message, "a matrix of 2 rows is not positive definite");
}

/* a a^T + 1, of which the inverse is known by multiplying. */
static void make_definite(double *matrix)
{
    double a[ROWS * COLUMNS];
    draw(a, ROWS * COLUMNS, 3);
    const struct linear_matrix left = {a, ROWS, COLUMNS, LINEAR_AS_IS};
    const struct linear_matrix right = {a, ROWS, COLUMNS, LINEAR_TRANSPOSED};
    assert_int_equal(linear_multiply(&left, &right, matrix, NULL), 0);
    for (int i = 0; i < ROWS; i++)
        matrix[i * ROWS + i] += 1.0;
}

static void an_inverse_times_its_matrix_is_one(void **state)
{
    (void)state;
    static double matrix[ROWS * ROWS], inverse[ROWS * ROWS], product[ROWS * ROWS];
    make_definite(matrix);
    memcpy(inverse, matrix, sizeof(inverse));
    assert_int_equal(linear_invert(inverse, ROWS, NULL), 0);
    const struct linear_matrix left = {matrix, ROWS, ROWS, LINEAR_AS_IS};
    const struct linear_matrix right = {inverse, ROWS, ROWS, LINEAR_AS_IS};
    assert_int_equal(linear_multiply(&left, &right, product, NULL), 0);
    for (int i = 0; i < ROWS * ROWS; i++)
        assert_true(fabs(product[i] - (i % (ROWS + 1) == 0 ? 1.0 : 0.0)) < 1e-12);
}

static void *invert_often(void *context)
{
    double *inverse = context;
    for (int i = 0; i < 200; i++) {
        make_definite(inverse);
        if (linear_invert(inverse, ROWS, NULL) < 0)
            return context;
    }
    return NULL;
}

/* Also where numbers lie otherwise in memory. */
static void threads_get_the_same_bytes(void **state)
{
    (void)state;
    enum { THREADS = 4, SIZE = ROWS * ROWS };
    static double inverses[THREADS][SIZE + THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, invert_often, inverses[i] + i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_memory_equal(inverses[i] + i, inverses[0], SIZE * sizeof(double));
    }
}

static void the_core_fits_the_processor(void **state)
{
    (void)state;
    assert_int_equal(linear_load(NULL), 0);
    const char *core = linear_core(), *wanted = getenv("OPENBLAS_CORETYPE");
#if defined(__x86_64__)
    if (wanted == NULL && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        assert_string_equal(core, "SkylakeX");
    else if (wanted == NULL && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        assert_string_equal(core, "Haswell");
#endif
    assert_true(strlen(core) > 0 && strcmp(core, "none") != 0);
    /* Programs that are started later find the environment as it was. */
    assert_true(getenv("OPENBLAS_CORETYPE") == wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_core_fits_the_processor),
        cmocka_unit_test(products_are_sums_of_products),
        cmocka_unit_test(an_inverse_by_hand),
        cmocka_unit_test(an_inverse_times_its_matrix_is_one),
        cmocka_unit_test(threads_get_the_same_bytes),
    };
    return test_run(tests);
}
