/* That a data directory is used by one server, and that it is still there.
 *
 * Both the directory itself and the file `lock` in it are locked (flock): the file for versions
 * before that know no other lock, the directory because a file can be removed, and made again and
 * locked by a second server. */
#ifndef CHIPSHOT_DB_STORE_CLAIM_H
#define CHIPSHOT_DB_STORE_CLAIM_H

#include <sys/types.h>

#include "db/store/files.h"

/* Which file stood behind a name. */
struct db_claimed_file {
    const char *name; /* in the directory; "": itself; static */
    dev_t device;
    ino_t inode;
};

enum { DB_CLAIMED_FILES_MAX = 8 };

struct db_claim {
    const char *directory; /* absolute; borrowed */
    int directory_fd, lock_fd;
    struct db_claimed_file files[DB_CLAIMED_FILES_MAX];
    size_t n_files;
};

/* Takes both locks. ERROR_CONFLICT: another process has one of them. db_claim_release is due after
 * a failure too. */
int db_claim_take(struct db_claim *claim, const char *directory, struct error *err);
/* Remembers a file of the directory that has to stay where it is. `name` is static. */
int db_claim_add(struct db_claim *claim, const char *name, struct error *err);
/* ERROR_IO when the directory, its lock or a file that was added was removed or replaced: what is
 * written now would be lost, or get in another's way. The message names no path. A few system
 * calls; any thread. */
int db_claim_check(const struct db_claim *claim, struct error *err);
void db_claim_release(struct db_claim *claim);

#endif
