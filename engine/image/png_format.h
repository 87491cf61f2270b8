/* PNG (W3C PNG Specification, third edition) as an entry of the table of formats. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_FORMAT_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_FORMAT_H

#include "engine/image/format.h"

extern const struct image_format png_format;

#endif
