/* chipshot serve: puts the rooms together, waits for SIGTERM or SIGINT, takes them apart again.
 *
 * Shutdown: no new connections, requests that wait for a job are answered, running requests and
 * jobs share the drain time, jobs that need longer are requeued, then exit status 0. A second
 * signal ends the drain time at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "db/data.h"
#include "db/jobs.h"
#include "db/keys.h"
#include "db/store/access.h"
#include "engine/linear.h"
#include "server/cli/assets.h"
#include "server/cli/command.h"
#include "server/cli/config.h"
#include "server/cli/files.h"
#include "server/http/http.h"
#include "server/service.h"

enum {
    IDLE_ENCODERS = 2,
    SIGNAL_LOOK_MS = 100,   /* how soon a second signal to stop is seen */
    ENDING_MS = 1000,       /* of the drain time: how long what is called off may take to end */
    SIGNAL_REPEAT_MS = 500, /* until then it is the first one again: timeout(1) and terminals send
                               theirs to a process and to its group */
};

struct server {
    struct config config;
    struct log log;
    struct service service;
    struct db_keys *keys;
    struct http_server *http;
};

/* ---- who is answered ---- */

static void log_keys(const struct server *server, enum db_keys_state state, const char *message)
{
    static const char *const names[] = {[DB_KEYS_NEVER] = "never used",
                                        [DB_KEYS_THERE] = "in use",
                                        [DB_KEYS_GONE] = "gone",
                                        [DB_KEYS_UNREADABLE] = "unreadable"};
    const bool unreadable = state == DB_KEYS_UNREADABLE;
    const bool none =
        state == DB_KEYS_GONE || (state == DB_KEYS_NEVER && server->config.http.require_key);
    const enum log_level level = unreadable                ? LOG_LEVEL_ERROR
                                 : none || message != NULL ? LOG_LEVEL_WARN
                                                           : LOG_LEVEL_INFO;
    log_write(&server->log, level, "keys",
              (struct log_field[]){
                  log_string("state", names[state]),
                  log_string("effect", none || unreadable ? "nobody is answered" : NULL),
                  log_string("advice", none ? "chipshot key create NAME makes a key" : NULL),
                  log_string("message", message),
              },
              4);
}

static void on_keys_changed(void *context, enum db_keys_state state, const struct error *why)
{
    log_keys(context, state, why != NULL ? why->message : NULL);
}

static void log_access(const struct server *server)
{
    if (!server->config.http.no_auth)
        log_keys(server, db_keys_look(server->keys, NULL), NULL);
    else
        log_write(&server->log, LOG_LEVEL_INFO, "keys",
                  (struct log_field[]){log_string("state", "not asked for (--no-auth)")}, 1);
}

/* ---- start ---- */

static int store_encoder(struct server *server, struct error *err)
{
    const char *path = server->config.encoder_file;
    struct db *db = server->service.db;
    struct store *store = server->service.data->store;
    if (path == NULL)
        return encoder_store_register_default(db, store, asset_encoder,
                                              (size_t)(asset_encoder_end - asset_encoder), err);
    struct file_bytes bytes = {0};
    int rc = file_read(path, (size_t)server->config.limits.max_encoder_size, &bytes, err);
    if (rc == 0)
        rc = encoder_store_register_default(db, store, bytes.data, bytes.size, err);
    file_bytes_clear(&bytes);
    return rc;
}

/* On a full disk what is there is served with the encoders that are there. */
static int register_encoder(struct server *server, struct error *err)
{
    int rc = store_encoder(server, err);
    if (rc != ERROR_FULL)
        return rc;
    log_write(&server->log, LOG_LEVEL_WARN, "encoder_not_stored",
              (struct log_field[]){log_string("error", err->message),
                                   log_string("effect", "the default encoder stays as it is")},
              2);
    return 0;
}

static int start_service(struct server *server, struct error *err)
{
    const struct service_config config = {
        .directory = server->config.data_directory,
        .cache_max_size = server->config.cache_max_size,
        .min_free_size = server->config.min_free_size,
        .n_threads = server->config.n_threads,
        .background = server->config.background,
        .max_idle_encoders = IDLE_ENCODERS,
        .limits = &server->config.limits,
        .log = &server->log,
    };
    struct service_work work = {
        .max_running_jobs = server->config.max_running_jobs,
        .retry = {.max_attempts = server->config.job_attempts,
                  .first_delay_ms = server->config.job_retry_delay_s * 1000},
        .log = &server->log,
        .max_maps_size = server->config.max_maps_size,
        .scrub_rate = server->config.scrub_rate,
        .scrub_interval_s = server->config.scrub_interval_s,
        .openapi = asset_openapi,
        .openapi_size = (size_t)(asset_openapi_end - asset_openapi),
    };
    const struct db_keys_watcher watcher = {.context = server, .changed = on_keys_changed};
    int rc = service_open(&server->service, &config, err);
    if (rc == 0)
        rc = db_keys_open(&server->keys, server->service.data->directory, server->service.db,
                          &watcher, err);
    if (!server->config.http.no_auth)
        work.keys = server->keys;
    if (rc == 0)
        rc = register_encoder(server, err);
    return rc == 0 ? service_start(&server->service, &work, err) : rc;
}

static int start_front(struct server *server, struct error *err)
{
    const struct http_parts parts = {
        .api = server->service.api,
        .store = server->service.data->store,
        .keys = server->keys,
        .waits = server->service.waits,
        .metrics = server->service.metrics,
        .log = &server->log,
    };
    return http_server_create(&server->http, &server->config.http, &parts, err);
}

/* ---- stop ---- */

/* A handler, not a signal mask with sigwait: a library may start threads before main, which inherit
 * no mask of ours, and a signal that one of them takes would kill the process. */
static sem_t stop_asked;
static volatile sig_atomic_t stop_signal;

static void on_stop_signal(int number)
{
    int saved = errno;
    stop_signal = number;
    sem_post(&stop_asked);
    errno = saved;
}

/* How long is left to stop in: one drain time for requests and jobs together, until a second signal
 * ends it. */
struct drain {
    const struct log *log;
    int64_t start_ms, deadline_ms;
};

/* Milliseconds to wait for something to end before asking again: 0 when the time is over. Signals
 * are looked for between waits, because nothing that runs in a handler could end one. */
static uint32_t drain_next_ms(struct drain *drain)
{
    int64_t now = clock_now_ms();
    if (sem_trywait(&stop_asked) == 0 && now - drain->start_ms >= SIGNAL_REPEAT_MS &&
        now < drain->deadline_ms) {
        log_write(drain->log, LOG_LEVEL_INFO, "stopping_at_once",
                  (struct log_field[]){log_integer("signal", stop_signal)}, 1);
        drain->deadline_ms = now;
    }
    int64_t left = drain->deadline_ms - now;
    return left <= 0 ? 0 : left < SIGNAL_LOOK_MS ? (uint32_t)left : SIGNAL_LOOK_MS;
}

static void drain_requests(struct http_server *http, struct drain *drain)
{
    uint32_t wait_ms;
    do {
        wait_ms = drain_next_ms(drain);
    } while (!http_server_wait_idle(http, wait_ms) && wait_ms > 0);
}

static void drain_jobs(struct service *service, struct drain *drain)
{
    uint32_t wait_ms;
    do {
        wait_ms = drain_next_ms(drain);
    } while (!service_drain(service, wait_ms) && wait_ms > 0);
}

/* What is called off at the end of the time needs some of it to end in. */
static int64_t drain_time_ms(const struct server *server)
{
    const int64_t all_ms = (int64_t)server->config.drain_timeout_s * 1000;
    return all_ms - (all_ms / 4 < ENDING_MS ? all_ms / 4 : ENDING_MS);
}

static void stop(struct server *server)
{
    const int64_t now = clock_now_ms();
    struct drain drain = {
        .log = &server->log, .start_ms = now, .deadline_ms = now + drain_time_ms(server)};
    if (server->http != NULL)
        http_server_stop_accepting(server->http);
    service_end_waits(&server->service);
    if (server->http != NULL)
        drain_requests(server->http, &drain);
    http_server_destroy(server->http);
    drain_jobs(&server->service, &drain);
    service_stop(&server->service, 0);
    db_keys_close(server->keys);
    service_close(&server->service);
}

/* `name`: within the data directory. */
static void warn_exposed(const struct server *server, const char *name)
{
    char path[CONFIG_PATH_SIZE + 32], mode_text[8];
    mode_t mode = 0;
    snprintf(path, sizeof(path), "%s%s", server->service.data->directory, name);
    if (!access_is_exposed(path, &mode))
        return;
    snprintf(mode_text, sizeof(mode_text), "%04o", (unsigned)mode);
    log_write(&server->log, LOG_LEVEL_WARN, "data_exposed",
              (struct log_field[]){
                  log_string("path", path),
                  log_string("mode", mode_text),
                  log_string("advice", *name == '\0' ? "chmod 700" : "chmod 600"),
              },
              3);
}

static void announce(const struct server *server)
{
    log_write(&server->log, LOG_LEVEL_INFO, "started",
              (struct log_field[]){
                  log_string("version", CHIPSHOT_VERSION),
                  log_string("url", http_server_url(server->http)),
                  log_string("data", server->config.data_directory),
                  log_integer("threads", server->config.n_threads),
                  log_string("kernels", encoder_kernels()),
                  log_string("blas", linear_core()),
              },
              6);
    log_access(server);
    warn_exposed(server, "");
    warn_exposed(server, "/chipshot.sqlite");
    printf("listening on %s\n", http_server_url(server->http));
    fflush(stdout);
}

static void catch_stop_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sem_init(&stop_asked, 0, 0);
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static int serve(struct server *server, struct error *err)
{
    catch_stop_signals();
    int rc = start_service(server, err);
    if (rc == 0)
        rc = start_front(server, err);
    if (rc == 0) {
        announce(server);
        while (sem_wait(&stop_asked) != 0 && errno == EINTR)
            continue;
        log_write(&server->log, LOG_LEVEL_INFO, "stopping",
                  (struct log_field[]){log_integer("signal", stop_signal)}, 1);
    }
    stop(server);
    return rc;
}

int cmd_serve(int argc, char **argv)
{
    static struct server server; /* large (paths); one a process */
    struct error err = {0};
    bool help = false;
    if (config_parse(&server.config, argc, argv, &help, &err) < 0) {
        command_fail(&err);
        return 2;
    }
    if (help) {
        config_print_help(stdout);
        return 0;
    }
    /* Before threads: Jansson's hash seed must not be made by two of them at once. */
    json_object_seed(0);
    server.log = (struct log){
        .fd = STDERR_FILENO, .level = server.config.log_level, .format = server.config.log_format};
    return serve(&server, &err) == 0 ? 0 : command_fail(&err);
}
