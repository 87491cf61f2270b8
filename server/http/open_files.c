/* Linux gives a process 1024 files softly, for the sake of programs that use select(), and many
 * more if it asks. */
#include "server/http/open_files.h"

#include <errno.h>
#include <sys/resource.h>

#include "server/http/connections.h"
#include "server/http/linger.h"

enum {
    FILES_PER_CONNECTION = 2, /* the socket, and what is uploaded or sent */
    OTHER_FILES = 256,        /* database, images of jobs, the cache's, the log, ... */
};

int open_files_allow(uint32_t max_connections, struct error *err)
{
    const rlim_t needed =
        FILES_PER_CONNECTION * ((rlim_t)max_connections + CONNECTIONS_BEYOND_MAX) + LINGER_MAX +
        OTHER_FILES;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set_errno(err, errno, "cannot read the limit of open files");
    if (limit.rlim_cur >= needed)
        return 0;
    if (limit.rlim_max < needed)
        return error_set(err, ERROR_INVALID,
                         "max-connections: %u connections need %llu open files, and the system "
                         "allows %llu (ulimit -Hn)",
                         max_connections, (unsigned long long)needed,
                         (unsigned long long)limit.rlim_max);
    limit.rlim_cur = needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set_errno(err, errno, "cannot raise the limit of open files");
    return 0;
}
