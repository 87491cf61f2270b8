/* Embeddings of the chips of a manifest. */
#ifndef CHIPSHOT_SERVER_MANIFEST_EMBED_H
#define CHIPSHOT_SERVER_MANIFEST_EMBED_H

#include "engine/image/chip_grid.h"
#include "server/cli/manifest.h"
#include "server/cli/session.h"

/* Writes an embedding for each of n > 0 windows, all of one size and inside the (normalised) image.
 */
typedef int (*chip_embeddings)(void *context, const struct image *image,
                               const struct chip_rect *rects, uint32_t n, float *out,
                               struct error *err);

/* Has the embeddings of all chips made; each image is decoded once. *out: n_rows x dimension, in
 * the manifest's order, malloc'd. `root` is the directory of the images. ERROR_INVALID: a row's
 * chip lies outside its image. */
int manifest_embed(const struct manifest *manifest, const char *root,
                   const struct normalise_params *normalise, chip_embeddings make, void *context,
                   uint32_t dimension, float **out, struct error *err);

#endif
