#include "api/results/population_read.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "db/results/populations.h"
#include "engine/fewshot/statistics.h"

/* Areas by the names that programs have stored them under: before there were pixels, in pieces of
 * stride x stride pixels, and before that chips stood for such pieces. */
static const char *const names[] = {
    STATISTIC_CHIPS,           STATISTIC_AREA_PIXELS,    "area_cells",
    STATISTIC_UNKNOWN_CHIPS,   STATISTIC_UNKNOWN_PIXELS, STATISTIC_UNDECIDED_CHIPS,
    STATISTIC_UNDECIDED_PIXELS};

struct reading {
    const char *job_id;
    struct population_read *out;
    size_t n_allocated;
};

static int take_image(void *context, const struct db_population_image *image, struct error *err)
{
    struct reading *reading = context;
    struct population_read *out = reading->out;
    const size_t side = out->n_classes + 1;
    if (image->n_classes != out->n_classes)
        return error_set(err, ERROR_CORRUPT, "job %s: result with another number of classes",
                         reading->job_id);
    if (out->n_images == reading->n_allocated) {
        const size_t n = reading->n_allocated == 0 ? 64 : reading->n_allocated * 2;
        void *images = reallocarray(out->images, n, sizeof(*out->images));
        if (images != NULL)
            out->images = images;
        void *counts = reallocarray(out->counts, n * side, sizeof(*out->counts));
        if (counts != NULL)
            out->counts = counts;
        if (images == NULL || counts == NULL)
            return error_set_nomem(err, "the images of a job");
        reading->n_allocated = n;
    }
    struct population_image *taken = &out->images[out->n_images];
    *taken = (struct population_image){
        .pixel_nm2 = image->pixel_x_nm > 0.0 ? image->pixel_x_nm * image->pixel_y_nm : NAN,
        .stride_pixels = (double)image->stride_x * image->stride_y};
    memcpy(taken->id, image->id, DB_ID_SIZE);
    memset(out->counts + out->n_images * side, 0, side * sizeof(*out->counts));
    out->n_images++;
    return 0;
}

static bool is(const struct db_population_row *row, const char *name)
{
    return strcmp(row->name, name) == 0;
}

static int take_row(void *context, const struct db_population_row *row, struct error *err)
{
    struct reading *reading = context;
    struct population_read *out = reading->out;
    struct population_image *image = &out->images[row->image];
    uint64_t *counts = population_counts(out, row->image);
    if (!(row->value >= 0.0 && row->value <= 0x1p53))
        return error_set(err, ERROR_CORRUPT, "job %s: %s of image %s is no count", reading->job_id,
                         row->name, image->id);
    if (is(row, STATISTIC_CHIPS) && row->class_index >= 0)
        counts[row->class_index] = (uint64_t)row->value;
    else if (is(row, STATISTIC_UNKNOWN_CHIPS) || is(row, STATISTIC_UNDECIDED_CHIPS))
        counts[out->n_classes] += (uint64_t)row->value;
    else if (is(row, "area_cells"))
        image->n_pieces += row->value;
    else
        image->n_pixels += row->value;
    return 0;
}

int population_read(struct db *db, const char *job_id, uint32_t n_classes,
                    struct population_read *out, struct error *err)
{
    struct population_read population = {.n_classes = n_classes};
    struct reading reading = {.job_id = job_id, .out = &population};
    const struct db_population_reading rows = {.job_id = job_id,
                                               .names = names,
                                               .n_names = sizeof(names) / sizeof(names[0]),
                                               .context = &reading,
                                               .take_image = take_image,
                                               .take_row = take_row};
    int rc = db_population_read(db, &rows, err);
    if (rc == 0)
        *out = population;
    else
        population_read_clear(&population);
    return rc;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Marks what is named and moves it together. */
static const char *keep(struct population_read *population, const char **sorted, size_t n,
                        bool *found)
{
    const size_t side = population->n_classes + 1;
    size_t n_kept = 0;
    for (size_t i = 0; i < population->n_images; i++) {
        const char *id = population->images[i].id;
        const char **name = bsearch(&id, sorted, n, sizeof(*sorted), compare);
        if (name == NULL)
            continue;
        found[name - sorted] = true;
        population->images[n_kept] = population->images[i];
        memmove(population->counts + n_kept * side, population->counts + i * side,
                side * sizeof(*population->counts));
        n_kept++;
    }
    population->n_images = n_kept;
    for (size_t i = 0; i < n; i++) {
        if (!found[i])
            return sorted[i];
    }
    return NULL;
}

int population_keep(struct population_read *population, const char *const *image_ids,
                    size_t n_image_ids, const char **bad, struct error *err)
{
    *bad = NULL;
    if (n_image_ids == 0)
        return 0;
    const char **sorted = calloc(n_image_ids, sizeof(*sorted));
    bool *found = calloc(n_image_ids, sizeof(*found));
    int rc = 0;
    if (sorted == NULL || found == NULL) {
        rc = error_set_nomem(err, "the images of a job");
        goto out;
    }
    memcpy(sorted, image_ids, n_image_ids * sizeof(*sorted));
    qsort(sorted, n_image_ids, sizeof(*sorted), compare);
    size_t n = 0; /* each name once */
    for (size_t i = 0; i < n_image_ids; i++) {
        if (n == 0 || strcmp(sorted[i], sorted[n - 1]) != 0)
            sorted[n++] = sorted[i];
    }
    *bad = keep(population, sorted, n, found);
out:
    free(sorted);
    free(found);
    return rc;
}

uint64_t *population_counts(const struct population_read *population, size_t image)
{
    return population->counts + image * (population->n_classes + 1);
}

/* NaN: unknown. */
static double area_nm2(const struct population_read *population, size_t i)
{
    const struct population_image *image = &population->images[i];
    double n_chips = 0.0;
    for (uint32_t s = 0; s <= population->n_classes; s++)
        n_chips += (double)population_counts(population, i)[s];
    const double n_pieces = image->n_pieces > 0.0 ? image->n_pieces : n_chips;
    return image->pixel_nm2 *
           (image->n_pixels > 0.0 ? image->n_pixels : n_pieces * image->stride_pixels);
}

double population_area_nm2(const struct population_read *population)
{
    double total = 0.0;
    for (size_t i = 0; i < population->n_images; i++)
        total += area_nm2(population, i);
    return isfinite(total) ? total : 0.0;
}

void population_read_clear(struct population_read *population)
{
    free(population->images);
    free(population->counts);
    *population = (struct population_read){0};
}
