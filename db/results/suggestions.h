/* What the results of a job suggest to label next: a text each, for whoever merges them. */
#ifndef CHIPSHOT_DB_RESULTS_SUGGESTIONS_H
#define CHIPSHOT_DB_RESULTS_SUGGESTIONS_H

#include "db/results/results.h"

struct db_connection;

/* In the transaction that stores the result; for db/results/results.c. */
int db_suggestions_insert(struct db_connection *writer, const struct db_result *result,
                          struct error *err);

/* Of one image; borrowed for the call. */
struct db_suggestions {
    char image_id[DB_ID_SIZE];
    const char *image_name;
    const char *text; /* NULL: the result was stored before there were any */
};

/* Not 0 ends the visit and is its result. */
typedef int (*db_take_suggestions)(void *context, const struct db_suggestions *suggestions,
                                   struct error *err);

/* Of all results of a job, in the order of its images. A database reader is held meanwhile. */
int db_suggestions_visit(struct db *db, const char *job_id, db_take_suggestions take, void *context,
                         struct error *err);

#endif
