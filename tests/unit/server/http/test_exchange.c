#include "tests/test.h"

#include <unistd.h>

#include "server/http/exchange.h"

static int break_down(void *context, char *buffer, size_t size, size_t *n, struct error *err)
{
    (void)buffer;
    (void)size;
    (void)n;
    return error_set(err, *(const int *)context, "it broke");
}

static void close_nothing(void *context)
{
    (void)context;
}

/* Status 200 was sent; the log is where anyone hears of what came after. */
static void a_broken_stream_is_logged_as_bad_as_it_is(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *level, *error;
    } trials[] = {
        {ERROR_NOT_FOUND, " level=warn ", " error=not_found "},
        {ERROR_CORRUPT, " level=error ", " error=corrupt "},
        {ERROR_IO, " level=error ", " error=io "},
        {ERROR_NOMEM, " level=error ", " error=no_memory "},
        {ERROR_BUSY, " level=warn ", " error=busy "},
        {ERROR_CANCELLED, " level=warn ", " error=cancelled "},
        {ERROR_FULL, " level=warn ", " error=full "},
        {ERROR_INVALID, " level=error ", " error=invalid "}, /* the request was found good */
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        FILE *file = tmpfile();
        char text[LOG_LINE_SIZE], byte;
        int code = trials[i].code;
        size_t n = 0;
        assert_non_null(file);
        const struct log log = {fileno(file), LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT};
        const struct exchange_context context = {.parts = {.log = &log}};
        struct exchange *exchange = exchange_create(&context, "/large");
        assert_non_null(exchange);
        exchange->request.method = "GET";
        exchange->answered = true;
        exchange->response.status = 200;
        exchange->response.stream =
            (struct api_stream){.context = &code, .next = break_down, .close = close_nothing};
        assert_int_equal(exchange_next_bytes(exchange, &byte, 1, &n), code);
        exchange_log(exchange, false, false);
        exchange_destroy(exchange);
        ssize_t size = pread(fileno(file), text, sizeof(text) - 1, 0);
        assert_true(size > 0);
        text[size] = '\0';
        assert_non_null(strstr(text, trials[i].level));
        assert_non_null(strstr(text, trials[i].error));
        assert_non_null(strstr(text, " outcome=aborted "));
        assert_non_null(strstr(text, "it broke"));
        fclose(file);
    }
}

/* Gives one byte, then says that this was all. */
static int give_one(void *context, char *buffer, size_t size, size_t *n, struct error *err)
{
    int *given = context;
    (void)size;
    (void)err;
    *n = *given == 0;
    if (*n > 0)
        buffer[(*given)++] = 'a';
    return 0;
}

/* What its Content-Length promised did not come. */
static void a_stream_that_ends_before_its_size_is_broken(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        int end;
    } trials[] = {{API_SIZE_UNKNOWN, 0}, {1, 0}, {2, ERROR_IO}};
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        const struct exchange_context context = {0};
        char byte;
        int given = 0;
        size_t n = 0;
        struct exchange *exchange = exchange_create(&context, "/large");
        assert_non_null(exchange);
        exchange->response.stream = (struct api_stream){
            .context = &given, .size = trials[i].size, .next = give_one, .close = close_nothing};
        assert_int_equal(exchange_next_bytes(exchange, &byte, 1, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(exchange_next_bytes(exchange, &byte, 1, &n), trials[i].end);
        exchange_destroy(exchange);
    }
}

/* A status of 0: the client went before there was an answer. */
static void an_answer_is_logged_as_bad_as_it_is(void **state)
{
    (void)state;
    static const struct {
        int status, code;
        bool sent, timed_out;
        const char *level;
    } trials[] = {
        {200, 0, true, false, " level=info "},
        {200, 0, false, false, " level=info "},
        {200, 0, false, true, " level=info "},
        {0, 0, false, false, " level=info "},
        {0, 0, false, true, " level=info "},
        {400, 0, true, false, " level=info "},
        {400, ERROR_INVALID, true, false, " level=info "},
        {401, 0, true, false, " level=info "},
        {403, 0, true, false, " level=info "},
        {404, ERROR_NOT_FOUND, true, false, " level=info "},
        {409, ERROR_CONFLICT, true, false, " level=info "},
        {412, ERROR_CONFLICT, false, false, " level=info "},
        {413, 0, true, false, " level=info "},
        {422, ERROR_INVALID, true, false, " level=info "},
        {431, 0, true, false, " level=info "},
        {501, 0, true, false, " level=info "},
        {505, 0, true, false, " level=info "},
        {503, 0, true, false, " level=warn "},
        {503, ERROR_BUSY, true, false, " level=warn "},
        {503, ERROR_CANCELLED, true, false, " level=warn "},
        {507, ERROR_FULL, true, false, " level=warn "},
        {500, 0, true, false, " level=error "},
        {500, ERROR_IO, true, false, " level=error "},
        {500, ERROR_CORRUPT, true, false, " level=error "},
        {500, ERROR_CORRUPT, false, false, " level=error "},
        {503, ERROR_NOMEM, true, false, " level=error "},
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        FILE *file = tmpfile();
        char text[LOG_LINE_SIZE];
        assert_non_null(file);
        const struct log log = {fileno(file), LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT};
        const struct exchange_context context = {.parts = {.log = &log}};
        struct exchange *exchange = exchange_create(&context, "/x");
        assert_non_null(exchange);
        exchange->request.method = "GET";
        exchange->answered = trials[i].status != 0;
        exchange->response.status = trials[i].status;
        exchange->response.error_code = trials[i].code;
        exchange_log(exchange, trials[i].sent, trials[i].timed_out);
        exchange_destroy(exchange);
        ssize_t size = pread(fileno(file), text, sizeof(text) - 1, 0);
        assert_true(size > 0);
        text[size] = '\0';
        if (strstr(text, trials[i].level) == NULL)
            fail_msg("%d, %d: %s", trials[i].status, trials[i].code, text);
        fclose(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_stream_is_logged_as_bad_as_it_is),
        cmocka_unit_test(a_stream_that_ends_before_its_size_is_broken),
        cmocka_unit_test(an_answer_is_logged_as_bad_as_it_is),
    };
    return test_run(tests);
}
