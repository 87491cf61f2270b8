/* Makes the tiles of a view (api/views.h) from the image's stored file. */
#ifndef CHIPSHOT_API_VIEW_MAKE_H
#define CHIPSHOT_API_VIEW_MAKE_H

#include <stdbool.h>

#include "base/cancel.h"
#include "db/images.h"
#include "db/store/cache.h"
#include "db/store/store.h"
#include "engine/image/image.h"
#include "engine/image/normalise.h"
#include "engine/image/pyramid.h"

/* All borrowed. */
struct view_source {
    struct store *store;
    struct cache *cache; /* for the counts of the image's values */
    const struct image_limits *limits;
    const struct db_image *image;
    const struct normalise_params *normalise;
    const struct cancel *cancel;
};

/* Whether something was found in the image (bars.h) that has no say in the greys of its views. */
bool view_leaves_out(const struct db_image *image);

/* Reads an image, whose plan is `pyramid`, and writes all tiles. Images whose type has levels take
 * the memory of some rows; the others, and what is flattened or equalised, that of their floats.
 * ERROR_CORRUPT: the file is gone, is not what was uploaded, or is no image within the limits;
 * ERROR_CANCELLED, ERROR_NOMEM, or an error of writing. */
int view_make(const struct view_source *source, const struct pyramid *pyramid,
              pyramid_write_tiles write, void *context, struct error *err);

#endif
