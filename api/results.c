/* Results as JSON and CSV. A result is final once it is stored, whatever becomes of its job. */
#include <stdlib.h>
#include <string.h>

#include "api/message/body_writer.h"
#include "api/labels_csv.h"
#include "api/result_view.h"
#include "engine/fewshot/labels.h"

/* ---- the list ---- */

static size_t find_start(const struct db_result_list *list, const char *after)
{
    for (size_t i = 0; i < list->n_items; i++) {
        if (strcmp(list->items[i].image_id, after) == 0)
            return i + 1;
    }
    return SIZE_MAX;
}

static int append_item(struct api_call *call, const struct db_job *job,
                       const struct db_support_set *set, const struct db_result *result,
                       json_t *items, struct error *err)
{
    struct db_image image = {0};
    json_t *item = NULL;
    if (result->n_classes != set->n_classes)
        return error_set(err, ERROR_CORRUPT, "job %s: result with another number of classes",
                         job->id);
    int code = db_image_get(call->api->db, result->image_id, &image, err);
    if (code == 0)
        code = result_view_json(job, set, &image, result, &item, err);
    if (code == 0 && json_array_append_new(items, item) != 0)
        code = error_set_nomem(err, "a list of results");
    db_image_clear(&image);
    return code;
}

/* Pages through the job's results in the order of its images; the cursor is an image's id. */
static int list_page(struct api_call *call, const struct db_job *job,
                     const struct db_support_set *set, const struct db_result_list *list,
                     struct error *err)
{
    uint32_t limit = call_query(call, "limit")->number;
    size_t start = call->cursor[0] == '\0' ? 0 : find_start(list, call->cursor);
    if (start == SIZE_MAX) {
        field_errors_add(&call->errors, FIELD_PARAMETER, "cursor", "names no result of job %s",
                         job->id);
        return call_check_fields(call, err);
    }
    size_t end = list->n_items - start > limit ? start + limit : list->n_items;
    json_t *items = json_array();
    int code = 0;
    for (size_t i = start; i < end && code == 0; i++)
        code = append_item(call, job, set, &list->items[i], items, err);
    json_t *body = json_pack("{s:s, s:s, s:I, s:I, s:o}", "job_id", job->id, "state",
                             db_job_state_name(job->state), "n_results", (json_int_t)list->n_items,
                             "n_images", (json_int_t)job->n_images, "items", items);
    if (code == 0)
        code = call_next(call, body,
                         end<list->n_items, end> 0 ? list->items[end - 1].image_id : NULL, err);
    if (code != 0) {
        json_decref(body);
        return code;
    }
    return response_json(call->response, 200, body, err);
}

int results_list(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_job job = {0};
    struct db_support_set set = {0};
    struct db_result_list list = {0};
    int code = db_job_get(call->api->db, id, &job, err);
    if (code != 0)
        return code;
    /* The list grows while the job runs; then it is final. */
    if (!db_job_state_is_final(job.state)) {
        api_response_header(call->response, "Cache-Control", "no-store");
    } else {
        response_immutable(call->response);
        if (call_not_modified(call, "%s-%u-%s", job.id, call_query(call, "limit")->number,
                              call->cursor))
            goto out;
    }
    code =
        db_support_set_get(call->api->db, job.support_set_id, job.support_set_version, &set, err);
    if (code == 0)
        code = db_result_list(call->api->db, id, &list, err);
    if (code == 0)
        code = list_page(call, &job, &set, &list, err);
out:
    db_result_list_clear(&list);
    db_support_set_clear(&set);
    db_job_clear(&job);
    return code;
}

/* ---- one result ---- */

/* Each class' name as JSON, written once for all chips. */
static int encode_names(const struct db_support_set *set, char **out, struct error *err)
{
    for (size_t i = 0; i < set->n_classes; i++) {
        json_t *name = json_string(set->classes[i].name);
        out[i] = name == NULL ? NULL : json_dumps(name, JSON_ENCODE_ANY);
        json_decref(name);
        if (out[i] == NULL)
            return error_set_nomem(err, "class names");
    }
    return 0;
}

/* ERROR_CORRUPT: a label that may not be. */
static int check_labels(const struct result_view *view, struct error *err)
{
    struct error cause = {0};
    if (labels_check(view->result.labels, grid_n_chips(&view->grid), view->result.n_classes,
                     &cause) != 0)
        return error_set(err, ERROR_CORRUPT, "job %s, image %s: %s", view->job.id, view->image.id,
                         cause.message);
    return 0;
}

static void write_json_label(struct body_writer *writer, const struct result_view *view,
                             char *const *names, uint16_t label)
{
    if (label < view->result.n_classes) {
        body_write_text(writer, names[label]);
        return;
    }
    body_write(writer, "\"", 1);
    body_write_text(writer, label_name(label, NULL));
    body_write(writer, "\"", 1);
}

static void write_json_chips(struct body_writer *writer, const struct result_view *view,
                             char *const *names)
{
    struct classification chips = result_view_classification(view);
    for (uint64_t i = 0; i < chips.n_chips; i++) {
        struct chip_rect rect = grid_chip(&view->grid, i);
        body_write_text(writer, i == 0 ? "{\"row\":" : ",{\"row\":");
        body_write_uint(writer, i / view->grid.columns);
        body_write_text(writer, ",\"column\":");
        body_write_uint(writer, i % view->grid.columns);
        body_write_text(writer, ",\"x\":");
        body_write_uint(writer, rect.x);
        body_write_text(writer, ",\"y\":");
        body_write_uint(writer, rect.y);
        body_write_text(writer, ",\"label\":");
        write_json_label(writer, view, names, chips.labels[i]);
        body_write_text(writer, ",\"probability\":");
        body_write_fraction(writer, classification_probability(&chips, i));
        body_write_text(writer, ",\"margin\":");
        body_write_fraction(writer, classification_margin(&chips, i));
        body_write(writer, "}", 1);
    }
}

/* The head is small and goes through Jansson; the chips are appended to it as text. */
static int write_json(struct api_call *call, const struct result_view *view, struct error *err)
{
    char *names[CLASSIFIER_CLASSES_MAX] = {0};
    struct body_writer writer;
    body_writer_init(&writer, db_directory(call->api->db), 0);
    json_t *head = NULL;
    int code = result_view_json(&view->job, &view->set, &view->image, &view->result, &head, err);
    char *text = head == NULL ? NULL : json_dumps(head, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(head);
    if (code == 0)
        code =
            text == NULL ? error_set_nomem(err, "a result") : encode_names(&view->set, names, err);
    if (code == 0) {
        body_write(&writer, text, strlen(text) - 1);
        body_write_text(&writer, ",\"chips\":[");
        write_json_chips(&writer, view, names);
        body_write_text(&writer, "]}");
        code = body_writer_finish(&writer, "application/json", call->response, err);
    }
    body_writer_clear(&writer);
    for (size_t i = 0; i < CLASSIFIER_CLASSES_MAX; i++)
        free(names[i]);
    free(text);
    return code;
}

static int write_csv(struct api_call *call, const struct result_view *view, struct error *err)
{
    struct classification chips = result_view_classification(view);
    const char *names[CLASSIFIER_CLASSES_MAX];
    for (uint32_t i = 0; i < chips.n_classes; i++)
        names[i] = view->set.classes[i].name;
    struct body_writer writer;
    body_writer_init(&writer, db_directory(call->api->db), 0);
    labels_csv_write(&writer, &view->grid, &chips, names);
    int code =
        body_writer_finish(&writer, "text/csv; charset=utf-8; header=present", call->response, err);
    body_writer_clear(&writer);
    return code;
}

static int file_name(struct api_call *call, const struct result_view *view, struct error *err)
{
    char name[1100];
    snprintf(name, sizeof(name), "%s.csv", view->image.name);
    return response_attachment(call->response, name, err);
}

typedef int (*writer_function)(struct api_call *call, const struct result_view *view,
                               struct error *err);

static int answer(struct api_call *call, const char *kind, writer_function write, struct error *err)
{
    struct result_view view;
    int code = result_view_open(call, &view, err);
    if (code != 0)
        return code;
    response_immutable(call->response);
    if (call_not_modified(call, "%s-%s-%s", view.job.id, view.image.id, kind))
        goto out;
    /* Labels and probabilities of four million chips are large: bounded as decoded images are. */
    code = api_render_begin(call->api, err);
    if (code != 0)
        goto out;
    code = result_view_load(call, &view, err);
    if (code == 0)
        code = check_labels(&view, err);
    if (code == 0)
        code = write(call, &view, err);
    api_render_end(call->api);
out:
    result_view_clear(&view);
    return code;
}

static int answer_csv(struct api_call *call, const struct result_view *view, struct error *err)
{
    int code = write_csv(call, view, err);
    return code != 0 ? code : file_name(call, view, err);
}

int results_get(struct api_call *call, struct error *err)
{
    bool csv = strcmp(call->route->produces[call->media], "text/csv") == 0;
    return csv ? answer(call, "csv", answer_csv, err) : answer(call, "json", write_json, err);
}

int results_csv(struct api_call *call, struct error *err)
{
    return answer(call, "csv", answer_csv, err);
}
