#include "api/message/problem.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/message/response.h"
#include "base/utf8.h"

enum { RETRY_AFTER_S = 5 };

static const struct problem_kind {
    int status;
    const char *name;
    const char *title;
    enum error_code code;
    const char *public_detail; /* shown instead of the error's message; NULL: that is shown */
} kinds[] = {
    [PROBLEM_MALFORMED] = {400, "malformed", "The request cannot be parsed", ERROR_INVALID, NULL},
    [PROBLEM_NOT_FOUND] = {404, "not-found", "There is no such resource", ERROR_NOT_FOUND, NULL},
    [PROBLEM_METHOD_NOT_ALLOWED] = {405, "method-not-allowed", "The resource has no such method",
                                    ERROR_INVALID, NULL},
    [PROBLEM_NOT_ACCEPTABLE] = {406, "not-acceptable", "No representation is acceptable",
                                ERROR_INVALID, NULL},
    [PROBLEM_CONFLICT] = {409, "conflict", "The resource's state forbids this", ERROR_CONFLICT,
                          NULL},
    [PROBLEM_PRECONDITION_FAILED] = {412, "precondition-failed", "The resource has changed",
                                     ERROR_CONFLICT, NULL},
    [PROBLEM_TOO_LARGE] = {413, "too-large", "The body is too large", ERROR_INVALID, NULL},
    [PROBLEM_UNSUPPORTED_MEDIA_TYPE] = {415, "unsupported-media-type",
                                        "The body's media type is not supported", ERROR_INVALID,
                                        NULL},
    [PROBLEM_INVALID] = {422, "invalid", "The request has wrong values", ERROR_INVALID, NULL},
    [PROBLEM_KEY_REUSED] = {422, "idempotency-key-reused",
                            "The Idempotency-Key belongs to another request", ERROR_CONFLICT, NULL},
    [PROBLEM_INTERNAL] = {500, "internal", "The server failed", ERROR_IO,
                          "The server could not do this; its log says why under this request_id."},
    [PROBLEM_BUSY] = {503, "busy", "The server is busy", ERROR_BUSY, NULL},
    [PROBLEM_NOT_READY] = {503, "not-ready", "The server is not ready", ERROR_BUSY, NULL},
    [PROBLEM_FULL] = {507, "full", "The server's disk is full", ERROR_FULL,
                      "There is no space left for this on the server's disk."},
    [PROBLEM_NO_ROOM] = {507, "full", "The server's disk is full", ERROR_FULL, NULL},
};

enum problem problem_of_code(int error_code)
{
    switch ((enum error_code)error_code) {
    case ERROR_INVALID:
        return PROBLEM_INVALID;
    case ERROR_NOT_FOUND:
        return PROBLEM_NOT_FOUND;
    case ERROR_CONFLICT:
        return PROBLEM_CONFLICT;
    case ERROR_BUSY:
    case ERROR_CANCELLED:
        return PROBLEM_BUSY;
    case ERROR_NOMEM:
        return PROBLEM_BUSY;
    case ERROR_FULL:
        return PROBLEM_FULL;
    case ERROR_IO:
    case ERROR_CORRUPT:
        return PROBLEM_INTERNAL;
    }
    return PROBLEM_INTERNAL;
}

enum error_code problem_code(enum problem kind)
{
    return kinds[kind].code;
}

static const char *status_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "Error";
}

static json_t *fields_json(const struct field_errors *fields)
{
    static const char *const names[] = {
        [FIELD_POINTER] = "pointer", [FIELD_PARAMETER] = "parameter", [FIELD_HEADER] = "header"};
    json_t *list = json_array();
    for (size_t i = 0; i < fields->n_items; i++) {
        const struct field_error *field = &fields->items[i];
        json_array_append_new(list, json_pack("{s:s, s:s}", names[field->where], field->name,
                                              "detail", field->detail));
    }
    return list;
}

/* The path of the raw target: names the occurrence without repeating the query. */
static json_t *instance_json(const struct api_request *request)
{
    if (request->target == NULL)
        return NULL;
    return json_stringn(request->target, strcspn(request->target, "?"));
}

static void respond(const struct api_request *request, int status, const char *type,
                    const char *title, const char *detail, const struct field_errors *fields,
                    struct api_response *response)
{
    char text[ERROR_MESSAGE_SIZE];
    snprintf(text, sizeof(text), "%s", detail);
    utf8_repair(text);
    json_t *json =
        json_pack("{s:s, s:s, s:i, s:s, s:o*, s:s*}", "type", type, "title", title, "status",
                  status, "detail", text, "instance", instance_json(request), "request_id",
                  request->request_id[0] != '\0' ? request->request_id : NULL);
    if (json != NULL && fields != NULL && field_errors_any(fields))
        json_object_set_new(json, "errors", fields_json(fields));
    response_reset(response);
    response->status = status;
    response->body = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
    if (response->body != NULL) {
        response->body_size = strlen(response->body);
        response->content_type = "application/problem+json";
    }
    api_response_header(response, "Cache-Control", "no-store");
    json_decref(json);
}

void problem_respond(const struct api_request *request, enum problem kind, const struct error *err,
                     const struct field_errors *fields, struct api_response *response)
{
    const struct problem_kind *is = &kinds[kind];
    char type[64];
    snprintf(type, sizeof(type), "urn:chipshot:problem:%s", is->name);
    char detail[ERROR_MESSAGE_SIZE];
    snprintf(detail, sizeof(detail), "%s",
             is->public_detail != NULL ? is->public_detail : err->message);
    if (fields != NULL && fields->n_dropped > 0)
        snprintf(detail, sizeof(detail), "%zu values are wrong; the first %zu are listed in errors",
                 fields->n_items + fields->n_dropped, fields->n_items);
    respond(request, is->status, type, is->title, detail, fields, response);
    if (is->status == 503)
        api_response_header(response, "Retry-After", "%d", RETRY_AFTER_S);
    response->error_code = err->code != 0 ? err->code : (int)is->code;
    snprintf(response->error_message, sizeof(response->error_message), "%s", err->message);
}

void api_problem(const struct api_request *request, int status, const char *title,
                 const char *detail, struct api_response *response)
{
    respond(request, status, "about:blank", title != NULL ? title : status_phrase(status), detail,
            NULL, response);
    snprintf(response->error_message, sizeof(response->error_message), "%s", detail);
}
