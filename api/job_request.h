/* The body of a new job, read, filled with defaults and checked against what the project has. */
#ifndef CHIPSHOT_API_JOB_REQUEST_H
#define CHIPSHOT_API_JOB_REQUEST_H

#include "api/call.h"
#include "db/jobs.h"

/* Fills `out` (released with db_job_clear): support set and version, encoder, images, parameters,
 * priority, number of chips. All faults go to call->errors: wrong fields, things that do not exist
 * or belong to another project, a chip that does not fit an image, too many chips. */
int job_request_read(struct api_call *call, json_t *json, const char *project_id,
                     struct db_job *out, struct error *err);

#endif
