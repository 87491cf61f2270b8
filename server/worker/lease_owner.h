/* The name under which a worker claims jobs, and what such a name says about the process that made
 * it.
 *
 *     BOOT/NAMESPACE/PID/START/RANDOM
 *     f1d2...-....../4026531836/4711/9912345/8c5ab1f0d2e37764
 *
 * BOOT is the kernel's id of this boot (it tells machines apart, too), NAMESPACE the inode of the
 * process's PID namespace, PID its number there, START when it started in the kernel's ticks since
 * boot, so that a process which got the same number later is another one, and RANDOM 64 bits for
 * each worker of a process. What the system does not tell is "-": of such an owner nothing can be
 * proved.
 */
#ifndef CHIPSHOT_SERVER_LEASE_OWNER_H
#define CHIPSHOT_SERVER_LEASE_OWNER_H

#include <stdbool.h>

#include "db/jobs.h"

/* A new owner of this process. */
void lease_owner_create(char out[DB_OWNER_SIZE]);

/* True when the process of `owner` has ended for certain: it was of this boot and PID namespace,
 * and its number is free, has a process that started at another time, or one that is dead but for
 * its exit status. A process that is stopped lives. Any thread. */
bool lease_owner_is_gone(const char *owner);

#endif
