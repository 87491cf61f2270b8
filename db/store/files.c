/* Directories and files as the data directory wants them. Every descriptor is close-on-exec. */
#include "db/store/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

int db_path(char out[DB_PATH_SIZE], struct error *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out, DB_PATH_SIZE, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= DB_PATH_SIZE)
        return error_set(err, ERROR_INVALID, "a path of the data directory is over %d bytes",
                         DB_PATH_SIZE - 1);
    return 0;
}

int db_io_error(struct error *err, int errno_value, const char *doing, const char *path)
{
    int rc = error_set_errno(err, errno_value, "%s %s", doing, path);
    if (rc != ERROR_NOT_FOUND)
        return rc;
    if (err != NULL)
        err->code = ERROR_IO;
    return ERROR_IO;
}

/* ERROR_IO unless it is a directory, and no link to one. */
static int require_directory(const char *path, struct error *err)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return db_io_error(err, errno, "looking at the directory", path);
    if (S_ISLNK(status.st_mode))
        return error_set(err, ERROR_IO,
                         "%s is a symbolic link; it has to be a directory (mount one there to keep "
                         "it elsewhere)",
                         path);
    return S_ISDIR(status.st_mode) ? 0
                                   : db_io_error(err, ENOTDIR, "looking at the directory", path);
}

int db_directory_create(const char *path, struct error *err)
{
    const int errno_value = files_make_directory(path, 0700);
    if (errno_value != 0)
        return db_io_error(err, errno_value, "creating the directory", path);
    return require_directory(path, err);
}

int db_directory_check_folders(const char *path, struct error *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < 256; i++) {
        char folder[DB_PATH_SIZE];
        rc = db_path(folder, err, "%s/%02x", path, i & 0xff);
        if (rc == 0 && faccessat(AT_FDCWD, folder, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            rc = require_directory(folder, err);
    }
    return rc;
}

int db_directory_create_all(const char *path, struct error *err)
{
    char part[DB_PATH_SIZE];
    int rc = db_path(part, err, "%s", path);
    if (rc != 0)
        return rc;
    const int errno_value = files_make_directories(part, 0700);
    return errno_value == 0 ? 0 : db_io_error(err, errno_value, "creating the directory", part);
}

int db_directory_sync(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return db_io_error(err, errno, "opening the directory", path);
    int rc = 0;
    /* EINVAL: a file system whose directories cannot be synced has nothing to make last. */
    if (fsync(fd) != 0 && errno != EINVAL)
        rc = db_io_error(err, errno, "syncing the directory", path);
    close(fd);
    return rc;
}

int db_directory_visit(const char *path,
                       int (*visit)(const char *name, void *context, struct error *err),
                       void *context, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        const int errno_value = errno;
        if (fd >= 0)
            close(fd);
        return errno_value == ENOENT ? 0
                                     : db_io_error(err, errno_value, "reading the directory", path);
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            if (errno != 0)
                rc = db_io_error(err, errno, "reading the directory", path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = visit(entry->d_name, context, err);
    }
    closedir(directory);
    return rc;
}

int db_file_write(int fd, const char *path, const void *data, size_t size, struct error *err)
{
    const char *bytes = data;
    while (size > 0) {
        ssize_t written = write(fd, bytes, size < DB_WRITE_PART ? size : DB_WRITE_PART);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return db_io_error(err, errno, "writing", path);
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

int db_lock_take(const char *path, enum db_lock_wait wait, int *fd, struct error *err)
{
    int opened = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (opened < 0)
        return db_io_error(err, errno, "opening the lock", path);
    int result;
    do {
        result = flock(opened, LOCK_EX | (wait == DB_LOCK_WAIT ? 0 : LOCK_NB));
    } while (result != 0 && errno == EINTR);
    if (result == 0) {
        *fd = opened;
        return 0;
    }
    int rc = errno == EWOULDBLOCK
                 ? error_set(err, ERROR_CONFLICT, "the lock %s is held by another process", path)
                 : db_io_error(err, errno, "locking", path);
    close(opened);
    return rc;
}
