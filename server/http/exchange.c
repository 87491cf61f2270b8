/* The way of a request: exchange_begin checks the head, who asks and what for; exchange_receive and
 * exchange_keep take the body; exchange_finish lets api/ answer, after a wait exchange_resume. Each
 * of them may find the answer already, and whoever does settles it: settle is called once and what
 * it leaves is sent as it is. The log line follows when the answer is out, and the answer's stream,
 * file and texts go with the exchange.
 */
#include "server/http/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/message/problem.h"
#include "base/clock.h"
#include "server/http/auth.h"
#include "server/http/connections.h"
#include "server/http/content_coding.h"

struct exchange *exchange_create(const struct exchange_context *context, const char *target)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return NULL;
    exchange->context = context;
    exchange->start = clock_now_seconds();
    api_response_init(&exchange->response);
    exchange->target = strdup(target);
    if (exchange->target == NULL) {
        exchange_destroy(exchange);
        return NULL;
    }
    exchange->request.target = exchange->target;
    exchange->request.principal = (struct principal){.id = PRINCIPAL_ANONYMOUS};
    return exchange;
}

void exchange_destroy(struct exchange *exchange)
{
    if (exchange == NULL)
        return;
    store_writer_destroy(exchange->request.upload);
    api_response_clear(&exchange->response);
    for (size_t i = 0; i < exchange->n_rewritten; i++)
        free(exchange->rewritten[i]);
    free(exchange->headers);
    free(exchange->method);
    free(exchange->json);
    free(exchange->target);
    free(exchange);
}

/* Compresses a text when the client takes that. A failure to compress is no failure to answer. */
static void encode_body(struct exchange *x)
{
    struct api_response *response = &x->response;
    if (!content_coding_is_text(response->content_type))
        return;
    x->varies = true;
    char *packed = NULL;
    size_t packed_size = 0;
    if (!content_coding_accepts_gzip(api_request_header(&x->request, "Accept-Encoding")))
        return;
    if (response->stream.next != NULL) {
        if (content_coding_gzip_stream(&response->stream, NULL) == 0)
            x->content_encoding = "gzip";
        return;
    }
    if (response->body_size < CONTENT_CODING_MIN_SIZE ||
        content_coding_gzip(response->body, response->body_size, &packed, &packed_size, NULL) != 0)
        return;
    free(response->body);
    response->body = packed;
    response->body_size = packed_size;
    x->content_encoding = "gzip";
}

/* The gzip form has its own tag, and 304 repeats the one the client knows. */
static void mark_etag(struct exchange *x)
{
    if (x->content_encoding == NULL && !(x->response.status == 304 && x->gzip_tag))
        return;
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcasecmp(x->response.headers[i].name, "ETag") != 0)
            continue;
        char *marked = content_coding_add_suffix(x->response.headers[i].value);
        if (marked != NULL) {
            free(x->response.headers[i].value);
            x->response.headers[i].value = marked;
        }
    }
}

static const char *route_of(const struct exchange *x)
{
    const char *route = x->response.route;
    return route != NULL && *route != '\0' ? route : "unmatched";
}

/* `response` is what the client gets: adds what every answer has and counts it. */
static void settle(struct exchange *x)
{
    x->answered = true;
    encode_body(x);
    mark_etag(x);
    metrics_http_request(x->context->parts.metrics, request_method_name(x->request.method),
                         route_of(x), x->response.status, clock_now_seconds() - x->start);
}

static enum exchange_next refuse(struct exchange *x, int status, const char *detail)
{
    api_problem(&x->request, status, NULL, detail, &x->response);
    settle(x);
    return EXCHANGE_ANSWER_NOW;
}

static void choose_request_id(struct exchange *x)
{
    const char *given = api_request_header(&x->request, "X-Request-Id");
    if (given != NULL && request_id_is_valid(given)) {
        snprintf(x->request.request_id, sizeof(x->request.request_id), "%s", given);
        return;
    }
    char made[DB_ID_SIZE];
    db_id_create("req_", made);
    snprintf(x->request.request_id, sizeof(x->request.request_id), "%s", made);
}

/* Replaces a header's value by an owned text. Returns false when `text` is NULL. */
static bool rewrite(struct exchange *x, struct api_header *header, char *text)
{
    if (text == NULL)
        return false;
    if (x->n_rewritten == sizeof(x->rewritten) / sizeof(x->rewritten[0])) {
        free(text);
        return true;
    }
    x->rewritten[x->n_rewritten++] = text;
    header->value = text;
    return true;
}

/* An absolute-form target overrides Host (RFC 9112, section 3.2.2). Returns an HTTP status or 0. */
static int normalise_target(struct exchange *x)
{
    size_t size = 0;
    const char *path = request_target_path(x->target, &size);
    if (path == NULL)
        return 400;
    x->request.target = path;
    for (size_t i = 0; size > 0 && i < x->request.n_headers; i++) {
        if (strcasecmp(x->headers[i].name, "Host") == 0 &&
            !rewrite(x, &x->headers[i], strndup(x->target + 7, size)))
            return 500;
    }
    return 0;
}

/* Conditions on the gzip form are conditions on the thing itself. */
static bool normalise_conditions(struct exchange *x)
{
    for (size_t i = 0; i < x->request.n_headers; i++) {
        const char *name = x->headers[i].name;
        bool none_match = strcasecmp(name, "If-None-Match") == 0;
        if (!none_match && strcasecmp(name, "If-Match") != 0)
            continue;
        bool changed = false;
        if (!rewrite(x, &x->headers[i], content_coding_drop_suffix(x->headers[i].value, &changed)))
            return false;
        x->gzip_tag = x->gzip_tag || (none_match && changed);
    }
    return true;
}

/* Why a request without a known token is refused, and what to do about it. */
static const char *token_refusal(enum db_keys_state keys, const char *header)
{
    switch (keys) {
    case DB_KEYS_NEVER:
    case DB_KEYS_GONE:
        return "this server asks for an API key and has none: 'chipshot key create NAME' on its "
               "machine makes one";
    case DB_KEYS_UNREADABLE:
        return "this server cannot use its API keys and answers nobody: its log says why";
    case DB_KEYS_THERE:
        break;
    }
    return header == NULL ? "this server asks for an API key: Authorization: Bearer TOKEN"
                          : "the API key is not known";
}

static bool token_is_known(struct exchange *x, enum db_keys_state keys)
{
    const char *header = api_request_header(&x->request, "Authorization");
    const char *token = auth_bearer_token(header);
    if (token != NULL && db_keys_check(x->context->parts.keys, token, &x->request.principal))
        return true;
    api_problem(&x->request, 401, NULL, token_refusal(keys, header), &x->response);
    api_response_header(&x->response, "WWW-Authenticate", "Bearer realm=\"chipshot\"%s",
                        header == NULL ? "" : ", error=\"invalid_token\"");
    return false;
}

static enum db_keys_state keys_of(const struct exchange_context *context)
{
    return context->auth_policy == AUTH_POLICY_NO_AUTH ? DB_KEYS_NEVER
                                                       : db_keys_look(context->parts.keys, NULL);
}

enum share_reserve exchange_reserve(const struct exchange_context *context)
{
    enum auth_mode mode = auth_mode_of(context->auth_policy, context->loopback, keys_of(context));
    return mode == AUTH_KEYS ? SHARE_RESERVE_KEYS : SHARE_RESERVE_NONE;
}

/* Returns true when the request may go on; else `response` says why not. */
static bool is_allowed(struct exchange *x)
{
    const struct exchange_context *context = x->context;
    const enum db_keys_state keys = keys_of(context);
    enum auth_mode mode = auth_mode_of(context->auth_policy, context->loopback, keys);
    const struct auth_request fields = {
        .target = x->request.target,
        .host = api_request_header(&x->request, "Host"),
        .origin = api_request_header(&x->request, "Origin"),
        .sec_fetch_site = api_request_header(&x->request, "Sec-Fetch-Site"),
        .authorization = api_request_header(&x->request, "Authorization"),
    };
    switch (auth_check(mode, &fields, context->port)) {
    case AUTH_ALLOWED:
        return true;
    case AUTH_TOKEN_NEEDED:
        return token_is_known(x, keys);
    case AUTH_MISDIRECTED:
        api_problem(&x->request, 421, NULL,
                    "without API keys only requests whose Host names loopback (localhost, "
                    "127.0.0.1, [::1]) are answered",
                    &x->response);
        return false;
    case AUTH_CROSS_ORIGIN:
        api_problem(&x->request, 403, NULL, "without API keys no cross-origin request is answered",
                    &x->response);
        return false;
    }
    return false;
}

/* Whether the connection has a place, now that it is known who asks. Else `response` says what is
 * used up, whatever is there of it. */
static bool has_place(struct exchange *x)
{
    static const char *const reasons[] = {
        [SHARE_CLIENT_FULL] =
            "this client has as many connections as max-connections-per-client allows",
        [SHARE_OPEN_FULL] = "the connections that max-connections still allows are kept for "
                            "clients that show an API key",
        [SHARE_ALL_FULL] = "the server has as many connections as max-connections allows",
    };
    const char *id = x->request.principal.id;
    enum share_place place = connection_identify(x->context->connections, x->connection,
                                                 strcmp(id, PRINCIPAL_ANONYMOUS) == 0 ? NULL : id);
    if (place == SHARE_HELD)
        return true;
    api_response_clear(&x->response);
    api_problem(&x->request, 503, NULL, reasons[place], &x->response);
    api_response_header(&x->response, "Retry-After", "1");
    return false;
}

/* Gets ready for the body that api_begin wants. Returns false with `response` filled. */
static bool prepare_body(struct exchange *x)
{
    char detail[128];
    if (x->facts.has_body && x->plan.body == API_BODY_NONE) {
        api_problem(&x->request, 400, NULL, "this operation takes no body", &x->response);
        return false;
    }
    if (x->plan.body != API_BODY_NONE && x->facts.content_length > x->plan.limit) {
        snprintf(detail, sizeof(detail), "the body has %llu bytes, the limit is %llu",
                 (unsigned long long)x->facts.content_length, (unsigned long long)x->plan.limit);
        api_problem(&x->request, 413, NULL, detail, &x->response);
        return false;
    }
    return true;
}

/* Everything between who asks and the body. Returns false with `response` filled. */
static bool admit(struct exchange *x)
{
    if (strcmp(x->request.target, "*") == 0) { /* OPTIONS *: about the server as a whole */
        x->response.status = 204;
        api_response_header(&x->response, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        return false;
    }
    return api_begin(x->context->parts.api, &x->request, &x->plan, &x->response) && prepare_body(x);
}

enum exchange_next exchange_begin(struct exchange *x, const char *method, const char *version,
                                  struct api_header *headers, size_t n_headers, size_t headers_size)
{
    char detail[256];
    x->headers = headers;
    x->request.headers = headers;
    x->request.n_headers = n_headers;
    x->method = strdup(method); /* the library's goes with its connection */
    x->request.method = x->method == NULL ? "" : x->method;
    choose_request_id(x);
    if (x->method == NULL)
        return refuse(x, 500, "out of memory");

    if (x->malformed != NULL)
        return refuse(x, 400, x->malformed);
    int status = normalise_target(x);
    if (status != 0)
        return refuse(x, status, "the request target cannot be used");
    status = request_check(&x->request, version, headers_size, &x->facts, detail, sizeof(detail));
    if (status != 0)
        return refuse(x, status, detail);
    if (!normalise_conditions(x))
        return refuse(x, 500, "out of memory");
    bool allowed = is_allowed(x);
    if (!has_place(x)) {
        settle(x);
        return EXCHANGE_ANSWER_NOW;
    }
    if (allowed && admit(x))
        return EXCHANGE_READ;
    settle(x);
    return x->facts.has_body ? EXCHANGE_ANSWER_NOW : EXCHANGE_READ;
}

void exchange_refuse_head(struct exchange *x, int status)
{
    x->begun = true;
    choose_request_id(x);
    refuse(x, status,
           status == 413 ? "Content-Length is more than any body may have"
                         : "Content-Length, Transfer-Encoding or Host cannot be used");
}

enum exchange_next exchange_refuse_body(struct exchange *x, const char *detail)
{
    return refuse(x, 400, detail);
}

static int append_json(struct exchange *x, const void *data, size_t size, struct error *err)
{
    size_t used = x->request.body_size;
    if (size > x->json_capacity - used) {
        /* The length was checked against the limit; a chunked body grows by doubling. */
        size_t wanted = x->facts.content_length > used + size ? (size_t)x->facts.content_length
                                                              : 2 * (used + size);
        char *grown = realloc(x->json, wanted);
        if (grown == NULL)
            return error_set_nomem(err, "the request's body");
        x->json = grown;
        x->json_capacity = wanted;
    }
    memcpy(x->json + used, data, size);
    x->request.body = x->json;
    x->request.body_size = used + size;
    return 0;
}

enum exchange_next exchange_receive(struct exchange *x, size_t size)
{
    char detail[128];
    if (size > x->plan.limit - x->received) {
        snprintf(detail, sizeof(detail), "the body has more than the limit of %llu bytes",
                 (unsigned long long)x->plan.limit);
        return refuse(x, 413, detail);
    }
    x->received += size;
    return EXCHANGE_READ;
}

/* The file is made with the first piece. */
static int write_upload(struct exchange *x, const void *data, size_t size, struct error *err)
{
    int rc = 0;
    if (x->request.upload == NULL)
        rc = store_writer_create(&x->request.upload, x->context->parts.store, err);
    return rc == 0 ? store_writer_write(x->request.upload, data, size, err) : rc;
}

enum exchange_next exchange_keep(struct exchange *x, const void *data, size_t size)
{
    struct error err = {0};
    int rc = x->plan.body == API_BODY_UPLOAD ? write_upload(x, data, size, &err)
                                             : append_json(x, data, size, &err);
    if (rc == 0)
        return EXCHANGE_READ;
    problem_respond(&x->request, problem_of_code(rc), &err, NULL, &x->response);
    settle(x);
    return EXCHANGE_ANSWER_NOW;
}

enum exchange_next exchange_refuse_busy(struct exchange *x, const struct error *err)
{
    problem_respond(&x->request, PROBLEM_BUSY, err, NULL, &x->response);
    settle(x);
    return EXCHANGE_ANSWER_NOW;
}

static enum api_outcome conclude(struct exchange *x, enum api_outcome outcome)
{
    if (outcome == API_WAITS)
        return outcome;
    /* Whatever was not taken over by now is to go before the client hears of it. */
    store_writer_destroy(x->request.upload);
    x->request.upload = NULL;
    settle(x);
    return outcome;
}

enum api_outcome exchange_finish(struct exchange *x)
{
    struct api_wait *wait = x->context->parts.waits == NULL ? NULL : &x->wait;
    if (x->answered)
        return API_ANSWERED;
    return conclude(x, api_handle(x->context->parts.api, &x->request, wait, &x->response));
}

enum api_outcome exchange_resume(struct exchange *x, uint32_t left_ms)
{
    x->wait.timeout_ms = left_ms;
    return conclude(x, api_resume(x->context->parts.api, &x->request, &x->wait, &x->response));
}

int exchange_next_bytes(struct exchange *x, char *buffer, size_t size, size_t *n)
{
    struct error err = {0};
    const struct api_stream *stream = &x->response.stream;
    int rc = stream->next(stream->context, buffer, size, n, &err);
    if (rc == 0 && *n == 0 && stream->size != API_SIZE_UNKNOWN && x->made != stream->size)
        rc = error_set(&err, ERROR_IO, "an answer of %llu bytes ended after %llu",
                       (unsigned long long)stream->size, (unsigned long long)x->made);
    if (rc == 0) {
        x->made += *n;
        return 0;
    }
    x->response.error_code = rc;
    snprintf(x->response.error_message, sizeof(x->response.error_message), "%s", err.message);
    return rc;
}

size_t exchange_headers(const struct exchange *x, struct api_header out[EXCHANGE_HEADERS_MAX])
{
    size_t n = 0;
    bool has_cache_control = false;
    for (size_t i = 0; i < x->response.n_headers; i++) {
        out[n++] = (struct api_header){x->response.headers[i].name, x->response.headers[i].value};
        if (strcasecmp(x->response.headers[i].name, "Cache-Control") == 0)
            has_cache_control = true;
    }
    if (x->response.content_type != NULL)
        out[n++] = (struct api_header){"Content-Type", x->response.content_type};
    if (x->content_encoding != NULL)
        out[n++] = (struct api_header){"Content-Encoding", x->content_encoding};
    if (x->varies)
        out[n++] = (struct api_header){"Vary", "Accept-Encoding"};
    if (x->response.status >= 400 && !has_cache_control)
        out[n++] = (struct api_header){"Cache-Control", "no-store"};
    out[n++] = (struct api_header){"X-Content-Type-Options", "nosniff"};
    out[n++] = (struct api_header){"X-Request-Id", x->request.request_id};
    return n;
}

char *exchange_raw_answer(const struct exchange *x, const char *reason, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    if (out == NULL)
        return NULL;
    struct api_header headers[EXCHANGE_HEADERS_MAX];
    size_t n = exchange_headers(x, headers);
    fprintf(out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
            x->response.status, reason, x->response.body_size);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s: %s\r\n", headers[i].name, headers[i].value);
    fputs("\r\n", out);
    if (x->response.body_size > 0)
        fwrite(x->response.body, 1, x->response.body_size, out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* What clients get wrong, or break off, is no fault of ours; 501 and 505 are what they asked for
 * and nobody has. A stream can fail when its status is out already, and its request was found good:
 * that is as bad as the code says and never their doing, but what was deleted meanwhile would have
 * been a 404. */
static enum log_level level_of(const struct api_response *response)
{
    const int status = response->status, code = response->error_code;
    const bool broke = response->stream.next != NULL && code != 0;
    if (!broke && (status < 500 || status == 501 || status == 505))
        return LOG_LEVEL_INFO;
    if (code == 0)
        return status == 503 ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR;
    if (code == ERROR_INVALID)
        return LOG_LEVEL_ERROR;
    const enum log_level level = log_level_of_code(code);
    return level == LOG_LEVEL_INFO ? LOG_LEVEL_WARN : level;
}

void exchange_log(const struct exchange *x, bool sent, bool timed_out)
{
    const struct log *log = x->context->parts.log;
    const struct api_response *response = &x->response;
    const char *parent = api_request_header(&x->request, "traceparent");
    const char *outcome = timed_out ? "timeout" : sent ? NULL : "aborted";
    uint64_t out_size = response->stream.next != NULL ? x->streamed : response->body_size;
    if (!x->answered)
        metrics_http_request(x->context->parts.metrics, request_method_name(x->request.method),
                             route_of(x), 0, clock_now_seconds() - x->start);
    const struct log_field fields[] = {
        log_string("method", request_method_name(x->request.method)),
        log_string("route", route_of(x)),
        log_integer("status", x->answered ? response->status : 0),
        log_string("outcome", outcome),
        log_number("duration_ms", (clock_now_seconds() - x->start) * 1000),
        log_integer("bytes_in", (int64_t)x->received),
        log_integer("bytes_out", x->answered ? (int64_t)out_size : 0),
        log_string("request_id", *x->request.request_id ? x->request.request_id : NULL),
        log_string("key",
                   db_id_is(x->request.principal.id, "key_") ? x->request.principal.id : NULL),
        log_string("traceparent",
                   parent != NULL && request_traceparent_is_valid(parent) ? parent : NULL),
        log_string("error", response->error_code ? error_code_name(response->error_code) : NULL),
        log_string("message", *response->error_message ? response->error_message : NULL),
    };
    log_write(log, level_of(response), "request", fields, sizeof(fields) / sizeof(fields[0]));
}
