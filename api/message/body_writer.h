/* Builds text answers in memory. Numbers are formatted here, the same in every locale. Errors
 * stick: the last step reports them. */
#ifndef CHIPSHOT_API_BODY_WRITER_H
#define CHIPSHOT_API_BODY_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* All zero: nothing written yet. */
struct body_writer {
    char *buffer; /* owned */
    size_t size, capacity;
    bool out_of_memory; /* some text is missing */
};

void body_writer_clear(struct body_writer *writer);
/* Takes back what was written; the memory is kept for what comes. */
void body_writer_rewind(struct body_writer *writer);
/* 0, or ERROR_NOMEM when something could not be written. */
int body_writer_check(const struct body_writer *writer, struct error *err);

void body_write(struct body_writer *writer, const char *text, size_t size);
void body_write_text(struct body_writer *writer, const char *text);
void body_write_uint(struct body_writer *writer, uint64_t value);
/* A number from 0 to 1 with six decimals (others are clipped to that range). */
void body_write_fraction(struct body_writer *writer, double value);
/* A number with six decimals (millionths, rounded half up), of any size from 0 to 2^63; others are
 * clipped to that range. */
void body_write_number(struct body_writer *writer, double value);
/* A CSV field, quoted when it must be (RFC 4180). */
void body_write_csv(struct body_writer *writer, const char *text);

#endif
