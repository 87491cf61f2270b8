/* The health of a support set (engine/fewshot/help/health.h) as the text that is stored with its
 * version: written by the worker, read for answers. */
#ifndef CHIPSHOT_API_JOB_HEALTH_TEXT_H
#define CHIPSHOT_API_JOB_HEALTH_TEXT_H

#include <jansson.h>

#include "base/error.h"
#include "engine/fewshot/help/health.h"

/* Of one example. */
struct health_answer {
    double own;      /* probability of its own class; NaN: it was not asked */
    uint32_t likely; /* the most likely class */
};

struct health_pair {
    uint32_t a, b; /* classes, a < b */
    double confusion;
};

struct health_stored {
    struct health_answer *answers; /* n_examples, in the order of the support set; owned */
    uint32_t n_examples, n_asked;
    struct health_pair *pairs; /* of the classes of which examples were asked; owned */
    uint32_t n_pairs;
};

/* malloc'd; NULL when out of memory. */
char *health_text_create(const struct health *health);
/* ERROR_CORRUPT: it is not of a set with so many classes and examples. ERROR_NOMEM. */
int health_text_read(const char *text, uint32_t n_classes, uint32_t n_examples,
                     struct health_stored *out, struct error *err);
void health_stored_clear(struct health_stored *stored);

#endif
