/* Which database and which files may be used together. */
#include "tests/unit/db/fixture.h"

#include <unistd.h>

#include "db/settings.h"

static const char marker[] = "blobs/store.id";

static void move_file(const struct fixture *f, const char *from, const char *to)
{
    char old_path[700], new_path[700];
    fixture_path(f, from, old_path);
    fixture_path(f, to, new_path);
    assert_ok(rename(old_path, new_path));
}

static void remove_file(const struct fixture *f, const char *name)
{
    char path[700];
    fixture_path(f, name, path);
    assert_ok(unlink(path));
}

static void read_marker(const struct fixture *f, char out[DB_ID_SIZE])
{
    memset(out, 0, DB_ID_SIZE);
    fixture_read_file(f, marker, out, DB_ID_SIZE - 1);
    out[strcspn(out, "\n")] = '\0';
}

static void forget_setting(struct fixture *f)
{
    fixture_edit(f, "DELETE FROM settings WHERE name = 'store_id'");
}

/* Database and files each name the store. */
static void expect_paired(struct fixture *f)
{
    char id[DB_ID_SIZE], value[DB_SETTING_SIZE];
    read_marker(f, id);
    assert_true(db_id_is(id, "sto_"));
    assert_ok(db_setting_get(f->db, "store_id", value, &f->err));
    assert_string_equal(value, id);
    assert_string_equal(f->data->pairing.store, id);
}

static void expect_refusal(struct fixture *f, const char *reason)
{
    assert_int_equal(fixture_open(f), ERROR_CONFLICT);
    if (strstr(f->err.message, reason) == NULL)
        fail_msg("'%s' is not in '%s'", reason, f->err.message);
    assert_non_null(strstr(f->err.message, f->directory));
    assert_non_null(strstr(f->err.message, "chipshot data adopt"));
}

static int adopt(struct fixture *f)
{
    struct data *data = NULL;
    const struct data_config config = {.directory = f->directory, .purpose = DATA_TO_ADOPT};
    int rc = data_open(&data, &config, &f->err);
    data_close(data);
    return rc;
}

static void a_new_directory_is_paired(void **state)
{
    struct fixture *f = *state;
    char first[DB_ID_SIZE], second[DB_ID_SIZE];
    expect_paired(f);
    read_marker(f, first);
    fixture_reopen(f);
    expect_paired(f);
    read_marker(f, second);
    assert_string_equal(first, second);
}

static void one_of_a_version_before_is_paired_when_its_files_are_there(void **state)
{
    struct fixture *f = *state;
    char removed[DB_ID_SIZE];
    fixture_fill(f);
    assert_ok(fixture_add_image(f, f->project_id, "another", removed));
    fixture_close(f);
    forget_setting(f);
    remove_file(f, marker);
    /* One that an administrator removed does not keep the others away. */
    char sha256[DB_SHA256_SIZE], name[100];
    fixture_sha256("another", sha256);
    snprintf(name, sizeof(name), "blobs/%.2s/%s", sha256, sha256);
    remove_file(f, name);
    assert_ok(fixture_open(f));
    expect_paired(f);
}

static void a_file_that_cannot_be_opened_keeps_no_version_before_away(void **state)
{
    struct fixture *f = *state;
    char other[DB_ID_SIZE], sha256[DB_SHA256_SIZE], name[100], path[700];
    fixture_fill(f);
    assert_ok(fixture_add_image(f, f->project_id, "another", other));
    fixture_close(f);
    forget_setting(f);
    remove_file(f, marker);
    fixture_sha256("another", sha256);
    snprintf(name, sizeof(name), "blobs/%.2s/%s", sha256, sha256);
    remove_file(f, name);
    fixture_path(f, name, path);
    assert_ok(symlink("elsewhere", path));
    assert_ok(fixture_open(f));
    expect_paired(f);
}

static void one_whose_files_are_gone_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_fill(f);
    fixture_close(f);
    forget_setting(f);
    move_file(f, "blobs", "aside");
    expect_refusal(f, "the database knows 1 images and 1 encoders, of whose files 0 and 0 are");
    remove_file(f, "aside/store.id");
    char path[700];
    fixture_path(f, "blobs", path);
    assert_ok(rmdir(path));
    move_file(f, "aside", "blobs");
    assert_ok(fixture_open(f));
    expect_paired(f);
}

/* The encoder that every store has says nothing. */
static void an_encoder_alone_is_no_proof(void **state)
{
    struct fixture *f = *state;
    char sha256[DB_SHA256_SIZE], name[100];
    fixture_fill(f);
    fixture_close(f);
    forget_setting(f);
    remove_file(f, marker);
    fixture_sha256("the first image", sha256);
    snprintf(name, sizeof(name), "blobs/%.2s/%s", sha256, sha256);
    move_file(f, name, "image");
    expect_refusal(f, "of whose files 0 and 1 are in blobs/");
    move_file(f, "image", name);
    assert_ok(fixture_open(f));
}

static void files_without_their_database_are_refused(void **state)
{
    struct fixture *f = *state;
    char path[700];
    fixture_fill(f);
    fixture_close(f);
    move_file(f, "chipshot.sqlite", "aside");
    expect_refusal(f, "the database chipshot.sqlite is missing or knows none");
    /* No new one was made, whose log files would meet the old one. */
    fixture_path(f, "chipshot.sqlite", path);
    assert_int_equal(access(path, F_OK), -1);
    fixture_write_file(f, "lock", "12345\n");
    expect_refusal(f, "the database chipshot.sqlite is missing or knows none");
    assert_true(fixture_blob_exists(f, "the first image"));
    move_file(f, "aside", "chipshot.sqlite");
    assert_ok(fixture_open(f));
    assert_true(fixture_blob_exists(f, "the first image"));
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
}

static void files_under_a_database_without_rows_are_refused(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    move_file(f, "chipshot.sqlite", "empty");
    remove_file(f, marker);
    assert_ok(fixture_open(f));
    fixture_fill(f);
    fixture_close(f);
    move_file(f, "chipshot.sqlite", "full");
    move_file(f, "empty", "chipshot.sqlite");
    expect_refusal(f, "belongs to the files of the store sto_");
    forget_setting(f);
    expect_refusal(f, "is missing or knows none");
    /* As it was before it had a name. */
    remove_file(f, marker);
    expect_refusal(f, "is missing or knows none");
    assert_ok(adopt(f));
    assert_ok(fixture_open(f));
    expect_paired(f);
    assert_true(fixture_blob_exists(f, "the first image"));
}

static void another_stores_files_are_refused_until_they_are_adopted(void **state)
{
    struct fixture *f = *state;
    char other[DB_ID_SIZE] = "sto_01ARZ3NDEKTSV4RRFFQ69G5FAV", now[DB_ID_SIZE];
    fixture_fill(f);
    fixture_close(f);
    move_file(f, marker, "aside");
    fixture_write_file(f, marker, other);
    fixture_write_file(f, "lock", "12345\n");
    expect_refusal(f, other);
    assert_true(fixture_blob_exists(f, "the first image"));
    assert_ok(adopt(f));
    assert_ok(fixture_open(f));
    expect_paired(f);
    read_marker(f, now);
    assert_string_equal(now, other);
}

static void a_damaged_name_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_fill(f);
    fixture_close(f);
    fixture_write_file(f, marker, "what?");
    assert_int_equal(fixture_open(f), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, marker));
    assert_non_null(strstr(f->err.message, "chipshot data adopt"));
    assert_ok(adopt(f));
    assert_ok(fixture_open(f));
    expect_paired(f);
}

static void a_lost_name_is_written_again(void **state)
{
    struct fixture *f = *state;
    char first[DB_ID_SIZE], second[DB_ID_SIZE];
    fixture_fill(f);
    read_marker(f, first);
    fixture_close(f);
    remove_file(f, marker);
    assert_ok(fixture_open(f));
    expect_paired(f);
    read_marker(f, second);
    assert_string_equal(first, second);
}

static void adopting_makes_no_directory_and_removes_nothing(void **state)
{
    struct fixture *f = *state;
    struct data *data = NULL;
    char path[700];
    fixture_path(f, "absent", path);
    const struct data_config config = {.directory = path, .purpose = DATA_TO_ADOPT};
    assert_int_equal(data_open(&data, &config, &f->err), ERROR_IO);
    assert_int_equal(access(path, F_OK), -1);
    float row = 1;
    assert_ok(cache_put(f->cache, "key", 1, 1, &row, &f->err));
    fixture_close(f);
    fixture_write_file(f, "tmp/chipshot-abcdef", "x");
    fixture_write_file(f, "lock", "12345\n");
    assert_ok(adopt(f));
    assert_int_equal(fixture_n_temporary(f->directory), 1);
    /* The next start still knows that the end was not clean. */
    fixture_path(f, "lock", path);
    char text[8] = "";
    assert_true(fixture_read_file(f, "lock", text, sizeof(text)) > 0);
    assert_ok(fixture_open(f));
    assert_ok(cache_get(f->cache, "key", 1, 1, &row, &f->err));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_directory_is_paired),
        TEST(one_of_a_version_before_is_paired_when_its_files_are_there),
        TEST(a_file_that_cannot_be_opened_keeps_no_version_before_away),
        TEST(one_whose_files_are_gone_is_refused),
        TEST(an_encoder_alone_is_no_proof),
        TEST(files_without_their_database_are_refused),
        TEST(files_under_a_database_without_rows_are_refused),
        TEST(another_stores_files_are_refused_until_they_are_adopted),
        TEST(a_damaged_name_is_refused),
        TEST(a_lost_name_is_written_again),
        TEST(adopting_makes_no_directory_and_removes_nothing),
    };
    return test_run(tests);
}
