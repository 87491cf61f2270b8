/* One request and its answer, apart from the HTTP library: http.c feeds the head and the body as
 * they arrive and sends what comes out. Used by one thread at a time: the one that serves the
 * sockets or, for what blocks, one of the handlers' (errand.h says when). It needs nothing of the
 * library's, so that it can outlive its connection.
 */
#ifndef CHIPSHOT_SERVER_EXCHANGE_H
#define CHIPSHOT_SERVER_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "api/api.h"
#include "db/keys.h"
#include "server/http/auth.h"
#include "server/http/connection_shares.h"
#include "server/http/http.h"
#include "server/http/open_heads.h"
#include "server/http/request_check.h"

struct connection;
struct connections;
struct errand;

/* What all exchanges of a server share; immutable. */
struct exchange_context {
    struct http_parts parts;
    enum auth_policy auth_policy;
    bool loopback; /* listening on loopback */
    uint16_t port;
    struct connections *connections;
};

/* Whether some connections are kept for keys: while keys are asked for. */
enum share_reserve exchange_reserve(const struct exchange_context *context);

struct exchange {
    const struct exchange_context *context;
    double start;               /* clock_now_seconds, when the request line was read */
    char *target;               /* raw, owned */
    struct api_header *headers; /* owned, with their texts (head_copy_fields) */
    char *method;               /* owned */
    char *rewritten[3];         /* owned texts of changed headers: conditions, Host */
    size_t n_rewritten;
    struct api_request request;
    struct request_facts facts;
    struct api_plan plan;
    uint64_t received;
    char *json; /* owned */
    size_t json_capacity;
    bool gzip_tag; /* a condition named a gzip form's tag */
    struct api_response response;
    const char *malformed; /* NULL, or set before exchange_begin: why the head is not what came */
    bool begun;            /* exchange_begin or exchange_refuse_head was called */
    bool answered;         /* response is final */
    bool unread_body;      /* answered before the body was read: the connection cannot go on */
    bool answer_written;   /* sent past the library (http.c) */
    const char *content_encoding; /* NULL or "gzip" */
    bool varies;
    struct api_wait wait;          /* of a request that waits */
    uint64_t made;                 /* bytes of the answer's stream so far */
    uint64_t streamed;             /* those of them that were sent */
    struct connection *connection; /* borrowed; NULL or set before exchange_begin */
    struct errand *errand;         /* borrowed; what it has done in other threads (http.c) */
    struct open_head open;         /* while the head is read (http.c) */
};

/* NULL on allocation failure. `target` as in the request line. */
struct exchange *exchange_create(const struct exchange_context *context, const char *target);
/* Drops an upload that was not stored. NULL allowed. */
void exchange_destroy(struct exchange *exchange);

enum exchange_next {
    EXCHANGE_READ,       /* the body, if there is one; then exchange_finish */
    EXCHANGE_ANSWER_NOW, /* `response` is the answer, the body stays unread */
};

/* The head is complete. `headers` (one allocation with its texts) becomes the exchange's; the
 * method is copied. */
enum exchange_next exchange_begin(struct exchange *exchange, const char *method,
                                  const char *version, struct api_header *headers, size_t n_headers,
                                  size_t headers_size);

/* A piece of the body has arrived: counts it against the limit. */
enum exchange_next exchange_receive(struct exchange *exchange, size_t size);
/* Keeps a piece: JSON in memory, an upload on the disk, which may block. */
enum exchange_next exchange_keep(struct exchange *exchange, const void *data, size_t size);

/* Instead of exchange_begin: the HTTP library refuses the head by itself, with `status`. Makes the
 * answer that is sent for it. */
void exchange_refuse_head(struct exchange *exchange, int status);

/* The body is not what was sent (wire.h): makes the answer. */
enum exchange_next exchange_refuse_body(struct exchange *exchange, const char *detail);

/* The body is complete: makes the answer (unless there is one already), or says that it has to
 * wait. May block, but where the plan says that the cost is instant. */
enum api_outcome exchange_finish(struct exchange *exchange);
/* Goes on after a wait, of which `left_ms` are left. May block. */
enum api_outcome exchange_resume(struct exchange *exchange, uint32_t left_ms);
/* Answers that the server is busy, as `err` says. */
enum exchange_next exchange_refuse_busy(struct exchange *exchange, const struct error *err);

/* The next bytes of an answer that is a stream, as its `next` gives them: 0 of them is the end.
 * What fails is kept for exchange_log. May block. */
int exchange_next_bytes(struct exchange *exchange, char *buffer, size_t size, size_t *n);

/* All headers of the answer but Content-Length and Connection; borrowed from the exchange. */
enum { EXCHANGE_HEADERS_MAX = API_RESPONSE_HEADERS_MAX + 6 };
size_t exchange_headers(const struct exchange *exchange,
                        struct api_header out[EXCHANGE_HEADERS_MAX]);

/* The whole answer as bytes, with Connection: close; malloc'd, NULL on allocation failure. For
 * answers in the middle of a body, which the library cannot send. */
char *exchange_raw_answer(const struct exchange *exchange, const char *reason, size_t *size);

/* One line for the log, once the answer is sent (`sent`) or has failed. */
void exchange_log(const struct exchange *exchange, bool sent, bool timed_out);

#endif
