/* Draws the chips of a verification from a job's stored results. */
#ifndef CHIPSHOT_API_VERIFICATION_DRAW_H
#define CHIPSHOT_API_VERIFICATION_DRAW_H

#include "base/cancel.h"
#include "db/jobs.h"
#include "db/results/verifications.h"
#include "db/support_sets.h"

/* All borrowed. */
struct verification_request {
    struct db *db;
    const struct db_job *job;         /* one that has ended */
    const struct db_support_set *set; /* the job's version, with its examples */
    const char *const *image_ids;     /* n_image_ids: chips of these images alone */
    size_t n_image_ids;               /* 0: of all that have a result */
    uint32_t n;                       /* 1 .. VERIFICATION_CHIPS_MAX: fewer where there are fewer */
    uint64_t seed;
    const struct cancel *cancel; /* NULL: never */
};

/* Fills strata, chips, seed, n_images, area_nm2 and job_id of `out`, which is the caller's to
 * clear. Of each label are drawn as many chips as of any other, as far as it has them, at random
 * over all images and without those that are examples; they come in random order. The same request
 * draws the same chips. *bad: one of the image_ids that has no result in the job, else NULL; then
 * nothing is drawn. ERROR_NOT_FOUND: there is no chip to be drawn. ERROR_CORRUPT: what is stored
 * does not fit together. ERROR_CANCELLED, ERROR_NOMEM. */
int verification_draw_chips(const struct verification_request *request, const char **bad,
                            struct db_verification *out, struct error *err);

#endif
