/* The feature maps of a job's images in the cache: with them neither another stride nor another
 * example costs an encoding. One that is not there loses nothing but time. */
#ifndef CHIPSHOT_SERVER_JOB_MAPS_H
#define CHIPSHOT_SERVER_JOB_MAPS_H

#include "engine/embed.h"
#include "server/worker/job_state.h"

/* Bytes up to which the maps of an image, at all input sizes together, are kept. */
uint64_t job_maps_max_size(const struct job_state *state);

/* All of an image's. False: they are not there, as always where chips are encoded alone. `out`
 * begins zeroed and is to be released with embed_maps_clear. */
bool job_maps_load(struct job_state *state, const struct job_image *image, struct embed_maps *out);

/* The band of them that some windows see; of no windows, all. */
bool job_maps_load_windows(struct job_state *state, const struct job_image *image,
                           const struct chip_rect *rects, uint32_t n, struct embed_maps *out);

/* Puts whole maps into the cache; any thread. */
void job_maps_keep(const struct job_state *state, const struct job_image *image,
                   const struct embed_maps *maps);

#endif
