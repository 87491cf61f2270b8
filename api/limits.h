/* What the API admits: each limit is an option of `chipshot serve` and is named, with its value, in
 * the error of whoever goes beyond it. Only a wait that is too long is shortened. */
#ifndef CHIPSHOT_API_LIMITS_H
#define CHIPSHOT_API_LIMITS_H

#include <stdint.h>

#include "engine/image/image.h"

struct api_limits {
    uint64_t max_json_size;       /* bytes of a JSON body; default 1 MiB */
    uint64_t max_upload_size;     /* bytes of an uploaded image; default 1 GiB */
    uint64_t max_encoder_size;    /* bytes of an uploaded encoder; default 512 MiB */
    uint64_t max_queued_jobs;     /* default 1000 */
    uint64_t max_images_per_job;  /* default 10000 */
    uint64_t max_chips_per_image; /* default 4,000,000 */
    struct image_limits image;
    uint32_t max_wait_s; /* Prefer: wait, at most; default 30 */
};

extern const struct api_limits api_limits_default;

#endif
