/* The heart of a worker: one thread that renews the leases of all running jobs, stores their
 * progress and learns of cancellations, so that no thread that computes ever waits for the
 * database, and a lease lives on while an image decodes. It also takes back the jobs of processes
 * that died.
 *
 * A job is cancelled because its row says so, never because of a notification: the driver may have
 * claimed a job before the one who inserted it has told anyone.
 *
 * A process that was stopped or suspended for longer than its lease finds out at its next write,
 * whichever that is: the heart's, a result's or the end's.
 */
#ifndef CHIPSHOT_SERVER_HEART_H
#define CHIPSHOT_SERVER_HEART_H

#include "server/worker/worker_state.h"

/* The thread's function; `argument` is the worker. Beats until heart_stops. */
void *heart_run(void *argument);

/* By a driver, before its job's end is written: what the heart wrote last may be older than the
 * last result. */
void heart_settle(struct driver *driver);

#endif
