/* Who else may get at the data: the owner and the permissions of files and directories that a
 * server finds. What it makes itself is its own, with mode 0700 and 0600; what was made or changed
 * by hand may not be. */
#ifndef CHIPSHOT_DB_STORE_ACCESS_H
#define CHIPSHOT_DB_STORE_ACCESS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/error.h"

/* A directory in which everybody may write: whoever does replaces what is in it. A group's members
 * are trusted, because shared volumes need it. ERROR_INVALID names the mode and the way to mend it.
 */
int access_check_writers(const char *directory, struct error *err);
/* One whose owner is neither this process's user nor root. ERROR_INVALID. */
int access_check_owner(const char *directory, struct error *err);

/* The same of a file with secrets: `status` of the open file at `path`, in `directory`. Only its
 * owner may have any right on it, and that is this process's user, root, or the directory's owner
 * (who could replace it anyway, and whose file root reads). ERROR_INVALID. */
int access_check_secret(const char *directory, const char *path, const struct stat *status,
                        struct error *err);

/* True, with its permissions in *mode, when a file or directory of the data can be written by its
 * group or got at by everybody: nothing to refuse, and worth a warning. */
bool access_is_exposed(const char *path, mode_t *mode);

#endif
