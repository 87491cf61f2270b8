#include "api/render.h"

/* The bytes were verified when they were uploaded: what fails now was damaged since, or the limits
 * were lowered. */
static int decode(struct api *api, const struct db_image *image,
                  const struct normalise_params *params, struct image *out, struct error *err)
{
    struct store_file blob = {0};
    int code = store_file_open(api->store, image->sha256, &blob, err);
    if (code != 0)
        return code == ERROR_NOT_FOUND
                   ? error_set(err, ERROR_CORRUPT, "the file of image %s is missing", image->id)
                   : code;
    struct error cause = {0};
    code = image_decode(blob.data, blob.size, &api->limits.image, image->frame, out, &cause);
    store_file_close(&blob);
    if (code == ERROR_INVALID)
        return error_set(err, ERROR_CORRUPT, "stored image %s: %s", image->id, cause.message);
    if (code != 0)
        return error_set(err, cause.code, "%s", cause.message);
    code = normalise_apply(params, out->pixels, out->info.width, out->info.height,
                           &out->info.full_scale, err);
    if (code != 0)
        image_clear(out);
    return code;
}

int render_open(struct api *api, const struct db_image *image,
                const struct normalise_params *params, struct image *out, struct error *err)
{
    int code = api_render_begin(api, err);
    if (code != 0)
        return code;
    code = decode(api, image, params, out, err);
    if (code != 0)
        api_render_end(api);
    return code;
}

void render_close(struct api *api, struct image *image)
{
    image_clear(image);
    api_render_end(api);
}

void render_answer(struct api_call *call, struct png_bytes *png)
{
    response_bytes(call->response, 200, "image/png", png->data, png->size);
    *png = (struct png_bytes){0};
}
