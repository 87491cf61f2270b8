/* Labels that take their neighbours into account. How often chips of two classes lie side by side
 * the image's own labels say: a class that forms large regions speaks for itself beside itself, one
 * that lies in single chips does not, so that particles of one chip stay. Unlike a fixed preference
 * for equal neighbours (Potts) it can also learn that classes alternate.
 *
 * With u_k = -cost_k / T, y the soft labels of a chip, softmax(u) at first, N the sum of those of
 * its eight neighbours, and J how often classes are neighbours (each pair once, both ways round, by
 * soft labels, and 20 pairs more as if places said nothing), m its marginals,
 *
 *     C = log(J / (m m^T)) / 2,     y <- y / 2 + softmax(u + C N) / 2
 *
 * six times, and all of that three times. This is mean field in a Markov random field whose
 * pairwise terms are estimated from the image (Besag 1986; Zhang, Brady, Smith 2001), damped.
 * Neighbours are the nearest chips that do not overlap: those that do are alike because they see
 * the same pixels.
 *
 * Whether places say anything is asked first: of the labels as they are, the mutual information of
 * neighbours, as a share of the labels' entropy. At SMOOTHING_INFORMATION_MIN and below `auto`
 * changes nothing. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_SMOOTHING_H
#define CHIPSHOT_ENGINE_FEWSHOT_SMOOTHING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"

#define SMOOTHING_INFORMATION_MIN 0.4

enum smoothing {
    SMOOTHING_OFF,
    SMOOTHING_AUTO, /* where neighbours know of each other */
    SMOOTHING_ON,
};

const char *smoothing_name(enum smoothing smoothing); /* "off", "auto", "on" */
int smoothing_parse(const char *name, enum smoothing *out, struct error *err);

/* A chip that is an example. */
struct example_chip {
    uint64_t chip;
    uint32_t class_index;
};

/* All borrowed. */
struct smoothing_input {
    enum smoothing smoothing;
    const struct grid *grid;
    const struct example_chip *examples; /* keep their classes; each chip at most once */
    uint32_t n_examples;
    const struct cancel *cancel; /* NULL: never */
};

struct smoothing_outcome {
    bool asked;         /* not off */
    bool done;          /* false: not asked, or neighbours do not know enough */
    double information; /* of neighbours, 0..1, where it is asked */
    uint64_t n_changed; /* labels */
};

/* Bytes of memory that it takes a chip. */
uint64_t smoothing_chip_size(uint32_t n_classes);

/* Changes labels, probabilities (y) and distances (the new label's cost) of the chips that have a
 * class. The same bytes whoever helps; `lane` as in pool_share. ERROR_NOMEM, ERROR_CANCELLED. */
int smoothing_apply(const struct smoothing_input *input, struct pool_lane *lane,
                    struct classification *classification, struct smoothing_outcome *out,
                    struct error *err);

#endif
