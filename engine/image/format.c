/* What all formats share: limits, names and calibration. */
#include "engine/image/format.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct image_limits image_limits_default = {
    .max_side = 32768,
    .max_pixels = UINT64_C(1) << 28,
    .max_decoded_size = UINT64_C(1) << 31,
    .decode_base_ms = DECODE_BASE_MS,
    .decode_ms_per_mib = DECODE_MS_PER_MIB,
};

const char *image_conversion_name(enum image_conversion conversion)
{
    switch (conversion) {
    case IMAGE_CONVERSION_NONE:
        return "none";
    case IMAGE_CONVERSION_LUMINANCE:
        return "luminance";
    }
    return "unknown";
}

struct image_calibration image_calibration_nm(double x, double y, double max, const char *source)
{
    if (!(x >= CALIBRATION_NM_MIN && x <= max && y >= CALIBRATION_NM_MIN && y <= max))
        return (struct image_calibration){.unit = CALIBRATION_NONE};
    return (struct image_calibration){CALIBRATION_NM, x, y, source};
}

double image_calibration_square_nm(const struct image_calibration *calibration)
{
    const double x = calibration->x;
    if (calibration->unit != CALIBRATION_NM || !(fabs(calibration->y - x) <= 1e-3 * x))
        return 0;
    return x;
}

double image_calibration_area_nm2(const struct image_calibration *calibration)
{
    return calibration->unit == CALIBRATION_NM ? calibration->x * calibration->y : NAN;
}

/* Moves *text behind a number within the limits. */
static bool read_edge(const char **text, double *out)
{
    /* strtod takes leading blanks, hexadecimal digits and names as well. */
    const size_t length = strspn(*text, "0123456789.eE+-");
    char *end;
    *out = strtod(*text, &end);
    if (length == 0 || end != *text + length)
        return false;
    *text = end;
    return *out >= CALIBRATION_NM_MIN && *out <= CALIBRATION_NM_MAX;
}

int image_calibration_parse(const char *text, struct image_calibration *out, struct error *err)
{
    struct image_calibration read = {.unit = CALIBRATION_NM, .source = CALIBRATION_USER};
    const char *rest = text;
    bool is_right = read_edge(&rest, &read.x);
    read.y = read.x;
    if (is_right && *rest == ',') {
        rest++;
        is_right = read_edge(&rest, &read.y);
    }
    if (!is_right || *rest != '\0')
        return error_set(err, ERROR_INVALID,
                         "must be one number of nm, or two with a comma, each from %g to %g, is "
                         "'%.40s'",
                         CALIBRATION_NM_MIN, CALIBRATION_NM_MAX, text);
    *out = read;
    return 0;
}

void image_frames_clear(struct image_frames *frames)
{
    free(frames->items);
    *frames = (struct image_frames){0};
}

static int check_side(const char *name, uint32_t side, uint32_t limit, struct error *err)
{
    if (side <= limit)
        return 0;
    return error_set(err, ERROR_INVALID, "image: %s %u is over the limit of %u pixels", name, side,
                     limit);
}

int image_limits_check(const struct image_limits *limits, uint32_t width, uint32_t height,
                       uint64_t decoder_size, struct error *err)
{
    int rc;
    if ((rc = check_side("width", width, limits->max_side, err)) != 0 ||
        (rc = check_side("height", height, limits->max_side, err)) != 0)
        return rc;
    uint64_t n_pixels = (uint64_t)width * height;
    if (n_pixels > limits->max_pixels)
        return error_set(err, ERROR_INVALID,
                         "image: width x height = %u x %u = %llu is over the limit of %llu pixels",
                         width, height, (unsigned long long)n_pixels,
                         (unsigned long long)limits->max_pixels);
    /* n_pixels < 2^62, so a sum could only wrap beyond what the comparison by pixels admits. */
    if (n_pixels > (UINT64_MAX - decoder_size) / sizeof(float) ||
        n_pixels * sizeof(float) + decoder_size > limits->max_decoded_size ||
        n_pixels * sizeof(float) > SIZE_MAX)
        return error_set(err, ERROR_INVALID,
                         "image: decoding %u x %u pixels takes over the limit of %llu bytes", width,
                         height, (unsigned long long)limits->max_decoded_size);
    return 0;
}

int image_frame_check(const char *label, uint32_t frame, uint32_t n_frames, struct error *err)
{
    if (frame < n_frames)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "image: there is no frame %u: the %s file has %u, numbered from 0", frame,
                     label, n_frames);
}
