/* The pool's contract (engine/pool.h): each accepted task runs once or is dropped by a cancel,
 * lanes share the workers round-robin, submitting never blocks. */
#include "tests/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/pool.h"

/* A gate that holds workers inside a task until the test opens it. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t n_inside;
    bool open;
};

static void gate_init(struct gate *gate)
{
    *gate = (struct gate){0};
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

static void gate_clear(struct gate *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
}

static void pass_gate(void *argument, uint32_t worker)
{
    (void)worker;
    struct gate *gate = argument;
    pthread_mutex_lock(&gate->mutex);
    gate->n_inside++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_wait_inside(struct gate *gate, uint32_t n)
{
    pthread_mutex_lock(&gate->mutex);
    while (gate->n_inside < n)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

static void count(void *argument, uint32_t worker)
{
    (void)worker;
    atomic_fetch_add((atomic_uint *)argument, 1);
}

static struct pool *make_pool(uint32_t n_workers, uint32_t lane_limit)
{
    struct error err = {0};
    struct pool *pool = NULL;
    assert_int_equal(pool_create(&pool, n_workers, lane_limit, &err), 0);
    return pool;
}

static struct pool_lane *make_lane(struct pool *pool)
{
    struct error err = {0};
    struct pool_lane *lane = NULL;
    assert_int_equal(pool_lane_create(&lane, pool, &err), 0);
    return lane;
}

static void every_task_runs_once(void **state)
{
    (void)state;
    struct pool *pool = make_pool(4, 16);
    struct pool_lane *lane = make_lane(pool);
    atomic_uint n = 0;
    for (int i = 0; i < 10000; i++) {
        pool_lane_wait_below(lane, 16);
        assert_int_equal(pool_submit(lane, count, &n, NULL), 0);
    }
    pool_lane_wait(lane);
    assert_int_equal(n, 10000);
    assert_int_equal(pool_n_waiting(pool), 0);
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

static void full_lane_answers_busy(void **state)
{
    (void)state;
    struct pool *pool = make_pool(1, 2);
    struct pool_lane *lane = make_lane(pool);
    struct gate gate;
    gate_init(&gate);
    atomic_uint n = 0;
    struct error err = {0};
    assert_int_equal(pool_submit(lane, pass_gate, &gate, &err), 0);
    gate_wait_inside(&gate, 1);
    assert_int_equal(pool_submit(lane, count, &n, &err), 0);
    assert_int_equal(pool_submit(lane, count, &n, &err), 0);
    assert_int_equal(pool_submit(lane, count, &n, &err), ERROR_BUSY);
    assert_non_null(strstr(err.message, "2"));
    gate_open(&gate);
    pool_lane_wait(lane);
    assert_int_equal(n, 2);
    pool_lane_destroy(lane);
    pool_destroy(pool);
    gate_clear(&gate);
}

struct order {
    pthread_mutex_t mutex;
    char text[16];
    uint32_t n;
};

struct mark {
    struct order *order;
    char letter;
};

static void write_mark(void *argument, uint32_t worker)
{
    (void)worker;
    struct mark *mark = argument;
    pthread_mutex_lock(&mark->order->mutex);
    mark->order->text[mark->order->n++] = mark->letter;
    pthread_mutex_unlock(&mark->order->mutex);
}

static void lanes_take_turns(void **state)
{
    (void)state;
    struct pool *pool = make_pool(1, 16);
    struct pool_lane *gate_lane = make_lane(pool);
    struct pool_lane *large = make_lane(pool);
    struct pool_lane *small = make_lane(pool);
    struct gate gate;
    gate_init(&gate);
    struct order order = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct mark a = {&order, 'a'}, b = {&order, 'b'};
    assert_int_equal(pool_submit(gate_lane, pass_gate, &gate, NULL), 0);
    gate_wait_inside(&gate, 1);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pool_submit(large, write_mark, &a, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pool_submit(small, write_mark, &b, NULL), 0);
    gate_open(&gate);
    pool_lane_wait(large);
    pool_lane_wait(small);
    /* The late, small lane is served alternately, not after the six. */
    assert_string_equal(order.text, "ababaaaa");
    pool_lane_destroy(gate_lane);
    pool_lane_destroy(large);
    pool_lane_destroy(small);
    pool_destroy(pool);
    gate_clear(&gate);
}

static void cancel_drops_waiting_tasks_and_refuses_new_ones(void **state)
{
    (void)state;
    struct pool *pool = make_pool(1, 16);
    struct pool_lane *lane = make_lane(pool);
    struct gate gate;
    gate_init(&gate);
    atomic_uint n = 0;
    assert_int_equal(pool_submit(lane, pass_gate, &gate, NULL), 0);
    gate_wait_inside(&gate, 1);
    assert_int_equal(pool_submit(lane, count, &n, NULL), 0);
    pool_lane_cancel(lane);
    assert_int_equal(pool_n_waiting(pool), 0);
    assert_int_equal(pool_submit(lane, count, &n, NULL), ERROR_CANCELLED);
    gate_open(&gate);
    pool_lane_wait(lane);
    assert_int_equal(n, 0);
    pool_lane_destroy(lane);
    pool_destroy(pool);
    gate_clear(&gate);
}

struct submitter {
    struct pool *pool;
    atomic_uint *n;
};

static void *submit_many(void *argument)
{
    struct submitter *submitter = argument;
    struct pool_lane *lane = NULL;
    if (pool_lane_create(&lane, submitter->pool, NULL) < 0)
        return NULL;
    for (int i = 0; i < 500; i++) {
        pool_lane_wait_below(lane, 8);
        pool_submit(lane, count, submitter->n, NULL);
    }
    pool_lane_destroy(lane);
    return NULL;
}

static void many_lanes_at_once(void **state)
{
    (void)state;
    struct pool *pool = make_pool(3, 8);
    atomic_uint n = 0;
    struct submitter submitter = {pool, &n};
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &submitter), 0);
    for (size_t i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n, 3000);
    pool_destroy(pool);
}

static void thread_count_is_checked(void **state)
{
    (void)state;
    struct pool *pool = NULL;
    struct error err = {0};
    assert_int_equal(pool_create(&pool, 0, 8, &err), ERROR_INVALID);
    assert_int_equal(pool_create(&pool, 257, 8, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "257"));
    assert_null(pool);
}

static void note_policy(void *argument, uint32_t worker)
{
    (void)worker;
    *(int *)argument = sched_getscheduler(0);
}

static void workers_can_give_way(void **state)
{
    (void)state;
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    int policies[8] = {0};
    assert_int_equal(pool_create(&pool, 2, 8, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    assert_int_equal(pool_submit(lane, note_policy, &policies[0], NULL), 0);
    pool_lane_wait(lane);
    assert_int_equal(policies[0], SCHED_OTHER);
    assert_int_equal(pool_make_background(pool, NULL), 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pool_submit(lane, note_policy, &policies[i], NULL), 0);
    pool_lane_wait(lane);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(policies[i], SCHED_IDLE);
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

enum { PARTS = 1000, SLOTS_MAX = 5 };

struct shared_work {
    atomic_uint n_runs[PARTS];
    atomic_uint n_in_slot[SLOTS_MAX];
    atomic_bool overlapped;
};

static void run_part(void *context, uint32_t part, uint32_t slot)
{
    struct shared_work *work = context;
    if (atomic_fetch_add(&work->n_in_slot[slot], 1) != 0)
        atomic_store(&work->overlapped, true);
    atomic_fetch_add(&work->n_runs[part], 1);
    atomic_fetch_sub(&work->n_in_slot[slot], 1);
}

static void check_all_ran_once(const struct shared_work *work, uint32_t n_parts)
{
    for (uint32_t i = 0; i < PARTS; i++)
        assert_int_equal(atomic_load(&work->n_runs[i]), i < n_parts ? 1 : 0);
    assert_false(atomic_load(&work->overlapped));
}

static void shared_parts_run_once_in_slots_of_their_own(void **state)
{
    (void)state;
    struct pool *pool = make_pool(SLOTS_MAX - 1, 3); /* a lane takes fewer helpers than workers */
    struct pool_lane *lane = make_lane(pool);
    assert_int_equal(pool_n_slots(lane), SLOTS_MAX);
    assert_int_equal(pool_n_slots(NULL), 1);
    const uint32_t n_parts[] = {0, 1, 2, 7, PARTS};
    for (size_t i = 0; i < sizeof(n_parts) / sizeof(n_parts[0]); i++) {
        struct shared_work helped = {0}, alone = {0};
        pool_share(lane, run_part, &helped, n_parts[i]);
        pool_share(NULL, run_part, &alone, n_parts[i]);
        check_all_ran_once(&helped, n_parts[i]);
        check_all_ran_once(&alone, n_parts[i]);
    }
    assert_int_equal(pool_n_waiting(pool), 0);
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

/* Workers that are busy with another job, or with this one, are not waited for. */
static void shared_work_needs_no_worker(void **state)
{
    (void)state;
    struct pool *pool = make_pool(2, 8);
    struct pool_lane *lane = make_lane(pool), *other = make_lane(pool);
    struct gate gate;
    struct shared_work work = {0};
    atomic_uint n_counted = 0;
    gate_init(&gate);
    assert_int_equal(pool_submit(other, pass_gate, &gate, NULL), 0);
    assert_int_equal(pool_submit(lane, pass_gate, &gate, NULL), 0);
    gate_wait_inside(&gate, 2);
    assert_int_equal(pool_submit(lane, count, &n_counted, NULL), 0);
    pool_share(lane, run_part, &work, PARTS);
    check_all_ran_once(&work, PARTS);
    assert_int_equal(pool_n_waiting(pool), 1); /* the lane's own task is left as it was */
    gate_open(&gate);
    pool_lane_wait(lane);
    assert_int_equal(atomic_load(&n_counted), 1);
    pool_lane_destroy(lane);
    pool_lane_destroy(other);
    pool_destroy(pool);
    gate_clear(&gate);
}

static void the_default_is_a_worker_for_each_processor_allowed(void **state)
{
    (void)state;
    cpu_set_t allowed, one;
    assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    const int n = CPU_COUNT(&allowed);
    assert_int_equal(pool_n_workers_default(), n > POOL_WORKERS_MAX ? POOL_WORKERS_MAX : n);
    int first = 0;
    while (!CPU_ISSET(first, &allowed))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(pool_n_workers_default(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(full_lane_answers_busy),
        cmocka_unit_test(lanes_take_turns),
        cmocka_unit_test(cancel_drops_waiting_tasks_and_refuses_new_ones),
        cmocka_unit_test(many_lanes_at_once),
        cmocka_unit_test(thread_count_is_checked),
        cmocka_unit_test(the_default_is_a_worker_for_each_processor_allowed),
        cmocka_unit_test(workers_can_give_way),
        cmocka_unit_test(shared_parts_run_once_in_slots_of_their_own),
        cmocka_unit_test(shared_work_needs_no_worker),
    };
    return test_run(tests);
}
