/* Declarative readers of JSON bodies, in the habit of Core Lightning's json_param: a handler lists
 * its fields once, and the reader checks types, ranges, lengths, required and unknown keys, going
 * on after a fault, so that the answer names every faulty field by its RFC 6901 pointer.
 *
 *     const struct json_field fields[] = {
 *         json_string_field("name", JSON_REQUIRED, 1, 200, &name),
 *         json_uint_field("x", JSON_OPTIONAL, 0, 100, &x),
 *     };
 *     json_read_object(body, &at, fields, 2);
 *
 * Outputs are set only where a field is there and right; strings and values are borrowed from the
 * document.
 */
#ifndef CHIPSHOT_API_JSON_READ_H
#define CHIPSHOT_API_JSON_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/message/fields.h"
#include "base/error.h"

enum { JSON_DEPTH_MAX = 32 };

/* Parses a whole body. ERROR_INVALID: not JSON (with line, column and byte position), nested deeper
 * than JSON_DEPTH_MAX, a duplicate key, not UTF-8, a number that a double or a 64 bit integer
 * cannot hold, text behind the value. The caller releases *out with json_decref. */
int json_parse(const char *text, size_t size, json_t **out, struct error *err);

/* Where a value stands: a list through the readers' stack frames up to the document. */
struct json_at {
    struct field_errors *errors;  /* borrowed */
    const struct json_at *parent; /* NULL: the document itself */
    const char *key;              /* member of an object, or NULL: */
    size_t index;                 /* element of an array */
};

struct json_at json_at_key(const struct json_at *parent, const char *key);
struct json_at json_at_index(const struct json_at *parent, size_t index);

/* Records that the value at `at` is wrong. */
void json_fault(const struct json_at *at, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum json_presence {
    JSON_REQUIRED,
    JSON_OPTIONAL, /* may be absent */
    JSON_NULLABLE, /* may be absent or null, which mean the same */
};

typedef void (*json_reader)(json_t *value, const struct json_at *at, void *context);

enum json_kind {
    JSON_KIND_STRING, /* one line: no control characters */
    JSON_KIND_TEXT,   /* lines and tabs allowed */
    JSON_KIND_UINT,
    JSON_KIND_INT,
    JSON_KIND_NUMBER,
    JSON_KIND_BOOL,
    JSON_KIND_ARRAY, /* `read` is called for each element */
    JSON_KIND_VALUE, /* `read` is called for the value */
};

/* Made by the functions below. */
struct json_field {
    const char *key;
    enum json_presence presence;
    enum json_kind kind;
    double min, max; /* of the number, the characters or the elements */
    union {
        const char **string;
        uint32_t *uint;
        int32_t *sint;
        double *number;
        bool *boolean;
        void *context;
    } out;
    json_reader read;
};

/* min..max characters. */
struct json_field json_string_field(const char *key, enum json_presence presence, size_t min,
                                    size_t max, const char **out);
struct json_field json_text_field(const char *key, enum json_presence presence, size_t min,
                                  size_t max, const char **out);
/* A number without a fraction, such as 5 or 5.0. */
struct json_field json_uint_field(const char *key, enum json_presence presence, uint32_t min,
                                  uint32_t max, uint32_t *out);
struct json_field json_int_field(const char *key, enum json_presence presence, int32_t min,
                                 int32_t max, int32_t *out);
struct json_field json_number_field(const char *key, enum json_presence presence, double min,
                                    double max, double *out);
struct json_field json_bool_field(const char *key, enum json_presence presence, bool *out);
/* min..max elements; a wrong number of them is a fault, and they are read all the same unless they
 * are more than `max`. */
struct json_field json_array_field(const char *key, enum json_presence presence, size_t min,
                                   size_t max, json_reader element, void *context);
struct json_field json_value_field(const char *key, enum json_presence presence, json_reader read,
                                   void *context);

/* Reads one object. Unknown keys are faults. */
void json_read_object(json_t *value, const struct json_at *at, const struct json_field *fields,
                      size_t n_fields);

/* Reads one value that has no key of its own (an array's element). False: a fault was recorded. */
bool json_read_string(json_t *value, const struct json_at *at, size_t min, size_t max,
                      const char **out);
bool json_read_number(json_t *value, const struct json_at *at, double min, double max, double *out);
bool json_read_uint(json_t *value, const struct json_at *at, uint32_t min, uint32_t max,
                    uint32_t *out);

/* "a string", "an object", ... for messages. */
const char *json_type_name(const json_t *value);

#endif
