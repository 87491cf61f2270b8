/* The suggestions of an image (engine/fewshot/help/suggestions.h) as the text that is stored with
 * its result: written by the worker, read for answers. */
#ifndef CHIPSHOT_API_JOB_SUGGESTIONS_TEXT_H
#define CHIPSHOT_API_JOB_SUGGESTIONS_TEXT_H

#include "base/error.h"
#include "engine/fewshot/help/suggestions.h"
#include "engine/image/chip_grid.h"

/* With the place of its chip in pixels. */
struct suggestion_stored {
    struct suggestion suggestion;
    uint32_t x, y;
};

/* malloc'd; NULL when out of memory. */
char *suggestions_text_create(const struct suggestions *suggestions, const struct grid *grid);
/* *n of at most SUGGESTIONS_MAX, in the order in which they were written. ERROR_CORRUPT: it is not
 * such a text, or names a class that is not below n_classes. */
int suggestions_text_read(const char *text, uint32_t n_classes,
                          struct suggestion_stored out[SUGGESTIONS_MAX], uint32_t *n,
                          struct error *err);

#endif
