/* What handlers share: faults, ids, lists, entity tags. */
#include "api/call.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <nettle/base64.h>

#include "api/message/negotiate.h"
#include "base/utf8.h"
#include "db/projects.h"

int call_refuse(struct api_call *call, enum problem kind, struct error *err, const char *format,
                ...)
{
    char message[ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    call->refused = true;
    call->problem = kind;
    return error_set(err, problem_code(kind), "%s", message);
}

int call_check_fields(struct api_call *call, struct error *err)
{
    if (!field_errors_any(&call->errors))
        return 0;
    if (call->errors.n_items == 0)
        return error_set_nomem(err, "the list of faulty fields");
    static const char *const places[] = {
        [FIELD_POINTER] = "", [FIELD_PARAMETER] = "parameter ", [FIELD_HEADER] = "header "};
    const struct field_error *first = &call->errors.items[0];
    size_t n_more = call->errors.n_items + call->errors.n_dropped - 1;
    const char *name = first->name[0] != '\0' ? first->name : "the body";
    if (n_more == 0)
        return error_set(err, ERROR_INVALID, "%s%s %s", places[first->where], name, first->detail);
    return error_set(err, ERROR_INVALID, "%s%s %s (and %zu more)", places[first->where], name,
                     first->detail, n_more);
}

const char *call_id(struct api_call *call, size_t index, const char *prefix, const char *what,
                    struct error *err)
{
    const char *id = call->params[index];
    if (db_id_is(id, prefix))
        return id;
    error_set(err, ERROR_NOT_FOUND, "no %s has the id '%.*s'", what, (int)utf8_prefix(id, 60), id);
    return NULL;
}

void call_sign(const struct api_call *call, char created_by[PRINCIPAL_ID_SIZE])
{
    memcpy(created_by, call->request->principal.id, PRINCIPAL_ID_SIZE);
}

int call_project(struct api_call *call, const char **id, struct error *err)
{
    *id = call_id(call, 0, "prj_", "project", err);
    if (*id == NULL)
        return ERROR_NOT_FOUND;
    struct db_project project = {0};
    int rc = db_project_get(call->api->db, *id, &project, err);
    if (rc == 0)
        db_project_clear(&project);
    return rc;
}

const struct call_query *call_query(const struct api_call *call, const char *name)
{
    const struct route_query *wanted = call->route->query;
    size_t i = 0;
    while (wanted[i].name != NULL && strcmp(wanted[i].name, name) != 0)
        i++;
    assert(wanted[i].name != NULL);
    return &call->query[i];
}

int call_json(struct api_call *call, json_t **out, struct error *err)
{
    int rc = json_parse(call->request->body, call->request->body_size, out, err);
    if (rc == ERROR_INVALID)
        return call_refuse(call, PROBLEM_MALFORMED, err, "%s", err->message);
    return rc;
}

struct json_at call_json_root(struct api_call *call)
{
    return (struct json_at){.errors = &call->errors};
}

/* ---- lists ---- */

struct db_page call_page(const struct api_call *call)
{
    return (struct db_page){.after_id = call->cursor[0] != '\0' ? call->cursor : NULL,
                            .limit = call_query(call, "limit")->number};
}

static void write_cursor(const char *id, char *out)
{
    struct base64_encode_ctx context;
    base64url_encode_init(&context);
    size_t size = base64_encode_update(&context, out, strlen(id), (const uint8_t *)id);
    size += base64_encode_final(&context, out + size);
    while (size > 0 && out[size - 1] == '=')
        size--;
    out[size] = '\0';
}

/* The request's path and query with another cursor. */
static int link_next(struct api_call *call, const char *cursor, struct error *err)
{
    char *filter = NULL;
    const char *name = "";
    const struct route_query *wanted = call->route->query;
    for (size_t i = 0; wanted[i].name != NULL; i++) {
        if (wanted[i].kind == ROUTE_QUERY_TEXT && call->query[i].text != NULL) {
            name = wanted[i].name;
            filter = target_encode(call->query[i].text);
            if (filter == NULL)
                return error_set_nomem(err, "a link");
        }
    }
    api_response_header(call->response, "Link", "<%s?limit=%u%s%s%s%s&cursor=%s>; rel=\"next\"",
                        call->target.path, call_query(call, "limit")->number,
                        filter != NULL ? "&" : "", name, filter != NULL ? "=" : "",
                        filter != NULL ? filter : "", cursor);
    free(filter);
    return 0;
}

int call_next(struct api_call *call, json_t *body, bool more, const char *last_id,
              struct error *err)
{
    char cursor[BASE64_ENCODE_RAW_LENGTH(DB_ID_SIZE) + 1] = "";
    if (more)
        write_cursor(last_id, cursor);
    if (json_object_set_new(body, "next", more ? json_string(cursor) : json_null()) != 0)
        return error_set_nomem(err, "a list");
    return more ? link_next(call, cursor, err) : 0;
}

int call_page_error(struct api_call *call, int code, const struct error *err)
{
    if (code == ERROR_INVALID && call->cursor[0] != '\0')
        field_errors_add(&call->errors, FIELD_PARAMETER, "cursor", "%s", err->message);
    return code;
}

int call_list(struct api_call *call, json_t *items, bool more, const char *last_id,
              size_t n_damaged, struct error *err)
{
    json_t *body = json_pack("{s:o}", "items", items);
    if (n_damaged > 0)
        json_object_set_new(body, "n_damaged", json_integer((json_int_t)n_damaged));
    int rc = call_next(call, body, more, last_id, err);
    if (rc != 0) {
        json_decref(body);
        return rc;
    }
    return response_json(call->response, 200, body, err);
}

/* ---- entity tags ---- */

bool call_not_modified(struct api_call *call, const char *format, ...)
{
    char tag[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tag, sizeof(tag), format, arguments);
    va_end(arguments);
    char etag[sizeof(tag) + 2];
    snprintf(etag, sizeof(etag), "\"%s\"", tag);
    api_response_header(call->response, "ETag", "%s", etag);
    const char *wanted = api_request_header(call->request, "If-None-Match");
    if (wanted == NULL || !negotiate_etag(wanted, etag, ETAG_WEAK))
        return false;
    call->response->status = 304;
    return true;
}

int call_if_match(struct api_call *call, const char *etag, struct error *err)
{
    const char *wanted = api_request_header(call->request, "If-Match");
    char quoted[256];
    snprintf(quoted, sizeof(quoted), "\"%s\"", etag);
    if (wanted == NULL || negotiate_etag(wanted, quoted, ETAG_STRONG))
        return 0;
    return call_refuse(call, PROBLEM_PRECONDITION_FAILED, err,
                       "If-Match wants %s, the present ETag is %s", wanted, quoted);
}

int call_no_content(struct api_call *call)
{
    call->response->status = 204;
    return 0;
}
