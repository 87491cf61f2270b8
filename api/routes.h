/* The table of operations: routes.c and openapi.yaml say the same (tests/check_openapi.py). */
#ifndef CHIPSHOT_API_ROUTES_H
#define CHIPSHOT_API_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "base/error.h"

struct api_call;

/* Fills call->response or returns an error code; problem.c makes the answer of it. */
typedef int (*route_handler)(struct api_call *call, struct error *err);

enum route_limit { ROUTE_LIMIT_NONE, ROUTE_LIMIT_JSON, ROUTE_LIMIT_IMAGE, ROUTE_LIMIT_ENCODER };

enum route_query_kind {
    ROUTE_QUERY_UINT,   /* min..max */
    ROUTE_QUERY_TEXT,   /* min..max characters on one line */
    ROUTE_QUERY_CHOICE, /* one of some words */
    ROUTE_QUERY_CURSOR, /* an opaque position: base64url of the last item's id */
};

enum { ROUTE_QUERY_MAX = 5 };

struct route_query {
    const char *name;
    enum route_query_kind kind;
    uint32_t min, max;
    uint32_t standard;          /* ROUTE_QUERY_UINT: when absent */
    bool required;              /* no default */
    const char *prefix;         /* ROUTE_QUERY_CURSOR: of the ids */
    const char *const *choices; /* ROUTE_QUERY_CHOICE: the words, the default first, then NULL */
};

struct route {
    const char *method;
    /* Segments are literals or {name}, which may have a literal behind it: "{row},{column}.png".
     * The first pattern that matches wins. */
    const char *pattern;
    const char *operation_id;
    route_handler handler;
    enum api_cost cost;
    enum api_body body;
    enum route_limit limit;
    const char *const *consumes;     /* media types of the body, NULL-terminated; NULL: no body */
    const char *const *produces;     /* media types of the answer, the default first; NULL: none */
    const struct route_query *query; /* ends with a NULL name; NULL: none */
};

extern const struct route routes[];
extern const size_t n_routes;

/* Handlers, by resource. */
int projects_create(struct api_call *call, struct error *err);
int projects_list(struct api_call *call, struct error *err);
int projects_get(struct api_call *call, struct error *err);
int projects_update(struct api_call *call, struct error *err);
int projects_delete(struct api_call *call, struct error *err);
int images_upload(struct api_call *call, struct error *err);
int images_list(struct api_call *call, struct error *err);
int images_get(struct api_call *call, struct error *err);
int images_update(struct api_call *call, struct error *err);
int images_delete(struct api_call *call, struct error *err);
int image_masks_get(struct api_call *call, struct error *err);
int image_masks_replace(struct api_call *call, struct error *err);
int image_masks_delete(struct api_call *call, struct error *err);
int image_masks_get_picture(struct api_call *call, struct error *err);
int image_masks_put_picture(struct api_call *call, struct error *err);
int image_views_content(struct api_call *call, struct error *err);
int image_views_preview(struct api_call *call, struct error *err);
int image_views_chip(struct api_call *call, struct error *err);
int support_sets_create(struct api_call *call, struct error *err);
int support_sets_list(struct api_call *call, struct error *err);
int support_sets_get(struct api_call *call, struct error *err);
int support_health_get(struct api_call *call, struct error *err);
int support_sets_replace(struct api_call *call, struct error *err);
int jobs_create(struct api_call *call, struct error *err);
int jobs_list(struct api_call *call, struct error *err);
int jobs_get(struct api_call *call, struct error *err);
int jobs_cancel(struct api_call *call, struct error *err);
int suggestions_get(struct api_call *call, struct error *err);
int results_list(struct api_call *call, struct error *err);
int results_get(struct api_call *call, struct error *err);
int results_csv(struct api_call *call, struct error *err);
int result_maps_labels(struct api_call *call, struct error *err);
int result_maps_overlay(struct api_call *call, struct error *err);
int result_maps_probability(struct api_call *call, struct error *err);
int populations_get(struct api_call *call, struct error *err);
int populations_csv(struct api_call *call, struct error *err);
int verifications_create(struct api_call *call, struct error *err);
int verifications_list(struct api_call *call, struct error *err);
int verifications_get(struct api_call *call, struct error *err);
int verifications_answer(struct api_call *call, struct error *err);
int verifications_delete(struct api_call *call, struct error *err);
int result_objects_get(struct api_call *call, struct error *err);
int result_objects_csv(struct api_call *call, struct error *err);
int encoders_upload(struct api_call *call, struct error *err);
int encoders_list(struct api_call *call, struct error *err);
int encoders_get(struct api_call *call, struct error *err);
/* The answer to a request that has waited for its job, or call->waits again. */
int jobs_resume(struct api_call *call, struct error *err);
int health_live(struct api_call *call, struct error *err);
int health_ready(struct api_call *call, struct error *err);
int health_metrics(struct api_call *call, struct error *err);
int health_openapi(struct api_call *call, struct error *err);
int health_version(struct api_call *call, struct error *err);

#endif
