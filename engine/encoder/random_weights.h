/* Random weights of the published ResNets, as the bytes of a safetensors file with torchvision's
 * tensor names: for measuring how fast an architecture runs, where values do not matter. */
#ifndef CHIPSHOT_ENGINE_ENCODER_RANDOM_WEIGHTS_H
#define CHIPSHOT_ENGINE_ENCODER_RANDOM_WEIGHTS_H

#include <stddef.h>

#include "base/error.h"

/* `architecture`: "resnet18", "resnet34", "resnet50" or "resnet101"; three input channels, no
 * classifier, F32. The same bytes in every call. *data is malloc'd, the caller's. ERROR_INVALID:
 * another name. ERROR_NOMEM. */
int random_weights_create(const char *architecture, void **data, size_t *size, struct error *err);

#endif
