#include "server/cli/support_file.h"

#include <stdlib.h>
#include <string.h>

#include "api/message/json_read.h"
#include "api/support/support_repeats.h"
#include "base/hex.h"
#include "engine/fewshot/map/palette.h"
#include "engine/image/chip_grid.h"
#include "server/cli/files.h"

enum { SUPPORT_MAX_SIZE = 16 << 20, NAME_MAX_LENGTH = 100 };

static void read_example(json_t *value, const struct json_at *at, void *context)
{
    struct support_file *file = context;
    struct support_example example = {.class_index = file->n_classes};
    const struct json_field fields[] = {
        json_uint_field("x", JSON_REQUIRED, 0, INT32_MAX, &example.x),
        json_uint_field("y", JSON_REQUIRED, 0, INT32_MAX, &example.y),
    };
    json_read_object(value, at, fields, sizeof(fields) / sizeof(fields[0]));
    if (file->n_examples == CLASSIFIER_EXAMPLES_MAX) {
        json_fault(at, "more than %d examples in all", CLASSIFIER_EXAMPLES_MAX);
        return;
    }
    file->examples[file->n_examples++] = example;
}

static void read_color(const char *text, const struct json_at *at, struct rgb *out)
{
    uint8_t rgb[3];
    struct json_at place = json_at_key(at, "color");
    if (text[0] != '#' || !hex_decode(text + 1, sizeof(rgb), rgb) || text[7] != '\0') {
        json_fault(&place, "'%.20s' is not of the form #rrggbb", text);
        return;
    }
    *out = (struct rgb){rgb[0], rgb[1], rgb[2]};
}

static void read_class(json_t *value, const struct json_at *at, void *context)
{
    struct support_file *file = context;
    const char *name = "", *color = NULL;
    bool counted = true;
    const struct json_field fields[] = {
        json_string_field("name", JSON_REQUIRED, 1, NAME_MAX_LENGTH, &name),
        json_string_field("color", JSON_OPTIONAL, 7, 7, &color),
        json_bool_field("counted", JSON_OPTIONAL, &counted),
        json_array_field("examples", JSON_REQUIRED, 1, CLASSIFIER_EXAMPLES_MAX, read_example, file),
    };
    json_read_object(value, at, fields, sizeof(fields) / sizeof(fields[0]));
    for (uint32_t i = 0; i < file->n_classes; i++) {
        if (name[0] != '\0' && strcmp(file->names[i], name) == 0) {
            struct json_at place = json_at_key(at, "name");
            json_fault(&place, "'%s' is the name of class %u too", name, i);
        }
    }
    if (file->n_classes == CLASSIFIER_CLASSES_MAX)
        return; /* the array's length is a fault already */
    file->uncounted |= counted ? 0 : UINT64_C(1) << file->n_classes;
    file->has_color[file->n_classes] = color != NULL;
    if (color != NULL)
        read_color(color, at, &file->colors[file->n_classes]);
    file->names[file->n_classes++] = name;
}

static void read_chip(json_t *value, const struct json_at *at, void *context)
{
    struct support_file *file = context;
    const struct json_field fields[] = {
        json_uint_field("width", JSON_REQUIRED, CHIP_SIDE_MIN, CHIP_SIDE_MAX, &file->chip_width),
        json_uint_field("height", JSON_REQUIRED, CHIP_SIDE_MIN, CHIP_SIDE_MAX, &file->chip_height),
    };
    json_read_object(value, at, fields, sizeof(fields) / sizeof(fields[0]));
}

/* The examples of a document without another fault: each lies where the document says. */
static int check_repeats(const struct support_file *file, const struct json_at *root,
                         struct error *err)
{
    struct example_place *places = calloc(CLASSIFIER_EXAMPLES_MAX, sizeof(*places));
    uint32_t index = 0;
    if (places == NULL)
        return error_set_nomem(err, "a support set");
    for (uint32_t i = 0; i < file->n_examples; i++) {
        const struct support_example *example = &file->examples[i];
        index = i > 0 && example[-1].class_index == example->class_index ? index + 1 : 0;
        places[i] = (struct example_place){
            .image_id = "",
            .x = example->x,
            .y = example->y,
            .class_index = example->class_index,
            .index = index,
        };
    }
    const struct json_at classes = json_at_key(root, "classes");
    support_repeats_refuse(places, file->n_examples, &classes);
    free(places);
    return 0;
}

/* Lists the faults in one line; those that have no room are counted. */
static int report(const char *path, const struct field_errors *faults, struct error *err)
{
    enum { ROOM = ERROR_MESSAGE_SIZE - 160 };
    char text[ROOM + 1] = "";
    size_t length = 0, i = 0;
    for (; i < faults->n_items; i++) {
        const struct field_error *fault = &faults->items[i];
        char one[ROOM + 1];
        int n = snprintf(one, sizeof(one), "%s %s: %s", i == 0 ? "" : ";",
                         fault->name[0] != '\0' ? fault->name : "(the document)", fault->detail);
        if (i > 0 && length + (size_t)n > ROOM)
            break;
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s", one);
    }
    size_t n_more = faults->n_items - i + faults->n_dropped;
    if (n_more == 0)
        return error_set(err, ERROR_INVALID, "%.120s:%s", path, text);
    return error_set(err, ERROR_INVALID, "%.120s:%s; and %zu more", path, text, n_more);
}

static int read_document(const char *path, struct support_file *file, struct error *err)
{
    struct field_errors faults = {0};
    const struct json_at root = {.errors = &faults};
    const char *name = NULL;
    const struct json_field fields[] = {
        json_string_field("name", JSON_OPTIONAL, 1, NAME_MAX_LENGTH, &name),
        json_value_field("chip", JSON_REQUIRED, read_chip, file),
        json_array_field("classes", JSON_REQUIRED, 2, CLASSIFIER_CLASSES_MAX, read_class, file),
    };
    json_read_object(file->document, &root, fields, sizeof(fields) / sizeof(fields[0]));
    int rc = field_errors_any(&faults) ? 0 : check_repeats(file, &root, err);
    if (rc == 0 && field_errors_any(&faults))
        rc = report(path, &faults, err);
    if (rc == 0)
        palette_assign(file->names, file->n_classes, file->has_color, file->colors);
    field_errors_clear(&faults);
    return rc;
}

int support_file_read(const char *path, struct support_file *out, struct error *err)
{
    struct file_bytes bytes = {0};
    struct support_file file = {0};
    struct error inner = {0};
    int rc = file_read(path, SUPPORT_MAX_SIZE, &bytes, err);
    if (rc < 0)
        return rc;
    file.examples = calloc(CLASSIFIER_EXAMPLES_MAX, sizeof(file.examples[0]));
    if (file.examples == NULL)
        rc = error_set_nomem(err, "a support set");
    else if (json_parse(bytes.data, bytes.size, &file.document, &inner) < 0)
        rc = error_set(err, inner.code, "%s: %s", path, inner.message);
    else
        rc = read_document(path, &file, err);
    file_bytes_clear(&bytes);
    if (rc < 0)
        support_file_clear(&file);
    else
        *out = file;
    return rc;
}

void support_file_clear(struct support_file *file)
{
    free(file->examples);
    json_decref(file->document);
    *file = (struct support_file){0};
}
