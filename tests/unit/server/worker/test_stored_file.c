/* Files of the data directory are read part by part, and what was changed is called that. */
#include "tests/unit/db/fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include "server/worker/stored_file.h"

static void put(struct fixture *f, size_t size, char sha256[DB_SHA256_SIZE],
                struct store_writer **writer)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 65536);
    assert_ok(store_writer_create(writer, f->store, &f->err));
    assert_ok(store_writer_write(*writer, bytes, size, &f->err));
    assert_ok(store_writer_commit(*writer, &f->err));
    store_writer_sha256(*writer, sha256);
    free(bytes);
}

static void files_of_any_size_are_checked(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {1, STORE_FILE_PART, 2 * STORE_FILE_PART + 12345};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct store_writer *writer = NULL;
        struct store_file blob = {0};
        char sha256[DB_SHA256_SIZE], path[700], byte;
        put(f, sizes[i], sha256, &writer);
        assert_ok(stored_file_open(f->store, "it", sha256, NULL, &blob, &f->err));
        assert_int_equal(blob.size, sizes[i]);
        store_file_close(&blob);
        snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", f->directory, sha256, sha256);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        const off_t last = (off_t)sizes[i] - 1;
        assert_int_equal(pread(fd, &byte, 1, last), 1);
        byte = (char)(byte ^ 1);
        assert_int_equal(pwrite(fd, &byte, 1, last), 1);
        close(fd);
        assert_int_equal(stored_file_open(f->store, "it", sha256, NULL, &blob, &f->err),
                         ERROR_CORRUPT);
        assert_non_null(strstr(f->err.message, "it: its file is damaged: its SHA-256 is "));
        assert_null(blob.data);
        store_writer_destroy(writer);
    }
}

static bool is_second(void *context)
{
    return ++*(uint32_t *)context == 2;
}

static void a_check_ends_when_it_is_called_off(void **state)
{
    struct fixture *f = *state;
    struct store_writer *writer = NULL;
    struct store_file blob = {0};
    char sha256[DB_SHA256_SIZE];
    uint32_t n_asked = 0;
    const struct cancel cancel = {is_second, &n_asked};
    put(f, 2 * STORE_FILE_PART + 1, sha256, &writer);
    assert_int_equal(stored_file_open(f->store, "it", sha256, &cancel, &blob, &f->err),
                     ERROR_CANCELLED);
    assert_null(blob.data);
    assert_int_equal(n_asked, 2);
    store_writer_destroy(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_of_any_size_are_checked, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_check_ends_when_it_is_called_off, fixture_setup,
                                        fixture_teardown),
    };
    return test_run(tests);
}
