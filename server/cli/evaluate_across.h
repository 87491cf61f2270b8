/* Few-shot accuracy from one group of a manifest to another: what `evaluate --across` prints. */
#ifndef CHIPSHOT_SERVER_EVALUATE_ACROSS_H
#define CHIPSHOT_SERVER_EVALUATE_ACROSS_H

#include "engine/fewshot/evaluate.h"
#include "server/cli/embedding_choice.h"

/* What a group that is asked, and the one that its examples come from, are measured by: as the
 * parameter of a job is called, and `target`, the one that is asked for both. */
enum across_reference { ACROSS_AUTO, ACROSS_IMAGE, ACROSS_SUPPORT, ACROSS_SERIES, ACROSS_TARGET };

/* ERROR_INVALID names the option --reference. */
int across_reference_parse(const char *text, enum across_reference *out, struct error *err);

/* A line a group, of the pairs that it gives examples to, then the means over all pairs. */
int evaluate_across_groups(struct embedding_maker *maker, const struct manifest *manifest,
                           const char *root, enum across_reference reference,
                           const struct evaluate_params *params, struct error *err);

#endif
