/* A verification as JSON: what is to be looked at, what was answered, and what follows from it. */
#ifndef CHIPSHOT_API_VERIFICATION_JSON_H
#define CHIPSHOT_API_VERIFICATION_JSON_H

#include <jansson.h>

#include "db/results/verifications.h"
#include "db/support_sets.h"

/* Whether the labels of the chips are told: who sees them is swayed by them. */
enum verification_labels { VERIFICATION_BLIND, VERIFICATION_WITH_LABELS };

/* A list's item: without chips and estimate. The caller's; NULL when out of memory. */
json_t *verification_summary_json(const struct db_verification *verification);
/* ERROR_CORRUPT: what is stored does not fit together. ERROR_NOMEM. */
int verification_json(const struct db_verification *verification, const struct db_support_set *set,
                      enum verification_labels labels, json_t **out, struct error *err);

#endif
