/* A name says whose a file is: "chipshot-" and six letters or digits. Files are looked at and
 * removed relative to the opened directory, so that it cannot be exchanged for another meanwhile.
 */
#include "db/store/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "chipshot-"

enum { RANDOM_SIZE = 6 }; /* what mkostemp(3) makes of XXXXXX */

int db_temporary_create(const char *directory, int *fd, char path[DB_PATH_SIZE], struct error *err)
{
    int rc = db_path(path, err, "%s/tmp/" PREFIX "XXXXXX", directory);
    if (rc != 0)
        return rc;
    int created = mkostemp(path, O_CLOEXEC);
    if (created < 0)
        return db_io_error(err, errno, "creating", path);
    *fd = created;
    return 0;
}

static bool is_ours(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const size_t prefix = sizeof(PREFIX) - 1;
    return strncmp(name, PREFIX, prefix) == 0 && strlen(name) == prefix + RANDOM_SIZE &&
           strspn(name + prefix, allowed) == RANDOM_SIZE;
}

struct emptying {
    const char *path; /* of tmp */
    int fd;
    void (*left)(void *context, const char *name);
    void *context;
};

static int empty_entry(const char *name, void *context, struct error *err)
{
    const struct emptying *emptying = context;
    struct stat status;
    if (!is_ours(name) || fstatat(emptying->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(status.st_mode)) {
        emptying->left(emptying->context, name);
        return 0;
    }
    if (unlinkat(emptying->fd, name, 0) != 0 && errno != ENOENT)
        return db_io_error(err, errno, "removing files of", emptying->path);
    return 0;
}

int db_temporary_empty(const char *directory, void (*left)(void *context, const char *name),
                       void *context, struct error *err)
{
    char path[DB_PATH_SIZE];
    struct emptying emptying = {.path = path, .left = left, .context = context};
    int rc = db_path(path, err, "%s/tmp", directory);
    if (rc != 0)
        return rc;
    emptying.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (emptying.fd < 0)
        return db_io_error(err, errno, "opening the directory", path);
    rc = db_directory_visit(path, empty_entry, &emptying, err);
    close(emptying.fd);
    return rc;
}
