/* Matrices in files: written and read block by block, kept in the cache or not. */
#include "tests/unit/db/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "db/cache.h"
#include "db/matrix.h"

enum {
    ROWS = 7 * DB_MATRIX_BLOCK_ROWS + 5,
    COLUMNS = 100,
    BLOCKS = 8,
    BLOCK_VALUES = DB_MATRIX_BLOCK_ROWS * COLUMNS,
    HEADER = 64,
    N = ROWS * COLUMNS,
};

static float values[BLOCKS * BLOCK_VALUES]; /* of which the first N are the matrix */

static void path_of(struct fixture *f, const char *key, char path[700])
{
    char sha256[DB_SHA256_SIZE];
    fixture_sha256(key, sha256);
    snprintf(path, 700, "%s/cache/%.2s/%s.emb", f->directory, sha256, sha256);
}

static uint64_t n_rows(uint64_t block)
{
    return block < BLOCKS - 1 ? DB_MATRIX_BLOCK_ROWS : ROWS % DB_MATRIX_BLOCK_ROWS;
}

static int write_block(struct db_matrix *matrix, uint64_t block, struct error *err)
{
    return db_matrix_write(matrix, block * DB_MATRIX_BLOCK_ROWS, n_rows(block),
                           values + block * BLOCK_VALUES, err);
}

/* Blocks in no order: 0, 3, 6, 1, 4, 7, 2, 5. */
static struct db_matrix *write_all(struct fixture *f, const char *key)
{
    struct db_matrix *matrix = NULL;
    assert_ok(db_matrix_create(&matrix, f->db, key, ROWS, COLUMNS, &f->err));
    for (uint64_t i = 0; i < BLOCKS; i++) {
        const uint64_t block = i * 3 % BLOCKS;
        assert_ok(write_block(matrix, block, &f->err));
    }
    return matrix;
}

static void put(struct fixture *f, const char *key)
{
    struct db_matrix *matrix = write_all(f, key);
    assert_ok(db_matrix_keep(matrix, &f->err));
    db_matrix_destroy(matrix);
}

/* 0 or what reading a block gave; no value beyond the last row is touched. */
static int read_block(struct fixture *f, struct db_matrix *matrix, uint64_t block)
{
    float out[BLOCK_VALUES];
    const size_t n = n_rows(block) * COLUMNS;
    for (size_t i = 0; i < BLOCK_VALUES; i++)
        out[i] = -1;
    const int rc =
        db_matrix_read(matrix, block * DB_MATRIX_BLOCK_ROWS, n_rows(block), out, &f->err);
    if (rc == 0)
        assert_memory_equal(out, values + block * BLOCK_VALUES, n * sizeof(float));
    for (size_t i = n; i < BLOCK_VALUES; i++)
        assert_true(out[i] == -1);
    return rc;
}

static void assert_reads(struct fixture *f, struct db_matrix *matrix)
{
    for (uint64_t block = 0; block < BLOCKS; block++)
        assert_ok(read_block(f, matrix, block));
}

static int open_it(struct fixture *f, const char *key, struct db_matrix **out)
{
    return db_matrix_open(out, f->db, key, ROWS, COLUMNS, &f->err);
}

static void what_is_kept_is_an_entry(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *matrix = write_all(f, "a"), *other = NULL;
    static float whole[N];
    assert_reads(f, matrix);
    assert_int_equal(open_it(f, "a", &other), ERROR_NOT_FOUND);
    assert_int_equal(fixture_n_temporary(f->directory), 1);
    assert_ok(db_matrix_keep(matrix, &f->err));
    assert_reads(f, matrix);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    db_matrix_destroy(matrix);
    fixture_reopen(f);
    assert_ok(open_it(f, "a", &matrix));
    assert_reads(f, matrix);
    db_matrix_destroy(matrix);
    assert_ok(db_cache_get(f->db, "a", ROWS, COLUMNS, whole, &f->err));
    assert_memory_equal(whole, values, sizeof(whole));
    assert_ok(db_cache_put(f->db, "b", ROWS, COLUMNS, values, &f->err));
    assert_ok(open_it(f, "b", &matrix));
    assert_reads(f, matrix);
    db_matrix_destroy(matrix);
    assert_int_equal(db_matrix_open(&matrix, f->db, "a", COLUMNS, ROWS, &f->err), ERROR_NOT_FOUND);
}

static void what_is_not_kept_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *matrix = write_all(f, "a");
    uint64_t size, n;
    db_matrix_destroy(matrix);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    db_cache_usage(f->db, &size, &n);
    assert_int_equal(n, 0);
    assert_int_equal(db_matrix_create(&matrix, f->db, "a", UINT64_MAX, 3, &f->err), ERROR_INVALID);
    assert_int_equal(db_matrix_create(&matrix, f->db, "a", 0, 3, &f->err), ERROR_INVALID);
    assert_int_equal(db_matrix_create(&matrix, f->db, "a", 3, 0, &f->err), ERROR_INVALID);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
}

/* As after a crash: nobody destroyed it. */
static void a_start_removes_what_was_begun(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *matrix = write_all(f, "a");
    assert_int_equal(fixture_n_temporary(f->directory), 1);
    fixture_reopen(f);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    db_matrix_destroy(matrix);
}

static void one_larger_than_the_cache_has_no_name(void **state)
{
    struct fixture *f = *state;
    const struct db_config config = {.directory = f->directory, .cache_max_size = N * 4};
    uint64_t size, n;
    db_close(f->db);
    assert_ok(db_open(&f->db, &config, &f->err));
    struct db_matrix *matrix = write_all(f, "a"), *other = NULL;
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    assert_reads(f, matrix);
    assert_ok(db_matrix_keep(matrix, &f->err));
    assert_reads(f, matrix);
    db_matrix_destroy(matrix);
    assert_int_equal(open_it(f, "a", &other), ERROR_NOT_FOUND);
    db_cache_usage(f->db, &size, &n);
    assert_int_equal(n, 0);
}

static void flip(const char *path, off_t place)
{
    char byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, place), 1);
    byte = (char)(byte ^ 4);
    assert_int_equal(pwrite(fd, &byte, 1, place), 1);
    close(fd);
}

static void damage_is_seen_also_while_it_is_open(void **state)
{
    struct fixture *f = *state;
    char path[700];
    path_of(f, "a", path);
    /* In block 2, in the last row, in the table: it is in memory. */
    static const struct {
        off_t place;
        uint64_t block;
        int expected;
    } cases[] = {
        {HEADER + 2 * BLOCK_VALUES * 4, 2, ERROR_CORRUPT},
        {HEADER + N * 4 - 1, BLOCKS - 1, ERROR_CORRUPT},
        {HEADER + N * 4 + 3, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct db_matrix *matrix = NULL;
        put(f, "a");
        assert_ok(open_it(f, "a", &matrix));
        assert_ok(read_block(f, matrix, cases[i].block));
        flip(path, cases[i].place);
        assert_ok(read_block(f, matrix, 1));
        assert_int_equal(read_block(f, matrix, cases[i].block), cases[i].expected);
        assert_int_equal(access(path, F_OK), cases[i].expected == 0 ? 0 : -1);
        db_matrix_destroy(matrix);
        assert_int_equal(db_cache_get(f->db, "a", ROWS, COLUMNS, values, &f->err), ERROR_NOT_FOUND);
    }
}

static void a_file_that_is_cut_off_is_seen(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *matrix = NULL;
    char path[700];
    path_of(f, "a", path);
    put(f, "a");
    assert_ok(open_it(f, "a", &matrix));
    assert_ok(truncate(path, HEADER + 5 * BLOCK_VALUES * 4 + 7));
    assert_ok(read_block(f, matrix, 4));
    assert_int_equal(read_block(f, matrix, 5), ERROR_CORRUPT);
    assert_int_equal(read_block(f, matrix, 6), ERROR_CORRUPT);
    db_matrix_destroy(matrix);
    /* Before it is opened. */
    put(f, "a");
    assert_ok(truncate(path, HEADER + N * 4));
    assert_int_equal(open_it(f, "a", &matrix), ERROR_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
}

/* What is not in the cache has no entry to lose. */
static void damage_before_it_is_kept_is_seen(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *old = NULL, *matrix = NULL;
    char path[700];
    put(f, "a");
    matrix = write_all(f, "a");
    snprintf(path, sizeof(path), "%s/tmp", f->directory);
    DIR *directory = opendir(path);
    const struct dirent *e = readdir(directory);
    while (e->d_name[0] == '.')
        e = readdir(directory);
    snprintf(path, sizeof(path), "%s/tmp/%.100s", f->directory, e->d_name);
    closedir(directory);
    flip(path, HEADER);
    assert_int_equal(read_block(f, matrix, 0), ERROR_CORRUPT);
    assert_ok(open_it(f, "a", &old));
    assert_reads(f, old);
    db_matrix_destroy(old);
    db_matrix_destroy(matrix);
}

static void eviction_leaves_what_is_open(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *matrix = NULL, *again = NULL;
    char path[700];
    path_of(f, "a", path);
    put(f, "a");
    assert_ok(open_it(f, "a", &matrix));
    for (int i = 0; i < 12; i++) {
        char key[16];
        snprintf(key, sizeof(key), "other %d", i);
        put(f, key);
    }
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(open_it(f, "a", &again), ERROR_NOT_FOUND);
    assert_reads(f, matrix);
    db_matrix_destroy(matrix);
}

static void limit_files(rlim_t size, struct rlimit *old)
{
    signal(SIGXFSZ, SIG_IGN); /* pwrite() then fails with EFBIG */
    assert_ok(getrlimit(RLIMIT_FSIZE, old));
    const struct rlimit limit = {.rlim_cur = size, .rlim_max = old->rlim_max};
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
}

static void a_full_disk_is_said_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *matrix = NULL, *other = NULL;
    struct rlimit old, same;
    assert_ok(db_matrix_create(&matrix, f->db, "a", ROWS, COLUMNS, &f->err));
    assert_ok(write_block(matrix, 0, &f->err));
    limit_files(HEADER + 2 * BLOCK_VALUES * 4, &old);
    const int created = db_matrix_create(&other, f->db, "b", ROWS, COLUMNS, &f->err);
    const int within = write_block(matrix, 1, &f->err);
    const int beyond = write_block(matrix, 2, &f->err);
    limit_files(old.rlim_cur, &same);
    assert_int_equal(created, ERROR_FULL);
    assert_null(other);
    assert_int_equal(within, 0);
    assert_int_equal(beyond, ERROR_FULL);
    assert_ok(read_block(f, matrix, 1));
    assert_int_equal(fixture_n_temporary(f->directory), 1);
    db_matrix_destroy(matrix);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    matrix = write_all(f, "a");
    limit_files(HEADER, &old);
    const int kept = db_matrix_keep(matrix, &f->err);
    limit_files(old.rlim_cur, &same);
    assert_int_equal(kept, ERROR_FULL);
    assert_reads(f, matrix);
    db_matrix_destroy(matrix);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    assert_int_equal(open_it(f, "a", &other), ERROR_NOT_FOUND);
}

struct user {
    struct db_matrix *matrix;
    uint64_t first;
    int n_failed;
};

static void *write_and_read(void *context)
{
    struct user *user = context;
    float out[BLOCK_VALUES];
    for (uint64_t block = user->first; block < BLOCKS; block += 4)
        user->n_failed += write_block(user->matrix, block, NULL) != 0;
    for (uint64_t block = user->first; block < BLOCKS; block += 4)
        user->n_failed += db_matrix_read(user->matrix, block * DB_MATRIX_BLOCK_ROWS, n_rows(block),
                                         out, NULL) != 0;
    return NULL;
}

static void threads_share_a_matrix(void **state)
{
    struct fixture *f = *state;
    struct db_matrix *matrix = NULL;
    pthread_t threads[4];
    struct user users[4];
    assert_ok(db_matrix_create(&matrix, f->db, "a", ROWS, COLUMNS, &f->err));
    for (uint64_t i = 0; i < 4; i++) {
        users[i] = (struct user){.matrix = matrix, .first = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].n_failed, 0);
    }
    assert_ok(db_matrix_keep(matrix, &f->err));
    assert_reads(f, matrix);
    db_matrix_destroy(matrix);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_kept_is_an_entry),
        TEST(what_is_not_kept_leaves_nothing),
        TEST(a_start_removes_what_was_begun),
        TEST(one_larger_than_the_cache_has_no_name),
        TEST(damage_is_seen_also_while_it_is_open),
        TEST(a_file_that_is_cut_off_is_seen),
        TEST(damage_before_it_is_kept_is_seen),
        TEST(eviction_leaves_what_is_open),
        TEST(a_full_disk_is_said_and_leaves_nothing),
        TEST(threads_share_a_matrix),
    };
    for (int i = 0; i < N; i++)
        values[i] = (float)i * 0.5f;
    return test_run(tests);
}
