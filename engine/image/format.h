/* What a file format offers, and what is said of an image in it: the interface between image.h,
 * which finds the format of a file, and the formats, one a file (png_format.c).
 *
 * Every input is hostile: a format holds the sizes in a file's header against the limits before
 * anything is allocated, and a corrupt file leaves nothing behind. The sizes bound the work as
 * well: what a file has beyond its last row is refused and not read, and the request's cancel and
 * the limit of processor time (decode_guard.h) hold at every point of a decode.
 */
#ifndef CHIPSHOT_ENGINE_IMAGE_FORMAT_H
#define CHIPSHOT_ENGINE_IMAGE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/image/sample_type.h"

struct image_limits {
    uint32_t max_side;          /* pixels */
    uint64_t max_pixels;        /* width x height */
    uint64_t max_decoded_size;  /* bytes of the decoded float32 plane plus decoder buffers */
    uint64_t decode_base_ms;    /* processor time that any decode may take (decode_guard.h) */
    uint64_t decode_ms_per_mib; /* and more for each MiB of its rows and of the file */
};

enum { DECODE_BASE_MS = 10000, DECODE_MS_PER_MIB = 250 };

/* max_side 32,768; max_pixels 2^28; max_decoded_size 2 GiB; DECODE_BASE_MS, DECODE_MS_PER_MIB. */
extern const struct image_limits image_limits_default;

/* ---- what is said of an image ---- */

enum image_conversion {
    IMAGE_CONVERSION_NONE,      /* grey in the file */
    IMAGE_CONVERSION_LUMINANCE, /* RGB or palette colours, to luminance by ITU-R BT.709 weights */
};

/* "none", "luminance" */
const char *image_conversion_name(enum image_conversion conversion);

enum calibration_unit {
    CALIBRATION_NONE,   /* the file does not say */
    CALIBRATION_NM,     /* nanometres a pixel; other lengths are converted */
    CALIBRATION_PER_NM, /* reciprocal: 1/nm a pixel, of a diffraction pattern or a transform */
};

/* Of a pixel's edge: from a hundredth of a picometre to a centimetre, wider than any microscope. */
#define CALIBRATION_NM_MIN 1e-5
#define CALIBRATION_NM_MAX 1e7
#define CALIBRATION_USER   "user" /* the source of what a user gave */

struct image_calibration {
    enum calibration_unit unit;
    double x, y;        /* of a pixel's edges, finite and above 0; 0 with CALIBRATION_NONE */
    const char *source; /* what says so ("sCAL"), a static string; NULL with CALIBRATION_NONE */
};

/* What a file says, of edges of up to `max` nm; CALIBRATION_NONE when it cannot be (NaN neither).
 * `source` is static. */
struct image_calibration image_calibration_nm(double x, double y, double max, const char *source);
/* The edge of a square pixel in nanometres (sides within 0.1 %); 0: not known, or not one. */
double image_calibration_square_nm(const struct image_calibration *calibration);
/* The area of a pixel; NaN: not known. */
double image_calibration_area_nm2(const struct image_calibration *calibration);

/* Reads "2" (nm, of a square pixel) or "2,3" (x and y), as a user gives it. ERROR_INVALID. */
int image_calibration_parse(const char *text, struct image_calibration *out, struct error *err);

struct image_format;

/* One image (frame) of a file. */
struct image_info {
    const struct image_format *format;
    enum image_conversion conversion;
    uint32_t width;
    uint32_t height;
    uint32_t
        bit_depth; /* bits per sample in the file: 1, 2, 4, 8 or 16; a palette's colours have 8 */
    uint32_t n_channels;            /* in the file, alpha included; a palette's colours have 3 */
    enum sample_type type;          /* of the rows as they are read; luminance is SAMPLE_F32 */
    struct sample_range full_scale; /* of them: what NORMALISE_NONE takes for black and white */
    bool is_unordered; /* rows, of floats, come in no order, so that one read takes them all */
    struct image_calibration calibration;
};

struct image_frames {
    struct image_info *items; /* owned; released with image_frames_clear */
    uint32_t n;               /* at least 1 */
};

void image_frames_clear(struct image_frames *frames);

/* ---- a format ---- */

enum image_trust {
    IMAGE_UNCHECKED, /* the format's reference library judges every bit of it */
    IMAGE_CHECKED,   /* image_verify accepted these very bytes once: what takes time and finds no
                        fault that matters may be left out */
};

/* What is to be read; `data`, `limits` and `cancel` are borrowed for as long as it is open. */
struct image_request {
    const void *data;
    size_t size;
    const struct image_limits *limits;
    uint32_t frame;
    enum image_trust trust;
    const struct cancel *cancel; /* asked while it is read; NULL: never */
};

struct image_format {
    const char *name;               /* in rows and answers: "png" */
    const char *label;              /* in messages: "PNG" */
    const char *const *media_types; /* the first is the one to send; ends with NULL */
    const char *const *extensions;  /* without the dot; likewise */

    /* By the first bytes alone. True also of a file that only means to be of this format (cut off
     * or damaged within its signature), so that `probe` can say what is wrong. `size` is not 0. */
    bool (*matches)(const uint8_t *data, size_t size);

    /* What frames there are, from the headers alone; the request's frame is not looked at. `format`
     * is left to the caller. ERROR_INVALID: not a file of this format, or over a limit; the message
     * names the field, the limit and the value. */
    int (*probe)(const struct image_request *request, struct image_frames *out, struct error *err);

    /* Opens one frame. ERROR_INVALID as above, and for a frame that there is not
     * (image_frame_check). */
    int (*open)(const struct image_request *request, void **reader, struct image_info *info,
                struct error *err);
    /* Reads the next rows from the top, 1 to `n_max` as suits the format, into `rows` (n_max x
     * width samples, in native order; NULL: they are only checked). Unordered rows are read at
     * once: then n_max is the height. The last rows are given when the whole file is known to be
     * right. After an error the reader can only be closed. ERROR_INVALID: corrupt, truncated, or
     * over the limit of time. ERROR_CANCELLED: the request's cancel was asked. ERROR_NOMEM. */
    int (*read)(void *reader, uint32_t n_max, void *rows, uint32_t *n_rows, struct error *err);
    void (*close)(void *reader);
};

/* ERROR_INVALID when an image is over a limit. `decoder_size`: bytes that a format needs to decode
 * it, beside the float32 plane. */
int image_limits_check(const struct image_limits *limits, uint32_t width, uint32_t height,
                       uint64_t decoder_size, struct error *err);
/* ERROR_INVALID unless frame < n_frames. */
int image_frame_check(const char *label, uint32_t frame, uint32_t n_frames, struct error *err);

#endif
