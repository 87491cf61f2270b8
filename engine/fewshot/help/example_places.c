/* Places are sorted, so that the same chip stands side by side, and those that may overlap one
 * stand within a chip's height of it. */
#include "engine/fewshot/help/example_places.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int order(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

/* By class and index, as they stand in the support set. */
static int compare_ranks(const struct example_place *p, const struct example_place *q)
{
    const int by_class = order(p->class_index, q->class_index);
    return by_class != 0 ? by_class : order(p->index, q->index);
}

static int compare_places(const struct example_place *p, const struct example_place *q)
{
    const int by_image = strcmp(p->image_id, q->image_id), by_y = order(p->y, q->y);
    return by_image != 0 ? by_image : by_y != 0 ? by_y : order(p->x, q->x);
}

static int compare(const void *a, const void *b)
{
    const int by_place = compare_places(a, b);
    return by_place != 0 ? by_place : compare_ranks(a, b);
}

void example_places_visit_repeats(struct example_place *places, uint32_t n,
                                  example_pair_visit visit, void *context)
{
    if (n == 0)
        return;
    qsort(places, n, sizeof(places[0]), compare);
    const struct example_place *first = &places[0];
    for (uint32_t i = 1; i < n; i++) {
        if (compare_places(first, &places[i]) == 0)
            visit(context, first, &places[i]);
        else
            first = &places[i];
    }
}

/* What two chips have in common along an axis, of `length` pixels. */
static double common(uint32_t a, uint32_t b, uint32_t length)
{
    const uint32_t apart = a > b ? a - b : b - a;
    return apart < length ? length - apart : 0;
}

uint32_t example_places_visit_overlaps(struct example_place *places, uint32_t n,
                                       uint32_t chip_width, uint32_t chip_height, double share,
                                       uint32_t n_max, example_pair_visit visit, void *context)
{
    const double least = share * chip_width * chip_height;
    uint32_t n_pairs = 0;
    if (n > 0)
        qsort(places, n, sizeof(places[0]), compare);
    for (uint32_t i = 0; i < n; i++) {
        const struct example_place *p = &places[i];
        for (uint32_t k = i + 1; k < n; k++) {
            const struct example_place *q = &places[k];
            if (q->y - p->y >= chip_height || strcmp(p->image_id, q->image_id) != 0)
                break;
            if ((p->x == q->x && p->y == q->y) ||
                common(p->x, q->x, chip_width) * common(p->y, q->y, chip_height) <= least)
                continue;
            if (n_pairs == n_max)
                return n_pairs;
            const bool in_order = compare_ranks(p, q) < 0;
            visit(context, in_order ? p : q, in_order ? q : p);
            n_pairs++;
        }
    }
    return n_pairs;
}
