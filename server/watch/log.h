/* Structured log: one line an event, logfmt (key=value) or JSON, written with one write() call, so
 * that lines of different threads do not mix. Errors are logged here, in server/, and nowhere else.
 *
 *     time=2026-01-31T12:00:00.000Z level=info event=request method=GET status=200
 */
#ifndef CHIPSHOT_SERVER_LOG_H
#define CHIPSHOT_SERVER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* A line never exceeds this (PIPE_BUF, so that writes to a pipe are atomic): longer values are cut,
 * and fields that do not fit are left out. */
enum { LOG_LINE_SIZE = 4096 };

/* Immutable once threads use it. */
struct log {
    int fd; /* borrowed; usually STDERR_FILENO */
    enum log_level level;
    enum log_format format;
};

enum log_kind { LOG_KIND_STRING, LOG_KIND_INTEGER, LOG_KIND_NUMBER };

struct log_field {
    const char *key; /* [a-z0-9_]+ */
    enum log_kind kind;
    union {
        const char *string; /* NULL: the field is left out; any bytes */
        int64_t integer;
        double number;
    } value;
};

static inline struct log_field log_string(const char *key, const char *value)
{
    return (struct log_field){key, LOG_KIND_STRING, {.string = value}};
}

static inline struct log_field log_integer(const char *key, int64_t value)
{
    return (struct log_field){key, LOG_KIND_INTEGER, {.integer = value}};
}

static inline struct log_field log_number(const char *key, double value)
{
    return (struct log_field){key, LOG_KIND_NUMBER, {.number = value}};
}

/* `log` NULL writes nothing. Thread-safe. */
bool log_enabled(const struct log *log, enum log_level level);
void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields, size_t n_fields);

const char *log_level_name(enum log_level level);

/* How much it matters that something failed with this enum error_code: INFO what its caller did
 * wrong, WARN what was busy, full or stopped, ERROR what is broken here. Who watches for errors is
 * so called for nothing that a client can bring about. */
enum log_level log_level_of_code(int code);

#endif
