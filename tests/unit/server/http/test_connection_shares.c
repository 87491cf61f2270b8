#include "tests/test.h"

#include <netinet/in.h>
#include <stdbool.h>

#include "server/http/connection_shares.h"

static struct client_name name_v4(uint32_t address)
{
    const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(address)}};
    return client_name_of_address((const struct sockaddr *)&v4);
}

static struct shares *create(uint32_t max, uint32_t max_per_client)
{
    struct shares *shares = NULL;
    assert_int_equal(shares_create(&shares, max, max_per_client, NULL), 0);
    return shares;
}

static struct share_member *enter(struct shares *shares, struct share_member *member,
                                  uint32_t address)
{
    const struct client_name name = name_v4(address);
    return shares_enter(shares, member, &name, SHARE_RESERVE_NONE);
}

static void enter_busy(struct shares *shares, struct share_member *member, uint32_t address)
{
    assert_null(enter(shares, member, address));
    shares_wait(shares, member, SHARE_BUSY);
}

static struct share_member *show(struct shares *shares, struct share_member *member,
                                 const char *key, enum share_place expected)
{
    enum share_place place = SHARE_ALL_FULL;
    const struct client_name name = client_name_of_key(key != NULL ? key : "");
    struct share_member *out = shares_show(shares, member, key != NULL ? &name : NULL, &place);
    assert_int_equal(place, expected);
    return out;
}

static void leave_all(struct shares *shares, struct share_member *members, size_t n)
{
    for (size_t i = 0; i < n; i++)
        shares_leave(shares, &members[i]);
    shares_destroy(shares);
}

static void who_waits_the_longest_goes_first(void **state)
{
    (void)state;
    struct shares *shares = create(6, 6);
    struct share_member m[12];
    for (int i = 0; i < 6; i++)
        assert_null(enter(shares, &m[i], 1));
    shares_wait(shares, &m[0], SHARE_BUSY);
    shares_wait(shares, &m[1], SHARE_WAIT_HEAD);
    shares_wait(shares, &m[4], SHARE_WAIT_IDLE);
    shares_wait(shares, &m[3], SHARE_WAIT_IDLE);
    /* Idle ones, new ones, those with half a head, each by age; then nobody. */
    static const int order[] = {4, 3, 2, 5, 1};
    for (int i = 0; i < 5; i++) {
        assert_ptr_equal(enter(shares, &m[6 + i], 1), &m[order[i]]);
        show(shares, &m[6 + i], NULL, SHARE_HELD);
        shares_wait(shares, &m[6 + i], SHARE_BUSY);
    }
    assert_null(enter(shares, &m[11], 1));
    show(shares, &m[11], NULL, SHARE_CLIENT_FULL);
    leave_all(shares, m, 12);
}

static void who_has_the_most_makes_room(void **state)
{
    (void)state;
    struct shares *shares = create(6, 6);
    struct share_member m[9];
    for (uint32_t i = 0; i < 6; i++)
        assert_null(enter(shares, &m[i], i < 1 ? 1 : i < 3 ? 2 : 3));
    shares_wait(shares, &m[3], SHARE_BUSY);
    assert_ptr_equal(enter(shares, &m[6], 1), &m[4]); /* 2, 2, 2 now */
    assert_ptr_equal(enter(shares, &m[7], 1), &m[1]); /* who has had two for the longest */
    assert_ptr_equal(enter(shares, &m[8], 2), &m[0]); /* 3, 1, 2 before */
    leave_all(shares, m, 9);
}

static void a_client_with_its_share_makes_room_for_itself(void **state)
{
    (void)state;
    struct shares *shares = create(8, 2);
    struct share_member m[7];
    enter_busy(shares, &m[0], 1);
    assert_null(enter(shares, &m[1], 1));
    assert_ptr_equal(enter(shares, &m[2], 1), &m[1]);
    shares_wait(shares, &m[2], SHARE_BUSY);
    assert_null(enter(shares, &m[3], 1));
    show(shares, &m[3], NULL, SHARE_CLIENT_FULL);
    enter_busy(shares, &m[4], 2);
    show(shares, &m[4], NULL, SHARE_HELD);
    /* Who goes gives the place back. */
    shares_leave(shares, &m[0]);
    enter_busy(shares, &m[5], 1);
    show(shares, &m[5], NULL, SHARE_HELD);
    leave_all(shares, m, 6);
}

static void a_key_counts_for_itself(void **state)
{
    (void)state;
    struct shares *shares = create(8, 2);
    struct share_member m[7];
    /* Two keys behind one address. */
    for (int i = 0; i < 4; i++) {
        enter_busy(shares, &m[i], 1);
        assert_null(show(shares, &m[i], i % 2 == 0 ? "key_1" : "key_2", SHARE_HELD));
    }
    enter_busy(shares, &m[4], 1);
    assert_null(show(shares, &m[4], "key_1", SHARE_CLIENT_FULL));
    /* An idle one of the key makes room, also where the address is full. */
    enter_busy(shares, &m[5], 1);
    assert_null(enter(shares, &m[6], 1));
    shares_wait(shares, &m[6], SHARE_BUSY);
    shares_wait(shares, &m[2], SHARE_WAIT_IDLE);
    assert_ptr_equal(show(shares, &m[6], "key_1", SHARE_HELD), &m[2]);
    /* A request without a key on its connection changes nothing; one with another key does. */
    assert_null(show(shares, &m[6], NULL, SHARE_HELD));
    shares_leave(shares, &m[1]);
    assert_null(show(shares, &m[6], "key_2", SHARE_HELD));
    assert_null(show(shares, &m[6], "key_2", SHARE_HELD));
    leave_all(shares, m, 7);
}

static void the_reserve_is_for_keys(void **state)
{
    (void)state;
    struct shares *shares = create(8, 8);
    struct share_member m[11];
    const struct client_name name = name_v4(1);
    for (int i = 0; i < 7; i++) {
        assert_null(shares_enter(shares, &m[i], &name, SHARE_RESERVE_KEYS));
        shares_wait(shares, &m[i], SHARE_BUSY);
    }
    assert_null(shares_enter(shares, &m[7], &name, SHARE_RESERVE_KEYS));
    assert_null(shares_enter(shares, &m[8], &name, SHARE_RESERVE_KEYS));
    assert_null(show(shares, &m[7], NULL, SHARE_OPEN_FULL));
    assert_null(show(shares, &m[7], "key_1", SHARE_HELD));
    /* Idle as it is, it does not make room for one without a key, which would be one too many. */
    shares_wait(shares, &m[7], SHARE_WAIT_IDLE);
    assert_null(shares_enter(shares, &m[9], &name, SHARE_RESERVE_KEYS));
    /* For another key it does. */
    assert_ptr_equal(show(shares, &m[8], "key_2", SHARE_HELD), &m[7]);
    shares_wait(shares, &m[8], SHARE_BUSY);
    assert_null(show(shares, &m[9], "key_3", SHARE_ALL_FULL));
    /* Who has shown a key leaves an open place to others. */
    assert_null(show(shares, &m[0], "key_1", SHARE_HELD));
    shares_leave(shares, &m[8]);
    assert_null(shares_enter(shares, &m[10], &name, SHARE_RESERVE_KEYS));
    show(shares, &m[10], NULL, SHARE_HELD);
    leave_all(shares, m, 11);
}

static void without_keys_there_is_no_reserve(void **state)
{
    (void)state;
    struct shares *shares = create(8, 8);
    struct share_member m[9];
    for (int i = 0; i < 8; i++) {
        enter_busy(shares, &m[i], 1 + (uint32_t)i);
        show(shares, &m[i], NULL, SHARE_HELD);
    }
    enter_busy(shares, &m[8], 9);
    show(shares, &m[8], NULL, SHARE_ALL_FULL);
    leave_all(shares, m, 9);
}

static void the_door_is_narrow(void **state)
{
    (void)state;
    struct shares *shares = create(1, 1);
    struct share_member m[SHARES_DOOR_MAX + 4];
    enter_busy(shares, &m[0], 1);
    for (int i = 1; i <= SHARES_DOOR_MAX; i++)
        assert_null(enter(shares, &m[i], 1));
    shares_wait(shares, &m[1], SHARE_BUSY);
    assert_ptr_equal(enter(shares, &m[SHARES_DOOR_MAX + 1], 2), &m[2]);
    shares_leave(shares, &m[2]); /* it is out: nothing */
    show(shares, &m[2], "key_1", SHARE_CLIENT_FULL);
    for (int i = 3; i <= SHARES_DOOR_MAX + 1; i++)
        shares_wait(shares, &m[i], SHARE_BUSY);
    struct share_member *last = &m[SHARES_DOOR_MAX + 2];
    assert_ptr_equal(enter(shares, last, 3), last);
    show(shares, last, NULL, SHARE_ALL_FULL);
    /* One at the door that goes makes room for the next. */
    shares_leave(shares, &m[3]);
    assert_null(enter(shares, &m[SHARES_DOOR_MAX + 3], 3));
    leave_all(shares, m, SHARES_DOOR_MAX + 4);
}

/* ---- against counting ---- */

enum { N_MEMBERS = 64, N_NAMES = 12, N_KEYS = 4, MAX = 24, MAX_PER_CLIENT = 3 };

struct model {
    int name; /* -1: out, -2: at the door */
    enum share_wait wait;
};

static uint32_t random_below(uint32_t n)
{
    static uint32_t state = 1;
    state = state * 1664525 + 1013904223;
    return (state >> 8) % n;
}

/* Names below N_KEYS are keys. */
static struct client_name name_of(int name)
{
    char id[8];
    snprintf(id, sizeof(id), "key_%d", name % N_KEYS);
    return name < N_KEYS ? client_name_of_key(id) : name_v4((uint32_t)name);
}

static uint32_t count(const struct model *model, int from, int to, bool waiting)
{
    uint32_t n = 0;
    for (int i = 0; i < N_MEMBERS; i++)
        n += model[i].name >= from && model[i].name < to &&
             !(waiting && model[i].wait == SHARE_BUSY);
    return n;
}

/* Whoever had to go: had no request, and no other client could better have spared one. */
static void expect_fair(const struct model *model, int out, int newcomer)
{
    assert_int_not_equal(model[out].wait, SHARE_BUSY);
    if (model[out].name < 0) /* at the door */
        return;
    uint32_t own = count(model, newcomer, newcomer + 1, false);
    if (own >= MAX_PER_CLIENT) {
        assert_int_equal(model[out].name, newcomer);
        return;
    }
    assert_int_equal(count(model, 0, N_NAMES, false), MAX);
    uint32_t n = count(model, model[out].name, model[out].name + 1, false);
    for (int i = 0; i < N_NAMES; i++)
        assert_true(count(model, i, i + 1, true) == 0 || count(model, i, i + 1, false) <= n);
}

static void it_is_fair_whatever_comes(void **state)
{
    (void)state;
    struct shares *shares = create(MAX, MAX_PER_CLIENT);
    static struct share_member members[N_MEMBERS];
    struct model model[N_MEMBERS];
    uint32_t n_evicted = 0, n_refused = 0;
    for (int i = 0; i < N_MEMBERS; i++)
        model[i] = (struct model){-1, SHARE_BUSY};
    for (int step = 0; step < 20000; step++) {
        int i = (int)random_below(N_MEMBERS), newcomer = -1;
        struct share_member *out = NULL;
        if (model[i].name == -1) {
            newcomer = N_KEYS + (int)random_below(N_NAMES - N_KEYS);
            out = enter(shares, &members[i], (uint32_t)newcomer);
        } else if (random_below(8) == 0) {
            shares_leave(shares, &members[i]);
            model[i].name = -1;
            continue;
        } else if (random_below(3) == 0) {
            newcomer = (int)random_below(N_KEYS);
            model[i].wait = SHARE_BUSY;
            shares_wait(shares, &members[i], SHARE_BUSY);
            enum share_place place;
            const struct client_name name = name_of(newcomer);
            out = shares_show(shares, &members[i], &name, &place);
            if (place != SHARE_HELD) { /* as it is closed then */
                assert_null(out);
                n_refused++;
                shares_leave(shares, &members[i]);
                model[i].name = -1;
                continue;
            }
        } else {
            model[i].wait = random_below(8) > 0 ? SHARE_BUSY : (enum share_wait)random_below(3);
            shares_wait(shares, &members[i], model[i].wait);
            continue;
        }
        if (out != NULL && out != &members[i]) {
            int gone = (int)(out - members);
            if (newcomer != model[i].name)
                expect_fair(model, gone, newcomer);
            model[gone].name = -1;
            n_evicted++;
        }
        if (model[i].name == -1)
            model[i].wait = SHARE_WAIT_NEW;
        model[i].name = out == &members[i] ? -1 : members[i].place == SHARE_HELD ? newcomer : -2;
        assert_true(count(model, 0, N_NAMES, false) <= MAX);
        assert_true(count(model, newcomer, newcomer + 1, false) <= MAX_PER_CLIENT);
    }
    assert_true(n_evicted > 100 && n_refused > 100);
    leave_all(shares, members, N_MEMBERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_the_longest_goes_first),
        cmocka_unit_test(who_has_the_most_makes_room),
        cmocka_unit_test(a_client_with_its_share_makes_room_for_itself),
        cmocka_unit_test(a_key_counts_for_itself),
        cmocka_unit_test(the_reserve_is_for_keys),
        cmocka_unit_test(without_keys_there_is_no_reserve),
        cmocka_unit_test(the_door_is_narrow),
        cmocka_unit_test(it_is_fair_whatever_comes),
    };
    return test_run(tests);
}
