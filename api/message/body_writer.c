#include "api/message/body_writer.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 4096 };

void body_writer_clear(struct body_writer *writer)
{
    free(writer->buffer);
    *writer = (struct body_writer){0};
}

void body_writer_rewind(struct body_writer *writer)
{
    writer->size = 0;
}

int body_writer_check(const struct body_writer *writer, struct error *err)
{
    return writer->out_of_memory ? error_set_nomem(err, "an answer") : 0;
}

static void reserve(struct body_writer *writer, size_t size)
{
    if (writer->size + size <= writer->capacity)
        return;
    size_t capacity = writer->capacity != 0 ? writer->capacity : FIRST_CAPACITY;
    while (capacity < writer->size + size)
        capacity *= 2;
    char *buffer = realloc(writer->buffer, capacity);
    if (buffer == NULL) {
        writer->out_of_memory = true;
        return;
    }
    writer->buffer = buffer;
    writer->capacity = capacity;
}

void body_write(struct body_writer *writer, const char *text, size_t size)
{
    reserve(writer, size);
    if (writer->out_of_memory)
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

void body_write_number(struct body_writer *writer, double value)
{
    const double clipped = value > 0 ? (value < 0x1p63 ? value : 0x1p63) : 0; /* NaN gives 0 */
    uint64_t whole = (uint64_t)clipped;
    uint32_t millionths = (uint32_t)((clipped - (double)whole) * 1e6 + 0.5);
    if (millionths == 1000000) {
        whole++;
        millionths = 0;
    }
    char text[7] = {'.'};
    for (int i = 6; i >= 1; i--, millionths /= 10)
        text[i] = (char)('0' + millionths % 10);
    body_write_uint(writer, whole);
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
