/* The mask of a stored image: what the user has left out, what the file has, and what was found in
 * it. Its parts are read from rows and are cheap; the mask itself is drawn when it is needed.
 *
 * A mask has a name, the SHA-256 of what is left out. It is part of the keys of what is kept of the
 * image under it, and results record it with the version. */
#ifndef CHIPSHOT_API_IMAGE_MASK_H
#define CHIPSHOT_API_IMAGE_MASK_H

#include "base/cancel.h"
#include "db/db.h"
#include "db/image_masks.h"
#include "db/images.h"
#include "db/store/cache.h"
#include "db/store/store.h"
#include "engine/image/format.h"
#include "engine/image/mask/mask_parts.h"

struct image_mask {
    struct mask_parts parts;             /* the name is "" where nothing is left out */
    char picture_sha256[DB_SHA256_SIZE]; /* "": none */
};

/* Reads the parts that are there for a job (db_image_mask_get's `until`), but for proposals that
 * are refused, or neither that nor accepted where they are not wanted. ERROR_CORRUPT names the
 * image. To be released with image_mask_clear. */
int image_mask_load(struct db *db, const struct db_image *image, uint64_t until,
                    enum mask_proposals proposals, struct image_mask *out, struct error *err);
void image_mask_clear(struct image_mask *mask);
/* Whether anything is left out. */
bool image_mask_is_empty(const struct image_mask *mask);

/* The parts that a version has, those that are refused too. */
int image_mask_list(const struct db_image *image, const struct db_image_mask *row,
                    struct mask_parts *out, struct error *err);

/* What it takes to draw a mask; all borrowed. */
struct image_mask_place {
    struct store *store;
    struct cache *cache; /* where masks that take decoding are kept */
    const struct image_limits *limits;
    const struct cancel *cancel; /* NULL: never */
};

/* Draws it; of a mask with transparent pixels or a picture the files are decoded, unless the cache
 * has it. ERROR_CORRUPT: a file is gone or is not what it was. ERROR_CANCELLED, ERROR_NOMEM,
 * ERROR_IO. To be released with mask_clear. */
int image_mask_draw(const struct image_mask *mask, const struct db_image *image,
                    const struct image_mask_place *place, struct mask *out, struct error *err);

#endif
