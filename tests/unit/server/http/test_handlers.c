/* What handlers promise is shown by who can run while others hold their threads, never by times. */
#include "tests/test.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "server/http/handlers.h"

enum { PATIENCE_S = 60, ORDER_MAX = 32 };

/* What the tasks of a test write down, in the order in which they have their turns. */
struct record {
    pthread_mutex_t mutex;
    char order[ORDER_MAX + 1];
    size_t n;
    struct handlers *handlers;
};

struct trial {
    struct handlers_task task; /* first */
    struct record *record;
    char letter;
    sem_t begun, go, ended;
    bool waits; /* for `go`, before it ends */
    unsigned n_repeats;
    enum handlers_turn turn;
};

static void wait_for(sem_t *semaphore)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    if (sem_timedwait(semaphore, &until) != 0)
        fail_msg("a task did not get its turn");
}

static void take_turn(struct handlers_task *task, enum handlers_turn turn)
{
    struct trial *trial = (struct trial *)task;
    struct record *record = trial->record;
    trial->turn = turn;
    if (turn == HANDLERS_RUN) {
        pthread_mutex_lock(&record->mutex);
        assert_true(record->n < ORDER_MAX);
        record->order[record->n++] = trial->letter;
        pthread_mutex_unlock(&record->mutex);
    }
    sem_post(&trial->begun);
    if (turn == HANDLERS_RUN && trial->waits)
        wait_for(&trial->go);
    if (turn == HANDLERS_RUN && trial->n_repeats > 0) {
        trial->n_repeats--;
        handlers_continue(record->handlers, HANDLERS_CHEAP, task);
        return;
    }
    sem_post(&trial->ended);
}

static struct trial *new_trial(struct record *record, struct handlers_client *client, char letter)
{
    struct trial *trial = calloc(1, sizeof(*trial));
    assert_non_null(trial);
    trial->task.client = client;
    trial->task.turn = take_turn;
    trial->record = record;
    trial->letter = letter;
    sem_init(&trial->begun, 0, 0);
    sem_init(&trial->go, 0, 0);
    sem_init(&trial->ended, 0, 0);
    return trial;
}

static void free_trial(struct trial *trial)
{
    sem_destroy(&trial->begun);
    sem_destroy(&trial->go);
    sem_destroy(&trial->ended);
    free(trial);
}

static void submit(struct record *record, enum handlers_lane lane, struct trial *trial)
{
    struct error err = {0};
    assert_int_equal(handlers_submit(record->handlers, lane, &trial->task, &err), 0);
}

/* Queues a task that holds its thread, and waits until it does. */
static struct trial *hold_thread(struct record *record, enum handlers_lane lane,
                                 struct handlers_client *client)
{
    struct trial *trial = new_trial(record, client, '-');
    trial->waits = true;
    submit(record, lane, trial);
    wait_for(&trial->begun);
    return trial;
}

static void let_go(struct trial *trial)
{
    sem_post(&trial->go);
    wait_for(&trial->ended);
    free_trial(trial);
}

enum { N_CLIENTS = 3 };

struct fixture {
    struct record record;
    struct handlers *handlers;
    struct handlers_client *clients[N_CLIENTS];
};

static void open_fixture(struct fixture *f, struct handlers_limits cheap,
                         struct handlers_limits dear)
{
    static const char *const ids[] = {"key_a", "key_b", "key_c"};
    const struct handlers_limits limits[] = {[HANDLERS_CHEAP] = cheap, [HANDLERS_DEAR] = dear};
    *f = (struct fixture){.record = {.mutex = PTHREAD_MUTEX_INITIALIZER}};
    assert_int_equal(handlers_create(&f->handlers, limits, NULL), 0);
    f->record.handlers = f->handlers;
    for (size_t i = 0; i < N_CLIENTS; i++) {
        const struct client_name name = client_name_of_key(ids[i]);
        assert_int_equal(handlers_take_client(f->handlers, &name, &f->clients[i], NULL), 0);
    }
}

static void stop(struct fixture *f)
{
    handlers_stop(f->handlers);
    for (size_t i = 0; i < N_CLIENTS; i++)
        handlers_give_client(f->handlers, f->clients[i]);
    handlers_destroy(f->handlers);
}

static const struct handlers_limits two = {2, 100, 100};
static const struct handlers_limits three = {3, 100, 100};

static void dear_tasks_take_no_thread_of_the_cheap(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, two, two);
    struct trial *held[2];
    for (int i = 0; i < 2; i++)
        held[i] = hold_thread(&f.record, HANDLERS_DEAR, f.clients[i]);
    struct trial *waiting = new_trial(&f.record, f.clients[0], 'd');
    submit(&f.record, HANDLERS_DEAR, waiting);
    struct trial *cheap = new_trial(&f.record, f.clients[0], 'c');
    submit(&f.record, HANDLERS_CHEAP, cheap);
    wait_for(&cheap->ended);
    free_trial(cheap);
    for (int i = 0; i < 2; i++)
        let_go(held[i]);
    wait_for(&waiting->ended);
    free_trial(waiting);
    assert_string_equal(f.record.order, "--cd");
    stop(&f);
}

static void a_client_never_has_all_threads(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, two, three);
    struct trial *held[2];
    for (int i = 0; i < 2; i++)
        held[i] = hold_thread(&f.record, HANDLERS_DEAR, f.clients[0]);
    struct trial *own = new_trial(&f.record, f.clients[0], 'a');
    struct trial *other = new_trial(&f.record, f.clients[1], 'b');
    submit(&f.record, HANDLERS_DEAR, own);
    submit(&f.record, HANDLERS_DEAR, other);
    wait_for(&other->ended);
    for (int i = 0; i < 2; i++)
        let_go(held[i]);
    wait_for(&own->ended);
    free_trial(own);
    free_trial(other);
    assert_string_equal(f.record.order, "--ba");
    stop(&f);
}

/* With one thread to be had, the order is that of the turns. */
static void clients_take_turns(void **state)
{
    (void)state;
    static const struct {
        int client;
        char letter;
    } queued[] = {{0, 'a'}, {0, 'a'}, {0, 'a'}, {1, 'b'}, {2, 'c'}, {1, 'b'}};
    enum { N = sizeof(queued) / sizeof(queued[0]) };
    struct fixture f;
    struct trial *trials[N];
    open_fixture(&f, two, two);
    const struct client_name stranger = client_name_of_key("key_stranger");
    struct handlers_client *client = NULL;
    assert_int_equal(handlers_take_client(f.handlers, &stranger, &client, NULL), 0);
    struct trial *always = hold_thread(&f.record, HANDLERS_CHEAP, client);
    struct trial *first = hold_thread(&f.record, HANDLERS_CHEAP, f.clients[2]);
    for (size_t i = 0; i < N; i++) {
        trials[i] = new_trial(&f.record, f.clients[queued[i].client], queued[i].letter);
        submit(&f.record, HANDLERS_CHEAP, trials[i]);
    }
    let_go(first);
    for (size_t i = 0; i < N; i++) {
        wait_for(&trials[i]->ended);
        free_trial(trials[i]);
    }
    /* The third client comes into the ring behind the others, once its thread is free. */
    assert_string_equal(f.record.order, "--abcaba");
    let_go(always);
    handlers_give_client(f.handlers, client);
    stop(&f);
}

static void assert_busy(const struct fixture *f, enum handlers_lane lane, struct trial *trial,
                        const char *what)
{
    struct error err = {0};
    assert_int_equal(handlers_check(f->handlers, lane, trial->task.client, &err), ERROR_BUSY);
    assert_non_null(strstr(err.message, what));
    err = (struct error){0};
    assert_int_equal(handlers_submit(f->handlers, lane, &trial->task, &err), ERROR_BUSY);
    assert_non_null(strstr(err.message, what));
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    static const struct handlers_limits small = {2, 3, 2};
    struct fixture f;
    open_fixture(&f, small, small);
    struct trial *held[2], *queued[3];
    for (int i = 0; i < 2; i++)
        held[i] = hold_thread(&f.record, HANDLERS_CHEAP, f.clients[i]);
    for (int i = 0; i < 3; i++)
        queued[i] = new_trial(&f.record, f.clients[i / 2], 'q');
    struct trial *own = new_trial(&f.record, f.clients[0], 'x');
    struct trial *more = new_trial(&f.record, f.clients[2], 'y');
    submit(&f.record, HANDLERS_CHEAP, queued[0]);
    submit(&f.record, HANDLERS_CHEAP, queued[1]);
    assert_busy(&f, HANDLERS_CHEAP, own, "2 requests of this client");
    submit(&f.record, HANDLERS_CHEAP, queued[2]);
    assert_busy(&f, HANDLERS_CHEAP, more, "3 requests of all clients");
    /* The other lane has room, and what was let in before goes on. */
    assert_int_equal(handlers_check(f.handlers, HANDLERS_DEAR, f.clients[0], NULL), 0);
    handlers_continue(f.handlers, HANDLERS_CHEAP, &own->task);
    for (int i = 0; i < 2; i++)
        let_go(held[i]);
    for (int i = 0; i < 3; i++)
        wait_for(&queued[i]->ended);
    wait_for(&own->ended);
    assert_int_equal(handlers_check(f.handlers, HANDLERS_CHEAP, f.clients[0], NULL), 0);
    for (int i = 0; i < 3; i++)
        free_trial(queued[i]);
    free_trial(own);
    free_trial(more);
    stop(&f);
}

static void a_task_goes_on_behind_those_of_others(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, two, two);
    struct trial *always = hold_thread(&f.record, HANDLERS_CHEAP, f.clients[2]);
    struct trial *long_one = new_trial(&f.record, f.clients[0], 'l');
    struct trial *other = new_trial(&f.record, f.clients[1], 'o');
    long_one->n_repeats = 3;
    long_one->waits = true;
    submit(&f.record, HANDLERS_CHEAP, long_one);
    wait_for(&long_one->begun);
    submit(&f.record, HANDLERS_CHEAP, other);
    for (int i = 0; i < 4; i++)
        sem_post(&long_one->go);
    wait_for(&long_one->ended);
    wait_for(&other->ended);
    assert_string_equal(f.record.order, "-lolll");
    free_trial(long_one);
    free_trial(other);
    let_go(always);
    stop(&f);
}

static void *stop_handlers(void *argument)
{
    handlers_stop(argument);
    return NULL;
}

static void the_end_drops_what_waits(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, two, two);
    struct trial *held[2], *queued[2];
    pthread_t stopper;
    for (int i = 0; i < 2; i++)
        held[i] = hold_thread(&f.record, HANDLERS_DEAR, f.clients[i]);
    for (int i = 0; i < 2; i++) {
        queued[i] = new_trial(&f.record, f.clients[i], 'q');
        submit(&f.record, HANDLERS_DEAR, queued[i]);
    }
    assert_false(handlers_is_stopping(f.handlers));
    assert_int_equal(pthread_create(&stopper, NULL, stop_handlers, f.handlers), 0);
    /* What runs can see it, and is waited for. */
    while (!handlers_is_stopping(f.handlers))
        sched_yield();
    for (int i = 0; i < 2; i++)
        let_go(held[i]);
    pthread_join(stopper, NULL);
    for (int i = 0; i < 2; i++) {
        wait_for(&queued[i]->ended);
        assert_int_equal(queued[i]->turn, HANDLERS_DROP);
    }
    assert_string_equal(f.record.order, "--");
    /* And so is what comes later, at once. */
    submit(&f.record, HANDLERS_CHEAP, queued[0]);
    assert_int_equal(sem_trywait(&queued[0]->ended), 0);
    handlers_continue(f.handlers, HANDLERS_CHEAP, &queued[1]->task);
    assert_int_equal(sem_trywait(&queued[1]->ended), 0);
    for (int i = 0; i < 2; i++)
        free_trial(queued[i]);
    for (size_t i = 0; i < N_CLIENTS; i++)
        handlers_give_client(f.handlers, f.clients[i]);
    handlers_destroy(f.handlers);
}

static void a_name_is_one_client(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, two, two);
    const struct client_name name = client_name_of_key("key_a");
    struct handlers_client *again = NULL;
    assert_int_equal(handlers_take_client(f.handlers, &name, &again, NULL), 0);
    assert_ptr_equal(again, f.clients[0]);
    assert_ptr_not_equal(f.clients[0], f.clients[1]);
    handlers_give_client(f.handlers, again);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dear_tasks_take_no_thread_of_the_cheap),
        cmocka_unit_test(a_client_never_has_all_threads),
        cmocka_unit_test(clients_take_turns),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(a_task_goes_on_behind_those_of_others),
        cmocka_unit_test(the_end_drops_what_waits),
        cmocka_unit_test(a_name_is_one_client),
    };
    return test_run(tests);
}
