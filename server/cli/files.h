/* Reading and writing whole files for the subcommands that work without a server. */
#ifndef CHIPSHOT_SERVER_FILES_H
#define CHIPSHOT_SERVER_FILES_H

#include <stddef.h>

#include "base/error.h"

struct file_bytes {
    void *data; /* owned; one NUL follows the last byte */
    size_t size;
};

/* ERROR_NOT_FOUND, ERROR_INVALID (not a regular file, larger than max_size), ERROR_IO. */
int file_read(const char *path, size_t max_size, struct file_bytes *out, struct error *err);
void file_bytes_clear(struct file_bytes *bytes);

/* Writes DIR/NAME by a temporary name and rename, so that no half file is ever seen. ERROR_INVALID:
 * something is there that is not a regular file (a device, a pipe, a link); ERROR_IO, ERROR_FULL.
 */
int file_write(const char *directory, const char *name, const void *data, size_t size,
               struct error *err);

/* Creates a directory and its parents; one that exists is fine. */
int file_make_directory(const char *path, struct error *err);

#endif
