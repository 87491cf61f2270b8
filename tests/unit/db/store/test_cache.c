#include "tests/unit/db/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    N = 25000, /* floats: 100,000 bytes; ten and no more fit into 1 MiB */
    FILE_SIZE = 64 + 4 * N + (3 + 1) * 8, /* with the checksums of four blocks of rows */
};

static float *make_table(float seed)
{
    float *values = malloc(N * sizeof(*values));
    for (int i = 0; i < N; i++)
        values[i] = seed + (float)i;
    return values;
}

static int put(struct fixture *f, int key)
{
    char name[32];
    snprintf(name, sizeof(name), "image %d", key);
    float *values = make_table((float)key);
    int rc = cache_put(f->cache, name, 100, N / 100, values, &f->err);
    free(values);
    return rc;
}

/* A hit gives the right values. */
static bool has(struct fixture *f, int key)
{
    char name[32];
    float *values = calloc(N, sizeof(*values)), *expected = make_table((float)key);
    snprintf(name, sizeof(name), "image %d", key);
    int rc = cache_get(f->cache, name, 100, N / 100, values, &f->err);
    bool hit = rc == 0 && memcmp(values, expected, N * sizeof(*values)) == 0;
    bool miss = rc == ERROR_NOT_FOUND;
    free(values);
    free(expected);
    assert_true(hit || miss);
    return hit;
}

static void file_of(struct fixture *f, int key, char path[700])
{
    char name[32], sha256[DB_SHA256_SIZE];
    snprintf(name, sizeof(name), "image %d", key);
    fixture_sha256(name, sha256);
    snprintf(path, 700, "%s/cache/%.2s/%s.emb", f->directory, sha256, sha256);
}

static void what_was_put_is_got_also_after_a_restart(void **state)
{
    struct fixture *f = *state;
    uint64_t size, n;
    assert_false(has(f, 1));
    assert_ok(put(f, 1));
    assert_true(has(f, 1));
    assert_ok(put(f, 1));
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 1);
    assert_int_equal(size, FILE_SIZE);
    fixture_reopen(f);
    assert_true(has(f, 1));
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 1);
}

static void another_shape_is_a_miss(void **state)
{
    struct fixture *f = *state;
    float *values = make_table(0);
    assert_ok(put(f, 1));
    assert_int_equal(cache_get(f->cache, "image 1", N / 100, 100, values, &f->err),
                     ERROR_NOT_FOUND);
    assert_int_equal(cache_get(f->cache, "image 1", UINT64_MAX, UINT64_MAX, values, &f->err),
                     ERROR_NOT_FOUND);
    assert_int_equal(cache_put(f->cache, "x", UINT64_MAX, 2, values, &f->err), ERROR_INVALID);
    assert_int_equal(cache_put(f->cache, "x", 0, 2, values, &f->err), ERROR_INVALID);
    free(values);
}

static void the_least_recently_used_goes_first(void **state)
{
    struct fixture *f = *state;
    uint64_t size, n;
    for (int i = 0; i < 10; i++)
        assert_ok(put(f, i));
    assert_true(has(f, 0));
    assert_ok(put(f, 10));
    assert_true(has(f, 0));
    assert_false(has(f, 1));
    assert_true(has(f, 2));
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 10);
    assert_true(size <= 1 << 20);
}

static void the_order_of_use_outlives_a_restart(void **state)
{
    struct fixture *f = *state;
    char path[700];
    for (int i = 0; i < 10; i++) {
        /* Times an hour apart, so that the file system's clock cannot matter. */
        const struct timespec times[2] = {{.tv_sec = 3600 * (i + 1)}, {.tv_sec = 3600 * (i + 1)}};
        assert_ok(put(f, i));
        file_of(f, i, path);
        assert_ok(utimensat(AT_FDCWD, path, times, 0));
    }
    assert_true(has(f, 0));
    fixture_reopen(f);
    assert_ok(put(f, 10));
    assert_true(has(f, 0));
    assert_false(has(f, 1));
}

static void a_smaller_limit_evicts_at_start(void **state)
{
    struct fixture *f = *state;
    uint64_t size, n;
    char path[700];
    for (int i = 0; i < 5; i++)
        assert_ok(put(f, i));
    fixture_close(f);
    assert_ok(fixture_open_with(f, 250000));
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 2);
    n = 0;
    for (int i = 0; i < 5; i++) {
        file_of(f, i, path);
        n += access(path, F_OK) == 0;
    }
    assert_int_equal(n, 2);
}

static void what_is_larger_than_the_limit_is_not_stored(void **state)
{
    struct fixture *f = *state;
    uint64_t size, n;
    fixture_close(f);
    assert_ok(fixture_open_with(f, 1000));
    assert_ok(put(f, 1));
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 0);
    assert_false(has(f, 1));
}

static void damaged_files_are_misses(void **state)
{
    struct fixture *f = *state;
    char path[700], byte;
    static const off_t places[] = {0, 8, 40, 56, 64, 64 + 4 * N - 1, FILE_SIZE - 1};
    file_of(f, 1, path);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        assert_ok(put(f, 1));
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(pread(fd, &byte, 1, places[i]), 1);
        byte = (char)(byte ^ 4);
        assert_int_equal(pwrite(fd, &byte, 1, places[i]), 1);
        close(fd);
        assert_false(has(f, 1));
        assert_int_equal(access(path, F_OK), -1);
    }
    static const off_t sizes[] = {0, 63, 64, FILE_SIZE - 1, FILE_SIZE + 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_ok(put(f, 1));
        assert_ok(truncate(path, sizes[i]));
        assert_false(has(f, 1));
    }
    assert_ok(put(f, 1));
    assert_true(has(f, 1));
}

static void the_cache_may_be_deleted_while_it_is_used(void **state)
{
    struct fixture *f = *state;
    char path[700];
    uint64_t size, n;
    for (int i = 0; i < 3; i++)
        assert_ok(put(f, i));
    snprintf(path, sizeof(path), "%s/cache", f->directory);
    fixture_remove_directory(path);
    assert_false(has(f, 0));
    assert_false(has(f, 1));
    assert_ok(put(f, 0));
    assert_true(has(f, 0));
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 2); /* number 2 is not missed yet */
    assert_false(has(f, 2));
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 1);
}

struct user {
    struct fixture *f;
    int first;
    int n_wrong;
};

static void *use_cache(void *context)
{
    struct user *user = context;
    float *values = calloc(N, sizeof(*values)), *expected = NULL;
    for (int i = 0; i < 40; i++) {
        char name[32];
        int key = (user->first + i * 7) % 15;
        snprintf(name, sizeof(name), "image %d", key);
        expected = make_table((float)key);
        int rc = cache_get(user->f->cache, name, 100, N / 100, values, NULL);
        if (rc == 0)
            user->n_wrong += memcmp(values, expected, N * sizeof(*values)) != 0;
        else
            user->n_wrong += cache_put(user->f->cache, name, 100, N / 100, expected, NULL) != 0;
        free(expected);
    }
    free(values);
    return NULL;
}

static void threads_share_the_cache(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    struct user users[4];
    uint64_t size, n;
    for (int i = 0; i < 4; i++) {
        users[i] = (struct user){.f = f, .first = i * 3};
        assert_int_equal(pthread_create(&threads[i], NULL, use_cache, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].n_wrong, 0);
    }
    cache_usage(f->cache, &size, &n);
    assert_true(size <= 1 << 20 && n > 0);
    fixture_reopen(f);
    uint64_t size_after, n_after;
    cache_usage(f->cache, &size_after, &n_after);
    assert_int_equal(size_after, size);
    assert_int_equal(n_after, n);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_got_also_after_a_restart),
        TEST(another_shape_is_a_miss),
        TEST(the_least_recently_used_goes_first),
        TEST(the_order_of_use_outlives_a_restart),
        TEST(a_smaller_limit_evicts_at_start),
        TEST(what_is_larger_than_the_limit_is_not_stored),
        TEST(damaged_files_are_misses),
        TEST(the_cache_may_be_deleted_while_it_is_used),
        TEST(threads_share_the_cache),
    };
    return test_run(tests);
}
