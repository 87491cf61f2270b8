/* Objects of a class of a result: found when they are asked for, as pictures are drawn, from what
 * is stored: the same bytes each time. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/job_params.h"
#include "api/message/text_answer.h"
#include "api/results/objects_text.h"
#include "api/results/result_view.h"
#include "engine/fewshot/map/objects.h"

/* Part of the entity tag: to be raised when other objects are found, or their answer gets another
 * form. */
#define OBJECTS_REVISION "1"

enum objects_form { OBJECTS_JSON, OBJECTS_CSV };

enum { TEXT_OBJECTS = 256 }; /* written at once: 200 KiB with the longest class name */

/* What the request asks for. */
struct question {
    uint32_t class_index;
    struct objects_filter filter;
    const char *border; /* as given, or the default */
};

static int read_question(struct api_call *call, const struct result_view *view,
                         struct question *out, struct error *err)
{
    const char *border = call_query(call, "border")->text;
    out->border = border != NULL ? border : "include";
    out->filter.min_area = call_query(call, "min_area")->number;
    out->filter.exclude_border = strcmp(out->border, "exclude") == 0;
    if (strcmp(out->border, "include") != 0 && !out->filter.exclude_border)
        field_errors_add(&call->errors, FIELD_PARAMETER, "border",
                         "must be include or exclude, is '%s'", border);
    int rc = call_check_fields(call, err);
    return rc < 0 ? rc
                  : result_view_find_class(&view->set, call_query(call, "class")->text,
                                           &out->class_index, err);
}

/* ---- finding ---- */

static int read_grey(void *view, const struct chip_rect *window, uint8_t *out, struct error *err)
{
    return pyramid_read(view_pyramid(view), 0, window, view_read_tiles, view, out, err);
}

static int find_once(struct api_call *call, const struct result_view *result,
                     const struct normalise_params *normalise, const struct question *question,
                     struct objects *out, bool *is_damaged, struct error *err)
{
    struct view *view = NULL;
    const struct db_image *image = &result->image;
    int rc = view_open(&view, call->api->views, image, normalise, call->request->cancel, err);
    if (rc != 0)
        return rc;
    const struct fine_source map = {.grid = &result->grid,
                                    .labels = result->result.labels,
                                    .probabilities = result->result.probabilities,
                                    .n_classes = result->result.n_classes,
                                    .cancel = call->request->cancel};
    const struct objects_source source = {.map = &map,
                                          .read_grey = read_grey,
                                          .context = view,
                                          .pixel_width_nm = image->pixel_x_nm,
                                          .pixel_height_nm = image->pixel_y_nm};
    rc = objects_find(&source, question->class_index, &question->filter, out, err);
    *is_damaged = view_is_damaged(view);
    view_close(view);
    return rc;
}

static int find(struct api_call *call, struct result_view *view, const struct question *question,
                struct objects *out, struct error *err)
{
    struct job_params params;
    bool is_damaged = false;
    const struct db_image *image = &view->image;
    if (image->width != view->grid.image_width || image->height != view->grid.image_height)
        return error_set(err, ERROR_CORRUPT, "image %s has another size than its result",
                         image->id);
    int rc = job_params_from_text(view->job.params, &params, err);
    if (rc == 0)
        rc = result_view_load(call, view, err);
    if (rc == 0)
        rc = find_once(call, view, &params.normalise, question, out, &is_damaged, err);
    /* A damaged view is made anew, once. */
    if (rc != 0 && is_damaged)
        rc = find_once(call, view, &params.normalise, question, out, &is_damaged, err);
    return rc;
}

/* ---- the answer ---- */

/* On its way out as text. */
struct answer {
    enum objects_form form;
    struct objects objects; /* owned, as what follows */
    char *class_name;
    char *head;    /* of the JSON, without its last brace */
    uint32_t next; /* object to be written next */
};

static void answer_destroy(void *context)
{
    struct answer *answer = context;
    objects_clear(&answer->objects);
    free(answer->class_name);
    free(answer->head);
    free(answer);
}

static int make_head(struct answer *answer, const struct result_view *view,
                     const struct question *question, struct error *err)
{
    json_t *object = objects_json_summary(&answer->objects);
    json_t *place = json_pack("{s:s, s:s, s:s, s:I, s:s}", "job_id", view->job.id, "image_id",
                              view->image.id, "class", answer->class_name, "min_area",
                              (json_int_t)question->filter.min_area, "border", question->border);
    if (place != NULL && json_object_update_new(place, object) == 0)
        answer->head = json_dumps(place, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(place);
    return answer->head == NULL ? error_set_nomem(err, "the objects") : 0;
}

static int answer_write(void *context, struct body_writer *writer, bool *ended, struct error *err)
{
    struct answer *answer = context;
    const uint32_t left = answer->objects.n - answer->next;
    const uint32_t n = left < TEXT_OBJECTS ? left : TEXT_OBJECTS;
    (void)err;
    *ended = n == left;
    switch (answer->form) {
    case OBJECTS_JSON:
        if (answer->next == 0) {
            body_write(writer, answer->head, strlen(answer->head) - 1);
            body_write_text(writer, ",\"objects\":[");
        }
        objects_json_write(writer, &answer->objects, answer->next, n);
        if (*ended)
            body_write_text(writer, "]}");
        break;
    case OBJECTS_CSV:
        if (answer->next == 0)
            objects_csv_write_header(writer);
        objects_csv_write(writer, answer->class_name, &answer->objects, answer->next, n);
        break;
    }
    answer->next += n;
    return 0;
}

static int answer_create(struct answer **out, struct api_call *call, struct result_view *view,
                         const struct question *question, enum objects_form form, struct error *err)
{
    struct answer *answer = calloc(1, sizeof(*answer));
    if (answer == NULL)
        return error_set_nomem(err, "the objects");
    answer->form = form;
    answer->class_name = strdup(view->set.classes[question->class_index].name);
    int rc = answer->class_name == NULL ? error_set_nomem(err, "the objects")
                                        : find(call, view, question, &answer->objects, err);
    if (rc == 0)
        rc = make_head(answer, view, question, err);
    if (rc == 0)
        *out = answer;
    else
        answer_destroy(answer);
    return rc;
}

static int name_file(struct api_call *call, const struct result_view *view, struct error *err)
{
    char name[1100];
    snprintf(name, sizeof(name), "%s objects.csv", view->image.name);
    return response_attachment(call->response, name, err);
}

static int write_answer(struct api_call *call, struct result_view *view,
                        const struct question *question, enum objects_form form, struct error *err)
{
    static const char *const types[] = {
        [OBJECTS_JSON] = "application/json",
        [OBJECTS_CSV] = "text/csv; charset=utf-8; header=present",
    };
    struct answer *answer = NULL;
    int rc = answer_create(&answer, call, view, question, form, err);
    if (rc != 0)
        return rc;
    const struct text_source source = {
        .context = answer, .write = answer_write, .destroy = answer_destroy};
    return text_answer(call->response, types[form], &source, TEXT_ANSWER_WHOLE_MAX, err);
}

static int answer_objects(struct api_call *call, enum objects_form form, struct error *err)
{
    struct result_view view;
    struct question question = {0};
    int rc = result_view_open(call, &view, err);
    if (rc != 0)
        return rc;
    rc = read_question(call, &view, &question, err);
    /* Lengths follow the pixel size that the image has now. */
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    if (rc == 0 &&
        !call_not_modified(call, "%s-%s-objects" OBJECTS_REVISION "-%" PRIu64 "-%d-%u-%u-%s",
                           view.job.id, view.image.id, view.image.revision, (int)form,
                           question.class_index, call_query(call, "min_area")->number,
                           question.border)) {
        if (form == OBJECTS_CSV)
            rc = name_file(call, &view, err);
        if (rc == 0)
            rc = write_answer(call, &view, &question, form, err);
    }
    result_view_clear(&view);
    return rc;
}

int result_objects_get(struct api_call *call, struct error *err)
{
    const bool csv = strcmp(call->route->produces[call->media], "text/csv") == 0;
    return answer_objects(call, csv ? OBJECTS_CSV : OBJECTS_JSON, err);
}

int result_objects_csv(struct api_call *call, struct error *err)
{
    return answer_objects(call, OBJECTS_CSV, err);
}
