/* The same parts in the same order as a job's (api/job/image_mask.h), and the same pixels: a plane
 * without the values of what is left out. */
#include "server/cli/classify/micrograph.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/cli/session.h"

/* Black pixels, and those that the picture does not show. */
static int add_picture(const char *path, struct micrograph *micrograph, struct error *err)
{
    struct image picture = {0};
    const struct image_info *info = &micrograph->image.info;
    if (path == NULL)
        return 0;
    int rc = session_decode_image(path, &picture, err);
    if (rc < 0)
        return rc;
    if (picture.info.width != info->width || picture.info.height != info->height)
        rc = error_set(err, ERROR_INVALID,
                       "%.200s: a mask has the image's size, %" PRIu32 " x %" PRIu32
                       " pixels, not %" PRIu32 " x %" PRIu32,
                       path, info->width, info->height, picture.info.width, picture.info.height);
    const uint64_t n_before = micrograph->mask.n_pixels;
    for (uint32_t y = 0; y < info->height && rc == 0; y++) {
        const float *row = picture.pixels + (size_t)y * info->width;
        mask_add_zeros(&micrograph->mask, y, row);
        mask_add_missing(&micrograph->mask, y, row);
    }
    image_clear(&picture);
    if (rc == 0)
        mask_parts_add(&micrograph->parts,
                       &(struct mask_part){.kind = MASK_PICTURE,
                                           .rect = {0, 0, info->width, info->height},
                                           .n_pixels = micrograph->mask.n_pixels - n_before});
    return rc;
}

/* Transparent pixels, and what is found at the edges. */
static int add_found(struct micrograph *micrograph, enum mask_proposals proposals,
                     struct error *err)
{
    const struct image_info *info = &micrograph->image.info;
    struct bars_scan *scan = NULL;
    struct bar bars[BARS_MAX];
    int rc = bars_scan_create(&scan, info->width, info->height, err);
    if (rc < 0)
        return rc;
    for (uint32_t y = 0; y < info->height; y++) {
        const float *row = micrograph->image.pixels + (size_t)y * info->width;
        bars_scan_add_row(scan, row);
        mask_add_missing(&micrograph->mask, y, row);
    }
    const uint64_t n_missing = bars_scan_n_missing(scan);
    if (n_missing > 0)
        mask_parts_add(&micrograph->parts,
                       &(struct mask_part){.kind = MASK_TRANSPARENT,
                                           .rect = {0, 0, info->width, info->height},
                                           .n_pixels = n_missing});
    const uint32_t n_bars = bars_scan_find(scan, bars);
    for (uint32_t i = 0; i < n_bars && proposals == MASK_WITH_PROPOSED; i++) {
        mask_parts_add_bar(&micrograph->parts, &bars[i], MASK_PROPOSED);
        mask_add_rectangle(&micrograph->mask, &bars[i].rect);
    }
    bars_scan_destroy(scan);
    return 0;
}

int micrograph_load(const struct micrograph_request *request,
                    const struct normalise_params *normalise, struct micrograph *out,
                    struct error *err)
{
    struct micrograph micrograph = {0};
    const struct image_info *info = &micrograph.image.info;
    int rc = session_decode_image(request->image_path, &micrograph.image, err);
    if (rc == 0)
        rc = mask_parts_init(&micrograph.parts, BARS_MAX + 2, 0, err);
    if (rc == 0)
        rc = mask_init(&micrograph.mask, info->width, info->height, err);
    if (rc == 0)
        rc = add_picture(request->mask_path, &micrograph, err);
    if (rc == 0)
        rc = add_found(&micrograph, request->proposals, err);
    if (rc == 0) {
        mask_apply(&micrograph.mask, micrograph.image.pixels);
        rc = session_normalise_image(request->image_path, normalise, &micrograph.image,
                                     &micrograph.n_outliers, err);
    }
    if (rc < 0)
        micrograph_clear(&micrograph);
    else
        *out = micrograph;
    return rc;
}

void micrograph_clear(struct micrograph *micrograph)
{
    image_clear(&micrograph->image);
    mask_parts_clear(&micrograph->parts);
    mask_clear(&micrograph->mask);
}

static void print_part(const struct mask_part *part)
{
    if (part->kind == MASK_PICTURE)
        fprintf(stderr, " %" PRIu64 " pixels by --mask", part->n_pixels);
    else if (part->kind == MASK_TRANSPARENT)
        fprintf(stderr, " %" PRIu64 " transparent pixels", part->n_pixels);
    else
        fprintf(stderr, " a %s of %" PRIu32 " x %" PRIu32 " pixels at %" PRIu32 ", %" PRIu32,
                mask_kind_name(part->kind), part->rect.width, part->rect.height, part->rect.x,
                part->rect.y);
}

void micrograph_report(const struct micrograph *micrograph)
{
    bool is_proposed = false;
    if (micrograph->parts.n == 0)
        return;
    fprintf(stderr, "chipshot: not analysed:");
    for (size_t i = 0; i < micrograph->parts.n; i++) {
        fprintf(stderr, "%s", i > 0 ? "," : "");
        print_part(&micrograph->parts.items[i]);
        is_proposed = is_proposed || micrograph->parts.items[i].status == MASK_PROPOSED;
    }
    fprintf(stderr, "%s\n",
            is_proposed ? "; --no-proposed-mask keeps what was found by itself" : "");
}
