/* The quantities of all results of a job, row by row: what a population is made of. */
#ifndef CHIPSHOT_DB_RESULTS_POPULATIONS_H
#define CHIPSHOT_DB_RESULTS_POPULATIONS_H

#include "db/results/results.h"

/* An image with a result. */
struct db_population_image {
    char id[DB_ID_SIZE];
    double pixel_x_nm, pixel_y_nm; /* 0: unknown */
    uint32_t stride_x, stride_y;
    uint32_t n_classes;
};

/* One of its quantities; borrowed for the call. */
struct db_population_row {
    size_t image;        /* 0, 1, ...: as the images were taken */
    int32_t class_index; /* of the image's classes, or DB_QUANTITY_OF_IMAGE */
    char name[DB_QUANTITY_NAME_SIZE];
    double value;
};

enum { DB_POPULATION_NAMES = 8 };

/* Not 0 from a function ends the reading and is its result. */
struct db_population_reading {
    const char *job_id;
    const char *const *names; /* n_names: quantities of these names alone */
    size_t n_names;           /* at most DB_POPULATION_NAMES; 0: all */
    void *context;
    /* Each image, in the order of the job's; then the rows, by image, class and name. */
    int (*take_image)(void *context, const struct db_population_image *image, struct error *err);
    int (*take_row)(void *context, const struct db_population_row *row, struct error *err);
};

/* In one transaction. ERROR_CORRUPT: a row is damaged. */
int db_population_read(struct db *db, const struct db_population_reading *reading,
                       struct error *err);

/* The accounts that results give of how they came about (struct db_result), of those that have one,
 * in the order of the images. ERROR_CORRUPT. */
typedef int (*db_take_analysis)(void *context, const char *image_id, const char *analysis,
                                struct error *err);
int db_population_visit_analyses(struct db *db, const char *job_id, db_take_analysis take,
                                 void *context, struct error *err);

#endif
