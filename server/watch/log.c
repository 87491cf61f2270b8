/* A line grows on the stack of the thread that logs and leaves in one write(): there is no lock and
 * no buffer that a crash could lose. Values are any bytes; they are escaped, and U+FFFD stands for
 * what is not UTF-8, so that no client can end a line or forge a field.
 */
#include "server/watch/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/utf8.h"

enum { VALUE_MAX = 1024 }; /* bytes of one value before escaping */

/* A line under construction: `size` never passes LOG_LINE_SIZE - 2, the room of "}\n". */
struct line {
    char text[LOG_LINE_SIZE];
    size_t size;
    bool full; /* something did not fit since the last mark */
};

static void append(struct line *line, const char *text, size_t size)
{
    if (line->full || size > LOG_LINE_SIZE - 2 - line->size) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void append_text(struct line *line, const char *text)
{
    append(line, text, strlen(text));
}

/* The inside of a quoted string, the same for both formats (logfmt readers take JSON escapes). */
static void append_escaped(struct line *line, const char *value)
{
    const unsigned char *s = (const unsigned char *)value;
    size_t size = strnlen(value, VALUE_MAX);
    for (size_t i = 0; i < size;) {
        char escape[8];
        size_t length = utf8_character_size(value + i, size - i);
        if (s[i] == '"' || s[i] == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", s[i]);
            append_text(line, escape);
            length = 1;
        } else if (s[i] == '\n') {
            append_text(line, "\\n");
        } else if (s[i] < 0x20 || s[i] == 0x7f) {
            snprintf(escape, sizeof(escape), "\\u%04x", s[i]);
            append_text(line, escape);
        } else if (length == 0) {
            append_text(line, "\xef\xbf\xbd"); /* U+FFFD */
            length = 1;
        } else {
            append(line, value + i, length);
        }
        i += length;
    }
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0')
        return true;
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++) {
        if (*c <= 0x20 || *c >= 0x7f || *c == '"' || *c == '\\' || *c == '=')
            return true;
    }
    return strlen(value) > VALUE_MAX;
}

static void append_value(struct line *line, enum log_format format, const struct log_field *field)
{
    char number[40];
    switch (field->kind) {
    case LOG_KIND_INTEGER:
        snprintf(number, sizeof(number), "%lld", (long long)field->value.integer);
        append_text(line, number);
        return;
    case LOG_KIND_NUMBER:
        snprintf(number, sizeof(number), "%.6g", field->value.number);
        /* JSON knows neither NaN nor infinity. */
        append_text(line, isfinite(field->value.number) ? number : "null");
        return;
    case LOG_KIND_STRING:
        if (format == LOG_FORMAT_LOGFMT && !needs_quotes(field->value.string)) {
            append_text(line, field->value.string);
            return;
        }
        append_text(line, "\"");
        append_escaped(line, field->value.string);
        append_text(line, "\"");
        return;
    }
}

static void append_field(struct line *line, enum log_format format, const struct log_field *field)
{
    if (field->kind == LOG_KIND_STRING && field->value.string == NULL)
        return;
    size_t mark = line->size;
    line->full = false;
    if (format == LOG_FORMAT_JSON) {
        append_text(line, line->size == 0 ? "{\"" : ",\"");
        append_text(line, field->key);
        append_text(line, "\":");
    } else {
        append_text(line, line->size == 0 ? "" : " ");
        append_text(line, field->key);
        append_text(line, "=");
    }
    append_value(line, format, field);
    if (line->full)
        line->size = mark; /* a field is there as a whole or not at all */
}

static void time_text(char *out, size_t size)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    char seconds[32];
    strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000));
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return log != NULL && level >= log->level;
}

void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields, size_t n_fields)
{
    if (!log_enabled(log, level))
        return;
    char now[48];
    time_text(now, sizeof(now));
    const struct log_field head[] = {
        log_string("time", now),
        log_string("level", log_level_name(level)),
        log_string("event", event),
    };
    struct line line;
    line.size = 0;
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
        append_field(&line, log->format, &head[i]);
    for (size_t i = 0; i < n_fields; i++)
        append_field(&line, log->format, &fields[i]);
    if (log->format == LOG_FORMAT_JSON)
        line.text[line.size++] = '}';
    line.text[line.size++] = '\n';
    /* A log that cannot be written must not stop the server: nothing to do about a failure. */
    ssize_t written = write(log->fd, line.text, line.size);
    (void)written;
}

const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG:
        return "debug";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_WARN:
        return "warn";
    case LOG_LEVEL_ERROR:
        return "error";
    }
    return "unknown";
}

enum log_level log_level_of_code(int code)
{
    switch ((enum error_code)code) {
    case ERROR_INVALID:
    case ERROR_NOT_FOUND:
    case ERROR_CONFLICT:
        return LOG_LEVEL_INFO;
    case ERROR_BUSY:
    case ERROR_CANCELLED:
    case ERROR_FULL:
        return LOG_LEVEL_WARN;
    case ERROR_NOMEM:
    case ERROR_IO:
    case ERROR_CORRUPT:
        return LOG_LEVEL_ERROR;
    }
    return LOG_LEVEL_ERROR;
}
