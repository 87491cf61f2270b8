/* An image's file on its way into a job: opened, checked, decoded and normalised. */
#ifndef CHIPSHOT_SERVER_JOB_PIXELS_H
#define CHIPSHOT_SERVER_JOB_PIXELS_H

#include "db/store/store.h"
#include "engine/image/image.h"
#include "server/worker/job_state.h"

enum { JOB_IMAGE_TEXT = DB_ID_SIZE + 16 };

/* "image img_...": how messages name an image; returns `text`. */
const char *job_image_text(const struct job_image *image, char text[JOB_IMAGE_TEXT]);
/* Passes an error on with the image's name in front. */
int job_image_fail(const struct job_image *image, const struct error *inner, struct error *err);
/* ERROR_CORRUPT unless the file's size is the row's, so that windows lie inside the pixels. */
int job_image_check_size(const struct job_image *image, uint32_t width, uint32_t height,
                         struct error *err);

/* Draws the image's mask, which is not empty. To be released with mask_clear. */
int job_image_draw_mask(const struct job_state *state, const struct job_image *image,
                        struct mask *out, struct error *err);

/* Any image as normalised floats, from its open file, but for what `mask` (NULL: none) leaves out.
 * `out` is to be released with image_clear. */
int job_pixels_decode(struct job_state *state, const struct job_image *image,
                      const struct mask *mask, const struct store_file *file, struct image *out,
                      struct error *err);
/* The same under the image's mask, from the file that is opened and checked for it. */
int job_pixels_load(struct job_state *state, const struct job_image *image, struct image *out,
                    struct error *err);
/* The same, but for the normalisation: the image's own values. */
int job_pixels_load_values(struct job_state *state, const struct job_image *image,
                           struct image *out, struct error *err);

#endif
