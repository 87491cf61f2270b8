/* Directories and files of the data directory: private to their owner, made to last by fsync. Only
 * db/ uses this. */
#ifndef CHIPSHOT_DB_STORE_FILES_H
#define CHIPSHOT_DB_STORE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

enum {
    DB_PATH_SIZE = 4096,
    /* Bytes that one call writes at most: for one of several MiB Linux 6.18's ext4 takes pages of
     * 4 MiB, several times slower than parts. */
    DB_WRITE_PART = 1 << 20,
};

/* snprintf into a path of DB_PATH_SIZE; ERROR_INVALID when it does not fit. */
int db_path(char out[DB_PATH_SIZE], struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* error_set_errno with "<doing> <path>", where a missing file is a fault of the data directory
 * (ERROR_IO) and not "no such thing" that a client asked for. */
int db_io_error(struct error *err, int errno_value, const char *doing, const char *path);

/* Makes a directory with mode 0700; one that exists is left as it is. ERROR_IO also when a file or
 * a symbolic link stands there: what is written to or removed from the data directory stays in it.
 */
int db_directory_create(const char *path, struct error *err);
/* Makes a directory and its parents, any of which may be a link. */
int db_directory_create_all(const char *path, struct error *err);
/* ERROR_IO when one of the folders 00 to ff of a directory is something else, as a symbolic link.
 */
int db_directory_check_folders(const char *path, struct error *err);
/* Makes renames, creations and removals in a directory last. */
int db_directory_sync(const char *path, struct error *err);

/* Calls `visit` with the name of each entry but "." and ".."; stops at its first error. A directory
 * that does not exist has no entries. A symbolic link is not followed: ERROR_IO. */
int db_directory_visit(const char *path,
                       int (*visit)(const char *name, void *context, struct error *err),
                       void *context, struct error *err);

/* write(2) until all is written. ERROR_FULL, ERROR_IO. */
int db_file_write(int fd, const char *path, const void *data, size_t size, struct error *err);

/* What to do while another has a lock: answer ERROR_CONFLICT, or wait for as long as it takes. */
enum db_lock_wait { DB_LOCK_TRY, DB_LOCK_WAIT };

/* Opens DIR/name (mode 0600) and takes an exclusive lock. Closing *fd releases it. */
int db_lock_take(const char *path, enum db_lock_wait wait, int *fd, struct error *err);

#endif
