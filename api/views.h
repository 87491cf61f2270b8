/* Images as pictures are drawn of them: the pyramid (engine/image/pyramid.h) of an image under a
 * normalisation, stored as an entry of the cache (db/store/cache.h). It is made when it is first
 * asked for, not at the upload: the values must all be counted before the first can be normalised,
 * so it takes a second reading of the file, and of most images of a large project nobody ever asks
 * for a picture.
 *
 * Whoever asks for a view that is being made waits for it, and so it is made once, however many
 * ask; other images are not waited for. One that is larger than the cache may be is a file without
 * a name, which those share who ask meanwhile, and which goes with the last of them.
 *
 * The cache tells a damaged entry: reading fails, and who opens the view next makes it anew.
 *
 * Any thread; a view may be read by several at once.
 */
#ifndef CHIPSHOT_API_VIEWS_H
#define CHIPSHOT_API_VIEWS_H

#include <stdbool.h>

#include "base/cancel.h"
#include "db/images.h"
#include "db/store/cache.h"
#include "db/store/store.h"
#include "engine/image/image.h"
#include "engine/image/normalise.h"
#include "engine/image/pyramid.h"

struct views;

/* All are borrowed until destroy. ERROR_NOMEM. */
int views_create(struct views **out, struct store *store, struct cache *cache,
                 const struct image_limits *limits, struct error *err);
/* Every view must have been closed. NULL allowed. */
void views_destroy(struct views *views);

struct view;

/* Finds or makes a view. ERROR_CORRUPT: the image's file is gone or is not what was uploaded;
 * ERROR_CANCELLED, ERROR_FULL, ERROR_IO, ERROR_NOMEM. */
int view_open(struct view **out, struct views *views, const struct db_image *image,
              const struct normalise_params *normalise, const struct cancel *cancel,
              struct error *err);
void view_close(struct view *view);

const struct pyramid *view_pyramid(const struct view *view);
/* A pyramid_read_tiles whose context is the view. */
int view_read_tiles(void *view, uint64_t first, uint64_t n, uint8_t *tiles, struct error *err);
/* Whether reading has failed: to be opened again. */
bool view_is_damaged(struct view *view);

#endif
