/* The request threads that wait for a job (Prefer: wait), and how they are woken. What happened to
 * a job is told by its row and its event rows; this only says that it is time to look.
 *
 * No wake-up is lost: a waiter is registered before its predicate reads the job's state, so a
 * change published between that reading and the wait is remembered. Waiting costs no polling.
 */
#ifndef CHIPSHOT_SERVER_JOB_WAITS_H
#define CHIPSHOT_SERVER_JOB_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct job_waits;

int job_waits_create(struct job_waits **out, struct error *err);
/* No thread may wait any more. NULL allowed. */
void job_waits_destroy(struct job_waits *waits);

/* Something about the job changed: wakes who waits for it. Any thread. */
void job_waits_publish(struct job_waits *waits, const char *job_id);

/* True when there is nothing left to wait for. Called without any lock held. */
typedef bool (*job_wait_predicate)(void *context, const char *job_id);

enum job_wait_result { JOB_WAIT_DONE, JOB_WAIT_TIMEOUT, JOB_WAIT_SHUTDOWN };

/* Calls `done` at once and after each publication for `job_id`, until it returns true, until
 * `timeout_ms` have passed, or until job_waits_shutdown. */
enum job_wait_result job_waits_for(struct job_waits *waits, const char *job_id, uint32_t timeout_ms,
                                   job_wait_predicate done, void *context);

/* Wakes all waiters; later waits return at once with JOB_WAIT_SHUTDOWN (or JOB_WAIT_DONE). */
void job_waits_shutdown(struct job_waits *waits);
/* True after job_waits_shutdown. */
bool job_waits_is_shutdown(struct job_waits *waits);

#endif
