/* Job events: wakes the request threads that wait for a job (Prefer: wait).
 *
 * No wake-up is lost: a waiter is registered before its predicate reads the job's state, so a
 * change published between that reading and the wait is remembered. Waiting costs no polling.
 */
#ifndef CHIPSHOT_SERVER_EVENTS_H
#define CHIPSHOT_SERVER_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct events;

int events_create(struct events **out, struct error *err);
/* No thread may wait any more. NULL allowed. */
void events_destroy(struct events *events);

/* Something about the job changed: wakes who waits for it. Any thread. */
void events_publish(struct events *events, const char *job_id);

/* True when there is nothing left to wait for. Called without any lock held. */
typedef bool (*events_predicate)(void *context, const char *job_id);

enum events_result { EVENTS_DONE, EVENTS_TIMEOUT, EVENTS_SHUTDOWN };

/* Calls `done` at once and after each publication for `job_id`, until it returns true, until
 * `timeout_ms` have passed, or until events_shutdown. */
enum events_result events_wait(struct events *events, const char *job_id, uint32_t timeout_ms,
                               events_predicate done, void *context);

/* Wakes all waiters; later waits return at once with EVENTS_SHUTDOWN (or EVENTS_DONE). */
void events_shutdown(struct events *events);
/* True after events_shutdown. */
bool events_is_shutdown(struct events *events);

#endif
