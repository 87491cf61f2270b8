/* An image as `classify` takes it: its file, read, with what is no specimen left out, and the rest
 * normalised. */
#ifndef CHIPSHOT_SERVER_MICROGRAPH_H
#define CHIPSHOT_SERVER_MICROGRAPH_H

#include "engine/image/image.h"
#include "engine/image/mask/mask_parts.h"
#include "engine/image/normalise.h"

/* Borrowed. */
struct micrograph_request {
    const char *image_path;
    const char
        *mask_path; /* a picture of the image's size, black where it is left out; NULL: none */
    enum mask_proposals proposals;
};

struct micrograph {
    struct image image;      /* normalised */
    uint64_t n_outliers;     /* pixels of it */
    struct mask_parts parts; /* none: all of it is specimen */
    struct mask mask;        /* where there are parts */
};

/* On success `out` is to be released with micrograph_clear. ERROR_INVALID names the file. */
int micrograph_load(const struct micrograph_request *request,
                    const struct normalise_params *normalise, struct micrograph *out,
                    struct error *err);
void micrograph_clear(struct micrograph *micrograph);

/* One line on stderr that tells what is left out, and how to keep it; nothing when nothing is. */
void micrograph_report(const struct micrograph *micrograph);

#endif
