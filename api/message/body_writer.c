#include "api/message/body_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/message/response.h"

enum { SPILL_SIZE = 4 << 20, FIRST_CAPACITY = 4096 };

void body_writer_init(struct body_writer *writer, const char *directory, size_t spill_size)
{
    *writer = (struct body_writer){
        .directory = directory, .spill_size = spill_size != 0 ? spill_size : SPILL_SIZE, .fd = -1};
}

void body_writer_clear(struct body_writer *writer)
{
    free(writer->buffer);
    if (writer->fd >= 0)
        close(writer->fd);
    writer->buffer = NULL;
    writer->fd = -1;
}

/* The file has no name from its first moment but one: what a crash leaves is emptied at start. */
static void open_spill(struct body_writer *writer)
{
    char *path = NULL;
    if (asprintf(&path, "%s/tmp/answer-XXXXXX", writer->directory) < 0) {
        writer->code = error_set_nomem(&writer->error, "an answer");
        return;
    }
    writer->fd = mkostemp(path, O_CLOEXEC);
    if (writer->fd < 0)
        writer->code = error_set_errno(&writer->error, errno, "cannot create %s", path);
    else
        unlink(path);
    free(path);
}

static void spill(struct body_writer *writer)
{
    if (writer->fd < 0)
        open_spill(writer);
    size_t at = 0;
    while (writer->code == 0 && at < writer->size) {
        ssize_t n = write(writer->fd, writer->buffer + at, writer->size - at);
        if (n < 0 && errno != EINTR)
            writer->code = error_set_errno(&writer->error, errno, "cannot write an answer");
        else if (n > 0)
            at += (size_t)n;
    }
    writer->n_spilled += at;
    writer->size = 0;
}

static void reserve(struct body_writer *writer, size_t size)
{
    if (writer->size > 0 && writer->size + size > writer->spill_size)
        spill(writer);
    if (writer->code != 0 || writer->size + size <= writer->capacity)
        return;
    size_t capacity = writer->capacity != 0 ? writer->capacity : FIRST_CAPACITY;
    while (capacity < writer->size + size)
        capacity *= 2;
    char *buffer = realloc(writer->buffer, capacity);
    if (buffer == NULL) {
        writer->code = error_set_nomem(&writer->error, "an answer");
        return;
    }
    writer->buffer = buffer;
    writer->capacity = capacity;
}

void body_write(struct body_writer *writer, const char *text, size_t size)
{
    reserve(writer, size);
    if (writer->code != 0)
        return;
    memcpy(writer->buffer + writer->size, text, size);
    writer->size += size;
}

void body_write_text(struct body_writer *writer, const char *text)
{
    body_write(writer, text, strlen(text));
}

void body_write_uint(struct body_writer *writer, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    body_write(writer, digits + at, sizeof(digits) - at);
}

void body_write_fraction(struct body_writer *writer, double value)
{
    double clipped = value > 0 ? (value < 1 ? value : 1) : 0; /* NaN gives 0 */
    uint32_t millionths = (uint32_t)(clipped * 1e6 + 0.5);
    char text[8] = {(char)('0' + millionths / 1000000), '.'};
    for (int i = 7; i >= 2; i--, millionths /= 10)
        text[i] = (char)('0' + millionths % 10);
    body_write(writer, text, sizeof(text));
}

void body_write_csv(struct body_writer *writer, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        body_write_text(writer, text);
        return;
    }
    body_write(writer, "\"", 1);
    for (const char *quote; (quote = strchr(text, '"')) != NULL; text = quote + 1) {
        body_write(writer, text, (size_t)(quote - text));
        body_write(writer, "\"\"", 2);
    }
    body_write_text(writer, text);
    body_write(writer, "\"", 1);
}

int body_writer_finish(struct body_writer *writer, const char *content_type,
                       struct api_response *response, struct error *err)
{
    if (writer->code == 0 && writer->fd >= 0)
        spill(writer);
    if (writer->code == 0 && writer->fd >= 0 && lseek(writer->fd, 0, SEEK_SET) != 0)
        writer->code = error_set_errno(&writer->error, errno, "cannot rewind an answer");
    if (writer->code != 0)
        return error_set(err, writer->code, "%s", writer->error.message);
    if (writer->fd < 0) {
        response_bytes(response, 200, content_type, writer->buffer, writer->size);
        writer->buffer = NULL;
        return 0;
    }
    response->status = 200;
    response->content_type = content_type;
    response->fd = writer->fd;
    response->fd_size = writer->n_spilled;
    writer->fd = -1;
    return 0;
}
