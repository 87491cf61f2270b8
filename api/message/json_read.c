#include "api/message/json_read.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ---- parsing ---- */

/* Jansson recurses; its own limit is 2,048 levels. Brackets inside strings do not count. */
static int check_depth(const char *text, size_t size, struct error *err)
{
    bool in_string = false;
    int depth = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == '"')
            in_string = true;
        else if (c == '}' || c == ']')
            depth--;
        else if ((c == '{' || c == '[') && ++depth > JSON_DEPTH_MAX)
            return error_set(err, ERROR_INVALID,
                             "the JSON is nested deeper than %d levels (byte %zu)", JSON_DEPTH_MAX,
                             i);
    }
    return 0;
}

static const char *hint(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    if (code == json_error_numeric_overflow)
        return "; numbers must fit a double (up to 1.8e308) or a 64 bit integer";
    if (code == json_error_invalid_utf8)
        return "; JSON is UTF-8";
    static const char *const signs[] = {"NaN", "nan", "Infinity", "inf", "near '-'"};
    for (size_t i = 0; i < 5 && code == json_error_invalid_syntax; i++) {
        if (strstr(error->text, signs[i]) != NULL)
            return "; JSON has no NaN and no infinity";
    }
    return "";
}

int json_parse(const char *text, size_t size, json_t **out, struct error *err)
{
    if (size == 0)
        return error_set(err, ERROR_INVALID, "the body is empty; a JSON object is wanted");
    int rc = check_depth(text, size, err);
    if (rc != 0)
        return rc;
    json_error_t error = {0};
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return error_set_nomem(err, "a JSON body");
        return error_set(err, ERROR_INVALID,
                         "the body is not valid JSON: %s at line %d, column %d (byte %d)%s",
                         error.text, error.line, error.column, error.position, hint(&error));
    }
    *out = json;
    return 0;
}

/* ---- faults ---- */

struct json_at json_at_key(const struct json_at *parent, const char *key)
{
    return (struct json_at){.errors = parent->errors, .parent = parent, .key = key};
}

struct json_at json_at_index(const struct json_at *parent, size_t index)
{
    return (struct json_at){.errors = parent->errors, .parent = parent, .index = index};
}

enum { POINTER_SIZE = 1024 };

/* Appends the pointer of `at`; a pointer that does not fit is cut (keys may be a megabyte long). */
static size_t write_pointer(const struct json_at *at, char *out, size_t length)
{
    if (at->parent == NULL)
        return length;
    length = write_pointer(at->parent, out, length);
    if (at->key == NULL) {
        int n = snprintf(out + length, POINTER_SIZE - length, "/%zu", at->index);
        length += (size_t)n;
        return length < POINTER_SIZE ? length : POINTER_SIZE - 1;
    }
    if (length < POINTER_SIZE - 1)
        out[length++] = '/';
    for (const char *c = at->key; *c != '\0' && length < POINTER_SIZE - 2; c++) {
        if (*c == '~' || *c == '/') {
            out[length++] = '~';
            out[length++] = *c == '~' ? '0' : '1';
        } else {
            out[length++] = *c;
        }
    }
    return length;
}

void json_fault(const struct json_at *at, const char *format, ...)
{
    char pointer[POINTER_SIZE];
    pointer[write_pointer(at, pointer, 0)] = '\0';
    va_list arguments;
    va_start(arguments, format);
    field_errors_addv(at->errors, FIELD_POINTER, pointer, format, arguments);
    va_end(arguments);
}

const char *json_type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

/* ---- single values ---- */

enum text_form { ONE_LINE, MANY_LINES };

static bool read_text(json_t *value, const struct json_at *at, double min, double max,
                      enum text_form form, const char **out)
{
    if (!json_is_string(value)) {
        json_fault(at, "must be a string, is %s", json_type_name(value));
        return false;
    }
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    ptrdiff_t length = utf8_length(text, size);
    if ((double)length < min || (double)length > max) {
        json_fault(at, "must have %.0f to %.0f characters, has %td", min, max, length);
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        bool allowed =
            form == MANY_LINES && (text[i] == '\n' || text[i] == '\t' || text[i] == '\r');
        if (!allowed && utf8_has_control(text + i, 1)) {
            json_fault(at, "must not hold control characters, has U+%04X",
                       (unsigned)(unsigned char)text[i]);
            return false;
        }
    }
    *out = text;
    return true;
}

bool json_read_string(json_t *value, const struct json_at *at, size_t min, size_t max,
                      const char **out)
{
    return read_text(value, at, (double)min, (double)max, ONE_LINE, out);
}

enum number_form { ANY_NUMBER, INTEGER };

static bool read_number(json_t *value, const struct json_at *at, double min, double max,
                        enum number_form form, double *out)
{
    const char *wanted = form == INTEGER ? "an integer" : "a number";
    if (!json_is_number(value)) {
        json_fault(at, "must be %s from %.10g to %.10g, is %s", wanted, min, max,
                   json_type_name(value));
        return false;
    }
    double number = json_number_value(value);
    if (!(number >= min && number <= max) || (form == INTEGER && floor(number) != number)) {
        json_fault(at, "must be %s from %.10g to %.10g, is %.15g", wanted, min, max, number);
        return false;
    }
    *out = number;
    return true;
}

bool json_read_number(json_t *value, const struct json_at *at, double min, double max, double *out)
{
    return read_number(value, at, min, max, ANY_NUMBER, out);
}

bool json_read_uint(json_t *value, const struct json_at *at, uint32_t min, uint32_t max,
                    uint32_t *out)
{
    double number;
    if (!read_number(value, at, min, max, INTEGER, &number))
        return false;
    *out = (uint32_t)number;
    return true;
}

static void read_array(json_t *value, const struct json_at *at, const struct json_field *field)
{
    if (!json_is_array(value)) {
        json_fault(at, "must be an array, is %s", json_type_name(value));
        return;
    }
    size_t n = json_array_size(value);
    if ((double)n < field->min || (double)n > field->max)
        json_fault(at, "must have %.0f to %.0f elements, has %zu", field->min, field->max, n);
    if ((double)n > field->max)
        return;
    for (size_t i = 0; i < n; i++) {
        struct json_at element = json_at_index(at, i);
        field->read(json_array_get(value, i), &element, field->out.context);
    }
}

/* ---- fields ---- */

struct json_field json_string_field(const char *key, enum json_presence presence, size_t min,
                                    size_t max, const char **out)
{
    return (struct json_field){.key = key,
                               .presence = presence,
                               .kind = JSON_KIND_STRING,
                               .min = (double)min,
                               .max = (double)max,
                               .out.string = out};
}

struct json_field json_text_field(const char *key, enum json_presence presence, size_t min,
                                  size_t max, const char **out)
{
    struct json_field field = json_string_field(key, presence, min, max, out);
    field.kind = JSON_KIND_TEXT;
    return field;
}

struct json_field json_uint_field(const char *key, enum json_presence presence, uint32_t min,
                                  uint32_t max, uint32_t *out)
{
    return (struct json_field){.key = key,
                               .presence = presence,
                               .kind = JSON_KIND_UINT,
                               .min = min,
                               .max = max,
                               .out.uint = out};
}

struct json_field json_int_field(const char *key, enum json_presence presence, int32_t min,
                                 int32_t max, int32_t *out)
{
    return (struct json_field){.key = key,
                               .presence = presence,
                               .kind = JSON_KIND_INT,
                               .min = min,
                               .max = max,
                               .out.sint = out};
}

struct json_field json_number_field(const char *key, enum json_presence presence, double min,
                                    double max, double *out)
{
    return (struct json_field){.key = key,
                               .presence = presence,
                               .kind = JSON_KIND_NUMBER,
                               .min = min,
                               .max = max,
                               .out.number = out};
}

struct json_field json_bool_field(const char *key, enum json_presence presence, bool *out)
{
    return (struct json_field){
        .key = key, .presence = presence, .kind = JSON_KIND_BOOL, .out.boolean = out};
}

struct json_field json_array_field(const char *key, enum json_presence presence, size_t min,
                                   size_t max, json_reader element, void *context)
{
    return (struct json_field){.key = key,
                               .presence = presence,
                               .kind = JSON_KIND_ARRAY,
                               .min = (double)min,
                               .max = (double)max,
                               .out.context = context,
                               .read = element};
}

struct json_field json_value_field(const char *key, enum json_presence presence, json_reader read,
                                   void *context)
{
    return (struct json_field){.key = key,
                               .presence = presence,
                               .kind = JSON_KIND_VALUE,
                               .out.context = context,
                               .read = read};
}

static void read_field(json_t *value, const struct json_at *at, const struct json_field *field)
{
    double number;
    switch (field->kind) {
    case JSON_KIND_STRING:
    case JSON_KIND_TEXT:
        read_text(value, at, field->min, field->max,
                  field->kind == JSON_KIND_TEXT ? MANY_LINES : ONE_LINE, field->out.string);
        break;
    case JSON_KIND_UINT:
        if (read_number(value, at, field->min, field->max, INTEGER, &number))
            *field->out.uint = (uint32_t)number;
        break;
    case JSON_KIND_INT:
        if (read_number(value, at, field->min, field->max, INTEGER, &number))
            *field->out.sint = (int32_t)number;
        break;
    case JSON_KIND_NUMBER:
        read_number(value, at, field->min, field->max, ANY_NUMBER, field->out.number);
        break;
    case JSON_KIND_BOOL:
        if (json_is_boolean(value))
            *field->out.boolean = json_is_true(value);
        else
            json_fault(at, "must be true or false, is %s", json_type_name(value));
        break;
    case JSON_KIND_ARRAY:
        read_array(value, at, field);
        break;
    case JSON_KIND_VALUE:
        field->read(value, at, field->out.context);
        break;
    }
}

static bool is_known(const char *key, const struct json_field *fields, size_t n_fields)
{
    for (size_t i = 0; i < n_fields; i++) {
        if (strcmp(fields[i].key, key) == 0)
            return true;
    }
    return false;
}

void json_read_object(json_t *value, const struct json_at *at, const struct json_field *fields,
                      size_t n_fields)
{
    if (!json_is_object(value)) {
        json_fault(at, "must be an object, is %s", json_type_name(value));
        return;
    }
    for (size_t i = 0; i < n_fields; i++) {
        struct json_at member = json_at_key(at, fields[i].key);
        json_t *found = json_object_get(value, fields[i].key);
        if (found == NULL) {
            if (fields[i].presence == JSON_REQUIRED)
                json_fault(&member, "is required");
            continue;
        }
        if (json_is_null(found) && fields[i].presence == JSON_NULLABLE)
            continue;
        read_field(found, &member, &fields[i]);
    }
    const char *key;
    json_t *ignored;
    json_object_foreach(value, key, ignored)
    {
        struct json_at member = json_at_key(at, key);
        if (!is_known(key, fields, n_fields))
            json_fault(&member, "is not a known key");
    }
}
