/* The name is a hash of shapes and not of what they are called: a proposal that is accepted leaves
 * out what it left out before, and nothing is encoded anew.
 *
 * Images that nobody has looked at (they are from before that was done) have no proposals; those
 * with a channel for it may be transparent. */
#include "api/job/image_mask.h"

#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/mask_document.h"
#include "base/hex.h"
#include "engine/image/image.h"

static int fail(const struct db_image *image, const struct error *cause, struct error *err)
{
    return error_set(err, cause->code, "image %s: %.400s", image->id, cause->message);
}

/* ---- parts ---- */

static bool may_be_transparent(const struct db_image *image, const struct image_look *look)
{
    return image->look != NULL ? look->n_missing > 0
                               : image->n_channels == 2 || image->n_channels == 4;
}

static void add_document(struct mask_parts *parts, const struct mask_document *document)
{
    const struct mask_point *points = parts->points;
    if (document->n_points > 0)
        memcpy(parts->points, document->points, document->n_points * sizeof(*points));
    for (size_t i = 0; i < document->n_rectangles; i++)
        mask_parts_add(
            parts, &(struct mask_part){.kind = MASK_RECTANGLE, .rect = document->rectangles[i]});
    for (size_t i = 0; i < document->n_polygons; i++) {
        mask_parts_add_polygon(parts, points, document->polygons[i]);
        points += document->polygons[i];
    }
}

static void add_whole(struct mask_parts *parts, enum mask_kind kind, const struct db_image *image,
                      uint64_t n_pixels)
{
    mask_parts_add(parts, &(struct mask_part){.kind = kind,
                                              .rect = {0, 0, image->width, image->height},
                                              .n_pixels = n_pixels});
}

static enum mask_status status_of(const struct mask_document *document, uint32_t proposal)
{
    if ((document->accepted >> proposal & 1) != 0)
        return MASK_ACCEPTED;
    return (document->refused >> proposal & 1) != 0 ? MASK_REFUSED : MASK_PROPOSED;
}

static int list(const struct db_image *image, const struct db_image_mask *row,
                struct mask_parts *out, struct error *err)
{
    struct image_look look = {0};
    struct mask_document document = {0};
    struct mask_parts parts = {0};
    int rc = image_look_from_text(image->look, image->width, image->height, &look, err);
    const struct mask_frame frame = {image->width, image->height, look.n_bars};
    if (rc == 0)
        rc = mask_document_from_text(row->shapes, &frame, &document, err);
    if (rc == 0)
        rc = mask_parts_init(&parts, document.n_rectangles + document.n_polygons + 2 + look.n_bars,
                             document.n_points, err);
    if (rc == 0) {
        add_document(&parts, &document);
        if (row->picture_sha256[0] != '\0')
            add_whole(&parts, MASK_PICTURE, image, document.picture_pixels);
        if (may_be_transparent(image, &look))
            add_whole(&parts, MASK_TRANSPARENT, image, look.n_missing);
        for (uint32_t i = 0; i < look.n_bars; i++)
            mask_parts_add_bar(&parts, &look.bars[i], status_of(&document, i));
        *out = parts;
    }
    mask_document_clear(&document);
    return rc;
}

int image_mask_list(const struct db_image *image, const struct db_image_mask *row,
                    struct mask_parts *out, struct error *err)
{
    struct error cause = {0};
    return list(image, row, out, &cause) < 0 ? fail(image, &cause, err) : 0;
}

/* ---- name ---- */

static void hash_text(struct sha256_ctx *context, const char *text)
{
    sha256_update(context, strlen(text), (const uint8_t *)text);
}

static void hash_part(struct sha256_ctx *context, const struct mask_part *part,
                      const char *picture_sha256)
{
    char text[128];
    switch (part->kind) {
    case MASK_RECTANGLE:
    case MASK_BORDER:
    case MASK_BAR:
        snprintf(text, sizeof(text), "r %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n",
                 part->rect.x, part->rect.y, part->rect.width, part->rect.height);
        hash_text(context, text);
        return;
    case MASK_POLYGON:
        hash_text(context, "p");
        for (size_t i = 0; i < part->n_points; i++) {
            snprintf(text, sizeof(text), " %.17g %.17g", part->points[i].x, part->points[i].y);
            hash_text(context, text);
        }
        hash_text(context, "\n");
        return;
    case MASK_PICTURE:
        hash_text(context, "i ");
        hash_text(context, picture_sha256);
        hash_text(context, "\n");
        return;
    case MASK_TRANSPARENT:
        hash_text(context, "t\n");
        return;
    }
}

static void name(struct image_mask *mask)
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (mask->parts.n == 0)
        return;
    sha256_init(&context);
    for (size_t i = 0; i < mask->parts.n; i++)
        hash_part(&context, &mask->parts.items[i], mask->picture_sha256);
    sha256_digest(&context, sizeof(digest), digest);
    hex_encode(digest, sizeof(digest), mask->parts.name);
}

int image_mask_load(struct db *db, const struct db_image *image, uint64_t until,
                    enum mask_proposals proposals, struct image_mask *out, struct error *err)
{
    struct db_image_mask row = {0};
    struct image_mask mask = {0};
    int rc = db_image_mask_get(db, image->id, until, &row, err);
    if (rc == 0)
        rc = image_mask_list(image, &row, &mask.parts, err);
    if (rc == 0) {
        mask.parts.version = row.version;
        memcpy(mask.picture_sha256, row.picture_sha256, sizeof(mask.picture_sha256));
        mask_parts_keep(&mask.parts, proposals);
        name(&mask);
        *out = mask;
    }
    db_image_mask_clear(&row);
    return rc;
}

void image_mask_clear(struct image_mask *mask)
{
    mask_parts_clear(&mask->parts);
    *mask = (struct image_mask){0};
}

bool image_mask_is_empty(const struct image_mask *mask)
{
    return mask->parts.n == 0;
}

/* ---- drawing ---- */

/* The pixels of a file that are black or have no value. */
static int decode(const struct image_mask_place *place, const char *sha256, uint32_t frame,
                  enum mask_kind kind, struct mask *mask, struct error *err)
{
    struct store_file file = {0};
    struct image image = {0};
    int rc = store_file_open(place->store, sha256, place->cancel, &file, err);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "its file %s is gone", sha256);
    if (rc < 0)
        return rc;
    const struct image_request request = {.data = file.data,
                                          .size = file.size,
                                          .limits = place->limits,
                                          .frame = frame,
                                          .trust = IMAGE_CHECKED,
                                          .cancel = place->cancel};
    rc = image_decode(&request, &image, err);
    if (rc == 0 && (image.info.width != mask->width || image.info.height != mask->height))
        rc = error_set(err, ERROR_CORRUPT, "the file %s has another size than the image", sha256);
    for (uint32_t y = 0; y < mask->height && rc == 0; y++) {
        const float *row = image.pixels + (size_t)y * mask->width;
        mask_add_missing(mask, y, row);
        if (kind == MASK_PICTURE)
            mask_add_zeros(mask, y, row);
    }
    image_clear(&image);
    store_file_close(&file);
    return rc;
}

static int add_files(const struct image_mask *mask, const struct db_image *image,
                     const struct image_mask_place *place, struct mask *out, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < mask->parts.n && rc == 0; i++) {
        if (mask->parts.items[i].kind == MASK_PICTURE)
            rc = decode(place, mask->picture_sha256, 0, MASK_PICTURE, out, err);
        else if (mask->parts.items[i].kind == MASK_TRANSPARENT)
            rc = decode(place, image->sha256, image->frame, MASK_TRANSPARENT, out, err);
    }
    return rc;
}

static bool needs_files(const struct image_mask *mask)
{
    for (size_t i = 0; i < mask->parts.n; i++) {
        if (mask->parts.items[i].kind == MASK_PICTURE ||
            mask->parts.items[i].kind == MASK_TRANSPARENT)
            return true;
    }
    return false;
}

enum { KEY_SIZE = 256, WORDS = sizeof(uint64_t) / sizeof(uint32_t) };

/* Of the image's bytes, too: transparent pixels are theirs. */
static void write_key(const struct image_mask *mask, const struct db_image *image,
                      char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "mask 1|%s#%" PRIu32 "|%s", image->sha256, image->frame,
             mask->parts.name);
}

/* False: the cache has no such mask. */
static bool find_kept(const char *key, struct cache *cache, struct mask *mask)
{
    if (cache_get(cache, key, mask->height, mask->n_words * WORDS, mask->bits, NULL) == 0) {
        mask_count_rows(mask);
        return true;
    }
    memset(mask->bits, 0, mask->height * mask->n_words * sizeof(*mask->bits));
    return false;
}

int image_mask_draw(const struct image_mask *mask, const struct db_image *image,
                    const struct image_mask_place *place, struct mask *out, struct error *err)
{
    char key[KEY_SIZE];
    struct mask drawn = {0};
    struct error cause = {0};
    int rc = mask_init(&drawn, image->width, image->height, err);
    if (rc < 0)
        return rc;
    write_key(mask, image, key);
    if (!needs_files(mask)) {
        rc = mask_parts_draw(&mask->parts, &drawn, place->cancel, &cause);
    } else if (!find_kept(key, place->cache, &drawn)) {
        rc = mask_parts_draw(&mask->parts, &drawn, place->cancel, &cause);
        if (rc == 0)
            rc = add_files(mask, image, place, &drawn, &cause);
        /* Without the entry nothing is lost but time. */
        if (rc == 0)
            cache_put(place->cache, key, drawn.height, drawn.n_words * WORDS, drawn.bits, NULL);
    }
    if (rc == 0) {
        *out = drawn;
        return 0;
    }
    mask_clear(&drawn);
    return fail(image, &cause, err);
}
