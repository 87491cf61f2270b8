/* One job, from claimed to done: for each image decode, normalise, embed (or read from the cache),
 * classify, count, store. While the workers embed one image, the job's own thread stores the result
 * of the one before and decodes the next. */
#ifndef CHIPSHOT_SERVER_JOB_RUN_H
#define CHIPSHOT_SERVER_JOB_RUN_H

#include "db/jobs.h"
#include "server/worker/job_engine.h"

/* Runs a claimed job until its last result is stored; images that have a result already
 * (an earlier attempt was interrupted) are not done again. ERROR_CANCELLED when control says stop;
 * anything else is the job's failure. ERROR_CORRUPT names the stored thing that is not what it was.
 * ERROR_CONFLICT: a result was not stored because the lease was lost. Writes neither heartbeats nor
 * the job's end. */
int job_run(const struct job_engine *engine, const struct db_job *job, const struct db_lease *lease,
            struct job_control *control, struct error *err);

#endif
