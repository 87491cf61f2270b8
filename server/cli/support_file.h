/* Support sets as files, for `chipshot classify`: the API's JSON shape without image ids, because
 * all examples lie in the one image.
 *
 *     {"name"?, "chip": {"width", "height"},
 *      "classes": [{"name", "color"?, "counted"?, "examples": [{"x", "y"}]}]}
 */
#ifndef CHIPSHOT_SERVER_SUPPORT_FILE_H
#define CHIPSHOT_SERVER_SUPPORT_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/image/png_write.h"

struct support_example {
    uint32_t class_index;
    uint32_t x, y; /* top left corner in pixels */
};

struct support_file {
    uint32_t chip_width, chip_height;
    uint32_t n_classes;
    const char *names[CLASSIFIER_CLASSES_MAX]; /* borrowed from `document` */
    struct rgb colors[CLASSIFIER_CLASSES_MAX];
    bool has_color[CLASSIFIER_CLASSES_MAX]; /* all, once the file is read */
    uint64_t uncounted;                     /* bit k: class k has "counted": false */
    struct support_example *examples;       /* class by class */
    uint32_t n_examples;
    json_t *document;
};

/* ERROR_INVALID names every faulty field by its RFC 6901 pointer. */
int support_file_read(const char *path, struct support_file *out, struct error *err);
void support_file_clear(struct support_file *file);

#endif
