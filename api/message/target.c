#include "api/message/target.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hex.h"
#include "base/utf8.h"

enum plus { PLUS_STAYS, PLUS_IS_SPACE };

/* Decodes in place: the result is never longer. */
static int decode(char *text, enum plus plus, const char *what, struct error *err)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        char c = *from;
        if (c == '%') {
            uint8_t byte;
            if (!hex_decode(from + 1, 1, &byte))
                return error_set(err, ERROR_INVALID,
                                 "%s holds a '%%' that two hexadecimal digits do not follow", what);
            c = (char)byte;
            if (c == '\0')
                return error_set(err, ERROR_INVALID, "%s holds %%00", what);
            from += 2;
        } else if (c == '+' && plus == PLUS_IS_SPACE) {
            c = ' ';
        }
        *to++ = c;
    }
    *to = '\0';
    if (utf8_length(text, (size_t)(to - text)) < 0)
        return error_set(err, ERROR_INVALID, "%s is not UTF-8", what);
    return 0;
}

static int parse_path(struct target *target, char *path, struct error *err)
{
    while (path != NULL) {
        char *segment = path + 1; /* behind the '/' */
        path = strchr(segment, '/');
        if (path != NULL)
            *path = '\0';
        int rc = decode(segment, PLUS_STAYS, "the path", err);
        if (rc != 0)
            return rc;
        if (target->n_segments < TARGET_SEGMENTS_MAX)
            target->segments[target->n_segments] = segment;
        if (target->n_segments <= TARGET_SEGMENTS_MAX)
            target->n_segments++;
    }
    return 0;
}

static int parse_query(struct target *target, char *query, struct error *err)
{
    while (query != NULL) {
        char *name = query;
        query = strchr(name, '&');
        if (query != NULL)
            *query++ = '\0';
        if (*name == '\0')
            continue;
        if (target->n_parameters == TARGET_PARAMETERS_MAX)
            return error_set(err, ERROR_INVALID, "the query has more than %d parameters",
                             TARGET_PARAMETERS_MAX);
        char *value = strchr(name, '=');
        if (value != NULL)
            *value++ = '\0';
        else
            value = name + strlen(name);
        int rc = decode(name, PLUS_IS_SPACE, "the query", err);
        if (rc == 0)
            rc = decode(value, PLUS_IS_SPACE, "the query", err);
        if (rc != 0)
            return rc;
        target->parameters[target->n_parameters].name = name;
        target->parameters[target->n_parameters].value = value;
        target->n_parameters++;
    }
    return 0;
}

/* The target from its path on: absolute-form names scheme and host first. */
static const char *skip_authority(const char *raw)
{
    size_t scheme = strncasecmp(raw, "http://", 7) == 0    ? 7
                    : strncasecmp(raw, "https://", 8) == 0 ? 8
                                                           : 0;
    if (scheme == 0)
        return raw;
    raw += scheme;
    raw += strcspn(raw, "/?#");
    return *raw == '\0' ? "/" : raw;
}

int target_parse(struct target *out, const char *raw, struct error *err)
{
    struct target target = {0};
    raw = skip_authority(raw);
    int rc = 0;
    if (raw[0] != '/') {
        rc = error_set(err, ERROR_INVALID, "the request target must begin with '/'");
        goto out;
    }
    if (strchr(raw, '#') != NULL) {
        rc = error_set(err, ERROR_INVALID, "the request target holds a '#'");
        goto out;
    }
    target.storage = strdup(raw);
    target.path = strndup(raw, strcspn(raw, "?"));
    if (target.storage == NULL || target.path == NULL) {
        rc = error_set_nomem(err, "the request target");
        goto out;
    }
    char *query = strchr(target.storage, '?');
    if (query != NULL)
        *query++ = '\0';
    rc = parse_path(&target, target.storage, err);
    if (rc == 0)
        rc = parse_query(&target, query, err);
out:
    if (rc != 0)
        target_clear(&target);
    else
        *out = target;
    return rc;
}

void target_clear(struct target *target)
{
    free(target->storage);
    free(target->path);
    *target = (struct target){0};
}

char *target_encode(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = strlen(text);
    if (size > SIZE_MAX / 3 - 1)
        return NULL;
    char *out = malloc(3 * size + 1);
    if (out == NULL)
        return NULL;
    char *to = out;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (alphanumeric || strchr("-._~", c) != NULL) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    *to = '\0';
    return out;
}
