/* Projects: the owners of images, support sets and jobs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "db/projects.h"

enum {
    NAME_MAX_LENGTH = 200,
    DESCRIPTION_MAX_LENGTH = 10000,
    LABELS_MAX = 64,
    LABEL_KEY_MAX_LENGTH = 100,
    LABEL_VALUE_MAX_LENGTH = 1000,
    UPDATE_TRIES = 8, /* of a change without If-Match that meets another change */
};

/* What a body says; NULL where it says nothing. Borrowed from the JSON. */
struct project_body {
    const char *name;
    const char *description;
    json_t *labels;
};

static json_t *project_json(const struct db_project *project)
{
    json_t *labels = json_loads(project->labels, 0, NULL);
    char links[4][DB_ID_SIZE + 40];
    static const char *const tails[] = {"", "/images", "/support-sets", "/jobs"};
    for (int i = 0; i < 4; i++)
        snprintf(links[i], sizeof(links[i]), "/v1/projects/%s%s", project->id, tails[i]);
    return json_pack("{s:s, s:s, s:s, s:o, s:I, s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "id",
                     project->id, "name", project->name, "description", project->description,
                     "labels", labels != NULL ? labels : json_object(), "revision",
                     (json_int_t)project->revision, "created_at", project->created_at, "updated_at",
                     project->updated_at, "links", "self", links[0], "images", links[1],
                     "support_sets", links[2], "jobs", links[3]);
}

static int answer(struct api_call *call, int status, const struct db_project *project,
                  struct error *err)
{
    api_response_header(call->response, "ETag", "\"%" PRIu64 "\"", project->revision);
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    return response_json(call->response, status, project_json(project), err);
}

/* ---- bodies ---- */

static void read_labels(json_t *value, const struct json_at *at, void *context)
{
    if (!json_is_object(value)) {
        json_fault(at, "must be an object of strings, is %s", json_type_name(value));
        return;
    }
    if (json_object_size(value) > LABELS_MAX) {
        json_fault(at, "may have %d labels, has %zu", LABELS_MAX, json_object_size(value));
        return;
    }
    const char *key;
    json_t *label;
    json_object_foreach(value, key, label)
    {
        struct json_at member = json_at_key(at, key);
        const char *text;
        json_t *key_text = json_string(key);
        if (key_text != NULL)
            json_read_string(key_text, &member, 1, LABEL_KEY_MAX_LENGTH, &text);
        json_decref(key_text);
        json_read_string(label, &member, 0, LABEL_VALUE_MAX_LENGTH, &text);
    }
    *(json_t **)context = value;
}

static int read_body(struct api_call *call, json_t *json, enum json_presence name_presence,
                     struct project_body *out, struct error *err)
{
    const struct json_field fields[] = {
        json_string_field("name", name_presence, 1, NAME_MAX_LENGTH, &out->name),
        json_text_field("description", JSON_OPTIONAL, 0, DESCRIPTION_MAX_LENGTH, &out->description),
        json_value_field("labels", JSON_OPTIONAL, read_labels, &out->labels),
    };
    struct json_at at = call_json_root(call);
    json_read_object(json, &at, fields, 3);
    return call_check_fields(call, err);
}

/* Replaces an owned string. */
static int set_text(char **field, char *text, struct error *err)
{
    if (text == NULL)
        return error_set_nomem(err, "a project");
    free(*field);
    *field = text;
    return 0;
}

static int apply(struct db_project *project, const struct project_body *body, struct error *err)
{
    int rc = 0;
    if (body->name != NULL)
        rc = set_text(&project->name, strdup(body->name), err);
    if (rc == 0 && body->description != NULL)
        rc = set_text(&project->description, strdup(body->description), err);
    if (rc == 0 && body->labels != NULL)
        rc = set_text(&project->labels, json_dumps(body->labels, JSON_COMPACT), err);
    return rc;
}

/* ---- operations ---- */

int projects_create(struct api_call *call, struct error *err)
{
    json_t *json = NULL;
    struct project_body body = {.description = ""};
    struct db_project project = {0};
    int rc = call_json(call, &json, err);
    if (rc == 0)
        rc = read_body(call, json, JSON_REQUIRED, &body, err);
    if (rc == 0 && body.labels == NULL)
        rc = set_text(&project.labels, strdup("{}"), err);
    if (rc == 0)
        rc = apply(&project, &body, err);
    call_sign(call, project.created_by);
    if (rc == 0)
        rc = db_project_insert(call->api->db, &project, err);
    if (rc == 0) {
        api_response_header(call->response, "Location", "/v1/projects/%s", project.id);
        rc = answer(call, 201, &project, err);
    }
    db_project_clear(&project);
    json_decref(json);
    return rc;
}

int projects_list(struct api_call *call, struct error *err)
{
    struct db_project_list list = {0};
    struct db_page page = call_page(call);
    int rc = db_project_list(call->api->db, &page, &list, err);
    if (rc != 0)
        return call_page_error(call, rc, err);
    json_t *items = json_array();
    for (size_t i = 0; i < list.n_items; i++)
        json_array_append_new(items, project_json(&list.items[i]));
    const char *last = list.n_items > 0 ? list.items[list.n_items - 1].id : NULL;
    rc = call_list(call, items, list.more, last, list.n_damaged, err);
    db_project_list_clear(&list);
    return rc;
}

int projects_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "prj_", "project", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_project project = {0};
    int rc = db_project_get(call->api->db, id, &project, err);
    if (rc != 0)
        return rc;
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    if (!call_not_modified(call, "%" PRIu64, project.revision))
        rc = response_json(call->response, 200, project_json(&project), err);
    db_project_clear(&project);
    return rc;
}

/* One try of read, check, change and store; ERROR_CONFLICT when another change came between. */
static int update_once(struct api_call *call, const char *id, const struct project_body *body,
                       struct db_project *project, struct error *err)
{
    int rc = db_project_get(call->api->db, id, project, err);
    if (rc != 0)
        return rc;
    char etag[32];
    snprintf(etag, sizeof(etag), "%" PRIu64, project->revision);
    rc = call_if_match(call, etag, err);
    if (rc == 0)
        rc = apply(project, body, err);
    if (rc == 0)
        rc = db_project_update(call->api->db, project, project->revision, &call->request->principal,
                               err);
    return rc;
}

int projects_update(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "prj_", "project", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    json_t *json = NULL;
    struct project_body body = {0};
    struct db_project project = {0};
    int rc = call_json(call, &json, err);
    if (rc == 0)
        rc = read_body(call, json, JSON_OPTIONAL, &body, err);
    if (rc == 0) {
        int tries = 0;
        do {
            db_project_clear(&project);
            project = (struct db_project){0};
            rc = update_once(call, id, &body, &project, err);
        } while (rc == ERROR_CONFLICT && !call->refused && ++tries < UPDATE_TRIES);
    }
    if (rc == 0)
        rc = answer(call, 200, &project, err);
    db_project_clear(&project);
    json_decref(json);
    return rc;
}

int projects_delete(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "prj_", "project", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    if (api_request_header(call->request, "If-Match") != NULL) {
        struct db_project project = {0};
        int rc = db_project_get(call->api->db, id, &project, err);
        if (rc != 0)
            return rc;
        char etag[32];
        snprintf(etag, sizeof(etag), "%" PRIu64, project.revision);
        db_project_clear(&project);
        rc = call_if_match(call, etag, err);
        if (rc != 0)
            return rc;
    }
    int rc = db_project_delete(call->api->db, call->api->store, id, &call->request->principal, err);
    return rc != 0 ? rc : call_no_content(call);
}
