/* Order: what is used comes first and goes last. Threads: the pool's run from service_open to
 * service_close, the worker's from service_start to service_stop; the hooks that api/ calls run on
 * any thread that handles a request.
 */
#include "server/service.h"

#include "db/jobs.h"

/* ---- jobs ---- */

void service_job_changed(struct service *service, const char *job_id)
{
    worker_notify(service->worker, job_id);
    job_waits_publish(service->waits, job_id);
}

static bool job_is_final(void *context, const char *job_id)
{
    struct service *service = context;
    struct db_job job = {0};
    if (db_job_get_row(service->db, job_id, &job, NULL) < 0)
        return true; /* gone, or unreadable: who waits reads it again and says so */
    bool final = db_job_state_is_final(job.state);
    db_job_clear(&job);
    return final;
}

enum job_wait_result service_wait_for_job(struct service *service, const char *job_id,
                                          uint32_t timeout_ms)
{
    return job_waits_for(service->waits, job_id, timeout_ms, job_is_final, service);
}

/* ---- what api/ asks of the server ---- */

static void on_job_changed(void *context, const char *job_id)
{
    service_job_changed(context, job_id);
}

static double job_eta(void *context, const char *job_id)
{
    const struct service *service = context;
    return worker_eta(service->worker, job_id);
}

static bool is_shutting_down(void *context)
{
    const struct service *service = context;
    return job_waits_is_shutdown(service->waits);
}

static int check_keys(void *context, struct error *err)
{
    const struct service *service = context;
    struct error why = {0};
    if (service->keys == NULL || db_keys_look(service->keys, &why) != DB_KEYS_UNREADABLE)
        return 0;
    return error_set(err, why.code, "%s", why.message);
}

static char *render_metrics(void *context)
{
    const struct service *service = context;
    struct db_job_counts counts = {0};
    uint64_t cache_size = 0, cache_entries = 0, n_verified = 0, n_damaged = 0;
    if (db_job_counts(service->db, &counts, NULL) == 0) {
        metrics_set(service->metrics, METRIC_JOBS_QUEUED, (double)counts.n_queued);
        metrics_set(service->metrics, METRIC_JOBS_RUNNING, (double)counts.n_running);
    }
    cache_usage(service->data->cache, &cache_size, &cache_entries);
    metrics_set(service->metrics, METRIC_CACHE_BYTES, (double)cache_size);
    store_verified(service->data->store, &n_verified, &n_damaged);
    metrics_set(service->metrics, METRIC_BLOBS_VERIFIED, (double)n_verified);
    metrics_set(service->metrics, METRIC_BLOBS_DAMAGED, (double)n_damaged);
    metrics_set(service->metrics, METRIC_POOL_WAITING_BATCHES,
                (double)pool_n_waiting(service->pool));
    return metrics_render(service->metrics);
}

/* ---- start ---- */

int service_open(struct service *service, const struct service_config *config, struct error *err)
{
    const struct data_config data_config = {
        .directory = config->directory,
        .cache_max_size = config->cache_max_size,
        .min_free_size = config->min_free_size,
        .observer = {.note = data_log_note, .context = &service->data_log},
    };
    *service = (struct service){.limits = config->limits, .data_log = {.log = config->log}};
    memory_spare_init(&service->spare);
    int rc = data_open(&service->data, &data_config, err);
    data_log_sum_up(&service->data_log);
    if (rc < 0)
        return rc;
    service->db = service->data->db;
    rc = metrics_create(&service->metrics, err);
    if (rc == 0)
        rc = job_waits_create(&service->waits, err);
    if (rc == 0)
        rc = pool_create(&service->pool, config->n_threads, POOL_LANE_LIMIT, err);
    if (rc == 0 && config->background)
        rc = pool_make_background(service->pool, err);
    if (rc == 0)
        rc = encoder_store_create(&service->encoders, service->db, service->data->store,
                                  service->pool, config->max_idle_encoders, err);
    return rc;
}

static int start_worker(struct service *service, const struct service_work *work, struct error *err)
{
    const struct job_engine engine = {
        .db = service->db,
        .store = service->data->store,
        .cache = service->data->cache,
        .room = service->data->room,
        .pool = service->pool,
        .encoders = service->encoders,
        .metrics = service->metrics,
        .spare = &service->spare,
        .limits = service->limits,
        .small_size = work->small_size,
        .max_maps_size = work->max_maps_size,
        .max_result_size = work->max_result_size,
        .times = work->times,
    };
    const struct worker_config config = {.max_running_jobs = work->max_running_jobs,
                                         .lease_ms = work->lease_ms,
                                         .retry = work->retry};
    return worker_create(&service->worker, &config, &engine, service->waits, work->log, err);
}

int service_start(struct service *service, const struct service_work *work, struct error *err)
{
    const struct api_hooks hooks = {
        .context = service,
        .job_changed = on_job_changed,
        .job_eta = job_eta,
        .shutting_down = is_shutting_down,
        .check_keys = check_keys,
        .metrics = render_metrics,
        .openapi = work->openapi,
        .openapi_size = work->openapi_size,
    };
    service->keys = work->keys;
    const struct data_watch_config watch = {.log = work->log,
                                            .scrub_rate = work->scrub_rate,
                                            .scrub_interval_s = work->scrub_interval_s};
    int rc = data_watch_create(&service->watch, service->data, service->pool, &watch, err);
    if (rc == 0)
        rc = disk_watch_create(&service->disk_watch, service->data, work->log, err);
    if (rc == 0)
        rc = start_worker(service, work, err);
    if (rc == 0)
        rc = api_create(&service->api, service->data, service->limits, &hooks, err);
    return rc;
}

/* ---- stop ---- */

void service_end_waits(struct service *service)
{
    if (service->waits != NULL)
        job_waits_shutdown(service->waits);
}

bool service_drain(struct service *service, uint32_t timeout_ms)
{
    return service->worker == NULL || worker_drain(service->worker, timeout_ms);
}

void service_stop(struct service *service, uint32_t drain_ms)
{
    if (service->worker != NULL)
        worker_stop(service->worker, drain_ms);
    worker_destroy(service->worker);
    api_destroy(service->api);
    disk_watch_destroy(service->disk_watch);
    data_watch_destroy(service->watch);
    service->disk_watch = NULL;
    service->watch = NULL;
    service->worker = NULL;
    service->api = NULL;
}

void service_close(struct service *service)
{
    encoder_store_destroy(service->encoders);
    pool_destroy(service->pool);
    job_waits_destroy(service->waits);
    metrics_destroy(service->metrics);
    data_close(service->data);
    memory_spare_clear(&service->spare);
    *service = (struct service){0};
}
