/* The REST API over plain request and response structs: no socket, no libmicrohttpd.
 * server/http/http.c turns HTTP into these structs and back; tests/api/ calls api_handle directly.
 */
#ifndef CHIPSHOT_API_API_H
#define CHIPSHOT_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/limits.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/principal.h"
#include "db/data.h"
#include "db/id.h"

/* ---- requests ---- */

struct api_header {
    const char *name; /* as sent; compared without case */
    const char *value;
};

struct api_request {
    const char *method; /* "GET", ... as sent */
    const char *target; /* raw request target, percent-encoded: "/v1/projects?limit=5" */
    const struct api_header *headers;
    size_t n_headers;
    const char *body; /* JSON routes: the whole body, not NUL-terminated; NULL when empty */
    size_t body_size;
    struct store_writer *upload; /* upload routes: the streamed body; borrowed */
    char request_id[64];         /* accepted from X-Request-Id or made */
    struct principal principal;  /* who asks */
    const struct cancel
        *cancel; /* asked when the client is gone or the server stops; NULL: never */
};

/* First value of a header, or NULL. Of list headers (Accept, If-None-Match, Prefer) sent in several
 * lines only the first line is seen. */
const char *api_request_header(const struct api_request *request, const char *name);

/* ---- responses ---- */

#define API_SIZE_UNKNOWN UINT64_MAX

/* A body that is made while it is sent, because it is too large to be held or its end is not known.
 */
struct api_stream {
    void *context; /* owned by the stream */
    /* All bytes that `next` gives together: told beforehand (Content-Length), and an end before
     * them is an error. API_SIZE_UNKNOWN: the end is where `next` says so. */
    uint64_t size;
    /* Writes the next bytes to `buffer`, at most `size` (> 0) of them, and their number to *n; 0 is
     * the end. Returns 0 or an error code; values above 0 are left for a stream that has nothing
     * yet. After the end or an error it is not called again. An error cuts the connection, so that
     * no client takes what it has got for the whole. May block on the disk, not on clients. */
    int (*next)(void *context, char *buffer, size_t size, size_t *n, struct error *err);
    /* Called exactly once, also when `next` was called never or not to the end. */
    void (*close)(void *context);
};

enum { API_RESPONSE_HEADERS_MAX = 16 };

/* The body is bytes or a stream. What of them is still there when the
 * request is over goes with api_response_clear, whatever became of the client. */
struct api_response {
    int status;
    const char *content_type; /* static; NULL when there is no body */
    char *body;               /* owned; NULL when empty or when stream is used */
    size_t body_size;
    struct api_stream stream; /* `next` NULL: none; owned, used by one thread at a time */
    struct {
        const char *name; /* static */
        char *value;      /* owned */
    } headers[API_RESPONSE_HEADERS_MAX];
    size_t n_headers;
    const char *operation_id; /* of the route, for logs and metrics; static; "" when none matched */
    const char *route;        /* the route's template, e.g. "/v1/jobs/{id}"; static */
    int error_code;           /* enum error_code that became the status, 0 when none */
    char error_message[ERROR_MESSAGE_SIZE]; /* for the log; internal errors are not shown in full */
};

void api_response_init(struct api_response *response);
void api_response_clear(struct api_response *response);
/* printf-like value; silently ignored past API_RESPONSE_HEADERS_MAX (asserted in tests). */
void api_response_header(struct api_response *response, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- the API ---- */

/* What api/ needs of the server around it. Every callback may be called from any thread. */
struct api_hooks {
    void *context;
    /* A job was queued or its cancellation was asked for. */
    void (*job_changed)(void *context, const char *job_id);
    /* Seconds until the job probably ends, or -1: unknown. */
    double (*job_eta)(void *context, const char *job_id);
    /* True when the server is shutting down (readyz answers 503). */
    bool (*shutting_down)(void *context);
    /* 0 when the API keys can be used; else a code, and the cause for the log. Called at most once
     * a second. */
    int (*check_keys)(void *context, struct error *err);
    /* Metrics in Prometheus text format; malloc'd, owned by the caller. */
    char *(*metrics)(void *context);
    /* The text of openapi.yaml; borrowed, static. NULL: GET /openapi.yaml answers 404. */
    const char *openapi;
    size_t openapi_size;
};

struct api; /* shared by all request threads; nothing in it changes but what images are viewed */

/* `data` and the hooks' context are borrowed until destroy; hooks may have NULL callbacks (tests).
 */
int api_create(struct api **out, struct data *data, const struct api_limits *limits,
               const struct api_hooks *hooks, struct error *err);
void api_destroy(struct api *api);

/* What to do with a request's body, decided from method and target before it is read, so that a
 * body that is too large or unwanted is refused before reading (Expect: 100-continue). */
enum api_body { API_BODY_NONE, API_BODY_JSON, API_BODY_UPLOAD };

/* What api_handle may take, so that whoever runs it can keep the dear apart from the cheap. */
enum api_cost {
    API_COST_INSTANT, /* neither disk nor database, and next to no time */
    API_COST_CHEAP,   /* rows and texts */
    API_COST_DEAR,    /* as much memory and time as a whole image or encoder */
};

/* How a request is to be gone on with. */
struct api_plan {
    enum api_body body;
    uint64_t limit; /* bytes of the body */
    enum api_cost cost;
};

/* Looks at method, target and headers (Content-Type, Content-Length, Accept); never blocks. Returns
 * true when the body may be read as `plan` says; false when `response` already holds the answer
 * (404, 405, 406, 413, 415, ...). HEAD is handled as GET; the http layer drops the body. */
bool api_begin(struct api *api, const struct api_request *request, struct api_plan *plan,
               struct api_response *response);

/* What a request waits for before it is answered (Prefer: wait). */
struct api_wait {
    char job_id[DB_ID_SIZE];
    uint32_t timeout_ms; /* at most; above 0 */
    bool created;        /* api/'s own: the request made the job */
};

enum api_outcome {
    API_ANSWERED,
    API_WAITS, /* `response` is not the answer yet */
};

/* Handles a request whose body was read; may block on disk and database. `wait` NULL: the answer is
 * made at once, whatever Prefer says. Else it may have to wait: when something about the job has
 * changed, the time is up or the server is to stop, api_resume goes on. */
enum api_outcome api_handle(struct api *api, const struct api_request *request,
                            struct api_wait *wait, struct api_response *response);
/* Goes on with a request that waits; `response` as api_handle left it. The caller has set
 * `wait->timeout_ms` to what is left of it: 0 for an answer now, else it may have to wait again. */
enum api_outcome api_resume(struct api *api, const struct api_request *request,
                            struct api_wait *wait, struct api_response *response);

/* A problem+json answer for errors found by the http layer itself (parse errors, auth, limits,
 * timeouts). `title` NULL: the status' standard phrase. */
void api_problem(const struct api_request *request, int status, const char *title,
                 const char *detail, struct api_response *response);

#endif
