/* Faults of the client are collected over the whole body and answered at once; a fault of the
 * database or of memory is kept in the reading and ends it. Each image is looked up once as long as
 * its examples stand together.
 */
#include "api/support/support_set_read.h"

#include <stdlib.h>
#include <string.h>

#include "api/support/support_repeats.h"
#include "base/hex.h"
#include "db/images.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/map/palette.h"
#include "engine/image/chip_grid.h"

/* What the readers of one body share. */
struct reading {
    struct api_call *call;
    const char *project_id;
    struct db_support_set *set; /* classes has room for all elements of the array */
    struct db_image image;      /* the last one looked up: examples of an image come together */
    bool image_found;
    bool has_color[CLASSIFIER_CLASSES_MAX]; /* of the classes; they have read their own */
    size_t n_examples;                      /* of all classes */
    struct example_place *places;           /* of those that could be read; room for n_examples */
    uint32_t n_places;
    int code; /* of a database or memory error that ends the reading */
    struct error error;
};

/* True when `id` is an image of the project, which is then reading->image. */
static bool find_image(struct reading *reading, const char *id)
{
    if (strcmp(reading->image.id, id) == 0)
        return reading->image_found;
    db_image_clear(&reading->image);
    reading->image = (struct db_image){0};
    reading->image_found = false;
    if (db_id_is(id, "img_")) {
        int rc = db_image_get(reading->call->api->db, id, &reading->image, &reading->error);
        if (rc != 0 && rc != ERROR_NOT_FOUND)
            reading->code = rc;
        reading->image_found =
            rc == 0 && strcmp(reading->image.project_id, reading->project_id) == 0;
    }
    snprintf(reading->image.id, sizeof(reading->image.id), "%s", id);
    return reading->image_found;
}

/* One coordinate of an example: its chip must end inside the image. */
static void check_inside(const struct json_at *at, const char *key, uint32_t place, uint32_t chip,
                         uint32_t side)
{
    struct json_at member = json_at_key(at, key);
    if (chip > side)
        json_fault(&member, "has no room: the chip is %u pixels, the image %u", chip, side);
    else if (place > side - chip)
        json_fault(&member, "must be at most %u (the image's %u pixels less the chip's %u), is %u",
                   side - chip, side, chip, place);
}

static size_t count_faults(const struct reading *reading)
{
    return reading->call->errors.n_items + reading->call->errors.n_dropped;
}

static void read_example(json_t *value, const struct json_at *at, void *context)
{
    struct reading *reading = context;
    struct db_support_set *set = reading->set;
    struct db_class *class = &set->classes[set->n_classes];
    struct db_example *example = &class->examples[class->n_examples];
    const char *image_id = NULL;
    if (reading->code != 0)
        return;
    const size_t n_before = count_faults(reading);
    const struct json_field fields[] = {
        json_string_field("image_id", JSON_REQUIRED, 1, DB_ID_SIZE - 1, &image_id),
        json_uint_field("x", JSON_REQUIRED, 0, reading->call->api->limits.image.max_side,
                        &example->x),
        json_uint_field("y", JSON_REQUIRED, 0, reading->call->api->limits.image.max_side,
                        &example->y),
    };
    json_read_object(value, at, fields, 3);
    const bool whole = n_before == count_faults(reading);
    if (image_id == NULL)
        return;
    if (!find_image(reading, image_id)) {
        struct json_at member = json_at_key(at, "image_id");
        json_fault(&member, "is no image of project %s: '%s'", reading->project_id, image_id);
        return;
    }
    if (whole && set->chip_width > 0)
        check_inside(at, "x", example->x, set->chip_width, reading->image.width);
    if (whole && set->chip_height > 0)
        check_inside(at, "y", example->y, set->chip_height, reading->image.height);
    snprintf(example->image_id, sizeof(example->image_id), "%s", image_id);
    class->n_examples++;
    if (n_before == count_faults(reading))
        reading->places[reading->n_places++] =
            (struct example_place){.image_id = example->image_id,
                                   .x = example->x,
                                   .y = example->y,
                                   .class_index = (uint32_t)set->n_classes,
                                   .index = (uint32_t)at->index};
}

/* Room for `n` more examples of a class. */
static bool make_room(struct reading *reading, struct db_class *class, size_t n)
{
    struct example_place *places =
        reallocarray(reading->places, reading->n_examples + n, sizeof(*places));
    if (places != NULL)
        reading->places = places;
    class->examples = calloc(n, sizeof(*class->examples));
    if (places == NULL || class->examples == NULL)
        reading->code = error_set_nomem(&reading->error, "examples");
    return reading->code == 0;
}

static void read_examples(json_t *value, const struct json_at *at, void *context)
{
    struct reading *reading = context;
    struct db_class *class = &reading->set->classes[reading->set->n_classes];
    if (!json_is_array(value)) {
        json_fault(at, "must be an array, is %s", json_type_name(value));
        return;
    }
    size_t n = json_array_size(value);
    if (n < 1 || n > CLASSIFIER_EXAMPLES_MAX) {
        json_fault(at, "must have 1 to %d examples, has %zu", CLASSIFIER_EXAMPLES_MAX, n);
        return;
    }
    if (!make_room(reading, class, n))
        return;
    reading->n_examples += n;
    for (size_t i = 0; i < n && reading->code == 0; i++) {
        struct json_at element = json_at_index(at, i);
        read_example(json_array_get(value, i), &element, reading);
    }
}

static void read_color(json_t *value, const struct json_at *at, void *context)
{
    struct reading *reading = context;
    struct db_support_set *set = reading->set;
    const char *text;
    if (!json_read_string(value, at, 1, 100, &text))
        return;
    if (strlen(text) != 7 || text[0] != '#' ||
        !hex_decode(text + 1, 3, set->classes[set->n_classes].color))
        json_fault(at, "must be a colour as #rrggbb, is '%s'", text);
    else
        reading->has_color[set->n_classes] = true;
}

static void check_unique(const struct db_support_set *set, const struct json_at *at,
                         const char *name)
{
    for (size_t i = 0; i < set->n_classes; i++) {
        if (set->classes[i].name != NULL && strcmp(set->classes[i].name, name) == 0) {
            struct json_at member = json_at_key(at, "name");
            json_fault(&member, "is already the name of class %zu: '%s'", i, name);
            return;
        }
    }
}

static void read_class(json_t *value, const struct json_at *at, void *context)
{
    struct reading *reading = context;
    struct db_support_set *set = reading->set;
    if (reading->code != 0)
        return;
    struct db_class *class = &set->classes[set->n_classes];
    const char *name = NULL;
    bool counted = true;
    const struct json_field fields[] = {
        json_string_field("name", JSON_REQUIRED, 1, SUPPORT_CLASS_NAME_MAX_LENGTH, &name),
        json_value_field("color", JSON_NULLABLE, read_color, reading),
        json_bool_field("counted", JSON_OPTIONAL, &counted),
        json_value_field("examples", JSON_REQUIRED, read_examples, reading),
    };
    json_read_object(value, at, fields, 4);
    class->is_uncounted = !counted;
    if (name != NULL) {
        check_unique(set, at, name);
        class->name = strdup(name);
        if (class->name == NULL && reading->code == 0)
            reading->code = error_set_nomem(&reading->error, "a class");
    }
    set->n_classes++;
}

static void read_classes(json_t *value, const struct json_at *at, void *context)
{
    struct reading *reading = context;
    if (!json_is_array(value)) {
        json_fault(at, "must be an array, is %s", json_type_name(value));
        return;
    }
    size_t n = json_array_size(value);
    if (n < 2 || n > CLASSIFIER_CLASSES_MAX)
        json_fault(at, "must have 2 to %d classes, has %zu", CLASSIFIER_CLASSES_MAX, n);
    if (n < 1 || n > CLASSIFIER_CLASSES_MAX)
        return;
    reading->set->classes = calloc(n, sizeof(*reading->set->classes));
    if (reading->set->classes == NULL) {
        reading->code = error_set_nomem(&reading->error, "classes");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct json_at element = json_at_index(at, i);
        read_class(json_array_get(value, i), &element, reading);
    }
    if (reading->n_examples > CLASSIFIER_EXAMPLES_MAX)
        json_fault(at, "may have %d examples in all, has %zu", CLASSIFIER_EXAMPLES_MAX,
                   reading->n_examples);
    else
        support_repeats_refuse(reading->places, reading->n_places, at);
}

static void read_chip(json_t *value, const struct json_at *at, void *context)
{
    struct db_support_set *set = context;
    const struct json_field fields[] = {
        json_uint_field("width", JSON_REQUIRED, CHIP_SIDE_MIN, CHIP_SIDE_MAX, &set->chip_width),
        json_uint_field("height", JSON_REQUIRED, CHIP_SIDE_MIN, CHIP_SIDE_MAX, &set->chip_height),
    };
    json_read_object(value, at, fields, 2);
}

/* A class keeps the colour that its name had. */
static void keep_colors(struct reading *reading, const struct db_support_set *before)
{
    struct db_support_set *set = reading->set;
    for (size_t i = 0; i < set->n_classes; i++) {
        for (size_t k = 0; before != NULL && k < before->n_classes && !reading->has_color[i]; k++) {
            if (strcmp(set->classes[i].name, before->classes[k].name) != 0)
                continue;
            memcpy(set->classes[i].color, before->classes[k].color, 3);
            reading->has_color[i] = true;
        }
    }
}

/* The set has no faults. */
static void color_classes(struct reading *reading, const struct db_support_set *before)
{
    struct db_support_set *set = reading->set;
    const char *names[CLASSIFIER_CLASSES_MAX];
    struct rgb colors[CLASSIFIER_CLASSES_MAX];
    keep_colors(reading, before);
    for (size_t i = 0; i < set->n_classes; i++) {
        const uint8_t *color = set->classes[i].color;
        names[i] = set->classes[i].name;
        colors[i] = (struct rgb){color[0], color[1], color[2]};
    }
    palette_assign(names, (uint32_t)set->n_classes, reading->has_color, colors);
    for (size_t i = 0; i < set->n_classes; i++)
        memcpy(set->classes[i].color, (uint8_t[3]){colors[i].r, colors[i].g, colors[i].b}, 3);
}

int support_set_read(struct api_call *call, json_t *json, const char *project_id,
                     const struct db_support_set *before, struct db_support_set *out,
                     struct error *err)
{
    struct db_support_set set = {0};
    struct reading reading = {.call = call, .project_id = project_id, .set = &set};
    const char *name = NULL;
    /* The chip comes first: the examples are checked against it. */
    const struct json_field fields[] = {
        json_string_field("name", JSON_REQUIRED, 1, SUPPORT_NAME_MAX_LENGTH, &name),
        json_value_field("chip", JSON_REQUIRED, read_chip, &set),
        json_value_field("classes", JSON_REQUIRED, read_classes, &reading),
    };
    struct json_at at = call_json_root(call);
    json_read_object(json, &at, fields, 3);
    db_image_clear(&reading.image);
    free(reading.places);
    int rc = reading.code;
    if (rc != 0)
        error_set(err, rc, "%s", reading.error.message);
    else
        rc = call_check_fields(call, err);
    if (rc == 0) {
        set.name = strdup(name);
        if (set.name == NULL)
            rc = error_set_nomem(err, "a support set");
        color_classes(&reading, before);
    }
    if (rc == 0)
        *out = set;
    else
        db_support_set_clear(&set);
    return rc;
}
