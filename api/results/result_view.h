/* One stored result with what it takes to show it: the job, its image and its classes. */
#ifndef CHIPSHOT_API_RESULT_VIEW_H
#define CHIPSHOT_API_RESULT_VIEW_H

#include "api/call.h"
#include "db/images.h"
#include "db/jobs.h"
#include "db/results/results.h"
#include "db/support_sets.h"
#include "engine/fewshot/classifier.h"
#include "engine/image/chip_grid.h"

/* Part of the entity tag of a result as JSON: to be raised when it gets another form. */
#define RESULT_JSON_REVISION "5"

struct result_view {
    struct db_job job;
    struct db_support_set set; /* the job's version: names and colours of the classes */
    struct db_image image;
    struct db_result result; /* without blobs until result_view_load */
    struct grid grid;
};

/* Plans the grid again from a result's stored geometry. ERROR_CORRUPT: it comes out another. */
int result_grid(const struct db_result *result, const struct db_image *image, struct grid *out,
                struct error *err);

/* The result of path parameters 0 (job) and 1 (image). ERROR_NOT_FOUND, with the job's state when
 * the result is not there yet; ERROR_CORRUPT when the parts do not fit together. */
int result_view_open(struct api_call *call, struct result_view *out, struct error *err);
/* Loads labels and probabilities. */
int result_view_load(struct api_call *call, struct result_view *view, struct error *err);
/* A class of the set by its name, or else by its index. ERROR_NOT_FOUND. */
int result_view_find_class(const struct db_support_set *set, const char *text, uint32_t *out,
                           struct error *err);
void result_view_clear(struct result_view *view);

/* Grid, the place of the maps' cells, statistics and links of a result; the caller's.
 * ERROR_CORRUPT: a statistic is missing, or the grid is not that of the image. ERROR_NOMEM. */
int result_view_json(const struct db_job *job, const struct db_support_set *set,
                     const struct db_image *image, const struct db_result *result, json_t **out,
                     struct error *err);

#endif
