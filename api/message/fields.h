/* The faulty fields of one request, collected so that a client learns all of them at once. */
#ifndef CHIPSHOT_API_FIELDS_H
#define CHIPSHOT_API_FIELDS_H

#include <stdarg.h>
#include <stddef.h>

/* Beyond this many, faults are only counted: the answer stays small whatever the body holds. */
enum { FIELD_ERRORS_MAX = 1000 };

enum field_where {
    FIELD_POINTER,   /* RFC 6901 pointer into the JSON body; "" is the whole body */
    FIELD_PARAMETER, /* query parameter */
    FIELD_HEADER,    /* header field */
};

struct field_error {
    enum field_where where;
    char *name;   /* owned */
    char *detail; /* owned */
};

struct field_errors {
    struct field_error *items; /* owned */
    size_t n_items;
    size_t n_dropped; /* more than FIELD_ERRORS_MAX, or not stored for want of memory */
};

void field_errors_add(struct field_errors *errors, enum field_where where, const char *name,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
void field_errors_addv(struct field_errors *errors, enum field_where where, const char *name,
                       const char *format, va_list arguments);
/* True when any fault was added. */
int field_errors_any(const struct field_errors *errors);
void field_errors_clear(struct field_errors *errors);

#endif
