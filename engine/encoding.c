#include "engine/encoding.h"

#include <string.h>

static const char *const names[ENCODINGS] = {
    [ENCODING_CHIPS] = "chips", [ENCODING_DENSE] = "dense"};

const char *encoding_name(enum encoding encoding)
{
    return names[encoding];
}

int encoding_parse(const char *name, enum encoding *out, struct error *err)
{
    for (enum encoding i = 0; i < ENCODINGS; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "encoding '%.50s' is not chips or dense", name);
}

int encoding_check_side(enum encoding encoding, uint32_t side, struct error *err)
{
    if (encoding != ENCODING_DENSE || side <= ENCODING_DENSE_SIDE_MAX)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "input size %u is above %d, the largest that dense encoding takes", side,
                     ENCODING_DENSE_SIDE_MAX);
}

static int check_axis(char axis, uint32_t stride, uint32_t chip, uint32_t side, struct error *err)
{
    if ((uint64_t)stride * side >= (uint64_t)ENCODING_DENSE_STEP * chip)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "%u pixels along %c is below the finest step of dense encoding, %.2f pixels "
                     "for %u pixel chips",
                     stride, axis, (double)ENCODING_DENSE_STEP * chip / side, chip);
}

int encoding_check_stride(enum encoding encoding, const struct grid_params *grid, uint32_t side,
                          struct error *err)
{
    if (encoding != ENCODING_DENSE)
        return 0;
    int rc = check_axis('x', grid->stride_x, grid->chip_width, side, err);
    return rc < 0 ? rc : check_axis('y', grid->stride_y, grid->chip_height, side, err);
}
