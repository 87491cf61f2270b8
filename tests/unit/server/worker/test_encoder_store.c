#include "tests/unit/server/worker/rig.h"

#include <pthread.h>
#include <unistd.h>

#include "server/cli/files.h"

/* Registers a small encoder of the tests' fixtures, which becomes the default one. */
static void add_encoder(struct rig *rig, const char *name, char id[DB_ID_SIZE])
{
    struct file_bytes bytes = {0};
    struct db_encoder row = {0};
    char path[256];
    snprintf(path, sizeof(path), "tests/fixtures/encoder/%s.safetensors", name);
    assert_ok(file_read(path, 1 << 20, &bytes, &rig->err));
    assert_ok(
        encoder_store_register_default(rig->db, rig->store, bytes.data, bytes.size, &rig->err));
    file_bytes_clear(&bytes);
    assert_ok(db_encoder_get_default(rig->db, &row, &rig->err));
    memcpy(id, row.id, DB_ID_SIZE);
    db_encoder_clear(&row);
}

static void file_path(struct rig *rig, const char *id, char path[700])
{
    struct db_encoder row = {0};
    assert_ok(db_encoder_get(rig->db, id, &row, &rig->err));
    snprintf(path, 700, "%s/blobs/%.2s/%s", rig->directory, row.sha256, row.sha256);
    db_encoder_clear(&row);
    assert_ok(access(path, F_OK));
}

static const struct loaded_encoder *acquire(struct rig *rig, const char *id)
{
    const struct loaded_encoder *encoder = NULL;
    if (encoder_store_acquire(rig->encoders, id, NULL, ENCODING_OWN, PRECISION_FLOAT32, NULL,
                              &encoder, &rig->err) < 0)
        fail_msg("%s", rig->err.message);
    assert_string_equal(encoder->id, id);
    return encoder;
}

static bool is_refused(struct rig *rig, const char *id)
{
    const struct loaded_encoder *encoder = NULL;
    int rc = encoder_store_acquire(rig->encoders, id, NULL, ENCODING_OWN, PRECISION_FLOAT32, NULL,
                                   &encoder, &rig->err);
    if (rc == 0)
        encoder_store_release(rig->encoders, encoder);
    return rc < 0;
}

static void users_share_one_encoder(void **state)
{
    struct rig *rig = *state;
    const struct loaded_encoder *first = acquire(rig, rig->encoder_id);
    assert_ptr_equal(first, acquire(rig, rig->encoder_id));
    assert_true(encoder_info(embedder_encoder(first->embedder))->dimension > 0);
    encoder_store_release(rig->encoders, first);
    encoder_store_release(rig->encoders, first);
    encoder_store_release(rig->encoders, NULL);
}

/* The rig's store keeps one idle encoder. Which is in memory shows when the files are gone. */
static void the_idle_one_used_longest_ago_is_dropped(void **state)
{
    struct rig *rig = *state;
    char a[DB_ID_SIZE], b[DB_ID_SIZE], path[700];
    add_encoder(rig, "basic_grey", a);
    add_encoder(rig, "bottleneck_grey", b);
    const struct loaded_encoder *first = acquire(rig, a), *second = acquire(rig, b);
    file_path(rig, a, path);
    assert_ok(unlink(path));
    file_path(rig, b, path);
    assert_ok(unlink(path));
    encoder_store_release(rig->encoders, second);
    assert_ptr_equal(second, acquire(rig, b)); /* idle, but kept */
    assert_ptr_equal(first, acquire(rig, a));  /* now a is used later than b */
    encoder_store_release(rig->encoders, second);
    encoder_store_release(rig->encoders, first);
    assert_false(is_refused(rig, a)); /* still used once */
    encoder_store_release(rig->encoders, first);
    assert_false(is_refused(rig, a));
    assert_true(is_refused(rig, b));
}

static void a_damaged_file_is_named(void **state)
{
    struct rig *rig = *state;
    const struct loaded_encoder *encoder = NULL;
    char id[DB_ID_SIZE], other[DB_ID_SIZE], path[700], other_path[700];
    add_encoder(rig, "basic_grey", id);
    add_encoder(rig, "basic_colour", other);
    file_path(rig, id, path);
    file_path(rig, other, other_path);
    /* Good weights, but of another encoder. */
    assert_ok(unlink(path));
    assert_ok(link(other_path, path));
    assert_int_equal(encoder_store_acquire(rig->encoders, id, NULL, ENCODING_OWN, PRECISION_FLOAT32,
                                           NULL, &encoder, &rig->err),
                     ERROR_CORRUPT);
    assert_non_null(strstr(rig->err.message, id));
    assert_ok(unlink(path));
    assert_int_equal(encoder_store_acquire(rig->encoders, id, NULL, ENCODING_OWN, PRECISION_FLOAT32,
                                           NULL, &encoder, &rig->err),
                     ERROR_CORRUPT);
    assert_non_null(strstr(rig->err.message, id));
    assert_null(encoder);
    assert_false(is_refused(rig, other));
}

static void an_unknown_encoder_is_not_found(void **state)
{
    struct rig *rig = *state;
    const struct loaded_encoder *encoder = NULL;
    char id[DB_ID_SIZE];
    db_id_create("enc_", id);
    assert_int_equal(encoder_store_acquire(rig->encoders, id, NULL, ENCODING_OWN, PRECISION_FLOAT32,
                                           NULL, &encoder, &rig->err),
                     ERROR_NOT_FOUND);
    assert_null(encoder);
}

static void a_default_must_be_an_encoder(void **state)
{
    struct rig *rig = *state;
    struct db_encoder row = {0};
    assert_int_equal(encoder_store_register_default(rig->db, rig->store, "garbage", 7, &rig->err),
                     ERROR_INVALID);
    assert_ok(db_encoder_get_default(rig->db, &row, &rig->err));
    assert_string_equal(row.id, rig->encoder_id);
    db_encoder_clear(&row);
}

static void *use_often(void *argument)
{
    struct rig *rig = argument;
    struct db_page page = {.limit = 10};
    struct db_encoder_list list = {0};
    assert_ok(db_encoder_list(rig->db, &page, &list, NULL));
    for (size_t i = 0; i < 30; i++) {
        const struct loaded_encoder *encoder = NULL;
        const char *id = list.items[1 + i % (list.n_items - 1)].id;
        if (encoder_store_acquire(rig->encoders, id, NULL, ENCODING_OWN, PRECISION_FLOAT32, NULL,
                                  &encoder, NULL) < 0 ||
            strcmp(encoder->id, id) != 0)
            return argument;
        encoder_store_release(rig->encoders, encoder);
    }
    db_encoder_list_clear(&list);
    return NULL;
}

static void many_threads_may_use_it(void **state)
{
    enum { N_THREADS = 4 };
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    add_encoder(rig, "basic_grey", id);
    add_encoder(rig, "bottleneck_grey", id);
    add_encoder(rig, "basic_colour", id);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_ok(pthread_create(&threads[i], NULL, use_often, rig));
    for (int i = 0; i < N_THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

static bool is_over(void *context)
{
    return --*(int *)context < 0;
}

/* While its file is checked, before its weights are packed and between their blocks; nothing of it
 * stays. */
static void loading_can_be_called_off(void **state)
{
    struct rig *rig = *state;
    for (int n_no = 0; n_no < 4; n_no++) {
        int n_left = n_no;
        const struct cancel cancel = {is_over, &n_left};
        const struct loaded_encoder *encoder = NULL;
        assert_int_equal(encoder_store_acquire(rig->encoders, rig->encoder_id, NULL, ENCODING_CHIPS,
                                               PRECISION_FLOAT32, &cancel, &encoder, &rig->err),
                         ERROR_CANCELLED);
        assert_null(encoder);
        assert_int_equal(n_left, -1);
    }
    encoder_store_release(rig->encoders, acquire(rig, rig->encoder_id));
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(users_share_one_encoder),      with_rig(the_idle_one_used_longest_ago_is_dropped),
        with_rig(a_damaged_file_is_named),      with_rig(an_unknown_encoder_is_not_found),
        with_rig(a_default_must_be_an_encoder), with_rig(many_threads_may_use_it),
        with_rig(loading_can_be_called_off),
    };
    return test_run(tests);
}
