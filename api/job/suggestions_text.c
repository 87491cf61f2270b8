/* [[chip, x, y, class, distance, cosine, score], ...] */
#include "api/job/suggestions_text.h"

#include <jansson.h>
#include <math.h>

enum { DIGITS = 9 }; /* bring every float back */

char *suggestions_text_create(const struct suggestions *suggestions, const struct grid *grid)
{
    json_t *json = json_array();
    for (uint32_t i = 0; i < suggestions->n; i++) {
        const struct suggestion *item = &suggestions->items[i];
        const struct chip_rect rect = grid_chip(grid, item->chip);
        json_array_append_new(json, json_pack("[I, i, i, i, f, f, f]", (json_int_t)item->chip,
                                              (int)rect.x, (int)rect.y, (int)item->class_index,
                                              (double)item->distance, (double)item->cosine,
                                              (double)item->score));
    }
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS));
    json_decref(json);
    return text;
}

static bool read_place(const json_t *json, size_t index, uint64_t max, uint64_t *out)
{
    const json_t *value = json_array_get(json, index);
    const json_int_t number = json_integer_value(value);
    *out = (uint64_t)number;
    return json_is_integer(value) && number >= 0 && (uint64_t)number <= max;
}

static bool read_number(const json_t *json, size_t index, float *out)
{
    const json_t *value = json_array_get(json, index);
    *out = (float)json_number_value(value);
    return json_is_number(value) && isfinite(*out);
}

static bool read_one(const json_t *json, uint32_t n_classes, struct suggestion_stored *out)
{
    struct suggestion *item = &out->suggestion;
    uint64_t x, y, class_index;
    if (json_array_size(json) != 7 || !read_place(json, 0, INT64_MAX, &item->chip) ||
        !read_place(json, 1, UINT32_MAX, &x) || !read_place(json, 2, UINT32_MAX, &y) ||
        !read_place(json, 3, n_classes - 1, &class_index) ||
        !read_number(json, 4, &item->distance) || !read_number(json, 5, &item->cosine) ||
        !read_number(json, 6, &item->score))
        return false;
    out->x = (uint32_t)x;
    out->y = (uint32_t)y;
    item->class_index = (uint32_t)class_index;
    return true;
}

int suggestions_text_read(const char *text, uint32_t n_classes,
                          struct suggestion_stored out[SUGGESTIONS_MAX], uint32_t *n,
                          struct error *err)
{
    json_t *json = json_loads(text, 0, NULL);
    const size_t n_items = json_array_size(json);
    bool is_right = json_is_array(json) && n_items <= SUGGESTIONS_MAX;
    for (size_t i = 0; is_right && i < n_items; i++)
        is_right = read_one(json_array_get(json, i), n_classes, &out[i]);
    json_decref(json);
    if (!is_right)
        return error_set(err, ERROR_CORRUPT, "the stored suggestions are damaged");
    *n = (uint32_t)n_items;
    return 0;
}
