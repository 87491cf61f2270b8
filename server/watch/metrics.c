/* Counters and gauges are atomic numbers in a table. The series of a route are made when it is
 * first seen, under a mutex that only threads which answer requests ever take.
 */
#include "server/watch/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Rows of one family stand together: its HELP and TYPE are printed before the first. */
static const struct {
    const char *name;
    const char *labels; /* "" or {...} */
    const char *type;
    const char *help;
} descriptions[METRIC_COUNT] = {
    [METRIC_JOBS_SUCCEEDED] = {"chipshot_jobs_total", "{state=\"succeeded\"}", "counter",
                               "Jobs that ended, by final state"},
    [METRIC_JOBS_FAILED] = {"chipshot_jobs_total", "{state=\"failed\"}", "counter", ""},
    [METRIC_JOBS_CANCELLED] = {"chipshot_jobs_total", "{state=\"cancelled\"}", "counter", ""},
    [METRIC_CHIPS_ENCODED] = {"chipshot_chips_encoded_total", "", "counter",
                              "Chips that went through the encoder"},
    [METRIC_CACHE_HITS] = {"chipshot_embedding_cache_hits_total", "", "counter",
                           "Chips whose embedding came from the cache"},
    [METRIC_CACHE_MISSES] = {"chipshot_embedding_cache_misses_total", "", "counter",
                             "Chips whose embedding was not in the cache"},
    [METRIC_PHASE_LOAD_SECONDS] =
        {"chipshot_job_phase_seconds_total", "{phase=\"load\"}", "counter",
         "Time of jobs by phase (chip, encode: of the worker threads, divided by their number)"},
    [METRIC_PHASE_READ_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"read\"}",
                                   "counter", ""},
    [METRIC_PHASE_DECODE_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"decode\"}",
                                     "counter", ""},
    [METRIC_PHASE_NORMALISE_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"normalise\"}",
                                        "counter", ""},
    [METRIC_PHASE_CHIP_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"chip\"}",
                                   "counter", ""},
    [METRIC_PHASE_ENCODE_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"encode\"}",
                                     "counter", ""},
    [METRIC_PHASE_CACHE_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"cache\"}",
                                    "counter", ""},
    [METRIC_PHASE_CLASSIFY_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"classify\"}",
                                       "counter", ""},
    [METRIC_PHASE_STORE_SECONDS] = {"chipshot_job_phase_seconds_total", "{phase=\"store\"}",
                                    "counter", ""},
    [METRIC_BLOBS_VERIFIED] = {"chipshot_blobs_verified_total", "", "counter",
                               "Stored files that were read and hashed"},
    [METRIC_JOBS_QUEUED] = {"chipshot_queue_jobs", "{state=\"queued\"}", "gauge",
                            "Jobs that have not ended, by state"},
    [METRIC_JOBS_RUNNING] = {"chipshot_queue_jobs", "{state=\"running\"}", "gauge", ""},
    [METRIC_POOL_WAITING_BATCHES] = {"chipshot_pool_waiting_batches", "", "gauge",
                                     "Batches of chips waiting for a worker thread"},
    [METRIC_CACHE_BYTES] = {"chipshot_cache_bytes", "", "gauge", "Size of the embedding cache"},
    [METRIC_BLOBS_DAMAGED] = {"chipshot_blobs_damaged", "", "gauge",
                              "Stored files that were found not to be what was stored"},
    [METRIC_HTTP_CONNECTIONS] = {"chipshot_http_connections", "", "gauge",
                                 "Open client connections"},
};

static const double bounds[] = {0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120};
enum { N_BOUNDS = sizeof(bounds) / sizeof(bounds[0]), MAX_SERIES = 1024 };

struct request_count {
    const char *method;
    const char *route;
    int status;
    uint64_t n;
};

struct duration {
    const char *method;
    const char *route;
    uint64_t buckets[N_BOUNDS + 1]; /* not cumulative; the last is above all bounds */
    double sum;
};

/* The two tables are searched linearly: routes x statuses that occur are a few dozen. */
struct metrics {
    /* No lock: a worker in the background that held one would hold up those who answer requests. */
    _Atomic double values[METRIC_COUNT];
    pthread_mutex_t mutex; /* guards all below */
    struct request_count counts[MAX_SERIES];
    size_t n_counts;
    struct duration durations[MAX_SERIES / 8];
    size_t n_durations;
    double start_time; /* seconds since the epoch; immutable */
};

int metrics_create(struct metrics **out, struct error *err)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics == NULL)
        return error_set_nomem(err, "metrics");
    pthread_mutex_init(&metrics->mutex, NULL);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    metrics->start_time = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    *out = metrics;
    return 0;
}

void metrics_destroy(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics);
}

void metrics_add(struct metrics *metrics, enum metric metric, double amount)
{
    if (metrics == NULL)
        return;
    double value = atomic_load(&metrics->values[metric]);
    while (!atomic_compare_exchange_weak(&metrics->values[metric], &value, value + amount))
        continue;
}

void metrics_set(struct metrics *metrics, enum metric metric, double value)
{
    if (metrics == NULL)
        return;
    atomic_store(&metrics->values[metric], value);
}

static struct request_count *find_count(struct metrics *metrics, const char *method,
                                        const char *route, int status)
{
    for (size_t i = 0; i < metrics->n_counts; i++) {
        struct request_count *count = &metrics->counts[i];
        if (count->status == status && strcmp(count->method, method) == 0 &&
            strcmp(count->route, route) == 0)
            return count;
    }
    if (metrics->n_counts == MAX_SERIES)
        return NULL;
    struct request_count *count = &metrics->counts[metrics->n_counts++];
    *count = (struct request_count){method, route, status, 0};
    return count;
}

static struct duration *find_duration(struct metrics *metrics, const char *method,
                                      const char *route)
{
    for (size_t i = 0; i < metrics->n_durations; i++) {
        struct duration *duration = &metrics->durations[i];
        if (strcmp(duration->method, method) == 0 && strcmp(duration->route, route) == 0)
            return duration;
    }
    if (metrics->n_durations == sizeof(metrics->durations) / sizeof(metrics->durations[0]))
        return NULL;
    struct duration *duration = &metrics->durations[metrics->n_durations++];
    duration->method = method;
    duration->route = route;
    return duration;
}

void metrics_http_request(struct metrics *metrics, const char *method, const char *route,
                          int status, double seconds)
{
    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->mutex);
    struct request_count *count = find_count(metrics, method, route, status);
    if (count != NULL)
        count->n++;
    struct duration *duration = find_duration(metrics, method, route);
    if (duration != NULL) {
        size_t bucket = 0;
        while (bucket < N_BOUNDS && seconds > bounds[bucket])
            bucket++;
        duration->buckets[bucket]++;
        duration->sum += seconds;
    }
    pthread_mutex_unlock(&metrics->mutex);
}

static void print_label_value(FILE *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            fputs("\\n", out);
        else if (*value == '"' || *value == '\\')
            fprintf(out, "\\%c", *value);
        else
            fputc(*value, out);
    }
}

static void print_request_labels(FILE *out, const char *method, const char *route)
{
    fputs("{method=\"", out);
    print_label_value(out, method);
    fputs("\",route=\"", out);
    print_label_value(out, route);
    fputc('"', out);
}

static void print_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void render_requests(const struct metrics *metrics, FILE *out)
{
    print_head(out, "chipshot_http_requests_total", "counter", "Answered requests");
    for (size_t i = 0; i < metrics->n_counts; i++) {
        const struct request_count *count = &metrics->counts[i];
        fputs("chipshot_http_requests_total", out);
        print_request_labels(out, count->method, count->route);
        if (count->status == 0)
            fputs(",status=\"aborted\"", out);
        else
            fprintf(out, ",status=\"%d\"", count->status);
        fprintf(out, "} %llu\n", (unsigned long long)count->n);
    }
    const char *name = "chipshot_http_request_duration_seconds";
    print_head(out, name, "histogram", "Time from a request's first line until its answer");
    for (size_t i = 0; i < metrics->n_durations; i++) {
        const struct duration *duration = &metrics->durations[i];
        uint64_t cumulative = 0;
        for (size_t b = 0; b <= N_BOUNDS; b++) {
            cumulative += duration->buckets[b];
            fprintf(out, "%s_bucket", name);
            print_request_labels(out, duration->method, duration->route);
            if (b < N_BOUNDS)
                fprintf(out, ",le=\"%g\"", bounds[b]);
            else
                fputs(",le=\"+Inf\"", out);
            fprintf(out, "} %llu\n", (unsigned long long)cumulative);
        }
        fprintf(out, "%s_sum", name);
        print_request_labels(out, duration->method, duration->route);
        fprintf(out, "} %.9g\n%s_count", duration->sum, name);
        print_request_labels(out, duration->method, duration->route);
        fprintf(out, "} %llu\n", (unsigned long long)cumulative);
    }
}

/* Second field of /proc/self/statm, in bytes; 0 when it cannot be read. */
static double resident_size(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    unsigned long long total = 0, resident = 0;
    int n = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static void render_process(const struct metrics *metrics, FILE *out)
{
    print_head(out, "chipshot_build_info", "gauge", "Always 1; the version is a label");
    fprintf(out, "chipshot_build_info{version=\"%s\"} 1\n", CHIPSHOT_VERSION);
    print_head(out, "process_start_time_seconds", "gauge", "Start of the process, Unix time");
    fprintf(out, "process_start_time_seconds %.3f\n", metrics->start_time);
    print_head(out, "process_resident_memory_bytes", "gauge", "Resident memory");
    fprintf(out, "process_resident_memory_bytes %.0f\n", resident_size());
}

char *metrics_render(struct metrics *metrics)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    pthread_mutex_lock(&metrics->mutex);
    for (int i = 0; i < METRIC_COUNT; i++) {
        if (i == 0 || strcmp(descriptions[i].name, descriptions[i - 1].name) != 0)
            print_head(out, descriptions[i].name, descriptions[i].type, descriptions[i].help);
        fprintf(out, "%s%s %.15g\n", descriptions[i].name, descriptions[i].labels,
                metrics->values[i]);
    }
    render_requests(metrics, out);
    pthread_mutex_unlock(&metrics->mutex);
    render_process(metrics, out);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
