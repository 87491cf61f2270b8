#include "api/render.h"

/* The bytes were verified when they were uploaded: what fails now was damaged since, or the limits
 * were lowered. */
int render_open(struct api_call *call, const struct db_image *image,
                const struct normalise_params *params, struct image *out, struct error *err)
{
    struct api *api = call->api;
    const struct cancel *cancel = call->request->cancel;
    struct store_file blob = {0};
    int rc = store_file_open(api->store, image->sha256, cancel, &blob, err);
    if (rc != 0)
        return rc == ERROR_NOT_FOUND
                   ? error_set(err, ERROR_CORRUPT, "the file of image %s is missing", image->id)
                   : rc;
    struct error cause = {0};
    const struct image_request request = {.data = blob.data,
                                          .size = blob.size,
                                          .limits = &api->limits.image,
                                          .frame = image->frame,
                                          .cancel = cancel};
    rc = image_decode(&request, out, &cause);
    store_file_close(&blob);
    if (rc == ERROR_INVALID)
        return error_set(err, ERROR_CORRUPT, "stored image %s: %s", image->id, cause.message);
    if (rc != 0)
        return error_set(err, cause.code, "%s", cause.message);
    rc = normalise_apply(params, out->pixels, out->info.width, out->info.height,
                         &out->info.full_scale, cancel, err);
    if (rc != 0)
        image_clear(out);
    return rc;
}

void render_answer(struct api_call *call, struct png_bytes *png)
{
    response_bytes(call->response, 200, "image/png", png->data, png->size);
    *png = (struct png_bytes){0};
}
