/* Images: upload, metadata, deletion. Their pictures are in image_views.c. */
#include <stdlib.h>
#include <string.h>

#include "api/job/image_counts.h"
#include "api/call.h"
#include "api/upload.h"
#include "db/images.h"

static json_t *pixel_size_json(const struct db_image *image)
{
    return image->pixel_size_nm > 0
               ? json_pack("{s:f, s:s}", "value", image->pixel_size_nm, "unit", "nm")
               : json_null();
}

static json_t *pixel_sides_json(const struct db_image *image)
{
    return image->pixel_x_nm > 0 ? json_pack("{s:f, s:f, s:s}", "x", image->pixel_x_nm, "y",
                                             image->pixel_y_nm, "unit", "nm")
                                 : json_null();
}

static json_t *image_json(const struct db_image *image)
{
    char links[4][DB_ID_SIZE + 40];
    static const char *const tails[] = {"", "/content", "/preview.png"};
    for (int i = 0; i < 3; i++)
        snprintf(links[i], sizeof(links[i]), "/v1/images/%s%s", image->id, tails[i]);
    snprintf(links[3], sizeof(links[3]), "/v1/projects/%s", image->project_id);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:o, s:o, s:s,"
                     " s:{s:s, s:s, s:s, s:s}}",
                     "id", image->id, "project_id", image->project_id, "name", image->name,
                     "sha256", image->sha256, "format", image->format, "conversion",
                     image->conversion, "width", (int)image->width, "height", (int)image->height,
                     "bit_depth", (int)image->bit_depth, "channels", (int)image->n_channels,
                     "byte_size", (json_int_t)image->byte_size, "pixel_size",
                     pixel_size_json(image), "pixel_sides", pixel_sides_json(image), "created_at",
                     image->created_at, "links", "self", links[0], "content", links[1], "preview",
                     links[2], "project", links[3]);
}

/* Decodes the whole upload once, so that no stored image fails later. Its values are counted on the
 * way, for the jobs to come. */
static int verify(struct api_call *call, const void *data, size_t size, const char *sha256,
                  struct image_info *info, struct error *err)
{
    const struct image_request request = {.data = data,
                                          .size = size,
                                          .limits = &call->api->limits.image,
                                          .cancel = call->request->cancel};
    struct image_look look = {.counts = calloc(SAMPLE_LEVELS_MAX, sizeof(look.counts[0]))};
    if (look.counts == NULL)
        return error_set_nomem(err, "an image's counts");
    int rc = image_scan(&request, info, &look, err);
    if (rc == 0 && look.n_levels > 0)
        image_counts_put(call->api->cache, sha256, 0, look.counts, look.n_levels);
    free(look.counts);
    return rc;
}

static int fill(struct db_image *image, const struct api_call *call, const struct image_info *info,
                uint64_t byte_size, struct error *err)
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
    image->pixel_size_nm = image_calibration_square_nm(&info->calibration);
    if (info->calibration.unit == CALIBRATION_NM) {
        image->pixel_x_nm = info->calibration.x;
        image->pixel_y_nm = info->calibration.y;
    }
    return 0;
}

int images_upload(struct api_call *call, struct error *err)
{
    const char *project_id;
    struct db_image image = {0};
    struct image_info info;
    const void *data = NULL;
    size_t size = 0;
    bool existed = false;
    int rc = call_project(call, &project_id, err);
    if (rc == 0)
        rc = upload_open(call, image.sha256, &data, &size, err);
    if (rc == 0)
        rc = verify(call, data, size, image.sha256, &info, err);
    if (rc == 0)
        rc = fill(&image, call, &info, size, err);
    if (rc == 0)
        rc = store_writer_commit(call->request->upload, err);
    if (rc != 0)
        goto out;
    snprintf(image.project_id, sizeof(image.project_id), "%s", project_id);
    call_sign(call, image.created_by);
    rc = db_image_insert(call->api->db, call->api->store, &image, &existed, err);
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
    response_immutable(call->response);
    if (!call_not_modified(call, "%s", image.id))
        rc = response_json(call->response, 200, image_json(&image), err);
    db_image_clear(&image);
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
