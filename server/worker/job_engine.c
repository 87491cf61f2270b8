/* The names of a job's parts, which are also the metrics' phases. */
#include "server/worker/job_engine.h"

_Static_assert((int)METRIC_PHASE_STORE_SECONDS - (int)METRIC_PHASE_LOAD_SECONDS ==
                       (int)JOB_PART_STORE &&
                   (int)METRIC_PHASE_ENCODE_SECONDS - (int)METRIC_PHASE_LOAD_SECONDS ==
                       (int)JOB_PART_ENCODE,
               "a phase of the metrics for each part, in the same order");

const char *job_part_name(enum job_part part)
{
    static const char *const names[JOB_PARTS] = {
        [JOB_PART_LOAD] = "load",     [JOB_PART_READ] = "read",
        [JOB_PART_DECODE] = "decode", [JOB_PART_NORMALISE] = "normalise",
        [JOB_PART_CHIP] = "chip",     [JOB_PART_ENCODE] = "encode",
        [JOB_PART_CACHE] = "cache",   [JOB_PART_CLASSIFY] = "classify",
        [JOB_PART_STORE] = "store",
    };
    return names[part];
}
