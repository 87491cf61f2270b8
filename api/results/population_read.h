/* How many chips of each label the images of a job have, from the stored counts. */
#ifndef CHIPSHOT_API_POPULATION_READ_H
#define CHIPSHOT_API_POPULATION_READ_H

#include "db/db.h"

struct population_image {
    char id[DB_ID_SIZE];
    double pixel_nm2; /* NaN: unknown */
    double stride_pixels;
    double n_pixels; /* analysed; 0: the result has its area in pieces */
    double n_pieces; /* of stride x stride pixels; 0: each chip stands for one */
};

/* The images with a result, in the order of the job's. */
struct population_read {
    uint32_t n_classes;
    struct population_image *images; /* owned */
    uint64_t *counts; /* n_images x (n_classes + 1): chips of each label; the last: analysed chips
                         without a class; owned */
    size_t n_images;
};

/* ERROR_CORRUPT: a result with another number of classes, a count that is none. */
int population_read(struct db *db, const char *job_id, uint32_t n_classes,
                    struct population_read *out, struct error *err);
/* Keeps the named images alone, unless none is named. *bad: one of the names that is not there, or
 * NULL. ERROR_NOMEM. */
int population_keep(struct population_read *population, const char *const *image_ids,
                    size_t n_image_ids, const char **bad, struct error *err);
/* n_classes + 1 counts of an image. */
uint64_t *population_counts(const struct population_read *population, size_t image);
/* Analysed in all images, before chips are taken out of the counts; 0: unknown. */
double population_area_nm2(const struct population_read *population);
void population_read_clear(struct population_read *population);

#endif
