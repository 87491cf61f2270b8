/* What operators ask: is it alive, is it ready, what is it. */
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "base/clock.h"
#include "db/encoders.h"
#include "engine/encoder/encoder.h"
#include "engine/linear.h"

/* readyz writes to the disk and needs no key, so its rate is not its callers': what was found holds
 * for PROBE_MS, and one caller at a time looks anew, while the others are told what was found last;
 * only the very first look is waited for. One that takes PROBE_STUCK_MS is itself a finding. */
enum { PROBE_MS = 1000, PROBE_STUCK_MS = 5000 };

/* Answers with a copy of a static text. */
static int answer_text(struct api_call *call, const char *content_type, const char *text,
                       size_t size, struct error *err)
{
    char *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        return error_set_nomem(err, "an answer");
    memcpy(copy, text, size);
    response_bytes(call->response, 200, content_type, copy, size);
    return 0;
}

int health_live(struct api_call *call, struct error *err)
{
    static const char alive[] = "{\"status\":\"alive\"}";
    api_response_header(call->response, "Cache-Control", "no-store");
    return answer_text(call, "application/json", alive, sizeof(alive) - 1, err);
}

/* Appends a sentence to the list of what failed. */
static void add_failure(struct error *failures, const char *text)
{
    size_t length = strlen(failures->message);
    snprintf(failures->message + length, sizeof(failures->message) - length, "%s%s",
             length > 0 ? "; " : "", text);
}

static void check_encoder(struct api *api, struct error *failures)
{
    struct db_encoder encoder = {0};
    struct error cause = {0};
    if (db_encoder_get_default(api->db, &encoder, &cause) != 0)
        add_failure(failures, "encoder: there is no default encoder");
    db_encoder_clear(&encoder);
}

static void check_store(struct api *api, uint64_t *free_size, struct error *failures)
{
    struct error cause = {0};
    struct room_state room = {0};
    char text[256];
    int rc = room_look(api->data->room, &room, &cause);
    *free_size = room.free_size;
    if (rc == 0)
        rc = room_expect(api->data->room, ROOM_NEW, 0, &cause);
    if (rc == ERROR_FULL) {
        /* The database is then left alone: what writes to it should free something. */
        snprintf(text, sizeof(text), "disk: %.200s", cause.message);
        add_failure(failures, text);
    } else if (data_check(api->data, &cause) != 0) {
        snprintf(text, sizeof(text), "data: %.200s", cause.message);
        add_failure(failures, text);
    } else if (rc != 0 || db_check(api->db, &cause) != 0) {
        /* The cause may name paths: for the log alone. */
        add_failure(failures, "database: it cannot be written and read");
    }
}

static void check_keys(const struct api *api, struct error *failures)
{
    struct error cause = {0};
    if (api->hooks.check_keys != NULL && api->hooks.check_keys(api->hooks.context, &cause) != 0)
        add_failure(failures, "keys: the API keys cannot be used; the log says why");
}

static void run_probe(struct api *api)
{
    struct error failures = {0};
    uint64_t free_size = 0;
    check_store(api, &free_size, &failures);
    check_encoder(api, &failures);
    check_keys(api, &failures);
    pthread_mutex_lock(&api->probe.mutex);
    api->probe.running = false;
    api->probe.done = true;
    api->probe.failures = failures;
    api->probe.free_size = free_size;
    pthread_cond_broadcast(&api->probe.first);
    pthread_mutex_unlock(&api->probe.mutex);
}

/* Whether the caller is to look; the mutex is held. */
static bool must_probe(const struct api_probe *probe, int64_t now)
{
    return !probe->running && (!probe->done || now - probe->start_ms >= PROBE_MS);
}

/* What is known, at most PROBE_MS old, or PROBE_STUCK_MS while a look goes on. */
static void read_probe(struct api *api, uint64_t *free_size, struct error *failures)
{
    struct api_probe *probe = &api->probe;
    pthread_mutex_lock(&probe->mutex);
    const int64_t now = clock_now_ms();
    if (must_probe(probe, now)) {
        probe->running = true;
        probe->start_ms = now;
        pthread_mutex_unlock(&probe->mutex);
        run_probe(api);
        pthread_mutex_lock(&probe->mutex);
    }
    const int64_t stuck_ms = probe->start_ms + PROBE_STUCK_MS;
    while (!probe->done && clock_cond_wait(&probe->first, &probe->mutex, stuck_ms))
        continue;
    if (probe->running && (!probe->done || clock_now_ms() >= stuck_ms))
        add_failure(failures, "database: a check that it can be written and read goes on");
    else
        *failures = probe->failures;
    *free_size = probe->free_size;
    pthread_mutex_unlock(&probe->mutex);
}

int health_ready(struct api_call *call, struct error *err)
{
    struct api *api = call->api;
    struct error failures = {0};
    uint64_t free_size = 0;
    read_probe(api, &free_size, &failures);
    if (api->hooks.shutting_down != NULL && api->hooks.shutting_down(api->hooks.context))
        add_failure(&failures, "server: it is shutting down");
    api_response_header(call->response, "Cache-Control", "no-store");
    if (failures.message[0] != '\0')
        return call_refuse(call, PROBLEM_NOT_READY, err, "%s", failures.message);
    uint64_t n_verified = 0, n_damaged = 0;
    store_verified(api->store, &n_verified, &n_damaged);
    json_t *json = json_pack("{s:s, s:{s:s, s:s, s:I, s:I}}", "status", "ready", "checks",
                             "database", "ok", "encoder", "ok", "free_bytes", (json_int_t)free_size,
                             "damaged_files", (json_int_t)n_damaged);
    return response_json(call->response, 200, json, err);
}

int health_metrics(struct api_call *call, struct error *err)
{
    static const char type[] = "text/plain; version=0.0.4; charset=utf-8";
    const struct api_hooks *hooks = &call->api->hooks;
    api_response_header(call->response, "Cache-Control", "no-store");
    if (hooks->metrics == NULL)
        return answer_text(call, type, "", 0, err);
    char *text = hooks->metrics(hooks->context);
    if (text == NULL)
        return error_set_nomem(err, "metrics");
    response_bytes(call->response, 200, type, text, strlen(text));
    return 0;
}

int health_openapi(struct api_call *call, struct error *err)
{
    const struct api_hooks *hooks = &call->api->hooks;
    if (hooks->openapi == NULL)
        return error_set(err, ERROR_NOT_FOUND, "this server was built without its contract");
    if (call_not_modified(call, "%s", call->api->openapi_etag))
        return 0;
    return answer_text(call, "application/yaml", hooks->openapi, hooks->openapi_size, err);
}

int health_version(struct api_call *call, struct error *err)
{
    struct db_encoder encoder = {0};
    struct error cause = {0};
    json_t *encoder_json = json_null();
    if (db_encoder_get_default(call->api->db, &encoder, &cause) == 0)
        encoder_json = json_pack("{s:s, s:s, s:s}", "id", encoder.id, "name", encoder.name,
                                 "sha256", encoder.sha256);
    db_encoder_clear(&encoder);
    json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:s, s:s}", "name", "chipshot", "version",
                             CHIPSHOT_VERSION, "api", "v1", "encoder", encoder_json, "kernels",
                             encoder_kernels(), "blas", linear_core());
    return response_json(call->response, 200, json, err);
}
