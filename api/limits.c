#include "api/limits.h"

const struct api_limits api_limits_default = {
    .max_json_size = UINT64_C(1) << 20,
    .max_upload_size = UINT64_C(1) << 30,
    .max_encoder_size = UINT64_C(512) << 20,
    .max_queued_jobs = 1000,
    .max_images_per_job = 10000,
    .max_chips_per_image = 4000000,
    .image = {.max_side = 32768,
              .max_pixels = UINT64_C(1) << 28,
              .max_decoded_size = UINT64_C(2) << 30,
              .decode_base_ms = DECODE_BASE_MS,
              .decode_ms_per_mib = DECODE_MS_PER_MIB},
    .max_wait_s = 30,
};
