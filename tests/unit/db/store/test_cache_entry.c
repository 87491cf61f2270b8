/* Tables in files: written and read block by block, kept in the cache or not. */
#include "tests/unit/db/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
enum {
    ROWS = 7 * CACHE_BLOCK_ROWS + 5,
    COLUMNS = 100,
    BLOCKS = 8,
    BLOCK_VALUES = CACHE_BLOCK_ROWS * COLUMNS,
    HEADER = 64,
    N = ROWS * COLUMNS,
};

static float values[BLOCKS * BLOCK_VALUES]; /* of which the first N are the table */

static void path_of(struct fixture *f, const char *key, char path[700])
{
    char sha256[DB_SHA256_SIZE];
    fixture_sha256(key, sha256);
    snprintf(path, 700, "%s/cache/%.2s/%s.emb", f->directory, sha256, sha256);
}

static uint64_t n_rows(uint64_t block)
{
    return block < BLOCKS - 1 ? CACHE_BLOCK_ROWS : ROWS % CACHE_BLOCK_ROWS;
}

static int write_block(struct cache_entry *entry, uint64_t block, struct error *err)
{
    return cache_entry_write(entry, block * CACHE_BLOCK_ROWS, n_rows(block),
                             values + block * BLOCK_VALUES, err);
}

/* Blocks in no order: 0, 3, 6, 1, 4, 7, 2, 5. */
static struct cache_entry *write_all(struct fixture *f, const char *key)
{
    struct cache_entry *entry = NULL;
    assert_ok(cache_entry_create(&entry, f->cache, key, ROWS, COLUMNS, &f->err));
    for (uint64_t i = 0; i < BLOCKS; i++) {
        const uint64_t block = i * 3 % BLOCKS;
        assert_ok(write_block(entry, block, &f->err));
    }
    return entry;
}

static void put(struct fixture *f, const char *key)
{
    struct cache_entry *entry = write_all(f, key);
    assert_ok(cache_entry_keep(entry, &f->err));
    cache_entry_destroy(entry);
}

/* 0 or what reading a block gave; no value beyond the last row is touched. */
static int read_block(struct fixture *f, struct cache_entry *entry, uint64_t block)
{
    float out[BLOCK_VALUES];
    const size_t n = n_rows(block) * COLUMNS;
    for (size_t i = 0; i < BLOCK_VALUES; i++)
        out[i] = -1;
    const int rc = cache_entry_read(entry, block * CACHE_BLOCK_ROWS, n_rows(block), out, &f->err);
    if (rc == 0)
        assert_memory_equal(out, values + block * BLOCK_VALUES, n * sizeof(float));
    for (size_t i = n; i < BLOCK_VALUES; i++)
        assert_true(out[i] == -1);
    return rc;
}

static void assert_reads(struct fixture *f, struct cache_entry *entry)
{
    for (uint64_t block = 0; block < BLOCKS; block++)
        assert_ok(read_block(f, entry, block));
}

static int open_it(struct fixture *f, const char *key, struct cache_entry **out)
{
    return cache_entry_open(out, f->cache, key, ROWS, COLUMNS, &f->err);
}

static void what_is_kept_is_an_entry(void **state)
{
    struct fixture *f = *state;
    struct cache_entry *entry = write_all(f, "a"), *other = NULL;
    static float whole[N];
    assert_reads(f, entry);
    assert_int_equal(open_it(f, "a", &other), ERROR_NOT_FOUND);
    assert_int_equal(fixture_n_temporary(f->directory), 1);
    assert_ok(cache_entry_keep(entry, &f->err));
    assert_reads(f, entry);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    cache_entry_destroy(entry);
    fixture_reopen(f);
    assert_ok(open_it(f, "a", &entry));
    assert_reads(f, entry);
    cache_entry_destroy(entry);
    assert_ok(cache_get(f->cache, "a", ROWS, COLUMNS, whole, &f->err));
    assert_memory_equal(whole, values, sizeof(whole));
    assert_ok(cache_put(f->cache, "b", ROWS, COLUMNS, values, &f->err));
    assert_ok(open_it(f, "b", &entry));
    assert_reads(f, entry);
    cache_entry_destroy(entry);
    assert_int_equal(cache_entry_open(&entry, f->cache, "a", COLUMNS, ROWS, &f->err),
                     ERROR_NOT_FOUND);
}

static void what_is_not_kept_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct cache_entry *entry = write_all(f, "a");
    uint64_t size, n;
    cache_entry_destroy(entry);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    cache_usage(f->cache, &size, &n);
    assert_int_equal(n, 0);
    assert_int_equal(cache_entry_create(&entry, f->cache, "a", UINT64_MAX, 3, &f->err),
                     ERROR_INVALID);
    assert_int_equal(cache_entry_create(&entry, f->cache, "a", 0, 3, &f->err), ERROR_INVALID);
    assert_int_equal(cache_entry_create(&entry, f->cache, "a", 3, 0, &f->err), ERROR_INVALID);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
}

/* As after a crash: nobody destroyed it. */
static void a_start_removes_what_was_begun(void **state)
{
    struct fixture *f = *state;
    struct cache_entry *entry = write_all(f, "a");
    assert_int_equal(fixture_n_temporary(f->directory), 1);
    fixture_reopen(f);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    cache_entry_destroy(entry);
}

static void one_larger_than_the_cache_has_no_name(void **state)
{
    struct fixture *f = *state;
    uint64_t size, n;
    fixture_close(f);
    assert_ok(fixture_open_with(f, N * 4));
    struct cache_entry *entry = write_all(f, "a"), *other = NULL;
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    assert_reads(f, entry);
    assert_ok(cache_entry_keep(entry, &f->err));
    assert_reads(f, entry);
    cache_entry_destroy(entry);
    assert_int_equal(open_it(f, "a", &other), ERROR_NOT_FOUND);
    cache_usage(f->cache, &size, &n);
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
        struct cache_entry *entry = NULL;
        put(f, "a");
        assert_ok(open_it(f, "a", &entry));
        assert_ok(read_block(f, entry, cases[i].block));
        flip(path, cases[i].place);
        assert_ok(read_block(f, entry, 1));
        assert_int_equal(read_block(f, entry, cases[i].block), cases[i].expected);
        assert_int_equal(access(path, F_OK), cases[i].expected == 0 ? 0 : -1);
        cache_entry_destroy(entry);
        assert_int_equal(cache_get(f->cache, "a", ROWS, COLUMNS, values, &f->err), ERROR_NOT_FOUND);
    }
}

static void a_file_that_is_cut_off_is_seen(void **state)
{
    struct fixture *f = *state;
    struct cache_entry *entry = NULL;
    char path[700];
    path_of(f, "a", path);
    put(f, "a");
    assert_ok(open_it(f, "a", &entry));
    assert_ok(truncate(path, HEADER + 5 * BLOCK_VALUES * 4 + 7));
    assert_ok(read_block(f, entry, 4));
    assert_int_equal(read_block(f, entry, 5), ERROR_CORRUPT);
    assert_int_equal(read_block(f, entry, 6), ERROR_CORRUPT);
    cache_entry_destroy(entry);
    /* Before it is opened. */
    put(f, "a");
    assert_ok(truncate(path, HEADER + N * 4));
    assert_int_equal(open_it(f, "a", &entry), ERROR_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
}

/* What is not in the cache has no entry to lose. */
static void damage_before_it_is_kept_is_seen(void **state)
{
    struct fixture *f = *state;
    struct cache_entry *old = NULL, *entry = NULL;
    char path[700];
    put(f, "a");
    entry = write_all(f, "a");
    snprintf(path, sizeof(path), "%s/tmp", f->directory);
    DIR *directory = opendir(path);
    const struct dirent *e = readdir(directory);
    while (e->d_name[0] == '.')
        e = readdir(directory);
    snprintf(path, sizeof(path), "%s/tmp/%.100s", f->directory, e->d_name);
    closedir(directory);
    flip(path, HEADER);
    assert_int_equal(read_block(f, entry, 0), ERROR_CORRUPT);
    assert_ok(open_it(f, "a", &old));
    assert_reads(f, old);
    cache_entry_destroy(old);
    cache_entry_destroy(entry);
}

static void eviction_leaves_what_is_open(void **state)
{
    struct fixture *f = *state;
    struct cache_entry *entry = NULL, *again = NULL;
    char path[700];
    path_of(f, "a", path);
    put(f, "a");
    assert_ok(open_it(f, "a", &entry));
    for (int i = 0; i < 12; i++) {
        char key[16];
        snprintf(key, sizeof(key), "other %d", i);
        put(f, key);
    }
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(open_it(f, "a", &again), ERROR_NOT_FOUND);
    assert_reads(f, entry);
    cache_entry_destroy(entry);
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
    struct cache_entry *entry = NULL, *other = NULL;
    struct rlimit old, same;
    assert_ok(cache_entry_create(&entry, f->cache, "a", ROWS, COLUMNS, &f->err));
    assert_ok(write_block(entry, 0, &f->err));
    limit_files(HEADER + 2 * BLOCK_VALUES * 4, &old);
    const int created = cache_entry_create(&other, f->cache, "b", ROWS, COLUMNS, &f->err);
    const int within = write_block(entry, 1, &f->err);
    const int beyond = write_block(entry, 2, &f->err);
    limit_files(old.rlim_cur, &same);
    assert_int_equal(created, ERROR_FULL);
    assert_null(other);
    assert_int_equal(within, 0);
    assert_int_equal(beyond, ERROR_FULL);
    assert_ok(read_block(f, entry, 1));
    assert_int_equal(fixture_n_temporary(f->directory), 1);
    cache_entry_destroy(entry);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    entry = write_all(f, "a");
    limit_files(HEADER, &old);
    const int kept = cache_entry_keep(entry, &f->err);
    limit_files(old.rlim_cur, &same);
    assert_int_equal(kept, ERROR_FULL);
    assert_reads(f, entry);
    cache_entry_destroy(entry);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    assert_int_equal(open_it(f, "a", &other), ERROR_NOT_FOUND);
}

struct user {
    struct cache_entry *entry;
    uint64_t first;
    int n_failed;
};

static void *write_and_read(void *context)
{
    struct user *user = context;
    float out[BLOCK_VALUES];
    for (uint64_t block = user->first; block < BLOCKS; block += 4)
        user->n_failed += write_block(user->entry, block, NULL) != 0;
    for (uint64_t block = user->first; block < BLOCKS; block += 4)
        user->n_failed +=
            cache_entry_read(user->entry, block * CACHE_BLOCK_ROWS, n_rows(block), out, NULL) != 0;
    return NULL;
}

static void threads_share_an_entry(void **state)
{
    struct fixture *f = *state;
    struct cache_entry *entry = NULL;
    pthread_t threads[4];
    struct user users[4];
    assert_ok(cache_entry_create(&entry, f->cache, "a", ROWS, COLUMNS, &f->err));
    for (uint64_t i = 0; i < 4; i++) {
        users[i] = (struct user){.entry = entry, .first = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].n_failed, 0);
    }
    assert_ok(cache_entry_keep(entry, &f->err));
    assert_reads(f, entry);
    cache_entry_destroy(entry);
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
        TEST(threads_share_an_entry),
    };
    for (int i = 0; i < N; i++)
        values[i] = (float)i * 0.5f;
    return test_run(tests);
}
