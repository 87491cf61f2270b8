/* An errand between its two threads, without sockets: the test is the thread that serves them. */
#include "tests/test.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "server/http/errand.h"
#include "tests/api/rig.h"

enum { PATIENCE_S = 30, MAX_STEPS = 1000 };

/* What the library would suspend: nothing is asked of the errand until it is resumed. */
struct line {
    bool suspended; /* of the test's thread */
    sem_t resumed;
};

static void suspend(void *connection)
{
    struct line *line = connection;
    line->suspended = true;
}

static void resume(void *connection)
{
    struct line *line = connection;
    sem_post(&line->resumed);
}

static void wait_until_resumed(struct line *line)
{
    struct timespec until;
    if (!line->suspended)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    if (sem_timedwait(&line->resumed, &until) != 0)
        fail_msg("nobody resumes the connection");
    line->suspended = false;
}

struct place {
    struct exchange_context exchanges;
    struct errand_context errands;
    struct line line;
};

static struct errand *begin_upload(struct place *place, const char *target, size_t size,
                                   struct exchange **out)
{
    struct exchange *exchange = exchange_create(&place->exchanges, target);
    static char length[32];
    snprintf(length, sizeof(length), "%zu", size);
    const struct api_header fields[] = {
        {"Host", "localhost"}, {"Content-Type", "image/png"}, {"Content-Length", length}};
    struct api_header *headers = malloc(sizeof(fields));
    assert_non_null(headers);
    assert_non_null(exchange);
    memcpy(headers, fields, sizeof(fields));
    struct errand *errand = errand_create(&place->errands, exchange, &place->line, -1);
    assert_non_null(errand);
    exchange->begun = true;
    assert_int_equal(exchange_begin(exchange, "POST", "HTTP/1.1", headers, 3, 100), EXCHANGE_READ);
    assert_false(exchange->answered);
    assert_int_equal(errand_admit(errand), EXCHANGE_READ);
    *out = exchange;
    return errand;
}

/* ---- what comes in between two steps of a handler ---- */

/* A handler's step ends where it frees a mutex. What the test does there the thread that serves the
 * sockets could do there as well. */
static struct {
    _Atomic(struct errand *) errand; /* NULL: nothing is to come in */
    unsigned n_steps;                /* until it does */
    const char *byte;
    enum errand_state state;
} intrusion;
static _Thread_local bool is_test_thread;

static void intrude(void)
{
    struct errand *errand = is_test_thread ? NULL : atomic_load(&intrusion.errand);
    if (errand == NULL || intrusion.n_steps-- > 0)
        return;
    atomic_store(&intrusion.errand, NULL);
    assert_int_equal(errand_receive(errand, intrusion.byte, 1), ERRAND_GOES_ON);
    intrusion.state = errand_finish(errand, NULL);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int (*real)(pthread_mutex_t *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    int status = real(mutex);
    intrude();
    return status;
}

/* Behind the errand's turn, which is the only one that its client can have at a time. */
struct marker {
    struct handlers_task task; /* first */
    bool intruded;
    sem_t reached;
};

static void reach(struct handlers_task *task, enum handlers_turn turn)
{
    struct marker *marker = (struct marker *)task;
    assert_int_equal(turn, HANDLERS_RUN);
    marker->intruded = atomic_exchange(&intrusion.errand, NULL) == NULL;
    sem_post(&marker->reached);
}

/* Gives all but the last byte, which comes with the end after so many steps of the handler. Returns
 * false when it has fewer. */
static bool intrude_after(struct place *place, struct errand *errand, const char *bytes,
                          size_t size, unsigned n_steps)
{
    struct error err = {0};
    struct marker marker = {.task.turn = reach};
    const struct client_name name = client_name_of_peer(-1);
    sem_init(&marker.reached, 0, 0);
    assert_int_equal(
        handlers_take_client(place->errands.handlers, &name, &marker.task.client, &err), 0);
    intrusion.n_steps = n_steps;
    intrusion.byte = bytes + size - 1;
    atomic_store(&intrusion.errand, errand);
    assert_int_equal(errand_receive(errand, bytes, size - 1), ERRAND_GOES_ON);
    handlers_continue(place->errands.handlers, HANDLERS_CHEAP, &marker.task);
    while (sem_wait(&marker.reached) != 0)
        continue;
    handlers_give_client(place->errands.handlers, marker.task.client);
    sem_destroy(&marker.reached);
    return marker.intruded;
}

static void finish(struct place *place, struct errand *errand, enum errand_state state)
{
    while (state == ERRAND_GOES_ON || state == ERRAND_NOT_YET) {
        wait_until_resumed(&place->line);
        state = errand_finish(errand, NULL);
    }
    assert_int_equal(state, ERRAND_ANSWERED);
}

/* The last piece and the end come after each step of the handler that keeps the piece before. */
static void every_piece_is_kept_whenever_it_comes(void **state)
{
    struct rig *rig = *state;
    static const struct handlers_limits few[HANDLERS_LANES] = {{2, 8, 8}, {2, 8, 8}};
    struct place place = {.exchanges = {.parts = {.api = rig->api, .store = rig->data->store},
                                        .auth_policy = AUTH_POLICY_NO_AUTH,
                                        .loopback = true}};
    struct handlers *handlers = NULL;
    char target[128];
    size_t size = 0;
    bool intruded = true;
    unsigned n_steps = 0;
    is_test_thread = true;
    rig_fill(rig);
    char *png = rig_png(16, 16, 1, &size);
    assert_int_equal(handlers_create(&handlers, few, &rig->err), 0);
    place.errands =
        (struct errand_context){.handlers = handlers, .suspend = suspend, .resume = resume};
    sem_init(&place.line.resumed, 0, 0);
    snprintf(target, sizeof(target), "/v1/projects/%s/images?name=a.png", rig->project);
    for (; intruded && n_steps < MAX_STEPS; n_steps++) {
        struct exchange *exchange = NULL;
        struct errand *errand = begin_upload(&place, target, size, &exchange);
        intruded = intrude_after(&place, errand, png, size, n_steps);
        if (!intruded) {
            assert_int_equal(errand_receive(errand, png + size - 1, 1), ERRAND_GOES_ON);
            intrusion.state = errand_finish(errand, NULL);
        }
        finish(&place, errand, intrusion.state);
        assert_int_equal(exchange->response.status, n_steps == 0 ? 201 : 200);
        errand_end(errand, true, false);
    }
    assert_in_range(n_steps, 3, MAX_STEPS - 1);
    handlers_stop(handlers);
    handlers_destroy(handlers);
    sem_destroy(&place.line.resumed);
    free(png);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_piece_is_kept_whenever_it_comes, rig_setup,
                                        rig_teardown),
    };
    return test_run(tests);
}
