/* What the classifier said of a result's chips, where later steps changed labels; for
 * db/results/results.c. */
#ifndef CHIPSHOT_DB_RESULTS_RAW_LABELS_H
#define CHIPSHOT_DB_RESULTS_RAW_LABELS_H

#include "db/results/results.h"
#include "db/sql/stmt.h"

/* `bytes`: those of result->raw_labels (map_bytes.h). */
int db_raw_labels_insert(struct db_connection *writer, const struct db_result *result,
                         const uint8_t *bytes, struct error *err);
/* Sets result->has_raw_labels. */
int db_raw_labels_find(struct db_connection *reader, struct db_result *result, struct error *err);
/* Fills part->raw_labels of a result that has them, as bytes. ERROR_NOT_FOUND, ERROR_CORRUPT. */
int db_raw_labels_read(struct db_connection *reader, const struct db_result *result,
                       const struct db_result_part *part, struct error *err);

#endif
