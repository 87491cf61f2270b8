#include "tests/unit/db/fixture.h"

static void a_set_comes_back_as_stored(void **state)
{
    struct fixture *f = *state;
    struct db_support_set set;
    fixture_fill(f);
    fixture_reopen(f);
    assert_ok(db_support_set_get(f->db, f->support_set_id, 0, &set, &f->err));
    assert_string_equal(set.id, f->support_set_id);
    assert_string_equal(set.project_id, f->project_id);
    assert_string_equal(set.name, "two phases");
    assert_int_equal(set.version, 1);
    assert_int_equal(set.latest_version, 1);
    assert_int_equal(set.chip_width, 34);
    assert_int_equal(set.chip_height, 35);
    assert_int_equal(set.n_classes, 2);
    assert_string_equal(set.classes[0].name, "film");
    assert_memory_equal(set.classes[0].color, ((uint8_t[3]){255, 0, 128}), 3);
    assert_int_equal(set.classes[0].n_examples, 2);
    assert_string_equal(set.classes[0].examples[1].image_id, f->image_id);
    assert_int_equal(set.classes[0].examples[1].x, 600);
    assert_int_equal(set.classes[0].examples[1].y, 400);
    assert_string_equal(set.classes[1].name, "void");
    assert_int_equal(set.classes[1].n_examples, 1);
    db_support_set_clear(&set);
}

/* A set of one class with `n` examples in the fixture's image. */
static int store(struct fixture *f, struct db_support_set *set, const char *name, size_t n,
                 const char *image_id)
{
    struct db_example *examples = calloc(n, sizeof(*examples));
    struct db_class class = {.name = (char *)"only", .examples = examples, .n_examples = n};
    for (size_t i = 0; i < n; i++) {
        examples[i].x = (uint32_t)i;
        snprintf(examples[i].image_id, DB_ID_SIZE, "%s", image_id);
    }
    set->name = (char *)name;
    set->chip_width = set->chip_height = 32;
    set->classes = &class;
    set->n_classes = 1;
    memcpy(set->project_id, f->project_id, DB_ID_SIZE);
    int rc = set->id[0] == '\0' ? db_support_set_insert(f->db, set, &f->err)
                                : db_support_set_add_version(f->db, set, set->version, &f->err);
    free(examples);
    return rc;
}

static void versions_are_immutable_and_numbered(void **state)
{
    struct fixture *f = *state;
    struct db_support_set set = {0}, read;
    fixture_fill(f);
    assert_ok(store(f, &set, "first", 1, f->image_id));
    assert_ok(store(f, &set, "second", 100, f->image_id));
    assert_int_equal(set.version, 2);
    assert_ok(db_support_set_get(f->db, set.id, 0, &read, &f->err));
    assert_string_equal(read.name, "second");
    assert_int_equal(read.classes[0].n_examples, 100);
    assert_int_equal(read.classes[0].examples[99].x, 99);
    db_support_set_clear(&read);
    assert_ok(db_support_set_get(f->db, set.id, 1, &read, &f->err));
    assert_string_equal(read.name, "first");
    assert_int_equal(read.version, 1);
    assert_int_equal(read.latest_version, 2);
    assert_int_equal(read.classes[0].n_examples, 1);
    db_support_set_clear(&read);
    assert_int_equal(db_support_set_get(f->db, set.id, 3, &read, &f->err), ERROR_NOT_FOUND);
    assert_non_null(strstr(f->err.message, "has no version 3 (the latest is 2)"));
}

static void a_stale_version_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct db_support_set set = {0};
    fixture_fill(f);
    assert_ok(store(f, &set, "first", 1, f->image_id));
    assert_ok(store(f, &set, "second", 1, f->image_id));
    set.version = 1;
    assert_int_equal(store(f, &set, "late", 1, f->image_id), ERROR_CONFLICT);
    set.version = 0;
    assert_ok(store(f, &set, "any", 1, f->image_id));
    assert_int_equal(set.version, 3);
}

static void faulty_sets_leave_nothing(void **state)
{
    struct fixture *f = *state;
    struct db_support_set set = {0}, read;
    struct db_support_set_list list;
    char project[DB_ID_SIZE], foreign[DB_ID_SIZE];
    fixture_fill(f);
    fixture_add_project(f, "other", project);
    assert_ok(fixture_add_image(f, project, "foreign", foreign));
    assert_int_equal(store(f, &set, "x", 3, foreign), ERROR_INVALID);
    assert_non_null(strstr(f->err.message, "classes/0/examples/0/image_id"));
    assert_non_null(strstr(f->err.message, foreign));
    assert_ok(store(f, &set, "first", 1, f->image_id));
    set.version = 0;
    assert_int_equal(store(f, &set, "second", 2, "img_none"), ERROR_INVALID);
    assert_ok(db_support_set_get(f->db, set.id, 0, &read, &f->err));
    assert_int_equal(read.latest_version, 1);
    db_support_set_clear(&read);
    assert_ok(
        db_support_set_list(f->db, f->project_id, &(struct db_page){.limit = 9}, &list, &f->err));
    assert_int_equal(list.n_items, 2);
    db_support_set_list_clear(&list);
    snprintf(set.id, sizeof(set.id), "sup_none");
    assert_int_equal(store(f, &set, "x", 1, f->image_id), ERROR_NOT_FOUND);
    set.id[0] = '\0';
    memcpy(f->project_id, "prj_none", 9);
    assert_int_equal(store(f, &set, "x", 1, f->image_id), ERROR_NOT_FOUND);
}

static void a_list_has_the_latest_versions(void **state)
{
    struct fixture *f = *state;
    struct db_support_set set = {0};
    struct db_support_set_list list;
    struct db_page page = {.limit = 1};
    fixture_fill(f);
    assert_ok(store(f, &set, "first", 1, f->image_id));
    assert_ok(store(f, &set, "second", 3, f->image_id));
    assert_ok(db_support_set_list(f->db, f->project_id, &page, &list, &f->err));
    assert_string_equal(list.items[0].id, f->support_set_id);
    assert_true(list.more);
    db_support_set_list_clear(&list);
    page.after_id = f->support_set_id;
    assert_ok(db_support_set_list(f->db, f->project_id, &page, &list, &f->err));
    assert_int_equal(list.n_items, 1);
    assert_false(list.more);
    assert_string_equal(list.items[0].name, "second");
    assert_int_equal(list.items[0].version, 2);
    assert_int_equal(list.items[0].classes[0].n_examples, 3);
    db_support_set_list_clear(&list);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_set_comes_back_as_stored),     TEST(versions_are_immutable_and_numbered),
        TEST(a_stale_version_is_a_conflict),  TEST(faulty_sets_leave_nothing),
        TEST(a_list_has_the_latest_versions),
    };
    return test_run(tests);
}
