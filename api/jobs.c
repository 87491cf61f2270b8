/* Jobs: durable queue entries. A request never computes: it inserts a row, tells the worker, and
 * may have its answer wait for the end. */
#include <stdlib.h>
#include <string.h>
#include <nettle/sha2.h>

#include "api/call.h"
#include "api/job/job_params.h"
#include "api/job_request.h"
#include "api/message/negotiate.h"
#include "base/hex.h"
#include "db/id.h"
#include "db/jobs.h"

enum { IDEMPOTENCY_KEY_MAX_LENGTH = 255, RETRY_AFTER_MAX_S = 30 };

/* ---- JSON ---- */

/* Seconds until the job probably ends, below 0: unknown or ended. */
static double job_eta(const struct api *api, const struct db_job *job)
{
    if (db_job_state_is_final(job->state) || api->hooks.job_eta == NULL)
        return -1;
    return api->hooks.job_eta(api->hooks.context, job->id);
}

static json_t *links_json(const struct db_job *job)
{
    char self[DB_ID_SIZE + 40], results[DB_ID_SIZE + 40], cancel[DB_ID_SIZE + 40];
    char project[DB_ID_SIZE + 40], set[DB_ID_SIZE + 60], encoder[DB_ID_SIZE + 40];
    char populations[DB_ID_SIZE + 40], verifications[DB_ID_SIZE + 40];
    char suggestions[DB_ID_SIZE + 40];
    snprintf(self, sizeof(self), "/v1/jobs/%s", job->id);
    snprintf(results, sizeof(results), "/v1/jobs/%s/results", job->id);
    snprintf(cancel, sizeof(cancel), "/v1/jobs/%s/cancel", job->id);
    snprintf(project, sizeof(project), "/v1/projects/%s", job->project_id);
    snprintf(set, sizeof(set), "/v1/support-sets/%s?version=%u", job->support_set_id,
             job->support_set_version);
    snprintf(encoder, sizeof(encoder), "/v1/encoders/%s", job->encoder_id);
    snprintf(populations, sizeof(populations), "/v1/jobs/%s/populations", job->id);
    snprintf(verifications, sizeof(verifications), "/v1/jobs/%s/verifications", job->id);
    snprintf(suggestions, sizeof(suggestions), "/v1/jobs/%s/suggestions", job->id);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "self", self, "results",
                     results, "populations", populations, "verifications", verifications,
                     "suggestions", suggestions, "cancel", cancel, "project", project,
                     "support_set", set, "encoder", encoder);
}

static json_t *time_json(const char *time)
{
    return time[0] == '\0' ? json_null() : json_string(time);
}

static json_t *error_json(const struct db_job *job)
{
    return json_pack("{s:s, s:s}", "code", job->error_code, "message",
                     job->error_message != NULL ? job->error_message : "");
}

/* Of a job whose last attempt failed and that is tried again. */
static json_t *retry_json(const struct db_job *job)
{
    char next_at[DB_TIME_SIZE] = "";
    if (db_job_state_is_final(job->state) || job->error_code == NULL)
        return json_null();
    if (job->waiting_for != DB_WAIT_NONE)
        db_time_text(job->not_before_ms, next_at);
    return json_pack("{s:I, s:s?, s:o, s:o}", "attempts", (json_int_t)job->n_failures,
                     "waiting_for", db_wait_name(job->waiting_for), "next_at", time_json(next_at),
                     "error", error_json(job));
}

/* A list's item: everything but the ids of up to ten thousand images. */
static json_t *summary_json(const struct api *api, const struct db_job *job)
{
    double eta = job_eta(api, job);
    json_t *error =
        job->state == DB_JOB_FAILED && job->error_code != NULL ? error_json(job) : json_null();
    json_t *position =
        job->state == DB_JOB_QUEUED ? json_integer((json_int_t)job->queue_position) : json_null();
    return json_pack("{s:s, s:s, s:s, s:b, s:{s:I, s:I, s:s}, s:o, s:o, s:i, s:s, s:I, s:s, s:I, "
                     "s:o, s:o, s:o, s:s,"
                     " s:o, s:o, s:o}",
                     "id", job->id, "project_id", job->project_id, "state",
                     db_job_state_name(job->state), "cancel_requested", job->cancel_requested,
                     "progress", "done", (json_int_t)job->n_chips_done, "total",
                     (json_int_t)job->n_chips_total, "unit", "chips", "queue_position", position,
                     "eta_seconds", eta >= 0 ? json_real(eta) : json_null(), "priority",
                     (int)job->priority, "support_set_id", job->support_set_id,
                     "support_set_version", (json_int_t)job->support_set_version, "encoder_id",
                     job->encoder_id, "n_images", (json_int_t)job->n_images, "params",
                     job_params_stored_json(job->params), "error", error, "retry", retry_json(job),
                     "created_at", job->created_at, "started_at", time_json(job->started_at),
                     "finished_at", time_json(job->finished_at), "links", links_json(job));
}

static int check_params(const struct db_job *job, struct error *err)
{
    json_t *params = job_params_stored_json(job->params);
    const bool is_object = json_is_object(params);
    json_decref(params);
    return is_object ? 0
                     : error_set(err, ERROR_CORRUPT,
                                 "job %s: its stored parameters are no JSON object", job->id);
}

static json_t *job_json(const struct api *api, const struct db_job *job)
{
    json_t *json = summary_json(api, job);
    json_t *images = json_array();
    for (size_t i = 0; i < job->n_images; i++)
        json_array_append_new(images, json_string(job->image_ids[i]));
    json_object_set_new(json, "image_ids", images);
    return json;
}

/* ---- waiting ---- */

/* True when the answer is to wait for the job as Prefer asks. */
static bool begin_wait(struct api_call *call, const char *id)
{
    const struct api *api = call->api;
    const char *prefer = api_request_header(call->request, "Prefer");
    uint32_t seconds;
    if (prefer == NULL || call->wait == NULL || !negotiate_wait(prefer, &seconds))
        return false;
    if (seconds > api->limits.max_wait_s)
        seconds = api->limits.max_wait_s;
    api_response_header(call->response, "Preference-Applied", "wait=%u", seconds);
    if (seconds == 0)
        return false;
    *call->wait = (struct api_wait){.timeout_ms = seconds * 1000};
    snprintf(call->wait->job_id, sizeof(call->wait->job_id), "%s", id);
    call->waits = true;
    return true;
}

static void tell(const struct api_call *call, const char *id)
{
    if (call->api->hooks.job_changed != NULL)
        call->api->hooks.job_changed(call->api->hooks.context, id);
}

/* ---- creation ---- */

static int read_key(struct api_call *call, const char **key, struct error *err)
{
    *key = api_request_header(call->request, "Idempotency-Key");
    if (*key == NULL)
        return 0;
    size_t length = strlen(*key);
    size_t n_visible = 0;
    while (n_visible < length && (*key)[n_visible] > 0x20 && (*key)[n_visible] < 0x7F)
        n_visible++;
    if (length >= 1 && length <= IDEMPOTENCY_KEY_MAX_LENGTH && n_visible == length)
        return 0;
    field_errors_add(&call->errors, FIELD_HEADER, "Idempotency-Key",
                     "must be 1 to %d visible ASCII characters, has %zu, %zu of them visible first",
                     IDEMPOTENCY_KEY_MAX_LENGTH, length, n_visible);
    return call_check_fields(call, err);
}

static void hash_body(const struct api_request *request, char out[DB_SHA256_SIZE])
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    sha256_update(&context, request->body_size, (const uint8_t *)request->body);
    sha256_digest(&context, sizeof(digest), digest);
    hex_encode(digest, sizeof(digest), out);
}

/* The key is looked at where the row is written, in one transaction: of two requests at the same
 * time one inserts and the other replays. */
static int insert(struct api_call *call, const char *key, struct db_job *job, bool *replayed,
                  struct error *err)
{
    char sha256[DB_SHA256_SIZE];
    char scope[DB_ID_SIZE + 16];
    uint64_t max_queued = call->api->limits.max_queued_jobs;
    call_sign(call, job->created_by);
    if (key == NULL)
        return db_job_insert(call->api->db, job, max_queued, NULL, replayed, err);
    hash_body(call->request, sha256);
    snprintf(scope, sizeof(scope), "createJob:%s", job->project_id);
    struct db_idempotency idempotency = {.key = key, .scope = scope, .body_sha256 = sha256};
    int rc = db_job_insert(call->api->db, job, max_queued, &idempotency, replayed, err);
    if (rc == ERROR_CONFLICT)
        return call_refuse(call, PROBLEM_KEY_REUSED, err, "%s", err->message);
    return rc;
}

/* 202 while the job goes on, 200 when it has ended. */
static int answer_created(struct api_call *call, const struct db_job *job, bool replayed,
                          struct error *err)
{
    struct api_response *response = call->response;
    bool ended = db_job_state_is_final(job->state) && !replayed;
    api_response_header(response, "Location", "/v1/jobs/%s", job->id);
    api_response_header(response, "Cache-Control", "no-store");
    if (replayed)
        api_response_header(response, "Idempotency-Replayed", "true");
    if (!ended) {
        double eta = job_eta(call->api, job);
        int seconds = eta < 1 ? 1 : eta > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (int)eta;
        api_response_header(response, "Retry-After", "%d", seconds);
    }
    return response_json(response, ended ? 200 : 202, job_json(call->api, job), err);
}

/* What insert set is not all that a reader sees (queue position): the job is read again. */
static int answer_inserted(struct api_call *call, const char *id, bool replayed, struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_get(call->api->db, id, &job, err);
    if (rc == 0)
        rc = answer_created(call, &job, replayed, err);
    db_job_clear(&job);
    return rc;
}

int jobs_create(struct api_call *call, struct error *err)
{
    const char *project_id;
    json_t *json = NULL;
    struct db_job job = {0};
    const char *key = NULL;
    bool replayed = false;
    int rc = call_project(call, &project_id, err);
    if (rc == 0)
        rc = read_key(call, &key, err);
    if (rc == 0)
        rc = call_json(call, &json, err);
    if (rc == 0)
        rc = job_request_read(call, json, project_id, &job, err);
    if (rc == 0)
        rc = insert(call, key, &job, &replayed, err);
    if (rc != 0)
        goto out;
    if (!replayed)
        tell(call, job.id);
    if (!replayed && begin_wait(call, job.id))
        call->wait->created = true;
    else
        rc = answer_inserted(call, job.id, replayed, err);
out:
    db_job_clear(&job);
    json_decref(json);
    return rc;
}

/* ---- reading and cancelling ---- */

int jobs_list(struct api_call *call, struct error *err)
{
    const char *project_id;
    enum db_job_state state;
    const char *wanted = call_query(call, "state")->text;
    if (wanted != NULL && !db_job_state_parse(wanted, &state)) {
        field_errors_add(&call->errors, FIELD_PARAMETER, "state",
                         "must be queued, running, succeeded, failed or cancelled, is '%s'",
                         wanted);
        return call_check_fields(call, err);
    }
    int rc = call_project(call, &project_id, err);
    if (rc != 0)
        return rc;
    struct db_job_list list = {0};
    struct db_page page = call_page(call);
    rc = db_job_list(call->api->db, project_id, wanted != NULL ? &state : NULL, &page, &list, err);
    if (rc != 0)
        return call_page_error(call, rc, err);
    json_t *items = json_array();
    size_t n_damaged = list.n_damaged;
    for (size_t i = 0; i < list.n_items; i++) {
        if (check_params(&list.items[i], NULL) == 0)
            json_array_append_new(items, summary_json(call->api, &list.items[i]));
        else
            n_damaged++;
    }
    const char *last = list.n_items > 0 ? list.items[list.n_items - 1].id : NULL;
    rc = call_list(call, items, list.more, last, n_damaged, err);
    db_job_list_clear(&list);
    return rc;
}

static int answer_read(struct api_call *call, const struct db_job *job, struct error *err)
{
    api_response_header(call->response, "Cache-Control", "no-store");
    int rc = check_params(job, err);
    return rc != 0 ? rc : response_json(call->response, 200, job_json(call->api, job), err);
}

int jobs_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_job job = {0};
    int rc = db_job_get(call->api->db, id, &job, err);
    if (rc == 0 && (db_job_state_is_final(job.state) || !begin_wait(call, id)))
        rc = answer_read(call, &job, err);
    db_job_clear(&job);
    return rc;
}

int jobs_cancel(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    enum db_job_state state;
    int rc = db_job_cancel(call->api->db, id, &call->request->principal, &state, err);
    if (rc != 0)
        return rc;
    tell(call, id);
    return jobs_get(call, err);
}

int jobs_resume(struct api_call *call, struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_get(call->api->db, call->wait->job_id, &job, err);
    if (rc != 0)
        return rc;
    if (!db_job_state_is_final(job.state) && call->wait->timeout_ms > 0)
        call->waits = true;
    else if (call->wait->created)
        rc = answer_created(call, &job, false, err);
    else
        rc = answer_read(call, &job, err);
    db_job_clear(&job);
    return rc;
}
