/* Builds large text answers: a buffer that spills into an unnamed file of the data directory, so
 * that the labels of four million chips are not held in memory. Numbers are formatted here, the
 * same in every locale. Errors stick and come out of body_writer_finish. */
#ifndef CHIPSHOT_API_BODY_WRITER_H
#define CHIPSHOT_API_BODY_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "api/api.h"

struct body_writer {
    const char *directory; /* of the spill file; borrowed */
    char *buffer;          /* owned */
    size_t size, capacity;
    size_t spill_size; /* bytes that are held at most */
    int fd;            /* -1: nothing was spilled */
    uint64_t n_spilled;
    int code; /* the first error */
    struct error error;
};

/* spill_size 0: 4 MiB. */
void body_writer_init(struct body_writer *writer, const char *directory, size_t spill_size);
void body_writer_clear(struct body_writer *writer);

void body_write(struct body_writer *writer, const char *text, size_t size);
void body_write_text(struct body_writer *writer, const char *text);
void body_write_uint(struct body_writer *writer, uint64_t value);
/* A number from 0 to 1 with six decimals (others are clipped to that range). */
void body_write_fraction(struct body_writer *writer, double value);
/* A CSV field, quoted when it must be (RFC 4180). */
void body_write_csv(struct body_writer *writer, const char *text);

/* Hands what was written to `response` (status 200). ERROR_NOMEM, ERROR_IO, ERROR_FULL. */
int body_writer_finish(struct body_writer *writer, const char *content_type,
                       struct api_response *response, struct error *err);

#endif
