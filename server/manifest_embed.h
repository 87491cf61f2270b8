/* Embeddings of the chips of a manifest. */
#ifndef CHIPSHOT_SERVER_MANIFEST_EMBED_H
#define CHIPSHOT_SERVER_MANIFEST_EMBED_H

#include "server/manifest.h"
#include "server/session.h"

/* Embeds every row: *out is n_rows x dimension in the manifest's order, malloc'd, the caller's.
 * Each image is normalised as a whole (percentiles). ERROR_INVALID: a chip outside its image. */
int manifest_embed(struct session *session, const struct manifest *manifest, const char *root,
                   float **out, struct error *err);

#endif
