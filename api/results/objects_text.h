/* Objects of a class (engine/fewshot/map/objects.h) as text: the columns and members that the
 * service and `chipshot classify` share. */
#ifndef CHIPSHOT_API_OBJECTS_TEXT_H
#define CHIPSHOT_API_OBJECTS_TEXT_H

#include <jansson.h>

#include "api/message/body_writer.h"
#include "base/error.h"
#include "engine/fewshot/map/objects.h"

/* The line of titles. */
void objects_csv_write_header(struct body_writer *writer);
/* Objects first .. first + n - 1 of a class, a line each, numbered from 1 on. Of an image without a
 * pixel size the fields in nanometres are empty. */
void objects_csv_write(struct body_writer *writer, const char *class_name,
                       const struct objects *objects, uint32_t first, uint32_t n);

/* The same as elements of a JSON array, each but the very first with a comma before it. Lengths in
 * nanometres are null without a pixel size. */
void objects_json_write(struct body_writer *writer, const struct objects *objects, uint32_t first,
                        uint32_t n);

/* How many there are, by outline and at the border, their mean sizes, and the histogram of
 * equivalent diameters: from 0 on, in nm where all objects have a size in nm, in at most 20 bins of
 * 1, 2 or 5 times a power of ten. NULL when out of memory. */
json_t *objects_json_summary(const struct objects *objects);

#endif
