#include "tests/test.h"

#include <pthread.h>
#include <unistd.h>

#include <jansson.h>

#include "server/watch/log.h"

struct capture {
    FILE *file;
    struct log log;
    char text[3 * LOG_LINE_SIZE];
};

static void open_capture(struct capture *capture, enum log_level level, enum log_format format)
{
    capture->file = tmpfile();
    assert_non_null(capture->file);
    capture->log = (struct log){fileno(capture->file), level, format};
}

/* What was written so far, without the time's digits. */
static const char *captured(struct capture *capture)
{
    rewind(capture->file);
    size_t n = fread(capture->text, 1, sizeof(capture->text) - 1, capture->file);
    capture->text[n] = '\0';
    return capture->text;
}

static void logfmt_quotes_what_needs_it(void **state)
{
    (void)state;
    struct capture capture;
    open_capture(&capture, LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    const struct log_field fields[] = {
        log_string("plain", "/v1/jobs/{id}"),
        log_string("empty", ""),
        log_string("absent", NULL),
        log_string("blank", "two words"),
        log_string("forged", "x\nlevel=error event=\"fake\"\\"),
        log_integer("n", -5),
        log_number("ms", 0.25),
    };
    log_write(&capture.log, LOG_LEVEL_WARN, "tried", fields, 7);
    const char *text = captured(&capture);
    assert_memory_equal(text, "time=20", 7);
    assert_string_equal(
        strchr(text, ' '),
        " level=warn event=tried plain=/v1/jobs/{id} empty=\"\" blank=\"two words\" "
        "forged=\"x\\nlevel=error event=\\\"fake\\\"\\\\\" n=-5 ms=0.25\n");
    fclose(capture.file);
}

static void json_lines_parse_whatever_the_bytes(void **state)
{
    (void)state;
    struct capture capture;
    open_capture(&capture, LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    char all[256];
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    const struct log_field fields[] = {
        log_string("bytes", all),
        log_string("utf8", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xac"),
        log_string("bad", "\xc0\xaf|\xed\xa0\x80|\xf5\x80|\xe2\x82"),
        log_number("nan", 0.0 / 0.0),
    };
    log_write(&capture.log, LOG_LEVEL_DEBUG, "e", fields, 4);
    const char *text = captured(&capture);
    json_error_t error;
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (line == NULL)
        fail_msg("%s in %s", error.text, text);
    assert_string_equal(json_string_value(json_object_get(line, "utf8")),
                        "\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xac");
    assert_true(json_is_null(json_object_get(line, "nan")));
    assert_string_equal(json_string_value(json_object_get(line, "event")), "e");
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    json_decref(line);
    fclose(capture.file);
}

static void long_lines_stay_whole(void **state)
{
    (void)state;
    struct capture capture;
    open_capture(&capture, LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    char *huge = malloc(100001);
    assert_non_null(huge);
    memset(huge, '"', 100000);
    huge[100000] = '\0';
    const struct log_field fields[] = {
        log_string("a", huge), log_string("b", huge),  log_string("c", huge),
        log_string("d", huge), log_integer("last", 7),
    };
    log_write(&capture.log, LOG_LEVEL_INFO, "e", fields, 5);
    const char *text = captured(&capture);
    assert_true(strlen(text) <= LOG_LINE_SIZE);
    json_t *line = json_loads(text, 0, NULL);
    assert_non_null(line);
    assert_int_equal(json_integer_value(json_object_get(line, "last")), 7);
    json_decref(line);
    free(huge);
    fclose(capture.file);
}

static void levels_filter(void **state)
{
    (void)state;
    struct capture capture;
    open_capture(&capture, LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
    log_write(&capture.log, LOG_LEVEL_INFO, "quiet", NULL, 0);
    log_write(NULL, LOG_LEVEL_ERROR, "nowhere", NULL, 0);
    assert_string_equal(captured(&capture), "");
    log_write(&capture.log, LOG_LEVEL_ERROR, "loud", NULL, 0);
    assert_non_null(strstr(captured(&capture), "event=loud\n"));
    fclose(capture.file);
}

static void *write_lines(void *argument)
{
    const struct log_field field =
        log_string("payload", "0123456789012345678901234567890123456789");
    for (int i = 0; i < 200; i++)
        log_write(argument, LOG_LEVEL_INFO, "e", &field, 1);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct log log = {ends[1], LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &log), 0);
    FILE *in = fdopen(ends[0], "r");
    char line[512];
    for (int i = 0; i < 800; i++) {
        assert_non_null(fgets(line, sizeof(line), in));
        assert_string_equal(
            strstr(line, " level="),
            " level=info event=e payload=0123456789012345678901234567890123456789\n");
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    fclose(in);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt_quotes_what_needs_it),
        cmocka_unit_test(json_lines_parse_whatever_the_bytes),
        cmocka_unit_test(long_lines_stay_whole),
        cmocka_unit_test(levels_filter),
        cmocka_unit_test(lines_of_threads_do_not_mix),
    };
    return test_run(tests);
}
