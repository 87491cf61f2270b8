/* Chips that a support set gives twice, as faults of the document that gives them. */
#ifndef CHIPSHOT_API_SUPPORT_REPEATS_H
#define CHIPSHOT_API_SUPPORT_REPEATS_H

#include "api/message/json_read.h"
#include "engine/fewshot/help/example_places.h"

/* Records a fault at each example that is the same chip as one before it, of the same class or of
 * another; the message names both places. `classes`: the array, in which each place has the numbers
 * of its class and of its example. Sorts the places. */
void support_repeats_refuse(struct example_place *places, uint32_t n,
                            const struct json_at *classes);

#endif
