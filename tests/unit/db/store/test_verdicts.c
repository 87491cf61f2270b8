/* What is known of a file is known of the state that it was in. */
#include "tests/unit/db/fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include "db/store/verdicts.h"

static const char name[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const char other[] = "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static int setup(void **state)
{
    struct error err = {0};
    return verdicts_create((struct verdicts **)state, &err);
}

static int teardown(void **state)
{
    verdicts_destroy(*state);
    return 0;
}

static struct file_identity settled(uint64_t size)
{
    return (struct file_identity){.device = 1, .inode = 2, .size = size, .is_settled = true};
}

static void expect(struct verdicts *verdicts, const struct file_identity *identity,
                   enum verdict verdict)
{
    char hash[DB_SHA256_SIZE] = "";
    assert_int_equal(verdicts_find(verdicts, name, identity, hash), verdict);
    if (verdict == VERDICT_DAMAGED)
        assert_string_equal(hash, other);
}

static void a_verdict_is_void_for_another_state(void **state)
{
    struct verdicts *verdicts = *state;
    struct file_identity identity = settled(5), changed;
    bool is_news = true;
    expect(verdicts, &identity, VERDICT_NONE);
    assert_int_equal(verdicts_note(verdicts, name, &identity, name, &is_news), VERDICT_WHOLE);
    assert_false(is_news);
    expect(verdicts, &identity, VERDICT_WHOLE);
    changed = identity;
    changed.inode++;
    expect(verdicts, &changed, VERDICT_NONE);
    changed = identity;
    changed.changed.tv_nsec++;
    expect(verdicts, &changed, VERDICT_NONE);
    changed = identity;
    changed.modified.tv_sec++;
    expect(verdicts, &changed, VERDICT_NONE);
    changed = settled(6);
    expect(verdicts, &changed, VERDICT_NONE);
}

static void damage_is_news_once_and_so_is_its_end(void **state)
{
    struct verdicts *verdicts = *state;
    struct file_identity identity = settled(5);
    uint64_t n_noted, n_damaged;
    bool is_news = false;
    assert_int_equal(verdicts_note(verdicts, name, &identity, other, &is_news), VERDICT_DAMAGED);
    assert_true(is_news);
    expect(verdicts, &identity, VERDICT_DAMAGED);
    assert_int_equal(verdicts_note(verdicts, name, &identity, other, &is_news), VERDICT_DAMAGED);
    assert_false(is_news);
    verdicts_count(verdicts, &n_noted, &n_damaged);
    assert_int_equal(n_noted, 2);
    assert_int_equal(n_damaged, 1);
    assert_int_equal(verdicts_note(verdicts, name, &identity, name, &is_news), VERDICT_WHOLE);
    assert_true(is_news);
    expect(verdicts, &identity, VERDICT_WHOLE);
    verdicts_note(verdicts, name, &identity, other, &is_news);
    expect(verdicts, &identity, VERDICT_DAMAGED);
    verdicts_forget(verdicts, name);
    expect(verdicts, &identity, VERDICT_NONE);
    verdicts_count(verdicts, &n_noted, &n_damaged);
    assert_int_equal(n_damaged, 0);
}

/* A second change within a tick of the clock would look the same. */
static void what_was_just_changed_is_looked_at_again(void **state)
{
    struct verdicts *verdicts = *state;
    char path[700];
    struct file_identity identity;
    struct error err = {0};
    bool is_news;
    char directory[512];
    fixture_directory(directory);
    snprintf(path, sizeof(path), "%s/file", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_ok(file_identity_read(&identity, fd, &err));
    close(fd);
    assert_false(identity.is_settled);
    verdicts_note(verdicts, name, &identity, name, &is_news);
    expect(verdicts, &identity, VERDICT_NONE);
    fixture_remove_directory(directory);
}

static void the_list_of_damage_has_an_end(void **state)
{
    struct verdicts *verdicts = *state;
    struct file_identity identity = settled(5);
    uint64_t n_noted, n_damaged;
    bool is_news;
    for (unsigned i = 0; i < VERDICTS_DAMAGED_MAX + 10; i++) {
        char sha256[DB_SHA256_SIZE];
        snprintf(sha256, sizeof(sha256), "%064x", i);
        verdicts_note(verdicts, sha256, &identity, other, &is_news);
        assert_true(is_news);
    }
    verdicts_count(verdicts, &n_noted, &n_damaged);
    assert_int_equal(n_damaged, VERDICTS_DAMAGED_MAX);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_verdict_is_void_for_another_state),
        TEST(damage_is_news_once_and_so_is_its_end),
        TEST(what_was_just_changed_is_looked_at_again),
        TEST(the_list_of_damage_has_an_end),
    };
    return test_run(tests);
}
