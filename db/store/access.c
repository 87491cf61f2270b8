#include "db/store/access.h"

#include <errno.h>
#include <unistd.h>

#include "db/store/files.h"

enum {
    PERMISSIONS = 07777,
    NOT_OWNER = S_IRWXG | S_IRWXO,
    EXPOSED = S_IWGRP | S_IRWXO,
};

static int look_at(const char *path, struct stat *out, struct error *err)
{
    return stat(path, out) == 0 ? 0 : db_io_error(err, errno, "looking at", path);
}

int access_check_writers(const char *directory, struct error *err)
{
    struct stat status;
    int rc = look_at(directory, &status, err);
    if (rc != 0 || (status.st_mode & S_IWOTH) == 0)
        return rc;
    return error_set(err, ERROR_INVALID,
                     "the data directory %s has mode %04o: everybody may write in it; 'chmod 700 "
                     "%s' mends that",
                     directory, (unsigned)status.st_mode & PERMISSIONS, directory);
}

int access_check_owner(const char *directory, struct error *err)
{
    struct stat status;
    int rc = look_at(directory, &status, err);
    if (rc != 0 || status.st_uid == geteuid() || status.st_uid == 0)
        return rc;
    return error_set(err, ERROR_INVALID,
                     "the data directory %s belongs to user %u, and the server runs as user %u; "
                     "'chown -R %u %s' mends that, or running it as the owner",
                     directory, (unsigned)status.st_uid, (unsigned)geteuid(), (unsigned)geteuid(),
                     directory);
}

int access_check_secret(const char *directory, const char *path, const struct stat *status,
                        struct error *err)
{
    struct stat parent;
    if ((status->st_mode & NOT_OWNER) != 0)
        return error_set(err, ERROR_INVALID,
                         "%s has mode %04o: others than its owner may use it; if none of them did, "
                         "'chmod 600 %s' mends that",
                         path, (unsigned)status->st_mode & PERMISSIONS, path);
    int rc = look_at(directory, &parent, err);
    if (rc != 0 || status->st_uid == geteuid() || status->st_uid == 0 ||
        status->st_uid == parent.st_uid)
        return rc;
    return error_set(err, ERROR_INVALID, "%s belongs to user %u; 'chown %u %s' mends that", path,
                     (unsigned)status->st_uid, (unsigned)geteuid(), path);
}

bool access_is_exposed(const char *path, mode_t *mode)
{
    struct stat status;
    if (stat(path, &status) != 0 || (status.st_mode & EXPOSED) == 0)
        return false;
    *mode = status.st_mode & PERMISSIONS;
    return true;
}
