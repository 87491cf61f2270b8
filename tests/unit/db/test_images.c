#include "tests/unit/db/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static void an_image_is_stored_with_its_bytes(void **state)
{
    struct fixture *f = *state;
    struct db_image image;
    struct store_file blob;
    fixture_fill(f);
    assert_ok(db_image_get(f->db, f->image_id, &image, &f->err));
    assert_string_equal(image.project_id, f->project_id);
    assert_string_equal(image.name, "scan.png");
    assert_string_equal(image.format, "png");
    assert_int_equal(image.width, 640);
    assert_int_equal(image.bit_depth, 16);
    assert_true(image.pixel_size_nm == 0.25);
    assert_ok(store_file_open(f->store, image.sha256, NULL, &blob, &f->err));
    assert_int_equal(blob.size, strlen("the first image"));
    assert_memory_equal(blob.data, "the first image", blob.size);
    store_file_close(&blob);
    db_image_clear(&image);
}

static void the_same_bytes_give_the_same_image(void **state)
{
    struct fixture *f = *state;
    char again[DB_ID_SIZE], elsewhere[DB_ID_SIZE], project[DB_ID_SIZE];
    fixture_fill(f);
    assert_ok(fixture_add_image(f, f->project_id, "the first image", again));
    assert_string_equal(again, f->image_id);
    fixture_add_project(f, "other", project);
    assert_ok(fixture_add_image(f, project, "the first image", elsewhere));
    assert_string_not_equal(elsewhere, f->image_id);
}

static void another_frame_of_a_file_is_another_image(void **state)
{
    struct fixture *f = *state;
    char ids[3][DB_ID_SIZE];
    const uint32_t frames[3] = {0, UINT32_MAX, UINT32_MAX};
    fixture_fill(f);
    for (int i = 0; i < 3; i++) {
        struct db_image image = {.format = "png", .width = 1, .height = 1, .byte_size = 15};
        bool existed = false;
        image.name = strdup("frame.png");
        image.frame = frames[i];
        memcpy(image.project_id, f->project_id, DB_ID_SIZE);
        fixture_sha256("the first image", image.sha256);
        assert_ok(db_image_insert(f->db, f->store, &image, &existed, &f->err));
        assert_int_equal(existed, i != 1);
        assert_int_equal(image.frame, frames[i]);
        memcpy(ids[i], image.id, DB_ID_SIZE);
        db_image_clear(&image);
    }
    assert_string_equal(ids[0], f->image_id);
    assert_string_not_equal(ids[1], f->image_id);
    assert_string_equal(ids[2], ids[1]);
    /* The file stays for the frame that is left. */
    assert_ok(db_image_delete(f->db, f->store, ids[1], &fixture_principal, &f->err));
    assert_true(fixture_blob_exists(f, "the first image"));
}

static void a_refused_upload_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    assert_int_equal(fixture_add_image(f, "prj_none", "unwanted", id), ERROR_NOT_FOUND);
    assert_false(fixture_blob_exists(f, "unwanted"));
}

static void a_row_needs_its_file(void **state)
{
    struct fixture *f = *state;
    bool existed;
    struct db_image image = {.name = (char *)"x", .format = "png", .width = 1, .height = 1};
    fixture_fill(f);
    memcpy(image.project_id, f->project_id, DB_ID_SIZE);
    fixture_sha256("never uploaded", image.sha256);
    assert_int_equal(db_image_insert(f->db, f->store, &image, &existed, &f->err), ERROR_INVALID);
}

static void files_are_private(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"chipshot.sqlite", "chipshot.sqlite-wal", "lock"};
    char sha256[DB_SHA256_SIZE], path[700];
    struct stat status;
    fixture_fill(f);
    fixture_sha256("the first image", sha256);
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", f->directory, sha256, sha256);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->directory, names[i]);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
    snprintf(path, sizeof(path), "%s/blobs", f->directory);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

static void a_damaged_blob_is_healed_by_the_next_upload(void **state)
{
    struct fixture *f = *state;
    char sha256[DB_SHA256_SIZE], path[700], id[DB_ID_SIZE];
    fixture_fill(f);
    fixture_sha256("the first image", sha256);
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", f->directory, sha256, sha256);
    assert_int_equal(truncate(path, 3), 0);
    assert_int_equal(db_integrity_check(f->db, f->store, &f->err), ERROR_CORRUPT);
    assert_ok(fixture_add_image(f, f->project_id, "the first image", id));
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
}

static void a_needed_image_is_not_deleted(void **state)
{
    struct fixture *f = *state;
    char in_job[DB_ID_SIZE], message[200];
    struct db_job job = {.support_set_version = 1, .params = (char *)"{}", .n_images = 1};
    fixture_fill(f);
    assert_int_equal(db_image_delete(f->db, f->store, f->image_id, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
    snprintf(message, sizeof(message), "image %s is needed by support set %s", f->image_id,
             f->support_set_id);
    assert_string_equal(f->err.message, message);
    assert_ok(fixture_add_image(f, f->project_id, "second", in_job));
    memcpy(job.project_id, f->project_id, DB_ID_SIZE);
    memcpy(job.support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(job.encoder_id, f->encoder_id, DB_ID_SIZE);
    job.image_ids = &in_job;
    assert_ok(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err));
    assert_int_equal(db_image_delete(f->db, f->store, in_job, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
    assert_non_null(strstr(f->err.message, job.id));
    assert_true(fixture_blob_exists(f, "second"));
}

static void the_file_goes_with_the_last_row(void **state)
{
    struct fixture *f = *state;
    char here[DB_ID_SIZE], there[DB_ID_SIZE], project[DB_ID_SIZE];
    fixture_fill(f);
    fixture_add_project(f, "other", project);
    assert_ok(fixture_add_image(f, f->project_id, "twice", here));
    assert_ok(fixture_add_image(f, project, "twice", there));
    assert_ok(db_image_delete(f->db, f->store, here, &fixture_principal, &f->err));
    assert_true(fixture_blob_exists(f, "twice"));
    assert_ok(db_image_delete(f->db, f->store, there, &fixture_principal, &f->err));
    assert_false(fixture_blob_exists(f, "twice"));
    assert_int_equal(db_image_delete(f->db, f->store, there, &fixture_principal, &f->err),
                     ERROR_NOT_FOUND);
    /* An encoder's file is not an image's to delete. */
    assert_ok(fixture_add_image(f, project, "the weights", there));
    assert_ok(db_image_delete(f->db, f->store, there, &fixture_principal, &f->err));
    assert_true(fixture_blob_exists(f, "the weights"));
}

static void a_pinned_file_outlives_a_deletion(void **state)
{
    struct fixture *f = *state;
    struct store_writer *writer = NULL;
    char id[DB_ID_SIZE], again[DB_ID_SIZE];
    fixture_fill(f);
    assert_ok(fixture_add_image(f, f->project_id, "raced", id));
    assert_ok(store_writer_create(&writer, f->store, &f->err));
    assert_ok(store_writer_write(writer, "raced", 5, &f->err));
    assert_ok(store_writer_commit(writer, &f->err));
    assert_ok(db_image_delete(f->db, f->store, id, &fixture_principal, &f->err));
    assert_true(fixture_blob_exists(f, "raced"));
    assert_ok(fixture_add_image(f, f->project_id, "raced", again));
    store_writer_destroy(writer);
    assert_true(fixture_blob_exists(f, "raced"));
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
}

struct racer {
    struct fixture *f;
    char project_id[DB_ID_SIZE];
    int n_failed;
};

static int upload(struct racer *racer, struct db_image *image)
{
    struct store_writer *writer = NULL;
    bool existed = false;
    *image = (struct db_image){.format = "png", .width = 1, .height = 1, .byte_size = 5};
    image->name = strdup("n");
    memcpy(image->project_id, racer->project_id, DB_ID_SIZE);
    int rc = store_writer_create(&writer, racer->f->store, NULL);
    if (rc == 0)
        rc = store_writer_write(writer, "raced", 5, NULL);
    if (rc == 0)
        rc = store_writer_commit(writer, NULL);
    if (rc == 0) {
        store_writer_sha256(writer, image->sha256);
        rc = db_image_insert(racer->f->db, racer->f->store, image, &existed, NULL);
    }
    store_writer_destroy(writer);
    return rc;
}

static void *upload_and_delete(void *context)
{
    struct racer *racer = context;
    for (int i = 0; i < 15; i++) {
        struct db_image image;
        struct store_file blob;
        racer->n_failed += upload(racer, &image) != 0;
        /* While the row is there, so is the file. */
        if (store_file_open(racer->f->store, image.sha256, NULL, &blob, NULL) == 0)
            store_file_close(&blob);
        else
            racer->n_failed++;
        racer->n_failed +=
            db_image_delete(racer->f->db, racer->f->store, image.id, &fixture_principal, NULL) != 0;
        db_image_clear(&image);
    }
    return NULL;
}

static void storing_and_deleting_the_same_bytes_may_race(void **state)
{
    struct fixture *f = *state;
    struct racer racers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        racers[i] = (struct racer){.f = f};
        fixture_add_project(f, "racer", racers[i].project_id);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, upload_and_delete, &racers[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].n_failed, 0);
    }
    assert_false(fixture_blob_exists(f, "raced"));
}

static void lists_are_paged_and_filtered_by_name(void **state)
{
    struct fixture *f = *state;
    char ids[5][DB_ID_SIZE], text[16], other[DB_ID_SIZE], project[DB_ID_SIZE];
    struct db_image_list list = {0};
    struct db_page page = {.limit = 2};
    fixture_add_project(f, "mine", project);
    fixture_add_project(f, "other", other);
    for (int i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "image %d", i);
        assert_ok(fixture_add_image(f, project, text, ids[i]));
    }
    page.after_id = ids[1];
    assert_ok(db_image_list(f->db, project, NULL, &page, &list, &f->err));
    assert_int_equal(list.n_items, 2);
    assert_string_equal(list.items[0].id, ids[2]);
    assert_true(list.more);
    db_image_list_clear(&list);
    assert_ok(db_image_list(f->db, project, "scan.png", &page, &list, &f->err));
    assert_int_equal(list.n_items, 2);
    db_image_list_clear(&list);
    page.after_id = NULL;
    assert_ok(db_image_list(f->db, project, "scan", &page, &list, &f->err));
    assert_int_equal(list.n_items, 0);
    db_image_list_clear(&list);
    assert_ok(db_image_list(f->db, other, NULL, &page, &list, &f->err));
    assert_int_equal(list.n_items, 0);
    db_image_list_clear(&list);
    page.after_id = ids[0];
    assert_ok(db_image_list(f->db, other, NULL, &page, &list, &f->err));
    assert_int_equal(list.n_items, 0);
    db_image_list_clear(&list);
    assert_int_equal(db_image_list(f->db, "prj_x", NULL, &page, &list, &f->err), ERROR_NOT_FOUND);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_image_is_stored_with_its_bytes),
        TEST(the_same_bytes_give_the_same_image),
        TEST(another_frame_of_a_file_is_another_image),
        TEST(a_refused_upload_leaves_no_file),
        TEST(a_row_needs_its_file),
        TEST(files_are_private),
        TEST(a_damaged_blob_is_healed_by_the_next_upload),
        TEST(a_needed_image_is_not_deleted),
        TEST(the_file_goes_with_the_last_row),
        TEST(a_pinned_file_outlives_a_deletion),
        TEST(storing_and_deleting_the_same_bytes_may_race),
        TEST(lists_are_paged_and_filtered_by_name),
    };
    return test_run(tests);
}
