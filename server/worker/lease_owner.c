/* What /proc and kill(2) say about processes (proc(5), pid_namespaces(7)). Reads only. A name that
 * is not of the form above, or a question that the system does not answer, proves nothing. */
#include "server/worker/lease_owner.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOOT_SIZE = 40, NAMESPACE_SIZE = 24 };

struct place {
    char boot[BOOT_SIZE];
    char namespace[NAMESPACE_SIZE];
};

struct process {
    long pid;
    char state; /* 'R', 'S', 'T' stopped, 'Z' dead but for its exit status, ... */
    long n_threads;
    uint64_t start; /* ticks since boot */
};

/* Reads /proc/NAME/stat. The second field is the program's name in parentheses, and may hold spaces
 * and parentheses itself. */
static bool read_process(const char *name, struct process *out)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%s/stat", name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *rest = strrchr(text, ')');
    out->pid = strtol(text, NULL, 10);
    return rest != NULL &&
           sscanf(rest + 1,
                  " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld %*s"
                  " %" SCNu64,
                  &out->state, &out->n_threads, &out->start) == 3;
}

static void read_boot(char out[BOOT_SIZE])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL || fscanf(file, "%39[0-9a-f-]", out) != 1)
        snprintf(out, BOOT_SIZE, "-");
    if (file != NULL)
        fclose(file);
}

static void read_namespace(char out[NAMESPACE_SIZE])
{
    char link[64];
    ssize_t size = readlink("/proc/self/ns/pid", link, sizeof(link) - 1);
    link[size > 0 ? size : 0] = '\0';
    if (sscanf(link, "pid:[%23[0-9]]", out) != 1)
        snprintf(out, NAMESPACE_SIZE, "-");
}

/* Where this process lives and what it is; false when /proc is missing or shows the processes of
 * another namespace. */
static bool read_self(struct place *place, struct process *self)
{
    read_boot(place->boot);
    read_namespace(place->namespace);
    return read_process("self", self) && self->pid == (long)getpid() &&
           strcmp(place->boot, "-") != 0 && strcmp(place->namespace, "-") != 0;
}

void lease_owner_create(char out[DB_OWNER_SIZE])
{
    struct place place;
    struct process self;
    uint64_t random;
    arc4random_buf(&random, sizeof(random));
    if (read_self(&place, &self))
        snprintf(out, DB_OWNER_SIZE, "%s/%s/%ld/%" PRIu64 "/%016" PRIx64, place.boot,
                 place.namespace, self.pid, self.start, random);
    else
        snprintf(out, DB_OWNER_SIZE, "-/-/%ld/-/%016" PRIx64, (long)getpid(), random);
}

bool lease_owner_is_gone(const char *owner)
{
    struct place here, there;
    struct process self, process;
    long pid;
    uint64_t start;
    int n_read = 0;
    if (sscanf(owner, "%39[0-9a-f-]/%23[0-9]/%ld/%" SCNu64 "/%*16[0-9a-f]%n", there.boot,
               there.namespace, &pid, &start, &n_read) != 4 ||
        n_read == 0 || owner[n_read] != '\0' || pid <= 0)
        return false;
    if (!read_self(&here, &self) || strcmp(here.boot, there.boot) != 0 ||
        strcmp(here.namespace, there.namespace) != 0)
        return false;
    /* Asked first: where /proc hides the processes of other users, kill(2) does not. */
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
        return true;
    char name[24];
    snprintf(name, sizeof(name), "%ld", pid);
    if (!read_process(name, &process))
        return false;
    if (process.start != start)
        return true;
    /* The first thread may have ended while others go on: its state is 'Z' then, too. */
    return (process.state == 'Z' || process.state == 'X') && process.n_threads <= 1;
}
