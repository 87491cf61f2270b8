/* The statistics of a result as rows of named quantities; for db/results/results.c. */
#ifndef CHIPSHOT_DB_RESULTS_RESULT_QUANTITIES_H
#define CHIPSHOT_DB_RESULTS_RESULT_QUANTITIES_H

#include <stdbool.h>

#include "db/results/results.h"
#include "db/sql/stmt.h"

/* Whether quantities come in the order of their classes and every class has some. */
bool db_quantities_are_whole(const struct db_result *result);
int db_quantity_insert(struct db_connection *writer, const struct db_result *result,
                       const struct db_quantity *quantity, struct error *err);
/* Fills the result's quantities. ERROR_CORRUPT: they are not whole. */
int db_quantities_read(struct db_connection *reader, struct db_result *result, struct error *err);

#endif
