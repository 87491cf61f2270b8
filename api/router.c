/* From a request to its handler: target, pattern, method, query, Accept, Content-Type and size are
 * checked here once for all operations, before a body is read, by the words of the route table. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/call.h"
#include "api/message/negotiate.h"
#include "base/utf8.h"
#include <nettle/base64.h>

/* ---- patterns ---- */

struct slice {
    const char *at;
    size_t size;
};

/* One segment: literals and {names}; a name takes what stands before the literal behind it, the
 * last literal standing at the end. Names match at least one byte. */
static bool match_segment(const char *pattern, size_t size, const char *value, struct slice *params,
                          size_t *n_params)
{
    const char *end = pattern + size;
    while (pattern < end) {
        if (*pattern != '{') {
            if (*pattern++ != *value++)
                return false;
            continue;
        }
        pattern = (const char *)memchr(pattern, '}', (size_t)(end - pattern)) + 1;
        const char *next = memchr(pattern, '{', (size_t)(end - pattern));
        size_t literal = (size_t)((next != NULL ? next : end) - pattern);
        const char *found = value + strlen(value);
        if (next != NULL)
            found = memmem(value, strlen(value), pattern, literal);
        else if (strlen(value) >= literal)
            found -= literal;
        if (found == NULL || found == value || strncmp(found, pattern, literal) != 0)
            return false;
        params[*n_params] = (struct slice){value, (size_t)(found - value)};
        ++*n_params;
        value = found + literal;
        pattern += literal;
    }
    return *value == '\0';
}

static bool match_pattern(const char *pattern, const struct target *target, struct slice *params,
                          size_t *n_params)
{
    *n_params = 0;
    size_t i = 0;
    for (; *pattern == '/'; i++) {
        size_t size = strcspn(pattern + 1, "/");
        if (i == target->n_segments || i == TARGET_SEGMENTS_MAX ||
            !match_segment(pattern + 1, size, target->segments[i], params, n_params))
            return false;
        pattern += 1 + size;
    }
    return i == target->n_segments;
}

/* ---- steps ---- */

static int set_params(struct api_call *call, const struct slice *params, size_t n_params,
                      struct error *err)
{
    for (size_t i = 0; i < n_params; i++) {
        call->params[i] = strndup(params[i].at, params[i].size);
        if (call->params[i] == NULL)
            return error_set_nomem(err, "a path parameter");
    }
    return 0;
}

/* "GET, HEAD, OPTIONS" for the routes with this pattern. */
static void allow_header(const char *pattern, struct api_response *response)
{
    char allow[64] = "";
    size_t length = 0;
    for (size_t i = 0; i < n_routes; i++) {
        if (strcmp(routes[i].pattern, pattern) != 0)
            continue;
        const char *more = strcmp(routes[i].method, "GET") == 0 ? ", HEAD, " : ", ";
        length += (size_t)snprintf(allow + length, sizeof(allow) - length, "%s%s", routes[i].method,
                                   more);
    }
    api_response_header(response, "Allow", "%sOPTIONS", allow);
}

/* Finds the pattern, then the method among the routes with that pattern. */
static int find_route(struct api_call *call, const char **pattern, struct error *err)
{
    const char *method = call->request->method;
    bool head = strcmp(method, "HEAD") == 0;
    struct slice params[CALL_PARAMS_MAX];
    size_t n_params;
    *pattern = NULL;
    for (size_t i = 0; i < n_routes; i++) {
        if (*pattern == NULL && match_pattern(routes[i].pattern, &call->target, params, &n_params))
            *pattern = routes[i].pattern;
        if (*pattern == NULL || strcmp(*pattern, routes[i].pattern) != 0)
            continue;
        if (strcmp(method, routes[i].method) == 0 ||
            (head && strcmp(routes[i].method, "GET") == 0)) {
            call->route = &routes[i];
            call->response->operation_id = routes[i].operation_id;
            call->response->route = routes[i].pattern;
            return set_params(call, params, n_params, err);
        }
    }
    if (*pattern == NULL)
        return error_set(err, ERROR_NOT_FOUND, "no resource has the path %s", call->target.path);
    call->response->route = *pattern;
    return call_refuse(call, PROBLEM_METHOD_NOT_ALLOWED, err, "%s has no method %s", *pattern,
                       method);
}

static void query_fault(struct api_call *call, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void query_fault(struct api_call *call, const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    field_errors_addv(&call->errors, FIELD_PARAMETER, name, format, arguments);
    va_end(arguments);
}

static void read_uint(struct api_call *call, const struct route_query *wanted, const char *text,
                      struct call_query *out)
{
    size_t length = strlen(text);
    bool digits = length > 0 && length < 20 && strspn(text, "0123456789") == length;
    unsigned long long value = digits ? strtoull(text, NULL, 10) : 0;
    if (!digits || value < wanted->min || value > wanted->max) {
        query_fault(call, wanted->name, "must be an integer from %u to %u, is '%.*s'", wanted->min,
                    wanted->max, (int)utf8_prefix(text, 40), text);
        return;
    }
    out->number = (uint32_t)value;
}

static void read_text(struct api_call *call, const struct route_query *wanted, const char *text,
                      struct call_query *out)
{
    ptrdiff_t length = utf8_length(text, strlen(text));
    if (length < (ptrdiff_t)wanted->min || length > (ptrdiff_t)wanted->max)
        query_fault(call, wanted->name, "must have %u to %u characters, has %td", wanted->min,
                    wanted->max, length);
    else if (utf8_has_control(text, strlen(text)))
        query_fault(call, wanted->name, "must not hold control characters");
    else
        out->text = text;
}

static void read_choice(struct api_call *call, const struct route_query *wanted, const char *text,
                        struct call_query *out)
{
    char words[100] = "";
    size_t length = 0;
    for (uint32_t i = 0; wanted->choices[i] != NULL; i++) {
        if (strcmp(text, wanted->choices[i]) == 0) {
            out->number = i;
            return;
        }
        length += (size_t)snprintf(words + length, sizeof(words) - length, "%s%s",
                                   i == 0 ? "" : " or ", wanted->choices[i]);
    }
    query_fault(call, wanted->name, "must be %s, is '%.*s'", words, (int)utf8_prefix(text, 40),
                text);
}

static void read_cursor(struct api_call *call, const struct route_query *wanted, const char *text)
{
    char id[DB_ID_SIZE] = "";
    size_t length = strlen(text);
    size_t size = 0;
    struct base64_decode_ctx context;
    base64url_decode_init(&context);
    bool fits = length > 0 && BASE64_DECODE_LENGTH(length) < sizeof(id);
    if (fits && base64_decode_update(&context, &size, (uint8_t *)id, length, text) == 1 &&
        base64_decode_final(&context) == 1) {
        id[size] = '\0';
        if (strlen(id) == size && db_id_is(id, wanted->prefix)) {
            memcpy(call->cursor, id, size + 1);
            return;
        }
    }
    query_fault(call, wanted->name, "is no cursor of this list (take it from `next`), is '%.*s'",
                (int)utf8_prefix(text, 60), text);
}

static void read_parameter(struct api_call *call, const struct target_parameter *parameter)
{
    const struct route_query *wanted = call->route->query;
    for (size_t i = 0; wanted != NULL && wanted[i].name != NULL; i++) {
        if (strcmp(wanted[i].name, parameter->name) != 0)
            continue;
        struct call_query *value = &call->query[i];
        if (value->present) {
            query_fault(call, parameter->name, "is given more than once");
            return;
        }
        value->present = true;
        switch (wanted[i].kind) {
        case ROUTE_QUERY_UINT:
            read_uint(call, &wanted[i], parameter->value, value);
            break;
        case ROUTE_QUERY_TEXT:
            read_text(call, &wanted[i], parameter->value, value);
            break;
        case ROUTE_QUERY_CHOICE:
            read_choice(call, &wanted[i], parameter->value, value);
            break;
        case ROUTE_QUERY_CURSOR:
            read_cursor(call, &wanted[i], parameter->value);
            break;
        }
        return;
    }
    query_fault(call, parameter->name, "is not a known query parameter of %s",
                call->route->operation_id);
}

static int read_query(struct api_call *call, struct error *err)
{
    const struct route_query *wanted = call->route->query;
    for (size_t i = 0; wanted != NULL && wanted[i].name != NULL; i++)
        call->query[i].number = wanted[i].standard;
    for (size_t i = 0; i < call->target.n_parameters; i++)
        read_parameter(call, &call->target.parameters[i]);
    for (size_t i = 0; wanted != NULL && wanted[i].name != NULL; i++) {
        if (wanted[i].required && !call->query[i].present)
            query_fault(call, wanted[i].name, "is required");
    }
    return call_check_fields(call, err);
}

static void join(const char *const *names, char *out, size_t size)
{
    size_t length = 0;
    for (size_t i = 0; names[i] != NULL && length < size; i++)
        length +=
            (size_t)snprintf(out + length, size - length, "%s%s", i == 0 ? "" : ", ", names[i]);
}

static int check_accept(struct api_call *call, struct error *err)
{
    const char *const *produces = call->route->produces;
    if (produces == NULL)
        return 0;
    const char *accept = api_request_header(call->request, "Accept");
    call->media = negotiate_accept(accept, produces);
    if (call->media >= 0)
        return 0;
    char names[128] = "";
    join(produces, names, sizeof(names));
    return call_refuse(call, PROBLEM_NOT_ACCEPTABLE, err, "this resource is %s; Accept wants '%s'",
                       names, accept);
}

/* Bytes announced by Content-Length, or -1: none announced. */
static int content_length(struct api_call *call, int64_t *out, struct error *err)
{
    const char *text = api_request_header(call->request, "Content-Length");
    *out = -1;
    if (text == NULL)
        return 0;
    size_t length = strlen(text);
    if (length == 0 || length > 18 || strspn(text, "0123456789") != length)
        return call_refuse(call, PROBLEM_MALFORMED, err, "Content-Length is no number: '%s'", text);
    *out = (int64_t)strtoll(text, NULL, 10);
    return 0;
}

/* What prepare has checked; 0 when nothing is announced. */
static uint64_t announced_size(const struct api_call *call)
{
    const char *text = api_request_header(call->request, "Content-Length");
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

static uint64_t route_limit(const struct api_call *call)
{
    switch (call->route->limit) {
    case ROUTE_LIMIT_NONE:
        return 0;
    case ROUTE_LIMIT_JSON:
        return call->api->limits.max_json_size;
    case ROUTE_LIMIT_IMAGE:
        return call->api->limits.max_upload_size;
    case ROUTE_LIMIT_ENCODER:
        return call->api->limits.max_encoder_size;
    }
    return 0;
}

static int check_body(struct api_call *call, struct error *err)
{
    int64_t size;
    int rc = content_length(call, &size, err);
    if (rc != 0)
        return rc;
    /* Bodies are taken as they come: a compressed one would be called bad JSON or no image. */
    const char *coding = api_request_header(call->request, "Content-Encoding");
    if (coding != NULL && strcasecmp(coding, "identity") != 0)
        return call_refuse(call, PROBLEM_UNSUPPORTED_MEDIA_TYPE, err,
                           "Content-Encoding must be absent or identity, is %.40s", coding);
    bool chunked = api_request_header(call->request, "Transfer-Encoding") != NULL;
    const char *type = api_request_header(call->request, "Content-Type");
    const char *const *consumes = call->route->consumes;
    if (consumes != NULL && (size > 0 || chunked || type != NULL) &&
        !negotiate_content_type(type != NULL ? type : "", consumes)) {
        char names[128] = "";
        join(consumes, names, sizeof(names));
        return call_refuse(call, PROBLEM_UNSUPPORTED_MEDIA_TYPE, err,
                           "Content-Type must be %s, is %s", names, type != NULL ? type : "absent");
    }
    uint64_t limit = route_limit(call);
    if (size > 0 && limit == 0)
        return call_refuse(call, PROBLEM_TOO_LARGE, err, "%s takes no body; Content-Length is %lld",
                           call->route->operation_id, (long long)size);
    if (size > 0 && (uint64_t)size > limit)
        return call_refuse(call, PROBLEM_TOO_LARGE, err,
                           "the body may have %llu bytes; Content-Length is %lld",
                           (unsigned long long)limit, (long long)size);
    return 0;
}

/* Whether it changes nothing. */
static bool is_safe(const struct api_call *call)
{
    const char *method = call->request->method;
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* Whether there is room for what a request brings: what has a body is kept, and what has none
 * (DELETE, cancel) frees room or takes next to none. `room_check` asks anew or not. */
static int require_room(struct api_call *call,
                        int (*room_check)(struct room *, enum room_use, uint64_t, struct error *),
                        uint64_t size, struct error *err)
{
    struct error cause = {0};
    if (call->route->limit == ROUTE_LIMIT_NONE)
        return 0;
    int rc = room_check(call->api->data->room, ROOM_NEW, size, &cause);
    return rc == ERROR_FULL ? call_refuse(call, PROBLEM_NO_ROOM, err, "%s", cause.message) : 0;
}

/* There is nothing that could keep a change. */
static int refuse_lost(struct api_call *call, struct error *err)
{
    return call_refuse(call, PROBLEM_NOT_READY, err,
                       "the data directory was removed or replaced while the server ran; "
                       "/readyz says what is missing");
}

/* Everything that can be decided before the body. *done: the answer is ready (OPTIONS). */
static int prepare(struct api_call *call, bool *done, struct error *err)
{
    const char *pattern = NULL;
    bool options = strcmp(call->request->method, "OPTIONS") == 0;
    *done = false;
    if (options && strcmp(call->request->target, "*") == 0) {
        api_response_header(call->response, "Allow",
                            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        *done = true;
        return call_no_content(call);
    }
    int rc = target_parse(&call->target, call->request->target, err);
    if (rc == ERROR_INVALID)
        return call_refuse(call, PROBLEM_MALFORMED, err, "%s", err->message);
    if (rc == 0)
        rc = find_route(call, &pattern, err);
    if (rc != 0 && options && pattern != NULL) {
        allow_header(pattern, call->response);
        *done = true;
        call->refused = false;
        return call_no_content(call);
    }
    if (rc == 0)
        rc = read_query(call, err);
    if (rc == 0)
        rc = check_accept(call, err);
    if (rc == 0)
        rc = check_body(call, err);
    return rc;
}

/* Makes the answer of an error. */
static void refuse(struct api_call *call, int code, struct error *err)
{
    err->code = code;
    enum problem kind = call->refused ? call->problem : problem_of_code(code);
    const char *pattern = call->response->route;
    problem_respond(call->request, kind, err, &call->errors, call->response);
    if (kind == PROBLEM_METHOD_NOT_ALLOWED)
        allow_header(pattern, call->response);
}

static void clear(struct api_call *call)
{
    for (size_t i = 0; i < CALL_PARAMS_MAX; i++)
        free(call->params[i]);
    field_errors_clear(&call->errors);
    target_clear(&call->target);
}

bool api_begin(struct api *api, const struct api_request *request, struct api_plan *plan,
               struct api_response *response)
{
    struct api_call call = {.api = api, .request = request, .response = response};
    struct error err = {0};
    bool done;
    int rc = prepare(&call, &done, &err);
    /* Looking anew may wait for the disk, and is left to api_handle. */
    if (rc == 0 && !done && !is_safe(&call) && data_is_lost(api->data))
        rc = refuse_lost(&call, &err);
    if (rc == 0 && !done)
        rc = require_room(&call, room_expect, announced_size(&call), &err);
    if (rc != 0)
        refuse(&call, rc, &err);
    bool go_on = rc == 0 && !done;
    if (go_on)
        *plan = (struct api_plan){
            .body = call.route->body, .limit = route_limit(&call), .cost = call.route->cost};
    clear(&call);
    return go_on;
}

/* What a handler left: an answer, an error or a wait. */
static enum api_outcome conclude(struct api_call *call, int code, struct error *err)
{
    if (code == 0 && call->waits)
        return API_WAITS;
    if (code != 0)
        refuse(call, code, err);
    else if (call->route != NULL && call->route->produces != NULL &&
             call->route->produces[1] != NULL)
        api_response_header(call->response, "Vary", "Accept");
    return API_ANSWERED;
}

enum api_outcome api_handle(struct api *api, const struct api_request *request,
                            struct api_wait *wait, struct api_response *response)
{
    struct api_call call = {.api = api, .request = request, .response = response, .wait = wait};
    struct error err = {0};
    bool done;
    int rc = prepare(&call, &done, &err);
    if (rc == 0 && !done && request->body_size > route_limit(&call))
        rc = call_refuse(&call, PROBLEM_TOO_LARGE, &err, "the body may have %llu bytes, has %zu",
                         (unsigned long long)route_limit(&call), request->body_size);
    if (rc == 0 && !done && !is_safe(&call) && data_check(api->data, NULL) != 0)
        rc = refuse_lost(&call, &err);
    /* An upload is on the disk by now. */
    if (rc == 0 && !done)
        rc = require_room(&call, room_require, request->body_size, &err);
    if (rc == 0 && !done)
        rc = call.route->handler(&call, &err);
    enum api_outcome outcome = conclude(&call, rc, &err);
    clear(&call);
    return outcome;
}

enum api_outcome api_resume(struct api *api, const struct api_request *request,
                            struct api_wait *wait, struct api_response *response)
{
    struct api_call call = {.api = api, .request = request, .response = response, .wait = wait};
    struct error err = {0};
    bool done;
    int rc = prepare(&call, &done, &err);
    if (rc == 0)
        rc = jobs_resume(&call, &err);
    enum api_outcome outcome = conclude(&call, rc, &err);
    clear(&call);
    return outcome;
}
