#include "tests/test.h"

#include <pthread.h>

#include "db/id.h"

static void ids_have_their_form_and_grow(void **state)
{
    (void)state;
    char last[DB_ID_SIZE] = "", id[DB_ID_SIZE];
    for (int i = 0; i < 10000; i++) {
        db_id_create("img_", id);
        assert_true(db_id_is(id, "img_"));
        assert_true(strcmp(id, last) > 0);
        memcpy(last, id, sizeof(last));
    }
}

static void other_texts_are_no_ids(void **state)
{
    (void)state;
    assert_true(db_id_is("prj_01ARZ3NDEKTSV4RRFFQ69G5FAV", "prj_"));
    assert_false(db_id_is("prj_01ARZ3NDEKTSV4RRFFQ69G5FAV", "img_"));
    assert_false(db_id_is("prj_01arz3ndektsv4rrffq69g5fav", "prj_"));
    assert_false(db_id_is("prj_01ARZ3NDEKTSV4RRFFQ69G5FA", "prj_"));
    assert_false(db_id_is("prj_01ARZ3NDEKTSV4RRFFQ69G5FAVX", "prj_"));
    assert_false(db_id_is("prj_01ARZ3NDEKTSV4RRFFQ69G5FAU", "prj_"));
    assert_false(db_id_is("prj_81ARZ3NDEKTSV4RRFFQ69G5FAV", "prj_"));
    assert_false(db_id_is("prj_../../../etc/passwd0000000", "prj_"));
    assert_false(db_id_is("", "prj_"));
}

static void an_id_holds_its_time(void **state)
{
    (void)state;
    char time[DB_TIME_SIZE], before[DB_TIME_SIZE], after[DB_TIME_SIZE], id[DB_ID_SIZE];
    /* The specification's example: 1469918176385 ms. */
    db_id_time("01ARYZ6S41TSV4RRFFQ69G5FAV", time);
    assert_string_equal(time, "2016-07-30T22:36:16.385Z");
    db_time_now(before);
    db_id_create("job_", id);
    db_time_now(after);
    db_id_time(id, time);
    assert_true(strcmp(before, time) <= 0 && strcmp(time, after) <= 0);
}

enum { N_THREADS = 4, N_IDS = 5000 };

static void *create_many(void *context)
{
    char(*ids)[DB_ID_SIZE] = context;
    for (int i = 0; i < N_IDS; i++)
        db_id_create("", ids[i]);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void threads_never_get_the_same_id(void **state)
{
    (void)state;
    static char ids[N_THREADS][N_IDS][DB_ID_SIZE];
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, create_many, ids[i]), 0);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    char(*all)[DB_ID_SIZE] = ids[0];
    qsort(all, (size_t)N_THREADS * N_IDS, DB_ID_SIZE, compare);
    for (int i = 1; i < N_THREADS * N_IDS; i++)
        assert_true(strcmp(all[i - 1], all[i]) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_have_their_form_and_grow),
        cmocka_unit_test(other_texts_are_no_ids),
        cmocka_unit_test(an_id_holds_its_time),
        cmocka_unit_test(threads_never_get_the_same_id),
    };
    return test_run(tests);
}
