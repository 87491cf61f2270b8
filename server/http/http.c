/* The library's callbacks in their order: on_connection (accepted), on_target (request line),
 * on_request (head, then the body's pieces, then its end, again until there is an answer), on_read
 * (pieces of a streamed answer), on_completed (sent or failed), on_connection (closed). All of them
 * run in the library's one thread, which polls the sockets; what may block is an errand (errand.h).
 *
 * A connection that waits for its answer is suspended, but not at the first call after the body:
 * the library, when it resumes one, goes on with what it waited for, which then is still the
 * request's bytes; of a client that sends no more it would take the end for that of the connection
 * and drop the answer. After a call that left nothing to do it waits for no bytes any more, and
 * asks again in each round.
 */
#include "server/http/http.h"

#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/give_way.h"
#include "server/http/connections.h"
#include "server/http/errand.h"
#include "server/http/exchange.h"
#include "server/http/handlers.h"
#include "server/http/head_check.h"
#include "server/http/listen.h"
#include "server/http/open_files.h"
#include "server/http/wire_tap.h"

enum {
    /* Of a connection: head and read buffer. Above the largest head that request_check.h allows. */
    CONNECTION_MEMORY = 128 * 1024,
    /* Of a stream, at once: what goes to clients of HTTP/1.0; others get chunks of half the above.
     */
    STREAM_PIECE = 64 * 1024,
};

struct http_server {
    struct MHD_Daemon *daemon;
    struct connections *connections;
    struct handlers *handlers;
    struct exchange_context context;
    struct errand_context errands;
    struct open_heads open_heads;
    struct listener listener; /* fd -1 once the daemon owns or has closed it */
    bool stopped_accepting;
};

/* ---- what a connection has ---- */

static struct connection *tracked(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static int socket_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info == NULL ? -1 : info->connect_fd;
}

static void on_connection(void *closure, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = closure;
    int fd = socket_of(connection);
    switch (code) {
    case MHD_CONNECTION_NOTIFY_STARTED:
        *socket_context =
            fd < 0 ? NULL
                   : connections_add(server->connections, fd, exchange_reserve(&server->context));
        if (wire_tap_open(fd) == NULL)
            shutdown(fd, SHUT_RDWR);
        break;
    case MHD_CONNECTION_NOTIFY_CLOSED:
        wire_tap_close(fd);
        connections_remove(server->connections, *socket_context);
        *socket_context = NULL;
        break;
    }
    metrics_set(server->context.parts.metrics, METRIC_HTTP_CONNECTIONS,
                connections_count(server->connections));
}

/* The request line was read: the raw target, before the library decodes it. What this returns is
 * the request's context from here to on_completed. */
static void *on_target(void *closure, const char *target, struct MHD_Connection *connection)
{
    struct http_server *server = closure;
    struct connection *track = tracked(connection);
    give_way_ask();
    connection_enter(server->connections, track, CONNECTION_HEADERS);
    struct exchange *exchange = exchange_create(&server->context, target == NULL ? "" : target);
    if (exchange == NULL)
        return NULL;
    struct errand *errand =
        errand_create(&server->errands, exchange, connection, connection_fd(track));
    if (errand == NULL)
        return NULL;
    exchange->errand = errand;
    open_heads_add(&server->open_heads, &exchange->open, connection, exchange);
    return exchange;
}

/* ---- waiting for handlers ---- */

static void suspend_connection(void *connection)
{
    MHD_suspend_connection(connection);
}

static void resume_connection(void *connection)
{
    MHD_resume_connection(connection);
}

/* ---- the head ---- */

struct collector {
    struct head_field *fields;
    size_t n;
};

static enum MHD_Result collect(void *closure, enum MHD_ValueKind kind, const char *name,
                               size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    struct collector *collector = closure;
    collector->fields[collector->n++] =
        (struct head_field){.name = {name, name_size}, .value = {value, value_size}};
    return MHD_YES;
}

static size_t head_size(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info == NULL ? 0 : info->header_size;
}

/* ---- answers ---- */

/* The stream itself stays the exchange's, which closes it (errand_end). */
static ssize_t on_read(void *closure, uint64_t position, char *buffer, size_t size)
{
    (void)position; /* the library asks for one piece after the other */
    struct exchange *exchange = closure;
    size_t n = 0;
    switch (errand_read(exchange->errand, buffer, size, &n)) {
    case ERRAND_GOES_ON:
    case ERRAND_NOT_YET: /* n is 0 */
        return (ssize_t)n;
    case ERRAND_ANSWERED:
        return MHD_CONTENT_READER_END_OF_STREAM;
    case ERRAND_DROPPED:
        break;
    }
    connection_cut(exchange->connection);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *stream_body(struct exchange *exchange)
{
    const uint64_t size = exchange->response.stream.size;
    struct MHD_Response *out = MHD_create_response_from_callback(
        size == API_SIZE_UNKNOWN ? MHD_SIZE_UNKNOWN : size, STREAM_PIECE, on_read, exchange, NULL);
    /* 0.9.75 sends the last chunk even where there is no body: without chunks, then. The connection
     * is closed after it. */
    if (out != NULL && size == API_SIZE_UNKNOWN && strcmp(exchange->request.method, "HEAD") == 0)
        MHD_set_response_options(out, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    return out;
}

static struct MHD_Response *response_body(struct exchange *exchange)
{
    struct api_response *response = &exchange->response;
    struct MHD_Response *out;
    if (response->stream.next != NULL)
        return stream_body(exchange);
    if (response->body == NULL || response->body_size == 0)
        return MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    out =
        MHD_create_response_from_buffer(response->body_size, response->body, MHD_RESPMEM_MUST_FREE);
    if (out != NULL)
        response->body = NULL;
    return out;
}

static enum MHD_Result answer(struct http_server *server, struct MHD_Connection *connection,
                              struct exchange *exchange)
{
    if (!connection_enter(server->connections, tracked(connection), CONNECTION_SENDING))
        return MHD_NO;
    struct MHD_Response *out = response_body(exchange);
    if (out == NULL)
        return MHD_NO;
    struct api_header headers[EXCHANGE_HEADERS_MAX];
    size_t n = exchange_headers(exchange, headers);
    for (size_t i = 0; i < n; i++)
        MHD_add_response_header(out, headers[i].name, headers[i].value);
    if (exchange->unread_body || connections_is_draining(server->connections))
        MHD_add_response_header(out, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result =
        MHD_queue_response(connection, (unsigned int)exchange->response.status, out);
    MHD_destroy_response(out);
    return result;
}

/* Sends the answer past the library, which takes none at this time. Nothing has been sent on this
 * connection since the request (but "100 Continue", whole). The connection is then closed, after a
 * linger (on_completed). */
static void answer_past_library(struct http_server *server, struct MHD_Connection *connection,
                                struct exchange *exchange)
{
    struct connection *track = tracked(connection);
    size_t size = 0;
    exchange->unread_body = true;
    if (!connection_enter(server->connections, track, CONNECTION_SENDING) || track == NULL)
        return;
    char *bytes = exchange_raw_answer(
        exchange, MHD_get_reason_phrase_for((unsigned int)exchange->response.status), &size);
    if (bytes != NULL) {
        /* A problem document is smaller than an empty send buffer. */
        ssize_t sent = send(connection_fd(track), bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        exchange->answer_written = sent == (ssize_t)size;
    }
    free(bytes);
}

static bool is_complete_head(void *connection)
{
    return head_size(connection) > 0;
}

/* The library refuses a head by itself, for its Content-Length, say, and is about to send a page of
 * HTML, which 0.9.75 begins with two heads. Ours goes first, and the connection takes no more after
 * it, so that the library's is lost. Heads that are not complete yet it refuses as well: those
 * cannot be told apart, and their page has one head. */
static void answer_refused_head(struct http_server *server, unsigned int status)
{
    struct open_head *head = open_heads_take(&server->open_heads, is_complete_head);
    if (head == NULL)
        return;
    struct exchange *exchange = head->owner;
    exchange_refuse_head(exchange, (int)status);
    answer_past_library(server, head->connection, exchange);
    struct connection *track = tracked(head->connection);
    if (track != NULL)
        shutdown(connection_fd(track), SHUT_WR);
}

/* ---- the library's callbacks for a request ---- */

/* The exchange gets the head, and whether it is what was sent. False when there is no memory. */
static bool take_head(struct MHD_Connection *connection, struct exchange *exchange,
                      struct head *head, struct api_header **headers)
{
    int n = MHD_get_connection_values(connection, MHD_HEADER_KIND, NULL, NULL);
    struct collector collector = {.fields = calloc((size_t)n + 1, sizeof(struct head_field))};
    if (collector.fields == NULL)
        return false;
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, collect, &collector);
    head->fields = collector.fields;
    head->n_fields = collector.n;
    head->size = head_size(connection);
    struct wire *wire = wire_tap_of(socket_of(connection));
    exchange->malformed =
        wire == NULL ? "what was received is not known" : wire_take_head(wire, head);
    *headers = head_copy_fields(head);
    free(collector.fields);
    head->fields = NULL;
    return *headers != NULL;
}

static enum MHD_Result on_head(struct http_server *server, struct MHD_Connection *connection,
                               struct exchange *exchange, const char *method, const char *version)
{
    open_heads_remove(&exchange->open);
    struct head head = {
        .method = {method, strlen(method)},
        .target = {exchange->target, strlen(exchange->target)},
        .version = {version, strlen(version)},
    };
    struct api_header *headers = NULL;
    if (!take_head(connection, exchange, &head, &headers))
        return MHD_NO;
    exchange->begun = true;
    exchange->connection = tracked(connection);
    if (!connection_enter(server->connections, tracked(connection), CONNECTION_BODY)) {
        free(headers);
        return MHD_NO;
    }
    enum exchange_next next =
        exchange_begin(exchange, method, version, headers, head.n_fields, head.size);
    if (next == EXCHANGE_READ && !exchange->answered)
        next = errand_admit(exchange->errand);
    if (next == EXCHANGE_READ) {
        wire_expect_body(wire_tap_of(socket_of(connection)),
                         exchange->facts.chunked ? WIRE_BODY_CHUNKED : WIRE_BODY_COUNTED,
                         exchange->facts.content_length);
        return MHD_YES;
    }
    exchange->unread_body = true;
    return answer(server, connection, exchange);
}

static enum MHD_Result on_piece(struct http_server *server, struct MHD_Connection *connection,
                                struct exchange *exchange, const char *data, size_t *size)
{
    const size_t received = *size;
    const struct wire *wire = wire_tap_of(socket_of(connection));
    switch (wire->fault == NULL ? errand_receive(exchange->errand, data, received)
                                : errand_refuse(exchange->errand, wire->fault)) {
    case ERRAND_GOES_ON:
        *size = 0;
        connection_received(server->connections, tracked(connection), received);
        return MHD_YES;
    case ERRAND_NOT_YET:
        return MHD_YES;
    case ERRAND_ANSWERED:
        *size = 0;
        answer_past_library(server, connection, exchange);
        break;
    case ERRAND_DROPPED:
        break;
    }
    return MHD_NO;
}

static enum MHD_Result on_end(struct http_server *server, struct MHD_Connection *connection,
                              struct exchange *exchange)
{
    const char *fault = wire_end_body(wire_tap_of(socket_of(connection)));
    switch (errand_finish(exchange->errand, fault)) {
    case ERRAND_GOES_ON:
        return connection_enter(server->connections, tracked(connection), CONNECTION_HANDLING)
                   ? MHD_YES
                   : MHD_NO;
    case ERRAND_NOT_YET:
        return MHD_YES;
    case ERRAND_ANSWERED:
        exchange->unread_body = exchange->unread_body || fault != NULL;
        return answer(server, connection, exchange);
    case ERRAND_DROPPED:
        break;
    }
    return MHD_NO;
}

static enum MHD_Result on_request(void *closure, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **request_context)
{
    (void)url; /* decoded; the raw target is used */
    struct http_server *server = closure;
    struct exchange *exchange = *request_context;
    if (exchange == NULL)
        return MHD_NO; /* no memory in on_target */
    if (!exchange->begun)
        return on_head(server, connection, exchange, method, version);
    if (*upload_data_size > 0)
        return on_piece(server, connection, exchange, upload_data, upload_data_size);
    return on_end(server, connection, exchange);
}

/* The answer is sent, or the request has failed; the library has not closed the socket yet. */
static void on_completed(void *closure, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *server = closure;
    struct exchange *exchange = *request_context;
    struct connection *track = tracked(connection);
    *request_context = NULL;
    if (exchange == NULL)
        return;
    open_heads_remove(&exchange->open);
    bool sent = code == MHD_REQUEST_TERMINATED_COMPLETED_OK || exchange->answer_written;
    bool linger = exchange->unread_body && sent;
    errand_end(exchange->errand, sent, connection_is_expired(server->connections, track));
    if (linger)
        connection_linger(server->connections, track);
    else
        connection_enter(server->connections, track, CONNECTION_IDLE);
}

/* What both versions say before they answer by themselves, and with which status. */
static const char refusal_format[] = "Error processing request (HTTP response code is %u ";

__attribute__((format(printf, 2, 0))) static void
on_library_message(void *closure, const char *format, va_list arguments)
{
    struct http_server *server = closure;
    const struct log *log = server->context.parts.log;
    if (log_enabled(log, LOG_LEVEL_DEBUG)) {
        char text[512];
        va_list copy;
        va_copy(copy, arguments);
        vsnprintf(text, sizeof(text), format, copy);
        va_end(copy);
        text[strcspn(text, "\n")] = '\0';
        log_write(log, LOG_LEVEL_DEBUG, "http_library",
                  (struct log_field[]){log_string("message", text)}, 1);
    }
    if (strncmp(format, refusal_format, strlen(refusal_format)) == 0)
        answer_refused_head(server, va_arg(arguments, unsigned int));
}

/* ---- life ---- */

/* What only some versions of the library know. */
static struct MHD_OptionItem version_options[] = {
#if MHD_VERSION >= 0x01000000
    /* Strict: no bare LF, no folded headers, and 400 for a blank in the target instead of a
     * redirect to what was perhaps meant. 0.9.75 cannot be told; request_check.c does what it can
     * there. */
    {MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1, NULL},
#endif
    {MHD_OPTION_END, 0, NULL},
};

static int start_daemon(struct http_server *server, const struct http_config *config,
                        struct error *err)
{
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_library_message, server,
        MHD_OPTION_LISTEN_SOCKET, server->listener.fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned int)config->max_connections + CONNECTIONS_BEYOND_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK,
        on_target, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_ARRAY, version_options, MHD_OPTION_END);
    if (server->daemon == NULL)
        return error_set(err, ERROR_IO, "the HTTP library cannot start on %s",
                         server->listener.url);
    return 0;
}

int http_server_create(struct http_server **out, const struct http_config *config,
                       const struct http_parts *parts, struct error *err)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return error_set_nomem(err, "the HTTP server");
    server->listener.fd = -1;
    int rc = listen_open(&server->listener, config->listen, err);
    if (rc != 0)
        goto out;
    const enum auth_policy policy = config->no_auth       ? AUTH_POLICY_NO_AUTH
                                    : config->require_key ? AUTH_POLICY_REQUIRE
                                                          : AUTH_POLICY_ONCE_USED;
    if (!server->listener.loopback && policy == AUTH_POLICY_ONCE_USED &&
        db_keys_look(parts->keys, NULL) != DB_KEYS_THERE) {
        rc = error_set(err, ERROR_INVALID,
                       "listen: %s can be reached from other machines and there is no API key; "
                       "make one with 'chipshot key create NAME', or say --require-key to start "
                       "without, or --no-auth to do without",
                       config->listen);
        goto out;
    }
    server->context = (struct exchange_context){
        .parts = *parts,
        .auth_policy = policy,
        .loopback = server->listener.loopback,
        .port = server->listener.port,
    };
    const struct connection_timeouts timeouts = {
        .header_ms = (uint64_t)config->header_timeout_s * 1000,
        .body_ms = (uint64_t)config->body_timeout_s * 1000,
        .idle_ms = (uint64_t)config->idle_timeout_s * 1000,
    };
    const struct connection_limits limits = {
        .max = config->max_connections,
        .max_per_client = config->max_connections_per_client,
    };
    rc = open_files_allow(limits.max, err);
    if (rc != 0)
        goto out;
    rc = connections_create(&server->connections, &timeouts, &limits, err);
    if (rc != 0)
        goto out;
    server->context.connections = server->connections;
    rc = handlers_create(&server->handlers, handlers_limits_default, err);
    if (rc != 0)
        goto out;
    server->errands = (struct errand_context){.handlers = server->handlers,
                                              .waits = parts->waits,
                                              .suspend = suspend_connection,
                                              .resume = resume_connection};
    signal(SIGPIPE, SIG_IGN); /* not every way to write has a flag against it */
    rc = start_daemon(server, config, err);
    if (rc != 0)
        goto out;
    *out = server;
    server = NULL;
out:
    http_server_destroy(server);
    return rc;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->listener.port;
}

const char *http_server_url(const struct http_server *server)
{
    return server->listener.url;
}

void http_server_stop_accepting(struct http_server *server)
{
    if (server->stopped_accepting)
        return;
    server->stopped_accepting = true;
    MHD_quiesce_daemon(server->daemon);
    /* Refuses new clients now; closing waits until the library's thread is gone. */
    shutdown(server->listener.fd, SHUT_RDWR);
    connections_drain(server->connections);
}

bool http_server_wait_idle(struct http_server *server, uint32_t timeout_ms)
{
    return connections_wait_idle(server->connections, timeout_ms);
}

void http_server_destroy(struct http_server *server)
{
    if (server == NULL)
        return;
    /* The library closes the socket it listens on, unless it was told to let go of it. */
    bool ours = server->daemon == NULL || server->stopped_accepting;
    if (server->daemon != NULL)
        connections_cut_answers(server->connections);
    /* When no handler runs, no connection is suspended, and none will be: the library insists. */
    if (server->handlers != NULL)
        handlers_stop(server->handlers);
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    if (ours && server->listener.fd >= 0)
        close(server->listener.fd);
    handlers_destroy(server->handlers);
    connections_destroy(server->connections);
    free(server);
}
