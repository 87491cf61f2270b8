/* Files named by their hash, without any row: who needs them is what the test says. */
#include "tests/unit/db/fixture.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/directory.h"
#include "db/store/reader.h"

static void uploads_are_hashed_and_mapped_as_they_come(void **state)
{
    struct fixture *f = *state;
    struct store_writer *writer = NULL;
    char sha256[DB_SHA256_SIZE], expected[DB_SHA256_SIZE];
    const void *data = NULL;
    size_t size = 1;
    assert_ok(store_writer_create(&writer, f->store, &f->err));
    assert_ok(store_writer_map(writer, &data, &size, &f->err));
    assert_int_equal(size, 0);
    assert_ok(store_writer_write(writer, "hello ", 6, &f->err));
    assert_ok(store_writer_map(writer, &data, &size, &f->err));
    assert_memory_equal(data, "hello ", 6);
    assert_ok(store_writer_write(writer, "world", 5, &f->err));
    assert_ok(store_writer_map(writer, &data, &size, &f->err));
    assert_int_equal(size, 11);
    assert_memory_equal(data, "hello world", 11);
    assert_int_equal(store_writer_size(writer), 11);
    fixture_sha256("hello world", expected);
    store_writer_sha256(writer, sha256);
    assert_string_equal(sha256, expected);
    assert_false(fixture_blob_exists(f, "hello world"));
    assert_int_equal(store_writer_write(writer, "!", 1, &f->err), ERROR_IO);
    assert_ok(store_writer_commit(writer, &f->err));
    assert_true(fixture_blob_exists(f, "hello world"));
    /* No row came: nothing stays. */
    store_writer_destroy(writer);
    assert_false(fixture_blob_exists(f, "hello world"));
    store_writer_destroy(NULL);
}

static void blob_names_are_no_paths(void **state)
{
    struct fixture *f = *state;
    struct store_file blob;
    assert_int_equal(store_file_open(f->store, "../../../../etc/passwd", NULL, &blob, &f->err),
                     ERROR_NOT_FOUND);
    assert_int_equal(store_file_open(f->store, "", NULL, &blob, &f->err), ERROR_NOT_FOUND);
}

/* Bytes of a mapping that are in memory. */
static size_t resident(const void *data)
{
    char line[512], begin[32];
    unsigned long long kib = 0;
    bool found = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    assert_non_null(file);
    snprintf(begin, sizeof(begin), "%lx-", (unsigned long)(uintptr_t)data);
    while (fgets(line, sizeof(line), file) != NULL) {
        found = found || strncmp(line, begin, strlen(begin)) == 0;
        if (found && strncmp(line, "Rss:", 4) == 0) {
            kib = strtoull(line + 4, NULL, 10);
            break;
        }
    }
    fclose(file);
    assert_true(found);
    return (size_t)kib * 1024;
}

static void what_is_forgotten_can_be_read_again(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 1000001 };
    static uint8_t bytes[SIZE];
    struct store_writer *writer = NULL;
    struct store_file blob = {0};
    char sha256[DB_SHA256_SIZE];
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 4096);
    assert_ok(store_writer_create(&writer, f->store, &f->err));
    assert_ok(store_writer_write(writer, bytes, SIZE, &f->err));
    assert_ok(store_writer_commit(writer, &f->err));
    store_writer_sha256(writer, sha256);
    assert_ok(store_file_open(f->store, sha256, NULL, &blob, &f->err));
    assert_memory_equal(blob.data, bytes, SIZE);
    assert_true(resident(blob.data) >= SIZE);
    store_file_forget(&blob, 5, 600000);
    assert_in_range(resident(blob.data), SIZE - 600000, SIZE - 590000 + 4096);
    assert_memory_equal(blob.data, bytes, SIZE);
    store_file_forget(&blob, SIZE, 1);
    store_file_forget(&blob, 1, SIZE);
    store_file_forget(&blob, 0, 0);
    assert_true(resident(blob.data) >= SIZE);
    store_file_forget(&blob, 0, SIZE);
    assert_int_equal(resident(blob.data), 0);
    assert_memory_equal(blob.data, bytes, SIZE);
    store_file_close(&blob);
    store_writer_destroy(writer);
}

/* ---- who needs a file ---- */

/* A store by itself, and what its callback answers. */
struct bare {
    char directory[512];
    struct store *store;
    struct error err;
    const char *needed; /* the text that is needed; "": none */
    int answer;         /* an error code, or 0 */
    void (*when_asked)(struct bare *bare);
};

static int answer(void *context, const char *sha256, bool *out, struct error *err)
{
    struct bare *bare = context;
    char needed[DB_SHA256_SIZE];
    if (bare->when_asked != NULL)
        bare->when_asked(bare);
    if (bare->answer != 0)
        return error_set(err, ERROR_IO, "the rows cannot be read");
    fixture_sha256(bare->needed, needed);
    *out = strcmp(needed, sha256) == 0;
    return 0;
}

static int bare_setup(void **state)
{
    struct bare *bare = calloc(1, sizeof(*bare));
    const struct store_needs needs = {.is_needed = answer, .context = bare};
    char path[600];
    bare->needed = "";
    fixture_directory(bare->directory);
    snprintf(path, sizeof(path), "%s/blobs", bare->directory);
    assert_ok(mkdir(path, 0700));
    snprintf(path, sizeof(path), "%s/tmp", bare->directory);
    assert_ok(mkdir(path, 0700));
    assert_ok(store_create_directory(&bare->store, bare->directory, &needs, &bare->err));
    *state = bare;
    return 0;
}

static int bare_teardown(void **state)
{
    struct bare *bare = *state;
    store_destroy(bare->store);
    fixture_remove_directory(bare->directory);
    free(bare);
    return 0;
}

/* A committed writer; the caller's to destroy. */
static struct store_writer *commit(struct bare *bare, const char *text)
{
    struct store_writer *writer = NULL;
    assert_ok(store_writer_create(&writer, bare->store, &bare->err));
    assert_ok(store_writer_write(writer, text, strlen(text), &bare->err));
    assert_ok(store_writer_commit(writer, &bare->err));
    return writer;
}

static bool is_there(struct bare *bare, const char *text)
{
    char sha256[DB_SHA256_SIZE];
    uint64_t size = 0;
    fixture_sha256(text, sha256);
    int rc = store_file_size(bare->store, sha256, &size, &bare->err);
    assert_true(rc == ERROR_NOT_FOUND || (rc == 0 && size == strlen(text)));
    return rc == 0;
}

static void collect(struct bare *bare, const char *text)
{
    char sha256[DB_SHA256_SIZE];
    fixture_sha256(text, sha256);
    store_collect(bare->store, sha256);
}

static void what_is_needed_or_pinned_stays(void **state)
{
    struct bare *bare = *state;
    struct store_writer *first = commit(bare, "a"), *second = commit(bare, "a");
    collect(bare, "a");
    assert_true(is_there(bare, "a"));
    store_writer_destroy(first);
    assert_true(is_there(bare, "a"));
    bare->needed = "a";
    store_writer_destroy(second);
    assert_true(is_there(bare, "a"));
    bare->needed = "";
    collect(bare, "a");
    assert_false(is_there(bare, "a"));
    collect(bare, "a");
    assert_false(store_needs_sweep(bare->store));
    assert_int_equal(fixture_n_temporary(bare->directory), 0);
}

static void a_question_without_answer_is_asked_again_by_a_sweep(void **state)
{
    struct bare *bare = *state;
    bare->needed = "kept";
    store_writer_destroy(commit(bare, "kept"));
    bare->answer = ERROR_IO;
    store_writer_destroy(commit(bare, "left"));
    assert_true(is_there(bare, "left"));
    assert_true(store_needs_sweep(bare->store));
    assert_int_equal(store_sweep(bare->store, &bare->err), ERROR_IO);
    assert_true(store_needs_sweep(bare->store));
    bare->answer = 0;
    assert_ok(store_sweep(bare->store, &bare->err));
    assert_false(store_needs_sweep(bare->store));
    assert_false(is_there(bare, "left"));
    assert_true(is_there(bare, "kept"));
}

static bool is_in_quarantine(struct bare *bare, const char *text)
{
    char sha256[DB_SHA256_SIZE], path[700];
    fixture_sha256(text, sha256);
    snprintf(path, sizeof(path), "%s/quarantine/%.2s/%s", bare->directory, sha256, sha256);
    return access(path, F_OK) == 0;
}

/* Only who made a file, or knows that its row went, removes it. */
static void what_nobody_knows_is_set_aside(void **state)
{
    struct bare *bare = *state;
    bare->needed = "a";
    store_writer_destroy(commit(bare, "a"));
    bare->needed = "";
    assert_ok(store_sweep(bare->store, &bare->err));
    assert_false(is_there(bare, "a"));
    assert_true(is_in_quarantine(bare, "a"));
    /* Uploaded anew, and taken over by nobody. */
    store_writer_destroy(commit(bare, "a"));
    assert_false(is_there(bare, "a"));
    assert_true(is_in_quarantine(bare, "a"));
    /* Nothing needs it yet. */
    assert_ok(store_bring_back(bare->store, &bare->err));
    assert_true(is_in_quarantine(bare, "a"));
    bare->needed = "a";
    assert_ok(store_bring_back(bare->store, &bare->err));
    assert_true(is_there(bare, "a"));
    assert_false(is_in_quarantine(bare, "a"));
    /* Who uploads what is there already and is refused has not made it. */
    struct store_writer *again = commit(bare, "a");
    bare->needed = "";
    store_writer_destroy(again);
    assert_true(is_in_quarantine(bare, "a"));
}

static void who_is_told_while_others_pin_leaves_it_to_them(void **state)
{
    struct bare *bare = *state;
    /* The first made it. */
    struct store_writer *first = commit(bare, "a"), *second = commit(bare, "a");
    store_writer_destroy(first);
    store_writer_destroy(second);
    assert_false(is_there(bare, "a"));
    assert_false(is_in_quarantine(bare, "a"));
    /* Its row went meanwhile. */
    bare->needed = "b";
    store_writer_destroy(commit(bare, "b"));
    second = commit(bare, "b");
    bare->needed = "";
    collect(bare, "b");
    assert_true(is_there(bare, "b"));
    store_writer_destroy(second);
    assert_false(is_there(bare, "b"));
    assert_false(is_in_quarantine(bare, "b"));
}

/* ---- damage ---- */

static void damage(struct bare *bare, const char *text)
{
    char sha256[DB_SHA256_SIZE], path[700];
    fixture_sha256(text, sha256);
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", bare->directory, sha256, sha256);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fputc('#', file), '#');
    assert_int_equal(fclose(file), 0);
}

struct heard {
    unsigned n[STORE_HEALED + 1];
};

static void hear(void *context, enum store_event event, const char *sha256)
{
    struct heard *heard = context;
    assert_int_equal(strlen(sha256), 64);
    heard->n[event]++;
}

static int open_one(struct bare *bare, const char *text)
{
    char sha256[DB_SHA256_SIZE];
    struct store_file file = {0};
    fixture_sha256(text, sha256);
    int rc = store_file_open(bare->store, sha256, NULL, &file, &bare->err);
    if (rc == 0)
        assert_memory_equal(file.data, text, strlen(text));
    store_file_close(&file);
    return rc;
}

/* Of the same size: only reading it tells. */
static void a_damaged_file_is_replaced_by_the_next_upload(void **state)
{
    struct bare *bare = *state;
    struct heard heard = {0};
    uint64_t n_verified, n_damaged;
    store_observe(bare->store, &(struct store_observer){.event = hear, .context = &heard});
    bare->needed = "an image";
    store_writer_destroy(commit(bare, "an image"));
    assert_ok(open_one(bare, "an image"));
    damage(bare, "an image");
    assert_int_equal(open_one(bare, "an image"), ERROR_CORRUPT);
    assert_non_null(strstr(bare->err.message, "its file is damaged: its SHA-256 is "));
    assert_int_equal(open_one(bare, "an image"), ERROR_CORRUPT);
    assert_int_equal(heard.n[STORE_DAMAGED], 1);
    store_verified(bare->store, &n_verified, &n_damaged);
    assert_int_equal(n_damaged, 1);
    store_writer_destroy(commit(bare, "an image"));
    assert_int_equal(heard.n[STORE_HEALED], 1);
    assert_ok(open_one(bare, "an image"));
    store_verified(bare->store, &n_verified, &n_damaged);
    assert_int_equal(n_damaged, 0);
    /* Nothing is replaced that is whole. */
    store_writer_destroy(commit(bare, "an image"));
    assert_int_equal(heard.n[STORE_HEALED], 1);
    assert_int_equal(fixture_n_temporary(bare->directory), 0);
}

static void what_is_removed_is_no_damage_any_more(void **state)
{
    struct bare *bare = *state;
    uint64_t n_verified, n_damaged;
    bare->needed = "an image";
    store_writer_destroy(commit(bare, "an image"));
    damage(bare, "an image");
    assert_int_equal(open_one(bare, "an image"), ERROR_CORRUPT);
    bare->needed = "";
    collect(bare, "an image");
    store_verified(bare->store, &n_verified, &n_damaged);
    assert_int_equal(n_damaged, 0);
}

static void read_all(struct bare *bare, enum store_reader_use use, size_t step, size_t *n_given,
                     int *rc)
{
    static char buffer[4096];
    char sha256[DB_SHA256_SIZE];
    struct store_reader *reader = NULL;
    fixture_sha256(bare->needed, sha256);
    *n_given = 0;
    *rc = store_reader_open(&reader, bare->store, sha256, use, &bare->err);
    for (size_t n = 1; *rc == 0 && n > 0;) {
        *rc = store_reader_read(reader, buffer, step, &n, &bare->err);
        *n_given += *rc == 0 ? n : 0;
    }
    store_reader_close(reader);
}

/* Whoever counts what came knows that it is not all. */
static void a_reader_keeps_the_last_bytes_of_a_damaged_file(void **state)
{
    struct bare *bare = *state;
    size_t n_given;
    int rc;
    bare->needed = "an image of some bytes";
    store_writer_destroy(commit(bare, bare->needed));
    for (size_t step = 1; step <= 32; step++) {
        read_all(bare, STORE_READER_SCRUB, step, &n_given, &rc);
        assert_int_equal(rc, 0);
        assert_int_equal(n_given, strlen(bare->needed));
    }
    read_all(bare, STORE_READER_SEND, 5, &n_given, &rc);
    assert_int_equal(rc, 0);
    damage(bare, bare->needed);
    for (size_t step = 1; step <= 32; step++) {
        read_all(bare, STORE_READER_SCRUB, step, &n_given, &rc);
        assert_int_equal(rc, ERROR_CORRUPT);
        assert_true(n_given < strlen(bare->needed));
        /* A small one gives nothing. */
        read_all(bare, STORE_READER_SEND, step, &n_given, &rc);
        assert_int_equal(rc, ERROR_CORRUPT);
        assert_int_equal(n_given, 0);
    }
    struct store_reader *reader = NULL;
    char sha256[DB_SHA256_SIZE];
    fixture_sha256("what nobody stored", sha256);
    assert_int_equal(store_reader_open(&reader, bare->store, sha256, STORE_READER_SEND, &bare->err),
                     ERROR_NOT_FOUND);
}

static void an_emptied_file_is_damaged(void **state)
{
    struct bare *bare = *state;
    char sha256[DB_SHA256_SIZE], path[700];
    size_t n_given;
    int rc;
    bare->needed = "an image";
    store_writer_destroy(commit(bare, bare->needed));
    fixture_sha256(bare->needed, sha256);
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", bare->directory, sha256, sha256);
    assert_ok(truncate(path, 0));
    read_all(bare, STORE_READER_SCRUB, 10, &n_given, &rc);
    assert_int_equal(rc, ERROR_CORRUPT);
    assert_int_equal(open_one(bare, "an image"), ERROR_CORRUPT);
}

static pthread_t committing;
static struct store_writer *committed;

static void *commit_again(void *context)
{
    committed = commit(context, "raced");
    return NULL;
}

static void start_to_commit(struct bare *bare)
{
    bare->when_asked = NULL;
    assert_int_equal(pthread_create(&committing, NULL, commit_again, bare), 0);
}

/* Whoever commits while the file is being removed must not take the old file for its own. */
static void a_commit_outlives_a_removal_that_has_begun(void **state)
{
    struct bare *bare = *state;
    for (int i = 0; i < 50; i++) {
        struct store_writer *old = commit(bare, "raced");
        bare->when_asked = start_to_commit;
        store_writer_destroy(old);
        pthread_join(committing, NULL);
        assert_true(is_there(bare, "raced"));
        store_writer_destroy(committed);
        assert_false(is_there(bare, "raced"));
    }
}

#define TEST(function)      cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
#define BARE_TEST(function) cmocka_unit_test_setup_teardown(function, bare_setup, bare_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(uploads_are_hashed_and_mapped_as_they_come),
        TEST(blob_names_are_no_paths),
        TEST(what_is_forgotten_can_be_read_again),
        BARE_TEST(what_is_needed_or_pinned_stays),
        BARE_TEST(a_question_without_answer_is_asked_again_by_a_sweep),
        BARE_TEST(what_nobody_knows_is_set_aside),
        BARE_TEST(who_is_told_while_others_pin_leaves_it_to_them),
        BARE_TEST(a_damaged_file_is_replaced_by_the_next_upload),
        BARE_TEST(what_is_removed_is_no_damage_any_more),
        BARE_TEST(a_reader_keeps_the_last_bytes_of_a_damaged_file),
        BARE_TEST(an_emptied_file_is_damaged),
        BARE_TEST(a_commit_outlives_a_removal_that_has_begun),
    };
    return test_run(tests);
}
