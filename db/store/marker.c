#include "db/store/marker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "db/store/temporary.h"

static const char prefix[] = "sto_";

void db_marker_create(char out[DB_ID_SIZE])
{
    db_id_create(prefix, out);
}

static int marker_path(const char *directory, char out[DB_PATH_SIZE], struct error *err)
{
    return db_path(out, err, "%s/blobs/store.id", directory);
}

int db_marker_read(const char *directory, char out[DB_ID_SIZE], struct error *err)
{
    char path[DB_PATH_SIZE], text[DB_ID_SIZE + 1] = "";
    int rc = marker_path(directory, path, err);
    if (rc != 0)
        return rc;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "there is no %s", path);
    if (fd < 0)
        return db_io_error(err, errno, "opening", path);
    const ssize_t n = files_read_all(fd, text, sizeof(text) - 1);
    const int errno_value = errno;
    close(fd);
    if (n < 0)
        return db_io_error(err, errno_value, "reading", path);
    text[strcspn(text, "\n")] = '\0';
    if (!db_id_is(text, prefix))
        return error_set(
            err, ERROR_CORRUPT,
            "%s does not hold the name of a store; 'chipshot data adopt' writes it again", path);
    memcpy(out, text, DB_ID_SIZE);
    return 0;
}

static int write_text(int fd, const char *path, const char *id, struct error *err)
{
    char text[DB_ID_SIZE + 1];
    int length = snprintf(text, sizeof(text), "%s\n", id);
    int rc = db_file_write(fd, path, text, (size_t)length, err);
    if (rc == 0 && fsync(fd) != 0)
        rc = db_io_error(err, errno, "syncing", path);
    return rc;
}

int db_marker_write(const char *directory, const char *id, struct error *err)
{
    char path[DB_PATH_SIZE], folder[DB_PATH_SIZE], temporary[DB_PATH_SIZE];
    int fd = -1;
    int rc = marker_path(directory, path, err);
    if (rc == 0)
        rc = db_path(folder, err, "%s/blobs", directory);
    if (rc == 0)
        rc = db_temporary_create(directory, &fd, temporary, err);
    if (rc != 0)
        return rc;
    rc = write_text(fd, temporary, id, err);
    close(fd);
    if (rc == 0 && rename(temporary, path) != 0)
        rc = db_io_error(err, errno, "renaming", temporary);
    if (rc != 0) {
        unlink(temporary);
        return rc;
    }
    return db_directory_sync(folder, err);
}
