/* An errand has one task, which is queued or runs (`busy`), or does not; what it does in its turn
 * is its stage. While busy, the handlers' thread has the exchange, but for the counts of a body's
 * bytes, and the buffers that are in its hands; else the thread that serves the sockets has it. The
 * mutex guards the handing over.
 *
 * Suspending: under the mutex and only while busy, so that the turn that ends it resumes. Whoever
 * resumes does not touch the errand afterwards: it may be gone.
 */
#include "server/http/errand.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    /* Of a body, received and not kept, before the client has to wait. */
    BODY_BACKLOG = 128 * 1024,
    STREAM_PIECE = 64 * 1024,
    LOOK_MS = 50, /* between two looks at a socket whose client may be gone */
    /* How long the library asks again for an answer, in turn with its other connections, before the
     * connection is suspended: most are there by then, and suspending costs as much as making one.
     */
    ASK_AGAIN_NS = 250 * 1000,
};

enum stage {
    STAGE_KEEP,    /* a piece of the body */
    STAGE_FINISH,  /* the answer */
    STAGE_RESUME,  /* the answer, after a wait */
    STAGE_STREAM,  /* a piece of the answer */
    STAGE_DISCARD, /* the end */
};

struct buffer {
    char *data; /* owned */
    size_t capacity;
    size_t size;
    size_t used; /* of a stream's piece: taken by the library */
};

struct errand {
    const struct errand_context *context;
    struct exchange *exchange; /* owned */
    void *connection;
    int fd; /* valid until errand_end */
    struct cancel cancel;
    struct handlers_task task;
    struct job_wait wait;
    int64_t wait_end_ms;
    uint64_t wait_mark;

    atomic_bool ended; /* errand_end was called */
    int64_t looked_ms; /* of the thread that works */
    bool gone;         /* so is this: the client's end is closed */

    pthread_mutex_t mutex; /* guards all below, and the handing over of all above */
    bool busy;
    bool suspended;
    bool finishing;       /* errand_finish was called */
    const char *fault;    /* with this: why the body is not what was sent, or NULL */
    uint64_t finished_ns; /* for the first time */
    bool dropped;
    bool stream_over;   /* no piece comes any more */
    bool stream_broken; /* and what came is not the whole */
    enum stage stage;
    /* Of a body, what comes in and what is being kept; of a stream, what goes out and what is being
     * made. The second is the handlers' while busy. */
    struct buffer in_sight, at_work;
    bool sent, timed_out; /* of errand_end */
};

static enum handlers_lane lane_of(const struct errand *errand)
{
    bool dear = errand->stage == STAGE_FINISH && errand->exchange->plan.cost == API_COST_DEAR;
    return dear ? HANDLERS_DEAR : HANDLERS_CHEAP;
}

/* ---- calling off ---- */

/* Closed in both directions: after a reset, say. Who only sends no more may still be reading. */
static bool client_is_gone(struct errand *errand)
{
    struct pollfd poll_fd = {.fd = errand->fd};
    errand->gone =
        errand->gone || (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLERR)) != 0);
    return errand->gone;
}

static bool is_called_off(void *context)
{
    struct errand *errand = context;
    if (errand->gone || atomic_load(&errand->ended) ||
        handlers_is_stopping(errand->context->handlers))
        return true;
    const int64_t now_ms = clock_coarse_ms();
    if (now_ms - errand->looked_ms < LOOK_MS)
        return false;
    errand->looked_ms = now_ms;
    return client_is_gone(errand);
}

/* ---- the life of an errand ---- */

static void destroy(struct errand *errand)
{
    exchange_destroy(errand->exchange);
    handlers_give_client(errand->context->handlers, errand->task.client);
    free(errand->in_sight.data);
    free(errand->at_work.data);
    pthread_mutex_destroy(&errand->mutex);
    free(errand);
}

static void log_and_destroy(struct errand *errand)
{
    exchange_log(errand->exchange, errand->sent, errand->timed_out);
    destroy(errand);
}

/* The end of a turn: the errand is the sockets' thread's again or, if that one has ended it, gone.
 * Under the mutex, which it frees. */
static void give_back_locked(struct errand *errand)
{
    const struct errand_context *context = errand->context;
    void *connection = errand->connection;
    errand->busy = false;
    bool resume = errand->suspended;
    errand->suspended = false;
    bool ended = atomic_load(&errand->ended);
    pthread_mutex_unlock(&errand->mutex);
    if (ended)
        log_and_destroy(errand);
    else if (resume)
        context->resume(connection);
}

static void give_back(struct errand *errand)
{
    pthread_mutex_lock(&errand->mutex);
    give_back_locked(errand);
}

/* As give_back, but goes on to another stage. */
static void go_on(struct errand *errand, enum stage stage)
{
    pthread_mutex_lock(&errand->mutex);
    errand->stage = stage;
    pthread_mutex_unlock(&errand->mutex);
    handlers_continue(errand->context->handlers, lane_of(errand), &errand->task);
}

/* ---- turns, in the handlers' threads ---- */

static void drop(struct errand *errand)
{
    pthread_mutex_lock(&errand->mutex);
    errand->dropped = true;
    pthread_mutex_unlock(&errand->mutex);
    give_back(errand);
}

/* The body is kept: on to the answer, if it is good and a thread is to be had for it. */
static void turn_to_finish(struct errand *errand)
{
    struct error err = {0};
    pthread_mutex_lock(&errand->mutex);
    errand->stage = STAGE_FINISH;
    const char *fault = errand->fault;
    pthread_mutex_unlock(&errand->mutex);
    if (fault != NULL)
        exchange_refuse_body(errand->exchange, fault);
    else if (handlers_submit(errand->context->handlers, lane_of(errand), &errand->task, &err) == 0)
        return;
    else
        exchange_refuse_busy(errand->exchange, &err);
    give_back(errand);
}

static void swap_buffers(struct errand *errand)
{
    struct buffer other = errand->in_sight;
    errand->in_sight = errand->at_work;
    errand->at_work = other;
}

/* A piece was kept. If there is another one, the next may come in. Whether there is anything to do
 * and, if not, that nobody does it, is one step: what comes in between would be left lying. */
static void go_on_after_piece(struct errand *errand)
{
    bool resume = false;
    pthread_mutex_lock(&errand->mutex);
    errand->at_work.size = 0;
    const bool more = errand->in_sight.size > 0;
    if (!more && !errand->finishing) {
        give_back_locked(errand);
        return;
    }
    if (more) {
        swap_buffers(errand);
        resume = errand->suspended && !errand->finishing;
        errand->suspended = errand->suspended && !resume;
    }
    pthread_mutex_unlock(&errand->mutex);
    if (resume)
        errand->context->resume(errand->connection);
    if (more)
        go_on(errand, STAGE_KEEP);
    else
        turn_to_finish(errand);
}

static void keep_piece(struct errand *errand)
{
    const struct buffer *piece = &errand->at_work;
    if (exchange_keep(errand->exchange, piece->data, piece->size) == EXCHANGE_READ)
        go_on_after_piece(errand);
    else
        give_back(errand);
}

static bool make_room(struct buffer *buffer, size_t size)
{
    if (size <= buffer->capacity)
        return true;
    char *grown = realloc(buffer->data, size);
    if (grown == NULL)
        return false;
    buffer->data = grown;
    buffer->capacity = size;
    return true;
}

/* Fills the buffer as far as it goes. */
static void make_piece(struct errand *errand)
{
    struct buffer *piece = &errand->at_work;
    size_t n = 1;
    int rc = 0;
    piece->size = piece->used = 0;
    bool room = make_room(piece, STREAM_PIECE);
    while (room && rc == 0 && n > 0 && piece->size < piece->capacity) {
        rc = exchange_next_bytes(errand->exchange, piece->data + piece->size,
                                 piece->capacity - piece->size, &n);
        piece->size += rc == 0 ? n : 0;
    }
    pthread_mutex_lock(&errand->mutex);
    errand->stream_broken = !room || rc != 0;
    errand->stream_over = errand->stream_broken || n == 0;
    pthread_mutex_unlock(&errand->mutex);
}

static void begin_wait(struct errand *errand)
{
    pthread_mutex_lock(&errand->mutex);
    errand->stage = STAGE_RESUME;
    pthread_mutex_unlock(&errand->mutex);
    job_waits_begin(errand->context->waits, &errand->wait, errand->exchange->wait.job_id,
                    errand->wait_end_ms, errand->wait_mark);
}

static void end_wait(struct job_wait *wait, enum job_wait_result result)
{
    struct errand *errand = (struct errand *)((char *)wait - offsetof(struct errand, wait));
    if (result == JOB_WAIT_SHUTDOWN)
        errand->wait_end_ms = 0;
    handlers_continue(errand->context->handlers, HANDLERS_CHEAP, &errand->task);
}

/* Before the job is read. */
static void mark_wait(struct errand *errand)
{
    if (errand->context->waits != NULL)
        errand->wait_mark = job_waits_mark(errand->context->waits);
}

static void go_on_with_answer(struct errand *errand, enum api_outcome outcome)
{
    const struct exchange *exchange = errand->exchange;
    if (outcome == API_WAITS) {
        begin_wait(errand);
        return;
    }
    if (exchange->response.stream.next != NULL && strcmp(exchange->request.method, "HEAD") != 0)
        make_piece(errand);
    give_back(errand);
}

static void make_answer(struct errand *errand)
{
    mark_wait(errand);
    enum api_outcome outcome = exchange_finish(errand->exchange);
    if (outcome == API_WAITS)
        errand->wait_end_ms = clock_deadline_ms(errand->exchange->wait.timeout_ms);
    go_on_with_answer(errand, outcome);
}

static void resume_answer(struct errand *errand)
{
    const int64_t left_ms = errand->wait_end_ms - clock_now_ms();
    mark_wait(errand);
    go_on_with_answer(errand,
                      exchange_resume(errand->exchange, left_ms > 0 ? (uint32_t)left_ms : 0));
}

static void take_turn(struct handlers_task *task, enum handlers_turn turn)
{
    struct errand *errand = (struct errand *)((char *)task - offsetof(struct errand, task));
    pthread_mutex_lock(&errand->mutex);
    const enum stage stage = errand->stage;
    pthread_mutex_unlock(&errand->mutex);
    bool unwanted = turn == HANDLERS_DROP || atomic_load(&errand->ended) ||
                    (lane_of(errand) == HANDLERS_DEAR && client_is_gone(errand));
    if (unwanted && stage != STAGE_DISCARD) {
        drop(errand);
        return;
    }
    switch (stage) {
    case STAGE_KEEP:
        keep_piece(errand);
        break;
    case STAGE_FINISH:
        make_answer(errand);
        break;
    case STAGE_RESUME:
        resume_answer(errand);
        break;
    case STAGE_STREAM:
        make_piece(errand);
        give_back(errand);
        break;
    case STAGE_DISCARD:
        log_and_destroy(errand);
        break;
    }
}

/* ---- in the thread that serves the sockets ---- */

struct errand *errand_create(const struct errand_context *context, struct exchange *exchange,
                             void *connection, int fd)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    if (errand == NULL) {
        exchange_destroy(exchange);
        return NULL;
    }
    errand->context = context;
    errand->exchange = exchange;
    errand->connection = connection;
    errand->fd = fd;
    errand->task.turn = take_turn;
    errand->wait.ended = end_wait;
    errand->cancel = (struct cancel){.is_asked = is_called_off, .context = errand};
    exchange->request.cancel = &errand->cancel;
    pthread_mutex_init(&errand->mutex, NULL);
    return errand;
}

enum exchange_next errand_admit(struct errand *errand)
{
    struct exchange *exchange = errand->exchange;
    struct handlers *handlers = errand->context->handlers;
    const char *id = exchange->request.principal.id;
    const bool dear = exchange->plan.cost == API_COST_DEAR;
    struct error err = {0};
    if (exchange->plan.cost == API_COST_INSTANT)
        return EXCHANGE_READ;
    const struct client_name name = strcmp(id, PRINCIPAL_ANONYMOUS) == 0
                                        ? client_name_of_peer(errand->fd)
                                        : client_name_of_key(id);
    int rc = handlers_take_client(handlers, &name, &errand->task.client, &err);
    if (rc == 0)
        rc = handlers_check(handlers, dear ? HANDLERS_DEAR : HANDLERS_CHEAP, errand->task.client,
                            &err);
    if (rc == 0)
        return EXCHANGE_READ;
    exchange_refuse_busy(exchange, &err);
    return exchange->facts.has_body ? EXCHANGE_ANSWER_NOW : EXCHANGE_READ;
}

/* Under the mutex, as all until the next line of dashes: who makes use of what is there, or waits
 * until it is. */
static enum errand_state suspend(struct errand *errand)
{
    if (!errand->suspended) {
        errand->suspended = true;
        errand->context->suspend(errand->connection);
    }
    return ERRAND_NOT_YET;
}

static void begin(struct errand *errand, enum stage stage)
{
    errand->busy = true;
    errand->stage = stage;
}

static bool is_over(const struct errand *errand)
{
    return !errand->busy && (errand->dropped || errand->exchange->answered);
}

static enum errand_state over(const struct errand *errand)
{
    return errand->dropped ? ERRAND_DROPPED : ERRAND_ANSWERED;
}

/* A piece that cannot be taken is refused, once the handlers are through with the exchange. */
static enum errand_state refuse_piece(struct errand *errand, size_t size)
{
    const struct error no_memory = {.code = ERROR_NOMEM, .message = "no memory for the body"};
    if (errand->busy)
        return suspend(errand);
    if (exchange_receive(errand->exchange, size) == EXCHANGE_READ)
        exchange_refuse_busy(errand->exchange, &no_memory);
    return ERRAND_ANSWERED;
}

/* All of a body of known length is there: to be suspended now would lose the request of a client
 * that sends no more, since the library reads once more after it. */
static bool is_last_piece(const struct exchange *exchange)
{
    return !exchange->facts.chunked && exchange->received == exchange->facts.content_length;
}

static enum errand_state take_piece(struct errand *errand, const void *data, size_t size,
                                    bool *start)
{
    struct exchange *exchange = errand->exchange;
    struct buffer *in_sight = &errand->in_sight;
    if (is_over(errand))
        return over(errand);
    if (size > exchange->plan.limit - exchange->received ||
        !make_room(in_sight, in_sight->size + size))
        return refuse_piece(errand, size);
    exchange_receive(exchange, size);
    memcpy(in_sight->data + in_sight->size, data, size);
    in_sight->size += size;
    *start = !errand->busy;
    if (*start) {
        swap_buffers(errand);
        begin(errand, STAGE_KEEP);
    } else if (in_sight->size >= BODY_BACKLOG && !is_last_piece(exchange)) {
        suspend(errand);
    }
    return ERRAND_GOES_ON;
}

static enum errand_state take_bytes(struct errand *errand, char *buffer, size_t size, size_t *n,
                                    bool *start)
{
    struct buffer *out = &errand->in_sight;
    if (out->used == out->size && !errand->busy) {
        out->size = out->used = 0;
        swap_buffers(errand);
    }
    const size_t left = out->size - out->used;
    *n = left < size ? left : size;
    if (*n > 0)
        memcpy(buffer, out->data + out->used, *n);
    out->used += *n;
    errand->exchange->streamed += *n;
    const bool over = errand->stream_over && !errand->busy;
    *start = !errand->busy && !over && !errand->dropped && errand->at_work.size == 0;
    if (*start)
        begin(errand, STAGE_STREAM);
    if (*n > 0)
        return ERRAND_GOES_ON;
    if (errand->dropped || (over && errand->stream_broken))
        return ERRAND_DROPPED;
    return over ? ERRAND_ANSWERED : suspend(errand);
}

/* ---- */

enum errand_state errand_receive(struct errand *errand, const void *data, size_t size)
{
    struct exchange *exchange = errand->exchange;
    bool start = false;
    if (exchange->plan.body != API_BODY_UPLOAD)
        return exchange_receive(exchange, size) == EXCHANGE_READ &&
                       exchange_keep(exchange, data, size) == EXCHANGE_READ
                   ? ERRAND_GOES_ON
                   : ERRAND_ANSWERED;
    pthread_mutex_lock(&errand->mutex);
    enum errand_state state = take_piece(errand, data, size, &start);
    pthread_mutex_unlock(&errand->mutex);
    if (start)
        handlers_continue(errand->context->handlers, HANDLERS_CHEAP, &errand->task);
    return state;
}

enum errand_state errand_refuse(struct errand *errand, const char *fault)
{
    enum errand_state state = ERRAND_ANSWERED;
    pthread_mutex_lock(&errand->mutex);
    if (is_over(errand))
        state = over(errand);
    else if (errand->busy)
        state = suspend(errand);
    else
        exchange_refuse_body(errand->exchange, fault);
    pthread_mutex_unlock(&errand->mutex);
    return state;
}

/* Makes the answer here, where that takes no time, or queues it. */
static enum errand_state start_answer(struct errand *errand, const char *fault)
{
    struct exchange *exchange = errand->exchange;
    struct error err = {0};
    if (fault != NULL) {
        exchange_refuse_body(exchange, fault);
    } else if (exchange->plan.cost == API_COST_INSTANT) {
        exchange_finish(exchange);
    } else {
        pthread_mutex_lock(&errand->mutex);
        begin(errand, STAGE_FINISH);
        pthread_mutex_unlock(&errand->mutex);
        if (handlers_submit(errand->context->handlers, lane_of(errand), &errand->task, &err) == 0)
            return ERRAND_GOES_ON;
        pthread_mutex_lock(&errand->mutex);
        errand->busy = false;
        pthread_mutex_unlock(&errand->mutex);
        exchange_refuse_busy(exchange, &err);
    }
    return ERRAND_ANSWERED;
}

enum errand_state errand_finish(struct errand *errand, const char *fault)
{
    enum errand_state state = ERRAND_GOES_ON;
    pthread_mutex_lock(&errand->mutex);
    const bool start = !errand->finishing && !errand->busy;
    const bool finished = is_over(errand);
    if (finished)
        state = over(errand);
    else if (errand->finishing)
        state =
            clock_now_ns() - errand->finished_ns < ASK_AGAIN_NS ? ERRAND_NOT_YET : suspend(errand);
    else
        errand->finished_ns = clock_now_ns();
    errand->fault = errand->finishing ? errand->fault : fault;
    errand->finishing = true;
    pthread_mutex_unlock(&errand->mutex);
    return start && !finished ? start_answer(errand, fault) : state;
}

enum errand_state errand_read(struct errand *errand, char *buffer, size_t size, size_t *n)
{
    bool start = false;
    pthread_mutex_lock(&errand->mutex);
    enum errand_state state = take_bytes(errand, buffer, size, n, &start);
    pthread_mutex_unlock(&errand->mutex);
    if (start)
        handlers_continue(errand->context->handlers, HANDLERS_CHEAP, &errand->task);
    return state;
}

/* Files are removed and readers of the database closed by the handlers. */
static bool holds_files(const struct exchange *exchange)
{
    return exchange->request.upload != NULL || exchange->response.stream.next != NULL;
}

void errand_end(struct errand *errand, bool sent, bool timed_out)
{
    pthread_mutex_lock(&errand->mutex);
    errand->sent = sent;
    errand->timed_out = timed_out;
    atomic_store(&errand->ended, true);
    const bool busy = errand->busy;
    const bool discard = !busy && holds_files(errand->exchange);
    if (discard)
        begin(errand, STAGE_DISCARD);
    pthread_mutex_unlock(&errand->mutex);
    if (discard)
        handlers_continue(errand->context->handlers, HANDLERS_CHEAP, &errand->task);
    else if (!busy)
        log_and_destroy(errand);
}
