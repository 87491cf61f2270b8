/* Pictures of a result: label map, overlay, probability maps. */
#include <stdlib.h>
#include <string.h>

#include "api/job/job_params.h"
#include "api/render.h"
#include "api/results/result_view.h"
#include "engine/fewshot/map/maps.h"
#include "engine/fewshot/map/overlay.h"
#include "engine/image/preview.h"

static void get_colors(const struct db_support_set *set, struct rgb *out)
{
    for (size_t i = 0; i < set->n_classes; i++)
        out[i] = (struct rgb){set->classes[i].color[0], set->classes[i].color[1],
                              set->classes[i].color[2]};
}

/* What the maps of a loaded result are made of. */
static struct fine_source source_of(const struct api_call *call, const struct result_view *view)
{
    return (struct fine_source){.grid = &view->grid,
                                .labels = view->result.labels,
                                .probabilities = view->result.probabilities,
                                .n_classes = view->result.n_classes,
                                .cancel = call->request->cancel};
}

enum map_size { MAP_SIZE_GRID, MAP_SIZE_IMAGE }; /* as the words of `size` in routes.c */

/* The longer side, at most; 0: one pixel a cell. A limit alone means the image's size too, as it
 * did before there were words for sizes. */
static int get_size(struct api_call *call, uint32_t *max_side, struct error *err)
{
    const struct call_query *size = call_query(call, "size"), *limit = call_query(call, "max_side");
    const bool is_grid = size->number == MAP_SIZE_GRID;
    if (size->present && is_grid && limit->present)
        field_errors_add(&call->errors, FIELD_PARAMETER, "max_side", "is for size=image alone");
    *max_side = limit->present ? limit->number : is_grid ? 0 : MAPS_SIZE_OF_IMAGE;
    return call_check_fields(call, err);
}

static int draw_labels(struct api_call *call, struct result_view *view, uint32_t max_side,
                       struct png_bytes *out, struct error *err)
{
    struct rgb colors[CLASSIFIER_CLASSES_MAX];
    get_colors(&view->set, colors);
    int rc = result_view_load(call, view, err);
    if (rc != 0)
        return rc;
    const struct fine_source source = source_of(call, view);
    return max_side == 0 ? maps_labels(&source, colors, out, err)
                         : maps_labels_laid(&source, colors, max_side, out, err);
}

int result_maps_labels(struct api_call *call, struct error *err)
{
    struct result_view view;
    struct png_bytes png = {0};
    uint32_t max_side;
    int rc = get_size(call, &max_side, err);
    if (rc == 0)
        rc = result_view_open(call, &view, err);
    if (rc != 0)
        return rc;
    response_immutable(call->response);
    if (!call_not_modified(call, "%s-%s-labels" RENDER_REVISION "-%u", view.job.id, view.image.id,
                           max_side)) {
        rc = draw_labels(call, &view, max_side, &png, err);
        if (rc == 0)
            render_answer(call, &png);
    }
    result_view_clear(&view);
    return rc;
}

/* The image as the job saw it: to be freed. */
static int draw_grey(struct api_call *call, const struct result_view *view, uint32_t width,
                     uint32_t height, uint8_t **out, struct error *err)
{
    const struct db_image *image = &view->image;
    struct job_params params;
    if (image->width != view->grid.image_width || image->height != view->grid.image_height)
        return error_set(err, ERROR_CORRUPT, "image %s has another size than its result",
                         image->id);
    int rc = job_params_from_text(view->job.params, &params, err);
    return rc == 0 ? render_preview(call, image, &params.normalise, width, height, out, err) : rc;
}

static int draw_overlay(struct api_call *call, struct result_view *view, struct png_bytes *out,
                        struct error *err)
{
    const uint32_t max_side = call_query(call, "max_side")->number;
    const bool has_scale = call_query(call, "scale_bar")->number != 0;
    const char *names[CLASSIFIER_CLASSES_MAX];
    struct rgb colors[CLASSIFIER_CLASSES_MAX];
    uint8_t *grey = NULL;
    uint32_t width, height;
    get_colors(&view->set, colors);
    for (size_t i = 0; i < view->set.n_classes; i++)
        names[i] = view->set.classes[i].name;
    preview_size(view->image.width, view->image.height, max_side, &width, &height);
    int rc = draw_grey(call, view, width, height, &grey, err);
    if (rc == 0)
        rc = result_view_load(call, view, err);
    if (rc == 0) {
        const struct fine_source source = source_of(call, view);
        const struct overlay overlay = {
            .source = &source,
            .grey = grey,
            .width = width,
            .height = height,
            .colors = colors,
            .style = (enum overlay_style)call_query(call, "style")->number,
            .opacity = call_query(call, "opacity")->number,
            .names = call_query(call, "legend")->number != 0 ? names : NULL,
            .pixel_nm = has_scale ? view->image.pixel_x_nm : 0.0,
        };
        rc = overlay_draw(&overlay, out, err);
    }
    free(grey);
    return rc;
}

int result_maps_overlay(struct api_call *call, struct error *err)
{
    struct result_view view;
    struct png_bytes png = {0};
    int rc = result_view_open(call, &view, err);
    if (rc != 0)
        return rc;
    /* A scale bar follows the pixel size that the image has now. */
    const bool has_scale = call_query(call, "scale_bar")->number != 0;
    if (has_scale)
        api_response_header(call->response, "Cache-Control", "private, no-cache");
    else
        response_immutable(call->response);
    if (!call_not_modified(call, "%s-%s-overlay" RENDER_REVISION "-%u-%u-%u-%u-%.17g", view.job.id,
                           view.image.id, call_query(call, "max_side")->number,
                           call_query(call, "style")->number, call_query(call, "opacity")->number,
                           call_query(call, "legend")->number,
                           has_scale ? view.image.pixel_x_nm : -1.0)) {
        rc = draw_overlay(call, &view, &png, err);
        if (rc == 0)
            render_answer(call, &png);
    }
    result_view_clear(&view);
    return rc;
}

static int draw_probability(struct api_call *call, struct result_view *view, uint32_t index,
                            uint32_t max_side, struct png_bytes *out, struct error *err)
{
    int rc = result_view_load(call, view, err);
    if (rc != 0)
        return rc;
    const struct fine_source source = source_of(call, view);
    return max_side == 0 ? maps_probability(&source, index, out, err)
                         : maps_probability_laid(&source, index, max_side, out, err);
}

int result_maps_probability(struct api_call *call, struct error *err)
{
    struct result_view view;
    struct png_bytes png = {0};
    uint32_t index = 0, max_side;
    int rc = get_size(call, &max_side, err);
    if (rc == 0)
        rc = result_view_open(call, &view, err);
    if (rc != 0)
        return rc;
    rc = result_view_find_class(&view.set, call->params[2], &index, err);
    response_immutable(call->response);
    if (rc == 0 && !call_not_modified(call, "%s-%s-probability" RENDER_REVISION "-%u-%u",
                                      view.job.id, view.image.id, index, max_side)) {
        rc = draw_probability(call, &view, index, max_side, &png, err);
        if (rc == 0)
            render_answer(call, &png);
    }
    result_view_clear(&view);
    return rc;
}
