/* The objects of all classes of an image that `chipshot classify` has classified. */
#ifndef CHIPSHOT_SERVER_OBJECTS_FILE_H
#define CHIPSHOT_SERVER_OBJECTS_FILE_H

#include <jansson.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"
#include "engine/image/image.h"

/* Writes objects.csv into a directory. `image`: normalised. `classes`: a JSON array with an object
 * a class (`names`), to which it adds "objects": how many there are, of what size
 * (api/results/objects_text.h). */
int objects_file_write(const char *directory, const struct fine_source *map,
                       const struct image *image, const char *const *names, json_t *classes,
                       struct error *err);

#endif
