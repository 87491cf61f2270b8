/* Support sets: versions of named classes with example chips. */
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/support/support_set_read.h"
#include "db/support_sets.h"

/* ---- JSON ---- */

static json_t *example_json(const struct db_example *example)
{
    return json_pack("{s:s, s:i, s:i}", "image_id", example->image_id, "x", (int)example->x, "y",
                     (int)example->y);
}

static json_t *class_json(const struct db_class *class)
{
    char color[8];
    snprintf(color, sizeof(color), "#%02x%02x%02x", class->color[0], class->color[1],
             class->color[2]);
    return json_pack("{s:s, s:s, s:b, s:i}", "name", class->name, "color", color, "counted",
                     !class->is_uncounted, "n_examples", (int)class->n_examples);
}

/* A list's item: classes without their examples, of which there may be ten thousand. */
static json_t *summary_json(const struct db_support_set *set)
{
    char self[DB_ID_SIZE + 40], project[DB_ID_SIZE + 40], version[DB_ID_SIZE + 60];
    char health[DB_ID_SIZE + 60];
    snprintf(self, sizeof(self), "/v1/support-sets/%s", set->id);
    snprintf(version, sizeof(version), "/v1/support-sets/%s?version=%u", set->id, set->version);
    snprintf(health, sizeof(health), "/v1/support-sets/%s/health?version=%u", set->id,
             set->version);
    snprintf(project, sizeof(project), "/v1/projects/%s", set->project_id);
    json_t *classes = json_array();
    for (size_t i = 0; i < set->n_classes; i++)
        json_array_append_new(classes, class_json(&set->classes[i]));
    return json_pack("{s:s, s:s, s:s, s:I, s:{s:i, s:i}, s:o, s:s, s:{s:s, s:s, s:s, s:s}}", "id",
                     set->id, "project_id", set->project_id, "name", set->name, "version",
                     (json_int_t)set->version, "chip", "width", (int)set->chip_width, "height",
                     (int)set->chip_height, "classes", classes, "created_at", set->created_at,
                     "links", "self", self, "version", version, "health", health, "project",
                     project);
}

static json_t *set_json(const struct db_support_set *set)
{
    json_t *json = summary_json(set);
    json_t *classes = json_object_get(json, "classes");
    for (size_t i = 0; i < set->n_classes; i++) {
        json_t *examples = json_array();
        for (size_t k = 0; k < set->classes[i].n_examples; k++)
            json_array_append_new(examples, example_json(&set->classes[i].examples[k]));
        json_object_set_new(json_array_get(classes, i), "examples", examples);
    }
    return json;
}

static int answer(struct api_call *call, int status, const struct db_support_set *set,
                  struct error *err)
{
    api_response_header(call->response, "ETag", "\"%u\"", set->version);
    api_response_header(call->response, "Location", "/v1/support-sets/%s", set->id);
    return response_json(call->response, status, set_json(set), err);
}

/* ---- operations ---- */

int support_sets_create(struct api_call *call, struct error *err)
{
    const char *project_id;
    json_t *json = NULL;
    struct db_support_set set = {0};
    int rc = call_project(call, &project_id, err);
    if (rc == 0)
        rc = call_json(call, &json, err);
    if (rc == 0)
        rc = support_set_read(call, json, project_id, NULL, &set, err);
    if (rc == 0) {
        snprintf(set.project_id, sizeof(set.project_id), "%s", project_id);
        call_sign(call, set.created_by);
        rc = db_support_set_insert(call->api->db, &set, err);
    }
    if (rc == 0)
        rc = answer(call, 201, &set, err);
    db_support_set_clear(&set);
    json_decref(json);
    return rc;
}

int support_sets_replace(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "sup_", "support set", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    json_t *json = NULL;
    struct db_support_set old = {0};
    struct db_support_set set = {0};
    int rc = db_support_set_get(call->api->db, id, 0, &old, err);
    if (rc != 0)
        return rc;
    char etag[16];
    snprintf(etag, sizeof(etag), "%u", old.version);
    bool guarded = api_request_header(call->request, "If-Match") != NULL;
    rc = call_if_match(call, etag, err);
    if (rc == 0)
        rc = call_json(call, &json, err);
    if (rc == 0)
        rc = support_set_read(call, json, old.project_id, &old, &set, err);
    if (rc == 0) {
        snprintf(set.id, sizeof(set.id), "%s", id);
        snprintf(set.project_id, sizeof(set.project_id), "%s", old.project_id);
        call_sign(call, set.created_by);
        rc = db_support_set_add_version(call->api->db, &set, guarded ? old.version : 0, err);
        if (rc == ERROR_CONFLICT && guarded)
            rc = call_refuse(call, PROBLEM_PRECONDITION_FAILED, err, "%s", err->message);
    }
    if (rc == 0)
        rc = answer(call, 200, &set, err);
    db_support_set_clear(&set);
    db_support_set_clear(&old);
    json_decref(json);
    return rc;
}

int support_sets_list(struct api_call *call, struct error *err)
{
    const char *project_id;
    int rc = call_project(call, &project_id, err);
    if (rc != 0)
        return rc;
    struct db_support_set_list list = {0};
    struct db_page page = call_page(call);
    rc = db_support_set_list(call->api->db, project_id, &page, &list, err);
    if (rc != 0)
        return call_page_error(call, rc, err);
    json_t *items = json_array();
    for (size_t i = 0; i < list.n_items; i++)
        json_array_append_new(items, summary_json(&list.items[i]));
    const char *last = list.n_items > 0 ? list.items[list.n_items - 1].id : NULL;
    rc = call_list(call, items, list.more, last, list.n_damaged, err);
    db_support_set_list_clear(&list);
    return rc;
}

int support_sets_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "sup_", "support set", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_support_set set = {0};
    const struct call_query *version = call_query(call, "version");
    int rc = db_support_set_get(call->api->db, id, version->number, &set, err);
    if (rc != 0)
        return rc;
    if (version->present)
        response_immutable(call->response);
    else
        api_response_header(call->response, "Cache-Control", "private, no-cache");
    if (!call_not_modified(call, "%u", set.version))
        rc = response_json(call->response, 200, set_json(&set), err);
    db_support_set_clear(&set);
    return rc;
}
