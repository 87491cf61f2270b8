#include "server/http/head_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How far the bytes are accounted for. */
struct walk {
    const char *bytes;
    size_t size;
    size_t at;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool take(struct walk *walk, const char *text, size_t size)
{
    if (size > walk->size - walk->at || memcmp(walk->bytes + walk->at, text, size) != 0)
        return false;
    walk->at += size;
    return true;
}

static bool take_line_end(struct walk *walk)
{
    return take(walk, "\r\n", 2);
}

static void skip_blanks(struct walk *walk)
{
    while (walk->at < walk->size && is_blank(walk->bytes[walk->at]))
        walk->at++;
}

static size_t trimmed_size(const struct head_part *value)
{
    size_t size = value->size;
    while (size > 0 && is_blank(value->text[size - 1]))
        size--;
    return size;
}

static bool take_request_line(struct walk *walk, const struct head *head)
{
    return take(walk, head->method.text, head->method.size) && take(walk, " ", 1) &&
           take(walk, head->target.text, head->target.size) && take(walk, " ", 1) &&
           take(walk, head->version.text, head->version.size) && take_line_end(walk);
}

static bool take_field(struct walk *walk, const struct head_field *field)
{
    if (field->name.size == 0 || is_blank(field->name.text[0])) /* it continues another line */
        return false;
    if (!take(walk, field->name.text, field->name.size) || !take(walk, ":", 1))
        return false;
    skip_blanks(walk);
    if (!take(walk, field->value.text, trimmed_size(&field->value)))
        return false;
    skip_blanks(walk);
    return take_line_end(walk);
}

/* What the library did not trim it did not understand either, if it had to: 0.9.75 takes "chunked "
 * for an encoding that it does not know, whose body ends with the connection. */
static bool is_misread(const struct head_field *field)
{
    static const char encoding[] = "Transfer-Encoding";
    return field->name.size == sizeof(encoding) - 1 &&
           strncasecmp(field->name.text, encoding, sizeof(encoding) - 1) == 0 &&
           trimmed_size(&field->value) != field->value.size;
}

const char *head_check(const struct head *head, const char *bytes, size_t size, size_t *end)
{
    struct walk walk = {bytes, size, 0};
    take_line_end(&walk); /* one is allowed before the request */
    size_t begin = walk.at;
    if (!take_request_line(&walk, head))
        return "the request line is not a method, a target and a version with one blank between "
               "them";
    for (size_t i = 0; i < head->n_fields; i++) {
        if (!take_field(&walk, &head->fields[i]))
            return "a line of the head is folded, ends without CR LF, has no name or has a NUL "
                   "byte";
        if (is_misread(&head->fields[i]))
            return "Transfer-Encoding has blanks at its end";
    }
    if (!take_line_end(&walk) || walk.at - begin != head->size)
        return "the head does not end with an empty line";
    *end = walk.at;
    return NULL;
}

static char *copy(char *to, const char *text, size_t size)
{
    memcpy(to, text, size);
    to[size] = '\0';
    return to + size + 1;
}

struct api_header *head_copy_fields(const struct head *head)
{
    size_t texts = 0;
    for (size_t i = 0; i < head->n_fields; i++)
        texts += head->fields[i].name.size + 1 + trimmed_size(&head->fields[i].value) + 1;
    struct api_header *headers = malloc(head->n_fields * sizeof(*headers) + texts + 1);
    if (headers == NULL)
        return NULL;
    char *text = (char *)(headers + head->n_fields);
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct head_field *field = &head->fields[i];
        headers[i].name = text;
        text = copy(text, field->name.text, field->name.size);
        headers[i].value = text;
        text = copy(text, field->value.text, trimmed_size(&field->value));
    }
    return headers;
}
