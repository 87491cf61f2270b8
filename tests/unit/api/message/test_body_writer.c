#include "tests/test.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/message/body_writer.h"

static void numbers_and_fields_are_written_plainly(void **state)
{
    (void)state;
    struct body_writer writer;
    struct api_response response;
    struct error err;
    api_response_init(&response);
    body_writer_init(&writer, "/nowhere", 0);
    body_write_uint(&writer, 0);
    body_write(&writer, " ", 1);
    body_write_uint(&writer, UINT64_MAX);
    const double fractions[] = {0, 1, 0.5, 0.1234565, 0.9999996, 1e-9, -0.5, 7, NAN};
    for (int i = 0; i < 9; i++) {
        body_write(&writer, " ", 1);
        body_write_fraction(&writer, fractions[i]);
    }
    static const char *const fields[] = {"plain", "a b", "a,b", "say \"hi\"", "two\nlines", "\""};
    for (int i = 0; i < 6; i++) {
        body_write(&writer, ";", 1);
        body_write_csv(&writer, fields[i]);
    }
    body_write(&writer, "", 1);
    assert_int_equal(body_writer_finish(&writer, "text/csv", &response, &err), 0);
    body_writer_clear(&writer);
    assert_string_equal(response.body,
                        "0 18446744073709551615 0.000000 1.000000 0.500000 0.123457 1.000000 "
                        "0.000000 0.000000 1.000000 0.000000"
                        ";plain;a b;\"a,b\";\"say \"\"hi\"\"\";\"two\nlines\";\"\"\"\"");
    api_response_clear(&response);
}

static void large_answers_go_through_an_unnamed_file(void **state)
{
    (void)state;
    char directory[512], path[600];
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/chipshot-body-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/tmp", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    struct body_writer writer;
    struct api_response response;
    struct error err;
    api_response_init(&response);
    body_writer_init(&writer, directory, 100);
    for (uint64_t i = 0; i < 1000; i++) {
        body_write_uint(&writer, i);
        body_write(&writer, "\n", 1);
    }
    assert_int_equal(body_writer_finish(&writer, "text/csv", &response, &err), 0);
    body_writer_clear(&writer);
    assert_null(response.body);
    assert_int_equal(response.fd_size, 10 * 2 + 90 * 3 + 900 * 4);
    FILE *file = fdopen(dup(response.fd), "r");
    unsigned long wanted = 0, value;
    while (fscanf(file, "%lu", &value) == 1)
        assert_int_equal(value, wanted++);
    assert_int_equal(wanted, 1000);
    fclose(file);
    api_response_clear(&response);
    /* Nothing is left behind. */
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void a_missing_directory_is_an_error(void **state)
{
    (void)state;
    struct body_writer writer;
    struct api_response response;
    struct error err;
    api_response_init(&response);
    body_writer_init(&writer, "/nowhere", 10);
    for (int i = 0; i < 100; i++)
        body_write_text(&writer, "text");
    assert_true(body_writer_finish(&writer, "text/csv", &response, &err) < 0);
    assert_null(response.body);
    assert_int_equal(response.fd, -1);
    body_writer_clear(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_fields_are_written_plainly),
        cmocka_unit_test(large_answers_go_through_an_unnamed_file),
        cmocka_unit_test(a_missing_directory_is_an_error),
    };
    return test_run(tests);
}
