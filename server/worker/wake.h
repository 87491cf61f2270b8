/* How a worker learns that the queue may have changed. The queue is the database's rows alone; this
 * is only a hint to look, so one that is lost costs the time until the next look and nothing else.
 *
 * Wakes come from this process now. Several processes over one database will send them through it
 * (LISTEN/NOTIFY) behind the same functions.
 *
 *     uint64_t seen = wake_count(wake);      taken before looking, so that no wake is lost
 *     ... look at the queue: nothing there
 *     wake_wait(wake, seen, timeout_ms);     returns at once when a wake came since
 *
 * Threads: any, at any time until wake_destroy.
 */
#ifndef CHIPSHOT_SERVER_WAKE_H
#define CHIPSHOT_SERVER_WAKE_H

#include <stdint.h>

#include "base/error.h"

struct wake;

int wake_create(struct wake **out, struct error *err);
/* No thread may wait any more. NULL allowed. */
void wake_destroy(struct wake *wake);

/* Wakes that came so far. */
uint64_t wake_count(struct wake *wake);
/* Wakes one who waits: who finds something passes a wake on, for there may be more. */
void wake_send(struct wake *wake);
/* Wakes all who wait. */
void wake_send_all(struct wake *wake);
/* Waits until more than `seen` wakes came or `timeout_ms` have passed. */
void wake_wait(struct wake *wake, uint64_t seen, uint32_t timeout_ms);

#endif
