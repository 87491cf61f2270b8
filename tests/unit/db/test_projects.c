#include "tests/unit/db/fixture.h"

static void a_project_is_stored_with_its_defaults(void **state)
{
    struct fixture *f = *state;
    struct db_project project = {.name = (char *)"Gr\xc3\xbc\xc3\x9f"
                                                 "e'); DROP TABLE projects; --"};
    struct db_project read = {0};
    assert_ok(db_project_insert(f->db, &project, &f->err));
    assert_true(db_id_is(project.id, "prj_"));
    assert_ok(db_project_get(f->db, project.id, &read, &f->err));
    assert_string_equal(read.name, project.name);
    assert_string_equal(read.description, "");
    assert_string_equal(read.labels, "{}");
    assert_int_equal(read.revision, 1);
    assert_string_equal(read.created_at, project.created_at);
    db_project_clear(&read);
    fixture_reopen(f);
    assert_ok(db_project_get(f->db, project.id, &read, &f->err));
    db_project_clear(&read);
}

static void what_could_not_be_read_back_is_not_stored(void **state)
{
    struct fixture *f = *state;
    static char name[4098];
    struct db_project project = {.name = (char *)"\xff"};
    struct db_project_list list;
    assert_int_equal(db_project_insert(f->db, &project, &f->err), ERROR_INVALID);
    assert_string_equal(f->err.message, "storing a project: a text is not UTF-8");
    memset(name, 'n', sizeof(name) - 1);
    project.name = name;
    assert_int_equal(db_project_insert(f->db, &project, &f->err), ERROR_INVALID);
    name[4096] = '\0';
    assert_ok(db_project_insert(f->db, &project, &f->err));
    assert_ok(db_project_list(f->db, &(struct db_page){.limit = 3}, &list, &f->err));
    assert_int_equal(list.n_items, 1);
    db_project_list_clear(&list);
}

static void an_unknown_project_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct db_project project = {0};
    assert_int_equal(db_project_get(f->db, "prj_x", &project, &f->err), ERROR_NOT_FOUND);
    assert_string_equal(f->err.message, "there is no project prj_x");
    snprintf(project.id, sizeof(project.id), "prj_x");
    project.name = (char *)"x";
    assert_int_equal(db_project_update(f->db, &project, 0, &fixture_principal, &f->err),
                     ERROR_NOT_FOUND);
    assert_int_equal(db_project_delete(f->db, f->store, "prj_x", &fixture_principal, &f->err),
                     ERROR_NOT_FOUND);
}

static void an_update_counts_revisions(void **state)
{
    struct fixture *f = *state;
    struct db_project project = {.name = (char *)"a"}, read = {0};
    assert_ok(db_project_insert(f->db, &project, &f->err));
    project.name = (char *)"b";
    project.labels = (char *)"{\"lab\": \"7\"}";
    assert_ok(db_project_update(f->db, &project, 1, &fixture_principal, &f->err));
    assert_int_equal(project.revision, 2);
    project.name = (char *)"c";
    assert_int_equal(db_project_update(f->db, &project, 1, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
    assert_ok(db_project_get(f->db, project.id, &read, &f->err));
    assert_string_equal(read.name, "b");
    assert_string_equal(read.labels, "{\"lab\": \"7\"}");
    assert_int_equal(read.revision, 2);
    db_project_clear(&read);
}

static void pages_cover_every_project_once(void **state)
{
    struct fixture *f = *state;
    char ids[7][DB_ID_SIZE], after[DB_ID_SIZE];
    struct db_page page = {.limit = 3};
    size_t n = 0;
    for (int i = 0; i < 7; i++)
        fixture_add_project(f, "p", ids[i]);
    for (bool more = true; more;) {
        struct db_project_list list = {0};
        assert_ok(db_project_list(f->db, &page, &list, &f->err));
        assert_int_equal(list.n_items, n < 6 ? 3 : 1);
        for (size_t i = 0; i < list.n_items; i++)
            assert_string_equal(list.items[i].id, ids[n++]);
        memcpy(after, list.items[list.n_items - 1].id, sizeof(after));
        page.after_id = after;
        more = list.more;
        db_project_list_clear(&list);
    }
    assert_int_equal(n, 7);
}

static void a_full_last_page_has_no_more(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    struct db_project_list list = {0};
    for (int i = 0; i < 3; i++)
        fixture_add_project(f, "p", id);
    assert_ok(db_project_list(f->db, &(struct db_page){.limit = 3}, &list, &f->err));
    assert_int_equal(list.n_items, 3);
    assert_false(list.more);
    db_project_list_clear(&list);
    assert_ok(
        db_project_list(f->db, &(struct db_page){.limit = 3, .after_id = id}, &list, &f->err));
    assert_int_equal(list.n_items, 0);
    db_project_list_clear(&list);
}

static void bad_pages_are_invalid(void **state)
{
    struct fixture *f = *state;
    struct db_project_list list = {0};
    assert_int_equal(db_project_list(f->db, &(struct db_page){.limit = 0}, &list, &f->err),
                     ERROR_INVALID);
    assert_int_equal(db_project_list(f->db, &(struct db_page){.limit = 1001}, &list, &f->err),
                     ERROR_INVALID);
    assert_string_equal(f->err.message, "limit: 1001 is not within 1..1000");
    assert_int_equal(
        db_project_list(f->db, &(struct db_page){.limit = 5, .after_id = "prj_no"}, &list, &f->err),
        ERROR_INVALID);
}

static void deleting_takes_everything_and_its_files(void **state)
{
    struct fixture *f = *state;
    char other_project[DB_ID_SIZE], shared[DB_ID_SIZE], job_id[DB_ID_SIZE];
    enum db_job_state job_state;
    struct db_image image;
    fixture_fill(f);
    fixture_add_project(f, "other", other_project);
    assert_ok(fixture_add_image(f, other_project, "shared bytes", shared));
    assert_ok(fixture_add_image(f, f->project_id, "shared bytes", shared));
    assert_ok(fixture_add_job(f, 0, job_id));
    assert_int_equal(db_project_delete(f->db, f->store, f->project_id, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
    assert_non_null(strstr(f->err.message, job_id));
    assert_ok(db_job_cancel(f->db, job_id, &fixture_principal, &job_state, &f->err));
    assert_ok(db_project_delete(f->db, f->store, f->project_id, &fixture_principal, &f->err));
    assert_int_equal(db_image_get(f->db, f->image_id, &image, &f->err), ERROR_NOT_FOUND);
    assert_false(fixture_blob_exists(f, "the first image"));
    assert_true(fixture_blob_exists(f, "shared bytes"));
    assert_true(fixture_blob_exists(f, "the weights"));
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_project_is_stored_with_its_defaults),
        TEST(what_could_not_be_read_back_is_not_stored),
        TEST(an_unknown_project_is_not_found),
        TEST(an_update_counts_revisions),
        TEST(pages_cover_every_project_once),
        TEST(a_full_last_page_has_no_more),
        TEST(bad_pages_are_invalid),
        TEST(deleting_takes_everything_and_its_files),
    };
    return test_run(tests);
}
