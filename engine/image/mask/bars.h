/* Finds what microscopes and image programs put around an image: borders of one value, and data
 * bars, the strips with voltage, magnification and a scale that are burned into the pixels. What is
 * found is a proposal; whoever asks decides.
 *
 * The criteria are strict (bars.c): what is not found can be masked by hand, but specimen that is
 * taken for a bar would be lost. */
#ifndef CHIPSHOT_ENGINE_IMAGE_BARS_H
#define CHIPSHOT_ENGINE_IMAGE_BARS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/image/chip_grid.h"

enum bar_kind { BAR_BORDER, BAR_DATA };

/* "border", "bar" */
const char *bar_kind_name(enum bar_kind kind);

struct bar {
    enum bar_kind kind;
    struct chip_rect rect;
};

/* A border at each of the four edges, a bar at the top and one at the bottom. */
enum { BARS_MAX = 6 };

/* An image whose rows are looked at once, in order: some 50 bytes a row are kept. */
struct bars_scan;

/* ERROR_NOMEM. */
int bars_scan_create(struct bars_scan **out, uint32_t width, uint32_t height, struct error *err);
/* NULL allowed. */
void bars_scan_destroy(struct bars_scan *scan);

/* Takes the next row of `width` values as they are in the file; NaN has no value. */
void bars_scan_add_row(struct bars_scan *scan, const float *row);
/* When all rows are taken; the number of what was found in `out`, none of which overlap. */
uint32_t bars_scan_find(const struct bars_scan *scan, struct bar out[BARS_MAX]);
/* Pixels without a value. */
uint64_t bars_scan_n_missing(const struct bars_scan *scan);

#endif
