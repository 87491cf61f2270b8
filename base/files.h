/* What every room that touches files needs, without messages: the caller knows what its files are
 * called and whose fault a failure is. */
#ifndef CHIPSHOT_BASE_FILES_H
#define CHIPSHOT_BASE_FILES_H

#include <stddef.h>
#include <sys/types.h>

/* read(2) until `size` bytes are there or the file ends. Returns the bytes read, or -1 with errno.
 */
ssize_t files_read_all(int fd, void *data, size_t size);

/* Makes a directory with the permissions `mode`; one that exists is left as it is. Returns 0 or an
 * errno value, ENOTDIR where a file stands. */
int files_make_directory(const char *path, mode_t mode);

/* As files_make_directory, parents included. After a failure `path` ends with the part that could
 * not be made. */
int files_make_directories(char *path, mode_t mode);

#endif
