/* The analysis of one image: the one call that turns the examples of a support set and the
 * embeddings of an image's chips into labels, probabilities, distances and statistics. The worker
 * and the command line call it alike, so that they answer alike. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_ANALYSIS_H
#define CHIPSHOT_ENGINE_FEWSHOT_ANALYSIS_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/fewshot/borders.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/drift.h"
#include "engine/fewshot/embeddings.h"
#include "engine/fewshot/help/health.h"
#include "engine/fewshot/help/suggestions.h"
#include "engine/fewshot/smoothing.h"
#include "engine/fewshot/statistics.h"
#include "engine/image/chip_grid.h"
#include "engine/image/mask/mask_parts.h"
#include "engine/pool.h"

/* Why no class can be said of any chip of an image. */
enum analysis_undecided {
    ANALYSIS_DECIDED,
    ANALYSIS_FLAT,       /* it does not vary, and lies far from every class */
    ANALYSIS_UNMEASURED, /* neither does it vary nor do the images of the examples */
};

/* What an image and the examples were measured by, and how far it lies from these. */
struct analysis_reference {
    enum reference_choice asked;
    enum reference_choice used; /* never auto */
    struct drift own;           /* measured by itself; all NaN: it was not */
    struct drift shared;        /* by the support images, or the series; likewise */
    enum analysis_undecided undecided;
};

/* All borrowed. */
struct analysis_input {
    const struct classifier_params *classifier;
    const struct support *support;
    const struct grid *grid;
    const struct embeddings *chips; /* of the grid's chips, in their order */
    const struct mask_parts *mask;  /* why some of them are not analysed; NULL: all are */
    enum borders borders;
    bool unknown;       /* chips that are like none of the classes get LABEL_UNKNOWN */
    uint64_t uncounted; /* bit k: class k is mapped, and outside of every fraction */
    enum smoothing smoothing;
    const struct example_chip *example_chips; /* the grid's chips that are examples */
    uint32_t n_example_chips;
    const struct analysis_reference *reference; /* NULL: nothing is said of it */
    bool ask_examples; /* of the support set's health, as this image measures it */
    bool suggest;      /* chips to label next */
};

/* Owned; analysis_clear frees it. */
struct analysis {
    struct classification chips;
    struct smoothing_outcome smoothing;
    enum borders borders;     /* the input's */
    uint64_t n_assigned;      /* by borders_assign */
    double unknown_threshold; /* NaN: unknown chips were not looked for */
    struct statistics statistics;
    struct health health;                       /* of no example where it was not asked for */
    struct suggestions suggestions;             /* likewise */
    const struct mask_parts *mask;              /* the input's */
    const struct analysis_reference *reference; /* likewise */
};

/* Deterministic, whoever helps; `lane` as in pool_share. The chips are visited twice, in bands
 * where they are not in memory; what stops their reading stops the analysis. Where no chip is to be
 * analysed there is none in any class, and nothing is learnt. ERROR_INVALID: as classifier_run, or
 * the chips are not as many as the grid's. ERROR_NOMEM, and what reading the
 * chips gave. */
int analysis_run(const struct analysis_input *input, struct pool_lane *lane, struct analysis *out,
                 struct error *err);
void analysis_clear(struct analysis *analysis);

#endif
