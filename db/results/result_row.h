/* What the tables of results have alike: rows that a job and an image name. For db/results/. */
#ifndef CHIPSHOT_DB_RESULTS_RESULT_ROW_H
#define CHIPSHOT_DB_RESULTS_RESULT_ROW_H

#include "db/results/results.h"
#include "db/sql/stmt.h"

/* The rowid that `sql` finds with the result's job and image as its parameters, for db_blob_place.
 * `what` and `sql`: constants. ERROR_NOT_FOUND, ERROR_CORRUPT. */
int db_result_row_find(struct db_connection *reader, const char *what, const char *sql,
                       const struct db_result *result, int64_t *out, struct error *err);
/* Runs an INSERT of the result's job, image and a text, in this order; of NULL, nothing. */
int db_result_row_insert_text(struct db_connection *writer, const char *what, const char *sql,
                              const struct db_result *result, const char *text, struct error *err);

#endif
