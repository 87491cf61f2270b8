/* Called on the job's own thread. */
#include "server/worker/job_pixels.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "engine/image/normalise.h"
#include "server/worker/stored_file.h"

const char *job_image_text(const struct job_image *image, char text[JOB_IMAGE_TEXT])
{
    snprintf(text, JOB_IMAGE_TEXT, "image %s", image->row.id);
    return text;
}

int job_image_fail(const struct job_image *image, const struct error *inner, struct error *err)
{
    return error_set(err, inner->code, "image %s: %.400s", image->row.id, inner->message);
}

int job_image_check_size(const struct job_image *image, uint32_t width, uint32_t height,
                         struct error *err)
{
    const struct db_image *row = &image->row;
    if (width == row->width && height == row->height)
        return 0;
    return error_set(err, ERROR_CORRUPT,
                     "image %s: its file has %" PRIu32 " x %" PRIu32
                     " pixels, its row says %" PRIu32 " x %" PRIu32,
                     row->id, width, height, row->width, row->height);
}

int job_image_draw_mask(const struct job_state *state, const struct job_image *image,
                        struct mask *out, struct error *err)
{
    const struct image_mask_place place = {.store = state->engine->store,
                                           .cache = state->engine->cache,
                                           .limits = &state->engine->limits->image,
                                           .cancel = &state->cancel};
    return image_mask_draw(&image->mask, &image->row, &place, out, err);
}

static int decode_values(struct job_state *state, const struct job_image *image,
                         const struct mask *mask, const struct store_file *file, struct image *out,
                         struct error *err)
{
    struct error inner = {0};
    const double start = clock_now_seconds();
    const struct image_request request = {.data = file->data,
                                          .size = file->size,
                                          .limits = &state->engine->limits->image,
                                          .frame = image->row.frame,
                                          .cancel = &state->cancel};
    int rc = image_decode(&request, out, &inner);
    job_time(state, JOB_PART_DECODE, start);
    if (rc < 0)
        return job_image_fail(image, &inner, err);
    rc = job_image_check_size(image, out->info.width, out->info.height, err);
    if (rc == 0 && mask != NULL)
        mask_apply(mask, out->pixels);
    if (rc < 0)
        image_clear(out);
    return rc;
}

int job_pixels_decode(struct job_state *state, const struct job_image *image,
                      const struct mask *mask, const struct store_file *file, struct image *out,
                      struct error *err)
{
    int rc = decode_values(state, image, mask, file, out, err);
    if (rc < 0)
        return rc;
    const double start = clock_now_seconds();
    rc = normalise_apply(&image->normalise, out->pixels, out->info.width, out->info.height,
                         &out->info.full_scale, &state->cancel, err);
    if (rc < 0)
        image_clear(out);
    job_time(state, JOB_PART_NORMALISE, start);
    return rc;
}

/* The file is checked before anything of it is used. */
static int load(struct job_state *state, const struct job_image *image,
                int (*decode)(struct job_state *state, const struct job_image *image,
                              const struct mask *mask, const struct store_file *file,
                              struct image *out, struct error *err),
                struct image *out, struct error *err)
{
    char text[JOB_IMAGE_TEXT];
    struct store_file file = {0};
    struct mask mask = {0};
    const bool is_masked = !image_mask_is_empty(&image->mask);
    const double start = clock_now_seconds();
    int rc = stored_file_open(state->engine->store, job_image_text(image, text), image->row.sha256,
                              &state->cancel, &file, err);
    job_time(state, JOB_PART_READ, start);
    if (rc < 0)
        return rc;
    rc = is_masked ? job_image_draw_mask(state, image, &mask, err) : 0;
    if (rc == 0)
        rc = decode(state, image, is_masked ? &mask : NULL, &file, out, err);
    mask_clear(&mask);
    store_file_close(&file);
    return rc;
}

int job_pixels_load(struct job_state *state, const struct job_image *image, struct image *out,
                    struct error *err)
{
    return load(state, image, job_pixels_decode, out, err);
}

int job_pixels_load_values(struct job_state *state, const struct job_image *image,
                           struct image *out, struct error *err)
{
    return load(state, image, decode_values, out, err);
}
