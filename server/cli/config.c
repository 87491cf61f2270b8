/* Order: defaults, then the environment, then the command line; each overwrites what came before.
 * All texts go through store(), so that every fault names where it was written.
 */
#include "server/cli/config.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/pool.h"

enum kind {
    KIND_TEXT,  /* const char * */
    KIND_PATH,  /* char[CONFIG_PATH_SIZE] */
    KIND_U32,   /* uint32_t, min..max */
    KIND_U64,   /* uint64_t, min..max */
    KIND_SIZE,  /* uint64_t of bytes, with K, M or G */
    KIND_FLAG,  /* bool; in the environment 0 or 1 */
    KIND_LEVEL, /* enum log_level */
    KIND_FORMAT /* enum log_format */
};

struct option_row {
    const char *name;     /* long option */
    const char *variable; /* environment */
    const char *argument; /* in --help; NULL for flags */
    enum kind kind;
    size_t offset;
    uint64_t min, max;
    const char *fallback; /* default as text; NULL: see config_defaults */
    const char *help;
};

#define KI          UINT64_C(1024)
#define FIELD(name) offsetof(struct config, name)

static const struct option_row rows[] = {
    {"listen", "CHIPSHOT_LISTEN", "ADDR:PORT", KIND_TEXT, FIELD(http.listen), 0, 0,
     "127.0.0.1:8080", "address to listen on; port 0 takes a free one"},
    {"data", "CHIPSHOT_DATA", "DIR", KIND_PATH, FIELD(data_directory), 0, 0, NULL,
     "data directory (default: $XDG_DATA_HOME/chipshot or ~/.local/share/chipshot)"},
    {"threads", "CHIPSHOT_THREADS", "N", KIND_U32, FIELD(n_threads), 1, POOL_WORKERS_MAX, NULL,
     "worker threads (default: the CPUs this process may use)"},
    {"background", "CHIPSHOT_BACKGROUND", NULL, KIND_FLAG, FIELD(background), 0, 1, "0",
     "worker threads take only the CPU time that nothing else wants"},
    {"encoder", "CHIPSHOT_ENCODER", "FILE", KIND_TEXT, FIELD(encoder_file), 0, 0, NULL,
     "default encoder, safetensors (default: the built-in one)"},
    {"no-auth", "CHIPSHOT_NO_AUTH", NULL, KIND_FLAG, FIELD(http.no_auth), 0, 1, "0",
     "answer without API keys, whoever asks"},
    {"require-key", "CHIPSHOT_REQUIRE_KEY", NULL, KIND_FLAG, FIELD(http.require_key), 0, 1, "0",
     "answer nobody without an API key, not even before the first is made"},
    {"max-upload-size", "CHIPSHOT_MAX_UPLOAD_SIZE", "SIZE", KIND_SIZE,
     FIELD(limits.max_upload_size), KI, KI *KI *KI *KI, "1G", "bytes of an uploaded image"},
    {"max-json-size", "CHIPSHOT_MAX_JSON_SIZE", "SIZE", KIND_SIZE, FIELD(limits.max_json_size), KI,
     KI *KI *KI, "1M", "bytes of a JSON body"},
    {"max-encoder-size", "CHIPSHOT_MAX_ENCODER_SIZE", "SIZE", KIND_SIZE,
     FIELD(limits.max_encoder_size), KI, KI *KI *KI *KI, "512M", "bytes of an uploaded encoder"},
    {"max-pixels", "CHIPSHOT_MAX_PIXELS", "N", KIND_U64, FIELD(limits.image.max_pixels), 16,
     UINT64_C(1) << 40, "268435456", "pixels of an image"},
    {"max-side", "CHIPSHOT_MAX_SIDE", "N", KIND_U32, FIELD(limits.image.max_side), 4, 1000000,
     "32768", "pixels of an image's longer side"},
    {"max-decoded-size", "CHIPSHOT_MAX_DECODED_SIZE", "SIZE", KIND_SIZE,
     FIELD(limits.image.max_decoded_size), KI, KI *KI *KI *KI, "2G",
     "bytes an image takes when decoded"},
    {"max-chips-per-image", "CHIPSHOT_MAX_CHIPS_PER_IMAGE", "N", KIND_U64,
     FIELD(limits.max_chips_per_image), 1, UINT32_MAX, "4000000", "chips of one image"},
    {"max-images-per-job", "CHIPSHOT_MAX_IMAGES_PER_JOB", "N", KIND_U64,
     FIELD(limits.max_images_per_job), 1, 1000000, "10000", "images of one job"},
    {"max-queued-jobs", "CHIPSHOT_MAX_QUEUED_JOBS", "N", KIND_U64, FIELD(limits.max_queued_jobs), 1,
     1000000, "1000", "jobs waiting; more are refused with 503"},
    {"max-running-jobs", "CHIPSHOT_MAX_RUNNING_JOBS", "N", KIND_U32, FIELD(max_running_jobs), 1, 64,
     "8", "jobs that share the worker threads"},
    {"job-attempts", "CHIPSHOT_JOB_ATTEMPTS", "N", KIND_U32, FIELD(job_attempts), 1, 100, "5",
     "times a job is tried that fails for a cause that may pass"},
    {"job-retry-delay", "CHIPSHOT_JOB_RETRY_DELAY", "SECONDS", KIND_U32, FIELD(job_retry_delay_s),
     1, 3600, "2", "until it is tried again; then twice that, up to a minute"},
    {"cache-size", "CHIPSHOT_CACHE_SIZE", "SIZE", KIND_SIZE, FIELD(cache_max_size), 0,
     KI *KI *KI *KI *KI, "2G", "bytes of the cache: embeddings, feature maps and views"},
    {"max-maps-size", "CHIPSHOT_MAX_MAPS_SIZE", "SIZE", KIND_SIZE, FIELD(max_maps_size), KI,
     KI *KI *KI *KI, "64M", "bytes of an image's feature maps, up to which they are kept"},
    {"scrub-rate", "CHIPSHOT_SCRUB_RATE", "SIZE", KIND_SIZE, FIELD(scrub_rate), 0, KI *KI *KI, "4M",
     "bytes a second of stored files to check for damage; 0: none"},
    {"scrub-interval", "CHIPSHOT_SCRUB_INTERVAL", "SECONDS", KIND_U32, FIELD(scrub_interval_s), 0,
     31536000, "604800", "from the end of a check of all stored files to the next"},
    {"min-free-space", "CHIPSHOT_MIN_FREE_SPACE", "SIZE", KIND_SIZE, FIELD(min_free_size), 0,
     KI *KI *KI *KI *KI, "64M", "bytes of the disk that stay free: below, nothing new is taken"},
    {"max-connections", "CHIPSHOT_MAX_CONNECTIONS", "N", KIND_U32, FIELD(http.max_connections), 1,
     10000, "512", "client connections at a time"},
    {"max-connections-per-client", "CHIPSHOT_MAX_CONNECTIONS_PER_CLIENT", "N", KIND_U32,
     FIELD(http.max_connections_per_client), 1, 10000, "256",
     "of these, how many one API key, or one address without, may have"},
    {"header-timeout", "CHIPSHOT_HEADER_TIMEOUT", "SECONDS", KIND_U32, FIELD(http.header_timeout_s),
     1, 3600, "10", "for a request's headers to arrive"},
    {"body-timeout", "CHIPSHOT_BODY_TIMEOUT", "SECONDS", KIND_U32, FIELD(http.body_timeout_s), 1,
     86400, "300", "for a body at 16 KiB/s or slower; faster ones may take longer"},
    {"idle-timeout", "CHIPSHOT_IDLE_TIMEOUT", "SECONDS", KIND_U32, FIELD(http.idle_timeout_s), 1,
     3600, "60", "until an unused connection is closed"},
    {"max-wait", "CHIPSHOT_MAX_WAIT", "SECONDS", KIND_U32, FIELD(limits.max_wait_s), 1, 3600, "30",
     "longest Prefer: wait"},
    {"drain-timeout", "CHIPSHOT_DRAIN_TIMEOUT", "SECONDS", KIND_U32, FIELD(drain_timeout_s), 0,
     3600, "30", "for requests and jobs to end at shutdown"},
    {"log-level", "CHIPSHOT_LOG_LEVEL", "LEVEL", KIND_LEVEL, FIELD(log_level), 0, 0, "info",
     "debug, info, warn or error"},
    {"log-format", "CHIPSHOT_LOG_FORMAT", "FORMAT", KIND_FORMAT, FIELD(log_format), 0, 0, "logfmt",
     "logfmt or json"},
};

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* Digits, then for sizes K, M or G (powers of 1024). */
static bool parse_number(const char *text, bool size, uint64_t *out)
{
    uint64_t value = 0;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    static const char suffixes[] = "KMG";
    const char *suffix = size && *text != '\0' ? strchr(suffixes, *text) : NULL;
    if (suffix != NULL) {
        text++;
        if (__builtin_mul_overflow(value, KI << 10 * (suffix - suffixes), &value))
            return false;
    }
    *out = value;
    return *text == '\0';
}

static int store_number(const struct option_row *row, void *field, const char *origin,
                        const char *text, struct error *err)
{
    uint64_t value = 0;
    if (!parse_number(text, row->kind == KIND_SIZE, &value) || value < row->min || value > row->max)
        return error_set(err, ERROR_INVALID, "%s: '%s' is not %s from %llu to %llu", origin, text,
                         row->kind == KIND_SIZE ? "a number of bytes (K, M, G allowed)"
                                                : "a whole number",
                         (unsigned long long)row->min, (unsigned long long)row->max);
    if (row->kind == KIND_U32)
        *(uint32_t *)field = (uint32_t)value;
    else
        *(uint64_t *)field = value;
    return 0;
}

static int store_choice(const struct option_row *row, void *field, const char *origin,
                        const char *text, struct error *err)
{
    static const char *const formats[] = {
        [LOG_FORMAT_LOGFMT] = "logfmt", [LOG_FORMAT_JSON] = "json"};
    if (row->kind == KIND_FORMAT) {
        for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
            if (strcmp(text, formats[i]) == 0) {
                *(enum log_format *)field = (enum log_format)i;
                return 0;
            }
        }
    } else {
        for (unsigned i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++) {
            if (strcmp(text, log_level_name((enum log_level)i)) == 0) {
                *(enum log_level *)field = (enum log_level)i;
                return 0;
            }
        }
    }
    return error_set(err, ERROR_INVALID, "%s: '%s' is not one of: %s", origin, text, row->help);
}

static int store(struct config *config, const struct option_row *row, const char *origin,
                 const char *text, struct error *err)
{
    void *field = (char *)config + row->offset;
    switch (row->kind) {
    case KIND_TEXT:
        *(const char **)field = text;
        return 0;
    case KIND_PATH:
        if (*text == '\0' || strlen(text) >= CONFIG_PATH_SIZE)
            return error_set(err, ERROR_INVALID, "%s: the path has %zu bytes, allowed are 1 to %d",
                             origin, strlen(text), CONFIG_PATH_SIZE - 1);
        memcpy(field, text, strlen(text) + 1);
        return 0;
    case KIND_FLAG:
        if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
            return error_set(err, ERROR_INVALID, "%s: '%s' is not 0 or 1", origin, text);
        *(bool *)field = text[0] == '1';
        return 0;
    case KIND_U32:
    case KIND_U64:
    case KIND_SIZE:
        return store_number(row, field, origin, text, err);
    case KIND_LEVEL:
    case KIND_FORMAT:
        return store_choice(row, field, origin, text, err);
    }
    return error_set(err, ERROR_INVALID, "%s: unknown kind of option", origin);
}

/* Joins without passing the end; false when it does not fit. */
static bool join(char *buffer, size_t size, const char *directory, const char *tail)
{
    if (directory == NULL || *directory == '\0')
        return false;
    int n = snprintf(buffer, size, "%s%s", directory, tail);
    return n > 0 && (size_t)n < size;
}

const char *config_default_data(char *buffer, size_t size)
{
    if (!join(buffer, size, getenv("CHIPSHOT_DATA"), "") &&
        !join(buffer, size, getenv("XDG_DATA_HOME"), "/chipshot") &&
        !join(buffer, size, getenv("HOME"), "/.local/share/chipshot"))
        snprintf(buffer, size, "/var/lib/chipshot");
    return buffer;
}

static int set_defaults(struct config *config, struct error *err)
{
    memset(config, 0, sizeof(*config));
    config->limits = api_limits_default;
    config->n_threads = pool_n_workers_default();
    config_default_data(config->data_directory, sizeof(config->data_directory));
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].fallback == NULL)
            continue;
        int rc = store(config, &rows[i], rows[i].name, rows[i].fallback, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_environment(struct config *config, struct error *err)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        const char *text = getenv(rows[i].variable);
        if (text == NULL || *text == '\0')
            continue;
        int rc = store(config, &rows[i], rows[i].variable, text, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* `bad` is the word getopt_long choked on. */
static int usage_error(int result, const char *bad, struct error *err)
{
    if (result == ':')
        return error_set(err, ERROR_INVALID, "%s: the option needs a value", bad);
    return error_set(err, ERROR_INVALID, "%s: unknown option (see chipshot serve --help)", bad);
}

static int read_arguments(struct config *config, int argc, char **argv, bool *help,
                          struct error *err)
{
    struct option options[N_ROWS + 2];
    memset(options, 0, sizeof(options));
    for (size_t i = 0; i < N_ROWS; i++) {
        options[i].name = rows[i].name;
        options[i].has_arg = rows[i].kind == KIND_FLAG ? no_argument : required_argument;
        options[i].val = 256 + (int)i;
    }
    options[N_ROWS] = (struct option){"help", no_argument, NULL, 'h'};
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    for (int result; (result = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (result == 'h') {
            *help = true;
            continue;
        }
        if (result < 256)
            return usage_error(result, argv[optind - 1], err);
        const struct option_row *row = &rows[result - 256];
        char origin[64];
        snprintf(origin, sizeof(origin), "--%s", row->name);
        int rc = store(config, row, origin, row->kind == KIND_FLAG ? "1" : optarg, err);
        if (rc != 0)
            return rc;
    }
    if (optind < argc)
        return error_set(err, ERROR_INVALID, "'%s': serve takes options only", argv[optind]);
    return 0;
}

int config_parse(struct config *out, int argc, char **argv, bool *help, struct error *err)
{
    struct config config;
    bool wants_help = false;
    int rc = set_defaults(&config, err);
    if (rc == 0)
        rc = read_environment(&config, err);
    if (rc == 0)
        rc = read_arguments(&config, argc, argv, &wants_help, err);
    if (rc == 0 && config.http.no_auth && config.http.require_key)
        rc = error_set(err, ERROR_INVALID, "--no-auth and --require-key contradict each other");
    if (rc != 0)
        return rc;
    *out = config;
    *help = wants_help;
    return 0;
}

void config_print_help(FILE *out)
{
    fputs(
        "Usage: chipshot serve [OPTION]...\n"
        "Starts the HTTP server. Stops on SIGTERM or SIGINT, at a second one without waiting; jobs "
        "that were not done go on at the next start.\n\nOptions (each also as the environment "
        "variable behind it; the command "
        "line wins):\n",
        out);
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct option_row *row = &rows[i];
        char left[64];
        snprintf(left, sizeof(left), "--%s %s", row->name, row->argument ? row->argument : "");
        fprintf(out, "  %-30s %s", left, row->help);
        if (row->fallback != NULL && row->kind != KIND_FLAG)
            fprintf(out, " (default %s)", row->fallback);
        fprintf(out, "  [%s]\n", row->variable);
    }
    fputs("  --help                         this text\n", out);
}
