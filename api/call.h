/* One request on its way through api/: what the router found out, for the handlers. */
#ifndef CHIPSHOT_API_CALL_H
#define CHIPSHOT_API_CALL_H

#include <jansson.h>
#include <pthread.h>

#include "api/api.h"
#include "api/message/json_read.h"
#include "api/message/problem.h"
#include "api/message/response.h"
#include "api/routes.h"
#include "api/views.h"
#include "api/message/target.h"
#include "db/db.h"

/* What the last look at the database, the disk, the encoder and the keys found (health.c). */
struct api_probe {
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t first;  /* `done` has become true */
    bool running, done;    /* one is being made; one was made */
    int64_t start_ms;      /* of the one running, else of the last; clock_now_ms */
    struct error failures; /* code unused; message "" when all is well */
    uint64_t free_size;
};

struct api {
    struct data *data; /* borrowed, like the next three, which are its parts */
    struct db *db;
    struct store *store;
    struct cache *cache;
    struct views *views; /* owned */
    struct api_limits limits;
    struct api_hooks hooks;
    char openapi_etag[17]; /* of the text's hash */
    struct api_probe probe;
};

enum { CALL_PARAMS_MAX = 3 };

struct call_query {
    bool present;
    uint32_t number; /* ROUTE_QUERY_UINT; the default when absent. ROUTE_QUERY_CHOICE: which word */
    const char *text; /* ROUTE_QUERY_TEXT; NULL when absent */
};

struct api_call {
    struct api *api;
    const struct api_request *request;
    struct api_response *response;
    const struct route *route;
    struct target target;
    char *params[CALL_PARAMS_MAX]; /* decoded values of the pattern's {names}, in order; owned */
    struct call_query query[ROUTE_QUERY_MAX]; /* as route->query */
    char cursor[DB_ID_SIZE];                  /* "" when the request has no cursor */
    int media;                                /* index into route->produces */
    struct field_errors errors;
    struct api_wait *wait; /* NULL: the request cannot wait */
    bool waits;            /* the answer waits for `wait` */
    bool refused; /* call_refuse was called: `problem` holds instead of the error code's kind */
    enum problem problem;
};

/* Sets err and the kind of problem; returns the error code for `return call_refuse(...)`. */
int call_refuse(struct api_call *call, enum problem kind, struct error *err, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

/* ERROR_INVALID with a summary when a fault was recorded in call->errors, else 0. */
int call_check_fields(struct api_call *call, struct error *err);

/* The id in path parameter `index` when it has the form of `prefix`, else NULL with ERROR_NOT_FOUND
 * in err: `what` has no such id. */
const char *call_id(struct api_call *call, size_t index, const char *prefix, const char *what,
                    struct error *err);

/* Whose rows what the request inserts are. */
void call_sign(const struct api_call *call, char created_by[PRINCIPAL_ID_SIZE]);

/* The project whose id is the first path parameter; checks that it exists. ERROR_NOT_FOUND. */
int call_project(struct api_call *call, const char **id, struct error *err);

/* Value of a query parameter of the route's table (asserted). */
const struct call_query *call_query(const struct api_call *call, const char *name);

/* Parses the JSON body. The caller releases *out. ERROR_INVALID (malformed). */
int call_json(struct api_call *call, json_t **out, struct error *err);
struct json_at call_json_root(struct api_call *call);

/* The page that limit and cursor ask for. */
struct db_page call_page(const struct api_call *call);
/* Answers {items, next} and a Link to the next page. Takes `items`; `last_id` is the last item's;
 * `n_damaged` is said when it is not 0. */
int call_list(struct api_call *call, json_t *items, bool more, const char *last_id,
              size_t n_damaged, struct error *err);
/* Passes an error of a list query on: a cursor that names nothing is the cursor's fault. */
int call_page_error(struct api_call *call, int code, const struct error *err);
/* Adds "next" to a body that is no plain list, and the Link. ERROR_NOMEM. */
int call_next(struct api_call *call, json_t *body, bool more, const char *last_id,
              struct error *err);

/* Sets ETag (given without quotes); true when If-None-Match has it: the answer is then 304. */
bool call_not_modified(struct api_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* ERROR_CONFLICT (precondition failed) when If-Match is there and does not name `etag` (given
 * without quotes). */
int call_if_match(struct api_call *call, const char *etag, struct error *err);

/* Empty answer. */
int call_no_content(struct api_call *call);

#endif
