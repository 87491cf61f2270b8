#include "base/files.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t files_read_all(int fd, void *data, size_t size)
{
    char *bytes = data;
    size_t n_read = 0;
    while (n_read < size) {
        const ssize_t n = read(fd, bytes + n_read, size - n_read);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        n_read += (size_t)n;
    }
    return (ssize_t)n_read;
}

int files_make_directory(const char *path, mode_t mode)
{
    struct stat status;
    if (mkdir(path, mode) == 0)
        return 0;
    /* Not EEXIST alone: a file system may refuse first, and a directory that exists is enough. */
    const int errno_value = errno;
    if (stat(path, &status) != 0)
        return errno_value;
    return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
}

int files_make_directories(char *path, mode_t mode)
{
    if (path[0] == '\0')
        return ENOENT;
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const int errno_value = files_make_directory(path, mode);
        if (errno_value != 0)
            return errno_value;
        *slash = '/';
    }
    return files_make_directory(path, mode);
}
