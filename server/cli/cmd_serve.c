/* chipshot serve: puts the rooms together, waits for SIGTERM or SIGINT, takes them apart again.
 *
 * Shutdown: no new connections, requests that wait for a job are answered, running requests and
 * jobs share the drain time, jobs that need longer are requeued, then exit status 0.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "db/data.h"
#include "db/jobs.h"
#include "db/keys.h"
#include "server/cli/assets.h"
#include "server/cli/command.h"
#include "server/cli/config.h"
#include "server/worker/encoder_store.h"
#include "server/worker/job_waits.h"
#include "server/cli/files.h"
#include "server/http/http.h"
#include "server/watch/log.h"
#include "server/watch/metrics.h"
#include "server/cli/session.h"
#include "server/worker/worker.h"

enum { LANE_LIMIT = 1024, IDLE_ENCODERS = 2 };

struct service {
    struct config config;
    struct log log;
    struct data *data;
    struct db_keys *keys;
    struct metrics *metrics;
    struct job_waits *waits;
    struct pool *pool;
    struct encoder_store *encoders;
    struct worker *worker;
    struct api *api;
    struct http_server *http;
    atomic_bool shutting_down;
};

/* ---- what api/ asks of the server ---- */

static void on_job_changed(void *context, const char *job_id)
{
    struct service *service = context;
    worker_notify(service->worker, job_id);
    job_waits_publish(service->waits, job_id);
}

static bool job_is_final(void *context, const char *job_id)
{
    struct service *service = context;
    struct db_job job = {0};
    if (db_job_get(service->data->db, job_id, &job, NULL) < 0)
        return true; /* gone, or unreadable: the request reads it again and answers */
    bool final = db_job_state_is_final(job.state);
    db_job_clear(&job);
    return final;
}

static void wait_for_job(void *context, const char *job_id, uint32_t timeout_ms)
{
    struct service *service = context;
    job_waits_for(service->waits, job_id, timeout_ms, job_is_final, service);
}

static double job_eta(void *context, const char *job_id)
{
    struct service *service = context;
    return worker_eta(service->worker, job_id);
}

static bool is_shutting_down(void *context)
{
    struct service *service = context;
    return atomic_load(&service->shutting_down);
}

static char *render_metrics(void *context)
{
    struct service *service = context;
    uint64_t counts[5] = {0};
    uint64_t cache_size = 0, cache_entries = 0;
    if (db_job_counts(service->data->db, counts, NULL) == 0) {
        metrics_set(service->metrics, METRIC_JOBS_QUEUED, (double)counts[DB_JOB_QUEUED]);
        metrics_set(service->metrics, METRIC_JOBS_RUNNING, (double)counts[DB_JOB_RUNNING]);
    }
    cache_usage(service->data->cache, &cache_size, &cache_entries);
    metrics_set(service->metrics, METRIC_CACHE_BYTES, (double)cache_size);
    metrics_set(service->metrics, METRIC_POOL_WAITING_BATCHES,
                (double)pool_n_waiting(service->pool));
    return metrics_render(service->metrics);
}

/* ---- start ---- */

static int register_encoder(struct service *service, struct error *err)
{
    const char *path = service->config.encoder_file;
    if (path == NULL)
        return encoder_store_register_default(service->data->db, service->data->store,
                                              asset_encoder,
                                              (size_t)(asset_encoder_end - asset_encoder), err);
    struct file_bytes bytes = {0};
    int rc = file_read(path, (size_t)service->config.limits.max_encoder_size, &bytes, err);
    if (rc == 0)
        rc = encoder_store_register_default(service->data->db, service->data->store, bytes.data,
                                            bytes.size, err);
    file_bytes_clear(&bytes);
    return rc;
}

static int start_storage(struct service *service, struct error *err)
{
    const struct data_config config = {
        .directory = service->config.data_directory,
        .cache_max_size = service->config.cache_max_size,
    };
    int rc = data_open(&service->data, &config, err);
    if (rc == 0)
        rc = db_keys_open(&service->keys, config.directory, err);
    if (rc == 0)
        rc = register_encoder(service, err);
    return rc;
}

static int start_engine(struct service *service, struct error *err)
{
    int rc = metrics_create(&service->metrics, err);
    if (rc == 0)
        rc = job_waits_create(&service->waits, err);
    if (rc == 0)
        rc = pool_create(&service->pool, service->config.n_threads, LANE_LIMIT, err);
    if (rc == 0 && service->config.background)
        rc = pool_make_background(service->pool, err);
    if (rc == 0)
        rc = encoder_store_create(&service->encoders, service->data->db, service->data->store,
                                  service->pool, IDLE_ENCODERS, err);
    if (rc < 0)
        return rc;
    const struct job_engine engine = {
        .db = service->data->db,
        .store = service->data->store,
        .cache = service->data->cache,
        .pool = service->pool,
        .encoders = service->encoders,
        .metrics = service->metrics,
        .limits = &service->config.limits,
    };
    const struct worker_config config = {.max_running_jobs = service->config.max_running_jobs};
    return worker_create(&service->worker, &config, &engine, service->waits, &service->log, err);
}

static int start_front(struct service *service, struct error *err)
{
    const struct api_hooks hooks = {
        .context = service,
        .job_changed = on_job_changed,
        .job_wait = wait_for_job,
        .job_eta = job_eta,
        .shutting_down = is_shutting_down,
        .metrics = render_metrics,
        .openapi = asset_openapi,
        .openapi_size = (size_t)(asset_openapi_end - asset_openapi),
    };
    int rc = api_create(&service->api, service->data, &service->config.limits, &hooks, err);
    if (rc < 0)
        return rc;
    const struct http_parts parts = {
        .api = service->api,
        .store = service->data->store,
        .keys = service->keys,
        .metrics = service->metrics,
        .log = &service->log,
    };
    return http_server_create(&service->http, &service->config.http, &parts, err);
}

/* ---- stop ---- */

/* Milliseconds left until `deadline`: one drain time for requests and jobs together. */
static uint32_t left_ms(int64_t deadline)
{
    int64_t left = deadline - clock_now_ms();
    return left > 0 ? (uint32_t)left : 0;
}

static void stop(struct service *service)
{
    int64_t deadline = clock_now_ms() + (int64_t)service->config.drain_timeout_s * 1000;
    atomic_store(&service->shutting_down, true);
    if (service->http != NULL)
        http_server_stop_accepting(service->http);
    if (service->waits != NULL)
        job_waits_shutdown(service->waits);
    if (service->http != NULL)
        http_server_wait_idle(service->http, left_ms(deadline));
    http_server_destroy(service->http);
    if (service->worker != NULL)
        worker_stop(service->worker, left_ms(deadline));
    worker_destroy(service->worker);
    api_destroy(service->api);
    encoder_store_destroy(service->encoders);
    pool_destroy(service->pool);
    job_waits_destroy(service->waits);
    metrics_destroy(service->metrics);
    db_keys_close(service->keys);
    data_close(service->data);
}

static void announce(const struct service *service)
{
    log_write(&service->log, LOG_LEVEL_INFO, "started",
              (struct log_field[]){
                  log_string("version", CHIPSHOT_VERSION),
                  log_string("url", http_server_url(service->http)),
                  log_string("data", service->config.data_directory),
                  log_integer("threads", service->config.n_threads),
                  log_string("kernels", encoder_kernels()),
              },
              5);
    printf("listening on %s\n", http_server_url(service->http));
    fflush(stdout);
}

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

static void catch_stop_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sem_init(&stop_asked, 0, 0);
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static int serve(struct service *service, struct error *err)
{
    catch_stop_signals();
    int rc = start_storage(service, err);
    if (rc == 0)
        rc = start_engine(service, err);
    if (rc == 0)
        rc = start_front(service, err);
    if (rc == 0) {
        announce(service);
        while (sem_wait(&stop_asked) != 0 && errno == EINTR)
            continue;
        log_write(&service->log, LOG_LEVEL_INFO, "stopping",
                  (struct log_field[]){log_integer("signal", stop_signal)}, 1);
    }
    stop(service);
    return rc;
}

int cmd_serve(int argc, char **argv)
{
    static struct service service; /* large (paths); one a process */
    struct error err = {0};
    bool help = false;
    if (config_parse(&service.config, argc, argv, &help, &err) < 0) {
        command_fail(&err);
        return 2;
    }
    if (help) {
        config_print_help(stdout);
        return 0;
    }
    /* Before threads: Jansson's hash seed must not be made by two of them at once. */
    json_object_seed(0);
    service.log = (struct log){.fd = STDERR_FILENO,
                               .level = service.config.log_level,
                               .format = service.config.log_format};
    return serve(&service, &err) == 0 ? 0 : command_fail(&err);
}
