/* First the stored quantities of all images are gathered, image by image as they come; then each
 * class becomes numerators and denominators of every image, of which the engine makes summaries. */
#include "api/results/population_table.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/results/populations.h"

enum { SEED = 0 };

/* What is gathered of a class in an image; NaN: the result does not say. */
enum raw {
    RAW_CHIPS,
    RAW_AREA,  /* pixels */
    RAW_CELLS, /* the area in pieces of stride x stride pixels, of programs before */
    RAW_ESTIMATE,
    RAW_PROBABILITY,
    RAW_REGIONS,
    RAW_BORDER,
    RAW_NN,
    RAW_NN_RATIO,
    RAW_NEXT,
    RAW_AXIS,
    RAW_POSITION,
    RAW_TILT,
    RAW_ROUGHNESS,
    RAW_CORRELATION,
    RAWS,
};

static const char *const raw_names[RAWS] = {
    [RAW_CHIPS] = STATISTIC_CHIPS,
    [RAW_AREA] = STATISTIC_AREA_PIXELS,
    [RAW_CELLS] = "area_cells",
    [RAW_ESTIMATE] = STATISTIC_FRACTION_ESTIMATE,
    [RAW_PROBABILITY] = STATISTIC_MEAN_PROBABILITY,
    [RAW_REGIONS] = STATISTIC_REGIONS_8,
    [RAW_BORDER] = STATISTIC_REGIONS_BORDER,
    [RAW_NN] = STATISTIC_NN_DISTANCE,
    [RAW_NN_RATIO] = STATISTIC_NN_RATIO,
    [RAW_NEXT] = STATISTIC_INTERFACE_NEXT,
    [RAW_AXIS] = STATISTIC_INTERFACE_AXIS,
    [RAW_POSITION] = STATISTIC_INTERFACE_POSITION,
    [RAW_TILT] = STATISTIC_INTERFACE_TILT,
    [RAW_ROUGHNESS] = STATISTIC_INTERFACE_ROUGHNESS,
    [RAW_CORRELATION] = STATISTIC_INTERFACE_CORRELATION,
};

enum unit { NO_UNIT, LENGTH, AREA, PER_AREA };

static const struct {
    const char *name;
    enum unit unit;
} quantities[POPULATION_QUANTITIES] = {
    [POPULATION_CHIPS] = {"n_chips", NO_UNIT},
    [POPULATION_FRACTION] = {"area_fraction", NO_UNIT},
    [POPULATION_FRACTION_ESTIMATE] = {"fraction_estimate", NO_UNIT},
    [POPULATION_PROBABILITY] = {"mean_probability", NO_UNIT},
    [POPULATION_REGIONS] = {"n_regions", NO_UNIT},
    [POPULATION_DENSITY] = {"density", PER_AREA},
    [POPULATION_REGION_AREA] = {"region_area", AREA},
    [POPULATION_REGIONS_BORDER] = {"regions_at_border", NO_UNIT},
    [POPULATION_NN_DISTANCE] = {"nn_distance", LENGTH},
    [POPULATION_NN_RATIO] = {"nn_ratio", NO_UNIT},
    [POPULATION_INTERFACE_POSITION] = {"interface_position", LENGTH},
    [POPULATION_INTERFACE_TILT] = {"interface_tilt", NO_UNIT},
    [POPULATION_INTERFACE_ROUGHNESS] = {"interface_roughness", LENGTH},
    [POPULATION_INTERFACE_CORRELATION] = {"interface_correlation", LENGTH},
};

const char *population_quantity_name(enum population_quantity quantity)
{
    return quantities[quantity].name;
}

const char *population_quantity_unit(const struct population_table *table,
                                     enum population_quantity quantity)
{
    switch (quantities[quantity].unit) {
    case NO_UNIT:
        return "";
    case LENGTH:
        return table->in_nm ? "nm" : "px";
    case AREA:
        return table->in_nm ? "nm2" : "px2";
    case PER_AREA:
        return table->in_nm ? "1/um2" : "1/px2";
    }
    return "";
}

/* ---- gathering ---- */

struct image {
    double pixel_x_nm, pixel_y_nm; /* 0: unknown */
    double stride_pixels;
    double no_class_pixels; /* analysed, without a class */
};

struct gathering {
    const char *job_id;
    struct population_table *table;
    struct image *images; /* n_images of the table; owned */
    double *raws;         /* n_images x n_classes x RAWS; owned */
    size_t n_allocated;
};

static double *raws_of(const struct gathering *gathering, size_t image, uint32_t class_index)
{
    const size_t n_classes = gathering->table->n_classes;
    return gathering->raws + (image * n_classes + class_index) * RAWS;
}

static int take_image(void *context, const struct db_population_image *image, struct error *err)
{
    struct gathering *gathering = context;
    struct population_table *table = gathering->table;
    const size_t per_image = (size_t)table->n_classes * RAWS;
    if (image->n_classes != table->n_classes)
        return error_set(err, ERROR_CORRUPT, "job %s: result with another number of classes",
                         gathering->job_id);
    if (table->n_images == gathering->n_allocated) {
        const size_t n = gathering->n_allocated == 0 ? 16 : gathering->n_allocated * 2;
        void *images = reallocarray(gathering->images, n, sizeof(*gathering->images));
        if (images != NULL)
            gathering->images = images;
        void *raws = reallocarray(gathering->raws, n * per_image, sizeof(*gathering->raws));
        if (raws != NULL)
            gathering->raws = raws;
        if (images == NULL || raws == NULL)
            return error_set_nomem(err, "a population");
        gathering->n_allocated = n;
    }
    const size_t at = table->n_images++;
    gathering->images[at] = (struct image){image->pixel_x_nm, image->pixel_y_nm,
                                           (double)image->stride_x * image->stride_y, 0.0};
    for (size_t i = 0; i < per_image; i++)
        gathering->raws[at * per_image + i] = NAN;
    return 0;
}

static void take_of_class(struct gathering *gathering, const struct db_population_row *row)
{
    double *raws = raws_of(gathering, row->image, (uint32_t)row->class_index);
    for (int i = 0; i < RAWS; i++) {
        if (strcmp(row->name, raw_names[i]) == 0) {
            raws[i] = row->value;
            return;
        }
    }
    uint64_t *sizes = gathering->table->classes[row->class_index].sizes;
    for (int i = 0; i < STATISTIC_REGION_SIZES; i++) {
        if (strcmp(row->name, statistic_region_sizes[i]) == 0)
            sizes[i] += (uint64_t)fmin(fmax(row->value, 0.0), 0x1p53);
    }
}

static int take_row(void *context, const struct db_population_row *row, struct error *err)
{
    struct gathering *gathering = context;
    (void)err;
    if (row->class_index >= 0)
        take_of_class(gathering, row);
    else if (strcmp(row->name, STATISTIC_UNKNOWN_PIXELS) == 0 ||
             strcmp(row->name, STATISTIC_UNDECIDED_PIXELS) == 0)
        gathering->images[row->image].no_class_pixels += row->value;
    return 0;
}

/* Areas of programs before become pixels. */
static void complete_areas(struct gathering *gathering)
{
    for (size_t i = 0; i < gathering->table->n_images; i++) {
        for (uint32_t k = 0; k < gathering->table->n_classes; k++) {
            double *raws = raws_of(gathering, i, k);
            const double pieces = isnan(raws[RAW_CELLS]) ? raws[RAW_CHIPS] : raws[RAW_CELLS];
            if (isnan(raws[RAW_AREA]))
                raws[RAW_AREA] = pieces * gathering->images[i].stride_pixels;
        }
    }
}

/* ---- units ---- */

static void choose_units(const struct gathering *gathering, struct population_table *table)
{
    table->in_nm = table->n_images > 0;
    table->pixel_nm2 = NAN;
    for (size_t i = 0; i < table->n_images; i++) {
        const struct image *image = &gathering->images[i];
        const double nm2 = image->pixel_x_nm * image->pixel_y_nm;
        table->in_nm = table->in_nm && nm2 > 0.0;
        if (i == 0)
            table->pixel_nm2 = nm2;
        else if (nm2 != table->pixel_nm2)
            table->pixel_nm2 = NAN;
    }
    if (!table->in_nm)
        table->pixel_nm2 = NAN;
}

/* Factors of an image's pixels; 1 where the table is in pixels. */
struct scale {
    double area, length, x, y;
};

static struct scale scale_of(const struct population_table *table, const struct image *image)
{
    if (!table->in_nm)
        return (struct scale){1.0, 1.0, 1.0, 1.0};
    const double area = image->pixel_x_nm * image->pixel_y_nm;
    return (struct scale){area, sqrt(area), image->pixel_x_nm, image->pixel_y_nm};
}

static bool is_counted(const struct population_table *table, uint32_t k)
{
    return (table->uncounted >> k & 1) == 0;
}

/* Analysed and counted, in pixels. */
static double area_of(const struct gathering *gathering, size_t image)
{
    double area = gathering->images[image].no_class_pixels;
    for (uint32_t k = 0; k < gathering->table->n_classes; k++)
        area += is_counted(gathering->table, k) ? raws_of(gathering, image, k)[RAW_AREA] : 0.0;
    return area;
}

/* Chips with a class that is counted. */
static double chips_of(const struct gathering *gathering, size_t image)
{
    double n = 0.0;
    for (uint32_t k = 0; k < gathering->table->n_classes; k++)
        n += is_counted(gathering->table, k) ? raws_of(gathering, image, k)[RAW_CHIPS] : 0.0;
    return n;
}

/* ---- one class ---- */

/* Of the classes that follow it in some image the one that does in most, along one axis. */
static void choose_interface(const struct gathering *gathering, uint32_t k,
                             struct population_class *out)
{
    const uint32_t n_classes = gathering->table->n_classes;
    uint32_t counts[CLASSIFIER_CLASSES_MAX][2] = {{0}}, most = 0;
    out->next = n_classes;
    for (size_t i = 0; i < gathering->table->n_images; i++) {
        const double *raws = raws_of(gathering, i, k);
        if (!(raws[RAW_NEXT] >= 0.0 && raws[RAW_NEXT] < n_classes))
            continue;
        const uint32_t next = (uint32_t)raws[RAW_NEXT];
        const bool along_y = raws[RAW_AXIS] == 1.0;
        if (++counts[next][along_y] > most) {
            most = counts[next][along_y];
            out->next = next;
            out->interface_along_y = along_y;
        }
    }
}

/* A term of the sums over images. Nothing is said where a number is missing. */
static void put(double *numerators, double *denominators, enum population_quantity quantity,
                size_t n_images, size_t image, double numerator, double denominator)
{
    const bool is_said = isfinite(numerator) && isfinite(denominator) && denominator > 0.0;
    numerators[quantity * n_images + image] = is_said ? numerator : 0.0;
    denominators[quantity * n_images + image] = is_said ? denominator : 0.0;
}

/* Arrays: POPULATION_QUANTITIES x n_images. */
static void fill_image(const struct gathering *gathering, uint32_t k, size_t image,
                       double *numerators, double *denominators)
{
    const struct population_table *table = gathering->table;
    const struct population_class *class = &table->classes[k];
    const double *raws = raws_of(gathering, image, k);
    const struct scale scale = scale_of(table, &gathering->images[image]);
    const double analysed = area_of(gathering, image) * scale.area;
    const double n_chips = chips_of(gathering, image), n_regions = raws[RAW_REGIONS];
    const double across = class->interface_along_y ? scale.x : scale.y;
    const double along = class->interface_along_y ? scale.y : scale.x;
    const bool is_layer =
        raws[RAW_NEXT] == class->next && (raws[RAW_AXIS] == 1.0) == class->interface_along_y;
    const double layer = is_layer ? 1.0 : 0.0;
    const struct {
        double numerator, denominator;
    } terms[POPULATION_QUANTITIES] = {
        [POPULATION_CHIPS] = {raws[RAW_CHIPS], 1.0},
        [POPULATION_FRACTION] = {raws[RAW_AREA] * scale.area,
                                 is_counted(table, k) ? analysed : 0.0},
        [POPULATION_FRACTION_ESTIMATE] = {raws[RAW_ESTIMATE] * n_chips, n_chips},
        [POPULATION_PROBABILITY] = {raws[RAW_PROBABILITY] * raws[RAW_CHIPS], raws[RAW_CHIPS]},
        [POPULATION_REGIONS] = {n_regions, 1.0},
        [POPULATION_DENSITY] = {n_regions, table->in_nm ? analysed * 1e-6 : analysed},
        [POPULATION_REGION_AREA] = {raws[RAW_AREA] * scale.area, n_regions},
        [POPULATION_REGIONS_BORDER] = {raws[RAW_BORDER], n_regions},
        [POPULATION_NN_DISTANCE] = {raws[RAW_NN] * scale.length * n_regions, n_regions},
        [POPULATION_NN_RATIO] = {raws[RAW_NN_RATIO] * n_regions, n_regions},
        [POPULATION_INTERFACE_POSITION] = {raws[RAW_POSITION] * across, layer},
        [POPULATION_INTERFACE_TILT] = {raws[RAW_TILT] * across / along, layer},
        [POPULATION_INTERFACE_ROUGHNESS] = {raws[RAW_ROUGHNESS] * across, layer},
        [POPULATION_INTERFACE_CORRELATION] = {raws[RAW_CORRELATION] * along, layer},
    };
    for (int q = 0; q < POPULATION_QUANTITIES; q++)
        put(numerators, denominators, (enum population_quantity)q, table->n_images, image,
            terms[q].numerator, terms[q].denominator);
}

static int summarise_class(const struct gathering *gathering, uint32_t k,
                           const struct cancel *cancel, struct error *err)
{
    struct population_table *table = gathering->table;
    const size_t n = table->n_images;
    double *terms = calloc(2 * POPULATION_QUANTITIES * (n + 1), sizeof(*terms));
    struct population_series series[POPULATION_QUANTITIES];
    if (terms == NULL)
        return error_set_nomem(err, "a population");
    double *denominators = terms + POPULATION_QUANTITIES * n;
    choose_interface(gathering, k, &table->classes[k]);
    for (size_t i = 0; i < n; i++)
        fill_image(gathering, k, i, terms, denominators);
    for (size_t q = 0; q < POPULATION_QUANTITIES; q++)
        series[q] = (struct population_series){terms + q * n, denominators + q * n};
    int rc = population_summarise(series, POPULATION_QUANTITIES, n, SEED, cancel,
                                  table->classes[k].summaries, err);
    free(terms);
    return rc;
}

static int summarise(const struct gathering *gathering, const struct cancel *cancel,
                     struct error *err)
{
    struct population_table *table = gathering->table;
    int rc = 0;
    choose_units(gathering, table);
    for (size_t i = 0; i < table->n_images; i++)
        table->total_area += area_of(gathering, i) * scale_of(table, &gathering->images[i]).area;
    for (uint32_t k = 0; k < table->n_classes && rc == 0; k++)
        rc = summarise_class(gathering, k, cancel, err);
    return rc;
}

/* ---- images unlike the examples' ---- */

static int add_flag(struct population_table *table, const char *image_id, double distance,
                    double limit, struct error *err)
{
    /* Capacities are the powers of two. */
    if ((table->n_flagged & (table->n_flagged - 1)) == 0) {
        const size_t n = table->n_flagged == 0 ? 1 : table->n_flagged * 2;
        void *flagged = reallocarray(table->flagged, n, sizeof(*table->flagged));
        if (flagged == NULL)
            return error_set_nomem(err, "a population");
        table->flagged = flagged;
    }
    struct population_flag *flag = &table->flagged[table->n_flagged++];
    *flag = (struct population_flag){.distance = distance, .limit = limit};
    memcpy(flag->image_id, image_id, DB_ID_SIZE);
    return 0;
}

/* A text that says nothing of a drift, or is no JSON, is passed over: the result itself will tell.
 */
static int take_analysis(void *context, const char *image_id, const char *analysis,
                         struct error *err)
{
    struct population_table *table = context;
    json_t *json = json_loads(analysis, 0, NULL);
    const json_t *drift = json_object_get(json, "drift");
    const double distance = json_number_value(json_object_get(drift, "distance"));
    const double limit = json_number_value(json_object_get(drift, "limit"));
    int rc = 0;
    table->n_measured += json_is_object(drift);
    if (json_is_true(json_object_get(drift, "flagged")))
        rc = add_flag(table, image_id, distance, limit, err);
    json_decref(json);
    return rc;
}

int population_table_read(struct db *db, const char *job_id, uint32_t n_classes, uint64_t uncounted,
                          const struct cancel *cancel, struct population_table *out,
                          struct error *err)
{
    struct population_table table = {.n_classes = n_classes,
                                     .uncounted = uncounted,
                                     .classes = calloc(n_classes, sizeof(*table.classes))};
    struct gathering gathering = {.job_id = job_id, .table = &table};
    const struct db_population_reading reading = {
        .job_id = job_id, .context = &gathering, .take_image = take_image, .take_row = take_row};
    int rc = 0;
    if (table.classes == NULL)
        rc = error_set_nomem(err, "a population");
    if (rc == 0)
        rc = db_population_read(db, &reading, err);
    if (rc == 0) {
        complete_areas(&gathering);
        rc = summarise(&gathering, cancel, err);
    }
    if (rc == 0)
        rc = db_population_visit_analyses(db, job_id, take_analysis, &table, err);
    free(gathering.images);
    free(gathering.raws);
    if (rc == 0)
        *out = table;
    else
        population_table_clear(&table);
    return rc;
}

void population_table_clear(struct population_table *table)
{
    free(table->classes);
    free(table->flagged);
    *table = (struct population_table){0};
}
