/* Results as JSON and CSV. A result is final once it is stored, whatever becomes of its job; so the
 * text of one can be made from parts that are read one after the other, while it is sent. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/results/labels_csv.h"
#include "api/message/body_writer.h"
#include "api/results/result_view.h"
#include "api/message/text_answer.h"
#include "engine/fewshot/labels.h"

/* ---- the list ---- */

static int append_item(struct api_call *call, const struct db_job *job,
                       const struct db_support_set *set, const struct db_result *result,
                       json_t *items, struct error *err)
{
    struct db_image image = {0};
    json_t *item = NULL;
    if (result->n_classes != set->n_classes)
        return error_set(err, ERROR_CORRUPT, "job %s: result with another number of classes",
                         job->id);
    int rc = db_image_get(call->api->db, result->image_id, &image, err);
    if (rc == 0)
        rc = result_view_json(job, set, &image, result, &item, err);
    if (rc == 0 && json_array_append_new(items, item) != 0)
        rc = error_set_nomem(err, "a list of results");
    db_image_clear(&image);
    return rc;
}

static int answer_page(struct api_call *call, const struct db_job *job,
                       const struct db_support_set *set, const struct db_result_list *list,
                       struct error *err)
{
    json_t *items = json_array();
    size_t n_damaged = list->n_damaged;
    int rc = 0;
    for (size_t i = 0; i < list->n_items && rc == 0; i++) {
        rc = append_item(call, job, set, &list->items[i], items, err);
        if (rc == ERROR_CORRUPT) {
            n_damaged++;
            rc = 0;
        }
    }
    json_t *body = json_pack("{s:s, s:s, s:I, s:I, s:o}", "job_id", job->id, "state",
                             db_job_state_name(job->state), "n_results", (json_int_t)job->n_results,
                             "n_images", (json_int_t)job->n_images, "items", items);
    if (n_damaged > 0)
        json_object_set_new(body, "n_damaged", json_integer((json_int_t)n_damaged));
    const char *last = list->n_items > 0 ? list->items[list->n_items - 1].image_id : NULL;
    if (rc == 0)
        rc = call_next(call, body, list->more, last, err);
    if (rc != 0) {
        json_decref(body);
        return rc;
    }
    return response_json(call->response, 200, body, err);
}

/* In the order of the job's images; the cursor is an image's id. */
static int list_page(struct api_call *call, const struct db_job *job, struct error *err)
{
    struct db_support_set set = {0};
    struct db_result_list list = {0};
    const struct db_page page = call_page(call);
    int rc = db_support_set_get_classes(call->api->db, job->support_set_id,
                                        job->support_set_version, &set, err);
    if (rc == 0)
        rc = db_result_list(call->api->db, job->id, &page, &list, err);
    if (rc == 0)
        rc = answer_page(call, job, &set, &list, err);
    else
        rc = call_page_error(call, rc, err);
    db_result_list_clear(&list);
    db_support_set_clear(&set);
    return rc;
}

int results_list(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_job job = {0};
    int rc = db_job_get_row(call->api->db, id, &job, err);
    if (rc != 0)
        return rc;
    /* The list grows while the job runs; then it is final but for the size of pixels. */
    if (!db_job_state_is_final(job.state)) {
        api_response_header(call->response, "Cache-Control", "no-store");
    } else {
        uint64_t revisions;
        rc = db_image_revisions(call->api->db, job.id, &revisions, err);
        if (rc != 0)
            goto out;
        api_response_header(call->response, "Cache-Control", "private, no-cache");
        if (call_not_modified(call, "%s-" RESULT_JSON_REVISION "-%" PRIu64 "-%u-%s", job.id,
                              revisions, call_query(call, "limit")->number, call->cursor))
            goto out;
    }
    rc = list_page(call, &job, err);
out:
    db_job_clear(&job);
    return rc;
}

/* ---- one result ---- */

enum result_form { RESULT_JSON, RESULT_CSV };

enum {
    PART_SIZE = 1 << 20, /* bytes of maps that an answer holds */
    TEXT_CHIPS = 512,    /* written at once: 600 KiB where 64 classes have the longest names */
};

/* A result on its way out as text. Nothing but `part` grows with the number of chips, up to
 * PART_SIZE. */
struct result_text {
    enum result_form form;
    struct db *db; /* borrowed */
    struct result_view view;
    char *names[CLASSIFIER_CLASSES_MAX]; /* the classes', as the form has them; owned */
    struct db_result_part part;          /* chips in memory; owns the arrays */
    uint64_t part_max;                   /* chips that they hold */
    uint64_t next;                       /* chip to be written next */
};

static void text_destroy(void *context)
{
    struct result_text *text = context;
    result_view_clear(&text->view);
    for (size_t i = 0; i < CLASSIFIER_CLASSES_MAX; i++)
        free(text->names[i]);
    free(text->part.labels);
    free(text->part.probabilities);
    free(text->part.raw_labels);
    free(text);
}

static char *encode_name(enum result_form form, const char *class_name)
{
    if (form == RESULT_CSV)
        return strdup(class_name);
    json_t *name = json_string(class_name);
    char *text = name == NULL ? NULL : json_dumps(name, JSON_ENCODE_ANY);
    json_decref(name);
    return text;
}

/* Each class' name, written once for all chips. */
static int encode_names(struct result_text *text, struct error *err)
{
    const struct db_support_set *set = &text->view.set;
    for (size_t i = 0; i < set->n_classes; i++) {
        text->names[i] = encode_name(text->form, set->classes[i].name);
        if (text->names[i] == NULL)
            return error_set_nomem(err, "class names");
    }
    return 0;
}

static int make_room(struct result_text *text, struct error *err)
{
    const uint64_t n_chips = grid_n_chips(&text->view.grid);
    const uint32_t n_classes = text->view.result.n_classes;
    const uint64_t fits = PART_SIZE / (2 * sizeof(uint16_t) + n_classes * sizeof(float));
    const bool has_raw = text->view.result.has_raw_labels;
    struct db_result_part *part = &text->part;
    text->part_max = n_chips < fits ? n_chips : fits;
    part->labels = reallocarray(NULL, text->part_max, sizeof(*part->labels));
    part->probabilities =
        reallocarray(NULL, text->part_max * n_classes, sizeof(*part->probabilities));
    if (has_raw)
        part->raw_labels = reallocarray(NULL, text->part_max, sizeof(*part->raw_labels));
    if (part->labels == NULL || part->probabilities == NULL ||
        (has_raw && part->raw_labels == NULL))
        return error_set_nomem(err, "a result's maps");
    return 0;
}

/* Takes what `view` holds and leaves it empty, unless memory is short. */
static int text_create(struct result_text **out, struct db *db, struct result_view *view,
                       enum result_form form, struct error *err)
{
    struct result_text *text = calloc(1, sizeof(*text));
    if (text == NULL)
        return error_set_nomem(err, "a result");
    text->form = form;
    text->db = db;
    text->view = *view;
    *view = (struct result_view){0};
    int rc = encode_names(text, err);
    if (rc == 0)
        rc = make_room(text, err);
    if (rc == 0)
        *out = text;
    else
        text_destroy(text);
    return rc;
}

static int load_part(struct result_text *text, struct error *err)
{
    struct db_result_part *part = &text->part;
    const uint64_t left = grid_n_chips(&text->view.grid) - text->next;
    part->first = text->next;
    part->n_chips = left < text->part_max ? left : text->part_max;
    return db_result_read_part(text->db, &text->view.result, part, err);
}

static void write_json_label(struct body_writer *writer, uint16_t label, uint32_t n_classes,
                             char *const *names)
{
    if (label < n_classes) {
        body_write_text(writer, names[label]);
        return;
    }
    body_write(writer, "\"", 1);
    body_write_text(writer, label_name(label, NULL));
    body_write(writer, "\"", 1);
}

static void write_json_chips(struct body_writer *writer, const struct grid *grid, uint64_t first,
                             const struct classification *chips, char *const *names)
{
    for (uint64_t i = 0; i < chips->n_chips; i++) {
        const uint64_t chip = first + i;
        struct chip_rect rect = grid_chip(grid, chip);
        body_write_text(writer, chip == 0 ? "{\"row\":" : ",{\"row\":");
        body_write_uint(writer, chip / grid->columns);
        body_write_text(writer, ",\"column\":");
        body_write_uint(writer, chip % grid->columns);
        body_write_text(writer, ",\"x\":");
        body_write_uint(writer, rect.x);
        body_write_text(writer, ",\"y\":");
        body_write_uint(writer, rect.y);
        body_write_text(writer, ",\"label\":");
        write_json_label(writer, chips->labels[i], chips->n_classes, names);
        if (chips->raw_labels != NULL) {
            body_write_text(writer, ",\"raw_label\":");
            write_json_label(writer, chips->raw_labels[i], chips->n_classes, names);
        }
        body_write_text(writer, ",\"probability\":");
        body_write_fraction(writer, classification_probability(chips, i));
        body_write_text(writer, ",\"margin\":");
        body_write_fraction(writer, classification_margin(chips, i));
        body_write(writer, "}", 1);
    }
}

/* The head is small and goes through Jansson; the chips are appended to it as text. */
static int write_json_head(struct body_writer *writer, const struct result_view *view,
                           struct error *err)
{
    json_t *head = NULL;
    int rc = result_view_json(&view->job, &view->set, &view->image, &view->result, &head, err);
    if (rc != 0)
        return rc;
    char *text = json_dumps(head, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(head);
    if (text == NULL)
        return error_set_nomem(err, "a result");
    body_write(writer, text, strlen(text) - 1);
    body_write_text(writer, ",\"chips\":[");
    free(text);
    return 0;
}

static int write_head(const struct result_text *text, struct body_writer *writer, struct error *err)
{
    switch (text->form) {
    case RESULT_JSON:
        return write_json_head(writer, &text->view, err);
    case RESULT_CSV:
        labels_csv_write_header(
            writer, text->part.raw_labels != NULL ? LABELS_CSV_WITH_RAW : LABELS_CSV_PLAIN,
            text->view.result.n_classes, (const char *const *)text->names);
        break;
    }
    return 0;
}

/* The next chips that are in memory. */
static void write_chips(struct result_text *text, struct body_writer *writer)
{
    const struct db_result_part *part = &text->part;
    const struct grid *grid = &text->view.grid;
    const uint64_t at = text->next - part->first, left = part->n_chips - at;
    const uint32_t n_classes = text->view.result.n_classes;
    const struct classification chips = {
        .n_chips = left < TEXT_CHIPS ? left : TEXT_CHIPS,
        .n_classes = n_classes,
        .temperature = text->view.result.temperature,
        .labels = part->labels + at,
        .raw_labels = part->raw_labels != NULL ? part->raw_labels + at : NULL,
        .probabilities = part->probabilities + at * n_classes};
    switch (text->form) {
    case RESULT_JSON:
        write_json_chips(writer, grid, text->next, &chips, text->names);
        break;
    case RESULT_CSV:
        labels_csv_write_chips(writer, grid, text->next, &chips, (const char *const *)text->names);
        break;
    }
    text->next += chips.n_chips;
}

static int text_write(void *context, struct body_writer *writer, bool *ended, struct error *err)
{
    struct result_text *text = context;
    int rc = text->next == 0 ? write_head(text, writer, err) : 0;
    if (rc == 0 && text->next == text->part.first + text->part.n_chips)
        rc = load_part(text, err);
    if (rc != 0)
        return rc;
    write_chips(text, writer);
    *ended = text->next == grid_n_chips(&text->view.grid);
    if (*ended && text->form == RESULT_JSON)
        body_write_text(writer, "]}");
    return 0;
}

static int write_answer(struct api_call *call, struct result_view *view, enum result_form form,
                        struct error *err)
{
    static const char *const types[] = {
        [RESULT_JSON] = "application/json",
        [RESULT_CSV] = "text/csv; charset=utf-8; header=present",
    };
    struct result_text *text = NULL;
    int rc = text_create(&text, call->api->db, view, form, err);
    if (rc != 0)
        return rc;
    const struct text_source source = {
        .context = text, .write = text_write, .destroy = text_destroy};
    return text_answer(call->response, types[form], &source, TEXT_ANSWER_WHOLE_MAX, err);
}

static int name_file(struct api_call *call, const struct result_view *view, struct error *err)
{
    char name[1100];
    snprintf(name, sizeof(name), "%s.csv", view->image.name);
    return response_attachment(call->response, name, err);
}

/* Whether the client has it already. The table of chips, which tells no lengths, never changes. */
static bool was_known(struct api_call *call, const struct result_view *view, enum result_form form)
{
    if (form == RESULT_CSV) {
        response_immutable(call->response);
        return call_not_modified(call, "%s-%s-csv", view->job.id, view->image.id);
    }
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    return call_not_modified(call, "%s-%s-json" RESULT_JSON_REVISION "-%" PRIu64, view->job.id,
                             view->image.id, view->image.revision);
}

static int answer(struct api_call *call, enum result_form form, struct error *err)
{
    struct result_view view;
    int rc = result_view_open(call, &view, err);
    if (rc != 0)
        return rc;
    if (!was_known(call, &view, form)) {
        if (form == RESULT_CSV)
            rc = name_file(call, &view, err);
        if (rc == 0)
            rc = write_answer(call, &view, form, err);
    }
    result_view_clear(&view);
    return rc;
}

int results_get(struct api_call *call, struct error *err)
{
    bool csv = strcmp(call->route->produces[call->media], "text/csv") == 0;
    return answer(call, csv ? RESULT_CSV : RESULT_JSON, err);
}

int results_csv(struct api_call *call, struct error *err)
{
    return answer(call, RESULT_CSV, err);
}
