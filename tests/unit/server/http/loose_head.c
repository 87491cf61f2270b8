#include "tests/unit/server/http/loose_head.h"

#include <string.h>

struct reader {
    char *bytes;
    size_t size;
    size_t at;
};

/* The next line, its end overwritten; NULL when there is none. */
static char *next_line(struct reader *reader, size_t *line_size)
{
    char *line = reader->bytes + reader->at;
    char *end = memchr(line, '\n', reader->size - reader->at);
    if (end == NULL)
        return NULL;
    reader->at = (size_t)(end - reader->bytes) + 1;
    *end = '\0';
    if (end > line && end[-1] == '\r')
        *--end = '\0';
    *line_size = (size_t)(end - line);
    return line;
}

static bool read_request_line(struct loose_head *out, char *line, size_t size)
{
    char *blank = memchr(line, ' ', size);
    if (blank == NULL || blank == line)
        return false;
    *blank = '\0';
    char *target = blank + 1;
    while (*target == ' ' && target < line + size)
        target++;
    char *version = line + size - 1;
    while (version > target && *version != ' ')
        version--;
    if (version <= target || line + size - (version + 1) != 8)
        return false;
    *version = '\0';
    out->head.method = (struct head_part){line, strlen(line)};
    out->head.target = (struct head_part){target, strlen(target)};
    out->head.version = (struct head_part){version + 1, strlen(version + 1)};
    return true;
}

struct line {
    char *name;
    char *value;
};

static bool split(struct line *line, char *text)
{
    char *colon = strchr(text, ':');
    if (colon == NULL)
        return false;
    *colon++ = '\0';
    line->name = text;
    line->value = colon + strspn(colon, " \t");
    return true;
}

/* Only the name is joined with what follows it: the value is lost, as it is there. */
static bool fold(struct loose_head *out, struct line *line, const char *more)
{
    char *joined = out->folded + out->folded_size;
    more += strspn(more, " \t");
    size_t name = strlen(line->name), rest = strlen(more);
    if (name + rest + 1 > sizeof(out->folded) - out->folded_size)
        return false;
    memcpy(joined, line->name, name);
    memcpy(joined + name, more, rest + 1);
    out->folded_size += name + rest + 1;
    line->name = joined;
    return true;
}

static bool add(struct loose_head *out, const struct line *line)
{
    if (out->head.n_fields == LOOSE_HEAD_MAX_FIELDS)
        return false;
    out->fields[out->head.n_fields++] = (struct head_field){
        .name = {line->name, strlen(line->name)},
        .value = {line->value, strlen(line->value)},
    };
    return true;
}

static bool read_fields(struct loose_head *out, struct reader *reader)
{
    struct line last = {0};
    char *text;
    size_t size;
    while ((text = next_line(reader, &size)) != NULL) {
        if (last.name != NULL && (*text == ' ' || *text == '\t')) {
            if (!fold(out, &last, text))
                return false;
            continue;
        }
        if (last.name != NULL && !add(out, &last))
            return false;
        if (*text == '\0')
            return true;
        bool is_first = last.name == NULL;
        if (!split(&last, text))
            return false;
        if (*text == '\0' && !is_first) /* it began with its colon */
            return true;
    }
    return false;
}

bool loose_head_read(struct loose_head *out, char *bytes, size_t size)
{
    struct reader reader = {bytes, size, 0};
    char *line;
    size_t line_size;
    memset(out, 0, sizeof(*out));
    do {
        line = next_line(&reader, &line_size);
    } while (line != NULL && *line == '\0');
    if (line == NULL || !read_request_line(out, line, line_size) || !read_fields(out, &reader))
        return false;
    out->head.fields = out->fields;
    out->head.size = (size_t)(bytes + reader.at - line);
    out->end = reader.at;
    return true;
}
