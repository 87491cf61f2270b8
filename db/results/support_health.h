/* What a job measured of the examples that it used: of each version of a support set the latest. */
#ifndef CHIPSHOT_DB_RESULTS_SUPPORT_HEALTH_H
#define CHIPSHOT_DB_RESULTS_SUPPORT_HEALTH_H

#include "db/jobs.h"

struct db_support_health {
    char support_set_id[DB_ID_SIZE];
    uint32_t version;
    char job_id[DB_ID_SIZE];
    char measured_at[DB_TIME_SIZE]; /* given by db_support_health_put */
    char *text;                     /* the measurement, for whoever made it */
};

/* Takes the place of what an earlier job measured. ERROR_CONFLICT: the lease of the job that
 * measured it was lost. */
int db_support_health_put(struct db *db, const struct db_support_health *health,
                          const struct db_lease *lease, struct error *err);
/* ERROR_NOT_FOUND: no job has measured this version. */
int db_support_health_get(struct db *db, const char *support_set_id, uint32_t version,
                          struct db_support_health *out, struct error *err);
void db_support_health_clear(struct db_support_health *health);

#endif
