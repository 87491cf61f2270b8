/* The keys file: one line a key, "id sha256 created_at name\n", the name last because it may hold
 * spaces. It is replaced as a whole by a rename, so a reader sees the old file or the new one and
 * needs no lock; who changes it holds DIR/keys.lock from reading to renaming.
 *
 * A file that cannot be read or understood lets nobody in, and neither does a missing one where
 * there ever was a key. The database is written and the watcher called without the mutex: neither
 * holds up other requests.
 */
#include "db/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/base64.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/hex.h"
#include "db/settings.h"
#include "db/store/access.h"
#include "db/store/files.h"
#include "db/text.h"

enum {
    NAME_MAX_SIZE = 100,
    TOKEN_RANDOM_SIZE = 32,
    FILE_MAX_SIZE = 4 * 1024 * 1024,
    RECORD_RETRY_MS = 1000, /* after the database could not be written */
};

static const char token_prefix[] = "chipshot_";
static const char used_setting[] = "keys_used_since"; /* a time */

static void hash_token(const char *token, char out[DB_SHA256_SIZE])
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&hash);
    sha256_update(&hash, strlen(token), (const uint8_t *)token);
    sha256_digest(&hash, sizeof(digest), digest);
    hex_encode(digest, sizeof(digest), out);
}

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        /* Bytes from 0x80 on are UTF-8; control characters would break the line. */
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    }
    return length >= 1 && length <= NAME_MAX_SIZE;
}

/* ---- reading ---- */

/* Cuts `line` at its spaces, in place. */
static bool parse_line(char *line, struct db_key *out)
{
    char *rest = line;
    const char *id = strsep(&rest, " ");
    const char *sha256 = strsep(&rest, " ");
    const char *created_at = strsep(&rest, " ");
    if (sha256 == NULL || created_at == NULL || rest == NULL)
        return false;
    if (!db_id_is(id, "key_") || !db_text_is_sha256(sha256) || !db_text_is_time(created_at) ||
        !is_name(rest))
        return false;
    snprintf(out->id, sizeof(out->id), "%s", id);
    snprintf(out->sha256, sizeof(out->sha256), "%s", sha256);
    snprintf(out->created_at, sizeof(out->created_at), "%s", created_at);
    snprintf(out->name, sizeof(out->name), "%s", rest);
    return true;
}

static int append(struct db_key_list *list, const struct db_key *key, struct error *err)
{
    void *items = reallocarray(list->items, list->n_items + 1, sizeof(*list->items));
    if (items == NULL)
        return error_set_nomem(err, "the list of keys");
    list->items = items;
    list->items[list->n_items++] = *key;
    return 0;
}

static int parse(char *text, const char *path, struct db_key_list *list, struct error *err)
{
    int rc = 0;
    for (char *rest = text; rc == 0 && *rest != '\0';) {
        struct db_key key = {0};
        const char *line_end = strchr(rest, '\n');
        char *line = strsep(&rest, "\n");
        if (line_end == NULL || !parse_line(line, &key))
            return error_set(err, ERROR_CORRUPT, "%s: line %zu is not a key", path,
                             list->n_items + 1);
        rc = append(list, &key, err);
    }
    return rc;
}

static int read_text(int fd, const char *directory, const char *path, char **out, struct error *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return db_io_error(err, errno, "reading", path);
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_MAX_SIZE)
        return error_set(err, ERROR_CORRUPT, "%s is not a file of at most %d bytes", path,
                         FILE_MAX_SIZE);
    int rc = access_check_secret(directory, path, &status, err);
    if (rc != 0)
        return rc;
    const size_t size = (size_t)status.st_size;
    char *text = malloc(size + 1);
    if (text == NULL)
        return error_set_nomem(err, "the keys file");
    const ssize_t n_read = files_read_all(fd, text, size);
    if (n_read < 0) {
        free(text);
        return db_io_error(err, errno, "reading", path);
    }
    text[n_read] = '\0';
    if (strlen(text) != size) {
        free(text);
        return error_set(err, ERROR_CORRUPT, "%s is not text", path);
    }
    *out = text;
    return 0;
}

/* An absent file is an empty list. */
static int load(const char *directory, struct db_key_list *out, struct error *err)
{
    struct db_key_list list = {0};
    char path[DB_PATH_SIZE], *text = NULL;
    int rc = db_path(path, err, "%s/keys", directory);
    if (rc != 0)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        *out = list;
        return 0;
    }
    if (fd < 0 && errno == ELOOP)
        return error_set(err, ERROR_INVALID, "%s is a symbolic link, which is not followed", path);
    if (fd < 0)
        return db_io_error(err, errno, "opening", path);
    rc = read_text(fd, directory, path, &text, err);
    close(fd);
    if (rc == 0)
        rc = parse(text, path, &list, err);
    free(text);
    if (rc == 0)
        *out = list;
    else
        db_key_list_clear(&list);
    return rc;
}

int db_key_list(const char *directory, struct db_key_list *out, struct error *err)
{
    return load(directory, out, err);
}

void db_key_list_clear(struct db_key_list *list)
{
    free(list->items);
    *list = (struct db_key_list){0};
}

/* ---- changing ---- */

static int write_list(int fd, const char *path, const struct db_key_list *list, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < list->n_items; i++) {
        const struct db_key *key = &list->items[i];
        char line[2 * DB_SHA256_SIZE + DB_ID_SIZE + DB_TIME_SIZE + sizeof(key->name)];
        int length = snprintf(line, sizeof(line), "%s %s %s %s\n", key->id, key->sha256,
                              key->created_at, key->name);
        rc = db_file_write(fd, path, line, (size_t)length, err);
    }
    if (rc == 0 && fsync(fd) != 0)
        rc = db_io_error(err, errno, "syncing", path);
    return rc;
}

/* Root makes keys for a server that runs as the directory's owner, and must be able to read them.
 */
static int give_to_owner(int fd, const char *path, const char *directory, struct error *err)
{
    struct stat status;
    if (geteuid() != 0)
        return 0;
    if (stat(directory, &status) != 0)
        return db_io_error(err, errno, "looking at", directory);
    if (status.st_uid != 0 && fchown(fd, status.st_uid, status.st_gid) != 0)
        return db_io_error(err, errno, "giving to the directory's owner", path);
    return 0;
}

/* Replaces DIR/keys; the lock is held. */
static int replace(const char *directory, const struct db_key_list *list, struct error *err)
{
    char path[DB_PATH_SIZE], temporary[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/keys", directory);
    if (rc == 0)
        rc = db_path(temporary, err, "%s/keys.new", directory);
    if (rc != 0)
        return rc;
    /* What a crash left there, or somebody else put there, is not written to. */
    if (unlink(temporary) != 0 && errno != ENOENT)
        return db_io_error(err, errno, "removing", temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return db_io_error(err, errno, "creating", temporary);
    rc = give_to_owner(fd, temporary, directory, err);
    if (rc == 0)
        rc = write_list(fd, temporary, list, err);
    close(fd);
    if (rc == 0 && rename(temporary, path) != 0)
        rc = db_io_error(err, errno, "renaming", temporary);
    if (rc != 0) {
        unlink(temporary);
        return rc;
    }
    return db_directory_sync(directory, err);
}

static int lock(const char *directory, int *fd, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/keys.lock", directory);
    if (rc == 0)
        rc = db_lock_take(path, DB_LOCK_WAIT, fd, err);
    return rc != 0 ? rc : give_to_owner(*fd, path, directory, err);
}

static int create_token(char token[DB_KEY_TOKEN_SIZE], struct error *err)
{
    uint8_t random[TOKEN_RANDOM_SIZE];
    char text[BASE64_ENCODE_RAW_LENGTH(TOKEN_RANDOM_SIZE) + 1];
    struct base64_encode_ctx encoder;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set_errno(err, errno, "asking for random bytes");
    base64url_encode_init(&encoder);
    size_t length = base64_encode_update(&encoder, text, sizeof(random), random);
    length += base64_encode_final(&encoder, text + length);
    text[length] = '\0';
    text[strcspn(text, "=")] = '\0';
    snprintf(token, DB_KEY_TOKEN_SIZE, "%s%s", token_prefix, text);
    explicit_bzero(random, sizeof(random));
    explicit_bzero(text, sizeof(text));
    return 0;
}

/* Whether a key can be written, as far as can be known without the lock: that lock tells a server
 * that there are or were keys, and is not to stay where the first one could not be made. */
static int require_writable(const char *directory, const struct db_key *key, struct error *err)
{
    char path[DB_PATH_SIZE];
    struct db_key copy = *key;
    const struct db_key_list list = {.items = &copy, .n_items = 1};
    int rc = db_path(path, err, "%s/keys.XXXXXX", directory);
    int fd = rc == 0 ? mkostemp(path, O_CLOEXEC) : -1;
    if (rc == 0 && fd < 0)
        rc = db_io_error(err, errno, "creating", path);
    if (rc != 0)
        return rc;
    rc = write_list(fd, path, &list, err);
    close(fd);
    unlink(path);
    return rc;
}

int db_key_create(const char *directory, const char *name, struct db_key *out,
                  char token[DB_KEY_TOKEN_SIZE], struct error *err)
{
    struct db_key key = {0};
    struct db_key_list list = {0};
    char secret[DB_KEY_TOKEN_SIZE];
    int lock_fd = -1;
    if (!is_name(name))
        return error_set(err, ERROR_INVALID, "name: a key's name has 1..%d printable characters",
                         NAME_MAX_SIZE);
    int rc = create_token(secret, err);
    if (rc != 0)
        return rc;
    db_id_create("key_", key.id);
    db_time_now(key.created_at);
    hash_token(secret, key.sha256);
    snprintf(key.name, sizeof(key.name), "%s", name);
    rc = db_directory_create_all(directory, err);
    if (rc == 0)
        rc = access_check_writers(directory, err);
    if (rc == 0)
        rc = require_writable(directory, &key, err);
    if (rc == 0)
        rc = lock(directory, &lock_fd, err);
    if (rc == 0)
        rc = db_key_list(directory, &list, err);
    if (rc == 0)
        rc = append(&list, &key, err);
    if (rc == 0)
        rc = replace(directory, &list, err);
    if (rc == 0) {
        *out = key;
        memcpy(token, secret, sizeof(secret));
    }
    if (lock_fd >= 0)
        close(lock_fd);
    explicit_bzero(secret, sizeof(secret));
    db_key_list_clear(&list);
    return rc;
}

static int remove_key(struct db_key_list *list, const char *id, struct error *err)
{
    for (size_t i = 0; i < list->n_items; i++) {
        if (strcmp(list->items[i].id, id) != 0)
            continue;
        list->n_items--;
        memmove(&list->items[i], &list->items[i + 1], (list->n_items - i) * sizeof(*list->items));
        return 0;
    }
    return error_set(err, ERROR_NOT_FOUND, "there is no key %.40s", id);
}

int db_key_revoke(const char *directory, const char *id, struct error *err)
{
    struct db_key_list list = {0};
    int lock_fd = -1;
    /* First without the lock, which must not come to be where there never was a key. */
    int rc = db_key_list(directory, &list, err);
    if (rc == 0)
        rc = remove_key(&list, id, err);
    db_key_list_clear(&list);
    if (rc == 0)
        rc = lock(directory, &lock_fd, err);
    if (rc == 0)
        rc = db_key_list(directory, &list, err);
    if (rc == 0)
        rc = remove_key(&list, id, err);
    if (rc == 0)
        rc = replace(directory, &list, err);
    if (lock_fd >= 0)
        close(lock_fd);
    db_key_list_clear(&list);
    return rc;
}

/* ---- the server's view ---- */

struct db_keys {
    char *directory, *path, *lock_path;
    struct db *db;
    struct db_keys_watcher watcher;
    pthread_mutex_t mutex;       /* guards what follows */
    struct db_key_list list;     /* what the file held when it was last understood */
    struct stat seen;            /* of the file last looked at; zero when there was none */
    struct error fault;          /* why that file is of no use; code 0 when it is */
    bool used;                   /* there are or were keys; never false again */
    bool recorded;               /* the database knows that */
    bool said_not_recorded;      /* the watcher knows that it does not */
    int64_t record_ms;           /* when the database may be told next */
    enum db_keys_state reported; /* what the watcher knows */
};

/* By the time of the last change of the inode, which no program can set: a file that was only made
 * readable, or given to somebody else, has changed too. */
static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool is_there(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* *out is zero when there is no file. */
static int find(const char *path, struct stat *out, struct error *err)
{
    struct stat status = {0};
    if (lstat(path, &status) != 0) {
        if (errno != ENOENT)
            return db_io_error(err, errno, "looking at", path);
        status = (struct stat){0};
    }
    *out = status;
    return 0;
}

/* True when reading the same file again cannot give anything else. */
static bool is_settled(const struct error *fault)
{
    return fault->code != ERROR_IO && fault->code != ERROR_NOMEM;
}

/* Reads the file again when it changed; the mutex is held. */
static void refresh(struct db_keys *keys)
{
    struct stat now = {0};
    struct db_key_list list = {0};
    struct error fault = {0};
    int rc = find(keys->path, &now, &fault);
    if (!keys->used)
        keys->used = now.st_ino != 0 || is_there(keys->lock_path);
    if (rc == 0 && is_same(&now, &keys->seen) && is_settled(&keys->fault))
        return;
    if (rc == 0)
        rc = load(keys->directory, &list, &fault);
    keys->seen = now;
    keys->fault = fault;
    if (rc != 0)
        return;
    db_key_list_clear(&keys->list);
    keys->list = list;
    if (list.n_items > 0) /* the file may have come after it was looked for */
        keys->used = true;
}

static enum db_keys_state state_of(const struct db_keys *keys)
{
    if (keys->fault.code != 0)
        return DB_KEYS_UNREADABLE;
    if (keys->list.n_items > 0)
        return DB_KEYS_THERE;
    return keys->used ? DB_KEYS_GONE : DB_KEYS_NEVER;
}

static void report(const struct db_keys *keys, enum db_keys_state state, const struct error *why)
{
    if (keys->watcher.changed != NULL)
        keys->watcher.changed(keys->watcher.context, state, why->code != 0 ? why : NULL);
}

/* Whether this thread is to tell the database; the mutex is held. */
static bool must_record(struct db_keys *keys)
{
    const int64_t now = clock_now_ms();
    if (!keys->used || keys->recorded || now < keys->record_ms)
        return false;
    keys->record_ms = now + RECORD_RETRY_MS;
    return true;
}

static void record(struct db_keys *keys, enum db_keys_state state)
{
    struct error err = {0};
    char now[DB_TIME_SIZE];
    db_time_now(now);
    int rc = db_setting_set(keys->db, used_setting, now, &err);
    pthread_mutex_lock(&keys->mutex);
    keys->recorded = rc == 0;
    bool say = rc != 0 && !keys->said_not_recorded;
    keys->said_not_recorded = rc != 0;
    pthread_mutex_unlock(&keys->mutex);
    if (say)
        report(keys, state, &err);
}

enum db_keys_state db_keys_look(struct db_keys *keys, struct error *why)
{
    struct error fault = {0};
    pthread_mutex_lock(&keys->mutex);
    refresh(keys);
    const enum db_keys_state state = state_of(keys);
    const bool changed = state != keys->reported;
    keys->reported = state;
    if (state == DB_KEYS_UNREADABLE)
        fault = keys->fault;
    const bool recording = must_record(keys);
    pthread_mutex_unlock(&keys->mutex);
    if (changed)
        report(keys, state, &fault);
    if (recording)
        record(keys, state);
    if (why != NULL && fault.code != 0)
        *why = fault;
    return state;
}

static int read_used(struct db_keys *keys, struct error *err)
{
    struct error cause = {0};
    char since[DB_SETTING_SIZE];
    int rc = db_setting_get(keys->db, used_setting, since, &cause);
    keys->used = keys->recorded = rc == 0;
    return rc == 0 || rc == ERROR_NOT_FOUND ? 0 : error_set(err, rc, "%s", cause.message);
}

static int name_files(struct db_keys *keys, const char *directory, struct error *err)
{
    char path[DB_PATH_SIZE], lock_path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/keys", directory);
    if (rc == 0)
        rc = db_path(lock_path, err, "%s/keys.lock", directory);
    if (rc != 0)
        return rc;
    keys->directory = strdup(directory);
    keys->path = strdup(path);
    keys->lock_path = strdup(lock_path);
    if (keys->directory == NULL || keys->path == NULL || keys->lock_path == NULL)
        return error_set_nomem(err, "the keys");
    return 0;
}

int db_keys_open(struct db_keys **out, const char *directory, struct db *db,
                 const struct db_keys_watcher *watcher, struct error *err)
{
    struct db_keys *keys = calloc(1, sizeof(*keys));
    if (keys == NULL)
        return error_set_nomem(err, "the keys");
    pthread_mutex_init(&keys->mutex, NULL);
    keys->db = db;
    int rc = name_files(keys, directory, err);
    if (rc == 0)
        rc = read_used(keys, err);
    if (rc == 0) {
        refresh(keys);
        keys->reported = state_of(keys);
        keys->watcher = *watcher;
        if (keys->reported == DB_KEYS_UNREADABLE)
            rc = error_set(err, keys->fault.code, "%s", keys->fault.message);
        else
            db_keys_look(keys, NULL); /* tells the database */
    }
    if (rc == 0)
        *out = keys;
    else
        db_keys_close(keys);
    return rc;
}

void db_keys_close(struct db_keys *keys)
{
    if (keys == NULL)
        return;
    db_key_list_clear(&keys->list);
    pthread_mutex_destroy(&keys->mutex);
    free(keys->lock_path);
    free(keys->path);
    free(keys->directory);
    free(keys);
}

bool db_keys_check(struct db_keys *keys, const char *token, struct principal *out)
{
    char sha256[DB_SHA256_SIZE];
    const struct db_key *found = NULL;
    hash_token(token, sha256);
    pthread_mutex_lock(&keys->mutex);
    refresh(keys);
    if (state_of(keys) == DB_KEYS_THERE) {
        /* All are compared, so that the time says nothing about which one matched. */
        for (size_t i = 0; i < keys->list.n_items; i++) {
            if (memeql_sec(keys->list.items[i].sha256, sha256, DB_SHA256_SIZE))
                found = &keys->list.items[i];
        }
    }
    _Static_assert(sizeof(out->id) == sizeof(found->id) && sizeof(out->name) == sizeof(found->name),
                   "a principal is what a key says");
    if (found != NULL) {
        memcpy(out->id, found->id, sizeof(out->id));
        memcpy(out->name, found->name, sizeof(out->name));
    }
    pthread_mutex_unlock(&keys->mutex);
    return found != NULL;
}
