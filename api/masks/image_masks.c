/* What is left out of an image: its mask as JSON, and its picture. Each change makes a version of
 * both; what a change does not touch it takes from the version before. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/analysis_text.h"
#include "api/job/image_mask.h"
#include "api/job/mask_document.h"
#include "api/render.h"
#include "api/upload.h"
#include "db/images.h"
#include "db/image_masks.h"
#include "engine/image/image.h"

enum { INSERT_TRIES = 8 /* of a change without If-Match that meets another change */ };

/* ---- reading ---- */

/* An image with the latest version of its mask. */
struct masked {
    struct db_image image;
    struct db_image_mask mask;
};

static void masked_clear(struct masked *masked)
{
    db_image_clear(&masked->image);
    db_image_mask_clear(&masked->mask);
}

static int masked_get(struct api_call *call, struct masked *out, struct error *err)
{
    const char *id = call_id(call, 0, "img_", "image", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    int rc = db_image_get(call->api->db, id, &out->image, err);
    return rc != 0 ? rc : db_image_mask_get(call->api->db, id, DB_MASKS_ALL, &out->mask, err);
}

/* What a document of this image may say. */
static int frame_of(const struct db_image *image, struct mask_frame *out, struct error *err)
{
    struct image_look look = {0};
    int rc = image_look_from_text(image->look, image->width, image->height, &look, err);
    *out = (struct mask_frame){image->width, image->height, look.n_bars};
    return rc;
}

/* ---- JSON ---- */

static json_t *links_json(const struct db_image *image)
{
    return json_pack("{s:o, s:o, s:o}", "self", json_sprintf("/v1/images/%s/mask", image->id),
                     "picture", json_sprintf("/v1/images/%s/mask.png", image->id), "image",
                     json_sprintf("/v1/images/%s", image->id));
}

/* The parts of one mask that were found, with what was decided. */
static json_t *proposals_json(const struct mask_parts *parts)
{
    struct mask_parts found = *parts;
    size_t n = 0;
    while (n < parts->n && parts->items[n].kind != MASK_BORDER && parts->items[n].kind != MASK_BAR)
        n++;
    found.items += n; /* they come last */
    found.n -= n;
    return mask_parts_json(&found);
}

static int make_json(const struct masked *masked, json_t **out, struct error *err)
{
    const struct db_image *image = &masked->image;
    const struct db_image_mask *row = &masked->mask;
    struct mask_document document = {0};
    struct mask_parts parts = {0};
    struct mask_frame frame;
    int rc = frame_of(image, &frame, err);
    if (rc == 0)
        rc = mask_document_from_text(row->shapes, &frame, &document, err);
    if (rc == 0)
        rc = image_mask_list(image, row, &parts, err);
    if (rc == 0) {
        json_t *picture = row->picture_sha256[0] != '\0'
                              ? json_pack("{s:s, s:I}", "sha256", row->picture_sha256, "n_pixels",
                                          (json_int_t)document.picture_pixels)
                              : json_null();
        *out = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "image_id", image->id, "version",
                         (json_int_t)row->version, "picture", picture, "proposed",
                         proposals_json(&parts), "created_at",
                         row->version > 0 ? json_string(row->created_at) : json_null(), "links",
                         links_json(image));
        json_t *shapes = mask_document_json(&document);
        if (*out == NULL || json_object_update(*out, shapes) != 0)
            rc = error_set_nomem(err, "a mask");
        json_decref(shapes);
    }
    mask_document_clear(&document);
    mask_parts_clear(&parts);
    return rc;
}

static int answer(struct api_call *call, const struct masked *masked, struct error *err)
{
    json_t *json = NULL;
    int rc = make_json(masked, &json, err);
    if (rc != 0)
        return rc;
    api_response_header(call->response, "ETag", "\"%u\"", masked->mask.version);
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    return response_json(call->response, 200, json, err);
}

int image_masks_get(struct api_call *call, struct error *err)
{
    struct masked masked = {0};
    int rc = masked_get(call, &masked, err);
    if (rc == 0 && !call_not_modified(call, "%u", masked.mask.version))
        rc = answer(call, &masked, err);
    masked_clear(&masked);
    return rc;
}

/* ---- changing ---- */

/* What a change brings; what it leaves out stays. */
struct change {
    const struct mask_document *document; /* NULL: the shapes stay */
    bool no_picture;
    const char *picture_sha256; /* NULL: the picture stays, or goes */
    uint64_t picture_size, picture_pixels;
};

static void change_picture(const struct change *change, struct db_image_mask *row,
                           struct mask_document *document)
{
    if (change->no_picture) {
        row->picture_sha256[0] = '\0';
        row->picture_size = 0;
        document->picture_pixels = 0;
    } else if (change->picture_sha256 != NULL) {
        snprintf(row->picture_sha256, sizeof(row->picture_sha256), "%s", change->picture_sha256);
        row->picture_size = change->picture_size;
        document->picture_pixels = change->picture_pixels;
    }
}

/* Makes the next version's row of the one before. */
static int apply(const struct change *change, struct masked *masked, struct error *err)
{
    struct db_image_mask *row = &masked->mask;
    struct mask_document before = {0};
    struct mask_frame frame;
    int rc = frame_of(&masked->image, &frame, err);
    if (rc == 0)
        rc = mask_document_from_text(row->shapes, &frame, &before, err);
    if (rc < 0)
        return rc;
    struct mask_document document = change->document != NULL ? *change->document : before;
    document.picture_pixels = before.picture_pixels;
    change_picture(change, row, &document);
    char *text = mask_document_to_text(&document);
    mask_document_clear(&before);
    if (text == NULL)
        return error_set_nomem(err, "a mask");
    free(row->shapes);
    row->shapes = text;
    return 0;
}

/* One try of read, check, change and store; ERROR_CONFLICT when another change came between. */
static int change_once(struct api_call *call, const struct change *change, struct masked *masked,
                       struct error *err)
{
    char etag[16];
    masked_clear(masked);
    int rc = masked_get(call, masked, err);
    if (rc != 0)
        return rc;
    const uint32_t version = masked->mask.version;
    snprintf(etag, sizeof(etag), "%u", version);
    rc = call_if_match(call, etag, err);
    if (rc == 0)
        rc = apply(change, masked, err);
    if (rc != 0)
        return rc;
    call_sign(call, masked->mask.created_by);
    rc = db_image_mask_insert(call->api->db, call->api->store, &masked->mask, version, err);
    /* Of a picture that was sent long ago, the store has lost the file. */
    if (rc == ERROR_INVALID && change->picture_sha256 == NULL)
        rc = call_refuse(call, PROBLEM_CONFLICT, err,
                         "the file of the mask's picture is gone: send the picture again (PUT "
                         ".../mask.png), or take it away (\"picture\": null)");
    return rc;
}

static int store_change(struct api_call *call, const struct change *change, struct masked *masked,
                        struct error *err)
{
    int rc, tries = 0;
    do {
        rc = change_once(call, change, masked, err);
    } while (rc == ERROR_CONFLICT && !call->refused && ++tries < INSERT_TRIES);
    return rc;
}

static int read_document(struct api_call *call, const struct db_image *image, json_t *json,
                         struct mask_document *out, bool *no_picture, struct error *err)
{
    const struct json_at at = call_json_root(call);
    struct mask_frame frame;
    int rc = frame_of(image, &frame, err);
    if (rc == 0)
        rc = mask_document_read(json, &at, &frame, out, no_picture, err);
    return rc == 0 ? call_check_fields(call, err) : rc;
}

int image_masks_replace(struct api_call *call, struct error *err)
{
    struct masked masked = {0};
    struct mask_document document = {0};
    struct change change = {.document = &document};
    json_t *json = NULL;
    int rc = masked_get(call, &masked, err);
    if (rc == 0)
        rc = call_json(call, &json, err);
    if (rc == 0)
        rc = read_document(call, &masked.image, json, &document, &change.no_picture, err);
    if (rc == 0)
        rc = store_change(call, &change, &masked, err);
    if (rc == 0)
        rc = answer(call, &masked, err);
    mask_document_clear(&document);
    masked_clear(&masked);
    json_decref(json);
    return rc;
}

int image_masks_delete(struct api_call *call, struct error *err)
{
    const struct mask_document none = {0};
    const struct change change = {.document = &none, .no_picture = true};
    struct masked masked = {0};
    int rc = store_change(call, &change, &masked, err);
    masked_clear(&masked);
    return rc != 0 ? rc : call_no_content(call);
}

/* ---- pictures ---- */

/* Decodes a picture and counts what it leaves out. */
static int read_picture(struct api_call *call, const struct db_image *of, const void *data,
                        size_t size, uint64_t *n_pixels, struct error *err)
{
    const struct image_request request = {.data = data,
                                          .size = size,
                                          .limits = &call->api->limits.image,
                                          .cancel = call->request->cancel};
    struct image image;
    int rc = image_decode(&request, &image, err);
    if (rc != 0)
        return rc;
    if (image.info.width != of->width || image.info.height != of->height)
        rc = error_set(err, ERROR_INVALID,
                       "the picture of a mask must have the image's size, %u x %u pixels, and has "
                       "%u x %u",
                       of->width, of->height, image.info.width, image.info.height);
    *n_pixels = 0;
    for (size_t i = 0; rc == 0 && i < (size_t)of->width * of->height; i++)
        *n_pixels += isnan(image.pixels[i]) || image.pixels[i] == 0;
    image_clear(&image);
    return rc;
}

int image_masks_put_picture(struct api_call *call, struct error *err)
{
    struct masked masked = {0};
    char sha256[DB_SHA256_SIZE];
    struct change change = {.picture_sha256 = sha256};
    const void *data = NULL;
    size_t size = 0;
    int rc = masked_get(call, &masked, err);
    if (rc == 0)
        rc = upload_open(call, sha256, &data, &size, err);
    if (rc == 0)
        rc = read_picture(call, &masked.image, data, size, &change.picture_pixels, err);
    if (rc == 0)
        rc = store_writer_commit(call->request->upload, err);
    change.picture_size = size;
    if (rc == 0)
        rc = store_change(call, &change, &masked, err);
    if (rc == 0)
        rc = answer(call, &masked, err);
    masked_clear(&masked);
    return rc;
}

/* White where the image is analysed, black where it is left out. */
static int draw(struct api_call *call, const struct db_image *image, const struct image_mask *mask,
                struct png_bytes *out, struct error *err)
{
    const struct image_mask_place place = {.store = call->api->store,
                                           .cache = call->api->cache,
                                           .limits = &call->api->limits.image,
                                           .cancel = call->request->cancel};
    struct mask drawn = {0};
    int rc = image_mask_draw(mask, image, &place, &drawn, err);
    if (rc != 0)
        return rc;
    uint8_t *grey = malloc((size_t)image->width * image->height);
    if (grey == NULL)
        rc = error_set_nomem(err, "a picture");
    for (uint32_t y = 0; rc == 0 && y < image->height; y++) {
        uint8_t *row = grey + (size_t)y * image->width;
        uint32_t x = 0, end;
        memset(row, UINT8_MAX, image->width);
        for (; mask_next_run(&drawn, y, &x, &end); x = end)
            memset(row + x, 0, end - x);
    }
    if (rc == 0)
        rc = png_write_grey8(grey, image->width, image->height, out, err);
    free(grey);
    mask_clear(&drawn);
    return rc;
}

int image_masks_get_picture(struct api_call *call, struct error *err)
{
    struct db_image image = {0};
    struct image_mask mask = {0};
    struct png_bytes png = {0};
    const char *id = call_id(call, 0, "img_", "image", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    int rc = db_image_get(call->api->db, id, &image, err);
    if (rc == 0)
        rc = image_mask_load(call->api->db, &image, DB_MASKS_ALL, MASK_WITH_PROPOSED, &mask, err);
    if (rc == 0) {
        api_response_header(call->response, "Cache-Control", "private, no-cache");
        if (!call_not_modified(call, "%s", mask.parts.name[0] != '\0' ? mask.parts.name : "none"))
            rc = draw(call, &image, &mask, &png, err);
        if (rc == 0 && png.data != NULL)
            render_answer(call, &png);
    }
    image_mask_clear(&mask);
    db_image_clear(&image);
    return rc;
}
