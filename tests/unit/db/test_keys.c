#include "tests/unit/db/fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/keys.h"
#include "db/settings.h"

/* The keys are in a directory of their own; the database is a fixture's, so that either can be
 * taken away from the other. */
struct keys_state {
    char directory[512], file[600], lock[600];
    struct fixture *fixture;
    struct db_keys_watcher watcher;
    int n_told;
    enum db_keys_state told;
    struct error told_why, err;
};

static void note(void *context, enum db_keys_state state, const struct error *why)
{
    struct keys_state *s = context;
    s->n_told++;
    s->told = state;
    s->told_why = why != NULL ? *why : (struct error){0};
}

static int setup(void **state)
{
    struct keys_state *s = calloc(1, sizeof(*s));
    fixture_setup((void **)&s->fixture);
    fixture_directory(s->directory);
    snprintf(s->file, sizeof(s->file), "%s/keys", s->directory);
    snprintf(s->lock, sizeof(s->lock), "%s/keys.lock", s->directory);
    s->watcher = (struct db_keys_watcher){.context = s, .changed = note};
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct keys_state *s = *state;
    fixture_teardown((void **)&s->fixture);
    fixture_remove_directory(s->directory);
    free(s);
    return 0;
}

static int open_keys(struct keys_state *s, struct db_keys **out)
{
    return db_keys_open(out, s->directory, s->fixture->db, &s->watcher, &s->err);
}

static enum db_keys_state look(struct keys_state *s, struct db_keys *keys)
{
    s->err = (struct error){0};
    return db_keys_look(keys, &s->err);
}

static void only_a_hash_is_stored(void **state)
{
    struct keys_state *s = *state;
    struct db_key key;
    struct db_key_list list;
    char token[DB_KEY_TOKEN_SIZE], second[DB_KEY_TOKEN_SIZE], text[1000] = "";
    char sha256[DB_SHA256_SIZE];
    struct stat status;
    assert_ok(db_key_create(s->directory, "the lab's web front-end", &key, token, &s->err));
    assert_ok(db_key_create(s->directory, "other", &key, second, &s->err));
    assert_string_not_equal(token, second);
    assert_int_equal(strlen(token), 9 + 43);
    assert_int_equal(strncmp(token, "chipshot_", 9), 0);
    assert_int_equal(strspn(token + 9, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-_"),
                     43);
    FILE *file = fopen(s->file, "rb");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    assert_null(strstr(text, token));
    fixture_sha256(token, sha256);
    assert_non_null(strstr(text, sha256));
    assert_ok(stat(s->file, &status));
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_ok(db_key_list(s->directory, &list, &s->err));
    assert_int_equal(list.n_items, 2);
    assert_string_equal(list.items[0].name, "the lab's web front-end");
    assert_string_equal(list.items[0].sha256, sha256);
    assert_string_equal(list.items[1].id, key.id);
    db_key_list_clear(&list);
}

static void names_are_printable_and_bounded(void **state)
{
    struct keys_state *s = *state;
    struct db_key key;
    char token[DB_KEY_TOKEN_SIZE], name[102];
    memset(name, 'n', 101);
    name[101] = '\0';
    assert_int_equal(db_key_create(s->directory, name, &key, token, &s->err), ERROR_INVALID);
    name[100] = '\0';
    assert_ok(db_key_create(s->directory, name, &key, token, &s->err));
    assert_int_equal(db_key_create(s->directory, "", &key, token, &s->err), ERROR_INVALID);
    assert_int_equal(db_key_create(s->directory, "a\nb", &key, token, &s->err), ERROR_INVALID);
    assert_int_equal(db_key_create(s->directory, "a\x7f", &key, token, &s->err), ERROR_INVALID);
    assert_ok(db_key_create(s->directory,
                            "  Gr\xc3\xbc\xc3\x9f"
                            "e ",
                            &key, token, &s->err));
    struct db_key_list list;
    assert_ok(db_key_list(s->directory, &list, &s->err));
    assert_string_equal(list.items[1].name, key.name);
    db_key_list_clear(&list);
}

static void a_running_server_sees_changes(void **state)
{
    struct keys_state *s = *state;
    struct db_keys *keys = NULL;
    struct db_key first, second;
    char token1[DB_KEY_TOKEN_SIZE], token2[DB_KEY_TOKEN_SIZE];
    struct principal found = {.id = "unchanged"};
    assert_ok(open_keys(s, &keys));
    assert_int_equal(look(s, keys), DB_KEYS_NEVER);
    assert_false(db_keys_check(keys, "chipshot_x", &found));
    assert_string_equal(found.id, "unchanged");
    assert_ok(db_key_create(s->directory, "one", &first, token1, &s->err));
    assert_true(db_keys_check(keys, token1, &found));
    assert_string_equal(found.id, first.id);
    assert_string_equal(found.name, "one");
    assert_ok(db_key_create(s->directory, "two", &second, token2, &s->err));
    assert_int_equal(look(s, keys), DB_KEYS_THERE);
    assert_true(db_keys_check(keys, token2, &found));
    assert_ok(db_key_revoke(s->directory, first.id, &s->err));
    assert_false(db_keys_check(keys, token1, &found));
    assert_true(db_keys_check(keys, token2, &found));
    assert_int_equal(db_key_revoke(s->directory, first.id, &s->err), ERROR_NOT_FOUND);
    token2[20] = token2[20] == 'A' ? 'B' : 'A';
    assert_false(db_keys_check(keys, token2, &found));
    assert_false(db_keys_check(keys, "", &found));
    db_keys_close(keys);
}

static void write_text(const struct keys_state *s, const char *text, size_t size)
{
    FILE *file = fopen(s->file, "wb");
    assert_non_null(file);
    fwrite(text, 1, size, file);
    fclose(file);
}

static void a_damaged_file_lets_nobody_in(void **state)
{
    struct keys_state *s = *state;
    struct db_keys *keys = NULL;
    struct db_key key;
    struct db_key_list list;
    char token[DB_KEY_TOKEN_SIZE], good[400], text[1000];
    struct principal found;
    assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
    assert_ok(open_keys(s, &keys));
    int length =
        snprintf(good, sizeof(good), "%s %s %s %s\n", key.id, key.sha256, key.created_at, key.name);
    const char *const bad[] = {"x\n",       "\n",
                               "a b c d\n", "key_ 00 2020 n\n",
                               " \n",       "key_01ARZ3NDEKTSV4RRFFQ69G5FAV abc 2020 name\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int n = snprintf(text, sizeof(text), "%s%s", good, bad[i]);
        write_text(s, text, (size_t)n);
        assert_false(db_keys_check(keys, token, &found));
        assert_int_equal(look(s, keys), DB_KEYS_UNREADABLE);
        assert_non_null(strstr(s->err.message, "line 2"));
        assert_int_equal(db_key_list(s->directory, &list, &s->err), ERROR_CORRUPT);
        assert_non_null(strstr(s->err.message, "line 2"));
        struct db_keys *second = NULL;
        assert_int_equal(open_keys(s, &second), ERROR_CORRUPT);
    }
    assert_int_equal(s->n_told, 1); /* not once a look */
    assert_int_equal(s->told, DB_KEYS_UNREADABLE);
    assert_int_equal(s->told_why.code, ERROR_CORRUPT);
    write_text(s, good, (size_t)length - 1); /* cut off */
    assert_false(db_keys_check(keys, token, &found));
    write_text(s, "a\0b\n", 4);
    assert_false(db_keys_check(keys, token, &found));
    write_text(s, good, (size_t)length);
    assert_true(db_keys_check(keys, token, &found));
    assert_int_equal(look(s, keys), DB_KEYS_THERE);
    assert_int_equal(s->n_told, 2);
    assert_int_equal(s->told, DB_KEYS_THERE);
    assert_int_equal(s->told_why.code, 0);
    db_keys_close(keys);
}

/* ---- no right follows from the absence of a file ---- */

enum loss { LAST_REVOKED, FILE_EMPTIED, FILE_REMOVED, BOTH_FILES_REMOVED, DIRECTORY_REMOVED };

static void lose_keys(struct keys_state *s, enum loss loss, const char *id)
{
    switch (loss) {
    case LAST_REVOKED:
        assert_ok(db_key_revoke(s->directory, id, &s->err));
        return;
    case FILE_EMPTIED:
        write_text(s, "", 0);
        return;
    case FILE_REMOVED:
        assert_ok(unlink(s->file));
        return;
    case BOTH_FILES_REMOVED:
        assert_ok(unlink(s->file));
        assert_ok(unlink(s->lock));
        return;
    case DIRECTORY_REMOVED:
        fixture_remove_directory(s->directory);
        return;
    }
}

static void no_key_left_is_not_the_same_as_never_a_key(void **state)
{
    for (enum loss loss = LAST_REVOKED; loss <= DIRECTORY_REMOVED; loss++) {
        struct keys_state *s = *state;
        struct db_keys *keys = NULL;
        struct db_key key;
        char token[DB_KEY_TOKEN_SIZE], since[DB_SETTING_SIZE];
        struct principal found;
        assert_ok(open_keys(s, &keys));
        assert_int_equal(look(s, keys), DB_KEYS_NEVER);
        assert_int_equal(db_setting_get(s->fixture->db, "keys_used_since", since, NULL),
                         ERROR_NOT_FOUND);
        assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
        assert_int_equal(look(s, keys), DB_KEYS_THERE);
        assert_ok(db_setting_get(s->fixture->db, "keys_used_since", since, &s->err));
        lose_keys(s, loss, key.id);
        assert_int_equal(look(s, keys), DB_KEYS_GONE);
        assert_int_equal(s->told, DB_KEYS_GONE);
        assert_false(db_keys_check(keys, token, &found));
        /* The next server remembers it, too, and a new key opens again. */
        db_keys_close(keys);
        assert_ok(open_keys(s, &keys));
        assert_int_equal(look(s, keys), DB_KEYS_GONE);
        assert_ok(db_key_create(s->directory, "two", &key, token, &s->err));
        assert_true(db_keys_check(keys, token, &found));
        db_keys_close(keys);
        teardown(state);
        setup(state);
    }
}

static void keys_made_while_no_server_runs_count(void **state)
{
    for (enum loss loss = LAST_REVOKED; loss <= FILE_REMOVED; loss++) {
        struct keys_state *s = *state;
        struct db_keys *keys = NULL;
        struct db_key key;
        char token[DB_KEY_TOKEN_SIZE], since[DB_SETTING_SIZE];
        assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
        lose_keys(s, loss, key.id);
        assert_ok(open_keys(s, &keys));
        assert_int_equal(look(s, keys), DB_KEYS_GONE);
        assert_ok(db_setting_get(s->fixture->db, "keys_used_since", since, &s->err));
        db_keys_close(keys);
        teardown(state);
        setup(state);
    }
}

static void asking_for_what_is_not_there_uses_no_keys(void **state)
{
    struct keys_state *s = *state;
    struct db_keys *keys = NULL;
    struct db_key_list list;
    assert_ok(db_key_list(s->directory, &list, &s->err));
    assert_int_equal(db_key_revoke(s->directory, "key_01ARZ3NDEKTSV4RRFFQ69G5FAV", &s->err),
                     ERROR_NOT_FOUND);
    assert_ok(open_keys(s, &keys));
    assert_int_equal(look(s, keys), DB_KEYS_NEVER);
    db_keys_close(keys);
}

static void what_cannot_be_read_is_not_absent(void **state)
{
    struct keys_state *s = *state;
    struct db_keys *keys = NULL;
    assert_ok(open_keys(s, &keys));
    assert_ok(mkdir(s->file, 0700));
    assert_int_equal(look(s, keys), DB_KEYS_UNREADABLE);
    assert_ok(rmdir(s->file));
    assert_ok(symlink("/dev/null", s->file));
    assert_int_equal(look(s, keys), DB_KEYS_UNREADABLE);
    assert_non_null(strstr(s->err.message, "symbolic link"));
    assert_ok(unlink(s->file));
    assert_ok(mkfifo(s->file, 0600));
    assert_int_equal(look(s, keys), DB_KEYS_UNREADABLE);
    assert_ok(unlink(s->file));
    assert_int_equal(look(s, keys), DB_KEYS_GONE);
    db_keys_close(keys);
}

static void a_file_that_others_may_use_is_not_used(void **state)
{
    static const mode_t modes[] = {0604, 0602, 0601, 0640, 0620, 0644, 0660, 0666, 0777};
    struct keys_state *s = *state;
    struct db_keys *keys = NULL, *second = NULL;
    struct db_key key, other;
    struct db_key_list list;
    char token[DB_KEY_TOKEN_SIZE], unused[DB_KEY_TOKEN_SIZE], text[16];
    struct principal found;
    assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
    assert_ok(open_keys(s, &keys));
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_ok(chmod(s->file, modes[i]));
        assert_int_equal(look(s, keys), DB_KEYS_UNREADABLE);
        snprintf(text, sizeof(text), "mode %04o", (unsigned)modes[i]);
        assert_non_null(strstr(s->err.message, text));
        assert_non_null(strstr(s->err.message, "chmod 600 "));
        assert_false(db_keys_check(keys, token, &found));
        assert_int_equal(open_keys(s, &second), ERROR_INVALID);
        assert_int_equal(db_key_list(s->directory, &list, &s->err), ERROR_INVALID);
        assert_int_equal(db_key_revoke(s->directory, key.id, &s->err), ERROR_INVALID);
        assert_int_equal(db_key_create(s->directory, "two", &other, unused, &s->err),
                         ERROR_INVALID);
        assert_ok(chmod(s->file, 0600));
        assert_true(db_keys_check(keys, token, &found));
    }
    db_keys_close(keys);
}

static void a_file_of_somebody_else_is_not_used(void **state)
{
    struct keys_state *s = *state;
    struct db_keys *keys = NULL;
    struct db_key key;
    char token[DB_KEY_TOKEN_SIZE];
    struct principal found;
    struct stat status;
    if (geteuid() != 0)
        skip(); /* only root can give files away */
    assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
    assert_ok(open_keys(s, &keys));
    assert_ok(chown(s->file, 12345, 12345));
    assert_int_equal(look(s, keys), DB_KEYS_UNREADABLE);
    assert_non_null(strstr(s->err.message, "belongs to user 12345; 'chown 0 "));
    assert_false(db_keys_check(keys, token, &found));
    /* The directory's owner could replace it anyway, and root makes keys for it. */
    assert_ok(chown(s->directory, 12345, 12345));
    assert_ok(db_key_create(s->directory, "two", &key, token, &s->err));
    assert_ok(stat(s->file, &status));
    assert_int_equal(status.st_uid, 12345);
    assert_int_equal(status.st_gid, 12345);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_ok(stat(s->lock, &status));
    assert_int_equal(status.st_uid, 12345);
    assert_true(db_keys_check(keys, token, &found));
    db_keys_close(keys);
}

static void no_key_is_made_where_everybody_writes(void **state)
{
    struct keys_state *s = *state;
    struct db_key key;
    char token[DB_KEY_TOKEN_SIZE];
    assert_ok(chmod(s->directory, 0777));
    assert_int_equal(db_key_create(s->directory, "one", &key, token, &s->err), ERROR_INVALID);
    assert_non_null(strstr(s->err.message, "mode 0777"));
    assert_int_not_equal(access(s->lock, F_OK), 0);
    assert_ok(chmod(s->directory, 0770));
    assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
}

/* A server takes the lock for a sign that there are keys, and would answer nobody from then on. */
static void a_first_key_that_cannot_be_made_leaves_nothing(void **state)
{
    struct keys_state *s = *state;
    struct db_keys *keys = NULL;
    struct db_key key;
    struct rlimit limit;
    char token[DB_KEY_TOKEN_SIZE];
    assert_ok(open_keys(s, &keys));
    /* As on a full disk: files come to be, and no byte fits into them. */
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_ok(getrlimit(RLIMIT_FSIZE, &limit));
    assert_ok(setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max}));
    int rc = db_key_create(s->directory, "one", &key, token, &s->err);
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    assert_int_not_equal(rc, 0);
    assert_ok(rmdir(s->directory)); /* it is empty */
    assert_ok(mkdir(s->directory, 0700));
    assert_int_equal(look(s, keys), DB_KEYS_NEVER);
    db_keys_close(keys);
}

static void what_lies_in_the_way_is_not_written_to(void **state)
{
    struct keys_state *s = *state;
    struct db_key key;
    char token[DB_KEY_TOKEN_SIZE], in_the_way[700];
    struct stat status;
    snprintf(in_the_way, sizeof(in_the_way), "%s/keys.new", s->directory);
    FILE *file = fopen(in_the_way, "wb");
    assert_non_null(file);
    assert_ok(fchmod(fileno(file), 0666));
    assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
    assert_ok(fstat(fileno(file), &status));
    assert_int_equal(status.st_size, 0);
    fclose(file);
    assert_ok(stat(s->file, &status));
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void a_database_that_cannot_be_told_is_said_once(void **state)
{
    struct keys_state *s = *state;
    struct db_keys *keys = NULL;
    struct db_key key;
    char token[DB_KEY_TOKEN_SIZE];
    fixture_close(s->fixture);
    fixture_edit(s->fixture, "DROP TABLE settings; CREATE TABLE settings ("
                             "name TEXT NOT NULL PRIMARY KEY CHECK (name <> 'keys_used_since'),"
                             "value TEXT NOT NULL);");
    fixture_reopen(s->fixture);
    assert_ok(open_keys(s, &keys));
    assert_ok(db_key_create(s->directory, "one", &key, token, &s->err));
    assert_int_equal(look(s, keys), DB_KEYS_THERE);
    assert_int_equal(s->n_told, 2);
    assert_int_not_equal(s->told_why.code, 0);
    assert_int_equal(look(s, keys), DB_KEYS_THERE);
    assert_int_equal(s->n_told, 2);
    assert_ok(unlink(s->file));
    assert_int_equal(look(s, keys), DB_KEYS_GONE);
    db_keys_close(keys);
}

struct maker {
    const char *directory;
    int n_failed;
};

static void *make_keys(void *context)
{
    struct maker *maker = context;
    for (int i = 0; i < 10; i++) {
        struct db_key key;
        char token[DB_KEY_TOKEN_SIZE];
        maker->n_failed += db_key_create(maker->directory, "t", &key, token, NULL) != 0;
        if (i % 2 == 1)
            maker->n_failed += db_key_revoke(maker->directory, key.id, NULL) != 0;
    }
    return NULL;
}

static void changes_at_once_are_not_lost(void **state)
{
    struct keys_state *s = *state;
    pthread_t threads[4];
    struct maker makers[4];
    struct db_key_list list;
    for (int i = 0; i < 4; i++) {
        makers[i] = (struct maker){.directory = s->directory};
        assert_int_equal(pthread_create(&threads[i], NULL, make_keys, &makers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(makers[i].n_failed, 0);
    }
    assert_ok(db_key_list(s->directory, &list, &s->err));
    assert_int_equal(list.n_items, 20);
    db_key_list_clear(&list);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_a_hash_is_stored),
        TEST(names_are_printable_and_bounded),
        TEST(a_running_server_sees_changes),
        TEST(a_damaged_file_lets_nobody_in),
        TEST(no_key_left_is_not_the_same_as_never_a_key),
        TEST(keys_made_while_no_server_runs_count),
        TEST(asking_for_what_is_not_there_uses_no_keys),
        TEST(what_cannot_be_read_is_not_absent),
        TEST(a_file_that_others_may_use_is_not_used),
        TEST(a_file_of_somebody_else_is_not_used),
        TEST(no_key_is_made_where_everybody_writes),
        TEST(a_first_key_that_cannot_be_made_leaves_nothing),
        TEST(what_lies_in_the_way_is_not_written_to),
        TEST(a_database_that_cannot_be_told_is_said_once),
        TEST(changes_at_once_are_not_lost),
    };
    return test_run(tests);
}
