/* HTTP in front of api/: turns requests into api_request and api_response back into bytes.
 *
 * One thread serves all connections and never waits; what may wait is done by handlers.h, and a
 * request that waits for a job (Prefer: wait) holds no thread. http.c is the only file that
 * includes microhttpd.h. A request passes, in order: the checks of request_check.h, the access
 * rules of auth.h, api_begin, the bounds of its client's queue, then its body (JSON into memory up
 * to the limit, uploads to disk by the handlers), then api_handle. A refusal before the body
 * answers without reading it and closes the connection.
 *
 * Connections that find no place (connection_shares.h) are answered 503, up to 32 at a time, and
 * the longest waiting of further ones just closed.
 *
 * The library reads loosely, 0.9.75 above all. So what it receives is read beside it (wire_tap.h,
 * wire.h): the head that it reports must be the one that came (head_check.h), and a body must end
 * where its length or its chunks, read strictly, say. Anything else is refused with 400 and the
 * connection closed.
 *
 * What the library refuses by itself while a head is incomplete, and malformed chunks, it answers
 * with a short HTML page instead of problem+json, with one head that says Connection: close, and
 * closes the connection: a request line without a version, a header without a colon, more than 128
 * KiB of head; 1.0.1 also folded lines, bare LF and what is not allowed in names, and it counts a
 * chunk with an extension one byte short. Of a request line that is no HTTP it may just close. A
 * head that is complete and then refused by the library, for its Content-Length, or by 1.0.1 for
 * its Transfer-Encoding or for want of Host, gets our answer instead (http.c): 0.9.75 would send
 * the head of its own twice. tests/gate/cases has a file for each.
 */
#ifndef CHIPSHOT_SERVER_HTTP_H
#define CHIPSHOT_SERVER_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "base/error.h"
#include "db/db.h"
#include "db/keys.h"
#include "server/watch/log.h"
#include "server/watch/metrics.h"

struct http_server;

struct http_config {
    const char *listen; /* see listen.h */
    bool no_auth;       /* AUTH_POLICY_NO_AUTH; not with the next */
    bool require_key;   /* AUTH_POLICY_REQUIRE */
    uint32_t max_connections;
    uint32_t max_connections_per_client;
    uint32_t header_timeout_s;
    uint32_t body_timeout_s;
    uint32_t idle_timeout_s;
};

/* What the server works with; all borrowed until destroy. */
struct http_parts {
    struct api *api;
    struct store *store; /* for uploads */
    struct db_keys *keys;
    struct job_waits *waits; /* NULL: no request waits for a job */
    struct metrics *metrics; /* NULL allowed */
    const struct log *log;   /* NULL allowed */
};

/* Listens and starts to answer. Ignores SIGPIPE for the process. ERROR_INVALID: a bad address, or
 * one that is not loopback without a key, no_auth or require_key. ERROR_IO: cannot listen. */
int http_server_create(struct http_server **out, const struct http_config *config,
                       const struct http_parts *parts, struct error *err);

uint16_t http_server_port(const struct http_server *server);
/* "http://127.0.0.1:8080", with the port listened on; borrowed. */
const char *http_server_url(const struct http_server *server);

/* Closes the listening socket and idle connections; running requests go on. */
void http_server_stop_accepting(struct http_server *server);
/* After stop_accepting: blocks until no request is running, at most `timeout_ms`; returns whether
 * none is. */
bool http_server_wait_idle(struct http_server *server, uint32_t timeout_ms);
/* Cuts what is still open, drops requests that no handler has begun, tells those that run to stop
 * (request.cancel) and joins all threads. No request may wait for a job any more
 * (job_waits_shutdown). NULL allowed. */
void http_server_destroy(struct http_server *server);

#endif
