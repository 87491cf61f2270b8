/* How a job ends here: for good, or back in the queue. */
#ifndef CHIPSHOT_SERVER_JOB_END_H
#define CHIPSHOT_SERVER_JOB_END_H

#include "server/worker/worker_state.h"

/* What became of a job that its driver ran. */
struct job_outcome {
    int rc; /* of job_run */
    struct error failure;
    bool is_last; /* it is not tried again, whatever the cause */
};

/* Writes the end of a job, as long as the driver has its lease; returns when that is done, or the
 * lease is lost, or the worker stops. */
void job_end(struct driver *driver, const struct db_lease *lease,
             const struct job_outcome *outcome);

#endif
