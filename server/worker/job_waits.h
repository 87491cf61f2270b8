/* Who waits for a job (Prefer: wait), and how they are told. What happened to a job is said by its
 * row and its event rows; this only says that it is time to look.
 *
 * Waiting takes no thread: a wait is a struct of the caller's whose callback is called once, at the
 * next publication for the job, when its time is up, or at the end. One thread keeps the time of
 * all of them.
 *
 * No wake-up is lost: who waits takes job_waits_mark before reading the job's state, and a wait
 * that begins with a mark older than the last publication for its job ends at once.
 */
#ifndef CHIPSHOT_SERVER_JOB_WAITS_H
#define CHIPSHOT_SERVER_JOB_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "db/id.h"

struct job_waits;

/* Starts the thread. */
int job_waits_create(struct job_waits **out, struct error *err);
/* Nobody may wait any more. NULL allowed. */
void job_waits_destroy(struct job_waits *waits);

/* Something about the job changed: ends the waits for it. Any thread. */
void job_waits_publish(struct job_waits *waits, const char *job_id);

enum job_wait_result {
    JOB_WAIT_DONE,      /* of job_waits_for alone */
    JOB_WAIT_PUBLISHED, /* not of job_waits_for */
    JOB_WAIT_TIMEOUT,
    JOB_WAIT_SHUTDOWN,
};

struct job_wait {
    /* Called once, by whichever thread ends the wait, without any lock held: not to block. The
     * struct is the caller's again from then on. */
    void (*ended)(struct job_wait *wait, enum job_wait_result result);
    struct job_wait *next; /* job_waits' own, as all below */
    char job_id[DB_ID_SIZE];
    int64_t deadline_ms;
    enum job_wait_result result;
};

/* How far the publications are. */
uint64_t job_waits_mark(struct job_waits *waits);
/* Waits until `deadline_ms` (clock_now_ms) at most. `wait`, with `ended` set, is borrowed until
 * that is called, which may be within this call. */
void job_waits_begin(struct job_waits *waits, struct job_wait *wait, const char *job_id,
                     int64_t deadline_ms, uint64_t mark);

/* True when there is nothing left to wait for. Called without any lock held. */
typedef bool (*job_wait_predicate)(void *context, const char *job_id);

/* Blocks: calls `done` at once and after each publication for `job_id`, until it returns true,
 * until `timeout_ms` have passed, or until job_waits_shutdown. */
enum job_wait_result job_waits_for(struct job_waits *waits, const char *job_id, uint32_t timeout_ms,
                                   job_wait_predicate done, void *context);

/* Ends all waits; later ones end at once. When it returns nobody is called any more by another
 * thread. Not to be called from `ended`. */
void job_waits_shutdown(struct job_waits *waits);
/* True after job_waits_shutdown. */
bool job_waits_is_shutdown(struct job_waits *waits);

#endif
