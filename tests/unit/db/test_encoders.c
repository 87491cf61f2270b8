#include "tests/unit/db/fixture.h"

static int add(struct fixture *f, const char *text, bool is_default, struct db_encoder *out,
               bool *existed)
{
    struct store_writer *writer = NULL;
    *out = (struct db_encoder){.architecture = "resnet50",
                               .in_channels = 3,
                               .input_size = 96,
                               .encoding = "dense",
                               .dimension = 2048,
                               .n_parameters = 5,
                               .is_default = is_default};
    out->name = strdup(text);
    assert_ok(store_writer_create(&writer, f->store, &f->err));
    assert_ok(store_writer_write(writer, text, strlen(text), &f->err));
    store_writer_sha256(writer, out->sha256);
    out->byte_size = store_writer_size(writer);
    assert_ok(store_writer_commit(writer, &f->err));
    int rc = db_encoder_insert(f->db, f->store, out, existed, &f->err);
    store_writer_destroy(writer);
    return rc;
}

static void an_encoder_is_stored_once(void **state)
{
    struct fixture *f = *state;
    struct db_encoder first, again, read;
    bool existed = true;
    assert_ok(add(f, "weights a", false, &first, &existed));
    assert_false(existed);
    assert_ok(db_encoder_get(f->db, first.id, &read, &f->err));
    assert_string_equal(read.name, "weights a");
    assert_string_equal(read.architecture, "resnet50");
    assert_int_equal(read.in_channels, 3);
    assert_int_equal(read.input_size, 96);
    assert_int_equal(read.dimension, 2048);
    assert_string_equal(read.encoding, "dense");
    assert_int_equal(read.n_parameters, 5);
    assert_int_equal(read.byte_size, 9);
    assert_false(read.is_default);
    db_encoder_clear(&read);
    assert_ok(add(f, "weights a", false, &again, &existed));
    assert_true(existed);
    assert_string_equal(again.id, first.id);
    db_encoder_clear(&again);
    db_encoder_clear(&first);
    assert_int_equal(db_encoder_get(f->db, "enc_none", &read, &f->err), ERROR_NOT_FOUND);
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
}

static void there_is_at_most_one_default(void **state)
{
    struct fixture *f = *state;
    struct db_encoder a, b, again, read;
    struct db_encoder_list list;
    bool existed;
    assert_int_equal(db_encoder_get_default(f->db, &read, &f->err), ERROR_NOT_FOUND);
    assert_ok(add(f, "a", true, &a, &existed));
    assert_ok(add(f, "b", true, &b, &existed));
    assert_ok(db_encoder_get_default(f->db, &read, &f->err));
    assert_string_equal(read.id, b.id);
    db_encoder_clear(&read);
    assert_ok(add(f, "a", true, &again, &existed));
    assert_true(existed && again.is_default);
    assert_ok(db_encoder_list(f->db, &(struct db_page){.limit = 10}, &list, &f->err));
    assert_int_equal(list.n_items, 2);
    assert_true(list.items[0].is_default);
    assert_false(list.items[1].is_default);
    db_encoder_list_clear(&list);
    db_encoder_clear(&a);
    db_encoder_clear(&b);
    db_encoder_clear(&again);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_encoder_is_stored_once),
        TEST(there_is_at_most_one_default),
    };
    return test_run(tests);
}
