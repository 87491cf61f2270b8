/* The JSON fields of a job's parameters: the same readers serve a client's request, where each is
 * optional, and the stored text, where all are there. */
#ifndef CHIPSHOT_API_JOB_FIELDS_H
#define CHIPSHOT_API_JOB_FIELDS_H

#include "api/job/job_params.h"
#include "api/message/json_read.h"

enum { JOB_FIELDS = 16 };

/* stride, offset, edge, normalise, clahe, classifier, input_sizes, precision, encoding, mask,
 * flatten, head, borders, unknown, smoothing, reference; `params` (borrowed while the fields are
 * used) holds
 * the defaults before. Strides and the number of input sizes stay 0 when absent. */
void job_fields_init(struct json_field fields[JOB_FIELDS], struct job_params *params,
                     enum json_presence presence);

#endif
