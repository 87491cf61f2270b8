/* The threads in which requests are handled, so that the one that serves the sockets never waits.
 *
 * Two lanes, each with threads of its own: what is dear never holds up what is cheap. Within a lane
 * each client has a queue of its own; the clients take turns, and none ever has all threads of a
 * lane. A queue is bounded, for a client and for all of them together: who goes beyond is told so
 * at once. What a task continues with has no bound but that a task is queued once.
 *
 * All functions: any thread, without a lock that a task's turn takes.
 */
#ifndef CHIPSHOT_SERVER_HANDLERS_H
#define CHIPSHOT_SERVER_HANDLERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "server/http/client_name.h"

struct handlers;
struct handlers_client;

enum handlers_lane { HANDLERS_CHEAP, HANDLERS_DEAR };
enum { HANDLERS_LANES = 2 };

struct handlers_limits {
    uint32_t n_threads; /* at least 2; a client has at most one less */
    uint32_t max_queued;
    uint32_t max_queued_per_client;
};

/* Of each lane. */
extern const struct handlers_limits handlers_limits_default[HANDLERS_LANES];

/* Starts the threads. */
int handlers_create(struct handlers **out, const struct handlers_limits limits[HANDLERS_LANES],
                    struct error *err);
/* Drops what is queued and waits for what runs; from then on every task is dropped at once. To be
 * called once. */
void handlers_stop(struct handlers *handlers);
/* True from the beginning of handlers_stop: what takes long is to end. */
bool handlers_is_stopping(const struct handlers *handlers);
/* After handlers_stop, when all clients were given back. NULL allowed. */
void handlers_destroy(struct handlers *handlers);

/* A client's queues, shared by all who ask for the name. Not with tasks of it queued or running is
 * the last one given back. ERROR_NOMEM. */
int handlers_take_client(struct handlers *handlers, const struct client_name *name,
                         struct handlers_client **out, struct error *err);
void handlers_give_client(struct handlers *handlers, struct handlers_client *client);

enum handlers_turn {
    HANDLERS_RUN,
    HANDLERS_DROP, /* the threads are being stopped: end without the work, and soon */
};

/* Part of what it works on. In its turn it may be queued again, and it may be freed: nobody looks
 * at it afterwards. */
struct handlers_task {
    struct handlers_client *client; /* borrowed */
    void (*turn)(struct handlers_task *task, enum handlers_turn turn);
    struct handlers_task *next; /* handlers' own */
};

/* Queues a task. ERROR_BUSY: the lane or the client's part of it is full, and nothing happened. A
 * task that is dropped at once has its turn within the call. */
int handlers_submit(struct handlers *handlers, enum handlers_lane lane, struct handlers_task *task,
                    struct error *err);
/* Queues a task whose work was let in before: it is not counted. */
void handlers_continue(struct handlers *handlers, enum handlers_lane lane,
                       struct handlers_task *task);
/* What handlers_submit would say now, for work that needs a long time to get ready. */
int handlers_check(struct handlers *handlers, enum handlers_lane lane,
                   const struct handlers_client *client, struct error *err);

#endif
