/* Images: upload, metadata, deletion. Their pictures are in image_views.c. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/analysis_text.h"
#include "api/job/image_counts.h"
#include "api/job/mask_document.h"
#include "api/call.h"
#include "api/image_scale.h"
#include "api/upload.h"
#include "db/images.h"
#include "engine/image/normalise.h"

enum { UPDATE_TRIES = 8 /* of a change without If-Match that meets another change */ };

/* What was found that may be no specimen; null when nobody has looked. */
static json_t *mask_json(const struct db_image *image)
{
    struct image_look look;
    struct mask_parts parts;
    if (image->look == NULL ||
        image_look_from_text(image->look, image->width, image->height, &look, NULL) < 0 ||
        mask_parts_init(&parts, look.n_bars, 0, NULL) < 0)
        return json_null();
    for (uint32_t i = 0; i < look.n_bars; i++)
        mask_parts_add_bar(&parts, &look.bars[i], MASK_PROPOSED);
    json_t *json = json_pack("{s:o, s:I}", "proposed", mask_parts_json(&parts),
                             "transparent_pixels", (json_int_t)look.n_missing);
    mask_parts_clear(&parts);
    return json;
}

static json_t *image_json(const struct db_image *image)
{
    char links[4][DB_ID_SIZE + 40], mask[DB_ID_SIZE + 40];
    static const char *const tails[] = {"", "/content", "/preview.png"};
    for (int i = 0; i < 3; i++)
        snprintf(links[i], sizeof(links[i]), "/v1/images/%s%s", image->id, tails[i]);
    snprintf(links[3], sizeof(links[3]), "/v1/projects/%s", image->project_id);
    snprintf(mask, sizeof(mask), "/v1/images/%s/mask", image->id);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:o, s:o, s:o, s:I, s:s,"
        " s:{s:s, s:s, s:s, s:s, s:s}}",
        "id", image->id, "project_id", image->project_id, "name", image->name, "sha256",
        image->sha256, "format", image->format, "conversion", image->conversion, "width",
        (int)image->width, "height", (int)image->height, "bit_depth", (int)image->bit_depth,
        "channels", (int)image->n_channels, "byte_size", (json_int_t)image->byte_size, "pixel_size",
        image_scale_json(image), "n_outliers",
        image->n_outliers >= 0 ? json_integer(image->n_outliers) : json_null(), "mask",
        mask_json(image), "revision", (json_int_t)image->revision, "created_at", image->created_at,
        "links", "self", links[0], "content", links[1], "preview", links[2], "mask", mask,
        "project", links[3]);
}

/* How many pixels the range that is the default leaves out. */
static int count_outliers(const struct image_info *info, const uint32_t *counts, int64_t *out,
                          struct error *err)
{
    struct normalise_range range;
    int rc = normalise_find_level_range(&normalise_params_default, counts, info->type,
                                        &info->full_scale, &range, err);
    if (rc == 0)
        *out = (int64_t)range.n_outliers;
    return rc;
}

/* Decodes the whole upload once, so that no stored image fails later. Its values are counted on the
 * way, for the jobs to come, and what may be no specimen is looked for; n_outliers is -1 where they
 * are not. */
static int verify(struct api_call *call, const void *data, size_t size, struct image_info *info,
                  struct db_image *image, struct error *err)
{
    const struct image_request request = {.data = data,
                                          .size = size,
                                          .limits = &call->api->limits.image,
                                          .cancel = call->request->cancel};
    struct image_look look = {.counts = calloc(SAMPLE_LEVELS_MAX, sizeof(look.counts[0]))};
    if (look.counts == NULL)
        return error_set_nomem(err, "an image's counts");
    int rc = image_scan(&request, info, &look, err);
    image->n_outliers = -1;
    if (rc == 0 && look.n_levels > 0) {
        image_counts_put(call->api->cache, image->sha256, 0, "", look.counts, look.n_levels);
        if (look.n_bars == 0) /* whose text stands out, too */
            rc = count_outliers(info, look.counts, &image->n_outliers, err);
    }
    free(look.counts);
    if (rc == 0 && (image->look = image_look_to_text(&look)) == NULL)
        rc = error_set_nomem(err, "an image");
    return rc;
}

/* The pixel size that the request gives; its unit is CALIBRATION_NONE where it gives none. */
static int read_given(struct api_call *call, struct image_calibration *out, struct error *err)
{
    const char *text = call_query(call, "pixel_size_nm")->text;
    struct error fault;
    *out = (struct image_calibration){.unit = CALIBRATION_NONE};
    if (text != NULL && image_calibration_parse(text, out, &fault) < 0)
        field_errors_add(&call->errors, FIELD_PARAMETER, "pixel_size_nm", "%s", fault.message);
    return call_check_fields(call, err);
}

static int fill(struct db_image *image, const struct api_call *call, const struct image_info *info,
                const struct image_calibration *given, uint64_t byte_size, struct error *err)
{
    char fallback[32];
    snprintf(fallback, sizeof(fallback), "%.12s.%s", image->sha256, info->format->extensions[0]);
    const char *name = call_query(call, "name")->text;
    image->name = strdup(name != NULL ? name : fallback);
    if (image->name == NULL)
        return error_set_nomem(err, "an image's name");
    snprintf(image->format, sizeof(image->format), "%s", info->format->name);
    snprintf(image->conversion, sizeof(image->conversion), "%s",
             image_conversion_name(info->conversion));
    image->width = info->width;
    image->height = info->height;
    image->bit_depth = info->bit_depth;
    image->n_channels = info->n_channels;
    image->byte_size = byte_size;
    call_sign(call, image->created_by);
    if (given->unit != CALIBRATION_NONE) {
        image_scale_set(image, given);
        call_sign(call, image->pixel_set_by);
    } else {
        image_scale_set(image, &info->calibration);
    }
    return 0;
}

/* An image that was there keeps its pixel size: to be given another one it is to be changed. */
static int check_same_scale(const struct db_image *image, const struct image_calibration *given,
                            struct error *err)
{
    if (given->unit == CALIBRATION_NONE ||
        (image->pixel_x_nm == given->x && image->pixel_y_nm == given->y))
        return 0;
    return error_set(err, ERROR_CONFLICT,
                     "these bytes are image %s, whose pixel size is not pixel_size_nm, %g,%g: "
                     "PATCH /v1/images/%s changes it",
                     image->id, given->x, given->y, image->id);
}

int images_upload(struct api_call *call, struct error *err)
{
    const char *project_id;
    struct db_image image = {0};
    struct image_info info;
    struct image_calibration given;
    const void *data = NULL;
    size_t size = 0;
    bool existed = false;
    int rc = read_given(call, &given, err);
    if (rc == 0)
        rc = call_project(call, &project_id, err);
    if (rc == 0)
        rc = upload_open(call, image.sha256, &data, &size, err);
    if (rc == 0)
        rc = verify(call, data, size, &info, &image, err);
    if (rc == 0)
        rc = fill(&image, call, &info, &given, size, err);
    if (rc == 0)
        rc = store_writer_commit(call->request->upload, err);
    if (rc != 0)
        goto out;
    snprintf(image.project_id, sizeof(image.project_id), "%s", project_id);
    rc = db_image_insert(call->api->db, call->api->store, &image, &existed, err);
    if (rc == 0 && existed)
        rc = check_same_scale(&image, &given, err);
    if (rc != 0)
        goto out;
    api_response_header(call->response, "Location", "/v1/images/%s", image.id);
    rc = response_json(call->response, existed ? 200 : 201, image_json(&image), err);
out:
    db_image_clear(&image);
    return rc;
}

int images_list(struct api_call *call, struct error *err)
{
    const char *project_id;
    int rc = call_project(call, &project_id, err);
    if (rc != 0)
        return rc;
    struct db_image_list list = {0};
    struct db_page page = call_page(call);
    const char *name = call_query(call, "name")->text;
    rc = db_image_list(call->api->db, project_id, name, &page, &list, err);
    if (rc != 0)
        return call_page_error(call, rc, err);
    json_t *items = json_array();
    for (size_t i = 0; i < list.n_items; i++)
        json_array_append_new(items, image_json(&list.items[i]));
    const char *last = list.n_items > 0 ? list.items[list.n_items - 1].id : NULL;
    rc = call_list(call, items, list.more, last, list.n_damaged, err);
    db_image_list_clear(&list);
    return rc;
}

int images_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "img_", "image", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_image image = {0};
    int rc = db_image_get(call->api->db, id, &image, err);
    if (rc != 0)
        return rc;
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    if (!call_not_modified(call, "%" PRIu64, image.revision))
        rc = response_json(call->response, 200, image_json(&image), err);
    db_image_clear(&image);
    return rc;
}

/* One try of read, check, change and store; ERROR_CONFLICT when another change came between. */
static int update_once(struct api_call *call, const char *id,
                       const struct image_calibration *calibration, struct db_image *image,
                       struct error *err)
{
    char etag[32];
    int rc = db_image_get(call->api->db, id, image, err);
    if (rc != 0)
        return rc;
    snprintf(etag, sizeof(etag), "%" PRIu64, image->revision);
    rc = call_if_match(call, etag, err);
    if (rc != 0)
        return rc;
    image_scale_set(image, calibration);
    return db_image_calibrate(call->api->db, image, image->revision, &call->request->principal,
                              err);
}

static int answer_changed(struct api_call *call, const struct db_image *image, struct error *err)
{
    api_response_header(call->response, "ETag", "\"%" PRIu64 "\"", image->revision);
    api_response_header(call->response, "Cache-Control", "private, no-cache");
    return response_json(call->response, 200, image_json(image), err);
}

int images_update(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "img_", "image", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    json_t *json = NULL;
    struct image_calibration calibration;
    struct db_image image = {0};
    const struct json_field fields[] = {
        json_value_field("pixel_size", JSON_REQUIRED, image_scale_read, &calibration),
    };
    int rc = call_json(call, &json, err);
    if (rc == 0) {
        const struct json_at at = call_json_root(call);
        json_read_object(json, &at, fields, 1);
        rc = call_check_fields(call, err);
    }
    if (rc == 0) {
        int tries = 0;
        do {
            db_image_clear(&image);
            rc = update_once(call, id, &calibration, &image, err);
        } while (rc == ERROR_CONFLICT && !call->refused && ++tries < UPDATE_TRIES);
    }
    if (rc == 0)
        rc = answer_changed(call, &image, err);
    db_image_clear(&image);
    json_decref(json);
    return rc;
}

int images_delete(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "img_", "image", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    int rc = db_image_delete(call->api->db, call->api->store, id, &call->request->principal, err);
    return rc != 0 ? rc : call_no_content(call);
}
