#include "db/store/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int conflict(const struct db_claim *claim, const char *held, struct error *err)
{
    return error_set(err, ERROR_CONFLICT, "another chipshot server is using %s (it holds %s)",
                     claim->directory, held);
}

static int lock_directory(struct db_claim *claim, struct error *err)
{
    claim->directory_fd = open(claim->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (claim->directory_fd < 0)
        return db_io_error(err, errno, "opening the directory", claim->directory);
    int result;
    do {
        result = flock(claim->directory_fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    /* A file system that locks no directories (NFS) leaves it to the file. */
    return result != 0 && errno == EWOULDBLOCK ? conflict(claim, "the directory's lock", err) : 0;
}

static int lock_file(struct db_claim *claim, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/lock", claim->directory);
    if (rc == 0)
        rc = db_lock_take(path, DB_LOCK_TRY, &claim->lock_fd, err);
    return rc == ERROR_CONFLICT ? conflict(claim, "its file lock", err) : rc;
}

static void add(struct db_claim *claim, const char *name, const struct stat *status)
{
    claim->files[claim->n_files++] =
        (struct db_claimed_file){.name = name, .device = status->st_dev, .inode = status->st_ino};
}

static int add_open(struct db_claim *claim, const char *name, int fd, struct error *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return db_io_error(err, errno, "looking at", claim->directory);
    add(claim, name, &status);
    return 0;
}

int db_claim_take(struct db_claim *claim, const char *directory, struct error *err)
{
    *claim = (struct db_claim){.directory = directory, .directory_fd = -1, .lock_fd = -1};
    int rc = lock_directory(claim, err);
    if (rc == 0)
        rc = lock_file(claim, err);
    if (rc == 0)
        rc = add_open(claim, "", claim->directory_fd, err);
    if (rc == 0)
        rc = add_open(claim, "lock", claim->lock_fd, err);
    /* Both may have been replaced between being opened and being locked. */
    return rc == 0 ? db_claim_check(claim, err) : rc;
}

static int look(const struct db_claim *claim, const char *name, struct stat *status)
{
    char path[DB_PATH_SIZE];
    return db_path(path, NULL, "%s/%s", claim->directory, name) == 0 ? stat(path, status) : -1;
}

int db_claim_add(struct db_claim *claim, const char *name, struct error *err)
{
    struct stat status;
    if (look(claim, name, &status) != 0)
        return db_io_error(err, errno, "looking at", name);
    add(claim, name, &status);
    return 0;
}

int db_claim_check(const struct db_claim *claim, struct error *err)
{
    for (size_t i = 0; i < claim->n_files; i++) {
        const struct db_claimed_file *file = &claim->files[i];
        struct stat status;
        if (look(claim, file->name, &status) == 0 && status.st_dev == file->device &&
            status.st_ino == file->inode)
            continue;
        return error_set(err, ERROR_IO, "%s%s was removed or replaced while the server ran",
                         i == 0 ? "the data directory" : "in the data directory, ", file->name);
    }
    return 0;
}

void db_claim_release(struct db_claim *claim)
{
    if (claim->lock_fd >= 0)
        close(claim->lock_fd);
    if (claim->directory_fd >= 0)
        close(claim->directory_fd);
    claim->lock_fd = -1;
    claim->directory_fd = -1;
}
