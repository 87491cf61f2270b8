#include "server/cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

int file_read(const char *path, size_t max_size, struct file_bytes *out, struct error *err)
{
    int rc = 0;
    char *data = NULL;
    struct stat st;
    /* Not to wait for the other end of a pipe, which is no regular file anyway. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(err, errno, "%s", path);
    if (fstat(fd, &st) < 0) {
        rc = error_set_errno(err, errno, "%s", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = error_set(err, ERROR_INVALID, "%s: not a regular file", path);
    } else if ((unsigned long long)st.st_size > max_size) {
        rc = error_set(err, ERROR_INVALID, "%s: %lld bytes are over the limit of %zu", path,
                       (long long)st.st_size, max_size);
    } else if ((data = malloc((size_t)st.st_size + 1)) == NULL) {
        rc = error_set_nomem(err, path);
    } else {
        ssize_t n = files_read_all(fd, data, (size_t)st.st_size);
        if (n < 0) {
            rc = error_set_errno(err, errno, "reading %s", path);
        } else {
            data[n] = '\0';
            *out = (struct file_bytes){.data = data, .size = (size_t)n};
            data = NULL;
        }
    }
    free(data);
    close(fd);
    return rc;
}

void file_bytes_clear(struct file_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct file_bytes){0};
}

int file_write(const char *directory, const char *name, const void *data, size_t size,
               struct error *err)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", directory, name);
    int m =
        snprintf(temporary, sizeof(temporary), "%s/%s.%ld.tmp", directory, name, (long)getpid());
    if (n < 0 || m < 0 || n >= PATH_MAX || m >= PATH_MAX)
        return error_set(err, ERROR_INVALID, "%.100s: the path is too long", directory);
    /* Renaming would put a file in the place of a device, a pipe or a link. (Over a directory it
     * fails by itself.) */
    struct stat st;
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return error_set(err, ERROR_INVALID, "%s: not a regular file; it is not replaced", path);
    FILE *file = fopen(temporary, "wbe");
    if (file == NULL)
        return error_set_errno(err, errno, "creating %s", temporary);
    int rc = 0;
    if (fwrite(data, 1, size, file) != size || fflush(file) != 0 || fsync(fileno(file)) != 0)
        rc = error_set_errno(err, errno, "writing %s", path);
    if (fclose(file) != 0 && rc == 0)
        rc = error_set_errno(err, errno, "writing %s", path);
    if (rc == 0 && rename(temporary, path) != 0)
        rc = error_set_errno(err, errno, "renaming %s", path);
    if (rc < 0)
        unlink(temporary);
    return rc;
}

int file_make_directory(const char *path, struct error *err)
{
    char partial[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(partial))
        return error_set(err, ERROR_INVALID, "the directory's path has %zu bytes, not 1..%d",
                         length, PATH_MAX - 1);
    memcpy(partial, path, length + 1);
    const int errno_value = files_make_directories(partial, 0777);
    return errno_value == 0 ? 0 : error_set_errno(err, errno_value, "creating %s", partial);
}
