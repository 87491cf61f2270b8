/* Few-shot accuracy from one group of a manifest to another: what `evaluate --across` prints. */
#ifndef CHIPSHOT_SERVER_EVALUATE_ACROSS_H
#define CHIPSHOT_SERVER_EVALUATE_ACROSS_H

#include "engine/fewshot/evaluate.h"
#include "server/cli/embedding_choice.h"

/* As the parameter of a job is called, or `target`. ERROR_INVALID names the option --reference. */
int across_reference_parse(const char *text, enum reference_choice *out, struct error *err);

/* A line a group, of the pairs that it gives examples to, then the means over all pairs. */
int evaluate_across_groups(struct embedding_maker *maker, const struct manifest *manifest,
                           const char *root, enum reference_choice reference,
                           const struct evaluate_params *params, struct error *err);

#endif
