#include "tests/unit/db/version_1.h"

#include "db/events.h"
#include "db/image_masks.h"
#include "db/sql/migrations.h"
#include "db/stored_files.h"

static int put(struct fixture *f, uint32_t expected, const char *shapes, const char *picture,
               struct db_image_mask *out)
{
    struct db_image_mask mask = {.shapes = (char *)shapes};
    memcpy(mask.image_id, f->image_id, DB_ID_SIZE);
    snprintf(mask.created_by, sizeof(mask.created_by), "key_someone");
    struct store_writer *writer = NULL;
    if (picture != NULL) {
        assert_ok(store_writer_create(&writer, f->store, &f->err));
        assert_ok(store_writer_write(writer, picture, strlen(picture), &f->err));
        store_writer_sha256(writer, mask.picture_sha256);
        mask.picture_size = strlen(picture);
        assert_ok(store_writer_commit(writer, &f->err));
    }
    int rc = db_image_mask_insert(f->db, f->store, &mask, expected, &f->err);
    store_writer_destroy(writer);
    if (rc == 0 && out != NULL)
        *out = mask;
    return rc;
}

static void check_latest(struct fixture *f, uint64_t until, uint32_t version, const char *shapes)
{
    struct db_image_mask mask;
    assert_ok(db_image_mask_get(f->db, f->image_id, until, &mask, &f->err));
    assert_string_equal(mask.image_id, f->image_id);
    assert_int_equal(mask.version, version);
    if (shapes == NULL)
        assert_null(mask.shapes);
    else
        assert_string_equal(mask.shapes, shapes);
    db_image_mask_clear(&mask);
}

static void versions_follow_each_other(void **state)
{
    struct fixture *f = *state;
    struct db_image_mask stored;
    fixture_fill(f);
    check_latest(f, DB_MASKS_ALL, 0, NULL);
    assert_ok(put(f, 0, "one", NULL, &stored));
    assert_int_equal(stored.version, 1);
    assert_ok(put(f, 1, "two", NULL, &stored));
    assert_int_equal(stored.version, 2);
    check_latest(f, DB_MASKS_ALL, 2, "two");
    assert_int_equal(put(f, 1, "late", NULL, NULL), ERROR_CONFLICT);
    assert_non_null(strstr(f->err.message, "has version 2, not 1"));
    check_latest(f, DB_MASKS_ALL, 2, "two");
    memcpy(f->image_id, "img_01JABCDEFGHJKMNPQRSTVWXYZ0", 31);
    assert_int_equal(put(f, 0, "one", NULL, NULL), ERROR_NOT_FOUND);
}

static void an_event_says_so(void **state)
{
    struct fixture *f = *state;
    struct db_event_list events;
    fixture_fill(f);
    assert_ok(put(f, 0, "one", NULL, NULL));
    assert_ok(db_event_list(f->db, 0, 1000, &events, &f->err));
    const struct db_event *event = &events.items[events.n_items - 1];
    assert_string_equal(db_event_type_name(event->type), "image.mask_updated");
    assert_string_equal(event->project_id, f->project_id);
    assert_string_equal(event->subject_id, f->image_id);
    assert_string_equal(event->principal, "key_someone");
    assert_string_equal(event->data, "{\"version\":1}");
    db_event_list_clear(&events);
}

/* A job sees the mask that was there when it was made, whatever comes later. */
static void a_job_takes_the_mask_of_its_time(void **state)
{
    struct fixture *f = *state;
    char ids[3][DB_ID_SIZE];
    static const char *const shapes[] = {NULL, "one", "two"};
    fixture_fill(f);
    for (uint32_t i = 0; i < 3; i++) {
        assert_ok(fixture_add_job(f, 0, ids[i]));
        assert_ok(put(f, i, i == 0 ? "one" : "two", NULL, NULL));
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct db_job job;
        assert_ok(db_job_get(f->db, ids[i], &job, &f->err));
        check_latest(f, job.masks_until, i, shapes[i]);
        db_job_clear(&job);
    }
    check_latest(f, DB_MASKS_ALL, 3, "two");
}

static void pictures_stay_as_long_as_a_version_has_them(void **state)
{
    struct fixture *f = *state;
    struct db_image_mask mask;
    fixture_fill(f);
    memset(&mask, 0, sizeof(mask));
    assert_ok(put(f, 0, "one", "a picture", NULL));
    assert_ok(put(f, 1, "two", "another", NULL));
    assert_ok(put(f, 2, "three", NULL, NULL));
    fixture_reopen(f); /* checks the files, and looks for those that nobody needs */
    assert_true(fixture_blob_exists(f, "a picture") && fixture_blob_exists(f, "another"));
    assert_ok(db_image_mask_get(f->db, f->image_id, DB_MASKS_ALL, &mask, &f->err));
    assert_string_equal(mask.picture_sha256, "");
    db_image_mask_clear(&mask);
    /* A file that is not there has no row. */
    struct db_image_mask none = {.shapes = (char *)"x"};
    memcpy(none.image_id, f->image_id, DB_ID_SIZE);
    fixture_sha256("never stored", none.picture_sha256);
    assert_int_equal(db_image_mask_insert(f->db, f->store, &none, 3, &f->err), ERROR_INVALID);
}

static void pictures_go_with_their_image(void **state)
{
    struct fixture *f = *state;
    char other[DB_ID_SIZE];
    fixture_fill(f);
    assert_ok(put(f, 0, "one", "a picture", NULL));
    assert_ok(fixture_add_image(f, f->project_id, "the second image", other));
    memcpy(f->image_id, other, DB_ID_SIZE);
    assert_ok(put(f, 0, "one", "a picture", NULL)); /* the same file */
    assert_ok(put(f, 1, "two", "of this alone", NULL));
    assert_ok(db_image_delete(f->db, f->store, other, &fixture_principal, &f->err));
    assert_false(fixture_blob_exists(f, "of this alone"));
    assert_true(fixture_blob_exists(f, "a picture"));
    check_latest(f, DB_MASKS_ALL, 0, NULL);
    assert_ok(db_project_delete(f->db, f->store, f->project_id, &fixture_principal, &f->err));
    assert_false(fixture_blob_exists(f, "a picture"));
}

/* An image from before anybody looked takes the look of the same bytes, once. */
static void the_same_bytes_bring_their_look(void **state)
{
    struct fixture *f = *state;
    struct db_image image;
    static const char *const looks[] = {"first", "second"};
    fixture_fill(f);
    assert_ok(db_image_get(f->db, f->image_id, &image, &f->err));
    assert_null(image.look);
    db_image_clear(&image);
    for (int i = 0; i < 2; i++) {
        struct db_image again = {.format = "png", .width = 640, .height = 480, .byte_size = 15};
        bool existed = false;
        again.name = strdup("again.png");
        again.look = strdup(looks[i]);
        memcpy(again.project_id, f->project_id, DB_ID_SIZE);
        fixture_sha256("the first image", again.sha256);
        assert_ok(db_image_insert(f->db, f->store, &again, &existed, &f->err));
        assert_true(existed);
        assert_string_equal(again.look, "first");
        assert_int_equal(again.revision, 2);
        db_image_clear(&again);
    }
    assert_ok(db_image_get(f->db, f->image_id, &image, &f->err));
    assert_string_equal(image.look, "first");
    assert_int_equal(image.revision, 2);
    db_image_clear(&image);
}

/* Files of an older version's rows are known before it is migrated. */
static void rows_of_an_older_version_name_their_files(void **state)
{
    struct fixture *f = *state;
    static const char known[] = "0000000000000000000000000000000000000000000000000000000000000000";
    size_t n = 0;
    bool is_named = false;
    char unknown[DB_SHA256_SIZE];
    fixture_close(f);
    struct db_connection *connection = version_1_create(f);
    fixture_sha256("what", unknown);
    assert_ok(db_stored_file_is_named(connection, known, &is_named, &f->err));
    assert_true(is_named);
    assert_ok(db_stored_file_is_named(connection, unknown, &is_named, &f->err));
    assert_false(is_named);
    db_connection_close(connection);
    assert_string_equal(db_migrations(&n)[DB_VERSION_WITH_MASKS - 1].what,
                        "what is left out of images");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(versions_follow_each_other),
        TEST(an_event_says_so),
        TEST(a_job_takes_the_mask_of_its_time),
        TEST(pictures_stay_as_long_as_a_version_has_them),
        TEST(pictures_go_with_their_image),
        TEST(the_same_bytes_bring_their_look),
        TEST(rows_of_an_older_version_name_their_files),
    };
    return test_run(tests);
}
