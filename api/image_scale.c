#include "api/image_scale.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* NULL becomes null. */
static json_t *text_or_null(const char *text)
{
    return text[0] != '\0' ? json_string(text) : json_null();
}

json_t *image_scale_json(const struct db_image *image)
{
    if (!(image->pixel_x_nm > 0))
        return json_null();
    json_t *value = image->pixel_size_nm > 0 ? json_real(image->pixel_size_nm) : json_null();
    return json_pack("{s:o, s:f, s:f, s:s, s:o, s:o, s:o}", "value", value, "x", image->pixel_x_nm,
                     "y", image->pixel_y_nm, "unit", "nm", "source",
                     text_or_null(image->pixel_source), "set_by", text_or_null(image->pixel_set_by),
                     "set_at", text_or_null(image->pixel_set_at));
}

double image_scale_area(const struct db_image *image)
{
    return image->pixel_x_nm > 0 ? image->pixel_x_nm * image->pixel_y_nm : NAN;
}

void image_scale_read(json_t *value, const struct json_at *at, void *context)
{
    struct image_calibration *out = context;
    double x = 0, y = 0;
    const char *unit = "nm";
    *out = (struct image_calibration){.unit = CALIBRATION_NONE};
    if (json_is_null(value))
        return;
    const struct json_field fields[] = {
        json_number_field("x", JSON_REQUIRED, CALIBRATION_NM_MIN, CALIBRATION_NM_MAX, &x),
        json_number_field("y", JSON_OPTIONAL, CALIBRATION_NM_MIN, CALIBRATION_NM_MAX, &y),
        json_string_field("unit", JSON_REQUIRED, 1, 10, &unit),
    };
    json_read_object(value, at, fields, 3);
    if (strcmp(unit, "nm") != 0) {
        const struct json_at member = json_at_key(at, "unit");
        json_fault(&member, "must be nm, is '%s'", unit);
    }
    *out = (struct image_calibration){CALIBRATION_NM, x, y > 0 ? y : x, CALIBRATION_USER};
}

void image_scale_set(struct db_image *image, const struct image_calibration *calibration)
{
    const bool is_length = calibration->unit == CALIBRATION_NM;
    image->pixel_size_nm = image_calibration_square_nm(calibration);
    image->pixel_x_nm = is_length ? calibration->x : 0;
    image->pixel_y_nm = is_length ? calibration->y : 0;
    snprintf(image->pixel_source, sizeof(image->pixel_source), "%s",
             is_length ? calibration->source : "");
}
