/* The size of an image's pixels in requests and answers. It is the image's at the time of the
 * answer: whoever corrects it corrects the areas of results, too, and each answer says what it
 * rests on. */
#ifndef CHIPSHOT_API_IMAGE_SCALE_H
#define CHIPSHOT_API_IMAGE_SCALE_H

#include "api/message/json_read.h"
#include "db/images.h"
#include "engine/image/format.h"

/* null, or {"value": edge of a square pixel or null, "x", "y", "unit": "nm", "source", "set_by",
 * "set_at"}; the caller's. NULL when out of memory. */
json_t *image_scale_json(const struct db_image *image);
/* nm2 of a pixel; NaN: not known. */
double image_scale_area(const struct db_image *image);

/* Reads null or {"x", "y" (as x), "unit": "nm"} into the calibration `context`. */
void image_scale_read(json_t *value, const struct json_at *at, void *context);
/* Makes a calibration the image's. */
void image_scale_set(struct db_image *image, const struct image_calibration *calibration);

#endif
