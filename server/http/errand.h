/* What of an exchange may block: keeping an upload's pieces, making the answer, making the pieces
 * of a stream, throwing the rest away. All of it is done in the handlers' threads, one thing after
 * the other; the thread that serves the sockets only copies. Where that one has nothing to do until
 * a handler is through, the connection is suspended.
 *
 * But for what the context's `resume` has to allow for, all functions are called by the thread that
 * serves the sockets. While errand_receive, errand_finish or errand_read has not said otherwise,
 * the exchange belongs to the errand.
 */
#ifndef CHIPSHOT_SERVER_ERRAND_H
#define CHIPSHOT_SERVER_ERRAND_H

#include <stddef.h>

#include "server/http/exchange.h"
#include "server/http/handlers.h"
#include "server/worker/job_waits.h"

struct errand;

/* What all errands of a server share; immutable. */
struct errand_context {
    struct handlers *handlers;
    struct job_waits *waits; /* NULL: no request waits */
    /* Takes a connection out of the library's sight until it is resumed, after which the library
     * calls again for the same. Suspending is done by the thread that serves the sockets, resuming
     * by any. */
    void (*suspend)(void *connection);
    void (*resume)(void *connection);
};

/* Takes the exchange in any case; NULL on allocation failure. `connection` is handed to suspend and
 * resume, `fd` is its socket. */
struct errand *errand_create(const struct errand_context *context, struct exchange *exchange,
                             void *connection, int fd);

/* Whose request it is: to be called once, after the head. An answer (EXCHANGE_ANSWER_NOW) when too
 * many of this client's wait already. */
enum exchange_next errand_admit(struct errand *errand);

enum errand_state {
    ERRAND_GOES_ON,  /* taken: give what comes next */
    ERRAND_NOT_YET,  /* neither taken nor given: the library is to ask again, once resumed */
    ERRAND_ANSWERED, /* the exchange's answer is there */
    ERRAND_DROPPED,  /* there will be none: the connection is to be closed */
};

/* A piece of the body, copied; the connection may be suspended until there is room for more. */
enum errand_state errand_receive(struct errand *errand, const void *data, size_t size);
/* Instead of errand_receive: the body is not what was sent (wire.h). ERRAND_NOT_YET: as there. */
enum errand_state errand_refuse(struct errand *errand, const char *fault);
/* The body is complete, or at its end it turns out that it is not what was sent (`fault`, which is
 * static; else NULL; counts the first time). ERRAND_GOES_ON, the first time alone: the answer is
 * being made; the library is to ask again. */
enum errand_state errand_finish(struct errand *errand, const char *fault);
/* The next bytes of a stream: *n of them, 0 for the end with ERRAND_ANSWERED. ERRAND_DROPPED: it
 * cannot go on. */
enum errand_state errand_read(struct errand *errand, char *buffer, size_t size, size_t *n);

/* The request is over, sent or not: what still runs is told to stop; then the log line is written
 * and errand and exchange are destroyed, perhaps in another thread. */
void errand_end(struct errand *errand, bool sent, bool timed_out);

#endif
