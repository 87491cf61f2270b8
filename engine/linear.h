/* Products and inverses of dense matrices in double, by OpenBLAS, which this file alone knows.
 *
 * Matrices are row after row without gaps. One caller computes at a time and on one thread, its
 * own, whatever variant of the library is installed: the pool owns all parallelism. The same input
 * gives the same bytes with the same core: the set of kernels that OpenBLAS runs.
 */
#ifndef CHIPSHOT_ENGINE_LINEAR_H
#define CHIPSHOT_ENGINE_LINEAR_H

#include <stdint.h>

#include "base/error.h"

enum linear_form { LINEAR_AS_IS, LINEAR_TRANSPOSED };

struct linear_matrix {
    const double *values; /* rows x columns, borrowed */
    uint32_t rows, columns;
    enum linear_form form; /* how it is taken in a product */
};

/* Loads the library, once a process, and has it run the kernels for this processor's instructions:
 * an old release does not know a new processor and would take ones eight times slower. A core that
 * OPENBLAS_CORETYPE names is left to run. To be called before there are threads, as it sets
 * environment variables for the time of loading; the other functions call it where nobody did.
 * ERROR_IO: the library cannot be loaded. */
int linear_load(struct error *err);

/* The core that computes: "SkylakeX"; "none" where the library cannot be loaded. */
const char *linear_core(void);

/* out = a b, the form of each applied; `out` overlaps neither. ERROR_IO as linear_load. */
int linear_multiply(const struct linear_matrix *a, const struct linear_matrix *b, double *out,
                    struct error *err);

/* Puts the inverse in place of the symmetric n x n matrix, of which the lower triangle is read and
 * all is written. ERROR_INVALID: it is not positive definite. ERROR_NOMEM; ERROR_IO as
 * linear_load. */
int linear_invert(double *matrix, uint32_t n, struct error *err);

#endif
