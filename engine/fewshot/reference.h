/* What vectors are measured by, a reference: the mean and the variance of embeddings, dimension by
 * dimension, of the chips of an image or of several. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_REFERENCE_H
#define CHIPSHOT_ENGINE_FEWSHOT_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/embeddings.h"
#include "engine/pool.h"

/* Whose chips an image and the examples are measured by: the parameter of a job. */
enum reference_choice {
    REFERENCE_AUTO,    /* image or support, whichever brings it nearer to the examples (drift.h) */
    REFERENCE_IMAGE,   /* each image by itself, an example by the image that it lies in */
    REFERENCE_SUPPORT, /* all by the images that hold examples */
    REFERENCE_SERIES,  /* all by those and the images of the job */
    REFERENCE_TARGET,  /* examples, too, by the image that is classified: jobs of before there was a
                          choice; nobody asks for it */
};

const char *reference_choice_name(enum reference_choice choice);
/* ERROR_INVALID for another name, and for that of REFERENCE_TARGET. */
int reference_choice_parse(const char *name, enum reference_choice *out, struct error *err);

/* Begins zeroed; reference_clear frees it. */
struct reference {
    uint64_t n_chips;
    uint32_t dimension;
    double *mean;    /* owned */
    double *squares; /* sums of the squared differences from the mean; owned */
};

/* Of no chips. ERROR_NOMEM. */
int reference_init(struct reference *out, uint32_t dimension, struct error *err);

/* Of an image's chips that are analysed, and checks that every value is finite. The same bytes
 * whoever helps; `lane` as in pool_share. ERROR_INVALID, ERROR_NOMEM, or what reading the chips
 * gave. */
int reference_take(struct reference *out, const struct embeddings *chips, struct pool_lane *lane,
                   struct error *err);

/* Adds the chips of `other`, of the same dimension, as if all had been taken together (but for
 * rounding: whoever wants the same bytes adds in the same order). */
void reference_add(struct reference *reference, const struct reference *other);

void reference_clear(struct reference *reference);

/* The population's variance of one dimension; 0 of no chips. */
static inline double reference_variance(const struct reference *reference, uint32_t d)
{
    return reference->n_chips > 0 ? reference->squares[d] / (double)reference->n_chips : 0.0;
}

/* False: no dimension varies, as where there is one chip, or all are alike. Nothing can be measured
 * by it. */
bool reference_varies(const struct reference *reference);

/* ERROR_INVALID unless all values are finite; `what` names them in the message. */
int embeddings_check_finite(const float *embeddings, uint64_t n_embeddings, uint32_t dimension,
                            const char *what, struct error *err);
/* The same of chips. */
int embeddings_check_chips(const struct embeddings *chips, struct pool_lane *lane,
                           struct error *err);

#endif
