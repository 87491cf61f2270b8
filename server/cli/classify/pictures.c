#include "server/cli/classify/pictures.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/fewshot/map/maps.h"
#include "engine/image/preview.h"
#include "server/cli/files.h"

enum { OVERLAY_MAX_SIDE = 2048 };

int pictures_parse(struct pictures_choice *choice, struct error *err)
{
    if (choice->opacity == 0)
        choice->opacity = OVERLAY_OPACITY;
    struct error inner = {0};
    if (choice->style_name == NULL ||
        overlay_style_parse(choice->style_name, &choice->style, &inner) == 0)
        return 0;
    return error_set(err, ERROR_INVALID, "--overlay-%.300s", inner.message);
}

/* Takes the picture. */
static int write(const char *directory, const char *name, struct png_bytes *png, int rc,
                 struct error *err)
{
    if (rc == 0)
        rc = file_write(directory, name, png->data, png->size, err);
    png_bytes_clear(png);
    return rc;
}

static int write_labels(const struct fine_source *source, const struct rgb *colors,
                        const char *directory, struct error *err)
{
    struct png_bytes png = {0};
    int rc = write(directory, "labels.png", &png, maps_labels(source, colors, &png, err), err);
    if (rc < 0)
        return rc;
    return write(directory, "labels-image.png", &png,
                 maps_labels_laid(source, colors, MAPS_SIZE_OF_IMAGE, &png, err), err);
}

static int write_probability(const struct fine_source *source, uint32_t class_index,
                             const char *directory, struct error *err)
{
    struct png_bytes png = {0};
    char name[48];
    snprintf(name, sizeof(name), "probability-%u.png", class_index);
    int rc = write(directory, name, &png, maps_probability(source, class_index, &png, err), err);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof(name), "probability-%u-image.png", class_index);
    return write(directory, name, &png,
                 maps_probability_laid(source, class_index, MAPS_SIZE_OF_IMAGE, &png, err), err);
}

static int write_overlay(const struct pictures_choice *choice, const struct fine_source *source,
                         const struct image *image, const struct support_file *support,
                         const char *directory, struct error *err)
{
    const struct image_info *info = &image->info;
    const bool is_calibrated = info->calibration.unit == CALIBRATION_NM;
    struct overlay overlay = {
        .source = source,
        .colors = support->colors,
        .style = choice->style,
        .opacity = (uint32_t)choice->opacity,
        .names = choice->has_legend ? support->names : NULL,
        .pixel_nm = choice->has_scale_bar && is_calibrated ? info->calibration.x : 0.0,
    };
    struct png_bytes png = {0};
    preview_size(info->width, info->height, OVERLAY_MAX_SIDE, &overlay.width, &overlay.height);
    uint8_t *grey = malloc((size_t)overlay.width * overlay.height);
    int rc = grey == NULL ? error_set_nomem(err, "the overlay")
                          : preview_of_plane(image->pixels, info->width, info->height,
                                             overlay.width, overlay.height, grey, err);
    overlay.grey = grey;
    if (rc == 0)
        rc = write(directory, "overlay.png", &png, overlay_draw(&overlay, &png, err), err);
    free(grey);
    return rc;
}

int pictures_write(const struct pictures_choice *choice, const struct fine_source *source,
                   const struct image *image, const struct support_file *support,
                   const char *directory, struct error *err)
{
    int rc = write_labels(source, support->colors, directory, err);
    if (rc == 0)
        rc = write_overlay(choice, source, image, support, directory, err);
    for (uint32_t k = 0; rc == 0 && choice->has_probabilities && k < source->n_classes; k++)
        rc = write_probability(source, k, directory, err);
    return rc;
}
