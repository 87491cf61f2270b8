/* Manifests: CSV files (RFC 4180) that list labelled chips, with the columns image, x, y, size,
 * label, group in any order; image is a path relative to a root directory. */
#ifndef CHIPSHOT_SERVER_MANIFEST_H
#define CHIPSHOT_SERVER_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct manifest_row {
    const char *image; /* the strings are borrowed from the manifest */
    const char *label;
    const char *group;
    uint32_t x, y, size; /* pixels; the chip is size x size */
};

struct manifest {
    struct manifest_row *rows;
    size_t n_rows;
    char *text; /* owned; the rows point into it */
};

/* ERROR_INVALID names the line and the column. An image that is absolute or contains ".." is
 * refused: a manifest may come from anywhere. */
int manifest_read(const char *path, struct manifest *out, struct error *err);
void manifest_clear(struct manifest *manifest);

/* Numbers the distinct strings of one column in order of first appearance: ids[i] for row i.
 * *n is how many there are. `column` is offsetof(struct manifest_row, label) or group. The time is
 * n_rows times the logarithm of *n, in whatever order the rows come. */
int manifest_number(const struct manifest *manifest, size_t column, uint32_t *ids, uint32_t *n,
                    struct error *err);

#endif
