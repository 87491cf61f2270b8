#include "api/render.h"

#include <stdlib.h>

#include "engine/image/preview.h"

/* What is drawn: borrowed, but for the pixels. */
struct drawing {
    const struct db_image *image;
    const struct normalise_params *params;
    const struct chip_rect *window; /* NULL: the whole image, scaled */
    uint32_t width, height;
    uint8_t *grey; /* owned */
};

static int draw_once(struct api_call *call, const struct drawing *drawing, bool *is_damaged,
                     struct error *err)
{
    struct view *view = NULL;
    int rc = view_open(&view, call->api->views, drawing->image, drawing->params,
                       call->request->cancel, err);
    if (rc != 0)
        return rc;
    const struct pyramid *pyramid = view_pyramid(view);
    rc = drawing->window != NULL
             ? pyramid_read(pyramid, 0, drawing->window, view_read_tiles, view, drawing->grey, err)
             : preview_draw(pyramid, view_read_tiles, view, drawing->width, drawing->height,
                            drawing->grey, err);
    *is_damaged = view_is_damaged(view);
    view_close(view);
    return rc;
}

/* A damaged view is made anew, once. */
static int draw(struct api_call *call, struct drawing *drawing, uint8_t **out, struct error *err)
{
    bool is_damaged = false;
    drawing->grey = malloc((size_t)drawing->width * drawing->height);
    if (drawing->grey == NULL)
        return error_set_nomem(err, "a picture");
    int rc = draw_once(call, drawing, &is_damaged, err);
    if (rc != 0 && is_damaged)
        rc = draw_once(call, drawing, &is_damaged, err);
    if (rc == 0)
        *out = drawing->grey;
    else
        free(drawing->grey);
    return rc;
}

int render_window(struct api_call *call, const struct db_image *image,
                  const struct normalise_params *params, const struct chip_rect *window,
                  uint8_t **out, struct error *err)
{
    struct drawing drawing = {.image = image,
                              .params = params,
                              .window = window,
                              .width = window->width,
                              .height = window->height};
    return draw(call, &drawing, out, err);
}

int render_preview(struct api_call *call, const struct db_image *image,
                   const struct normalise_params *params, uint32_t width, uint32_t height,
                   uint8_t **out, struct error *err)
{
    struct drawing drawing = {.image = image, .params = params, .width = width, .height = height};
    return draw(call, &drawing, out, err);
}

void render_answer(struct api_call *call, struct png_bytes *png)
{
    response_bytes(call->response, 200, "image/png", png->data, png->size);
    *png = (struct png_bytes){0};
}

json_t *render_chip_links(const char *image_id, const struct chip_rect *chip)
{
    return json_pack("{s:o}", "picture",
                     json_sprintf("/v1/images/%s/chips/0,0.png?width=%u&height=%u&offset_x=%u"
                                  "&offset_y=%u",
                                  image_id, chip->width, chip->height, chip->x, chip->y));
}
