/* Long texts: whole with their length, or as a stream whose source is let go exactly once. */
#include "tests/test.h"

#include "api/message/text_answer.h"

enum { PART = 100 };

/* Writes `n_parts` parts of PART bytes, then fails when `code` is not 0. */
struct source {
    int n_parts;
    int code;
    int n_written;
    int n_destroyed;
};

static int write_part(void *context, struct body_writer *writer, bool *ended, struct error *err)
{
    struct source *source = context;
    assert_int_equal(source->n_destroyed, 0);
    assert_false(*ended);
    if (source->n_written == source->n_parts)
        return error_set(err, source->code, "the source dried up");
    for (int i = 0; i < PART; i++)
        body_write(writer, &"abcdefghijklmnopqrstuvwxyz"[source->n_written % 26], 1);
    source->n_written++;
    *ended = source->code == 0 && source->n_written == source->n_parts;
    return 0;
}

static void destroy(void *context)
{
    struct source *source = context;
    source->n_destroyed++;
}

static int answer(struct source *source, struct api_response *response, size_t whole_max)
{
    const struct text_source text = {.context = source, .write = write_part, .destroy = destroy};
    api_response_init(response);
    return text_answer(response, "text/csv", &text, whole_max, NULL);
}

static void short_texts_are_whole(void **state)
{
    (void)state;
    struct source source = {.n_parts = 3};
    struct api_response response;
    assert_int_equal(answer(&source, &response, 3 * PART), 0);
    assert_int_equal(source.n_destroyed, 1);
    assert_int_equal(response.status, 200);
    assert_string_equal(response.content_type, "text/csv");
    assert_int_equal(response.body_size, 3 * PART);
    assert_memory_equal(response.body + PART - 1, "ab", 2);
    assert_null(response.stream.next);
    api_response_clear(&response);
    assert_int_equal(source.n_destroyed, 1);
}

/* Reads with a buffer of `size` to the end; returns the bytes read. */
static size_t read_all(const struct api_stream *stream, size_t size)
{
    char buffer[3 * PART];
    size_t total = 0, n = 0;
    do {
        assert_int_equal(stream->next(stream->context, buffer, size, &n, NULL), 0);
        assert_true(n <= size);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(buffer[i], 'a' + (int)((total + i) / PART % 26));
        total += n;
    } while (n > 0);
    return total;
}

static void longer_texts_are_streams(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, PART, PART + 1, 3 * PART};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t whole_max = 0; whole_max < 40 * PART; whole_max += 13 * PART) {
            struct source source = {.n_parts = 40};
            struct api_response response;
            assert_int_equal(answer(&source, &response, whole_max), 0);
            assert_null(response.body);
            assert_int_equal(source.n_written, whole_max / PART + 1);
            assert_int_equal(source.n_destroyed, 0);
            assert_int_equal(read_all(&response.stream, sizes[i]), 40 * PART);
            assert_int_equal(source.n_destroyed, 0);
            api_response_clear(&response);
            assert_int_equal(source.n_destroyed, 1);
        }
    }
}

static void an_unread_stream_is_closed_once(void **state)
{
    (void)state;
    struct source source = {.n_parts = 40};
    struct api_response response;
    assert_int_equal(answer(&source, &response, PART), 0);
    response_reset(&response); /* as when a handler fails after all */
    assert_int_equal(source.n_destroyed, 1);
    assert_null(response.stream.next);
    api_response_clear(&response);
    assert_int_equal(source.n_destroyed, 1);
}

static void early_faults_are_the_answers(void **state)
{
    (void)state;
    struct source source = {.n_parts = 1, .code = ERROR_CORRUPT};
    struct api_response response;
    assert_int_equal(answer(&source, &response, 2 * PART), ERROR_CORRUPT);
    assert_int_equal(source.n_destroyed, 1);
    assert_null(response.stream.next);
    assert_null(response.body);
    api_response_clear(&response);
}

static void late_faults_end_the_stream(void **state)
{
    (void)state;
    struct source source = {.n_parts = 3, .code = ERROR_NOT_FOUND};
    struct api_response response;
    char buffer[3 * PART];
    size_t n = 0;
    struct error err;
    assert_int_equal(answer(&source, &response, PART), 0);
    const struct api_stream *stream = &response.stream;
    assert_int_equal(stream->next(stream->context, buffer, sizeof(buffer), &n, &err), 0);
    assert_int_equal(n, 2 * PART);
    assert_int_equal(stream->next(stream->context, buffer, sizeof(buffer), &n, &err), 0);
    assert_int_equal(n, PART);
    assert_int_equal(stream->next(stream->context, buffer, sizeof(buffer), &n, &err),
                     ERROR_NOT_FOUND);
    assert_string_equal(err.message, "the source dried up");
    api_response_clear(&response);
    assert_int_equal(source.n_destroyed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_texts_are_whole),
        cmocka_unit_test(longer_texts_are_streams),
        cmocka_unit_test(an_unread_stream_is_closed_once),
        cmocka_unit_test(early_faults_are_the_answers),
        cmocka_unit_test(late_faults_end_the_stream),
    };
    return test_run(tests);
}
