/* Opening and closing a data directory.
 *
 * DIR/lock tells more than that a server runs: its content is the process id while one does and
 * empty after a clean end. Only when it is not empty at start (a crash, or a file that could not be
 * removed) can there be files without rows, and only then are they looked for.
 */
#include "db/data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/store/access.h"
#include "db/store/directory.h"
#include "db/store/files.h"
#include "db/store/temporary.h"
#include "db/stored_files.h"

/* Bytes that a start writes at most where nothing is new: the index of the database's log, marks,
 * a first transaction. */
enum { START_ROOM = 1 << 20 };

/* Writes into DIR/lock that a server runs, over what is there: no byte more is needed on the disk,
 * and a mark that a crash left is never lost. */
static int mark_running(struct data *data, struct error *err)
{
    const int fd = data->claim.lock_fd;
    char text[32];
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (lseek(fd, 0, SEEK_SET) != 0)
        return db_io_error(err, errno, "writing the lock of", data->directory);
    int rc = db_file_write(fd, data->directory, text, (size_t)length, err);
    if (rc == 0 && ftruncate(fd, length) != 0)
        rc = db_io_error(err, errno, "cutting the lock of", data->directory);
    /* The mark must be on the disk before the first upload is. */
    if (rc == 0 && fsync(fd) != 0)
        rc = db_io_error(err, errno, "syncing the lock of", data->directory);
    data->is_marked = rc == 0;
    return rc;
}

/* Whether a server ran and came to no clean end is in what is in the lock. */
static int lock_directory(struct data *data, struct error *err)
{
    struct stat status;
    int rc = db_claim_take(&data->claim, data->directory, err);
    if (rc == 0 && fstat(data->claim.lock_fd, &status) != 0)
        rc = db_io_error(err, errno, "reading the lock of", data->directory);
    if (rc == 0)
        data->needs_sweep = status.st_size != 0;
    return rc;
}

static int create_directories(struct data *data, struct error *err)
{
    static const char *const names[] = {"blobs", "cache", "tmp", "quarantine"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        char path[DB_PATH_SIZE];
        rc = db_path(path, err, "%s/%s", data->directory, names[i]);
        if (rc == 0)
            rc = db_directory_create(path, err);
        if (rc == 0)
            rc = db_directory_check_folders(path, err);
    }
    return rc;
}

static void note(const struct data *data, enum data_note note, const char *name)
{
    if (data->observer.note != NULL)
        data->observer.note(data->observer.context, note, name);
}

static void note_left(void *context, const char *name)
{
    note(context, DATA_NOTE_LEFT_IN_TMP, name);
}

/* ---- room on a full disk ---- */

static bool has_room(struct data *data)
{
    struct room_state state;
    return room_look(data->room, &state, NULL) != 0 ||
           state.free_size - state.reserve >= START_ROOM;
}

static void empty_cache(const struct data *data)
{
    struct cache *cache = NULL;
    if (cache_create(&cache, data->directory, 0, NULL) == 0)
        cache_destroy(cache);
}

static void give_up_reserve(struct data *data)
{
    if (has_room(data) || room_known(data->room).reserve == 0)
        return;
    room_give_up_reserve(data->room);
    note(data, DATA_NOTE_GIVEN_UP, "reserve");
}

/* From what costs nothing to what costs time. The directories have been looked at. What fails is
 * seen when the room is needed. */
static void give_up_files(struct data *data)
{
    if (has_room(data))
        return;
    db_temporary_empty(data->directory, note_left, data, NULL);
    note(data, DATA_NOTE_GIVEN_UP, "tmp");
    if (has_room(data))
        return;
    empty_cache(data);
    note(data, DATA_NOTE_GIVEN_UP, "cache");
}

/* What is not written on a full disk is written later. */
static int unless_full(int rc)
{
    return rc == ERROR_FULL ? 0 : rc;
}

void data_tend(struct data *data)
{
    struct room_state state;
    room_make_reserve(data->room);
    room_look(data->room, &state, NULL);
    if (!data->is_marked)
        mark_running(data, NULL);
}

/* ---- opening ---- */

static void note_store_event(void *context, enum store_event event, const char *sha256)
{
    static const enum data_note notes[] = {
        [STORE_SET_ASIDE] = DATA_NOTE_SET_ASIDE,
        [STORE_BROUGHT_BACK] = DATA_NOTE_BROUGHT_BACK,
        [STORE_IN_QUARANTINE] = DATA_NOTE_IN_QUARANTINE,
        [STORE_DAMAGED] = DATA_NOTE_DAMAGED,
        [STORE_HEALED] = DATA_NOTE_HEALED,
    };
    note(context, notes[event], sha256);
}

static int find_directory(struct data *data, const struct data_config *config, struct error *err)
{
    const char *directory = config->directory;
    int rc = config->purpose == DATA_TO_SERVE ? db_directory_create_all(directory, err) : 0;
    if (rc != 0)
        return rc;
    /* Absolute, so that a later chdir changes nothing and SQLite sees no "file:" name. */
    data->directory = realpath(directory, NULL);
    if (data->directory == NULL)
        return db_io_error(err, errno, "opening the directory", directory);
    rc = access_check_writers(data->directory, err);
    if (rc == 0)
        rc = access_check_owner(data->directory, err);
    if (rc != 0)
        return rc;
    /* Said here in so many words; SQLite would only be unable to open something later. */
    if (faccessat(AT_FDCWD, data->directory, W_OK | X_OK, AT_EACCESS) != 0)
        return error_set_errno(err, errno, "the data directory %s cannot be written",
                               data->directory);
    return 0;
}

/* SQLite would create the file readable for everyone; its log files take the mode of this one. */
static int create_file(const struct data *data, const char *path, struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return db_io_error(err, errno, "opening", path);
    close(fd);
    return db_directory_sync(data->directory, err);
}

/* A database that is missing is made, unless it is missed: before anything is written, since what
 * is put back must not meet the log files of another. */
static int require_database(struct data *data, const char *path, enum data_purpose purpose,
                            struct error *err)
{
    struct stat status;
    bool has_files = false;
    if (purpose == DATA_TO_ADOPT || (stat(path, &status) == 0 && status.st_size > 0))
        return 0;
    if (purpose == DATA_TO_INSPECT)
        return error_set(err, ERROR_IO, "there is no database %s", path);
    int rc = store_has_files(data->store, &has_files, err);
    return rc == 0 && has_files ? pairing_refuse_unknown_files(data->directory, err) : rc;
}

/* Names the file, which SQLite's messages do not. */
static int explain_corrupt(const char *path, struct error *err)
{
    struct error cause = {0};
    if (err != NULL)
        cause = *err;
    return error_set(err, ERROR_CORRUPT, "%.300s: %.150s; put back a backup", path, cause.message);
}

static int open_database(struct data *data, enum data_purpose purpose, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/chipshot.sqlite", data->directory);
    if (rc == 0)
        rc = require_database(data, path, purpose, err);
    if (rc == 0)
        rc = create_file(data, path, err);
    if (rc == 0)
        rc = db_open(&data->db, path, err);
    return rc == ERROR_CORRUPT ? explain_corrupt(path, err) : rc;
}

static int is_needed(void *context, const char *sha256, bool *out, struct error *err)
{
    const struct data *data = context;
    return db_stored_file_is_needed(data->db, sha256, out, err);
}

/* Asked of the database, which is opened after it. */
static int open_store(struct data *data, struct error *err)
{
    const struct store_needs needs = {.is_needed = is_needed, .context = data};
    const struct store_observer observer = {.event = note_store_event, .context = data};
    int rc = store_create_directory(&data->store, data->directory, &needs, err);
    if (rc == 0)
        store_observe(data->store, &observer);
    return rc;
}

static void note_missing(void *context, const char *sha256)
{
    note(context, DATA_NOTE_MISSING, sha256);
}

static int pair(struct data *data, enum data_purpose purpose, struct error *err)
{
    struct pairing_files files;
    int rc = pairing_read(&data->pairing, data->db, data->directory, err);
    if (rc == ERROR_CORRUPT && purpose == DATA_TO_ADOPT)
        rc = 0;
    if (rc != 0 || purpose == DATA_TO_INSPECT || pairing_is_made(&data->pairing))
        return rc;
    rc = pairing_count(&files, data->db, data->store, note_missing, data, err);
    if (rc == 0 && purpose == DATA_TO_SERVE)
        rc = pairing_check(&data->pairing, &files, data->directory, err);
    if (rc == 0)
        rc = pairing_write(&data->pairing, data->db, data->directory, err);
    if (rc == ERROR_FULL && purpose == DATA_TO_SERVE)
        return 0; /* the next start finds the same */
    if (rc == 0 && files.has_files)
        note(data, DATA_NOTE_PAIRED, data->pairing.store);
    return rc;
}

/* What is only done for a server. */
static int clean_up(struct data *data, uint64_t cache_max_size, struct error *err)
{
    int rc = store_bring_back(data->store, err);
    if (rc == 0 && data->needs_sweep)
        rc = store_sweep(data->store, err);
    data->needs_sweep = rc != 0;
    rc = unless_full(rc);
    if (rc == 0)
        rc = db_temporary_empty(data->directory, note_left, data, err);
    if (rc == 0)
        rc = cache_create(&data->cache, data->directory, cache_max_size, err);
    if (rc == 0)
        cache_keep_room(data->cache, data->room);
    return rc;
}

static int open_parts(struct data *data, const struct data_config *config, struct error *err)
{
    int rc = room_create(&data->room, data->directory, config->min_free_size, err);
    if (rc != 0)
        return rc;
    if (config->purpose == DATA_TO_SERVE)
        give_up_reserve(data);
    rc = create_directories(data, err);
    if (rc == 0 && config->purpose == DATA_TO_SERVE)
        give_up_files(data);
    if (rc == 0)
        rc = unless_full(mark_running(data, err));
    if (rc == 0)
        rc = open_store(data, err);
    if (rc == 0)
        rc = open_database(data, config->purpose, err);
    if (rc == 0)
        rc = pair(data, config->purpose, err);
    if (rc == 0 && config->purpose == DATA_TO_SERVE)
        rc = clean_up(data, config->cache_max_size, err);
    if (rc == 0)
        rc = db_claim_add(&data->claim, "chipshot.sqlite", err);
    if (rc == 0)
        rc = db_claim_add(&data->claim, "blobs", err);
    if (rc == 0) {
        db_keep_room(data->db, data->room);
        store_keep_room(data->store, data->room);
    }
    if (rc == 0 && config->purpose == DATA_TO_SERVE)
        room_make_reserve(data->room);
    return rc;
}

/* Says of a full disk what helps. */
static int explain_full(struct error *err)
{
    struct error cause = {0};
    if (err != NULL)
        cause = *err;
    return error_set(err, ERROR_FULL,
                     "%.300s; 'chipshot data usage' shows what takes room, and 'chipshot data "
                     "free' frees some",
                     cause.message);
}

int data_open(struct data **out, const struct data_config *config, struct error *err)
{
    if (config->directory == NULL || config->directory[0] == '\0')
        return error_set(err, ERROR_INVALID, "data directory: the name is empty");
    struct data *data = calloc(1, sizeof(*data));
    if (data == NULL)
        return error_set_nomem(err, "the data directory");
    data->claim = (struct db_claim){.directory_fd = -1, .lock_fd = -1};
    data->observer = config->observer;
    int rc = find_directory(data, config, err);
    if (rc == 0)
        rc = lock_directory(data, err);
    if (rc == 0)
        rc = open_parts(data, config, err);
    if (rc == ERROR_FULL)
        rc = explain_full(err);
    if (rc == 0)
        *out = data;
    else
        data_close(data);
    return rc;
}

int data_check(struct data *data, struct error *err)
{
    int rc = db_claim_check(&data->claim, err);
    atomic_store(&data->is_lost, rc != 0);
    return rc;
}

bool data_is_lost(const struct data *data)
{
    return atomic_load(&data->is_lost);
}

void data_close(struct data *data)
{
    if (data == NULL)
        return;
    const bool needs_sweep =
        data->needs_sweep || (data->store != NULL && store_needs_sweep(data->store));
    cache_destroy(data->cache);
    store_destroy(data->store);
    db_close(data->db);
    room_destroy(data->room);
    /* A failure only means that the next start looks for files without rows. */
    if (data->claim.lock_fd >= 0 && !needs_sweep && ftruncate(data->claim.lock_fd, 0) != 0)
        fdatasync(data->claim.lock_fd);
    db_claim_release(&data->claim);
    free(data->directory);
    free(data);
}
