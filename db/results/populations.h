/* The quantities of all results of a job, row by row: what a population is made of. */
#ifndef CHIPSHOT_DB_RESULTS_POPULATIONS_H
#define CHIPSHOT_DB_RESULTS_POPULATIONS_H

#include "db/results/results.h"

/* One quantity of one image; borrowed for the call. */
struct db_population_row {
    uint64_t image_index; /* 0, 1, ...: of the images with a result, in the order of the job's */
    char image_id[DB_ID_SIZE];
    double pixel_x_nm, pixel_y_nm; /* 0: unknown */
    uint32_t stride_x, stride_y;
    uint32_t n_classes;
    struct db_quantity quantity;
};

/* Not 0 ends the visit and is its result. */
typedef int (*db_take_population_row)(void *context, const struct db_population_row *row,
                                      struct error *err);

enum { DB_POPULATION_NAMES = 8 };

/* In the order of the images, then of class and name. names[0..n_names-1]: quantities of these
 * names alone, at most DB_POPULATION_NAMES; none: all. A database reader is held meanwhile.
 * ERROR_CORRUPT: a row is damaged. */
int db_population_visit(struct db *db, const char *job_id, const char *const *names, size_t n_names,
                        db_take_population_row take, void *context, struct error *err);

/* The accounts that results give of how they came about (struct db_result), of those that have one,
 * in the order of the images. The rest as above. */
typedef int (*db_take_analysis)(void *context, const char *image_id, const char *analysis,
                                struct error *err);
int db_population_visit_analyses(struct db *db, const char *job_id, db_take_analysis take,
                                 void *context, struct error *err);

#endif
