/* The populations of a job: its classes over all its images, as JSON and CSV. Nothing is stored:
 * with the same results come the same bytes, until the size of an image's pixels is corrected. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/message/body_writer.h"
#include "api/results/population_table.h"
#include "db/jobs.h"
#include "db/support_sets.h"

enum { QUANTILE_REGIONS = 5 }; /* that a class has at least, where it has quantiles */

/* ---- JSON ---- */

static json_t *number(double value)
{
    return !isfinite(value) ? json_null() : json_real(value);
}

/* Totals are told of what is counted. */
static json_t *total(enum population_quantity quantity, const struct population_summary *summary)
{
    const bool is_count = quantity == POPULATION_CHIPS || quantity == POPULATION_REGIONS;
    return is_count ? json_integer((json_int_t)llround(summary->total)) : json_null();
}

/* One row of the table; its members are the columns of the CSV, in their order. */
static json_t *row_json(const struct population_table *table, uint32_t class_index,
                        enum population_quantity quantity)
{
    const struct population_summary *s = &table->classes[class_index].summaries[quantity];
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "quantity",
                     population_quantity_name(quantity), "unit",
                     population_quantity_unit(table, quantity), "n_images", (json_int_t)s->n_images,
                     "total", total(quantity, s), "value", number(s->value), "low", number(s->low),
                     "high", number(s->high), "mean", number(s->mean), "sd", number(s->sd), "min",
                     number(s->least), "median", number(s->median), "max", number(s->greatest));
}

static json_t *rows_json(const struct population_table *table, uint32_t class_index)
{
    json_t *rows = json_array();
    for (int q = 0; q < POPULATION_QUANTITIES; q++) {
        const enum population_quantity quantity = (enum population_quantity)q;
        if (table->classes[class_index].summaries[q].n_images > 0)
            json_array_append_new(rows, row_json(table, class_index, quantity));
    }
    return rows;
}

/* Sizes are counted in pixels: in nm2 they can be told where all pixels are alike. What an octave
 * holds is taken to be spread over it: of few regions that would be a spread which is not theirs.
 */
static json_t *sizes_json(const struct population_table *table, const uint64_t *sizes)
{
    const double unit = isnan(table->pixel_nm2) ? 1.0 : table->pixel_nm2;
    static const double shares[] = {0.1, 0.5, 0.9};
    double quantiles[3];
    uint64_t n = 0;
    json_t *bins = json_array();
    for (int i = 0; i < STATISTIC_REGION_SIZES; i++) {
        n += sizes[i];
        if (sizes[i] > 0)
            json_array_append_new(bins, json_pack("{s:f, s:f, s:I}", "from", ldexp(unit, i), "to",
                                                  ldexp(unit, i + 1), "n", (json_int_t)sizes[i]));
    }
    for (int i = 0; i < 3; i++)
        quantiles[i] =
            n < QUANTILE_REGIONS
                ? NAN
                : population_octave_quantile(sizes, STATISTIC_REGION_SIZES, shares[i]) * unit;
    return json_pack("{s:s, s:I, s:{s:o, s:o, s:o}, s:o}", "unit",
                     isnan(table->pixel_nm2) ? "px2" : "nm2", "n", (json_int_t)n, "quantiles",
                     "p10", number(quantiles[0]), "p50", number(quantiles[1]), "p90",
                     number(quantiles[2]), "bins", bins);
}

static json_t *interface_json(const struct population_class *class,
                              const struct db_support_set *set)
{
    if (class->next >= set->n_classes)
        return json_null();
    return json_pack("{s:s, s:s}", "next", set->classes[class->next].name, "along",
                     class->interface_along_y ? "y" : "x");
}

static json_t *classes_json(const struct population_table *table, const struct db_support_set *set)
{
    json_t *classes = json_array();
    for (uint32_t k = 0; k < table->n_classes; k++) {
        const struct population_class *class = &table->classes[k];
        json_array_append_new(
            classes, json_pack("{s:s, s:o, s:o, s:o}", "name", set->classes[k].name, "interface",
                               interface_json(class, set), "region_sizes",
                               sizes_json(table, class->sizes), "quantities", rows_json(table, k)));
    }
    return classes;
}

static json_t *drift_json(const struct population_table *table)
{
    json_t *flagged = json_array();
    for (size_t i = 0; i < table->n_flagged; i++) {
        const struct population_flag *flag = &table->flagged[i];
        json_array_append_new(flagged, json_pack("{s:s, s:f, s:f}", "image_id", flag->image_id,
                                                 "distance", flag->distance, "limit", flag->limit));
    }
    return json_pack("{s:I, s:o}", "n_measured", (json_int_t)table->n_measured, "flagged", flagged);
}

static int answer_json(struct api_call *call, const struct db_job *job,
                       const struct db_support_set *set, const struct population_table *table,
                       struct error *err)
{
    char self[DB_ID_SIZE + 40], of_job[DB_ID_SIZE + 40];
    snprintf(self, sizeof(self), "/v1/jobs/%s/populations", job->id);
    snprintf(of_job, sizeof(of_job), "/v1/jobs/%s", job->id);
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:{s:f, s:s}, s:f, s:i, s:o, s:o, s:{s:s, s:s}}", "job_id", job->id,
        "state", db_job_state_name(job->state), "n_images", (json_int_t)job->n_images, "n_results",
        (json_int_t)table->n_images, "analysed_area", "value", table->total_area, "unit",
        table->in_nm ? "nm2" : "px2", "confidence", POPULATION_CONFIDENCE, "n_resamples",
        (int)POPULATION_RESAMPLES, "drift", drift_json(table), "classes", classes_json(table, set),
        "links", "self", self, "job", of_job);
    return response_json(call->response, 200, json, err);
}

/* ---- CSV ---- */

/* A text, or a number as JSON writes it; nothing for null. */
static void write_field(struct body_writer *writer, const json_t *value)
{
    if (json_is_string(value)) {
        body_write_csv(writer, json_string_value(value));
        return;
    }
    char *text =
        json_is_null(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    if (text != NULL)
        body_write_text(writer, text);
    free(text);
}

static void write_row(struct body_writer *writer, const char *class_name, json_t *row)
{
    const char *key;
    json_t *value;
    body_write_csv(writer, class_name);
    json_object_foreach(row, key, value)
    {
        body_write(writer, ",", 1);
        write_field(writer, value);
    }
    body_write(writer, "\n", 1);
}

static int answer_csv(struct api_call *call, const struct db_job *job,
                      const struct db_support_set *set, const struct population_table *table,
                      struct error *err)
{
    struct body_writer writer = {0};
    char name[DB_ID_SIZE + 20];
    body_write_text(&writer, "class,quantity,unit,n_images,total,value,low,high,mean,sd,min,"
                             "median,max\n");
    for (uint32_t k = 0; k < table->n_classes; k++) {
        json_t *rows = rows_json(table, k);
        for (size_t i = 0; i < json_array_size(rows); i++)
            write_row(&writer, set->classes[k].name, json_array_get(rows, i));
        json_decref(rows);
    }
    snprintf(name, sizeof(name), "%s-populations.csv", job->id);
    int rc = body_writer_check(&writer, err);
    if (rc == 0)
        rc = response_attachment(call->response, name, err);
    if (rc != 0) {
        body_writer_clear(&writer);
        return rc;
    }
    response_bytes(call->response, 200, "text/csv; charset=utf-8; header=present", writer.buffer,
                   writer.size);
    return 0;
}

/* ---- the operation ---- */

enum populations_form { POPULATIONS_JSON, POPULATIONS_CSV };

static int answer(struct api_call *call, enum populations_form form, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db *db = call->api->db;
    struct db_job job = {0};
    struct db_support_set set = {0};
    struct population_table table = {0};
    int rc = db_job_get_row(db, id, &job, err);
    if (rc == 0)
        rc = db_support_set_get_classes(db, job.support_set_id, job.support_set_version, &set, err);
    if (rc == 0 && set.n_classes > CLASSIFIER_CLASSES_MAX)
        rc = error_set(err, ERROR_CORRUPT, "job %s: too many classes", id);
    if (rc == 0)
        rc = population_table_read(db, id, (uint32_t)set.n_classes, db_support_set_uncounted(&set),
                                   call->request->cancel, &table, err);
    if (rc == 0 && !isfinite(table.total_area))
        rc = error_set(err, ERROR_CORRUPT, "job %s: areas of its results are missing", id);
    api_response_header(call->response, "Cache-Control", "no-store");
    if (rc == 0)
        rc = form == POPULATIONS_JSON ? answer_json(call, &job, &set, &table, err)
                                      : answer_csv(call, &job, &set, &table, err);
    population_table_clear(&table);
    db_support_set_clear(&set);
    db_job_clear(&job);
    return rc;
}

int populations_get(struct api_call *call, struct error *err)
{
    const bool csv = strcmp(call->route->produces[call->media], "text/csv") == 0;
    return answer(call, csv ? POPULATIONS_CSV : POPULATIONS_JSON, err);
}

int populations_csv(struct api_call *call, struct error *err)
{
    return answer(call, POPULATIONS_CSV, err);
}
