#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void write_message(struct error *err, int code, const char *format, va_list arguments)
{
    if (err == NULL)
        return;
    err->code = code;
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    /* One line, whatever a file name or a library's text put in. */
    for (char *c = err->message; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    }
}

int error_set(struct error *err, enum error_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_message(err, code, format, arguments);
    va_end(arguments);
    return code;
}

int error_set_errno(struct error *err, int errno_value, const char *format, ...)
{
    enum error_code code = ERROR_IO;
    if (errno_value == ENOSPC || errno_value == EDQUOT || errno_value == EFBIG)
        code = ERROR_FULL;
    else if (errno_value == ENOENT)
        code = ERROR_NOT_FOUND;
    else if (errno_value == ENOMEM)
        code = ERROR_NOMEM;
    va_list arguments;
    va_start(arguments, format);
    write_message(err, code, format, arguments);
    va_end(arguments);
    if (err != NULL) {
        char text[128] = "";
        /* strerror_r has two incompatible forms; glibc's _GNU_SOURCE one returns the text. */
        const char *system_text = strerror_r(errno_value, text, sizeof(text));
        size_t length = strlen(err->message);
        snprintf(err->message + length, sizeof(err->message) - length, ": %s", system_text);
    }
    return code;
}

int error_set_nomem(struct error *err, const char *what)
{
    return error_set(err, ERROR_NOMEM, "out of memory for %s", what);
}

bool error_is_transient(int code)
{
    switch ((enum error_code)code) {
    case ERROR_BUSY:
    case ERROR_NOMEM:
    case ERROR_IO:
        return true;
    case ERROR_INVALID:
    case ERROR_NOT_FOUND:
    case ERROR_CONFLICT:
    case ERROR_CANCELLED:
    case ERROR_FULL:
    case ERROR_CORRUPT:
        return false;
    }
    return false;
}

const char *error_code_name(int code)
{
    switch ((enum error_code)code) {
    case ERROR_INVALID:
        return "invalid";
    case ERROR_NOT_FOUND:
        return "not_found";
    case ERROR_CONFLICT:
        return "conflict";
    case ERROR_BUSY:
        return "busy";
    case ERROR_CANCELLED:
        return "cancelled";
    case ERROR_NOMEM:
        return "no_memory";
    case ERROR_IO:
        return "io";
    case ERROR_FULL:
        return "full";
    case ERROR_CORRUPT:
        return "corrupt";
    }
    return "ok";
}
