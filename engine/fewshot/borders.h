/* Chips that a border runs through. A chip half one class, half another has a vector between
 * theirs, and where a third class lies there, the border gets a rim of it. Such a chip is given to
 * the class that it has more of.
 *
 * Asked is each chip that lies between two others of different classes: left and right, above and
 * below, or across, as near as they can be without overlapping it. It is a mixture if some t m_a +
 * (1 - t) m_b, 0 <= t <= 1, is nearer to its vector than MIXTURE_SHARE of the distance to its own
 * class. m_k is the mean of class k, and vectors are as they are before they are scaled to length
 * 1: the parts of a window that is pooled add up there.
 *
 * A chip of one of the two classes keeps it, mixture or not. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_BORDERS_H
#define CHIPSHOT_ENGINE_FEWSHOT_BORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/embeddings.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"

enum borders {
    BORDERS_OFF,    /* every chip keeps what the classifier said */
    BORDERS_ASSIGN, /* mixtures go to the class that they have more of */
};

const char *borders_name(enum borders borders); /* "off", "assign" */
int borders_parse(const char *name, enum borders *out, struct error *err);

/* Changes labels and probabilities (the shares of the two classes) of mixtures that are labelled as
 * a third class; *n_assigned is their number. Chips without a class are no neighbours. is_mixture:
 * of each chip, false before; NULL: not asked for, so that only the former are looked at. The same
 * bytes whoever helps; `lane` as in pool_share. ERROR_NOMEM, and what reading the chips gave. */
int borders_assign(const struct space *space, const struct grid *grid,
                   const struct embeddings *chips, struct pool_lane *lane,
                   struct classification *classification, bool *is_mixture, uint64_t *n_assigned,
                   struct error *err);

#endif
