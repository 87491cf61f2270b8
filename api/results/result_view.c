/* A result is opened without its maps, which most requests do not need: its conditions
 * (If-None-Match) are answered from the rows. Nothing here is kept between requests.
 */
#include "api/results/result_view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/analysis_text.h"
#include "api/job/job_params.h"
#include "api/image_scale.h"
#include "api/results/map_json.h"
#include "api/results/statistics_json.h"

/* ---- loading ---- */

int result_grid(const struct db_result *result, const struct db_image *image, struct grid *out,
                struct error *err)
{
    struct grid_params params = {.chip_width = result->chip_width,
                                 .chip_height = result->chip_height,
                                 .stride_x = result->stride_x,
                                 .stride_y = result->stride_y,
                                 .offset_x = result->offset_x,
                                 .offset_y = result->offset_y};
    struct error cause = {.message = "another grid"};
    struct grid grid = {0};
    int rc = grid_edge_parse(result->edge, &params.edge, &cause);
    if (rc == 0)
        rc = grid_plan(&params, image->width, image->height, UINT64_MAX, &grid, &cause);
    if (rc != 0 || grid.rows != result->rows || grid.columns != result->columns)
        return error_set(err, ERROR_CORRUPT, "the stored result of job %s, image %s: %s",
                         result->job_id, result->image_id, cause.message);
    *out = grid;
    return 0;
}

static int check_classes(const struct result_view *view, struct error *err)
{
    const struct db_result *result = &view->result;
    if (view->set.n_classes == result->n_classes && result->n_classes <= CLASSIFIER_CLASSES_MAX)
        return 0;
    return error_set(err, ERROR_CORRUPT,
                     "the stored result of job %s, image %s: another number of classes",
                     result->job_id, result->image_id);
}

static int get_result(struct api_call *call, struct result_view *view, enum db_result_maps maps,
                      struct error *err)
{
    struct error cause = {0};
    int rc =
        db_result_get(call->api->db, call->params[0], call->params[1], maps, &view->result, &cause);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, rc, "job %s (%s) has no result for image %s", call->params[0],
                         db_job_state_name(view->job.state), call->params[1]);
    return rc == 0 ? 0 : error_set(err, rc, "%s", cause.message);
}

int result_view_open(struct api_call *call, struct result_view *out, struct error *err)
{
    struct result_view view = {0};
    struct db *db = call->api->db;
    if (call_id(call, 0, "job_", "job", err) == NULL ||
        call_id(call, 1, "img_", "image", err) == NULL)
        return ERROR_NOT_FOUND;
    int rc = db_job_get_row(db, call->params[0], &view.job, err);
    if (rc == 0)
        rc = get_result(call, &view, DB_RESULT_WITHOUT_MAPS, err);
    if (rc == 0)
        rc = db_image_get(db, view.result.image_id, &view.image, err);
    if (rc == 0)
        rc = db_support_set_get_classes(db, view.job.support_set_id, view.job.support_set_version,
                                        &view.set, err);
    if (rc == 0)
        rc = check_classes(&view, err);
    if (rc == 0)
        rc = result_grid(&view.result, &view.image, &view.grid, err);
    if (rc == 0)
        *out = view;
    else
        result_view_clear(&view);
    return rc;
}

int result_view_load(struct api_call *call, struct result_view *view, struct error *err)
{
    db_result_clear(&view->result);
    view->result = (struct db_result){0};
    return get_result(call, view, DB_RESULT_WITH_MAPS, err);
}

void result_view_clear(struct result_view *view)
{
    db_job_clear(&view->job);
    db_support_set_clear(&view->set);
    db_image_clear(&view->image);
    db_result_clear(&view->result);
    *view = (struct result_view){0};
}

int result_view_find_class(const struct db_support_set *set, const char *text, uint32_t *out,
                           struct error *err)
{
    for (size_t i = 0; i < set->n_classes; i++) {
        if (strcmp(set->classes[i].name, text) == 0) {
            *out = (uint32_t)i;
            return 0;
        }
    }
    size_t length = strlen(text);
    bool digits = length > 0 && length < 4 && strspn(text, "0123456789") == length;
    unsigned long index = digits ? strtoul(text, NULL, 10) : set->n_classes;
    if (index >= set->n_classes)
        return error_set(err, ERROR_NOT_FOUND,
                         "support set %s, version %u, has no class '%.100s' (nor index, 0 to %zu)",
                         set->id, set->version, text, set->n_classes - 1);
    *out = (uint32_t)index;
    return 0;
}

/* ---- JSON ---- */

/* The statistics as the engine sees them; names are borrowed, `items` is the caller's to free. */
static int get_statistics(const struct db_result *result, struct statistics *out, struct error *err)
{
    struct statistic *items = calloc(result->n_quantities, sizeof(*items));
    if (items == NULL)
        return error_set_nomem(err, "a result's statistics");
    for (size_t i = 0; i < result->n_quantities; i++) {
        const struct db_quantity *quantity = &result->quantities[i];
        items[i] = (struct statistic){.class_index = quantity->class_index,
                                      .name = quantity->name,
                                      .unit = quantity->unit,
                                      .value = quantity->value,
                                      .low = quantity->low,
                                      .high = quantity->high};
    }
    *out = (struct statistics){items, result->n_quantities};
    return 0;
}

static json_t *class_json(const struct db_class *class)
{
    char color[8];
    snprintf(color, sizeof(color), "#%02x%02x%02x", class->color[0], class->color[1],
             class->color[2]);
    return json_pack("{s:s, s:s, s:b}", "name", class->name, "color", color, "counted",
                     !class->is_uncounted);
}

static json_t *class_links(const struct db_class *class, const char *base)
{
    char *encoded = target_encode(class->name);
    json_t *links = encoded == NULL
                        ? NULL
                        : json_pack("{s:o, s:o}", "probability",
                                    json_sprintf("%s/probability/%s.png", base, encoded), "objects",
                                    json_sprintf("%s/objects?class=%s", base, encoded));
    free(encoded);
    return links;
}

static int classes_json(const struct db_support_set *set, const struct statistics *statistics,
                        const struct statistics_scale *scale, const char *base, json_t *out,
                        struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < set->n_classes && rc == 0; i++) {
        json_t *class = class_json(&set->classes[i]);
        rc = json_array_append_new(out, class) == 0
                 ? statistics_json_add(class, statistics, i, scale, err)
                 : error_set_nomem(err, "a result's classes");
        if (rc == 0 && set->classes[i].is_uncounted)
            rc = statistics_json_uncount(class, err);
        if (rc == 0 &&
            json_object_set_new(class, "links", class_links(&set->classes[i], base)) != 0)
            rc = error_set_nomem(err, "a result's classes");
    }
    return rc;
}

/* What the chips came to: "classes", and the chips without a class. */
static int add_statistics(json_t *object, const struct db_support_set *set,
                          const struct db_image *image, const struct db_result *result,
                          const char *base, struct error *err)
{
    struct statistics statistics = {0};
    const struct statistics_scale scale = {image_scale_area(image),
                                           (uint64_t)result->stride_x * result->stride_y};
    json_t *classes = json_array();
    int rc = get_statistics(result, &statistics, err);
    if (rc == 0 && json_object_set_new(object, "classes", classes) != 0)
        rc = error_set_nomem(err, "a result's classes");
    if (rc == 0)
        rc = classes_json(set, &statistics, &scale, base, classes, err);
    if (rc == 0)
        rc = statistics_json_add_no_classes(object, &statistics, scale.pixel_area_nm2, err);
    free(statistics.items);
    return rc;
}

static json_t *grid_json(const struct db_result *result)
{
    return json_pack("{s:I, s:I, s:{s:i, s:i}, s:{s:i, s:i}, s:{s:i, s:i}, s:s}", "rows",
                     (json_int_t)result->rows, "columns", (json_int_t)result->columns, "chip",
                     "width", (int)result->chip_width, "height", (int)result->chip_height, "stride",
                     "x", (int)result->stride_x, "y", (int)result->stride_y, "offset", "x",
                     (int)result->offset_x, "y", (int)result->offset_y, "edge", result->edge);
}

static json_t *links_json(const struct db_image *image, const char *base)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "self", base, "csv", json_sprintf("%s.csv", base),
                     "labels", json_sprintf("%s/labels.png", base), "overlay",
                     json_sprintf("%s/overlay.png", base), "image",
                     json_sprintf("/v1/images/%s", image->id));
}

/* Whose result it is and where its chips lie. */
static json_t *place_json(const struct db_job *job, const struct db_image *image,
                          const struct db_result *result, const struct grid *grid,
                          const char *encoding)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:f}", "job_id", job->id,
                     "image_id", image->id, "image_name", image->name, "pixel_size",
                     image_scale_json(image), "n_outliers",
                     image->n_outliers >= 0 ? json_integer(image->n_outliers) : json_null(), "grid",
                     grid_json(result), "map", map_json_create(grid), "covered",
                     map_json_covered(grid, image_scale_area(image)), "encoding", encoding,
                     "temperature", result->temperature);
}

/* As above; how the job encoded is told by its parameters. */
static int make_place(const struct db_job *job, const struct db_image *image,
                      const struct db_result *result, const struct grid *grid, json_t **out,
                      struct error *err)
{
    json_t *params = job_params_stored_json(job->params);
    const char *encoding = json_string_value(json_object_get(params, "encoding"));
    int rc = 0;
    if (encoding == NULL)
        rc = error_set(err, ERROR_CORRUPT, "job %s: its stored parameters are damaged", job->id);
    else if ((*out = place_json(job, image, result, grid, encoding)) == NULL)
        rc = error_set_nomem(err, "a result");
    json_decref(params);
    return rc;
}

static int add_analysis(json_t *object, const struct db_result *result, struct error *err)
{
    json_t *analysis = analysis_text_stored_json(result->analysis);
    if (analysis == NULL)
        return error_set(err, ERROR_CORRUPT, "its analysis is no JSON object");
    return json_object_set_new(object, "analysis", analysis) == 0
               ? 0
               : error_set_nomem(err, "a result's analysis");
}

int result_view_json(const struct db_job *job, const struct db_support_set *set,
                     const struct db_image *image, const struct db_result *result, json_t **out,
                     struct error *err)
{
    char base[2 * DB_ID_SIZE + 40];
    snprintf(base, sizeof(base), "/v1/jobs/%s/results/%s", job->id, image->id);
    struct error cause = {0};
    struct grid grid;
    json_t *object = NULL;
    int rc = result_grid(result, image, &grid, err);
    if (rc == 0)
        rc = make_place(job, image, result, &grid, &object, err);
    if (rc != 0)
        return rc;
    rc = add_statistics(object, set, image, result, base, &cause);
    if (rc == 0)
        rc = add_analysis(object, result, &cause);
    if (rc == 0 &&
        (json_object_set_new(object, "created_at", json_string(result->created_at)) != 0 ||
         json_object_set_new(object, "links", links_json(image, base)) != 0))
        rc = error_set_nomem(&cause, "a result");
    if (rc == 0) {
        *out = object;
        return 0;
    }
    json_decref(object);
    return error_set(err, cause.code, "the stored result of job %s, image %s: %s", job->id,
                     image->id, cause.message);
}
