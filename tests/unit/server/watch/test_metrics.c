#include "tests/test.h"

#include <pthread.h>

#include "server/worker/job_run.h"
#include "server/watch/metrics.h"

static void assert_line(const char *text, const char *line)
{
    char wanted[512];
    snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    if (strstr(text, wanted) == NULL)
        fail_msg("'%s' is not in:\n%s", line, text);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        n++;
    return n;
}

static void counters_and_gauges_are_rendered(void **state)
{
    (void)state;
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_create(&metrics, NULL), 0);
    metrics_add(metrics, METRIC_CHIPS_ENCODED, 1024);
    metrics_add(metrics, METRIC_CHIPS_ENCODED, 1);
    metrics_add(metrics, METRIC_JOBS_FAILED, 2);
    metrics_add(metrics, METRIC_PHASE_ENCODE_SECONDS, 0.25);
    metrics_set(metrics, METRIC_CACHE_BYTES, 3000000000.0);
    metrics_set(metrics, METRIC_JOBS_QUEUED, 4);
    metrics_set(metrics, METRIC_JOBS_QUEUED, 3);
    char *text = metrics_render(metrics);
    assert_line(text, "chipshot_chips_encoded_total 1025");
    assert_line(text, "chipshot_jobs_total{state=\"failed\"} 2");
    assert_line(text, "chipshot_jobs_total{state=\"succeeded\"} 0");
    assert_line(text, "chipshot_job_phase_seconds_total{phase=\"encode\"} 0.25");
    assert_line(text, "chipshot_cache_bytes 3000000000");
    assert_line(text, "chipshot_queue_jobs{state=\"queued\"} 3");
    assert_line(text, "# TYPE chipshot_queue_jobs gauge");
    assert_line(text, "chipshot_build_info{version=\"" CHIPSHOT_VERSION "\"} 1");
    assert_non_null(strstr(text, "\nprocess_resident_memory_bytes "));
    /* One HELP and TYPE a family, each before its samples. */
    assert_int_equal(count(text, "# TYPE chipshot_jobs_total "), 1);
    assert_int_equal(count(text, "# HELP chipshot_job_phase_seconds_total "), 1);
    assert_int_equal(text[strlen(text) - 1], '\n');
    free(text);
    metrics_destroy(metrics);
}

/* The parts of a job are phases, in one order. */
static void every_part_of_a_job_is_a_phase(void **state)
{
    (void)state;
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_create(&metrics, NULL), 0);
    for (int i = 0; i < JOB_PARTS; i++)
        metrics_add(metrics, METRIC_PHASE_LOAD_SECONDS + (enum metric)i, i + 0.5);
    char *text = metrics_render(metrics);
    for (int i = 0; i < JOB_PARTS; i++) {
        char line[128];
        snprintf(line, sizeof(line), "chipshot_job_phase_seconds_total{phase=\"%s\"} %d.5",
                 job_part_name((enum job_part)i), i);
        assert_line(text, line);
    }
    free(text);
    metrics_destroy(metrics);
}

static void assert_series(const char *text, const char *name, const char *label, const char *value)
{
    char line[256];
    snprintf(line, sizeof(line), "chipshot_http_%s{method=\"GET\",route=\"/v1/jobs/{id}\"%s} %s",
             name, label, value);
    assert_line(text, line);
}

static void requests_fill_a_histogram(void **state)
{
    (void)state;
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_create(&metrics, NULL), 0);
    const char *route = "/v1/jobs/{id}";
    metrics_http_request(metrics, "GET", route, 200, 0.0005);
    metrics_http_request(metrics, "GET", route, 200, 0.3);
    metrics_http_request(metrics, "GET", route, 404, 1000);
    metrics_http_request(metrics, "GET", "a\"b\\c\nd", 0, 0);
    char *text = metrics_render(metrics);
    assert_series(text, "requests_total", ",status=\"200\"", "2");
    assert_series(text, "requests_total", ",status=\"404\"", "1");
    assert_series(text, "request_duration_seconds_bucket", ",le=\"0.001\"", "1");
    assert_series(text, "request_duration_seconds_bucket", ",le=\"0.1\"", "1");
    assert_series(text, "request_duration_seconds_bucket", ",le=\"0.5\"", "2");
    assert_series(text, "request_duration_seconds_bucket", ",le=\"120\"", "2");
    assert_series(text, "request_duration_seconds_bucket", ",le=\"+Inf\"", "3");
    assert_series(text, "request_duration_seconds_count", "", "3");
    assert_series(text, "request_duration_seconds_sum", "", "1000.3005");
    assert_line(text, "chipshot_http_requests_total{method=\"GET\",route=\"a\\\"b\\\\c\\nd\","
                      "status=\"aborted\"} 1");
    free(text);
    metrics_destroy(metrics);
}

static void *add_many(void *argument)
{
    for (int i = 0; i < 1000; i++) {
        metrics_add(argument, METRIC_CACHE_HITS, 1);
        metrics_http_request(argument, "GET", "/x", 200, 0);
    }
    return NULL;
}

static void threads_lose_no_count(void **state)
{
    (void)state;
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_create(&metrics, NULL), 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, metrics), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = metrics_render(metrics);
    assert_line(text, "chipshot_embedding_cache_hits_total 4000");
    assert_line(text, "chipshot_http_requests_total{method=\"GET\",route=\"/x\",status=\"200\"} "
                      "4000");
    free(text);
    metrics_destroy(metrics);
}

static void no_registry_is_no_error(void **state)
{
    (void)state;
    metrics_add(NULL, METRIC_CACHE_HITS, 1);
    metrics_set(NULL, METRIC_CACHE_BYTES, 1);
    metrics_http_request(NULL, "GET", "/", 200, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges_are_rendered),
        cmocka_unit_test(every_part_of_a_job_is_a_phase),
        cmocka_unit_test(requests_fill_a_histogram),
        cmocka_unit_test(threads_lose_no_count),
        cmocka_unit_test(no_registry_is_no_error),
    };
    return test_run(tests);
}
