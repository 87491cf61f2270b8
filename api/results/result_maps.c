/* Pictures of a result: label map, overlay, probability maps. */
#include <stdlib.h>
#include <string.h>

#include "api/job/job_params.h"
#include "api/render.h"
#include "api/results/result_view.h"
#include "engine/fewshot/map/maps.h"
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

/* max_side 0: one pixel a cell. */
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
    int rc = result_view_open(call, &view, err);
    if (rc != 0)
        return rc;
    response_immutable(call->response);
    const uint32_t max_side = call_query(call, "max_side")->number;
    if (!call_not_modified(call, "%s-%s-labels" RENDER_REVISION "-%u", view.job.id, view.image.id,
                           max_side)) {
        rc = draw_labels(call, &view, max_side, &png, err);
        if (rc == 0)
            render_answer(call, &png);
    }
    result_view_clear(&view);
    return rc;
}

/* The image as the job saw it, with the labels over it. */
static int draw_overlay(struct api_call *call, struct result_view *view, struct png_bytes *out,
                        struct error *err)
{
    const uint32_t max_side = call_query(call, "max_side")->number;
    const struct db_image *image = &view->image;
    struct rgb colors[CLASSIFIER_CLASSES_MAX];
    struct job_params params;
    uint8_t *grey = NULL;
    uint32_t width, height;
    if (image->width != view->grid.image_width || image->height != view->grid.image_height)
        return error_set(err, ERROR_CORRUPT, "image %s has another size than its result",
                         image->id);
    get_colors(&view->set, colors);
    preview_size(image->width, image->height, max_side, &width, &height);
    int rc = job_params_from_text(view->job.params, &params, err);
    if (rc == 0)
        rc = render_preview(call, image, &params.normalise, width, height, &grey, err);
    if (rc == 0)
        rc = result_view_load(call, view, err);
    if (rc == 0) {
        const struct fine_source source = source_of(call, view);
        rc = maps_overlay(&source, grey, colors, max_side, out, err);
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
    response_immutable(call->response);
    if (!call_not_modified(call, "%s-%s-overlay" RENDER_REVISION "-%u", view.job.id, view.image.id,
                           call_query(call, "max_side")->number)) {
        rc = draw_overlay(call, &view, &png, err);
        if (rc == 0)
            render_answer(call, &png);
    }
    result_view_clear(&view);
    return rc;
}

static int draw_probability(struct api_call *call, struct result_view *view, uint32_t index,
                            struct png_bytes *out, struct error *err)
{
    int rc = result_view_load(call, view, err);
    if (rc != 0)
        return rc;
    const struct fine_source source = source_of(call, view);
    return maps_probability(&source, index, out, err);
}

int result_maps_probability(struct api_call *call, struct error *err)
{
    struct result_view view;
    struct png_bytes png = {0};
    uint32_t index = 0;
    int rc = result_view_open(call, &view, err);
    if (rc != 0)
        return rc;
    rc = result_view_find_class(&view.set, call->params[2], &index, err);
    response_immutable(call->response);
    if (rc == 0 && !call_not_modified(call, "%s-%s-probability" RENDER_REVISION "-%u", view.job.id,
                                      view.image.id, index)) {
        rc = draw_probability(call, &view, index, &png, err);
        if (rc == 0)
            render_answer(call, &png);
    }
    result_view_clear(&view);
    return rc;
}
