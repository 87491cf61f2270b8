#include "api/support/support_repeats.h"

static void refuse(void *context, const struct example_place *first,
                   const struct example_place *second)
{
    const struct json_at *const *classes = context;
    const struct json_at class = json_at_index(*classes, second->class_index);
    const struct json_at examples = json_at_key(&class, "examples");
    const struct json_at at = json_at_index(&examples, second->index);
    json_fault(&at, "%s: it is the chip of /classes/%u/examples/%u",
               first->class_index == second->class_index ? "is listed twice"
                                                         : "is an example of two classes",
               first->class_index, first->index);
}

void support_repeats_refuse(struct example_place *places, uint32_t n, const struct json_at *classes)
{
    example_places_visit_repeats(places, n, refuse, &classes);
}
