#include "api/message/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void field_errors_addv(struct field_errors *errors, enum field_where where, const char *name,
                       const char *format, va_list arguments)
{
    if (errors->n_items == FIELD_ERRORS_MAX) {
        errors->n_dropped++;
        return;
    }
    /* Room grows at powers of two: no capacity has to be kept. */
    size_t n = errors->n_items;
    if ((n & (n - 1)) == 0) {
        size_t room = n == 0 ? 1 : 2 * n;
        struct field_error *items = realloc(errors->items, room * sizeof(*items));
        if (items == NULL) {
            errors->n_dropped++;
            return;
        }
        errors->items = items;
    }
    struct field_error item = {.where = where, .name = strdup(name)};
    if (vasprintf(&item.detail, format, arguments) < 0)
        item.detail = NULL;
    if (item.name == NULL || item.detail == NULL) {
        free(item.name);
        free(item.detail);
        errors->n_dropped++;
        return;
    }
    utf8_repair(item.name);
    utf8_repair(item.detail);
    errors->items[errors->n_items++] = item;
}

void field_errors_add(struct field_errors *errors, enum field_where where, const char *name,
                      const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    field_errors_addv(errors, where, name, format, arguments);
    va_end(arguments);
}

int field_errors_any(const struct field_errors *errors)
{
    return errors->n_items > 0 || errors->n_dropped > 0;
}

void field_errors_clear(struct field_errors *errors)
{
    for (size_t i = 0; i < errors->n_items; i++) {
        free(errors->items[i].name);
        free(errors->items[i].detail);
    }
    free(errors->items);
    *errors = (struct field_errors){0};
}
