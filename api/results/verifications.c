/* Verifications: drawing chips of a job for a person to look at, and taking the answers. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/results/verification_draw.h"
#include "api/results/verification_json.h"
#include "db/results/verifications.h"
#include "engine/fewshot/verification.h"

_Static_assert((int)VERIFICATION_CHIPS_MAX == (int)DB_VERIFICATION_CHIPS_MAX,
               "what may be drawn may be stored");

enum { CHIPS_STANDARD = 50 };

/* ---- answers ---- */

static enum verification_labels wanted_labels(const struct api_call *call)
{
    return call_query(call, "labels")->number != 0 ? VERIFICATION_WITH_LABELS : VERIFICATION_BLIND;
}

/* The classes of the support set that the job used. */
static int get_classes(struct api_call *call, const char *job_id, struct db_support_set *out,
                       struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_get_row(call->api->db, job_id, &job, err);
    if (rc == 0)
        rc = db_support_set_get_classes(call->api->db, job.support_set_id, job.support_set_version,
                                        out, err);
    db_job_clear(&job);
    return rc;
}

static int answer_body(struct api_call *call, int status,
                       const struct db_verification *verification, const struct db_support_set *set,
                       struct error *err)
{
    json_t *json = NULL;
    int rc = verification_json(verification, set, wanted_labels(call), &json, err);
    return rc != 0 ? rc : response_json(call->response, status, json, err);
}

/* What was just written. */
static int answer_written(struct api_call *call, int status,
                          const struct db_verification *verification,
                          const struct db_support_set *set, struct error *err)
{
    api_response_header(call->response, "ETag", "\"%" PRIu64 "\"", verification->revision);
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    return answer_body(call, status, verification, set, err);
}

/* ---- drawing ---- */

struct draw_body {
    uint32_t n, seed;
    const char **image_ids; /* borrowed texts; owned array */
    size_t n_image_ids, n_allocated;
    bool out_of_memory;
};

static void read_image_id(json_t *value, const struct json_at *at, void *context)
{
    struct draw_body *body = context;
    const char *id = NULL;
    if (!json_read_string(value, at, 1, DB_ID_SIZE - 1, &id))
        return;
    if (body->n_image_ids == body->n_allocated) {
        const size_t n = body->n_allocated == 0 ? 64 : body->n_allocated * 2;
        void *ids = reallocarray(body->image_ids, n, sizeof(*body->image_ids));
        if (ids == NULL) {
            body->out_of_memory = true;
            return;
        }
        body->image_ids = ids;
        body->n_allocated = n;
    }
    body->image_ids[body->n_image_ids++] = id;
}

static int read_draw(struct api_call *call, json_t *json, struct draw_body *out, struct error *err)
{
    const double most = (double)call->api->limits.max_images_per_job;
    const struct json_field fields[] = {
        json_uint_field("n", JSON_OPTIONAL, 1, VERIFICATION_CHIPS_MAX, &out->n),
        json_uint_field("seed", JSON_OPTIONAL, 0, UINT32_MAX, &out->seed),
        json_array_field("image_ids", JSON_OPTIONAL, 1, (size_t)most, read_image_id, out),
    };
    struct json_at at = call_json_root(call);
    json_read_object(json, &at, fields, 3);
    if (out->out_of_memory)
        return error_set_nomem(err, "a list of images");
    return call_check_fields(call, err);
}

static int draw(struct api_call *call, const struct db_job *job, const struct db_support_set *set,
                const struct draw_body *body, struct db_verification *out, struct error *err)
{
    const struct verification_request request = {.db = call->api->db,
                                                 .job = job,
                                                 .set = set,
                                                 .image_ids = body->image_ids,
                                                 .n_image_ids = body->n_image_ids,
                                                 .n = body->n,
                                                 .seed = body->seed,
                                                 .cancel = call->request->cancel};
    const char *bad = NULL;
    int rc = verification_draw_chips(&request, &bad, out, err);
    if (rc == ERROR_NOT_FOUND)
        return call_refuse(call, PROBLEM_CONFLICT, err, "%s", err->message);
    if (rc == 0 && bad != NULL) {
        const struct json_at root = call_json_root(call), at = json_at_key(&root, "image_ids");
        json_fault(&at, "job %s has no result of image '%s'", job->id, bad);
        return call_check_fields(call, err);
    }
    return rc;
}

static int create(struct api_call *call, const struct db_job *job, const struct draw_body *body,
                  struct error *err)
{
    struct db *db = call->api->db;
    struct db_support_set set = {0};
    struct db_verification verification = {0};
    int rc = db_support_set_get(db, job->support_set_id, job->support_set_version, &set, err);
    if (rc == 0)
        rc = draw(call, job, &set, body, &verification, err);
    if (rc == 0) {
        call_sign(call, verification.created_by);
        rc = db_verification_insert(db, &verification, err);
    }
    if (rc == 0) {
        api_response_header(call->response, "Location", "/v1/verifications/%s", verification.id);
        rc = answer_written(call, 201, &verification, &set, err);
    }
    db_verification_clear(&verification);
    db_support_set_clear(&set);
    return rc;
}

int verifications_create(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_job job = {0};
    json_t *json = NULL;
    struct draw_body body = {.n = CHIPS_STANDARD};
    int rc = db_job_get_row(call->api->db, id, &job, err);
    if (rc == 0)
        rc = call_json(call, &json, err);
    if (rc == 0)
        rc = read_draw(call, json, &body, err);
    if (rc == 0 && !db_job_state_is_final(job.state))
        rc = call_refuse(call, PROBLEM_CONFLICT, err,
                         "job %s is %s: it can be verified when it has ended", id,
                         db_job_state_name(job.state));
    if (rc == 0)
        rc = create(call, &job, &body, err);
    free(body.image_ids);
    json_decref(json);
    db_job_clear(&job);
    return rc;
}

/* ---- reading ---- */

int verifications_list(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_verification_list list = {0};
    struct db_page page = call_page(call);
    int rc = db_verification_list(call->api->db, id, &page, &list, err);
    if (rc != 0)
        return call_page_error(call, rc, err);
    json_t *items = json_array();
    for (size_t i = 0; i < list.n_items; i++)
        json_array_append_new(items, verification_summary_json(&list.items[i]));
    const char *last = list.n_items > 0 ? list.items[list.n_items - 1].id : NULL;
    rc = call_list(call, items, list.more, last, list.n_damaged, err);
    db_verification_list_clear(&list);
    return rc;
}

static int read_whole(struct api_call *call, const char *id, struct db_verification *verification,
                      struct db_support_set *set, struct error *err)
{
    int rc = db_verification_get(call->api->db, id, verification, err);
    return rc != 0 ? rc : get_classes(call, verification->job_id, set, err);
}

int verifications_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "ver_", "verification", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_verification verification = {0};
    struct db_support_set set = {0};
    int rc = read_whole(call, id, &verification, &set, err);
    if (rc == 0)
        api_response_header(call->response, "Cache-Control", "private, no-cache");
    if (rc == 0 && !call_not_modified(call, "%" PRIu64, verification.revision))
        rc = answer_body(call, 200, &verification, &set, err);
    db_support_set_clear(&set);
    db_verification_clear(&verification);
    return rc;
}

/* ---- answering ---- */

/* Answers as they are read; the index of a class follows from its name. */
struct answers_body {
    const struct db_verification *verification;
    const struct db_support_set *set;
    struct db_verification_answer answers[DB_VERIFICATION_CHIPS_MAX];
    size_t n_answers;
};

static bool read_verdict(const char *text, int32_t *out)
{
    static const struct {
        const char *text;
        int32_t answer;
    } verdicts[] = {
        {"none", DB_ANSWER_NONE}, {"unsure", DB_ANSWER_UNSURE}, {"open", DB_ANSWER_OPEN}};
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        if (strcmp(text, verdicts[i].text) == 0) {
            *out = verdicts[i].answer;
            return true;
        }
    }
    return false;
}

static bool read_class(const struct db_support_set *set, const char *name, int32_t *out)
{
    for (size_t i = 0; i < set->n_classes; i++) {
        if (strcmp(set->classes[i].name, name) == 0) {
            *out = (int32_t)i;
            return true;
        }
    }
    return false;
}

static void read_answer(json_t *value, const struct json_at *at, void *context)
{
    struct answers_body *body = context;
    const char *class_name = NULL, *verdict = NULL;
    struct db_verification_answer answer = {.index = UINT32_MAX};
    const struct json_field fields[] = {
        json_uint_field("index", JSON_REQUIRED, 0, (uint32_t)body->verification->n_chips - 1,
                        &answer.index),
        json_string_field("class", JSON_NULLABLE, 1, DB_VERIFICATION_CHIPS_MAX, &class_name),
        json_string_field("verdict", JSON_NULLABLE, 1, DB_VERIFICATION_CHIPS_MAX, &verdict),
    };
    json_read_object(value, at, fields, 3);
    const struct json_at class_at = json_at_key(at, "class");
    const struct json_at verdict_at = json_at_key(at, "verdict");
    if ((class_name == NULL) == (verdict == NULL))
        json_fault(at, "must have either 'class', the name of one, or 'verdict'");
    else if (class_name != NULL && !read_class(body->set, class_name, &answer.answer))
        json_fault(&class_at, "is no class of the job's support set: '%s'", class_name);
    else if (verdict != NULL && !read_verdict(verdict, &answer.answer))
        json_fault(&verdict_at, "must be none, unsure or open, is '%s'", verdict);
    else if (body->n_answers < DB_VERIFICATION_CHIPS_MAX)
        body->answers[body->n_answers++] = answer;
}

static int read_answers(struct api_call *call, json_t *json, struct answers_body *body,
                        struct error *err)
{
    const struct json_field fields[] = {
        json_array_field("answers", JSON_REQUIRED, 1, DB_VERIFICATION_CHIPS_MAX, read_answer, body),
    };
    struct json_at at = call_json_root(call);
    json_read_object(json, &at, fields, 1);
    return call_check_fields(call, err);
}

static int check_revision(struct api_call *call, const struct db_verification *verification,
                          uint64_t *expected, struct error *err)
{
    char etag[32];
    snprintf(etag, sizeof(etag), "%" PRIu64, verification->revision);
    const bool guarded = api_request_header(call->request, "If-Match") != NULL;
    *expected = guarded ? verification->revision : 0;
    return call_if_match(call, etag, err);
}

/* Another change that came between is the same as an If-Match that names another revision. */
static int refuse_changed(struct api_call *call, int rc, struct error *err)
{
    return rc == ERROR_CONFLICT
               ? call_refuse(call, PROBLEM_PRECONDITION_FAILED, err, "%s", err->message)
               : rc;
}

static int store(struct api_call *call, const struct db_verification *verification,
                 const struct db_support_set *set, json_t *json, struct error *err)
{
    uint64_t expected = 0;
    struct answers_body body = {.verification = verification, .set = set};
    int rc = check_revision(call, verification, &expected, err);
    if (rc == 0)
        rc = read_answers(call, json, &body, err);
    if (rc == 0)
        rc = refuse_changed(call,
                            db_verification_answer(call->api->db, verification->id, body.answers,
                                                   body.n_answers, expected,
                                                   &call->request->principal, err),
                            err);
    return rc;
}

int verifications_answer(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "ver_", "verification", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_verification verification = {0};
    struct db_support_set set = {0};
    json_t *json = NULL;
    int rc = read_whole(call, id, &verification, &set, err);
    if (rc == 0)
        rc = call_json(call, &json, err);
    if (rc == 0)
        rc = store(call, &verification, &set, json, err);
    db_verification_clear(&verification);
    if (rc == 0)
        rc = db_verification_get(call->api->db, id, &verification, err);
    if (rc == 0)
        rc = answer_written(call, 200, &verification, &set, err);
    json_decref(json);
    db_support_set_clear(&set);
    db_verification_clear(&verification);
    return rc;
}

int verifications_delete(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "ver_", "verification", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_verification verification = {0};
    uint64_t expected = 0;
    int rc = db_verification_get(call->api->db, id, &verification, err);
    if (rc == 0)
        rc = check_revision(call, &verification, &expected, err);
    db_verification_clear(&verification);
    if (rc == 0)
        rc = refuse_changed(
            call,
            db_verification_delete(call->api->db, id, expected, &call->request->principal, err),
            err);
    return rc != 0 ? rc : call_no_content(call);
}
