#include "api/message/negotiate.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

/* End of the list element at `at`: its comma, or the end. Quoted strings may hold commas. */
static const char *element_end(const char *at)
{
    bool quoted = false;
    for (; *at != '\0'; at++) {
        if (quoted && *at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == ',' && !quoted)
            break;
    }
    return at;
}

/* Length of the media type or range at `at`, without parameters and blanks. */
static size_t media_length(const char *at, const char *end)
{
    size_t length = 0;
    while (at + length < end && strchr("; \t", at[length]) == NULL)
        length++;
    return length;
}

/* 0: no match; 1: any type, 2: the type with any subtype, 3: the media type itself. */
static int specificity(const char *range, size_t length, const char *media)
{
    if (length == 3 && strncmp(range, "*/*", 3) == 0)
        return 1;
    const char *slash = strchr(media, '/');
    size_t prefix = (size_t)(slash - media) + 1;
    if (length == prefix + 1 && range[prefix] == '*' && strncasecmp(range, media, prefix) == 0)
        return 2;
    return length == strlen(media) && strncasecmp(range, media, length) == 0 ? 3 : 0;
}

/* The weight of an element, in thousandths (RFC 9110 section 12.4.2); 1 when there is none. */
static int quality(const char *at, const char *end)
{
    for (; at < end; at++) {
        if (*at != ';')
            continue;
        const char *name = skip_blanks(at + 1);
        if ((*name != 'q' && *name != 'Q') || name[1] != '=')
            continue;
        const char *digits = name + 2;
        int value = *digits == '1' ? 1000 : 0;
        if ((*digits == '0' || *digits == '1') && digits[1] == '.') {
            int unit = 100;
            for (const char *d = digits + 2; unit > 0 && *d >= '0' && *d <= '9'; d++, unit /= 10)
                value += (*d - '0') * unit;
        }
        return value > 1000 ? 1000 : value;
    }
    return 1000;
}

static int quality_of(const char *accept, const char *media)
{
    int best_specificity = 0;
    int best_quality = 0;
    for (const char *at = accept; *at != '\0';) {
        at = skip_blanks(at);
        const char *end = element_end(at);
        int found = specificity(at, media_length(at, end), media);
        if (found > best_specificity) {
            best_specificity = found;
            best_quality = quality(at, end);
        }
        at = *end == '\0' ? end : end + 1;
    }
    return best_quality;
}

int negotiate_accept(const char *accept, const char *const *offered)
{
    if (accept == NULL || *skip_blanks(accept) == '\0')
        return 0;
    int best = -1;
    int best_quality = 0;
    for (int i = 0; offered[i] != NULL; i++) {
        int q = quality_of(accept, offered[i]);
        if (q > best_quality) {
            best = i;
            best_quality = q;
        }
    }
    return best;
}

bool negotiate_content_type(const char *content_type, const char *const *accepted)
{
    content_type = skip_blanks(content_type);
    size_t length = media_length(content_type, content_type + strlen(content_type));
    for (size_t i = 0; accepted[i] != NULL; i++) {
        if (strlen(accepted[i]) == length && strncasecmp(accepted[i], content_type, length) == 0)
            return true;
    }
    return false;
}

bool negotiate_etag(const char *value, const char *etag, enum etag_comparison comparison)
{
    size_t length = strlen(etag);
    for (const char *at = value; *at != '\0';) {
        at = skip_blanks(at);
        const char *end = element_end(at);
        if (*at == '*')
            return true;
        if (comparison == ETAG_WEAK && strncmp(at, "W/", 2) == 0)
            at += 2;
        size_t size = (size_t)(end - at);
        while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t'))
            size--;
        if (size == length && strncmp(at, etag, length) == 0)
            return true;
        at = *end == '\0' ? end : end + 1;
    }
    return false;
}

bool negotiate_wait(const char *prefer, uint32_t *seconds)
{
    for (const char *at = prefer; *at != '\0';) {
        at = skip_blanks(at);
        const char *end = element_end(at);
        if (strncasecmp(at, "wait", 4) == 0) {
            const char *digits = skip_blanks(at + 4);
            if (*digits == '=') {
                digits = skip_blanks(digits + 1);
                if (*digits == '"')
                    digits++;
                if (*digits < '0' || *digits > '9')
                    return false;
                unsigned long long value = strtoull(digits, NULL, 10);
                *seconds = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
                return true;
            }
        }
        at = *end == '\0' ? end : end + 1;
    }
    return false;
}
